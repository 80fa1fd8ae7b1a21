# SPDX-License-Identifier: MIT
"""Files that are no cores, and cores of processes at a bad moment."""
import os
import re
import shutil
import struct
import subprocess
import sys

import pytest

import bad_input
import harness


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return bad_input.SmallCore('3.13', tmp_path_factory.mktemp('bad'))


def write(path, content):
    path.write_bytes(content)
    return str(path)


COMMANDS = ('analyze', 'info', 'objects')


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize('content', [
    b'', b'\n', b'Traceback (most recent call last):\n' * 100, bytes(70000), b'\x7fELF',
    b'\x7fELF\2\1\1' + bytes(57), b'\x1f\x8b' + bytes(100), b'#!/bin/sh\nexit 1\n'],
    ids=['empty', 'newline', 'text', 'zeros', 'magic', 'zero header', 'compressed', 'script'])
def test_wrong_content(tmp_path, command, content):
    path = write(tmp_path / 'file', content)
    result = bad_input.run(command, path)
    assert result.code == 1 and not result.stdout
    bad_input.check_message(result, path)


@pytest.mark.parametrize('command', COMMANDS)
def test_wrong_kind_of_file(tmp_path, command):
    fifo = str(tmp_path / 'fifo')
    os.mkfifo(fifo)
    for path in (str(tmp_path), '/dev/null', fifo, os.path.realpath(sys.executable)):
        result = bad_input.run(command, path)
        assert result.code == 1 and not result.stdout, path
        bad_input.check_message(result, path)


def test_missing_file(tmp_path):
    for path in (str(tmp_path / 'none'), str(tmp_path / 'no' / 'directory'), ''):
        result = bad_input.run('analyze', path)
        assert result.code == 1
        bad_input.check_message(result, path, hint=False)
        assert 'No such file' in result.stderr


def test_unreadable_file(tmp_path, small):
    path = write(tmp_path / 'core', small.content)
    before = []
    if os.geteuid() == 0:
        if not shutil.which('setpriv'):
            pytest.skip('root reads every file, and setpriv is missing')
        before = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']
        readable = subprocess.run([*before, 'test', '-x', harness.MEMHEAP])
        if readable.returncode:
            pytest.skip('another user cannot run ' + harness.MEMHEAP)
        for directory in (tmp_path, *tmp_path.parents):
            if 'pytest' in str(directory):
                directory.chmod(0o755)
    os.chmod(path, 0)
    result = bad_input.run('analyze', path, before=before)
    assert result.code == 4, result.stderr
    bad_input.check_message(result, path, hint=False)
    assert 'Permission denied' in result.stderr


@pytest.mark.parametrize('offset, value, code, word', [
    (4, b'\1', 3, 'another kind of machine'), (5, b'\2', 3, 'another kind of machine'),
    (16, struct.pack('<H', 1), 1, 'object file'), (16, struct.pack('<H', 2), 1, 'program'),
    (16, struct.pack('<H', 3), 1, 'program'),
    (18, struct.pack('<H', 243), 3, 'the core of another machine (riscv64')],
    ids=['32 bits', 'big-endian', 'object file', 'program', 'library', 'machine'])
def test_wrong_header(small, offset, value, code, word):
    result, report = small.analyze({offset: value})
    assert result.code == code and word in result.stderr and not report, result.stderr


def test_no_space_for_output(small):
    for arguments in (('analyze',), ('objects', '--format', 'jsonl'), ('types', '--format', 'csv')):
        with open('/dev/full', 'w') as full:
            to_stdout = bad_input.run(arguments[0], small.path, *small.options, *arguments[1:],
                                      stdout=full)
        to_file = bad_input.run(arguments[0], small.path, *small.options, *arguments[1:],
                                '-o', '/dev/full')
        for result in (to_stdout, to_file):
            assert result.code == 1 and 'No space left' in result.stderr, result.stderr


def test_process_without_python(sleep_core):
    for command in ('analyze', 'objects', 'gc'):
        result = bad_input.run(command, sleep_core)
        assert result.code == 3
        bad_input.check_message(result, sleep_core)
        assert 'not a core of a CPython' in result.stderr
    result = bad_input.run('info', sleep_core, '--format', 'json')
    report = bad_input.check_answer(result, sleep_core)
    assert result.code == 0 and report['target']['signal'] == 'SIGABRT'
    assert 'MH0129' in [row['code'] for row in report['diagnostics']]


def check_moment(interpreter, path, whole):
    """An answer that adds up, or a message that says why there is none; `info` always answers."""
    result = bad_input.run('analyze', path, '--format', 'json', *interpreter.options)
    report = bad_input.check_answer(result, path)
    assert result.code in ((0, 5) if whole else (0, 3, 5)), result.stderr
    info = bad_input.run('info', path, '--format', 'json', *interpreter.options)
    assert info.code in (0, 5), info.stderr
    return result, report


FINISHING = {
    'atexit': 'import atexit, os; atexit.register(os.abort)',
    'object of a module': """
import os
class Last:
    def __del__(self, abort=os.abort):
        abort()
last = Last()
""",
    'object in a cycle': """
import os, sys
class Last:
    def __del__(self, abort=os.abort):
        abort()
last = Last()
last.self = last
sys.last_object = last
""",
    'after the interpreter': """
import ctypes
libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.abort, None, None)
""",
}


@pytest.mark.parametrize('moment', FINISHING)
def test_python_that_shuts_down(interpreter, moment):
    if moment == 'object in a cycle' and interpreter.version < (3, 4):
        pytest.skip(interpreter.name + ' never collects cycles with __del__')
    core = harness.abort_core(interpreter, FINISHING[moment])
    try:
        last = moment == 'after the interpreter'
        result, report = check_moment(interpreter, core.path, not last)
        if last and result.code == 3:
            assert 'shut down' in result.stderr, result.stderr
        if not last and moment != 'atexit':
            codes = [row['code'] for row in report['diagnostics']]
            assert 'MH0130' in codes, codes
    finally:
        core.close()


STARTING = ('Py_RunMain', 'Py_BytesMain', 'Py_InitializeFromConfig', 'PyType_Ready',
            'PyModule_NewObject', 'PyImport_ImportFrozenModule')


@pytest.mark.parametrize('function', STARTING)
def test_python_that_starts(newest, tmp_path, function):
    """gdb stops it the first time that it calls the function, and writes a core."""
    if not shutil.which('gdb'):
        pytest.skip('gdb is missing')
    path = str(tmp_path / 'core')
    commands = ['set confirm off', 'set breakpoint pending on', 'set debuginfod enabled off',
                'break ' + function, 'run', 'generate-core-file ' + path, 'kill']
    output = subprocess.run(
        ['gdb', '-batch', '-nx', *(part for one in commands for part in ('-ex', one)), '--args',
         *newest.command, '-c', 'pass'], capture_output=True, text=True, timeout=60,
        env=dict(os.environ, **newest.environment))
    if not re.search(r'^(Thread \S+ .* hit )?Breakpoint 1', output.stdout, re.M) or \
            not os.path.exists(path):
        pytest.skip('gdb cannot stop %s at %s: %s' % (newest, function, output.stdout[-200:]))
    check_moment(newest, path, False)
