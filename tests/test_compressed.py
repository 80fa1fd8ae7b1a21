# SPDX-License-Identifier: MIT
"""Compressed cores, and cores from standard input: the same answers, and no file left behind."""
import gzip
import json
import lzma
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

import bad_input
import harness


def by_program(name, *arguments):
    def compress(content):
        if not shutil.which(name):
            pytest.skip(name + ' is not installed')
        return subprocess.run([name, '-q', '-c', *arguments], input=content, check=True,
                              stdout=subprocess.PIPE).stdout
    return compress


FORMATS = {'zstd': by_program('zstd'), 'lz4': by_program('lz4'),
           'xz': by_program('xz', '-1', '--block-size=1MiB'),
           'gzip': lambda content: gzip.compress(content, 1)}
PART = 1 << 20


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return bad_input.SmallCore('3.13', tmp_path_factory.mktemp('compressed'))


@pytest.fixture(scope='module')
def packed(small):
    """The small core in each format, made once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = FORMATS[name](small.content)
        return made[name]
    return get


def analyze(small, path, *arguments, command='analyze', codes=bad_input.DAMAGED, **more):
    """(result, report) of a file that holds the small core, with nothing left behind in TMPDIR."""
    parent = os.path.dirname(small.path)
    spool = os.path.join(parent, 'spool')
    os.makedirs(spool, exist_ok=True)
    result = bad_input.run(command, path, *small.options, '--format', 'json', *arguments,
                           env=dict(os.environ, TMPDIR=spool), **more)
    assert os.listdir(spool) == []
    return result, bad_input.check_answer(result, 'standard input' if path == '-' else path, codes)


def without_path(result, path):
    """The bytes of a JSON answer, with the name of the input taken out."""
    text, name = result.stdout, '"path": %s' % json.dumps(path)
    assert text.count(name) == 1, (name, text[:1000])
    return text.replace(name, '"path": ""')


def write(path, content):
    path.write_bytes(content)
    return str(path)


@pytest.fixture(scope='module')
def plain(small):
    """What memheap says of the small core as it is."""
    result, report = analyze(small, small.path)
    assert result.code == 0 and report['target']['file_bytes'] == len(small.content)
    return without_path(result, small.path)


@pytest.mark.parametrize('name', FORMATS)
def test_same_answer_whatever_its_name(small, packed, plain, tmp_path, name):
    path = write(tmp_path / 'core.1234', packed(name))
    result, _ = analyze(small, path)
    assert (result.code, result.stderr) == (0, '')
    assert without_path(result, path) == plain


@pytest.mark.parametrize('name', FORMATS)
@pytest.mark.parametrize('command', ['analyze', 'info'])
def test_same_answer_about_a_real_core(newest_core, tmp_path, name, command):
    with open(newest_core.path, 'rb') as file:
        path = write(tmp_path / 'core', FORMATS[name](file.read()))
    answers = []
    for one in (newest_core.path, path):
        whole = ['--whole'] if command == 'info' else []
        result = harness.memheap(command, one, '--format', 'json', *whole,
                                 *newest_core.interpreter.options)
        answers.append(without_path(result, one))
    assert answers[0] == answers[1]


@pytest.mark.parametrize('name', FORMATS)
def test_concatenated_streams(small, plain, tmp_path, name):
    """Also empty ones, and zeros that pad the end."""
    parts = [small.content[:PART], b'', small.content[PART:PART + 1], small.content[PART + 1:]]
    path = write(tmp_path / 'core', b''.join(map(FORMATS[name], parts)) + bytes(512))
    result, _ = analyze(small, path)
    assert (result.code, result.stderr) == (0, '')
    assert without_path(result, path) == plain


def test_skippable_frames_of_zstd(small, packed, plain, tmp_path):
    """As pzstd writes them."""
    skippable = b'\x50\x2a\x4d\x18\x04\0\0\0abcd'
    path = write(tmp_path / 'core', skippable + packed('zstd') + skippable)
    result, _ = analyze(small, path)
    assert (result.code, without_path(result, path)) == (0, plain)


def head_of(content, name, extra):
    """A stream that is damaged behind the middle, where more than the head has been unpacked."""
    packed = bytearray(FORMATS[name](content + extra))
    packed[len(packed) * 3 // 4:] = bytes(len(packed) - len(packed) * 3 // 4)
    return bytes(packed)


@pytest.mark.parametrize('name', FORMATS)
def test_info_needs_the_head_only(newest_core, tmp_path, name):
    """What is behind the first megabytes may be anything, and info tells what the notes say."""
    with open(newest_core.path, 'rb') as file:
        path = write(tmp_path / 'core', head_of(file.read(), name, os.urandom(4 * PART)))
    options = newest_core.interpreter.options
    info = json.loads(harness.memheap('info', path, '--format', 'json', *options).stdout)
    plain = newest_core.report('info')
    known = [key for key in info['target'] if key not in ('path', 'file_bytes', 'command_line',
                                                          'command_line_cut')]
    assert {key: info['target'][key] for key in known} == \
        {key: plain['target'][key] for key in known}
    assert info['target']['file_bytes'] is None
    assert plain['target']['command_line'].startswith(info['target']['command_line'])
    assert plain['python']['version'].startswith(info['python']['version'])
    for key in ('image_bytes', 'present_bytes', 'expected_file_bytes', 'truncated_bytes'):
        assert info['completeness'][key] == plain['completeness'][key], key
    assert [row['thread_id'] for row in info['threads']] == \
        [row['thread_id'] for row in plain['threads']]
    assert sum(row['bytes'] for row in info['segments']) == plain['completeness']['image_bytes']
    modules = {row['path']: row for row in plain['modules']}
    assert {row['path'] for row in info['modules']} == set(modules)
    for row in info['modules']:     # the page with the build id may be behind the head
        if row['status'] == 'found, build id not unpacked':
            assert not row['build_id'] and modules[row['path']]['build_id']
        else:
            assert row == modules[row['path']]
    assert codes(info) == ['MH0103']
    whole = harness.memheap('info', path, '--whole', *options, check=False)
    assert whole.code == 5 and 'MH0102' in whole.stdout


@pytest.mark.parametrize('name', [None, *FORMATS])
def test_info_does_not_wait_for_the_rest(newest_core, name):
    with open(newest_core.path, 'rb') as file:
        content = file.read() + os.urandom(4 * PART)
    content = FORMATS[name](content) if name else content
    process = subprocess.Popen([harness.MEMHEAP, 'info', '-', *newest_core.interpreter.options],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False)
    try:
        process.stdin.write(content[:len(content) * 3 // 4])    # and the pipe stays open
        process.stdin.flush()
    except BrokenPipeError:
        pass
    assert b'MH0103' in process.stdout.read()
    assert process.wait() == 0
    process.stdout.close()


def codes(report):
    return [row['code'] for row in report['diagnostics']]


def check_flaw(result, report, path, name, flaw):
    """An answer that is partial and says why, or a clear error."""
    text = '%s stream that holds the core %s near byte ' % (name, flaw)
    if report:
        assert result.code == 5 and 'MH0102' in codes(report)
        assert [row['count'] for row in report['gaps'] if row['code'] == 'MH0204'] == [1]
        assert text in result.stdout
    else:
        assert result.code in (1, 3) and not result.stdout
        assert '%s stream %s near byte ' % (name, flaw) in result.stderr
        assert 'copy the compressed file again' in result.stderr
        bad_input.check_message(result, path)


@pytest.mark.parametrize('name', FORMATS)
def test_truncated_stream(small, packed, tmp_path, name):
    content, answers = packed(name), []
    for cut in (7, 30, len(content) // 3, len(content) * 9 // 10, len(content) - 1):
        path = write(tmp_path / 'core', content[:cut])
        result, report = analyze(small, path, '--whole', command='info')
        check_flaw(result, report, path, name, 'ends early')
        assert 'near byte %d' % cut in result.stdout + result.stderr
        answers.append(report and report['completeness']['truncated_bytes'])
    assert answers[0] is None and answers[-1] is not None
    assert answers[-1] < len(small.content) // 10
    result, report = analyze(small, path)
    check_flaw(result, report, path, name, 'ends early')
    assert result.code == 5


@pytest.mark.parametrize('name', FORMATS)
def test_damaged_stream(small, packed, tmp_path, name):
    """What came before the damage is looked at."""
    size = len(packed(name))
    for at in bad_input.some(range(size // 5, size, size // 5)):
        content = bytearray(packed(name))
        content[at:at + 8] = bytes(byte ^ 0x55 for byte in content[at:at + 8])
        path = write(tmp_path / 'core', content)
        result, report = analyze(small, path, '--whole', command='info')
        check_flaw(result, report, path, name, 'is damaged')
    # of the last one, four fifths are there
    assert result.code == 5 and report
    result, report = analyze(small, path)
    check_flaw(result, report, path, name, 'is damaged')


@pytest.mark.parametrize('name', FORMATS)
def test_garbage_behind_the_stream(small, packed, tmp_path, name):
    path = write(tmp_path / 'core', packed(name) + b'garbage' * 10)
    result, report = analyze(small, path)
    check_flaw(result, report, path, name, 'is damaged')
    assert result.code == 5 and report['completeness']['truncated_bytes'] == 0


@pytest.mark.parametrize('name', FORMATS)
def test_no_core_inside(small, tmp_path, name):
    for content, words in ((b'', 'is empty'), (b'no core\n' * PART, 'not an ELF core'),
                           (gzip.compress(b'core'), 'compressed with gzip, then with ' + name)):
        path = write(tmp_path / 'core', FORMATS[name](content))
        result, _ = analyze(small, path)
        assert result.code == 1 and words in result.stderr


# a frame of zstd with a window of 1 GiB, and an empty block
WIDE = {'zstd': b'\x28\xb5\x2f\xfd\0' + bytes([(30 - 10) << 3]) + b'\1\0\0',
        'xz': lzma.compress(b'core', filters=[{'id': lzma.FILTER_LZMA2, 'dict_size': 1 << 29}])}


@pytest.mark.parametrize('name', WIDE)
def test_streams_that_take_too_much_memory_are_refused(small, tmp_path, name):
    path = write(tmp_path / 'core', WIDE[name])
    result, _ = analyze(small, path)
    assert result.code == 1 and '256 MiB of memory' in result.stderr
    assert 'unpack it first: %s -d' % name in result.stderr


@pytest.mark.parametrize('name', [None, *FORMATS])
@pytest.mark.parametrize('how', ['pipe', 'file'])
def test_standard_input(small, packed, plain, tmp_path, name, how):
    path = write(tmp_path / 'core', packed(name) if name else small.content)
    feeder = subprocess.Popen(['cat', path], stdout=subprocess.PIPE)
    with open(path, 'rb') as file, feeder.stdout:
        result, _ = analyze(small, '-', stdin=file if how == 'file' else feeder.stdout)
    feeder.wait()
    assert (result.code, result.stderr) == (0, '')
    assert without_path(result, 'standard input') == plain


def test_standard_input_that_was_read_from(small, plain, tmp_path):
    path = write(tmp_path / 'core', b'header\n' + small.content)
    with open(path, 'rb') as file:
        os.lseek(file.fileno(), 7, os.SEEK_SET)
        result, _ = analyze(small, '-', stdin=file)
    assert (result.code, without_path(result, 'standard input')) == (0, plain)


def test_truncated_standard_input(small):
    cut = len(small.content) - 5000
    feeder = subprocess.Popen(['head', '-c', str(cut), small.path], stdout=subprocess.PIPE)
    with feeder.stdout:
        result, report = analyze(small, '-', stdin=feeder.stdout)
    feeder.wait()
    assert result.code == 5 and report['completeness']['file_bytes'] == cut
    assert 'MH0101' in codes(report) and 'MH0102' not in codes(report)


def test_standard_input_that_is_no_core(small, tmp_path):
    result, _ = analyze(small, '-')                             # /dev/null
    assert result.code == 1 and 'standard input: it is empty' in result.stderr
    directory = os.open(str(tmp_path), os.O_RDONLY)
    result, _ = analyze(small, '-', stdin=directory)
    os.close(directory)
    assert result.code == 1 and 'not a regular file' in result.stderr
    result, _ = analyze(small, '-', before=['sh', '-c', 'exec "$@" <&-', 'sh'])
    assert result.code == 1 and 'Bad file descriptor' in result.stderr


def test_terminal_is_refused():
    master, terminal = pty.openpty()
    result = harness.memheap('analyze', '-', check=False, stdin=terminal)
    os.close(terminal)
    os.close(master)
    assert (result.code, result.stdout) == (2, '')
    assert 'from a terminal' in result.stderr and 'hint: ' in result.stderr


def test_directory_that_is_not_there(small, packed, tmp_path):
    path = write(tmp_path / 'core', packed('gzip'))
    missing = str(tmp_path / 'missing')
    result, _ = analyze(small, path, '--tmpdir', missing)
    assert result.code == 1 and '%s: No such file' % missing in result.stderr
    assert '--tmpdir DIR' in result.stderr
    result, _ = analyze(small, small.path, '--tmpdir', missing)
    assert result.code == 0     # not needed


def test_directory_that_cannot_be_written(small, packed, tmp_path):
    path = write(tmp_path / 'core', packed('gzip'))
    closed = tmp_path / 'closed'
    closed.mkdir(0o555)
    before = []
    if os.geteuid() == 0:
        if not shutil.which('setpriv'):
            pytest.skip('root writes everywhere, and setpriv is missing')
        before = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']
        if subprocess.run([*before, 'test', '-x', harness.MEMHEAP]).returncode:
            pytest.skip('another user cannot run ' + harness.MEMHEAP)
        for directory in (tmp_path, *tmp_path.parents):
            if 'pytest' in str(directory):
                directory.chmod(0o755)
    result, _ = analyze(small, path, '--tmpdir', str(closed), before=before, codes=[4])
    assert result.code == 4 and '%s: Permission denied' % closed in result.stderr
    assert '--tmpdir DIR' in result.stderr


@pytest.fixture
def tiny(tmp_path):
    """Mounts a file system of so many bytes."""
    mounted = []

    def mount(size):
        path = str(tmp_path / ('tiny%d' % len(mounted)))
        os.mkdir(path)
        result = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%d' % size, 'tmpfs', path],
                                capture_output=True, text=True)
        if result.returncode:
            pytest.skip('cannot mount a tmpfs: ' + result.stderr.strip())
        mounted.append(path)
        return path
    yield mount
    for path in mounted:
        subprocess.run(['umount', path], check=True)


def test_no_space(small, packed, tiny, tmp_path):
    path = write(tmp_path / 'core', packed('gzip'))
    directory = tiny(len(packed('gzip')) // 2)
    result, _ = analyze(small, path, '--tmpdir', directory)
    assert result.code == 1 and 'no space left in ' + directory in result.stderr
    assert '%d are needed' % len(packed('gzip')) in result.stderr       # before it begins
    directory = tiny(len(packed('gzip')) + PART)
    result, _ = analyze(small, path, '--tmpdir', directory)
    assert result.code == 1 and 'cannot unpack %s: no space left in ' % path in result.stderr
    assert 'bytes are written, about ' in result.stderr and '--tmpdir DIR' in result.stderr
    assert os.statvfs(directory).f_bfree == os.statvfs(directory).f_blocks
    with open(small.path, 'rb') as file, subprocess.Popen(['cat'], stdin=file,
                                                          stdout=subprocess.PIPE) as feeder:
        result, _ = analyze(small, '-', '--tmpdir', directory, stdin=feeder.stdout)
        feeder.stdout.close()
    assert result.code == 1 and 'bytes are written' in result.stderr


def test_zeros_take_no_space(small, plain, tiny, tmp_path):
    """A core of 1 GiB, nearly all of it zeros that no header speaks of, in a small directory."""
    path = str(tmp_path / 'core')
    with gzip.open(path, 'wb', 1) as file:
        file.write(small.content)
        for _ in range(256):
            file.write(bytes(4 * PART))
    directory = tiny(len(small.content) + PART)
    result = harness.memheap('info', path, *small.options, '--format', 'json', '--whole',
                             '--tmpdir', directory)
    assert json.loads(result.stdout)['target']['file_bytes'] == len(small.content) + 1024 * PART


# as on NFS: there are no files without a name
NO_TMPFILE = r"""
#include <dlfcn.h>
#include <errno.h>
#define WRAP(name) int name(const char *path, int flags, int mode) { \
	int (*next)(const char *, int, int) = dlsym(RTLD_NEXT, #name); \
	if ((flags & 020200000) != 020200000) \
		return next(path, flags, mode); \
	errno = EOPNOTSUPP; \
	return -1; }
WRAP(open)
WRAP(open64)
"""


@pytest.mark.skipif(bad_input.SANITIZED, reason='sanitizers want to be loaded first')
def test_file_system_without_nameless_files(small, packed, plain, tmp_path):
    if not shutil.which('gcc'):
        pytest.skip('gcc is not installed')
    path, library = write(tmp_path / 'core', packed('zstd')), str(tmp_path / 'wrap.so')
    subprocess.run(['gcc', '-D_GNU_SOURCE', '-shared', '-fPIC', '-x', 'c', '-', '-o', library],
                   input=NO_TMPFILE, text=True, check=True)
    before = ['env', 'LD_PRELOAD=' + library]
    result, _ = analyze(small, path, before=before)
    assert (result.code, result.stderr, without_path(result, path)) == (0, '', plain)
    missing = str(tmp_path / 'missing')
    result, _ = analyze(small, path, '--tmpdir', missing, before=before)
    assert result.code == 1 and '%s: No such file' % missing in result.stderr


def wait_for_file(process, directory):
    """Waits until the process has a file open in the directory, which has no name any more."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for fd in os.listdir('/proc/%d/fd' % process.pid):
            try:
                name = os.readlink('/proc/%d/fd/%s' % (process.pid, fd))
            except FileNotFoundError:
                continue
            if name.startswith(directory + '/') and name.endswith(' (deleted)'):
                return
        time.sleep(0.01)
    raise AssertionError('no temporary file in ' + directory)


@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_interrupted(small, tmp_path, number, code):
    process = subprocess.Popen([harness.MEMHEAP, 'analyze', '-', '--tmpdir', str(tmp_path)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(small.content[:PART])
    process.stdin.flush()
    wait_for_file(process, str(tmp_path))
    assert os.listdir(tmp_path) == []
    process.send_signal(number)
    assert process.wait(timeout=30) == code
    assert process.stdout.read() == b'' and os.listdir(tmp_path) == []
    process.stdin.close()
    process.stdout.close()


def check_shown(terminal, process, pattern, feed=lambda: None):
    """Waits until the pattern appears on the terminal; fails when it does not come."""
    shown, end = '', time.monotonic() + 30
    while not re.search(pattern, shown) and time.monotonic() < end and process.poll() is None:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 4096).decode()
        else:
            feed()
    process.kill()
    process.communicate()
    assert re.search(pattern, shown), shown


def test_progress(small, tmp_path):
    """Of a pipe nobody knows how much will come."""
    terminal, other = pty.openpty()
    process = subprocess.Popen([harness.MEMHEAP, 'info', '-', '--whole', '--tmpdir',
                                str(tmp_path)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=other,
                               bufsize=0)
    process.stdin.write(small.content)
    check_shown(terminal, process, r'memheap: reading \d+ MiB',
                lambda: process.stdin.write(bytes(PART)))
    os.close(terminal)
    os.close(other)


def test_progress_of_a_file(small, tmp_path):
    """A file that is read slowly enough to be told of: one of some GiB of zeros."""
    path = str(tmp_path / 'core')
    zeros = gzip.compress(bytes(64 * PART))
    with open(path, 'wb') as file:
        file.write(gzip.compress(small.content, 1) + zeros * 64)
    terminal, other = pty.openpty()
    process = subprocess.Popen([harness.MEMHEAP, 'info', path, '--whole', '--tmpdir',
                                str(tmp_path)],
                               stdout=subprocess.PIPE, stderr=other)
    check_shown(terminal, process, r'memheap: unpacking +\d+ %')
    os.close(terminal)
    os.close(other)
