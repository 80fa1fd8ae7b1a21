# SPDX-License-Identifier: MIT
"""Other allocators than glibc's: their memory is told apart, to the byte where they count it."""
import glob
import os

import pytest

import harness

# Some memory of each kind: small and large blocks, of other threads, given back.
PROGRAM = '''
import ctypes, os, threading
kept = [str(i) * 200 for i in range(5000)]
large = [bytearray(5 << 20), bytes(300000)]
def work():
    kept.append([b'x' * 2000 for i in range(3000)])
thread = threading.Thread(target=work)
thread.start()
thread.join()
del kept[2000:4000]
library = ctypes.CDLL(None)
%s
with open(%r, 'w') as file:
    file.write(repr(said))
os.abort()
'''

# jemalloc(3): bytes in active extents, and in those that it keeps to use again
JEMALLOC = '''
def get(name):
    value, size = ctypes.c_size_t(), ctypes.c_size_t(8)
    assert not library.mallctl(name, ctypes.byref(value), ctypes.byref(size), None, 0)
    return value.value
epoch = ctypes.c_uint64(1)

assert not library.mallctl(b'epoch', None, None, ctypes.byref(epoch), ctypes.c_size_t(8))
said = get(b'stats.mapped') + get(b'stats.retained')
'''

# gperftools/malloc_extension_c.h
TCMALLOC = '''
value = ctypes.c_size_t()
assert library.MallocExtension_GetNumericProperty(b'generic.total_physical_bytes',
                                                  ctypes.byref(value))
said = value.value
'''


def report_of(core):
    return harness.json.loads(core.memheap('analyze', '--format', 'json', check=False).stdout)


class Run:
    """What is said of PROGRAM under another allocator, by it and by memheap."""

    def __init__(self, interpreter, name, library, question, tmp_path, environment=()):
        found = glob.glob('/usr/lib/*/' + library)
        if not found:
            pytest.skip('no %s' % library)
        answer = str(tmp_path / 'answer')
        one = harness.Interpreter(name, interpreter.command, interpreter.version,
                                  dict(interpreter.environment, LD_PRELOAD=found[0],
                                       **dict(environment)), interpreter.options)
        core = harness.abort_core(one, PROGRAM % (question, answer))
        self.report = report_of(core)
        core.close()
        with open(answer) as file:
            self.said = eval(file.read())
        self.library = os.path.realpath(found[0])
        self.memory = {row['path']: row['bytes'] for row in self.report['memory']}
        self.notice, = [row for row in self.report['diagnostics'] if row['code'] == 'MH0140']

    def check(self):
        assert sum(self.memory.values()) == self.report['completeness']['image_bytes']
        assert [row['code'] for row in self.report['gaps']] == ['MH0223']
        assert self.library in self.notice['message'] and 'not in the report' in self.notice['message']
        assert not any(path.startswith('malloc/') for path in self.memory)


def check_pymalloc(report):
    """Its arenas are found all the same, and what is in them."""
    assert report['pymalloc']['arenas'] > 0
    objects = {row['type']: row['objects'] for row in report['types']}
    assert objects['str'] > 1000 and objects['dict'] > 100


def test_jemalloc(newest, tmp_path):
    run = Run(newest, 'jemalloc', 'libjemalloc.so.2', JEMALLOC, tmp_path)
    run.check()
    check_pymalloc(run.report)
    assert run.memory['jemalloc/not looked into'] == run.said
    assert run.report['resolution']['malloc_method'] == 'jemalloc, not looked into'


def test_tcmalloc(newest, tmp_path):
    run = Run(newest, 'tcmalloc', 'libtcmalloc_minimal.so.4', TCMALLOC, tmp_path)
    run.check()
    check_pymalloc(run.report)
    # it gets more from brk than it counts, and nothing else is anonymous but the stack of 8 MiB that
    # glibc keeps of the thread that ended, and a few pages of the loader and of the main thread
    assert run.memory['tcmalloc/not looked into'] >= run.said
    assert run.memory['unknown/anonymous'] < (8 << 20) + 128 * 1024


@pytest.mark.parametrize('name, library, question', [
    ('jemalloc', 'libjemalloc.so.2', JEMALLOC),
    ('tcmalloc', 'libtcmalloc_minimal.so.4', TCMALLOC)])
def test_all_objects_in_another_allocator(newest, tmp_path, name, library, question):
    run = Run(newest, name + '-all', library, question, tmp_path, {'PYTHONMALLOC': 'malloc'})
    run.check()
    assert 'all objects lie there (PYTHONMALLOC=malloc)' in run.notice['message']
    assert 'PYTHONMALLOC' in run.notice['hint']
    assert run.report['resolution']['allocator'] == 'malloc'
    assert not any(path.startswith('pymalloc/') for path in run.memory)


def test_musl():
    """MEMHEAP_TEST_MUSL is a python3 of musl: fixtures/musl builds one."""
    program = os.environ.get('MEMHEAP_TEST_MUSL')
    if not program:
        pytest.skip('no CPython of musl: MEMHEAP_TEST_MUSL does not name one (fixtures/musl)')
    one = harness.Interpreter('musl', [program, '-S'], (3, 13, 5),
                              {'LD_LIBRARY_PATH': os.path.dirname(program)})
    core = harness.abort_core(one, 'kept = [str(i) * 200 for i in range(5000)]\n'
                                   'large = bytearray(5 << 20)\nimport os; os.abort()')
    report = report_of(core)
    core.close()
    check_pymalloc(report)
    memory = {row['path']: row['bytes'] for row in report['memory']}
    assert sum(memory.values()) == report['completeness']['image_bytes']
    assert memory['musl/not looked into'] > 5 << 20
    assert memory['unknown/anonymous'] < 128 * 1024
    assert not any(path.startswith('malloc/') for path in memory)
    notice, = [row for row in report['diagnostics'] if row['code'] == 'MH0140']
    assert ' is musl,' in notice['message']
