# SPDX-License-Identifier: MIT
"""Other allocators than glibc's: their memory is told apart, to the byte where they count it, and what
Python has in it is found by references."""
import collections
import glob
import os

import pytest

import harness
import test_exact

# Some memory of each kind: small and large blocks, of other threads, given back.
PROGRAM = '''
import ctypes, os, threading
kept = [str(i) * 200 for i in range(5000)]
large = [bytearray(5 << 20), bytes(300000)]
def work():
    kept.append([bytes(2000) for i in range(3000)])
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


JEMALLOC_LIBRARY, TCMALLOC_LIBRARY = 'libjemalloc.so.2', 'libtcmalloc_minimal.so.4'


def with_library(interpreter, name, library, environment=()):
    """The interpreter with another malloc."""
    found = glob.glob('/usr/lib/*/' + library)
    if not found:
        pytest.skip('no %s' % library)
    return harness.Interpreter('%s-%s' % (interpreter, name), interpreter.command, interpreter.version,
                               dict(interpreter.environment, LD_PRELOAD=found[0],
                                    **dict(environment)), interpreter.options,
                               files=interpreter.files)


def report_of(core):
    return harness.json.loads(core.memheap('analyze', '--format', 'json', check=False).stdout)


class Run:
    """What is said of PROGRAM under another allocator, by it and by memheap."""

    def __init__(self, interpreter, name, library, question, tmp_path, environment=()):
        answer = str(tmp_path / 'answer')
        one = with_library(interpreter, name, library, environment)
        core = harness.abort_core(one, PROGRAM % (question, answer))
        self.report = report_of(core)
        self.regions = collections.Counter()
        for row in core.report('regions')['regions']:
            self.regions[row['region']] += row['bytes']
        core.close()
        with open(answer) as file:
            self.said = eval(file.read())
        self.library = os.path.realpath(one.environment['LD_PRELOAD'])
        self.memory = {row['path']: row['bytes'] for row in self.report['memory']}
        self.notice, = [row for row in self.report['diagnostics'] if row['code'] == 'MH0140']

    def check(self):
        assert sum(self.memory.values()) == self.report['completeness']['image_bytes']
        assert [row['code'] for row in self.report['gaps']] == ['MH0223']
        assert self.library in self.notice['message'] and 'not walked' in self.notice['message']
        assert not any(path.startswith('malloc/') for path in self.memory)


def check_pymalloc(report):
    """Its arenas are found all the same, and what is in them."""
    assert report['pymalloc']['arenas'] > 0
    objects = {row['type']: row['objects'] for row in report['types']}
    assert objects['str'] > 1000 and objects['dict'] > 100


def check_large(report):
    """What the program keeps that is too large for pymalloc."""
    rows = {row['type']: row for row in report['types']}
    assert rows['bytes']['shallow_bytes'] > 3000 * 2000 + 300000
    assert rows['bytearray']['occupied_bytes'] > 5 << 20


def test_jemalloc(newest, tmp_path):
    run = Run(newest, 'jemalloc', JEMALLOC_LIBRARY, JEMALLOC, tmp_path)
    run.check()
    check_pymalloc(run.report)
    check_large(run.report)
    assert run.regions['jemalloc'] == run.said
    assert run.memory['jemalloc/rest'] < run.said - 3000 * 2000 - (5 << 20)
    assert run.report['resolution']['malloc_method'] == 'jemalloc, not walked'


def test_tcmalloc(newest, tmp_path):
    run = Run(newest, 'tcmalloc', TCMALLOC_LIBRARY, TCMALLOC, tmp_path)
    run.check()
    check_pymalloc(run.report)
    check_large(run.report)
    # it gets more from brk than it counts, and nothing else is anonymous but the stack of 8 MiB that
    # glibc keeps of the thread that ended, and a few pages of the loader and of the main thread
    assert run.regions['tcmalloc'] >= run.said
    assert run.memory['tcmalloc/rest'] < run.regions['tcmalloc'] - 3000 * 2000 - (5 << 20)
    assert run.memory['unknown/anonymous'] < (8 << 20) + 128 * 1024


@pytest.mark.parametrize('name, library, question', [
    ('jemalloc', JEMALLOC_LIBRARY, JEMALLOC), ('tcmalloc', TCMALLOC_LIBRARY, TCMALLOC)])
def test_all_objects_in_another_allocator(newest, tmp_path, name, library, question):
    run = Run(newest, name + '-all', library, question, tmp_path, {'PYTHONMALLOC': 'malloc'})
    run.check()
    check_large(run.report)
    assert 'all objects lie there (PYTHONMALLOC=malloc)' in run.notice['message']
    assert run.report['resolution']['allocator'] == 'malloc'
    assert not any(path.startswith('pymalloc/') for path in run.memory)


def plain(interpreter):
    """Whether it is the interpreter as it is, of which other forms differ in symbols and allocators."""
    return not any(suffix in interpreter.name for suffix in ('-stripped', '-nofile', 'malloc'))


def exact_core(interpreter, cores, name, program):
    """A core with its truth, of the interpreter with the allocator that a name stands for."""
    library = JEMALLOC_LIBRARY if name.startswith('jemalloc') else TCMALLOC_LIBRARY
    malloc = name.partition(' ')[2]
    if interpreter.root or hasattr(interpreter, 'emulated'):
        pytest.skip('%s: has other libraries' % interpreter)
    if malloc and (interpreter.free_threaded or interpreter.version < (3,)):
        pytest.skip('%s: has no PYTHONMALLOC=malloc' % interpreter)
    environment = {'PYTHONMALLOC': malloc} if malloc else {}
    return cores.get(with_library(interpreter, name.replace(' ', '-'), library, environment), program)


def check_exact(core):
    test_exact.test_every_reachable_object_is_found(core)
    test_exact.test_every_reported_object_is_one(core)
    test_exact.test_accounting_sums_to_the_image(core)
    test_exact.test_accounting_agrees_with_types(core)
    test_exact.test_tracked_objects_are_those_on_the_lists(core)


@pytest.mark.parametrize('name', ['jemalloc malloc', 'tcmalloc'])
def test_objects_are_known_by_reference(interpreter, cores, name):
    """On each interpreter as it is; 1 to 2 s each."""
    if not plain(interpreter):
        pytest.skip('%s: not as it is' % interpreter)
    core = exact_core(interpreter, cores, name, 'large')
    check_exact(core)
    if name == 'jemalloc malloc':
        check_sizes(core)


# Their blocks, with the buffers that they own, have nothing beside what sys.getsizeof() counts.
ALL_COUNTED = {'bytes', 'bytearray', 'list', 'set', 'frozenset', 'tuple', 'array.array',
               'collections.deque', 'decimal.Decimal'}


def check_sizes(core):
    """Blocks have the size that was asked for, rounded up to a word."""
    met = collections.Counter()
    for row in core.objects().values():
        static = not row['occupied_bytes']
        if row['type'] not in ALL_COUNTED or row['shallow_bytes'] <= 512 or static:
            continue
        assert 0 <= row['occupied_bytes'] - row['shallow_bytes'] < 8, row
        met[row['type']] += 1
    assert set(met) == ALL_COUNTED


@pytest.mark.parametrize('name', ['jemalloc', 'tcmalloc malloc', 'jemalloc malloc_debug'])
def test_all_types_are_known_by_reference(newest, cores, name):
    check_exact(exact_core(newest, cores, name, 'zoo'))


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
    rows = {row['type']: row for row in report['types']}
    assert rows['str']['shallow_bytes'] > sum(len(str(i)) * 200 for i in range(5000))
    assert rows['bytearray']['occupied_bytes'] > 5 << 20
    memory = {row['path']: row['bytes'] for row in report['memory']}
    assert sum(memory.values()) == report['completeness']['image_bytes']
    assert 0 < memory['musl/rest'] < 5 << 20
    assert memory['unknown/anonymous'] < 128 * 1024
    assert not any(path.startswith('malloc/') for path in memory)
    notice, = [row for row in report['diagnostics'] if row['code'] == 'MH0140']
    assert ' is musl,' in notice['message']
