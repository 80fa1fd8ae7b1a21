# SPDX-License-Identifier: MIT
"""Finding the target's files: at their paths, elsewhere, and never the wrong ones unasked."""
import json
import os
import shutil
import subprocess
import sys

import pytest

import harness


class Moved:
    """A core of a program whose file is no longer where it was."""

    def __init__(self, directory):
        self.program = os.path.join(directory, 'bin', 'python3')
        self.elsewhere = os.path.join(directory, 'elsewhere', 'python3')
        self.root = os.path.join(directory, 'root')
        os.makedirs(os.path.dirname(self.program))
        os.makedirs(os.path.dirname(self.elsewhere))
        os.makedirs(os.path.join(self.root, os.path.dirname(self.program)[1:]))
        # no debug file for it is installed
        shutil.copy(harness.hide_debug_files(os.path.realpath('/usr/bin/python3')), self.program)
        version = harness.ask([self.program])[0]
        interpreter = harness.Interpreter('moved', [self.program], tuple(version),
                                          {'PYTHONHOME': '/usr'})
        self.core = harness.abort_core(interpreter)
        self.expected = self.core.report('types')
        shutil.move(self.program, self.elsewhere)
        shutil.copy(self.elsewhere, self.root + self.program)
        shutil.copy(self.elsewhere, os.path.join(directory, 'other'))
        with open(self.elsewhere, 'rb') as file:
            self.bytes = file.read()

    def put_another(self):
        """At its path there is now a file with another build id."""
        with open(self.program, 'wb') as file:
            file.write(harness.with_another_build_id(self.bytes))

    def types(self, *options):
        return self.core.memheap('types', '--format', 'json', *options, check=False)


@pytest.fixture(scope='module')
def moved(tmp_path_factory):
    if not os.path.exists('/usr/bin/python3'):
        pytest.skip('no /usr/bin/python3 to copy')
    made = Moved(str(tmp_path_factory.mktemp('moved')))
    yield made
    made.core.close()


def without_notes(report):
    return {key: report[key] for key in ('types', 'completeness')}


def unfound(moved, *options):
    """What is said of the program when it is not found: the answer comes without it."""
    report = json.loads(moved.core.memheap('info', '--format', 'json', *options).stdout)
    assert report['resolution']['method'] == 'structure of _PyRuntime'
    said = [row for row in report['diagnostics'] if moved.program in row['message']]
    assert '--exe' in said[0]['hint'] and '--sysroot' in said[0]['hint']
    return said[0]['message']


def test_version_without_hexversion(moved):
    """As at the end of finalization; then the text of Py_GetVersion() tells."""
    interpreter = harness.Interpreter('moved', [moved.elsewhere], moved.core.interpreter.version,
                                      {'PYTHONHOME': '/usr'})
    core = harness.abort_core(interpreter, 'import os, sys; del sys.hexversion; os.abort()')
    harness.hide_files(core.path)
    info = core.report('info')
    core.close()
    assert info['resolution']['method'] == 'structure of _PyRuntime'
    assert info['python']['version'] == '.'.join(map(str, interpreter.version))


def test_a_missing_file_is_named(moved):
    assert 'not on this machine' in unfound(moved)


@pytest.mark.parametrize('option', ['--exe', '--sysroot', '--lib-path'])
def test_it_is_found_elsewhere(moved, option):
    place = {'--exe': moved.elsewhere, '--sysroot': moved.root,
             '--lib-path': os.path.dirname(moved.elsewhere)}[option]
    result = moved.types(option, place)
    assert result.code == 0, result.stderr
    assert without_notes(json.loads(result.stdout)) == without_notes(moved.expected)


def test_links_below_the_sysroot_stay_below_it(moved, tmp_path):
    """As in images with a merged /usr and /etc/alternatives: absolute links, and links upwards."""
    inside, name = os.path.split(moved.program)
    root = tmp_path / 'image'
    (root / 'store/bin').mkdir(parents=True)
    (root / 'etc/alternatives').mkdir(parents=True)
    (root / os.path.dirname(inside)[1:]).mkdir(parents=True)
    (root / inside[1:]).symlink_to('/../../../store/bin')
    (root / 'store/bin' / name).symlink_to('/etc/alternatives/python')
    (root / 'etc/alternatives/python').symlink_to('../../../../store/python-real')
    shutil.copy(moved.elsewhere, root / 'store/python-real')
    result = moved.types('--sysroot', str(root))
    assert result.code == 0, result.stderr
    assert without_notes(json.loads(result.stdout)) == without_notes(moved.expected)
    info = json.loads(moved.core.memheap('info', '--format', 'json', '--sysroot',
                                                 str(root)).stdout)
    assert info['resolution']['interpreter_file'] == str(root / 'store/python-real')

    # the same links, to a file that is there on this machine only
    (root / 'etc/alternatives/python').unlink()
    (root / 'etc/alternatives/python').symlink_to(moved.elsewhere)
    assert 'not on this machine' in unfound(moved, '--sysroot', str(root))
    # and links without end
    (root / 'etc/alternatives/python').unlink()
    (root / 'etc/alternatives/python').symlink_to('/store/bin/' + name)
    assert 'not on this machine' in unfound(moved, '--sysroot', str(root))


def test_another_file_is_not_used_unless_forced(moved):
    moved.put_another()
    try:
        assert 'is not the file of the core' in unfound(moved)
        forced = moved.types('--force-modules')
        assert forced.code == 0, forced.stderr
        report = json.loads(forced.stdout)
        assert without_notes(report) == without_notes(moved.expected)
        assert any(moved.program in row['message'] for row in report['diagnostics'])
        # the right one, where it is given, is preferred
        right = moved.types('--sysroot', moved.root)
        assert right.code == 0, right.stderr
        assert without_notes(json.loads(right.stdout)) == without_notes(moved.expected)
    finally:
        os.unlink(moved.program)


def test_a_wrong_place_is_no_help(moved):
    for options in (['--exe', '/bin/true'], ['--sysroot', '/var'], ['--lib-path', '/var']):
        unfound(moved, *options)


def test_what_was_not_dumped_is_missing_without_files(moved):
    with_files = moved.core.memheap('info', '--format', 'json', '--exe', moved.elsewhere).stdout
    without = moved.core.memheap('info', '--format', 'json').stdout
    with_files, without = (json.loads(text)['completeness']
                           for text in (with_files, without))
    assert without['image_bytes'] == with_files['image_bytes']
    assert without['missing_bytes'] - with_files['missing_bytes'] == \
        with_files['refilled_bytes'] - without['refilled_bytes'] > 1000000


def skip_before_38(interpreter):
    if interpreter.version < (3, 8):
        pytest.skip('%s: is not known without its file' % interpreter)


@pytest.fixture(scope='module')
def without_files(interpreter):
    """(A core without a single ELF file of its process, its report while they were there)"""
    if interpreter.environment or not interpreter.files:
        pytest.skip('%s: its memory is that of the interpreter as it is' % interpreter)
    if 'pydebug' in interpreter.name:
        pytest.skip('%s: nothing but its DWARF tells its layout' % interpreter)
    skip_before_38(interpreter)
    core = harness.make_core(interpreter, 'library')
    report = json.loads(core.memheap('analyze', '--format', 'json').stdout)
    harness.hide_files(core.path)
    yield core, report
    core.close()


def sizes(report):
    """What the report says of types, but for the names of those that are shown by address."""
    unnamed = [row for row in report['types'] if harness.is_unnamed(row)]
    return ([row for row in report['types'] if row not in unnamed],
            sorted(tuple(value for key, value in row.items() if key != 'type') for row in unnamed))


def python_rows(report):
    return {row['path']: row['bytes'] for row in report['memory']
            if row['path'].startswith('python/')}


def test_types_are_the_same_without_any_file(without_files):
    core, expected = without_files
    report = json.loads(core.memheap('analyze', '--format', 'json').stdout)
    cookie = core.interpreter.version >= (3, 13)
    assert report['resolution']['method'] == ('cookie of _Py_DebugOffsets' if cookie else
                                              'structure of _PyRuntime')
    assert report['python']['version'] == expected['python']['version']
    assert report['completeness']['refilled_bytes'] == 0
    named, unnamed = sizes(report)
    names = {row['type'] for row in named}
    others = [row for row in expected['types'] if row['type'] not in names]
    assert named == [row for row in expected['types'] if row['type'] in names]
    assert unnamed == sorted(tuple(value for key, value in row.items() if key != 'type')
                             for row in others)
    assert sum(row['occupied_bytes'] for row in others) <= \
        0.001 * sum(row['occupied_bytes'] for row in expected['types'])
    assert not cookie or not unnamed
    assert 'MH0142' in {row['code'] for row in report['diagnostics']}
    objects, others = (sum(row['bytes'] for row in each['memory']
                           if row['path'].startswith('python/')) for each in (report, expected))
    assert objects == others
    if not unnamed:
        assert python_rows(report) == python_rows(expected)


def test_without_even_the_headers_of_files(interpreter):
    """Bit 4 of coredump_filter is off: nothing tells how long a .bss is."""
    if interpreter.environment or not interpreter.files or 'pydebug' in interpreter.name or \
            interpreter.root:
        pytest.skip('%s: its memory is that of the interpreter as it is' % interpreter)
    skip_before_38(interpreter)
    core = harness.abort_core(interpreter, 'import os;'
                              'open("/proc/self/coredump_filter", "w").write("0x23"); os.abort()')
    expected = json.loads(core.memheap('analyze', '--format', 'json').stdout)
    harness.hide_files(core.path)
    report = json.loads(core.memheap('analyze', '--format', 'json').stdout)
    core.close()
    named, unnamed = sizes(report)
    names = {row['type'] for row in named}
    assert named == [row for row in expected['types'] if row['type'] in names]
    assert len(unnamed) == len(expected['types']) - len(named) <= 2
    assert sum(row['bytes'] for row in report['memory']) == report['completeness']['image_bytes']


PRINTS = {(3, 8): '3_8', (3, 9): '3_9', (3, 10): '3_10', (3, 11): '3_11', (3, 12): '3_12'}


def make_fingerprints(interpreter, *arguments):
    """(Lines that are made today, lines of the file that is part of the source)"""
    version = 'numpy' if arguments[-1] == 'numpy' else PRINTS[interpreter.version[:2]]
    root = os.path.dirname(harness.HERE)
    with open(os.path.join(root, 'lib/layout/versions/prints_%s.def' % version)) as file:
        lines = file.read().splitlines()
    with open(os.path.join(harness.FIXTURES, 'fingerprints.py')) as file:
        process = interpreter.run('-W', 'ignore', *arguments[:-1], '-c', file.read(), arguments[-1],
                                  stdout=subprocess.PIPE, text=True)
    return process.communicate()[0].splitlines(), lines


def test_fingerprints_are_as_they_would_be_made_today(interpreter):
    """By any interpreter of that version, as far as it is made like the one that made them."""
    if interpreter.version[:2] not in PRINTS or interpreter.environment or \
            not interpreter.files or 'pydebug' in interpreter.name:
        pytest.skip('%s: has no fingerprints of its own' % interpreter)
    if interpreter.root:
        pytest.skip('%s: no /proc below its root to tell modules apart' % interpreter)
    made, lines = make_fingerprints(interpreter, '-S', '')
    assert len(made) > 150
    if made[1] == lines[1]:
        assert made == lines
    else:       # another patch release, with other modules built in: only what fits is used
        pick = lambda rows: {row.split('"')[1]: row.split('", "')[2:] for row in rows[2:]}
        before, now = pick(lines), pick(made)
        assert len([name for name in now if before.get(name) == now[name]]) > 0.9 * len(now)


def test_fingerprints_of_numpy(interpreter):
    if interpreter.environment or not interpreter.files or interpreter.root or \
            'pydebug' in interpreter.name:
        pytest.skip('%s: is asked without an environment' % interpreter)
    asked = 'import numpy; print(numpy.__version__)'
    numpy = interpreter.run('-c', asked, stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.DEVNULL).communicate()[0].strip()
    if not numpy:
        pytest.skip('%s: has no numpy' % interpreter)
    made, lines = make_fingerprints(interpreter, 'numpy')
    if numpy not in lines[1]:
        pytest.skip('%s: has numpy %s, not that of the table' % (interpreter, numpy))
    assert len(made) > 60 and made == lines


def test_names_of_static_types_are_as_they_would_be_made_today(newest):
    about = harness.ask(newest.command)
    if newest.version[:2] != (3, 13) or not about[2]:
        pytest.skip('%s: needs a CPython 3.13 with a shared library' % newest)
    made = subprocess.run([sys.executable,
                                   os.path.join(harness.FIXTURES, 'type_names.py'),
                                   newest.command[0]], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with open(os.path.join(os.path.dirname(harness.HERE), 'lib/layout/versions/types_3_13.def')) \
            as file:
        rows = [line for line in file if line.startswith('STATIC_TYPE')]
    assert len(rows) > 190
    assert [line + '\n' for line in made.stdout.splitlines() if line.startswith('STATIC')] == rows
