# SPDX-License-Identifier: MIT
"""refs and referrers: the references of single objects, with names."""
import collections

import pytest

import harness
from held import lines

KINDS = {'refs': 'strong', 'extra_refs': 'extra', 'weak_refs': 'weak',
         'conservative_refs': 'conservative'}

PROGRAM = '''
import os, sys, collections, weakref
class Holder(object):
    def __init__(self):
        self.attribute = self.first = Target()
        self.table = {'named': Target(), 7: Target(), ('s' * 9 + str(os.getpid())): Target()}
        self.items = [None, Target()]
        self.pair = (Target(),)
        self.members = {Target()}
        self.queue = collections.deque([0, 1, Target()])
        self.weak = weakref.ref(self.first)
class Target(object):
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
def inner(argument):
    kept = [Target()]
    os.abort()          # inner
def outer(first, second=2):
    def nested():
        return first
    for i in range(1):
        inner(
            Target())   # outer
outer(Target())         # module
'''


@pytest.fixture(scope='module')
def core(interpreter):
    core = harness.abort_core(interpreter, PROGRAM)
    yield core
    core.close()


@pytest.fixture(scope='module')
def objects(core):
    return {row['address']: row for row in lines(core, 'objects', '--refs')}


def names_of(core, address, command='referrers'):
    return {(row['name'], row['type'], row['reference']) for row in lines(core, command, address)}


def the(objects, kind):
    address, = [address for address, row in objects.items() if row['type'] == kind]
    return address


def test_refs_have_names(core, objects):
    holder = the(objects, '__main__.Holder')
    held = {}
    for row in lines(core, 'refs', holder):
        held[row['name']] = row['address']
        if row['name'] == '.__dict__':      # up to 3.10, or once it was asked for
            held.update((one['name'].replace('["', '.').replace('"]', ''), one['address'])
                        for one in lines(core, 'refs', row['address']))
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
    shown = [row['name'] for row in lines(core, 'refs', table) if row['type'] == '__main__.Target']
    assert sorted(name.split(' at ')[0] for name in shown) == ['["named"]', '[int', '[str']
    shown = [row['name'] for row in lines(core, 'refs', table, '--values')
             if row['type'] == '__main__.Target']
    assert '[7]' in shown and any(name.startswith('["sssssssss') for name in shown)


def test_locals_and_cells_have_names(core, objects):
    names = collections.defaultdict(set)
    for address, row in objects.items():
        if row['type'] in ('generator', 'frame', 'cell') and \
                '__main__.Target' in [objects[one]['type'] for one in row['refs']]:
            names[row['type']] |= names_of(core, address, 'refs')
    # up to 3.10 the frame of a generator is an object of its own
    kind = 'generator' if core.interpreter.version >= (3, 11) else 'frame'
    assert ('local local', '__main__.Target', 'strong') in names[kind]
    assert ('.cell_contents', '__main__.Target', 'strong') in names['cell']


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
                                    for row in lines(core, 'referrers', address))
        assert found == reverse[address], address


def path_names(core, address):
    """The names on the way to an object, the root's first."""
    return [row['name'] for row in lines(core, 'path', address)]


def test_path_leads_from_a_module(core, objects):
    """What it prints is what the program would have to write."""
    holder = the(objects, '__main__.Holder')
    assert path_names(core, holder) == ['sys.modules', '["__main__"]', '.__dict__', '["holder"]']
    slot, = [one for address, row in objects.items() if row['type'] == '__main__.Target'
             for one in row['refs'] if objects[one]['type'] == '__main__.Target']
    names = path_names(core, slot)
    assert names[:4] == ['sys.modules', '["__main__"]', '.__dict__', '["holder"]']
    assert [name.replace('["', '.').replace('"]', '') for name in names[4:]
            if name != '.__dict__'] == ['.attribute', '.slot']


def line_of(mark, version):
    """The line of a call: where it begins; up to 3.7 that of its last argument."""
    lines = PROGRAM.split('\n')
    number, = [i for i, line in enumerate(lines, 1) if line.endswith('# ' + mark)]
    return number - (mark == 'outer' and version >= (3, 8))


def test_path_leads_from_a_frame(core, objects):
    found = {}
    for address, row in objects.items():
        if row['type'] == '__main__.Target':
            way = lines(core, 'path', address)
            if way[0]['root'] == 'frame':
                found[way[0]['name']] = [one['name'] for one in way[1:]]
    version = core.interpreter.version
    inner = '%sinner() at <string>:%d'
    if version >= (3, 11):
        assert found[inner % ('local kept in ', line_of('inner', version))] == ['[0]']
        assert found[inner % ('local argument in ', line_of('inner', version))] == []
    else:       # the frame is an object, and a root
        assert found[inner % ('frame of ', line_of('inner', version))]
    outer = [name for name in found if 'outer() at <string>:%d' % line_of('outer', version) in name]
    assert outer, found


def test_paths_of_a_type_are_one_tree(core, objects):
    tree = lines(core, 'path', '--type', '__main__.Target')
    targets = [address for address, row in objects.items() if row['type'] == '__main__.Target']
    assert {row['address'] for row in tree if row['type'] == '__main__.Target'} == set(targets)
    assert sum(row['objects'] for row in tree if row['depth'] == 0) == len(targets)
    above = []
    for row in tree:
        del above[row['depth']:]
        # each is referred to by the one above it
        assert len(above) == row['depth'] and (row['root'] is None) == (row['depth'] > 0)
        if above:
            holder = objects[above[-1]]
            assert row['address'] in holder['refs'] + holder['extra_refs'] + \
                holder['conservative_refs']
        above.append(row['address'])


def test_path_needs_one_target(core):
    for arguments in [], ['0x1000', '--type', 'dict']:
        result = core.memheap('path', *arguments, check=False)
        assert result.code == 2 and 'an address' in result.stderr.replace('the address', 'an address')


def test_no_object(core):
    for command in 'refs', 'referrers', 'path':
        result = core.memheap(command, '0x11', check=False)
        assert result.code == 1 and not result.stdout
        assert 'no object begins at 0x11' in result.stderr
