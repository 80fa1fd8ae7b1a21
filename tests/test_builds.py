# SPDX-License-Identifier: MIT
"""Other ways to build CPython, and to set up its allocators: done right, or said clearly."""
import collections
import functools
import json
import os
import re

import pytest

import harness

KEPT = 10000
CODE = """
import os
class Kept:
    pass
kept = [(str(i), i * 1000000, float(i), [i], {i: i}, Kept()) for i in range(%d)]
os.abort()
""" % KEPT
# How many strings there are depends on where objects lie: 3.10 makes up to 21 more with malloc.
# What chunks of C code come to differs by how their sizes are rounded up: 576 bytes at most here.
OTHERS_MAX = 1024
TYPES = ('int', 'float', 'list', 'dict', 'tuple', '__main__.Kept')


@pytest.fixture(scope='module')
def plain():
    """The release builds of this machine as they are, one for each version."""
    found = [one for one in harness.interpreters() if not one.root and not one.environment and
             one.version >= (3, 6) and      # that is when PYTHONMALLOC came
             'strip' not in one.name and 'pydebug' not in one.name and not one.free_threaded]
    assert found
    return found


def with_malloc(interpreter, malloc):
    environment = dict(interpreter.environment, PYTHONMALLOC=malloc, PYTHONHASHSEED='0')
    return harness.Interpreter(interpreter.name, interpreter.command, interpreter.version,
                               environment, interpreter.options)


def core_with(interpreter, malloc, code=CODE):
    return harness.abort_core(with_malloc(interpreter, malloc), code)


def counts(report):
    return {row['type']: row['objects'] for row in report['types'] if row['type'] in TYPES}


def of_others(report):
    """Bytes of blocks and chunks that nobody knows as Python's: what was lost would be there."""
    return sum(row['bytes'] for row in report['memory'] if row['path'] == 'malloc/used by others' or
               re.match('unknown/.* blocks', row['path']))


@functools.lru_cache(maxsize=None)
def plain_report(interpreter):
    """With the allocator that test_exact.py is about; the same code makes the same objects."""
    core = core_with(interpreter, 'mimalloc' if interpreter.free_threaded else 'pymalloc')
    report = core.report()
    core.close()
    return report


def expected_counts(interpreter):
    report = plain_report(interpreter)
    assert min(counts(report).values()) >= KEPT and len(counts(report)) == len(TYPES)
    return counts(report)


def check_counts(interpreter, malloc):
    """The report with that allocator: the same objects, no more unknown, and it adds up."""
    core = core_with(interpreter, malloc)
    report = core.report()
    core.close()
    assert counts(report) == expected_counts(interpreter), interpreter
    memory = {row['path']: row['bytes'] for row in report['memory']}
    assert sum(memory.values()) == report['completeness']['image_bytes']
    assert abs(of_others(report) - of_others(plain_report(interpreter))) <= OTHERS_MAX, interpreter
    return report, memory


def test_pythonmalloc_malloc(plain):
    for interpreter in plain:
        report, _ = check_counts(interpreter, 'malloc')
        assert report['pymalloc']['arenas'] == 0


@pytest.mark.parametrize('malloc, path', [('pymalloc_debug', 'pymalloc/debug guards'),
                                          ('malloc_debug', 'malloc/debug guards')])
def test_debug_hooks(malloc, path, plain):
    for interpreter in plain:
        report, memory = check_counts(interpreter, malloc)
        assert report['python']['build'] == 'release'
        assert report['resolution']['allocator'] == malloc.split('_')[0] + ', debug hooks'
        # 24 bytes of each block
        assert memory[path] > 24 * sum(counts(report).values())


def test_without_debug_hooks(plain):
    for malloc in 'pymalloc', 'malloc':
        core = core_with(plain[0], malloc)
        report = core.report()
        core.close()
        assert report['resolution']['allocator'] == malloc
        assert not [row for row in report['memory'] if 'guards' in row['path']]


def with_mimalloc():
    """Interpreters that know PYTHONMALLOC=mimalloc: as they are, and stripped."""
    found = [one for one in harness.interpreters() if one.name.endswith('-mimalloc')]
    names = {one.name.replace('-mimalloc', '-stripped') for one in found}
    found += [one for one in harness.interpreters()
              if one.name in names or one.free_threaded and 'debug' not in one.name]
    if not found:
        pytest.skip('no interpreter of 3.13 or later, whose builds have mimalloc')
    return found


@pytest.mark.parametrize('malloc', ['mimalloc', 'mimalloc_debug'])
def test_mimalloc(malloc):
    for interpreter in with_mimalloc():
        report, memory = check_counts(interpreter, malloc)
        resolution = report['resolution']
        assert resolution['allocator'] == malloc.replace('_debug', ', debug hooks')
        assert resolution['mimalloc_method'] == (
            'search for segments' if interpreter.name.endswith(('stripped', 'nofile')) else
            'symbol _mi_heap_main')
        assert report['pymalloc']['arenas'] == 0
        assert ('mimalloc/debug guards' in memory) == ('debug' in malloc)


# What exited threads leave behind, what others free, and what is too large for a segment.
THREADS = """
import os, threading
def work():
    made.append([str(i) * 3 for i in range(10000)])
made = []
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
large = [bytes(1 << 20), bytes(40 << 20), bytearray(100 << 20)]
for one in made:
    del one[::2]
os.abort()
"""


def test_mimalloc_of_other_threads():
    for interpreter in with_mimalloc():
        core = core_with(interpreter, 'mimalloc', THREADS)
        report = core.report()
        objects = core.objects().values()
        core.close()
        assert report['mimalloc']['abandoned_segments'] > 0
        assert sum(row['delayed_blocks'] for row in report['mimalloc']['heaps']) > 0
        large = [row for row in objects if row['shallow_bytes'] >= 1 << 20]
        assert sorted(row['shallow_bytes'] >> 20 for row in large) == [1, 40, 100]
        assert all(0 <= row['occupied_bytes'] - row['shallow_bytes'] < 5 << 20 for row in large)
        kept = collections.Counter(row['type'] for row in objects)['str']
        assert 20000 < kept < 30000


OVERWRITE = """
import ctypes, os, sys
victim = bytes(%d)
ctypes.memset(id(victim) + %s, 0x55, %d)
with open(%r, 'w') as file:
    file.write(str(id(victim)))
os.abort()
"""
END = 'sys.getsizeof(victim)'


OVERWRITTEN = [
    (END, 1, 'trailer overwritten'), (END + ' + 7', 1, 'trailer overwritten'),
    ('-1', 1, 'header overwritten'), ('-8', 8, 'header overwritten'),
    ('-16', 16, 'header overwritten')]


# Small ones lie in pools; for large ones pymalloc asks malloc, with guards of its own. Of malloc's
# chunks with no others, the header is what tells that there are guards.
@pytest.mark.parametrize('size', [7, 100, 5000, 500000])
@pytest.mark.parametrize('malloc, offset, count, guards', [
    *[('debug', *row) for row in OVERWRITTEN], *[('malloc_debug', *row) for row in OVERWRITTEN[:4]]])
def test_overwritten_guards(malloc, size, offset, count, guards, plain, tmp_path):
    path = str(tmp_path / 'address')
    code = OVERWRITE % (size, offset, count, path)
    core = harness.abort_core(with_malloc(plain[-1], malloc), code)
    address = int(open(path).read())
    report = core.memheap('analyze', '--format', 'json', check=False)
    shown = core.memheap('object', hex(address), '--format', 'json', check=False)
    core.close()
    assert report.code == shown.code == 5
    gaps = {row['gap']: row for row in json.loads(report.stdout)['gaps']}
    assert list(gaps) == ['guards_damaged']
    assert gaps['guards_damaged']['code'] == 'MH0240'
    assert gaps['guards_damaged']['count'] == 1
    assert gaps['guards_damaged']['first_address'] == hex(address)
    shown = json.loads(shown.stdout)
    assert shown['place']['guards'] == guards
    found = {row['relation']: row for row in shown['objects']}
    assert found['self']['type'] == 'bytes' and found['self']['shallow_bytes'] == size + 33
    assert 'previous' in found


@pytest.fixture
def debug_build():
    found = [one for one in harness.interpreters() if one.name.endswith('-pydebug')]
    if not found:
        pytest.skip('no debug build (Debian: python3-dbg)')
    return found[0]


def test_debug_build(debug_build):
    core = harness.abort_core(debug_build, CODE)
    report = core.report()
    table = core.memheap('analyze', '--layout', 'table', check=False)
    core.close()
    assert report['python']['build'] == 'debug'
    assert report['resolution']['layout'] == 'DWARF'
    assert report['resolution']['allocator'] == 'pymalloc, debug hooks'
    assert table.code == 3 and 'there is no table' in table.stderr


def test_debug_build_without_dwarf_is_refused(debug_build):
    program = os.path.realpath(debug_build.command[0])
    copy = os.path.join(harness.strip_library(program),
                        os.path.basename(program))
    prefix = harness.ask(debug_build.command)[4]
    stripped = harness.Interpreter('debug', [copy], debug_build.version, {'PYTHONHOME': prefix})
    core = harness.abort_core(stripped, CODE)
    results = [core.memheap('analyze', check=False)]
    harness.hide_files(core.path)       # then sys tells that it is one
    results.append(core.memheap('analyze', check=False))
    core.close()
    for result in results:
        assert result.code == 3 and not result.stdout
        assert 'is a debug build' in result.stderr
