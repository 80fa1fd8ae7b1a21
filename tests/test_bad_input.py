# SPDX-License-Identifier: MIT
"""Damaged cores: a counted gap or a clear message, in bounded time and memory."""
import random
import struct

import pytest

import bad_input

NT_PRSTATUS, NT_AUXV, NT_FILE = 1, 6, 0x46494c45
LARGE = (1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 8)


@pytest.fixture(scope='module', params=['3.13', '3.8'])
def small(request, tmp_path_factory):
    return bad_input.SmallCore(request.param, tmp_path_factory.mktemp('bad'))


@pytest.fixture(scope='module')
def objects(small):
    return small.rows('objects', 'objects')


def word(value):
    return struct.pack('<Q', value & (1 << 64) - 1)


def test_the_small_core_is_sound(small):
    result, report = small.analyze()
    assert result.code == 0 and report['gaps'] == [], (result.stderr, report['gaps'])
    assert sum(row['objects'] for row in report['types']) > 10000


def cuts(small):
    """Where to cut: in each header, in notes, around each segment's borders, and anywhere."""
    size, chance = len(small.content), random.Random(1)
    yield from range(0, 64, 9)
    for header, _, offset, _, filled in small.headers[:2] + chance.sample(small.headers[2:], 5):
        yield from (header, header + 30, offset - 1, offset, offset + 1, offset + filled - 1)
    for offset in small.notes.values():
        yield from (offset, offset + 5, offset + 12, offset + 21)
    yield from (chance.randrange(size) for _ in range(20))
    yield size - 1


@pytest.mark.parametrize('command', ['analyze', 'info'])
def test_truncated(small, command):
    size = len(small.content)
    for cut in bad_input.some(sorted({cut for cut in cuts(small) if 0 <= cut < size})):
        result, report = small.analyze_other(small.content[:cut], command)
        assert result.code in (1, 3, 5), (cut, result.code)
        if not report:
            assert any(text in result.stderr for text in ('truncated', 'empty', 'cut off',
                                                          'not an ELF core')), result.stderr
            continue
        assert report['completeness']['truncated_bytes'] > 0, cut
        assert 'MH0101' in [row['code'] for row in report['diagnostics']], cut


def test_random_words(small):
    """Words of memory that are another word, a small or a huge number, or one bit off."""
    chance, places = random.Random(2), small.words()
    for _ in bad_input.some(range(120)):
        patches = {}
        for _ in range(chance.choice((1, 4, 32, 256))):
            old = small.u64(chance.choice(places))
            patches[chance.choice(places)] = word(chance.choice(
                (old, chance.randrange(64), chance.choice(LARGE), chance.getrandbits(64),
                 old ^ 1 << chance.randrange(64), old + chance.choice((-8, 8, 4096)))))
        small.analyze(patches)


def test_random_headers(small):
    end = small.headers[0][2] + small.headers[0][4]     # of the notes, which come first
    chance = random.Random(3)
    for _ in bad_input.some(range(80)):
        patches = {chance.randrange(end): bytes([chance.getrandbits(8)])
                   for _ in range(chance.choice((1, 3, 12)))}
        small.analyze(patches)
        small.analyze(patches, 'info')


def test_absurd_headers(small):
    patches = [{56: b'\xff\xff'}, {56: b'\0\0'}, {54: b'\x01\0'}, {54: b'\xff\xff'}]
    patches += [{32: word(value)} for value in LARGE] + [{40: word(value)} for value in LARGE]
    for header, *_ in small.headers[:4]:
        patches += [{header + field: word(value)} for field in (8, 16, 32, 40) for value in LARGE]
    for offset in small.notes.values():
        patches += [{offset + field: struct.pack('<I', value)} for field in (0, 4)
                    for value in (1 << 31, (1 << 32) - 1, (1 << 32) - 4, 100000)]
    mappings = small.notes[NT_FILE] + 20
    patches += [{mappings + field: word(value)} for field in (0, 8, 16, 24, 32) for value in LARGE]
    for patch in bad_input.some(patches):
        small.analyze(patch)


def test_many_headers_and_mappings(small):
    """Each mapping and each program header covers everything."""
    mappings = struct.pack('<QQ', 3000, 4096)
    mappings += b''.join(struct.pack('<QQQ', 4096 * i, 1 << 46, 0) for i in range(3000))
    mappings += b'/x\0' * 3000
    note = struct.pack('<III', 5, len(mappings), NT_FILE) + b'CORE\0\0\0\0' + mappings
    count = 6000
    header = bytearray(small.content[:64])
    struct.pack_into('<H', header, 56, count + 1)
    headers = struct.pack('<IIQQQQQQ', 4, 0, 64 + 56 * (count + 1), 0, 0, len(note), 0, 4)
    headers += struct.pack('<IIQQQQQQ', 1, 6, 0, 4096, 0, 0, 1 << 46, 4096) * count
    small.analyze_other(bytes(header) + headers + note)
    small.analyze_other(bytes(header) + headers + note, 'info')


def test_absurd_sizes(small, objects):
    """ob_size of tuples, lists, bytes and ints; sizes of dicts and sets."""
    chance = random.Random(4)
    for kind in ('tuple', 'list', 'bytes', 'int', 'dict', 'set', 'str', 'code', 'type', 'bytearray'):
        rows = [row for row in objects if row['type'] == kind and row['refcount'] < 1 << 30 and
                small.offset(int(row['address'], 16))]
        assert rows, kind
        for field in (16, 24):
            at = small.offset(int(chance.choice(rows)['address'], 16)) + field
            for value in bad_input.some(LARGE):
                small.analyze({at: word(value)})
    for row in chance.sample([row for row in objects if row['type'] == 'dict'], 4):
        at = small.offset(int(row['address'], 16))
        keys = [small.offset(small.u64(at + field)) for field in (16, 24, 32, 40)]
        assert any(keys)
        for offset in filter(None, keys):
            for field in (8, 16, 24):
                small.analyze({offset + field: b'\xff'})
                small.analyze({offset + field: word(1 << 62)})


def test_gc_lists_with_loops(small, objects):
    tracked = [int(row['address'], 16) - 16 for row in objects if row['gc_tracked']]
    assert len(tracked) > 1000
    for at in random.Random(5).sample(tracked, len(bad_input.some(range(12)))):
        for field in (0, 8):
            for target in (at, tracked[0], tracked[-1], at + 8, 16):
                patch = {small.offset(at) + field: word(target)}
                result, report = small.analyze(patch, 'gc')
                assert result.code in (0, 5) and report, result.stderr


def test_pool_free_lists_with_loops(small):
    pool_bytes, pools = (16384 if small.path.endswith('3.13.core') else 4096), 0
    for row in small.rows('arenas', 'arenas'):
        start = int(row['address'], 16) + pool_bytes - 1 & -pool_bytes
        for pool in range(start, start + row['pools'] * pool_bytes, pool_bytes):
            first = small.word(pool + 8) if small.offset(pool + 8) else 0
            if not first or not small.word(pool) & 0xffffffff:      # no free block, or not in use
                continue
            pools += 1
            patch = {small.offset(first): word(first)}
            result, report = small.analyze(patch)
            gaps = {gap['code']: gap['count'] for gap in report['gaps']}
            assert gaps.get('MH0212') == 1 and result.code == 5, gaps
            if pools % 20 == 0:
                return
    assert pools


def find_main_arena(small):
    """glibc's malloc_state: its empty bins point at themselves."""
    for _, kind, offset, at, size in small.headers:
        for i in range(0, size - 2200 if kind == 1 else 0, 8):
            if small.u64(offset + i + 112 + 16) == at + i + 112 and \
                    small.u64(offset + i + 112 + 24) == at + i + 112:
                return at + i
    return None


def test_malloc_with_loops(small):
    """Each word of malloc's state, and each link of its free lists, leads somewhere else."""
    arena = find_main_arena(small)
    assert arena
    top = small.word(arena + 96)
    for field in bad_input.some([*range(16, 112, 8), *range(112, 400, 40), 2160, 2168, 2184]):
        for value in (arena, arena + 8, top, top - 16, 8, (1 << 64) - 16):
            small.analyze({small.offset(arena + field): word(value)})
    for field in (-8, 8):           # a ring of arenas that leaves out the main one
        fake = int(small.rows('arenas', 'arenas')[0]['address'], 16) + 65536
        patches = {small.offset(arena + 2160): word(fake),
                   small.offset(fake + 2160): word(fake + field), small.offset(fake + 96): word(fake)}
        small.analyze(patches)


def test_lists_of_threads_and_interpreters_with_loops(small):
    if not small.path.endswith('3.13.core'):
        pytest.skip('only 3.13 says where the fields are')
    runtime = int(small.analyze()[1]['resolution']['runtime_address'], 16)
    interpreters, interp_next, threads, thread_next = (
        small.word(runtime + at) for at in (40, 64, 72, 168))
    interp = small.word(runtime + interpreters)
    thread = small.word(interp + threads)
    second = small.word(thread + thread_next)
    assert second and small.word(second + thread_next) == 0, 'the core has two threads'
    for at, target in ((interp + interp_next, interp), (thread + thread_next, thread),
                       (second + thread_next, thread), (second + thread_next, second)):
        result, report = small.analyze({small.offset(at): word(target)})
        gaps = {gap['code']: gap['count'] for gap in report['gaps']}
        assert gaps.get('MH0234') == 1 and result.code == 5, gaps


def test_types_with_loops(small, objects):
    """tp_base, tp_mro, tp_dict and the type of types lead back to themselves."""
    types = [int(row['address'], 16) for row in objects if row['type'] in ('type', 'abc.ABCMeta')]
    patches = [{small.offset(at + field): word(at)} for at in random.Random(6).sample(types, 5)
               for field in bad_input.some([0, 8, *range(192, 408, 8)])
               if small.offset(at + field) is not None]
    assert len(patches) > 20
    for patch in patches:
        small.analyze(patch)


def test_stacks_anywhere(small, objects):
    """A thread whose stack pointer leads into the heap, an arena or a module takes no bytes away."""
    places = [int(objects[i]['address'], 16) for i in range(0, len(objects), len(objects) // 9)]
    stack = small.notes[NT_PRSTATUS] + 20 + 112 + 19 * 8
    for place in places:
        result, report = small.analyze({stack: word(place)})
        assert report and result.code == 0, (hex(place), result.stderr, report and report['gaps'])
