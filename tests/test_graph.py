# SPDX-License-Identifier: MIT
"""refs and referrers: the references of single objects, with names."""
import collections
import json

import pytest

import harness

KINDS = {'refs': 'strong', 'extra_refs': 'extra', 'weak_refs': 'weak',
         'conservative_refs': 'conservative'}

PROGRAM = '''
import os, sys, collections, weakref
class Holder:
    def __init__(self):
        self.attribute = self.first = Target()
        self.table = {'named': Target(), 7: Target(), ('s' * 9 + str(os.getpid())): Target()}
        self.items = [None, Target()]
        self.pair = (Target(),)
        self.members = {Target()}
        self.queue = collections.deque([0, 1, Target()])
        self.weak = weakref.ref(self.first)
class Target:
    __slots__ = 'slot', '__weakref__'
def function():
    captured = Target()
    return lambda: captured
def generator():
    local = Target()
    yield local
holder = Holder()
holder.first.slot = Target()
closure = function()
suspended = generator()
next(suspended)
os.abort()
'''


@pytest.fixture(scope='module')
def core(interpreter):
    core = harness.abort_core(interpreter, PROGRAM)
    yield core
    core.close()


@pytest.fixture(scope='module')
def objects(core):
    lines = core.memheap('objects', '--refs', '--format', 'jsonl').stdout.splitlines()
    return {row['address']: row for row in map(json.loads, lines)}


def rows(core, command, address, *more):
    return [json.loads(line) for line in
            core.memheap(command, address, '--format', 'jsonl', *more).stdout.splitlines()]


def names_of(core, address, command='referrers'):
    return {(row['name'], row['type'], row['reference']) for row in rows(core, command, address)}


def the(objects, kind):
    address, = [address for address, row in objects.items() if row['type'] == kind]
    return address


def test_refs_have_names(core, objects):
    holder = the(objects, '__main__.Holder')
    held = {}
    for row in rows(core, 'refs', holder):
        held[row['name']] = row['address']
        if row['name'] == '.__dict__':      # up to 3.10, or once it was asked for
            held.update((one['name'].replace('["', '.').replace('"]', ''), one['address'])
                        for one in rows(core, 'refs', row['address']))
    assert {'.attribute', '.first', '.table', '.items', '.pair', '.members', '.queue',
            '.weak'} <= held.keys()
    assert held['.attribute'] == held['.first']
    target = lambda name, kind='strong': (name, '__main__.Target', kind)
    assert target('[1]') in names_of(core, held['.items'], 'refs')
    assert target('[0]') in names_of(core, held['.pair'], 'refs')
    assert target('key') in names_of(core, held['.members'], 'refs')
    assert target('[2]') in names_of(core, held['.queue'], 'refs')
    assert target('()', 'weak') in names_of(core, held['.weak'], 'refs')
    assert target('.slot') in names_of(core, held['.first'], 'refs')
    assert target('["named"]') in names_of(core, held['.table'], 'refs')


def test_keys_that_are_data_are_private(core, objects):
    table, = [address for address, row in objects.items() if row['type'] == 'dict' and
              len([one for one in row['refs'] if objects[one]['type'] == '__main__.Target']) == 3]
    shown = [row['name'] for row in rows(core, 'refs', table) if row['type'] == '__main__.Target']
    assert sorted(name.split(' at ')[0] for name in shown) == ['["named"]', '[int', '[str']
    shown = [row['name'] for row in rows(core, 'refs', table, '--values')
             if row['type'] == '__main__.Target']
    assert '[7]' in shown and any(name.startswith('["sssssssss') for name in shown)


def test_locals_and_cells_have_names(core, objects):
    suspended, = [address for address, row in objects.items() if row['type'] == 'generator' and
                  '__main__.Target' in [objects[one]['type'] for one in row['refs']]] or [None]
    if suspended is None:       # up to 3.10 its frame is an object of its own
        suspended, = [address for address, row in objects.items() if row['type'] == 'frame' and
                      '__main__.Target' in [objects[one]['type'] for one in row['refs']]]
    assert ('local local', '__main__.Target', 'strong') in names_of(core, suspended, 'refs')
    cell, = [address for address, row in objects.items() if row['type'] == 'cell' and
             '__main__.Target' in [objects[one]['type'] for one in row['refs']]]
    assert ('.cell_contents', '__main__.Target', 'strong') in names_of(core, cell, 'refs')


def test_referrers_are_the_references_reversed(core, objects):
    reverse = collections.defaultdict(collections.Counter)
    for address, row in objects.items():
        for key, kind in KINDS.items():
            for referent in row[key]:
                reverse[referent][address, kind] += 1
    some = [address for address, row in objects.items() if row['type'] == '__main__.Target']
    some += [the(objects, '__main__.Holder'), the(objects, 'NoneType'),
             *list(reverse)[::len(reverse) // 10]]
    for address in some:
        found = collections.Counter((row['address'], row['reference'])
                                    for row in rows(core, 'referrers', address))
        assert found == reverse[address], address


def test_no_object(core):
    for command in 'refs', 'referrers':
        result = core.memheap(command, '0x11', check=False)
        assert result.code == 1 and not result.stdout
        assert 'no object begins at 0x11' in result.stderr
