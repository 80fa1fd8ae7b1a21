# SPDX-License-Identifier: MIT
"""memheap watch: what grew is told, as a table or as JSON lines, and a core is kept in time."""
import json
import os
import pty
import re
import signal
import subprocess

import pytest

import harness

pytestmark = pytest.mark.skipif(harness.why_not_live() is not None,
                                reason='no process can be looked at here: %s' %
                                harness.why_not_live())

# makes 20,000 objects of a class, with a buffer of 100 bytes each, for each line on its input
LEAK = '''
import sys
class Leak:
    __slots__ = ('buffer',)
kept = []
print('ready', flush=True)
for line in sys.stdin:
    for _ in range(20000):
        leak = Leak()
        leak.buffer = bytearray(100)
        kept.append(leak)
    print('done', flush=True)
'''


class Leaking:
    def __init__(self):
        self.process = subprocess.Popen(['/usr/bin/python3', '-c', LEAK], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        self.pid = str(self.process.pid)

    def leak(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        assert self.process.stdout.readline() == 'done\n'


@pytest.fixture
def leaking():
    leaking = Leaking()
    yield leaking
    leaking.process.kill()
    leaking.process.communicate()


def start(leaking, *options, **more):
    return subprocess.Popen([harness.MEMHEAP, 'watch', leaking.pid, '--interval', '0.1', *options],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def series(line, kind, name):
    return next(row for row in line[kind] if row.get('type', row.get('category')) == name)


def test_growth_is_told_by_type_and_category(leaking):
    watch = start(leaking, '--limit', '0')
    lines = [json.loads(watch.stdout.readline())]
    for _ in range(2):
        leaking.leak()
        # the snapshot under way may have begun before
        lines.append([json.loads(watch.stdout.readline()) for _ in range(2)][-1])
    watch.send_signal(signal.SIGINT)
    end = [json.loads(line) for line in watch.stdout][-1]
    assert watch.wait() == 0 and watch.stderr.read() == ''
    assert [line['event'] for line in lines] == ['snapshot'] * 3 and end['event'] == 'end'
    for line, count in zip(lines[1:] + [end], (20000, 40000, 40000)):
        leak = series(line, 'types', '__main__.Leak')
        assert (leak['objects'], leak['since_start_objects']) == (count, count)
        buffers = series(line, 'types', 'bytearray')
        assert buffers['since_start_objects'] == count
        assert buffers['since_start_bytes'] >= count * (56 + 101)
        assert series(line, 'categories', 'python/objects')['since_start_bytes'] >= \
            count * (40 + 56)
        assert line['since_start_rss_bytes'] > count * 150
        # what grew most comes first
        grown = [row['since_start_bytes'] for row in line['types']]
        assert grown == sorted(grown, reverse=True)


def test_its_cost_is_told_and_bounded(leaking):
    watch = start(leaking, '--interval', '0.01', '--count', '6')
    lines = [json.loads(line) for line in watch.stdout]
    assert watch.wait() == 0
    end = lines[-1]
    assert len(lines) == 7 and end['snapshots'] == 6 and end['mode'] in ('fork', 'stop')
    assert all(line['torn_bytes'] == 0 for line in lines)
    assert end['longest_pause_us'] == max(line['pause_us'] for line in lines[:-1]) > 0
    # a fifth of the time, but for the last one, after which it does not rest
    assert end['busy_ms'] - end['busy_ms'] / 6 < 0.25 * end['elapsed_ms']


def test_table_on_a_terminal(leaking):
    master, slave = pty.openpty()
    watch = subprocess.Popen([harness.MEMHEAP, 'watch', leaking.pid, '--interval', '0.1',
                              '--count', '2'], stdout=slave)
    os.close(slave)
    text = b''
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        text += part
    os.close(master)
    assert watch.wait() == 0
    text = text.decode()
    assert re.search(r'memheap watch %s   RSS [\d.]+ MiB' % leaking.pid, text)
    assert 'What grew in process %s' % leaking.pid in text
    assert re.search(r'TYPE +MiB +SINCE START +SINCE LAST +OBJECTS', text)
    assert re.search(r'it stood still for [\d.]+ ms in all', text)


@pytest.mark.parametrize('options', [['--snapshot-on-growth', '20%'], ['--snapshot-at']])
def test_a_core_is_kept_when_a_threshold_is_passed(options, leaking, tmp_path):
    with open('/proc/%s/statm' % leaking.pid) as file:
        rss = int(file.read().split()[1]) * 4096
    if options == ['--snapshot-at']:
        options = ['--snapshot-at', str(rss + (4 << 20))]
    watch = start(leaking, '--interval', '1', *options, '-o', str(tmp_path / 'taken'))
    json.loads(watch.stdout.readline())
    assert not (tmp_path / 'taken').exists()
    for _ in range(4):
        leaking.leak()
    for text in watch.stdout:
        line = json.loads(text)
        if line['event'] == 'core':
            break
    watch.send_signal(signal.SIGTERM)
    lines = [line] + [json.loads(text) for text in watch.stdout]
    assert watch.wait() == 0
    assert [line['core'] for line in lines if line['event'] == 'core'] == [str(tmp_path / 'taken')]
    types = harness.memheap('types', str(tmp_path / 'taken'), '--format', 'csv').stdout
    assert '\n__main__.Leak,' in types


def test_it_ends_with_the_process(leaking):
    watch = start(leaking)
    json.loads(watch.stdout.readline())
    leaking.process.kill()
    leaking.process.wait()
    assert json.loads(watch.stdout.readlines()[-1])['event'] == 'end'
    assert watch.wait() == 0


@pytest.mark.parametrize('arguments, message', [
    (['./core'], 'needs a process'),
    (['1', '--interval', '0'], 'seconds'),
    (['1', '--snapshot-on-growth', 'much'], 'percent'),
    (['1', '--snapshot-at', 'much'], 'a size'),
])
def test_refused(arguments, message):
    result = harness.memheap('watch', *arguments, check=False)
    assert result.code == 2 and message in result.stderr
