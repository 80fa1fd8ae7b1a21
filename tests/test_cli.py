# SPDX-License-Identifier: MIT
"""The command line: every command in every format, what is refused, and how it ends."""
import csv
import io
import json
import os
import signal
import struct
import subprocess
import time

import pytest

import commands
import harness

ALL = [(command, how) for command in commands.REPORTS for how in commands.FORMATS]


def refused(*arguments):
    """The message of a command line that makes no sense."""
    result = harness.memheap(*arguments, check=False)
    assert (result.code, result.stdout) == (2, '')
    assert result.stderr.startswith('memheap: ') and result.stderr.count('\n') == 1
    return result.stderr


@pytest.mark.parametrize('command, how', ALL)
def test_command_prints_in_format(command, how, newest_core):
    result = newest_core.memheap(command, *commands.arguments(newest_core, command),
                                 '--format', how)
    assert result.stderr == ''
    if how == 'json':
        assert json.loads(result.stdout)['schema'] == commands.schema(
            command)['properties']['schema']['const']
    elif how == 'jsonl':
        assert all(isinstance(json.loads(line), dict) for line in result.stdout.splitlines())
        assert len(result.stdout.splitlines()) > 1
    elif how == 'csv':
        rows = list(csv.reader(io.StringIO(result.stdout)))
        assert rows[0] == commands.columns(command)
        assert len(rows) > 2 and {len(row) for row in rows} == {len(rows[0])}
    else:
        assert len(result.stdout.splitlines()) > 5
        assert '\033' not in result.stdout


@pytest.mark.parametrize('command, how', ALL)
def test_the_same_core_gives_the_same_bytes(command, how, newest_core):
    extra = commands.arguments(newest_core, command)
    first, second = (newest_core.memheap(command, *extra, '--format', how, '--threads', threads)
                     for threads in ('1', '4'))
    assert first.stdout == second.stdout


def as_csv(value):
    if value is None or isinstance(value, bool):
        return {None: '', True: 'true', False: 'false'}[value]
    if isinstance(value, list):
        return '\n'.join(value)
    return '%.10g' % value if isinstance(value, float) else str(value)


@pytest.mark.parametrize('command', commands.REPORTS)
def test_formats_agree(command, newest_core):
    """json, jsonl and csv hold the same rows."""
    extra = commands.arguments(newest_core, command)
    document, lines, table = (newest_core.memheap(command, *extra, '--format', how).stdout
                              for how in ('json', 'jsonl', 'csv'))
    rows = json.loads(document)
    for name in commands.MAIN_TABLES[command].split('.'):
        rows = rows[name]
    assert rows == [json.loads(line) for line in lines.splitlines()]
    keys = commands.columns(command)
    printed = [[as_csv(row.get(key)) for key in keys] for row in rows]
    assert printed == list(csv.reader(io.StringIO(table)))[1:]


def test_unknown_command():
    assert "no command 'frobnicate'" in refused('frobnicate', 'core')
    assert "did you mean 'types'?" in refused('typs', 'core')


def test_a_core_in_place_of_a_command(newest_core):
    assert 'try: memheap analyze ' + newest_core.path in refused(newest_core.path)


def test_no_command():
    result = harness.memheap(check=False)
    assert (result.code, result.stdout) == (2, '')
    assert result.stderr.startswith('Usage: memheap COMMAND')


@pytest.mark.parametrize('command', commands.REPORTS)
def test_unknown_option(command):
    assert "unknown option '--frobnicate'" in refused(command, 'core', '--frobnicate')
    assert "unknown option '-Z'" in refused(command, 'core', '-Z')
    assert 'memheap help ' + command in refused(command, 'core', '--frobnicate=1')


@pytest.mark.parametrize('command', commands.REPORTS)
def test_unknown_format(command):
    message = refused(command, 'core', '--format', 'yaml')
    assert "not 'yaml'" in message and all(how in message for how in commands.FORMATS)


@pytest.mark.parametrize('command', commands.REPORTS)
def test_unknown_column(command):
    extra = ['0x1000'] if command in commands.WITH_ADDRESS else []
    message = refused(command, 'core', *extra, '--sort', 'colour')
    assert "by 'colour'" in message
    assert message.rstrip().endswith(', '.join(commands.columns(command)))


@pytest.mark.parametrize('command', commands.REPORTS)
def test_unknown_table(command):
    extra = ['0x1000'] if command in commands.WITH_ADDRESS else []
    message = refused(command, 'core', *extra, '--format', 'csv', '--table', 'furniture')
    assert "no table 'furniture'" in message
    assert commands.MAIN_TABLES[command] in message


@pytest.mark.parametrize('arguments, complaint', [
    (['analyze'], 'needs CORE'),
    (['analyze', 'core', 'other'], "not 'other' too"),
    (['object', 'core'], 'needs CORE|PID ADDRESS'),
    (['object', 'core', 'here'], "'here' is no address"),
    (['object', 'core', '-1'], "unknown option '-1'"),
    (['object', 'core', '0x12345678123456781'], 'is no address'),
    (['types', 'core', '--limit', 'many'], "--limit takes a number, not 'many'"),
    (['types', 'core', '--limit', '-1'], "--limit takes a number, not '-1'"),
    (['types', 'core', '--limit', '99999999999999999999'], '--limit takes a number'),
    (['objects', 'core', '--min-size', '1X'], '--min-size takes a size'),
    (['objects', 'core', '--min-size', '-1'], '--min-size takes a size'),
    (['objects', 'core', '--min-size', 'nan'], '--min-size takes a size'),
    (['objects', 'core', '--min-size', '2k', '--max-size', '1k'], 'less than --min-size'),
    (['types', 'core', '--ascending'], '--ascending goes with --sort'),
    (['types', 'core', '--table', 'types'], '--table goes with'),
    (['types', 'core', '--format', 'csv', '--bytes'], '--bytes goes with'),
    (['types', 'core', '--threads', '0'], '--threads takes a number'),
    (['types', 'core', '--layout', 'guess'], '--layout takes auto|dwarf|table'),
    (['types', 'core', '--color', 'red'], '--color takes auto|always|never'),
    (['types', 'core', '--type'], "'--type' takes an argument"),
    (['schema', 'weather'], "no schema for 'weather'"),
    (['completion', 'tcsh'], "not for 'tcsh'"),
    (['help', 'yourself'], "no command 'yourself'"),
])
def test_refused_with_a_reason(arguments, complaint):
    assert complaint in refused(*arguments)


def ends(code, *arguments):
    """The message of a command that fails with an exit code, and prints nothing."""
    result = harness.memheap(*arguments, check=False)
    assert (result.code, result.stdout) == (code, '')
    assert result.stderr.startswith('memheap: ')
    return result.stderr


@pytest.mark.parametrize('command', commands.REPORTS)
def test_what_cannot_be_read_ends_with_1(command, tmp_path):
    extra = ['0x1000'] if command in commands.WITH_ADDRESS else []
    (tmp_path / 'text').write_text('no core')
    (tmp_path / 'empty').write_text('')
    assert 'No such file' in ends(1, command, str(tmp_path / 'nothing'), *extra)
    assert 'not an ELF core' in ends(1, command, str(tmp_path / 'text'), *extra)
    assert str(tmp_path / 'empty') in ends(1, command, str(tmp_path / 'empty'), *extra)
    assert 'regular file' in ends(1, command, str(tmp_path), *extra)


@pytest.mark.parametrize('command', [one for one in commands.REPORTS if one != 'info'])
def test_no_python_ends_with_3(command, sleep_core):
    message = ends(3, command, sleep_core, *(['0x1000'] if command in commands.WITH_ADDRESS else []))
    assert 'not a core of a CPython' in message and 'memheap info' in message


def test_info_of_no_python_tells_what_it_is(sleep_core):
    result = harness.memheap('info', sleep_core)
    for text in ('sleep', 'SIGABRT', '/libc.so.6', 'not a core of a CPython'):
        assert text in result.stdout


def test_not_permitted_ends_with_4(tmp_path):
    path = tmp_path / 'core'
    path.write_text('secret')
    path.chmod(0)
    nobody = {}
    if os.geteuid() == 0:
        # root may read all: try as somebody else, who can get at the program
        nobody = {'user': 65534, 'group': 65534, 'extra_groups': []}
        os.chmod(tmp_path, 0o755)
        path = '/proc/1/mem'
        if subprocess.run(['test', '-x', harness.MEMHEAP], check=False, **nobody).returncode:
            pytest.skip('%s is not to be run by other users' % harness.MEMHEAP)
    result = harness.memheap('info', str(path), check=False, **nobody)
    assert (result.code, result.stdout) == (4, '')
    assert 'Permission denied' in result.stderr


def last_segment(path):
    """(type, end) of what the file of a core ends with: memory, or gdb's notes."""
    with open(path, 'rb') as file:
        header = file.read(64)
        start, = struct.unpack_from('<Q', header, 32)
        size, count = struct.unpack_from('<HH', header, 54)
        file.seek(start)
        table = file.read(size * count)
    ends = [(sum(struct.unpack_from('<Q16xQ', table, at + 8)),
             struct.unpack_from('<I', table, at)[0]) for at in range(0, len(table), size)]
    end, kind = max(ends)
    return {1: 'PT_LOAD', 4: 'PT_NOTE'}[kind], end


@pytest.mark.parametrize('command', commands.REPORTS)
def test_a_truncated_core_ends_with_5_and_an_answer(command, newest_core, tmp_path):
    path = str(tmp_path / 'core')
    kind, end = last_segment(newest_core.path)
    cut = 4096 if kind == 'PT_LOAD' else 100
    subprocess.run(['cp', newest_core.path, path], check=True)
    os.truncate(path, end - cut)
    result = harness.memheap(command, path, *commands.arguments(newest_core, command),
                             '--format', 'json', *newest_core.interpreter.options, check=False)
    assert result.code == 5
    report = json.loads(result.stdout)
    assert report['completeness']['truncated_bytes'] == (cut if kind == 'PT_LOAD' else 0)
    assert [row['bytes'] for row in report['gaps'] if row['gap'] == 'core_truncated'] == [cut]
    table = harness.memheap(command, path, *commands.arguments(newest_core, command),
                            *newest_core.interpreter.options, check=False)
    assert table.code == 5
    assert 'truncated' in table.stdout.lower()


def catches_interrupts(process):
    with open('/proc/%d/status' % process.pid) as file:
        caught = [line for line in file if line.startswith('SigCgt')][0].split()[1]
    return int(caught, 16) >> (signal.SIGINT - 1) & 1


def test_interrupted_ends_with_130(newest_core, tmp_path):
    pipe = str(tmp_path / 'pipe')
    os.mkfifo(pipe)     # opening it waits for a reader
    process = subprocess.Popen([harness.MEMHEAP, 'types', newest_core.path, '-o', pipe],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not catches_interrupts(process):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == b''
    assert process.returncode == 130


@pytest.mark.parametrize('arguments', [['--version'], ['-V'], ['types', '--version']])
def test_version_names_the_libraries(arguments):
    output = harness.memheap(*arguments).stdout
    assert output.startswith('memheap ') and output.count('\n') == 1
    for library in ('elfutils', 'zlib', 'zstd', 'lz4', 'xz', 'jansson', 'libsmartcols'):
        assert library + ' ' in output


def test_all_arguments_are_known(newest):
    """The notes of a core have 79 bytes of them; the stack has all."""
    code = 'import os; os.abort() # ' + 'long \u20ac ' * 40
    core = harness.abort_core(newest, code)
    target = core.report('info')['target']
    shown = core.memheap('analyze').stdout
    core.close()
    assert target['command_line'] == ' '.join([*newest.command, '-c', code])
    assert target['command_line_cut'] is False
    assert code[:100] in shown and code not in shown
