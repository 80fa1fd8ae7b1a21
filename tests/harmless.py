# SPDX-License-Identifier: MIT
"""Many snapshots of a process that checks itself, with memheap killed at random instants."""
import os
import random
import re
import signal
import subprocess
import time

import harness

CHECKER = os.path.join(os.environ.get('MEMHEAP_BUILD',
                                      os.path.dirname(os.path.dirname(harness.MEMHEAP))),
                       'tests/live/checker')


def threads(pid):
    """(state, tracer) of each thread."""
    for tid in os.listdir('/proc/%d/task' % pid):
        try:
            with open('/proc/%d/task/%s/status' % (pid, tid)) as file:
                text = file.read()
        except OSError:     # it ended
            continue
        yield (re.search(r'State:\t(\w)', text).group(1),
               re.search(r'TracerPid:\t(\d+)', text).group(1))


def check_free(pid):
    """No thread is stopped, none is traced; the kernel may take a moment to see to it."""
    deadline = time.monotonic() + 5
    while True:
        held = [thread for thread in threads(pid) if thread[0] in 'tT' or thread[1] != '0']
        if not held:
            return
        assert time.monotonic() < deadline, held
        time.sleep(0.001)


def zombies(pid):
    """Children that nobody gets a SIGCHLD for: those of snapshots that were killed."""
    count = 0
    with open('/proc/%d/task/%d/children' % (pid, pid)) as file:
        for child in file.read().split():
            try:
                with open('/proc/%s/stat' % child) as stat:
                    fields = stat.read().rsplit(')', 1)[1].split()
            except OSError:
                continue
            count += fields[0] == 'Z' and fields[35] == '0'
    return count


class Checked:
    """The process, and what came of the snapshots."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.process = subprocess.Popen([CHECKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        assert self.process.stdout.readline() == 'ready\n'
        self.done = self.killed = self.refused = 0

    def snapshot(self, mode, kill_after=None):
        memheap = subprocess.Popen([harness.MEMHEAP, 'info', str(self.process.pid), '--mode', mode,
                                    '--max-pause', '5000'],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if kill_after is not None:
            time.sleep(kill_after)
            memheap.send_signal(signal.SIGKILL)
        error = memheap.communicate()[1]
        if self.process.poll() is not None:
            raise AssertionError((mode, self.process.returncode, self.process.stdout.read()))
        if memheap.returncode == -signal.SIGKILL:
            self.killed += 1
        else:
            # 5: pages changed while they were read
            assert memheap.returncode == 0 or (mode, memheap.returncode) == ('nostop', 5), \
                (mode, memheap.returncode, error)
            self.done += 1
        check_free(self.process.pid)
        assert self.process.poll() is None, self.process.stdout.read()

    def run(self, modes, count, kill=True, longest=0.02):
        """Half of them are killed at an instant between start and end."""
        for number in range(count):
            mode = modes[number % len(modes)]
            after = self.random.uniform(0, longest) if kill and self.random.random() < 0.5 else None
            self.snapshot(mode, after)
            if number % 20 == 0:
                self.process.stdin.write('.')   # it looks at its open files
                self.process.stdin.flush()

    def end(self):
        """What the process says of itself at its end."""
        left = zombies(self.process.pid)
        self.process.stdin.close()
        output = self.process.stdout.read()
        assert self.process.wait(60) == 0, output
        result = dict(zip(output.split()[::2], map(int, output.split()[1::2])))
        return dict(result, left=left)
