# SPDX-License-Identifier: MIT
"""Cores that are not whole: the rest is analysed, and it is as it was."""
import collections
import json
import os
import random
import re
import struct

import pytest

import bad_input
import harness

HEAP = """
import os
class Order:
    def __init__(self, i):
        self.i, self.name, self.tags = i, 'order %d' % i, [i, i + 1]
kept = [Order(i) for i in range(5000)]
texts = {i: str(i) for i in range(5000)}
large = bytearray(3000000)
os.abort()
"""


def plain(*versions):
    """Interpreters as they are, of some versions."""
    found = [one for one in harness.interpreters() if one.version[:2] in versions and
             not one.root and re.search(r'-[\d.]+$', one.name)]
    if not found:
        pytest.skip('no CPython of ' + ', '.join('%d.%d' % version for version in versions))
    return found


def rows_of(core):
    """{address: row} of a core, whatever the exit code, which comes with it."""
    result = core.memheap('objects', '--format', 'jsonl', check=False)
    return result.code, {row['address']: row for row in map(json.loads, result.stdout.splitlines())}


def never_more(row, whole):
    """What is left of an object is no more than the object."""
    assert row['shallow_bytes'] <= whole['shallow_bytes'], (row, whole)
    assert row['occupied_bytes'] <= whole['occupied_bytes'], (row, whole)
    # a name may be lost, in whole or in part
    assert whole['type'].endswith(row['type']) or row['type'].startswith('<type at '), (row, whole)


def in_file_too(path):
    """[(begin, end)] of the read-only parts of a core: the rest of one that is cut can be in a file
    of this machine, as the first page of each library is, and is not missing then."""
    with open(path, 'rb') as file:
        content = file.read(1 << 16)
    first, = struct.unpack_from('<Q', content, 32)
    count, = struct.unpack_from('<H', content, 56)
    for index in range(count):
        kind, flags, offset, _, _, size = struct.unpack_from('<IIQQQQ', content, first + 56 * index)
        if kind == 1 and not flags & 2:
            yield offset, offset + size


@pytest.mark.parametrize('version', [(3, 8), (3, 11), (3, 12), (3, 13)], ids=str)
def test_cut_at_every_percent(version):
    if harness.how_to_dump() != 'kernel':
        pytest.skip('the kernel does not write cores here')
    for interpreter in plain(version):
        core = harness.abort_core(interpreter, HEAP)
        size, whole = os.path.getsize(core.path), core.report()
        _, objects = rows_of(core)
        shares, read_only = [], list(in_file_too(core.path))
        for percent in bad_input.some(range(99, 0, -1)):
            cut = size * percent // 100
            os.truncate(core.path, cut)
            result = core.memheap('analyze', '--format', 'json', check=False)
            report = bad_input.check_answer(result, core.path)      # it sums up to the image
            assert result.code == 5, (interpreter, percent, result.stderr)
            left = report['completeness']
            refilled = sum(end - cut for begin, end in read_only if begin < cut < end)
            assert left['truncated_bytes'] in (size - cut, size - cut - refilled)
            assert left['image_bytes'] == whole['completeness']['image_bytes']
            notice, = [row for row in report['diagnostics'] if row['code'] == 'MH0101']
            assert 'ulimit -c' in notice['hint'] and 'core_sort_vma' in notice['hint']
            shares.append(sum(row['objects'] for row in report['types']))
            if percent % 10 == 9 and shares[-1]:
                code, rows = rows_of(core)
                assert code == 5 and len(rows) == shares[-1]
                for address, row in rows.items():
                    never_more(row, objects[address])
        core.close()
        # the more there is the more is found; without the interpreter's data nothing is
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > 0.9 * len(objects), (interpreter, shares)
        if interpreter.name.startswith('system'):       # its data lie lowest
            assert shares[50] > 0, shares


FILTERS = (0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x13, 0x21, 0x30, 0x31, 0x33, 0x37, 0x40, 0x7f)


def test_coredump_filters():
    """With a process's own memory (bit 0) the numbers are the same, whatever else is in the core."""
    if harness.how_to_dump() != 'kernel':
        pytest.skip('the kernel does not write cores here')
    for interpreter in plain((3, 8), (3, 13)):
        answers = set()
        seeded = harness.Interpreter(interpreter.name, interpreter.command, interpreter.version,
                                     dict(interpreter.environment, PYTHONHASHSEED='0'),
                                     interpreter.options)
        for bits in FILTERS:
            code = "open('/proc/self/coredump_filter', 'w').write('0x%02x')\n" % bits
            core = harness.abort_core(seeded, code + HEAP)
            result = core.memheap('analyze', '--format', 'json', check=False)
            report = bad_input.check_answer(result, core.path)
            core.close()
            if bits & 1:
                assert result.code == 0 and report['gaps'] == [], (bits, result.stderr)
                # others vary from run to run: caches and interned strings depend on addresses
                answers.add(tuple(sorted((row['type'], row['objects'], row['shallow_bytes'])
                                         for row in report['types'] if row['type'] in (
                    '__main__.Order', 'bytearray', 'list', 'type', 'code'))))
                assert (report['completeness']['missing_bytes'] == 0) == (bits & 4 == 4), bits
            else:
                assert result.code == 3 and 'echo 0x7f > ' in result.stderr, (bits, result.stderr)
        assert len(answers) == 1, interpreter


FORKED = """
import os, sys
kept = [str(i) for i in range(20000)]
for i in range(3):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        os._exit(0)
    more = [str(-i) for i in range(1000)]
os.abort()
"""
def test_core_of_a_forked_child():
    for interpreter in plain((3, 8), (3, 11), (3, 13)):
        core = harness.abort_core(interpreter, FORKED)
        report = core.report()
        core.close()
        texts = {row['type']: row['objects'] for row in report['types']}['str']
        assert 21000 < texts < 45000 and report['gaps'] == []
        assert report['python']['thread_states'] == 1


@pytest.fixture(scope='module', params=['3.13', '3.8'])
def small(request, tmp_path_factory):
    return bad_input.SmallCore(request.param, tmp_path_factory.mktemp('damage'))


@pytest.fixture(scope='module')
def objects(small):
    return {row['address']: row for row in small.rows('objects', 'objects')}


def damaged(small, patches, *codes):
    """{address: row} and the gaps of the core with {address: word} written over it."""
    before = small.patch({small.offset(at): struct.pack('<Q', value & (1 << 64) - 1)
                          for at, value in patches.items()})
    result = small.memheap('objects', '--format', 'json')
    analysis = small.memheap('analyze', '--format', 'json')
    small.patch(before)
    report = bad_input.check_answer(analysis, small.path)
    assert result.code == analysis.code and result.code in codes, (result.code, result.stderr)
    rows = {row['address']: row for row in json.loads(result.stdout)['objects']}
    return rows, {row['gap']: row for row in report['gaps']}, report


def unchanged(rows, objects, but=()):
    """The rows of the rest are what they were."""
    for address, row in objects.items():
        if address not in but:
            assert rows.get(address) == row, (rows.get(address), row)


def in_pools(small, objects, kinds):
    """Objects of some types in pymalloc's pools, that no type and no module is."""
    return [row for row in objects.values() if row['type'] in kinds and
            row['region'] == 'pymalloc arena' and row['refcount'] < 1 << 30]


def test_overwritten_type_pointers(small, objects):
    """Such an object is unknown memory; the others are as they were."""
    rows = in_pools(small, objects, ('int', 'float', 'bytes', 'str', 'tuple'))
    chance = random.Random(7)
    for row in chance.sample(rows, len(bad_input.some(range(12)))):
        at = int(row['address'], 16)
        wrong = int(chance.choice(rows)['address'], 16)     # an object that is no type
        for value in (0, 1, wrong, (1 << 64) - 1, 0x5555555555555555):
            left, gaps, report = damaged(small, {at + 8: value}, 0, 5)
            unchanged(left, objects, {row['address']})
            assert row['address'] not in left, (left[row['address']], value)


def unused_data(small, words):
    """An address in the data of modules where so many words are 0."""
    for region in small.rows('regions', 'regions'):
        start, end = int(region['address'], 16), int(region['end_address'], 16)
        if region['region'] == 'module data' and small.offset(start) is not None:
            content = small.content[small.offset(start):][:end - start]
            at = content.find(bytes(8 * (words + 1)))
            if at >= 0:
                return start + (at + 7 & ~7)
    raise AssertionError('all is used')


def test_a_table_in_module_data_is_no_type(small, objects):
    """The second word of this one is a metatype; the others are addresses as low as those in a
    program that is linked to a fixed place."""
    words = 60
    kind = next(int(row['address'], 16) for row in objects.values() if row['type'] == 'type')
    at = unused_data(small, words)
    table = {at + i * 8: 0x500000 + i * 8 for i in range(words)}
    table[at + 8] = small.word(kind + 8)
    left, gaps, _ = damaged(small, table, 0)
    assert left == objects and not gaps


def pools_in_use(small, pool_bytes):
    for row in small.rows('arenas', 'arenas'):
        start = int(row['address'], 16) + pool_bytes - 1 & -pool_bytes
        for pool in range(start, start + row['pools'] * pool_bytes, pool_bytes):
            if small.offset(pool) is not None and small.word(pool) & 0xffffffff:
                yield pool


def test_overwritten_pool_headers(small, objects):
    """The pool is reported, with its address; objects of other pools are as they were."""
    pool_bytes = 16384 if '3.13' in small.path else 4096
    pools = list(pools_in_use(small, pool_bytes))
    inside = collections.defaultdict(set)
    for address in objects:
        inside[int(address, 16) & -pool_bytes].add(address)
    chance = random.Random(8)
    chance.shuffle(pools)
    tried = 0
    for pool in pools:
        # a pool of plain things: what they own or name is theirs alone
        if not inside[pool] or any(objects[address]['type'] not in (
                'int', 'float', 'bytes', 'str') for address in inside[pool]):
            continue
        for patches in ({pool: 0x7fffffff}, {pool + 32: 0x7fffffff7fffffff},
                        {pool: 0xffff, pool + 8: 0x4141414141414141, pool + 32: 0x4141414141414141}):
            left, gaps, _ = damaged(small, patches, 5)
            damage = [gap for name, gap in gaps.items() if name.startswith(('pool_', 'arena_'))]
            assert damage, gaps
            assert int(damage[0]['first_address'], 16) & -(1 << 20) == pool & -(1 << 20)
            # of objects elsewhere a buffer may lie in the pool, which nobody owns any more
            assert set(objects) - set(left) <= inside[pool]
            changed = [row for address, row in left.items()
                       if address not in inside[pool] and row != objects[address]]
            for row in changed:
                never_more(row, objects[row['address']])
                assert row['shallow_bytes'] == objects[row['address']]['shallow_bytes']
            assert len(changed) <= pool_bytes // 16
        tried += 1
        if tried == len(bad_input.some(range(6))):
            return
    assert tried


def test_overwritten_links_of_the_collector(small, objects):
    """The collector's list is reported by gc; the objects are as they were."""
    tracked = [int(row['address'], 16) - 16 for row in objects.values() if row['gc_tracked']]
    for at in random.Random(9).sample(tracked, len(bad_input.some(range(8)))):
        for value in (0x4141414141414140, at, 8):
            before = small.patch({small.offset(at): struct.pack('<Q', value)})
            result = small.memheap('gc', '--format', 'json')
            report = bad_input.check_answer(result, small.path)
            rows = {row['address']: row for row in small_rows(small)}
            small.patch(before)
            assert result.code == 5, (hex(at), hex(value))
            assert [row['gap'] for row in report['gaps']] == ['gc_list_damaged']
            unchanged(rows, objects, {hex(at + 16)})


def small_rows(small):
    result = small.memheap('objects', '--format', 'json')
    assert result.code in (0, 5), result.stderr
    return json.loads(result.stdout)['objects']
