# SPDX-License-Identifier: MIT
"""Where the answer goes, and what it may look like there."""
import os
import pty
import signal
import stat
import subprocess
import time

import pytest

import harness


def test_output_file_holds_what_would_be_printed(newest_core, tmp_path):
    path = tmp_path / 'report.json'
    result = newest_core.memheap('types', '--format', 'json', '-o', str(path))
    assert (result.stdout, result.stderr) == ('', '')
    assert path.read_text() == newest_core.memheap('types', '--format', 'json').stdout
    assert os.listdir(tmp_path) == ['report.json']


def test_output_file_is_replaced_in_one_step(newest_core, tmp_path):
    path = tmp_path / 'report'
    path.write_text('old')
    os.link(path, tmp_path / 'other name')
    newest_core.memheap('gc', '-o', str(path))
    assert path.read_text().startswith('Garbage collector')
    # a new file took the name; the old one was not written to
    assert (tmp_path / 'other name').read_text() == 'old'


def test_output_file_keeps_its_permissions(newest_core, tmp_path):
    path = tmp_path / 'report'
    path.write_text('old')
    path.chmod(0o640)
    newest_core.memheap('gc', '-o', str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_new_output_file_has_usual_permissions(newest_core, tmp_path):
    path = tmp_path / 'report'
    newest_core.memheap('gc', '-o', str(path), preexec_fn=lambda: os.umask(0o027))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize('arguments', [('types', '--format', 'json'), ('objects',),
                                       ('objects', '--format', 'csv')])
def test_failed_write_leaves_the_old_file(arguments, newest_core, tmp_path):
    path = tmp_path / 'report'
    path.write_text('old')
    # no file may grow beyond a block of 512 or 1024 bytes, which one depends on the shell
    limit = 'trap "" XFSZ; ulimit -f 1; exec "$@"'
    command = [harness.MEMHEAP, arguments[0], newest_core.path, *arguments[1:], '-o', str(path)]
    result = subprocess.run(['sh', '-c', limit, 'sh', *command], capture_output=True, text=True,
                            check=False)
    assert (result.returncode, result.stdout) == (1, '')
    assert result.stderr == 'memheap: cannot write %s: File too large\n' % path
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['report']


@pytest.mark.parametrize('arguments', [
    ('analyze', '--format', 'json'), ('analyze',), ('types',), ('types', '--format', 'json'),
    ('types', '--format', 'csv'), ('objects', '--format', 'jsonl'), ('arenas',)])
def test_no_space(arguments, newest_core):
    with open('/dev/full', 'w') as full:
        process = subprocess.run(
            [harness.MEMHEAP, arguments[0], newest_core.path, *arguments[1:]], stdout=full,
            stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr == 'memheap: cannot write standard output: No space left on device\n'
    result = newest_core.memheap(*arguments, '-o', '/dev/full', check=False)
    assert result.code == 1
    assert result.stderr == 'memheap: cannot write /dev/full: No space left on device\n'
    assert stat.S_ISCHR(os.stat('/dev/full').st_mode)


@pytest.mark.parametrize('arguments', [['--version'], ['--help'], ['help', 'types'],
                                       ['types', '--help'], ['help', 'man'], ['schema'],
                                       ['completion', 'bash']])
def test_no_space_for_help(arguments):
    with open('/dev/full', 'w') as full:
        process = subprocess.run([harness.MEMHEAP, *arguments], stdout=full,
                                 stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 1
    assert 'No space left on device' in process.stderr


def test_output_into_a_missing_directory(newest_core, tmp_path):
    path = str(tmp_path / 'nowhere' / 'report')
    result = newest_core.memheap('gc', '-o', path, check=False)
    assert (result.code, result.stdout) == (1, '')
    assert result.stderr == 'memheap: cannot write %s: No such file or directory\n' % path


@pytest.mark.parametrize('arguments', [('objects', '--format', 'jsonl'),
                                       ('objects', '--limit', '0'),
                                       ('objects', '--format', 'json')])
def test_a_reader_that_leaves_ends_it_quietly(arguments, newest_core):
    process = subprocess.Popen([harness.MEMHEAP, arguments[0], newest_core.path, *arguments[1:]],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b''
    assert process.wait() == -signal.SIGPIPE


def test_interrupted_leaves_no_file(newest_core, tmp_path):
    """Stopped while the temporary file is there, interrupted, continued."""
    path = tmp_path / 'objects'
    path.write_text('old')
    for _ in range(200):
        process = subprocess.Popen([harness.MEMHEAP, 'objects', newest_core.path, '--format',
                                    'json', '-o', str(path)])
        while process.poll() is None and len(os.listdir(tmp_path)) == 1:
            time.sleep(0.0001)
        if process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGCONT)
        if process.wait() == 130:
            break
        path.write_text('old')
    assert process.returncode == 130
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['objects']


@pytest.mark.parametrize('ignored', [True, False])
def test_a_hangup_that_is_ignored_stays_so(ignored, newest_core, tmp_path):
    """As with nohup: it lives on."""
    path = tmp_path / 'objects'
    how = signal.SIG_IGN if ignored else signal.SIG_DFL
    for _ in range(200):
        process = subprocess.Popen([harness.MEMHEAP, 'objects', newest_core.path, '--format',
                                    'json', '-o', str(path)],
                                   preexec_fn=lambda: signal.signal(signal.SIGHUP, how))
        while process.poll() is None and not os.listdir(tmp_path):
            time.sleep(0.0001)
        running = process.poll() is None
        process.send_signal(signal.SIGHUP)
        process.wait()
        if running and (ignored or process.returncode):
            break
        path.unlink()
    assert process.returncode == (0 if ignored else 128 + signal.SIGHUP)
    assert os.listdir(tmp_path) == (['objects'] if ignored else [])


def on_terminal(core, *arguments, **environment):
    """What memheap prints on a terminal of 120 columns."""
    environment = {**os.environ, 'TERM': 'xterm', 'NO_COLOR': '', **environment}
    primary, secondary = pty.openpty()
    subprocess.run(['stty', 'cols', '120', 'rows', '24'], stdin=secondary, check=True)
    process = subprocess.Popen(
        [harness.MEMHEAP, arguments[0], core.path, *arguments[1:]], stdout=secondary,
        stderr=subprocess.STDOUT, env=environment)
    os.close(secondary)
    output = b''
    try:
        while True:
            output += os.read(primary, 65536)
    except OSError:     # EIO: the other end was closed
        pass
    os.close(primary)
    assert process.wait() == 0
    return output.decode()


def test_colours_on_a_terminal_only(newest_core):
    assert '\033[1m' in on_terminal(newest_core, 'types')
    assert '\033' not in newest_core.memheap('types').stdout


def test_no_colours_when_asked(newest_core):
    assert '\033' not in on_terminal(newest_core, 'types', NO_COLOR='1')
    assert '\033' not in on_terminal(newest_core, 'types', TERM='dumb')
    assert '\033' not in on_terminal(newest_core, 'types', '--color', 'never')


def test_colours_when_asked(newest_core):
    assert '\033[1m' in newest_core.memheap('types', '--color', 'always').stdout
    assert '\033[1m' in on_terminal(newest_core, 'types', '--color', 'always', NO_COLOR='1')


def test_tables_fit_the_terminal(newest_core):
    """Long paths are cut on a terminal, and complete elsewhere."""
    wide = newest_core.memheap('regions').stdout
    assert max(map(len, wide.splitlines())) > 120
    narrow = on_terminal(newest_core, 'regions', '--color', 'never')
    assert max(map(len, narrow.replace('\r', '').splitlines())) <= 120


@pytest.mark.parametrize('command', ['analyze', 'arenas', 'types'])
def test_plain_characters_without_utf8(command, newest_core):
    plain = newest_core.memheap(command, env=dict(os.environ, LC_ALL='C')).stdout
    assert plain.isascii()


def test_drawings_with_utf8(newest_core):
    utf8 = newest_core.memheap('analyze', env=dict(os.environ, LC_ALL='C.UTF-8')).stdout
    assert '█' in utf8


def test_machine_formats_do_not_depend_on_the_locale(newest_core):
    for how in ('json', 'jsonl', 'csv'):
        outputs = {newest_core.memheap('types', '--format', how,
                                       env=dict(os.environ, LC_ALL=locale)).stdout
                   for locale in ('C', 'C.UTF-8', 'de_DE.UTF-8')}
        assert len(outputs) == 1


def test_standard_error_that_is_no_terminal_shows_no_progress(newest_core):
    assert newest_core.memheap('analyze').stderr == ''
