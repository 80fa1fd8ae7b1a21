# SPDX-License-Identifier: MIT
"""What object tells of an address, in each state that memory can be in."""
import json

import pytest

import commands


def at(core, address, *more):
    output = core.memheap('object', hex(address), '--format', 'json', *more).stdout
    return json.loads(output)


def place(core, name):
    return at(core, core.places[name])['place']


@pytest.mark.parametrize('name, kind', [
    ('ascii', 'str'), ('bytes', 'bytes'), ('list', 'list'), ('dict', 'dict'), ('set', 'set'),
    ('tuple', 'tuple'), ('number', 'int'), ('real', 'float'), ('account', '__main__.Account'),
    ('slots', '__main__.Slots'), ('text', '__main__.Text'), ('error', 'ValueError')])
def test_object(name, kind, places_core):
    address = places_core.places[name]
    report = at(places_core, address)
    assert report['place']['state'] == 'object'
    assert report['place']['allocator'] == 'pymalloc'
    found = [row for row in report['objects'] if row['relation'] == 'self']
    listed = places_core.objects()[address]
    assert [(row['type'], int(row['address'], 16)) for row in found] == [(kind, address)]
    for key in ('shallow_bytes', 'occupied_bytes', 'refcount', 'gc_tracked'):
        assert found[0][key] == listed[key]
    # every word of the block, the object's own head among them
    words = {row['offset_bytes']: row for row in report['words']}
    assert words[8]['field'] == 'ob_type' and words[8]['points_to'] == 'type ' + kind
    assert len(words) * 8 == report['place']['block_bytes']


def test_the_middle_of_an_object(places_core):
    address = places_core.places['bytes']
    report = at(places_core, address + 20)
    assert report['place']['offset_bytes'] == 20
    assert int(report['objects'][0]['address'], 16) == address


def test_neighbours_lie_before_and_behind(places_core):
    address = places_core.places['dict']
    relations = {row['relation']: int(row['address'], 16)
                 for row in at(places_core, address)['objects']}
    assert relations['previous'] < address < relations['next']


@pytest.mark.parametrize('name, owner', [('buffer', 'list'),
                                         ('buffer of bytearray', 'bytearray'),
                                         ('buffer of large', 'large')])
def test_buffer_has_an_owner(name, owner, places_core):
    report = at(places_core, places_core.places[name])
    assert report['place']['state'] == 'buffer' and report['place']['use']
    owners = [int(row['address'], 16) for row in report['objects'] if row['relation'] == 'owner']
    assert owners == [places_core.places[owner]]


def test_static_object(places_core):
    found = place(places_core, 'static object')
    assert (found['state'], found['allocator']) == ('static object', None)
    assert found['region'] == 'module data'


def test_used_chunk_that_is_no_object(places_core):
    found = place(places_core, 'used')
    assert (found['state'], found['allocator']) == ('used', 'malloc')
    assert 5000 <= found['block_bytes'] < 5100 and found['offset_bytes'] == 0


def test_free_blocks(places_core):
    states = {place(places_core, name)['state'] for name in places_core.places
              if name.startswith('freed')}
    assert 'free' in states


def test_free_chunks(places_core):
    found = [place(places_core, name) for name in places_core.places if name.startswith('chunk')]
    assert ('free', 'malloc') in {(one['state'], one['allocator']) for one in found}


def test_no_block(places_core):
    found = place(places_core, 'no block')
    assert (found['state'], found['block_address']) == ('no block', None)


def test_untouched_block(places_core):
    """Behind the last object of a pool that was never filled."""
    sizes = {row['block_bytes']: row['untouched_blocks'] / row['pools']
             for row in places_core.report()['pymalloc']['size_classes']}
    objects = [row for row in places_core.objects().values()
               if row['region'] == 'pymalloc arena' and row['occupied_bytes'] in sizes]
    # the last ones of the size classes that have most of it
    last = {row['occupied_bytes']: int(row['address'], 16) for row in objects}
    for size in sorted(last, key=sizes.get, reverse=True)[:10]:
        found = at(places_core, last[size])['place']
        begin = int(found['block_address'], 16)
        for behind in range(begin, begin + 10 * size, size):
            beside = at(places_core, behind)['place']
            if beside['state'] == 'untouched':
                assert beside['pool_address'] == found['pool_address']
                assert beside['block_bytes'] == size
                return
    pytest.fail('there is no untouched block behind any object')


def test_nothing_is_mapped(places_core):
    result = places_core.memheap('object', '0x10', check=False)
    assert result.code == 1 and result.stdout == ''
    assert 'nothing is mapped at 0x10' in result.stderr and 'memheap regions' in result.stderr


def test_address_with_and_without_prefix(places_core):
    address = places_core.places['dict']
    with_prefix, without, capital = (
        places_core.memheap('object', text).stdout
        for text in ('%#x' % address, '%x' % address, '%X' % address))
    assert with_prefix == without == capital


def test_hex_dump_only_with_values(places_core):
    address = places_core.places['ascii']
    assert at(places_core, address)['bytes'] == []
    dump = at(places_core, address, '--values')['bytes']
    data = b''.join(bytes.fromhex(row['hex']) for row in dump)
    assert places_core.marker.encode() + b'!\0' in data
    assert commands.columns('object', 'bytes') == list(dump[0])
