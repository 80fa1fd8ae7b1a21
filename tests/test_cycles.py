# SPDX-License-Identifier: MIT
"""cycles: what it reports is what gc.collect() then frees in the process itself."""
import collections

import pytest

import harness

# An entry of a WeakValueDictionary: its callback frees it, while the collector is at work.
BY_CALLBACK = collections.Counter({'weakref.KeyedRef': 1})
# In __subclasses__ of the bases, the weak references to the five classes: destructors remove them.
BY_DESTRUCTOR = {'weakref.ReferenceType': 5, 'weakref': 5}
# What 2.7 never collects: objects with __del__, and generators that are to clean up; and what hangs
# on them: the __dict__ of each, and the list that holds each generator, its frame, its iterator.
UNCOLLECTABLE_2 = {'__main__.Dying': 10, 'instance': 3, 'generator': 3}
HELD_BY_UNCOLLECTABLE_2 = {'dict': 13, 'list': 3, 'frame': 3, 'listiterator': 3}
# When these are on no cycle the collector ceases to track them, and they live on.
UNTRACKED = ['tuple', 'dict']


@pytest.fixture
def core(cores, interpreter):
    return cores.get(interpreter, 'cycles')


def truth(core, name):
    """{type: number of objects}"""
    return collections.Counter(line.split('\t')[-1] for line in core.text(name).splitlines())


def table(core, key):
    """{type: number of objects}"""
    return collections.Counter({row['type']: row['objects'] for row in core.report('cycles')[key]})


def different(mine, right):
    return {kind: (mine[kind], right[kind]) for kind in mine | right if mine[kind] != right[kind]}


def test_what_the_collector_finds(core):
    right = truth(core, 'collected.tsv')
    # 2.7 has neither lru_cache nor SimpleNamespace, and no cycles of frames by exceptions
    assert sum(right.values()) > 500 and len(right) > (40 if core.interpreter.version >= (3,) else 35)
    assert not different(table(core, 'types') + table(core, 'uncollectable') + BY_CALLBACK, right)


def test_what_has_gone(core):
    """What is freed along includes objects that the collector tracks, but does not find."""
    mine, along, gone = table(core, 'types'), table(core, 'freed_along'), truth(core, 'gone.tsv')
    rest = gone - BY_CALLBACK
    rest.subtract(mine)
    rest.subtract(BY_DESTRUCTOR)
    assert not {kind: count for kind, count in rest.items()
                if kind not in UNTRACKED and not count <= 0 <= count + BY_DESTRUCTOR.get(kind, 0)
                and not 0 <= count <= along[kind]}
    freed = core.text('freed.tsv').split()
    # code is tracked in free-threaded builds; that of a module is not noted
    code = mine['code'] - 1 if core.interpreter.free_threaded else along['code']
    assert code == len(freed) > 200
    # that of a Legacy stays
    assert len(freed) < len([row for row in core.objects().values() if row['type'] == 'code'])


def test_what_is_uncollectable(core):
    garbage, uncollectable = truth(core, 'garbage.tsv'), table(core, 'uncollectable')
    if core.interpreter.version < (3,):
        assert garbage == UNCOLLECTABLE_2
        assert uncollectable == {**UNCOLLECTABLE_2, **HELD_BY_UNCOLLECTABLE_2}
        return
    assert garbage == ({'__main__.Legacy': 7} if uncollectable else {})
    if not garbage:
        pytest.skip('%s: no _testcapi, which makes types with tp_del' % core)
    dicts = {'dict': 7} if core.interpreter.version < (3, 11) else {}      # the __dict__ of each
    code = {'code': 7} if core.interpreter.free_threaded else {}
    assert uncollectable == {'__main__.Legacy': 7, 'list': 7, **dicts, **code}


def test_sums(core):
    report = core.report('cycles')
    for table_key, key in (('types', 'objects'), ('freed_along', 'freed_along_objects'),
                           ('uncollectable', 'uncollectable_objects')):
        assert report['cycles'][key] == sum(table(core, table_key).values())
    assert report['cycles']['shallow_bytes'] == sum(row['shallow_bytes'] for row in report['types'])
    objects = core.objects()
    for row in report['objects']:
        found = objects[int(row['address'], 16)]
        assert {key: row[key] for key in ('type', 'shallow_bytes', 'refcount')} == \
            {key: found[key] for key in ('type', 'shallow_bytes', 'refcount')}


def test_cycles_are_drawn(core):
    rows = core.report('cycles')['objects']
    # free-threaded builds leave functions, descriptors and the like to the collector
    assert all(row['refcount'] == 0 and core.interpreter.free_threaded
               for row in rows if not row['cycle'])
    drawn = {row['type']: row['cycle'] for row in rows if row['cycle']}
    assert all(cycle.endswith(' → the first') for cycle in drawn.values())
    assert drawn['__main__.Slotted'] == '__main__.Slotted .next → __main__.Slotted .next → the first'
    key = 'collections.deque'       # shown where it is among the largest types
    assert drawn.get(key, 'collections.deque [0] → the first') == 'collections.deque [0] → the first'


def test_frozen_objects_and_garbage(interpreter):
    """What gc.freeze() put aside stays; what is in gc.garbage is told."""
    if isinstance(interpreter, harness.Emulated):
        pytest.skip('%s: only cores of programs with their truth are made there' % interpreter)
    core = harness.abort_core(interpreter, '''
import gc, os
class Node(object): pass
def make(kind):
    one = kind(); one.me = one
gc.disable()
for i in range(5): make(Node)
if hasattr(gc, 'freeze'):       # since 3.7
    gc.freeze()
class Other(Node): pass
for i in range(3): make(Other)
gc.garbage.extend([Node(), Node(), {1: 2}, 'text'])
os.abort()''')
    try:
        report = core.report('cycles')
        count = {row['type']: row['objects'] for row in report['types']}
        assert count['__main__.Other'] == 3
        assert count.get('__main__.Node') == (None if interpreter.version >= (3, 7) else 5)
        # up to 3.6 it is in a variable of the interpreter that only symbols tell of
        hidden = interpreter.version < (3, 7) and 'stripped' in interpreter.name
        assert report['cycles']['garbage_objects'] == (None if hidden else 4)
        assert {row['type']: row['objects'] for row in report['garbage']} == \
            ({} if hidden else {'__main__.Node': 2, 'dict': 1, 'str': 1})
    finally:
        core.close()
