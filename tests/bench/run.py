#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures memheap on a core of many blocks, side by side with one pass over the file.

    tests/bench/run.py [--python PYTHON] [--blocks N,N…] [--memheap PATH] [--command 'analyze --suspects never']

Makes the cores (below the directory for temporary files; they stay unless --remove), then prints
for each how long one sequential pass over the page-cached file takes with as many threads as there
are processors, how long memheap takes (the best of --runs), the ratio, and how much memory of its
own it used, in all and for each block. Resident file pages are the core's own and don't count.
"""
import argparse
import concurrent.futures
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PIECE = 16 << 20


def make_core(python, blocks, directory):
    path = os.path.join(directory, 'core-%d' % blocks)
    if not os.path.exists(path):
        place = tempfile.mkdtemp(dir=directory)
        unlimited = resource.RLIM_INFINITY
        subprocess.run([python, os.path.join(HERE, 'heap.py'), str(blocks)], cwd=place,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE,
                                                             (unlimited, unlimited)))
        found = [name for name in os.listdir(place) if name.startswith('core')]
        if not found:
            sys.exit('no core in %s: kernel.core_pattern must be a plain file name' % place)
        os.rename(os.path.join(place, found[0]), path)
        os.rmdir(place)
    return path


def read_piece(path, offset):
    """Sums up the 64-bit words of one piece, as any pass over the data must at least."""
    import numpy
    data = numpy.memmap(path, dtype='u8', mode='r', offset=offset,
                        shape=(min(PIECE, os.path.getsize(path) - offset) // 8,))
    return int(data.sum())


def time_pass(path, threads):
    """Seconds of one pass over the file; numpy lets go of the GIL while it sums."""
    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda offset: read_piece(path, offset),
                      range(0, os.path.getsize(path) - 8, PIECE)))
    return time.perf_counter() - begin


OWN_MEMORY = r'''
import subprocess, sys, time
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
peak = 0
while process.poll() is None:
    try:
        with open('/proc/%d/status' % process.pid) as file:
            for line in file:
                if line.startswith('RssAnon'):
                    peak = max(peak, int(line.split()[1]))
    except OSError:
        pass
    time.sleep(0.002)
print(peak)
'''


def own_memory(command):
    """Peak anonymous memory in bytes, sampled."""
    output = subprocess.run([sys.executable, '-c', OWN_MEMORY] + command, stdout=subprocess.PIPE,
                            text=True)
    return int(output.stdout) * 1024


def time_command(command):
    begin = time.perf_counter()
    code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
    if code:
        sys.exit('%s: exit code %d' % (' '.join(command), code))
    return time.perf_counter() - begin


def count_blocks(memheap, path):
    report = json.loads(subprocess.run([memheap, 'analyze', '--suspects', 'never', path, '--format', 'json'],
                                       stdout=subprocess.PIPE).stdout)
    return report['pymalloc']['used_blocks'] + report['malloc']['used_chunks']


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--python', default='python3')
    parser.add_argument('--blocks', default='12000000')
    parser.add_argument('--memheap', default=os.path.join(HERE, '../../build/cmd/memheap'))
    parser.add_argument('--command', default='analyze --suspects never')
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('--directory', default=os.path.join(tempfile.gettempdir(), 'memheap-bench'))
    parser.add_argument('--remove', action='store_true')
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    os.makedirs(options.directory, exist_ok=True)
    print('%d processors' % threads)
    print('%12s %10s %10s %10s %8s %12s %12s' % ('blocks', 'core MB', 'pass s', 'memheap s', 'ratio',
                                               'own MB', 'bytes/block'))
    for wanted in map(int, options.blocks.split(',')):
        path = make_core(options.python, wanted, options.directory)
        command = [options.memheap, *options.command.split(), path]
        time_pass(path, threads)        # brings the file into the page cache
        one = min(time_pass(path, threads) for _ in range(options.runs))
        ours = min(time_command(command) for _ in range(options.runs))
        memory, blocks = own_memory(command), count_blocks(options.memheap, path)
        print('%12d %10.0f %10.3f %10.3f %8.2f %12.1f %12.1f' %
              (blocks, os.path.getsize(path) / 1e6, one, ours, ours / one, memory / 1e6,
               memory / blocks))
        if options.remove:
            os.unlink(path)


if __name__ == '__main__':
    main()
