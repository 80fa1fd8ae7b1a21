# SPDX-License-Identifier: MIT
"""Live processes: the same truth as for cores, what only they have, and what is refused."""
import collections
import json
import os
import re
import signal
import struct
import subprocess
import time

import jsonschema
import pytest

import commands
import harness
# the oracles for cores; each takes the fixture `core` of this file
from test_exact import (  # noqa: F401
    test_accounting_agrees_with_types, test_accounting_sums_to_the_image,
    test_every_reachable_object_is_found, test_gc_state_equals_module_gc,
    test_malloc_equals_malloc_info, test_pools_and_blocks_equal_debugmallocstats,
    test_pymalloc_totals_equal_debugmallocstats, test_tracked_objects_are_those_on_the_lists)

pytestmark = pytest.mark.skipif(harness.why_not_live() is not None,
                                reason='no process can be looked at here: %s' %
                                harness.why_not_live())

HAS_PRECOPY = tuple(map(int, re.findall(r'\d+', os.uname().release)[:2])) >= (6, 7)
MODES = ['fork', 'stop', *(['precopy'] if HAS_PRECOPY else []), 'nostop']
# tests/bench/live does the same on every interpreter
WAYS = [('newest', 'zoo', 'waiting/' + mode) for mode in MODES] + \
    [('newest', 'threads', 'stopped/' + mode) for mode in ('fork', 'stop')] + \
    [('oldest', 'zoo', 'waiting/fork'), ('oldest', 'threads', 'stopped/stop')]


@pytest.fixture(scope='module', params=WAYS, ids='-'.join)
def core(request):
    interpreter, program, how = request.param
    core = harness.make_core(request.getfixturevalue(interpreter), program, how=how)
    yield core
    core.close()


@pytest.fixture(scope='module')
def waiting(newest):
    core = harness.make_core(newest, 'zoo', how='waiting')
    yield core
    core.close()


@pytest.fixture
def sleeper():
    process = subprocess.Popen(['sleep', '1000'])
    yield process
    process.kill()
    process.wait()


def state(pid):
    with open('/proc/%d/stat' % pid) as file:
        return file.read().rsplit(')', 1)[1].split()[0]


def sleeps_on(pid):
    """Whether it goes on to sleep: for a moment it runs, to begin its call anew."""
    deadline = time.monotonic() + 10
    while state(pid) != 'S' and time.monotonic() < deadline:
        time.sleep(0.001)
    return state(pid) == 'S'


def thread_states(pid):
    for tid in os.listdir('/proc/%d/task' % pid):
        try:
            yield state(int(tid))
        except OSError:     # it ended
            pass


def tracer(pid):
    with open('/proc/%d/status' % pid) as file:
        return re.search(r'TracerPid:\t(\d+)', file.read()).group(1)


def refused(code, *arguments, **more):
    result = harness.memheap(*arguments, check=False, **more)
    assert (result.code, result.stdout) == (code, ''), result.stderr
    assert result.stderr.startswith('memheap: ')
    return result.stderr


@pytest.mark.parametrize('command', commands.REPORTS)
def test_every_command_takes_a_process(command, waiting):
    """And says of it what its schema says."""
    # all rows are held against their schema in test_schemas.py, which takes long
    few = ['--limit', '1000'] if command == 'objects' else []
    output = waiting.memheap(command, *commands.arguments(waiting, command), *few, '--format',
                             'json', check=False)
    assert output.code == 0, output.stderr
    jsonschema.Draft202012Validator(commands.schema(command)).validate(json.loads(output.stdout))


def test_the_answer_says_how_it_was_taken(core):
    report = core.report()
    snapshot = report['snapshot']
    assert snapshot['mode'] == core.options[-1]
    assert report['target']['kind'] == 'process' and report['target']['pid'] == core.pid
    assert 0 <= snapshot['copied_in_pause_bytes'] <= snapshot['copied_bytes']
    assert snapshot['copied_bytes'] > 4 << 20
    assert snapshot['consistent'] is True and snapshot['torn_bytes'] == 0
    assert (snapshot['pause_us'] == 0) == (snapshot['mode'] == 'nostop')
    text = core.memheap('analyze').stdout
    assert re.search(r'Taken by +%s' % snapshot['mode'], text)


def test_auto_takes_the_gentle_way(waiting):
    """fork for a small process; for a large one precopy, where this kernel has it."""
    assert waiting.report()['snapshot']['mode'] == 'fork'
    process = subprocess.Popen(
        ['/usr/bin/python3', '-c', 'x = bytearray(b"x" * (300 << 20)); print(flush=True); '
         'import time; time.sleep(1000)'], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        snapshot = json.loads(harness.memheap('info', str(process.pid), '--format', 'json')
                              .stdout)['snapshot']
        assert snapshot['mode'] == 'precopy' or (
            snapshot['mode'] == 'fork' and 'precopy: ' in snapshot['passed_over'])
        assert ('PAGEMAP_SCAN' in (snapshot['passed_over'] or '')) != HAS_PRECOPY
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(HAS_PRECOPY, reason='this kernel can do it')
def test_precopy_says_what_it_takes(sleeper):
    """Before Linux 6.7; and the process is not even stopped."""
    assert 'PAGEMAP_SCAN' in refused(1, 'info', str(sleeper.pid), '--mode', 'precopy')


def test_seccomp_is_not_provoked():
    """A process that filters its calls is stopped, not made to call; the answer says why."""
    code = ('import ctypes, struct, time\n'
            'libc = ctypes.CDLL(None)\n'
            # allow everything: BPF_RET | BPF_K, SECCOMP_RET_ALLOW
            'program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))\n'
            'filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, '
            'ctypes.addressof(program)))\n'
            'libc.prctl(38, 1, 0, 0, 0)\n'
            'assert libc.prctl(22, 2, filter, 0, 0) == 0\n'
            'print(flush=True)\n'
            'time.sleep(1000)\n')
    process = subprocess.Popen(['/usr/bin/python3', '-c', code], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        snapshot = json.loads(harness.memheap('info', str(process.pid), '--format', 'json')
                              .stdout)['snapshot']
        assert snapshot['mode'] == 'stop' and 'seccomp' in snapshot['passed_over']
        text = harness.memheap('analyze', str(process.pid)).stdout
        assert re.search(r'Not by +fork: .*seccomp', text)
        assert 'seccomp' in refused(1, 'info', str(process.pid), '--mode', 'fork')
    finally:
        process.kill()
        process.communicate()


KEPT = '''
import ctypes, sys, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
SIZE, ADVICE = int(sys.argv[1]), int(sys.argv[2])
for place in 0, 1, 2:
    # PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, and PROT_NONE around it
    room = libc.mmap(None, ctypes.c_size_t(SIZE + 8192), 0, 0x22, -1, 0) + 4096
    libc.mprotect(ctypes.c_void_p(room), ctypes.c_size_t(SIZE), 3)
    for at in range(0, SIZE, 4096):
        if at // 4096 % 8 != 5:     # others do not exist
            ctypes.c_uint64.from_address(room + at).value = room + at
    if place == 1:
        assert libc.madvise(ctypes.c_void_p(room), ctypes.c_size_t(SIZE), ADVICE) == 0
        sys.stdout.write('%d\\n' % room)
sys.stdout.flush()
time.sleep(1000)
'''
DONTFORK, WIPEONFORK = 10, 18


def keeping(interpreter, size, advice):
    """(a process, the address of its memory of that size and advice)"""
    process = interpreter.run('-c', KEPT, str(size), str(advice), stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


@pytest.mark.parametrize('advice, mode', [(DONTFORK, 'fork'), (WIPEONFORK, 'stop')])
def test_memory_kept_from_children_is_not_missed(advice, mode, newest, tmp_path):
    """A frozen child would not have it, or would have zeros."""
    process, at = keeping(newest, 5 << 20, advice)
    try:
        path = str(tmp_path / 'core')
        snapshot = json.loads(harness.memheap('info', str(process.pid), '--format', 'json')
                              .stdout)['snapshot']
        assert snapshot['mode'] == mode
        if advice == WIPEONFORK:
            assert 'MADV_WIPEONFORK' in snapshot['passed_over']
            assert '0x%x' % at in refused(1, 'info', str(process.pid), '--mode', 'fork')
        else:
            assert snapshot['copied_in_pause_bytes'] == (5 << 20) // 8 * 7
        harness.memheap('snapshot', str(process.pid), '-o', path)
        for page in range(at, at + (5 << 20), 4096):
            word, = struct.unpack('<Q', read_core(path, page, 8))
            assert word == (0 if (page - at) // 4096 % 8 == 5 else page)
    finally:
        process.kill()
        process.communicate()


def test_much_memory_kept_from_children(newest):
    """Would be a long pause: it is said, and stop is taken."""
    process, at = keeping(newest, 80 << 20, DONTFORK)
    try:
        message = refused(1, 'info', str(process.pid), '--mode', 'fork')
        assert 'MADV_DONTFORK' in message and '0x%x' % at in message
        snapshot = json.loads(harness.memheap('info', str(process.pid), '--format', 'json')
                              .stdout)['snapshot']
        assert snapshot['mode'] == 'stop' and 'MADV_DONTFORK' in snapshot['passed_over']
    finally:
        process.kill()
        process.communicate()


def test_a_stop_takes_time(waiting):
    """More than any process can be copied in, and less than the watchdog allows."""
    snapshot = waiting.report('analyze', '--mode', 'stop')['snapshot']
    assert 100 < snapshot['pause_us'] < 1000000


DAMAGED = '''
import ctypes, sys, time
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
blocks = [libc.malloc(3000) for _ in range(100)]
ctypes.c_size_t.from_address(blocks[-1] - 8).value = 7      # the size of its chunk
sys.stdout.write('ready\\n')
sys.stdout.flush()
time.sleep(1000)
'''


def test_nothing_is_read_beyond_the_end_of_a_heap(newest):
    """Which malloc's map does not lead to any more: behind it lies memory that cannot be read."""
    process = newest.run('-c', DAMAGED, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        result = harness.memheap('types', str(process.pid), '--mode', 'stop', '--format', 'json',
                                 check=False)
        assert result.code == 5, (result.code, result.stderr)
        assert 'heap_damaged' in {gap['gap'] for gap in json.loads(result.stdout)['gaps']}
    finally:
        process.kill()
        process.communicate()


def smaps(pid):
    """{start: (end, Rss, Swap)} in bytes."""
    found = {}
    with open('/proc/%d/smaps' % pid) as file:
        for line in file:
            head = re.match(r'([0-9a-f]+)-([0-9a-f]+) ', line)
            if head:
                start = int(head.group(1), 16)
                found[start] = [int(head.group(2), 16), 0, 0]
            elif line.startswith('Rss:'):
                found[start][1] = int(line.split()[1]) << 10
            elif line.startswith('Swap:'):
                found[start][2] = int(line.split()[1]) << 10
    return found


def test_resident_memory_of_each_mapping_equals_smaps(waiting):
    waiting.report('info', '--mode', 'stop')    # pages of files that it reads are resident then
    regions = waiting.report('regions', '--mode', 'stop')['regions']
    # of the kernel's own pages, and of what it does not count as the process's, RSS knows nothing
    outside = [row for row in regions if row['region'] == 'kernel page' or
               int(row['address'], 16) >= 1 << 63]
    wrong = []
    for start, (end, rss, swap) in smaps(waiting.pid).items():
        if any(start <= int(row['address'], 16) < end for row in outside):
            continue
        rows = [row for row in regions if start <= int(row['address'], 16) < end]
        if sum(row['resident_bytes'] for row in rows) != rss or \
                sum(row['swapped_bytes'] for row in rows) != swap:
            wrong.append((hex(start), rss, [(row['region'], row['resident_bytes'])
                                            for row in rows]))
    assert len(regions) > 20 and not wrong


def test_rss_is_explained(waiting):
    waiting.report('info', '--mode', 'stop')
    report = json.loads(waiting.memheap('analyze', '--format', 'json').stdout)
    resident = sum(row['resident_bytes'] for row in report['resident'])
    with open('/proc/%d/smaps_rollup' % waiting.pid) as file:
        rss = int(re.search(r'^Rss: +(\d+) kB', file.read(), re.M).group(1)) << 10
    # the kernel counts neither vdso nor vvar
    assert 0 <= resident - rss <= 8 * 4096
    # which Linux 6.2 to 6.15 add up with up to 32 pages of each processor left out
    assert abs(report['process_memory']['rss_bytes'] - rss) <= 3 * os.cpu_count() * 32 * 4096
    assert 'Where the RSS is' in waiting.memheap('analyze').stdout


def objects_and_torn(core, mode):
    """{address: (type, size)}, and where what was read may never have been so: [(start, end)]."""
    result = harness.memheap('objects', core.path, '--mode', mode, '--format', 'json', check=False)
    assert result.code in (0, 5)
    report = json.loads(result.stdout)
    return ({int(row['address'], 16): (row['type'], row['shallow_bytes'])
             for row in report['objects']},
            [(int(row['address'], 16), int(row['end_address'], 16)) for row in report['torn']])


@pytest.mark.parametrize('age, mode', [('newest', mode) for mode in MODES] + [('oldest', 'fork')])
def test_busy_threads(age, mode, request):
    """What does not change is found in full while 8 threads make and free objects; without a stop,
    what does not lie on pages that changed meanwhile."""
    core = harness.make_core(request.getfixturevalue(age), 'busy', how='running')
    try:
        for _ in range(5):
            rows, torn = objects_and_torn(core, mode)
            truth = [row for row in core.truth()
                     if not any(start < row[0] + row[2] and row[0] < end for start, end in torn)]
            # a collection of the oldest generation writes to the head of each object
            if mode != 'nostop' or len(truth) > 30000:
                break
        assert len(truth) > 30000 and (mode == 'nostop' or len(truth) == 60001 and not torn)
        wrong = [(kind, rows.get(address)) for address, kind, size, *_ in truth
                 if rows.get(address) != (kind, size)]
        assert not wrong, (len(wrong), wrong[:10])
        assert state(core.pid) in 'RS' and tracer(core.pid) == '0'
        threads = json.loads(harness.memheap('info', core.path, '--mode', mode, '--format', 'json',
                                             check=False).stdout)['threads']
        assert len(threads) == 9 and len({row['thread_id'] for row in threads}) == 9
    finally:
        core.close()


@pytest.mark.parametrize('mode', MODES)
def test_a_stopped_process_stays_stopped(mode, newest):
    core = harness.make_core(newest, 'chunks', how='stopped')
    try:
        assert core.report('info', '--mode', mode)['snapshot']['state'] == 'stopped by a signal'
        # the kernel wakes it to stop it anew (ptrace(2), PTRACE_DETACH): it may be on its way there
        deadline = time.monotonic() + 10
        while state(core.pid) != 'T':
            assert time.monotonic() < deadline
        os.kill(core.pid, signal.SIGCONT)
        while state(core.pid) == 'T':
            assert time.monotonic() < deadline
    finally:
        core.close()


def test_a_deleted_interpreter_is_read_all_the_same(tmp_path):
    """Its file is reached through map_files."""
    copy = tmp_path / 'python'
    real = os.path.realpath('/usr/bin/python3')
    subprocess.run(['cp', real, copy], check=True)
    process = subprocess.Popen([copy, '-c', 'import time; time.sleep(1000)'])
    try:
        time.sleep(0.5)
        copy.unlink()
        result = harness.memheap('info', str(process.pid), '--format', 'json', check=False)
        modules = {row['path']: row for row in json.loads(result.stdout)['modules']}
        row = modules['%s (deleted)' % copy]
        if os.geteuid() != 0:
            pytest.skip('map_files is for CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE only')
        assert row['status'] == 'found' and '/map_files/' in row['file']
    finally:
        process.kill()
        process.wait()


def test_a_pause_that_is_too_long_is_given_up():
    """20 ms do not suffice for 400 MiB in one thread; the process goes on."""
    process = subprocess.Popen(
        ['/usr/bin/python3', '-c', 'x = bytearray(b"x" * (400 << 20)); print(flush=True); '
         'import time; time.sleep(1000)'], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        while state(process.pid) != 'S':
            time.sleep(0.01)
        message = ' did not stop within '
        # where others keep the processors busy, the pause may be over before the copy begins
        for _ in range(20):
            if ' did not stop within ' not in message:
                break
            message = refused(1, 'analyze', str(process.pid), '--mode', 'stop', '--max-pause', '20',
                              '--threads', '1')
            assert '--max-pause' in message
            assert sleeps_on(process.pid) and tracer(process.pid) == '0'
        assert 'longer than the pause of 20 ms' in message
    finally:
        process.kill()
        process.communicate()


def test_memheap_stopped_in_a_pause_is_ended(tmp_path):
    """A watchdog sees to it: the process goes on, although memheap was stopped by SIGSTOP."""
    process = subprocess.Popen(
        ['/usr/bin/python3', '-c', 'x = bytearray(b"x" * (800 << 20)); print(flush=True); '
         'import time; time.sleep(1000)'], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        for _ in range(20):
            memheap = subprocess.Popen([harness.MEMHEAP, 'info', str(process.pid), '--mode', 'stop',
                                        '--threads', '1'],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while tracer(process.pid) == '0' and memheap.poll() is None:
                pass
            memheap.send_signal(signal.SIGSTOP)
            # its threads stop one after the other: the pause may have ended before the last does
            while memheap.poll() is None and set(thread_states(memheap.pid)) != {'T'}:
                pass
            if memheap.poll() is None and tracer(process.pid) != '0':
                break
            memheap.kill()
            memheap.wait()
        else:
            pytest.skip('no pause lasted long enough')
        assert memheap.wait(20) == -signal.SIGKILL
        assert sleeps_on(process.pid) and tracer(process.pid) == '0'
    finally:
        process.kill()
        process.communicate()


FAMILY = '''
import os, sys, time
class Shared(object): pass
class Own(object): pass
shared = [Shared() for _ in range(20000)] + [bytearray(1000) for _ in range(50000)]
for number in range(3):
    if not os.fork():
        own = [Own() for _ in range(1000 * (number + 1))] + [bytearray(1000) for _ in range(20000)]
        sys.stdout.write('ready\\n')
        sys.stdout.flush()
        time.sleep(1000)
os.execvp('sleep', ['sleep', '1000']) if sys.argv[1] == 'exec' else time.sleep(1000)
'''


@pytest.mark.parametrize('how', ['fork', 'exec'])
def test_tree(how, newest):
    """Shared memory is counted once; a process that is no Python is told as such."""
    process = newest.run('-c', FAMILY, how, stdout=subprocess.PIPE, text=True,
                         start_new_session=True)
    try:
        for _ in range(3):
            process.stdout.readline()
        time.sleep(0.3)
        text = harness.memheap('analyze', '--tree', str(process.pid), '--format', 'json').stdout
        report = json.loads(text)
        jsonschema.Draft202012Validator(commands.schema('tree')).validate(report)
        rows = {row['pid']: row for row in report['processes']}
        root = rows.pop(process.pid)
        assert len(rows) == 3 and {row['parent_pid'] for row in rows.values()} == {process.pid}
        assert report['tree']['processes'] == 4
        assert (root['problem'] is None) == (how == 'fork')
        assert report['tree']['decoded_processes'] == (4 if how == 'fork' else 3)
        types = {row['type']: row for row in report['types']}
        assert types['__main__.Shared']['objects'] == 20000 * (4 if how == 'fork' else 3)
        assert types['__main__.Own']['objects'] == 1000 + 2000 + 3000
        assert types['__main__.Own']['processes'] == 3
        # 50 MB that all have, and 20 MB that each child has for itself
        for row in rows.values():
            assert row['occupied_bytes'] > 70 * 1000 * 1000
            assert 20 * 1000 * 1000 < row['pss_bytes'] < row['rss_bytes']
        tree = report['tree']
        assert tree['rss_bytes'] == sum(row['rss_bytes'] for row in report['processes'])
        if tree['counted_by'] == 'page frames':
            assert tree['once_bytes'] < tree['rss_bytes'] - (3 if how == 'fork' else 2) * 50000000
            assert tree['once_bytes'] > 50000000 + 3 * 20000000
            assert all(20000000 < row['own_bytes'] < 40000000 for row in rows.values())
        else:
            assert tree['once_bytes'] == sum(row['pss_bytes'] for row in report['processes'])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_threads_come_and_go(newest):
    """Each snapshot has all threads of one moment, however many are made and end."""
    code = ('import sys, threading, time\n'
            'def short(): time.sleep(0.0005)\n'
            'sys.stdout.write("\\n")\n'
            'sys.stdout.flush()\n'
            'while True:\n'
            '    ts = [threading.Thread(target=short) for _ in range(20)]\n'
            '    [t.start() for t in ts]; [t.join() for t in ts]\n')
    process = newest.run('-c', code, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        counts = collections.Counter()
        for _ in range(30):
            report = json.loads(harness.memheap('info', str(process.pid), '--mode', 'stop',
                                                '--format', 'json').stdout)
            counts[len(report['threads'])] += 1
            assert report['threads'][0]['thread_id'] == process.pid
        assert state(process.pid) in 'RS' and len(counts) > 1
    finally:
        process.kill()
        process.communicate()


CHUNK = 64 << 10
SWEEPER = '''
import ctypes, mmap, sys
SIZE, CHUNK = 8 << 20, 64 << 10
page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
room = mmap.mmap(-1, 2 * SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
state = ctypes.c_uint64.from_buffer(page)
at = ctypes.addressof(ctypes.c_char.from_buffer(room)) + SIZE // 2 & -SIZE // 4
sys.stdout.write('%d %d\\n' % (ctypes.addressof(state), at))
sys.stdout.flush()
memset, madvise = ctypes.memset, ctypes.CDLL(None).madvise
chunks, size = [ctypes.c_void_p(at + i) for i in range(0, SIZE, CHUNK)], ctypes.c_size_t(SIZE)
number = 1
while True:
    for chunk in chunks:
        memset(chunk, number, CHUNK)
    state.value = number    # full
    madvise(chunks[0], size, 4)     # MADV_DONTNEED
    number = number % 250 + 1
'''


def read_core(path, at, size):
    """What a core file holds of an address."""
    with open(path, 'rb') as file:
        head = file.read(64)
        offset, count = struct.unpack_from('<Q', head, 32)[0], struct.unpack_from('<H', head, 56)[0]
        for number in range(count):
            file.seek(offset + 56 * number)
            kind, _, where, start, _, length = struct.unpack('<IIQQQQ', file.read(40))
            if kind == 1 and start <= at < start + length:
                assert at + size <= start + length
                file.seek(where + at - start)
                return file.read(size)
    raise AssertionError('%x is not in %s' % (at, path))


@pytest.mark.parametrize('mode', [mode for mode in MODES if mode != 'nostop'])
def test_all_is_of_one_moment(mode, newest, tmp_path):
    """Pages that are written in order, and given back all at once, in a core are so too: nothing of
    them is older or newer than the rest."""
    process = newest.run('-c', SWEEPER, stdout=subprocess.PIPE, text=True)
    try:
        state_at, at = map(int, process.stdout.readline().split())
        parts = 0
        for _ in range(10):
            core = str(tmp_path / 'core')
            harness.memheap('snapshot', str(process.pid), '-o', core, '--mode', mode)
            full, = struct.unpack('<Q', read_core(core, state_at, 8))
            room = read_core(core, at, 8 << 20)
            chunks = [set(room[i:i + CHUNK:64]) for i in range(0, len(room), CHUNK)]
            # this one is not given back yet, or the next is being written, up to some chunk
            done = next((i for i, chunk in enumerate(chunks) if chunk != {full % 250 + 1}),
                        len(chunks))
            assert chunks == [{full}] * len(chunks) or \
                chunks[done + 1:] == [{0}] * len(chunks[done + 1:]), (full, chunks)
            parts += 0 < done < len(chunks)
        assert parts > 0
    finally:
        process.kill()
        process.communicate()
