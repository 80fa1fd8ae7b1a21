# SPDX-License-Identifier: MIT
"""Values of the process are in no output unless --values is given."""
import functools
import json
import random
import struct

import pytest

import commands
import harness


def hex_word(data):
    return '%#x' % int.from_bytes(data, 'little')


def traces(marker):
    """How the marker could show: as text, as hex bytes, as words of memory, as numbers."""
    for i in range(len(marker) - 5):
        yield marker[i:i + 6]
        yield marker[i:i + 6].lower()
    for encoding in ('ascii', 'utf-16-le', 'utf-32-le'):
        data = marker.encode(encoding)
        for i in range(len(data) - 7):
            yield hex_word(data[i:i + 8])
            yield data[i:i + 8].hex(' ')
            yield data[i:i + 8].hex()
    number = int.from_bytes(marker.encode()[:20], 'little')
    yield str(number)
    digits = [number >> 30 * i & (1 << 30) - 1 for i in range(6)]
    for first, second in zip(digits, digits[1:]):
        yield hex_word(struct.pack('<II', first, second))
    yield repr(struct.unpack('<d', marker.encode()[:8])[0])


@functools.lru_cache(maxsize=None)
def all_traces(marker):
    return sorted(set(traces(marker)))


def shown(core, output):
    return [trace for trace in all_traces(core.marker) if trace in output]


@pytest.fixture(scope='module')
def garbage_core(newest, places_core):
    """One with unreachable cycles and leaks that hold the marker, which the other has not."""
    core = harness.abort_core(newest, '''
import ctypes, gc, os
gc.disable()
MARKER = '-'.join(%r)
class Account: pass
account = Account()
account.password = [MARKER, account]
table = {MARKER: MARKER.lower()}
table[MARKER + MARKER] = [table, (MARKER, table), {MARKER}, bytearray(MARKER.encode())]
class Folder(dict): pass
class Queue(list): pass
folder, queue = Folder(), Queue()
folder[MARKER], folder.password = queue, MARKER
queue.append(folder)
for leaked in MARKER + '1', [MARKER], {MARKER: 1}, MARKER.encode() + b'2':
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(leaked))
ctypes.CDLL(None).strdup(MARKER.encode())
del account, table, folder, queue, leaked
os.abort()''' % places_core.marker.split('-'))
    core.marker = places_core.marker
    yield core
    core.close()


def every_output(core, garbage_core, *more):
    """(what was asked, output) of every command in every format."""
    for command in commands.REPORTS:
        for how in commands.FORMATS:
            if command in commands.WITH_ADDRESS:
                continue
            if more and command != 'objects':
                continue
            arguments = [command, '--format', how, '--limit', '0', *more]
            asked = garbage_core if command in ('cycles', 'refcounts', 'leaks') else core
            yield arguments, asked.memheap(*arguments).stdout


def test_traces_are_recognised(places_core):
    """In what the program itself would show."""
    marker = places_core.marker
    assert shown(places_core, 'password: %s!' % marker[3:])
    assert shown(places_core, marker.encode().hex(' '))
    assert shown(places_core, hex_word(marker.encode('utf-32-le')[8:16]))
    assert not shown(places_core, 'nothing to see')


def test_no_report_shows_values(places_core, garbage_core):
    for arguments, output in every_output(places_core, garbage_core):
        assert len(output) > 100, arguments
        assert not shown(places_core, output), arguments


def test_objects_shows_values_when_asked(places_core, garbage_core):
    for arguments, output in every_output(places_core, garbage_core, '--values'):
        assert places_core.marker + '!' in output, arguments


def shown_by_object(core, name, *more):
    return [how for how in ('table', 'json', 'csv') if
            shown(core, core.memheap('object', hex(core.places[name]), '--format', how,
                                     *more).stdout)]


def test_object_shows_no_values(places_core):
    names = [name for name in places_core.places if not name.startswith('freed')]
    assert len(names) > 20
    assert not [name for name in names if shown_by_object(places_core, name)]


@pytest.mark.parametrize('command', ['refs', 'referrers'])
def test_names_of_references_show_no_values(command, places_core):
    """Keys that are data, which a name would show: all there are of dicts, and of what they hold."""
    lines = places_core.memheap('objects', '--type', 'dict', '--format', 'jsonl', '--limit', '40')
    places = [json.loads(line)['address'] for line in lines.stdout.splitlines()]
    places += map(hex, places_core.places.values())
    done = 0
    for address in places:
        result = places_core.memheap(command, address, '--format', 'json', check=False)
        done += result.code == 0
        assert not shown(places_core, result.stdout + result.stderr), address
    assert done > 40


def test_what_is_left_behind_is_not_shown(places_core):
    names = [name for name in places_core.places if name.startswith('freed')]
    assert len(names) >= 20
    assert not [name for name in names if shown_by_object(places_core, name)]
    # and it is there
    assert any(shown_by_object(places_core, name, '--values') for name in names)


@pytest.mark.parametrize('name', ['ascii', 'latin', 'bytes', 'buffer of bytearray', 'long', 'used',
                                  'password'])
def test_object_shows_values_when_asked(name, places_core):
    for how in ('table', 'json'):
        output = places_core.memheap('object', hex(places_core.places[name]), '--values',
                                     '--format', how).stdout
        # as bytes and as words; rows of the hex dump break the text
        assert len(shown(places_core, output)) > 10


@pytest.fixture
def damaged_core(places_core, tmp_path):
    """Of the core, a part: half of it is cut off, words of the rest lead elsewhere."""
    path = str(tmp_path / 'core')
    with open(places_core.path, 'rb') as file:
        content = bytearray(file.read())
    places = [at for at in range(len(content) // 4, len(content) // 2, 8)
              if struct.unpack_from('<Q', content, at)[0] >> 32]
    for at in random.Random(7).sample(places, 200):
        struct.pack_into('<Q', content, at, struct.unpack_from('<Q', content, at)[0] ^ 0x40)
    del content[len(content) - len(content) // 20:]
    with open(path, 'wb') as file:
        file.write(content)
    return path


@pytest.mark.parametrize('command', [one for one in commands.REPORTS
                                     if one not in commands.WITH_ADDRESS])
def test_gaps_and_diagnostics_show_no_values(command, places_core, damaged_core):
    """Nor does what is said of a damaged core, on either output."""
    for how in commands.FORMATS:
        result = harness.memheap(command, damaged_core, '--format', how,
                                 *places_core.interpreter.options, check=False)
        assert result.code == 5 and not shown(places_core, result.stdout + result.stderr)
