# SPDX-License-Identifier: MIT
"""deep: what a process adds up of itself by gc.get_referents() and sys.getsizeof()."""
import json

import pytest

import harness

PROGRAM = '''
import collections, gc, json, os, sys, types, weakref
CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
        types.GeneratorType, types.CodeType, types.FrameType, classmethod, staticmethod,
        getattr(types, 'ClassType', type))      # of 2.7
class Slots(object):
    __slots__ = 'first', 'second', '__weakref__'
def deep(start):
    seen, found = {id(start)}, [start]
    for thing in found:
        keys = list(dict.keys(thing)) if isinstance(thing, dict) else []
        for one in gc.get_referents(thing) + keys:
            if id(one) not in seen and not isinstance(one, CODE):
                seen.add(id(one))
                found.append(one)
    return sum(map(sys.getsizeof, found)), len(found)
slots, loop, chain = Slots(), [], []
slots.first, slots.second = 'x' * 1000, [b'y' * 2000]
loop.append(loop)
for i in range(500):
    chain = [chain, i + 10000]
shared = {'k' * 50: bytearray(5000), 7.5: {1, 2, (3, 'four')}}
# code is left out, but not when asked for; the globals of others change
function = types.FunctionType((lambda: 0).__code__, {'only': bytearray(300)})
data = {
    'slots': slots, 'loop': loop, 'twice': [shared, shared], 'weak': weakref.ref(Slots),
    'code': [len, deep, Slots, os, [].append, (i for i in ())], 'queue': collections.deque([shared]),
    'ordered': collections.OrderedDict(one=slots, two=shared), (1, 2): frozenset(range(1000)),
}
asked = [data, slots, loop, chain, shared, 'alone', function]
asked += data.values()
with open(%r, 'w') as out:
    json.dump([(hex(id(one)), type(one).__name__) + deep(one) for one in asked], out)
os.abort()'''


@pytest.fixture(params=['newest', '2.7'])
def some(request, newest):
    """The newest interpreter, and one of 2.7, where other types are code."""
    if request.param == 'newest':
        return newest
    found = [one for one in harness.interpreters() if one.version < (3,) and not one.root]
    return found[0] if found else pytest.skip('no CPython 2.7')


def test_deep_sizes(some, tmp_path):
    told = tmp_path / 'told'
    core = harness.abort_core(some, PROGRAM % str(told))
    try:
        right = json.loads(told.read_text())
        assert max(objects for _, _, _, objects in right) > 1000
        for address, kind, size, objects in right:
            report = core.report('deep', address)
            found = report['deep']
            assert (found['type'].split('.')[-1], found['deep_bytes'], found['objects']) == \
                (kind, size, objects), address
            assert sum(row['objects'] for row in report['types']) == objects
            assert sum(row['shallow_bytes'] for row in report['types']) == size
        assert core.memheap('deep', '0x11', check=False).code == 1
    finally:
        core.close()


def test_types_of_the_same_name_are_one_row(newest, tmp_path):
    told = tmp_path / 'told'
    core = harness.abort_core(newest, '''
import os
things = [type('Twin', (), {'__slots__': ()})() for i in range(7)]
with open(%r, 'w') as out:
    out.write(hex(id(things)))
os.abort()''' % str(told))
    try:
        types = core.report('deep', told.read_text())['types']
        assert {row['type']: row['objects'] for row in types} == {'list': 1, '__main__.Twin': 7}
    finally:
        core.close()
