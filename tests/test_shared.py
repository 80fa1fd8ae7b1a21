# SPDX-License-Identifier: MIT
"""Memory that processes share, as workers of a server do: it stays so when it is read. 5 s."""
import os
import re
import signal
import subprocess

import pytest

import harness
from test_live import MODES, sleeps_on

pytestmark = pytest.mark.skipif(harness.why_not_live() is not None,
                                reason='no process can be looked at here: %s' %
                                harness.why_not_live())

PARENT = '''
import os, sys, time
x = [bytearray(1000) for _ in range(60000)]
child = os.fork()
if child:
    sys.stdout.write('%d\\n' % child)
    sys.stdout.flush()
time.sleep(1000)
'''


def memory_of(pid, name):
    """KiB of its smaps_rollup; None: it has gone, or has no memory any more."""
    try:
        with open('/proc/%d/smaps_rollup' % pid) as file:
            found = re.search(r'^%s: +(\d+)' % name, file.read(), re.M)
    except OSError:
        return None
    return int(found.group(1)) if found else None


@pytest.mark.parametrize('mode', MODES)
def test_shared_memory_stays_shared(mode, newest):
    """A worker of a pre-forking server does not get a copy of its own of what is read."""
    process = newest.run('-c', PARENT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        child = int(process.stdout.readline())
        assert sleeps_on(child)
        before = memory_of(child, 'Shared_Dirty'), memory_of(child, 'Private_Dirty')
        assert before[0] > 60000
        harness.memheap('info', str(child), '--mode', mode)
        after = memory_of(child, 'Shared_Dirty'), memory_of(child, 'Private_Dirty')
        # the stack, which a call that it was made to make writes to
        assert abs(after[0] - before[0]) <= 64 and abs(after[1] - before[1]) <= 64, (before, after)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_frozen_copy_takes_no_memory():
    """Reading it does not make copies of its pages: they would count for the process's container."""
    process = subprocess.Popen(
        ['/usr/bin/python3', '-c', 'x = bytearray(b"x" * (100 << 20)); print(flush=True); '
         'import time; time.sleep(1000)'], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert sleeps_on(process.pid)
        most = seen = 0
        for _ in range(20):
            memheap = subprocess.Popen([harness.MEMHEAP, 'info', str(process.pid), '--mode', 'fork'],
                                       stdout=subprocess.DEVNULL)
            while memheap.poll() is None:
                with open('/proc/%d/task/%d/children' % (process.pid, process.pid)) as file:
                    for child in map(int, file.read().split()):
                        own = memory_of(child, 'Private_Dirty')
                        seen += own is not None
                        most = max(most, own or 0)
            assert memheap.returncode == 0
            if seen >= 5:
                break
        # its end may come between two looks at it
        assert seen >= 5 and most < 16 << 10, (seen, most)
    finally:
        process.kill()
        process.communicate()
