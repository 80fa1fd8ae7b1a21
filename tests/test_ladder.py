# SPDX-License-Identifier: MIT
"""The ladder of symbols: each rung finds the same interpreter, and the report says which it was.

One core, and copies of its interpreter's file that tell less and less. All have the build id of
the file that was mapped, so memheap takes them for it.
"""
import ctypes.util
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

import elf_variants
import harness


def with_symbols(interpreter, directory):
    """The interpreter; one whose symbols are in a debug file with that joined to it, as its own."""
    program = os.path.realpath(interpreter.command[0])
    about = harness.ask(interpreter.command)
    if (about[2] and harness.links(program, about[2])) or \
            '.symtab' in elf_variants.sections(program):
        return interpreter
    identity = elf_variants.build_id(program)
    debug = '/usr/lib/debug/.build-id/%s/%s.debug' % (identity[:2], identity[2:])
    if not os.path.exists(debug) or not shutil.which('eu-unstrip'):
        pytest.skip('%s has no .symtab, and no debug file or eu-unstrip (Debian: python3-dbg, '
                    'elfutils)' % program)
    whole = os.path.join(directory, 'whole', os.path.basename(program))
    os.makedirs(os.path.dirname(whole))
    elf_variants.run('eu-unstrip', '-o', whole, program, debug)

    def change(content):        # of the build id, but not as harness.hide_debug_files() does
        content[content.index(harness.BUILD_ID_NOTE) + len(harness.BUILD_ID_NOTE)] ^= 0x55
    elf_variants.edit(whole, change)
    return harness.Interpreter('whole', [whole], interpreter.version, {'PYTHONHOME': about[4]})


class Subject:
    """A core and the file that its interpreter is in."""

    def __init__(self, interpreter, directory):
        interpreter = with_symbols(interpreter, directory)
        about = harness.ask(interpreter.command)
        program = os.path.realpath(interpreter.command[0])
        library = about[2] and os.path.join(about[3], about[2])
        self.shared = bool(library) and harness.links(program, about[2])
        self.file = library if self.shared else program
        self.directory = directory
        self.core = harness.abort_core(interpreter)
        self.version = interpreter.version

    def place(self, name):
        """Where a copy goes: a directory of its own, the file's name."""
        path = os.path.join(self.directory, name)
        os.makedirs(path)
        return os.path.join(path, os.path.basename(self.file))

    def report(self, copy, *options):
        where = ['--lib-path', os.path.dirname(copy)] if self.shared else ['--exe', copy]
        result = self.core.memheap('analyze', '--format', 'json', *where, *options, check=False)
        assert result.code == 0, result.stderr
        return harness.json.loads(result.stdout)

    def debug_path(self, root):
        identity = elf_variants.build_id(self.file)
        return os.path.join(root, 'usr/lib/debug/.build-id', identity[:2], identity[2:] + '.debug')


@pytest.fixture(scope='module')
def subject(newest, tmp_path_factory):
    made = Subject(newest, str(tmp_path_factory.mktemp('ladder')))
    yield made
    made.core.close()


def check(subject, report, method, *options):
    expected = subject.core.report('analyze', *options)
    assert report['resolution']['method'] == method
    assert report['types'] == expected['types']
    assert report['memory'] == expected['memory']


def test_dynsym(subject):
    copy = subject.place('dynsym')
    elf_variants.run('objcopy', '--strip-all', subject.file, copy)
    check(subject, subject.report(copy), 'symbol _PyRuntime in .dynsym')


def test_symtab(subject):
    copy = shutil.copy(subject.file, subject.place('symtab'))
    elf_variants.hide_symbol(copy, '_PyRuntime')
    check(subject, subject.report(copy), 'symbol _PyRuntime in .symtab')


def test_debug_file_by_build_id_below_the_sysroot(subject):
    copy = elf_variants.bare(subject.file, subject.place('build-id'))
    root = os.path.join(subject.directory, 'debug root')
    debug = elf_variants.debug_file(subject.file, subject.debug_path(root))
    report = subject.report(copy, '--sysroot', root)
    check(subject, report, 'symbol _PyRuntime in .symtab of ' + debug)
    assert report['resolution']['layout_dwarf'] == debug


def test_debug_file_without_the_file_that_it_is_of(newest, tmp_path):
    """Debug symbols alone tell where everything lies; some names of types are in the other file."""
    newest = with_symbols(newest, str(tmp_path))
    program = os.path.realpath(newest.command[0])
    about = harness.ask(newest.command)
    if about[2] and harness.links(program, about[2]):
        program = os.path.join(about[3], about[2])
    gone, root = tmp_path / 'gone', tmp_path / 'root'
    gone.mkdir()
    copy = harness.hide_debug_files(program)
    identity = elf_variants.build_id(copy)
    if program == os.path.realpath(newest.command[0]):
        one = harness.Interpreter('gone', [shutil.copy(copy, gone)], newest.version,
                                  {'PYTHONHOME': about[4]})
    else:
        shutil.copy(copy, gone)
        one = harness.Interpreter('gone', newest.command, newest.version,
                                  {'LD_LIBRARY_PATH': str(gone)})
    core = harness.abort_core(one)
    expected = core.report()
    shutil.rmtree(gone)
    debug = root / ('usr/lib/debug/.build-id/%s/%s.debug' % (identity[:2], identity[2:]))
    elf_variants.debug_file(copy, str(debug))
    result = core.memheap('analyze', '--format', 'json', '--sysroot', str(root))
    core.close()
    report = harness.json.loads(result.stdout)
    assert report['resolution']['method'] == 'symbol _PyRuntime in .symtab of ' + str(debug)
    assert report['pymalloc'] == expected['pymalloc']
    assert sum(row['objects'] for row in report['types']) == \
        sum(row['objects'] for row in expected['types'])


def test_debug_file_by_link(subject):
    """The checksum decides where the debug file has no build id."""
    copy = subject.place('link')
    root = os.path.join(subject.directory, 'link root')
    debug = root + subject.file + '.debug'
    elf_variants.debug_file(subject.file, debug)
    elf_variants.bare(subject.file, copy)
    elf_variants.run('objcopy', '--remove-section=.note.gnu.build-id', debug)
    elf_variants.run('objcopy', '--add-gnu-debuglink=' + debug, copy)
    options = ['--sysroot', root]
    check(subject, subject.report(copy, *options), 'symbol _PyRuntime in .symtab of ' + debug)
    with open(debug, 'ab') as file:
        file.write(b'another file')
    assert debug not in subject.report(copy, *options)['resolution']['method']


def test_mini_debug_info(subject):
    copy = elf_variants.mini_debug(subject.file, subject.place('mini'), '_PyRuntime')
    check(subject, subject.report(copy),
          'symbol _PyRuntime in .symtab of %s (.gnu_debugdata)' % copy)


def test_damaged_mini_debug_info_is_passed_over(subject):
    copy = elf_variants.mini_debug(subject.file, subject.place('bad mini'), '_PyRuntime')
    offset, size = elf_variants.sections(copy)['.gnu_debugdata']

    def change(content):
        content[offset + size // 2] ^= 0xFF
    elf_variants.edit(copy, change)
    assert 'symbol' not in subject.report(copy)['resolution']['method']


def test_section(subject):
    if subject.version < (3, 10):
        pytest.skip('.PyRuntime is a section from 3.10 on')
    copy = elf_variants.bare(subject.file, subject.place('section'))
    check(subject, subject.report(copy), 'section .PyRuntime')


def test_cookie(subject):
    if subject.version < (3, 13):
        pytest.skip('_Py_DebugOffsets has a cookie from 3.13 on')
    copy = elf_variants.bare(subject.file, subject.place('cookie'))
    elf_variants.drop_sections(copy)
    check(subject, subject.report(copy), 'cookie of _Py_DebugOffsets')


def test_a_rung_that_is_wrong_is_left(subject):
    """A symbol is not believed because it has the name."""
    if subject.version < (3, 10):
        pytest.skip('.PyRuntime is a section from 3.10 on')
    copy = subject.place('lie')
    elf_variants.run('objcopy', '--strip-all', subject.file, copy)
    elf_variants.move_symbol(copy, '_PyRuntime', 0x1000)
    check(subject, subject.report(copy), 'section .PyRuntime')


@pytest.mark.skipif(not shutil.which('dwz'), reason='no dwz (Debian: dwz)')
@pytest.mark.parametrize('where', ['absolute', 'relative', 'build-id'])
def test_debug_information_that_dwz_shares(subject, where):
    root = os.path.join(subject.directory, 'dwz ' + where)
    copy = elf_variants.bare(subject.file, subject.place('dwz-' + where))
    debug = elf_variants.debug_file(subject.file, subject.debug_path(root))
    # what two files share moves: here nearly all
    twin = shutil.copy(debug, debug + '.twin')
    shared = os.path.join(root, 'shared', 'common.debug')
    os.makedirs(os.path.dirname(shared))
    name = {'absolute': '/shared/common.debug', 'build-id': '/gone/common.debug',
            'relative': os.path.relpath(shared, os.path.dirname(debug))}[where]
    made = subprocess.run(['dwz', '-m', shared, '-M', name, debug, twin], capture_output=True,
                          text=True)
    if not os.path.exists(shared):
        pytest.skip('dwz moves nothing: ' + made.stderr.strip())
    if where == 'build-id':
        identity = elf_variants.build_id(shared)
        place = os.path.join(root, 'usr/lib/debug/.build-id', identity[:2],
                             identity[2:] + '.debug')
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.move(shared, place)
        shared = place
    options = ['--sysroot', root, '--layout', 'dwarf']
    report = subject.report(copy, *options)
    check(subject, report, 'symbol _PyRuntime in .symtab of ' + debug, '--layout', 'dwarf')
    os.unlink(shared)
    less = subject.core.memheap('analyze', '--format', 'json', *options,
                                *(['--lib-path', os.path.dirname(copy)] if subject.shared
                                  else ['--exe', copy]), check=False)
    fields = 'layout_fields_from_dwarf'
    assert less.code == 3 or \
        harness.json.loads(less.stdout)['resolution'][fields] < report['resolution'][fields]


# debuginfod

@pytest.fixture(scope='module')
def gone(newest, tmp_path_factory):
    """(A core of a program that is no longer here, its report while it was, a stripped copy of the
    program, its debug file)"""
    directory = str(tmp_path_factory.mktemp('debuginfod'))
    subject = Subject(newest, directory)
    subject.core.close()
    original = harness.hide_debug_files(subject.file)
    place = os.path.join(directory, 'target')
    os.makedirs(place)
    stripped = os.path.join(directory, 'stripped')
    elf_variants.run('objcopy', '--strip-all', original, stripped)
    mapped = shutil.copy(stripped, os.path.join(place, os.path.basename(subject.file)))
    one = harness.Interpreter('debuginfod', newest.command, newest.version,
                              {'LD_LIBRARY_PATH': place}) if subject.shared else \
        harness.Interpreter('debuginfod', [mapped], newest.version,
                            {'PYTHONHOME': harness.ask(newest.command)[4]})
    core = harness.abort_core(one)
    expected = core.report()
    os.unlink(mapped)
    debug = elf_variants.debug_file(original, os.path.join(directory, 'debug', 'file.debug'))
    yield core, expected, stripped, debug
    core.close()


def serve(directory, executable, debug):
    """What a debuginfod server tells, as files: the client takes file:// too."""
    place = os.path.join(directory, 'buildid', elf_variants.build_id(executable))
    os.makedirs(place)
    shutil.copy(executable, os.path.join(place, 'executable'))
    shutil.copy(debug, os.path.join(place, 'debuginfo'))
    return 'file://' + directory


def ask_server(core, cache, urls, *options, **more):
    environment = dict(os.environ, DEBUGINFOD_CACHE_PATH=str(cache), DEBUGINFOD_URLS=urls)
    return core.memheap('analyze', '--format', 'json', *options, env=environment, **more)


def codes(report):
    return {row['code'] for row in report['diagnostics']}


needs_client = pytest.mark.skipif(not ctypes.util.find_library('debuginfod'),
                                  reason='no libdebuginfod.so.1 (Debian: libdebuginfod1)')


def check_download(gone, result, cache):
    core, expected, executable, _ = gone
    report = harness.json.loads(result.stdout)
    there = os.path.join(str(cache), elf_variants.build_id(executable))
    assert report['resolution']['interpreter_file'] == os.path.join(there, 'executable')
    assert report['resolution']['layout_dwarf'] == os.path.join(there, 'debuginfo')
    assert report['types'] == expected['types']
    assert report['memory'] == expected['memory']
    assert 'MH0115' in codes(report) and 'MH0114' not in codes(report)


@needs_client
def test_debuginfod(gone, tmp_path):
    core, _, executable, debug = gone
    cache = tmp_path / 'cache'
    urls = serve(str(tmp_path / 'served'), executable, debug)
    check_download(gone, ask_server(core, cache, urls), cache)
    shutil.rmtree(cache)
    check_download(gone, ask_server(core, cache, '', '--debuginfod', urls), cache)


@needs_client
def test_debuginfod_is_not_asked_unasked(gone, tmp_path):
    core, _, executable, debug = gone
    urls = serve(str(tmp_path / 'served'), executable, debug)
    info = core.memheap('info', '--format', 'json',
                        env=dict(os.environ, DEBUGINFOD_URLS=urls,
                                 DEBUGINFOD_CACHE_PATH=str(tmp_path / 'cache')))
    assert 'MH0110' in codes(harness.json.loads(info.stdout))       # info answers at once
    for environment, options in (('', []), (urls, ['--debuginfod', 'off'])):
        report = harness.json.loads(ask_server(core, tmp_path / 'cache', environment,
                                               *options).stdout)
        assert not {'MH0114', 'MH0115'} & codes(report)
        assert report['resolution']['interpreter_file'] is None
        assert not (tmp_path / 'cache').exists()


@needs_client
def test_what_debuginfod_has_not_is_no_error(gone, tmp_path):
    core, *_ = gone
    (tmp_path / 'empty').mkdir()
    report = harness.json.loads(ask_server(core, tmp_path / 'cache',
                                           'file://%s' % (tmp_path / 'empty')).stdout)
    assert not {'MH0114', 'MH0115'} & codes(report) and 'MH0110' in codes(report)


@needs_client
def test_a_server_that_is_not_there_is_told_of_once(gone, tmp_path):
    core, *_ = gone
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))       # and does not listen
        urls = 'http://127.0.0.1:%d' % unused.getsockname()[1]
        report = harness.json.loads(ask_server(core, tmp_path / 'cache', urls).stdout)
    said = [row['message'] for row in report['diagnostics'] if row['code'] == 'MH0114']
    assert len(said) == 1 and 'asked for nothing more' in said[0]


@needs_client
def test_interrupting_a_download_goes_on_without_it(gone, tmp_path):
    core, *_ = gone
    with socket.create_server(('127.0.0.1', 0)) as server:
        environment = dict(os.environ, DEBUGINFOD_CACHE_PATH=str(tmp_path / 'cache'),
                           DEBUGINFOD_URLS='http://127.0.0.1:%d' % server.getsockname()[1])
        process = subprocess.Popen([harness.MEMHEAP, 'analyze', '--format', 'json', core.path],
                                   env=environment, stdout=subprocess.PIPE, text=True)
        connection, _ = server.accept()     # and never answers
        time.sleep(2.5)                     # until the client has told of its progress
        process.send_signal(signal.SIGINT)
        report = harness.json.loads(process.communicate(timeout=60)[0])
        connection.close()
    assert process.returncode == 0
    said = [row['message'] for row in report['diagnostics'] if row['code'] == 'MH0114']
    assert len(said) == 1 and 'interrupted' in said[0]


@needs_client
def test_a_real_debuginfod_server(gone, tmp_path):
    program = shutil.which('debuginfod')
    if not program:
        pytest.skip('no debuginfod server (Debian: debuginfod)')
    core, _, executable, debug = gone
    served = tmp_path / 'served'
    served.mkdir()
    for path in (executable, debug):
        shutil.copy(path, served)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with open(tmp_path / 'server.log', 'w') as log:
        server = subprocess.Popen([program, '-p', str(port), '-d', str(tmp_path / 'index'), '-t0',
                                   '-F', str(served)], stdout=log, stderr=log)
    url = 'http://127.0.0.1:%d' % port
    try:
        wait_for_index(url, 2)
        check_download(gone, ask_server(core, tmp_path / 'cache', url), tmp_path / 'cache')
    finally:
        server.terminate()
        server.wait()


def wait_for_index(url, files):
    """Until the server has scanned that many files."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url + '/metrics') as answer:
                text = answer.read().decode()
        except OSError:
            text = ''
        work, busy = (re.search(r'^thread_%s\{role="scan"\} (\d+)' % name, text, re.M)
                      for name in ('work_total', 'busy'))
        if work and int(work.group(1)) >= files and busy and busy.group(1) == '0':
            return
        time.sleep(0.2)
    pytest.fail('the debuginfod server indexes nothing: ' + text)
