# SPDX-License-Identifier: MIT
"""Interpreters that are no python3: programs with a libpython inside, under any name, or two."""
import os
import shlex
import shutil
import subprocess

import pytest

import elf_variants
import harness
import test_exact

EXACT = [test_exact.test_every_reachable_object_is_found,
         test_exact.test_every_reported_object_is_one,
         test_exact.test_pools_and_blocks_equal_debugmallocstats,
         test_exact.test_accounting_sums_to_the_image,
         test_exact.test_malloc_equals_malloc_info]


def check_exactly(interpreter):
    """The whole truth about one program; returns the report."""
    core = harness.make_core(interpreter, 'zoo')
    for test in EXACT:
        test(core)
    report = core.report()
    core.close()
    return report


class Builder:
    """Builds fixtures/embed.c against an interpreter."""

    def __init__(self, interpreter, directory):
        self.interpreter = interpreter
        self.directory = directory
        ask = ('import sysconfig; get = sysconfig.get_config_var; print(sysconfig.get_path('
               '"include"), get("LIBDIR"), get("LDLIBRARY"), get("LIBPL"), get("LIBRARY"),'
               'get("INSTSONAME"), get("MODLIBS"), get("LIBS"), get("SYSLIBS"), sep="\\n")')
        about = subprocess.run(interpreter.command + ['-c', ask], capture_output=True, text=True,
                               check=True).stdout.split('\n')
        (self.include, self.lib_directory, self.shared, self.static_directory, self.static,
         self.soname) = about[:6]
        self.libraries = shlex.split(' '.join(about[6:9]))
        if not os.path.exists(os.path.join(self.include, 'Python.h')):
            pytest.skip('%s has no Python.h' % interpreter)

    def build(self, name, *options, environment=()):
        program = os.path.join(self.directory, name)
        made = subprocess.run(['gcc', '-o', program, '-I', self.include,
                               os.path.join(harness.FIXTURES, 'embed.c'), *options],
                              capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        home = harness.ask(self.interpreter.command)[4]
        return harness.Interpreter(name, [program], self.interpreter.version,
                                   dict(environment, PYTHONHOME=home))

    def library(self):
        path = os.path.join(self.lib_directory, self.soname)
        if not self.soname.endswith('.a') and os.path.exists(path):
            return path
        pytest.skip('%s has no shared libpython' % self.interpreter)


@pytest.fixture(scope='module')
def builder(newest, tmp_path_factory):
    return Builder(newest, str(tmp_path_factory.mktemp('embed')))


def test_embedder_of_a_shared_library(builder):
    library = builder.library()
    one = builder.build('shared', library, '-Wl,-rpath,' + os.path.dirname(library))
    report = check_exactly(one)
    assert report['resolution']['interpreter_path'] == os.path.realpath(library)
    assert report['target']['executable'] == one.command[0]


def test_embedder_of_a_static_library(builder):
    archive = os.path.join(builder.static_directory, builder.static)
    if not os.path.exists(archive):
        pytest.skip('%s has no static libpython' % builder.interpreter)
    one = builder.build('static', '-no-pie', '-Wl,--export-dynamic', archive, *builder.libraries,
                        '-lm')
    report = check_exactly(one)
    assert report['resolution']['interpreter_path'] == one.command[0]


def test_library_of_another_name(builder):
    copy = shutil.copy(builder.library(), os.path.join(builder.directory, 'libfoo.so'))
    report = check_exactly(builder.build('loader', '-DLIBRARY="%s"' % copy))
    assert report['resolution']['interpreter_path'] == copy


def test_library_of_another_name_that_is_not_here(builder):
    """Whatever it is called, its memory tells what it is."""
    directory = os.path.join(builder.directory, 'gone')
    os.makedirs(directory)
    copy = shutil.copy(builder.library(), os.path.join(directory, 'libbar.so'))
    core = harness.abort_core(builder.build('gone-loader', '-DLIBRARY="%s"' % copy))
    expected = core.report('info')
    harness.hide_files(core.path)
    found = harness.json.loads(core.memheap('info', '--format', 'json').stdout)
    core.close()
    for key in ('version', 'interpreters', 'thread_states'):
        assert found['python'][key] == expected['python'][key]
    assert found['resolution']['runtime_address'] == expected['resolution']['runtime_address']
    assert found['resolution']['interpreter_file'] is None


def test_static_interpreter_that_loads_a_libpython():
    """Debian's python3 has all in itself; the copy in the library is never initialised."""
    program, version = os.path.realpath('/usr/bin/python3'), None
    about = harness.ask([program]) if os.path.exists(program) else None
    library = about and os.path.join(about[3], 'libpython%d.%d.so.1.0' % tuple(about[0][:2]))
    if not about or not os.path.exists(library) or harness.links(program, 'libpython'):
        pytest.skip('no static python3 with a libpython beside it (Debian: libpython3.11)')
    version = tuple(about[0])
    plain = harness.Interpreter('single', [program], version)
    core = harness.abort_core(plain, 'import ctypes, os; ctypes.CDLL(%r); os.abort()' % library)
    report = core.report()
    core.close()
    assert report['resolution']['interpreter_path'] == program
    said = [row['message'] for row in report['diagnostics'] if row['code'] == 'MH0134']
    assert len(said) == 1 and library in said[0] and 'has no interpreter' in said[0]


def test_one_library_loaded_twice(builder):
    """Two initialised copies: the report is about one, and says so."""
    first = shutil.copy(builder.library(), os.path.join(builder.directory, 'libfirst.so'))
    second = shutil.copy(first, os.path.join(builder.directory, 'libsecond.so'))
    code = ('import ctypes, os; other = ctypes.PyDLL(%r, mode=os.RTLD_LOCAL | os.RTLD_DEEPBIND);'
            'other.Py_InitializeEx(0); os.abort()' % second)
    core = harness.abort_core(builder.build('twice', '-DLIBRARY="%s"' % first), code)
    result = core.memheap('analyze', '--format', 'json', check=False)
    core.close()
    report = harness.json.loads(result.stdout)
    assert report['resolution']['interpreter_path'] in (first, second)
    said = [row['message'] for row in report['diagnostics'] if row['code'] == 'MH0135']
    assert len(said) == 1 and 'has interpreters too' in said[0]
    assert (first in said[0]) and (second in said[0])


@pytest.mark.skipif(not shutil.which('uwsgi'), reason='no uwsgi (Debian: uwsgi-plugin-python3)')
def test_uwsgi():
    program = os.path.realpath('/usr/bin/python3')
    version = tuple(harness.ask([program])[0])
    # it takes away standard input, and makes standard output what standard error is
    command = ['sh', '-c', 'exec uwsgi --honour-stdin --plugins python3 --pyrun "$0" 2>&1']
    report = check_exactly(harness.Interpreter('uwsgi', command, version))
    assert 'libpython' in report['resolution']['interpreter_path']
    assert 'uwsgi' in report['target']['executable']


# Files without a build id, such as uv's and conda's

@pytest.fixture(scope='module')
def nameless(builder):
    """(core, the libpython without a build id, its bytes)"""
    directory = os.path.join(builder.directory, 'nameless')
    os.makedirs(directory)
    copy = elf_variants.without_build_id(builder.library(), os.path.join(directory, builder.soname))
    core = harness.abort_core(builder.build('nameless-loader', '-DLIBRARY="%s"' % copy))
    with open(copy, 'rb') as file:
        content = file.read()
    yield core, copy, content
    core.close()


def module_of(core, path, *options):
    info = harness.json.loads(core.memheap('info', '--format', 'json', *options).stdout)
    row, = [row for row in info['modules'] if row['path'] == path]
    return row['status'], {row['code'] for row in info['diagnostics'] if path in row['message']}


def test_file_without_a_build_id(nameless):
    core, copy, _ = nameless
    status, said = module_of(core, copy)
    assert status == 'found, no build id' and said == {'MH0113'}
    report = core.report()
    assert report['resolution']['build_id'] is None
    assert report['resolution']['interpreter_file'] == copy


def test_another_file_without_a_build_id_is_not_taken(nameless):
    """Other sections, and with them another size: its first page says so."""
    core, copy, content = nameless
    elf_variants.run('objcopy', '--add-section', '.another=' + __file__, copy)
    try:
        status, said = module_of(core, copy)
        assert status == 'other build id' and said == {'MH0111'}
        assert module_of(core, copy, '--force-modules')[0] == 'forced'
    finally:
        with open(copy, 'wb') as file:
            file.write(content)
