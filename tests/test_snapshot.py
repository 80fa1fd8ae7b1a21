# SPDX-License-Identifier: MIT
"""memheap snapshot: the core that it writes says what the process says, to memheap and to gdb."""
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time

import pytest

import harness

pytestmark = pytest.mark.skipif(harness.why_not_live() is not None,
                                reason='no process can be looked at here: %s' %
                                harness.why_not_live())

SMALLER = ['--anonymous-only', '--python-only', '--compress']


@pytest.fixture(scope='module')
def waiting(newest):
    core = harness.make_core(newest, 'zoo', how='waiting')
    yield core
    core.close()


def snapshot(core, path, *options):
    return harness.memheap('snapshot', str(core.pid), '-o', str(path), *options)


def answers(path, options):
    """What does not depend on where the image came from."""
    return [harness.memheap(command, str(path), '--format', 'csv', '--limit', '0', *options).stdout
            for command in ('types', 'objects', 'gc', 'arenas')]


def test_the_core_says_what_the_process_says(waiting, tmp_path):
    expected = answers(waiting.path, waiting.interpreter.options)
    assert all(len(answer.splitlines()) > 1 for answer in expected)
    for options in [[]] + [[option] for option in SMALLER]:
        path = tmp_path / 'taken'
        snapshot(waiting, path, *options)
        assert answers(path, waiting.interpreter.options) == expected, options


def test_it_says_what_the_kernel_said(waiting, tmp_path):
    """How it was taken, where its RSS is and what its limits are: as of the process."""
    snapshot(waiting, tmp_path / 'taken')
    core = json.loads(harness.memheap('analyze', str(tmp_path / 'taken'), '--format', 'json',
                                      *waiting.interpreter.options).stdout)
    process = waiting.report('analyze')
    assert core['target']['kind'] == 'core' and process['target']['kind'] == 'process'
    assert core['resident'] == process['resident'] != []
    assert core['process_memory']['limit_bytes'] == process['process_memory']['limit_bytes']
    assert core['process_memory']['peak_rss_bytes'] > 0 and core['snapshot']['pause_us'] > 0
    for key in ('mode', 'state', 'consistent', 'torn_bytes', 'left_zombie', 'passed_over'):
        assert core['snapshot'][key] == process['snapshot'][key]


def test_a_whole_core_needs_no_file(waiting, tmp_path):
    """Nothing is refilled from files, and little is missing: pages that the kernel keeps."""
    snapshot(waiting, tmp_path / 'taken')
    core = harness.Core(waiting.interpreter, 'zoo', str(tmp_path), None)
    core.path = str(tmp_path / 'taken')
    whole = core.report('analyze')['completeness']
    process = waiting.report('analyze')['completeness']
    assert whole['refilled_bytes'] == 0 < process['refilled_bytes']
    assert whole['missing_bytes'] == process['missing_bytes']
    assert whole['image_bytes'] == process['image_bytes']


def test_smaller_ones_are_smaller(waiting, tmp_path):
    sizes = {}
    for option in [''] + SMALLER:
        output = snapshot(waiting, tmp_path / 'taken', *filter(None, [option])).stdout
        assert re.search(r'taken: [\d.]+ MiB on disk; \w+: process \d+ stood still for', output)
        sizes[option] = (tmp_path / 'taken').stat().st_blocks
    assert sizes[''] > sizes['--anonymous-only'] >= sizes['--python-only'] > sizes['--compress']


def test_zeros_take_no_space(tmp_path):
    process = subprocess.Popen(
        ['/usr/bin/python3', '-c', 'x = bytearray(300 << 20); x[::1 << 20] = b"x" * 300\n'
         'print(flush=True)\nimport time\ntime.sleep(1000)'], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        path = tmp_path / 'taken'
        harness.memheap('snapshot', str(process.pid), '-o', str(path))
        assert path.stat().st_size > 300 << 20 > 6 * path.stat().st_blocks * 512
    finally:
        process.kill()
        process.communicate()


def test_only_its_owner_may_read_it(waiting, tmp_path):
    snapshot(waiting, tmp_path / 'taken')
    assert stat.S_IMODE((tmp_path / 'taken').stat().st_mode) == 0o600


def test_gdb_shows_all_threads_where_they_are(newest, tmp_path):
    if not shutil.which('gdb'):
        pytest.skip('gdb is not installed')
    core = harness.make_core(newest, 'busy', how='running')
    try:
        report = core.report('info')
        snapshot(core, tmp_path / 'taken')
        program = os.path.realpath('/proc/%d/exe' % core.pid)
        output = subprocess.run(
            ['gdb', '-nx', '-batch', '-ex', 'info threads', '-ex', 'thread apply all bt -30',
             program, str(tmp_path / 'taken')], capture_output=True, text=True).stdout
    finally:
        core.close()
    assert sorted(map(int, set(re.findall(r'\(LWP (\d+)\)', output)))) == \
        sorted(row['thread_id'] for row in report['threads'])
    # each stack ends where threads, and the program, begin
    assert output.count('thread_run') == 8 or output.count('clone3') == 8 or \
        output.count('start_thread') == 8
    assert re.search(r'_start|main', output)


def test_it_is_there_when_all_is_written(waiting, tmp_path):
    """A killed one leaves the file that was there before, and the process as it was."""
    path = tmp_path / 'taken'
    path.write_text('before')
    for after in (0.005, 0.02, 0.05):
        process = subprocess.Popen([harness.MEMHEAP, 'snapshot', str(waiting.pid), '-o', str(path)],
                                   stdout=subprocess.DEVNULL)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            assert path.read_text() == 'before'
        else:
            path.write_text('before')


def test_interrupted_it_leaves_nothing(waiting, tmp_path):
    for after in (0.01, 0.03, 0.06):
        process = subprocess.Popen([harness.MEMHEAP, 'snapshot', str(waiting.pid), '-o',
                                    str(tmp_path / 'taken')], stdout=subprocess.DEVNULL)
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        # the signal itself ends one that has not begun yet
        if process.wait() in (130, -signal.SIGINT):
            assert os.listdir(tmp_path) == []
        else:
            os.unlink(tmp_path / 'taken')


def test_a_full_disk_is_found_before(waiting, tmp_path):
    disk = tmp_path / 'disk'
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1M', 'none', disk],
                                           capture_output=True).returncode:
        pytest.skip('a small file system cannot be mounted here')
    try:
        result = harness.memheap('snapshot', str(waiting.pid), '-o', str(disk / 'taken'),
                                 check=False)
        assert result.code == 1 and os.listdir(disk) == []
        assert 'it takes' in result.stderr and '--compress' in result.stderr
    finally:
        subprocess.run(['umount', disk], check=True)


@pytest.mark.parametrize('arguments', [['1'], ['./core', '-o', 'x']])
def test_refused(arguments):
    result = harness.memheap('snapshot', *arguments, check=False)
    assert result.code == 2 and 'snapshot PID -o FILE' in result.stderr


def test_any_process_can_be_written(tmp_path):
    process = subprocess.Popen(['sleep', '1000'])
    try:
        harness.memheap('snapshot', str(process.pid), '-o', str(tmp_path / 'taken'))
        output = harness.memheap('info', str(tmp_path / 'taken')).stdout
        assert 'sleep 1000' in output
        result = harness.memheap('snapshot', str(process.pid), '-o', str(tmp_path / 'taken'),
                                 '--python-only', check=False)
        assert result.code == 3
    finally:
        process.kill()
        process.wait()
