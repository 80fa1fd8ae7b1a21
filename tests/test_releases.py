# SPDX-License-Identifier: MIT
"""Releases and builds without a table: read where the target shows that nothing moved, and refused
where not. They are made of cores of known ones, whose sizes or members are changed."""
import functools
import mmap
import re
import struct

import pytest

import harness

# 3.13 Include/internal/pycore_runtime.h, _Py_DebugOffsets: where the interpreters are listed, how
# large one is, and a dict (by minor version)
COOKIE = b'xdebugpy'
VERSION_AT, VERSION_3_15_2 = 8, 0x030f02f0
INTERPRETERS_AT, INTERPRETER_SIZE_AT, DICT_SIZE_AT = 40, 48, {13: 448, 14: 528, 15: 624}
# of _PyRuntimeState and PyInterpreterState
SIZES_3_14_10 = [(24, 365624), (INTERPRETER_SIZE_AT, 249976)]
# PyTypeObject: ob_size and tp_name are behind an object's header, then tp_basicsize
BASIC_SIZE_BEHIND = 16
# it leaves a note in its memory: where dict is, and how large an object's header
PROGRAM = ('import os; note = ("the " + "type: %d %d.") % (id(dict), object.__basicsize__);'
           'os.abort()')
PT_LOAD = 1


class Doctored:
    """A core in which words can be changed."""

    def __init__(self, interpreter):
        self.core = harness.abort_core(interpreter, PROGRAM)
        self.known = self.report()
        with open(self.core.path, 'r+b') as file:
            self.content = mmap.mmap(file.fileno(), 0)
        self.type, header = map(int, re.search(rb'the type: (\d+) (\d+)\.', self.content).groups())
        self.basic_size = self.find(self.type + header + BASIC_SIZE_BEHIND)
        self.offsets = self.content.find(COOKIE)

    def find(self, address):
        """Where the core has the bytes of an address."""
        at, = struct.unpack_from('<Q', self.content, 32)
        count, = struct.unpack_from('<H', self.content, 56)
        for header in range(at, at + 56 * count, 56):
            kind, _, offset, start, _, size = struct.unpack_from('<IIQQQQ', self.content, header)
            if kind == PT_LOAD and start <= address < start + size:
                return offset + address - start
        raise LookupError(hex(address))

    def word(self, at):
        return struct.unpack_from('<Q', self.content, at)[0]

    def grow(self, at):
        struct.pack_into('<Q', self.content, at, self.word(at) + 8)

    def grow_interpreter(self):
        """As if it had one more member, behind all others."""
        self.grow(self.offsets + INTERPRETER_SIZE_AT)

    def move_interned(self):
        """As if the dict of interned strings, which is near the end, were elsewhere."""
        runtime = self.address(self.offsets)
        interpreter = self.word(self.find(
            runtime + self.word(self.offsets + INTERPRETERS_AT)))
        end = self.find(interpreter + self.word(self.offsets + INTERPRETER_SIZE_AT) - 8)
        dicts = [at for at in range(end - 2048, end, 8) if self.is_dict(self.word(at))]
        assert dicts
        for at in dicts:
            struct.pack_into('<QQ', self.content, at, 0, self.word(at))

    def is_dict(self, address):
        try:
            return self.word(self.find(address + 8)) == self.type
        except LookupError:
            return False

    def address(self, at):
        header, = struct.unpack_from('<Q', self.content, 32)
        while True:
            kind, _, offset, start, _, size = struct.unpack_from('<IIQQQQ', self.content, header)
            if kind == PT_LOAD and offset <= at < offset + size:
                return start + at - offset
            header += 56

    def run(self):
        return self.core.memheap('analyze', '--format', 'json', check=False)

    def report(self):
        return harness.json.loads(self.run().stdout)

    def check_refused(self, why):
        result = self.run()
        assert result.code == 3 and not result.stdout, result.stderr
        assert 'no layout for this build of CPython' in result.stderr and why in result.stderr
        assert 'hint: install the debug symbols' in result.stderr


@pytest.fixture
def doctored(interpreter):
    if 'stripped' not in interpreter.name or 'aarch64' in interpreter.name:
        pytest.skip('%s: those without debug information, on one machine' % interpreter)
    if interpreter.root:
        pytest.skip('%s: its core would be below its root' % interpreter)
    made = Doctored(interpreter)
    yield made
    made.content.close()
    made.core.close()


def skip_unless_sizes_are_told(interpreter):
    if interpreter.version < (3, 13):
        pytest.skip('%s: does not tell the sizes of its state' % interpreter)


def test_state_that_grew_is_read(interpreter, doctored):
    skip_unless_sizes_are_told(interpreter)
    doctored.grow_interpreter()
    if interpreter.free_threaded:
        doctored.check_refused('its own offsets tell other sizes')
        return
    report = doctored.report()
    assert report['types'] == doctored.known['types'] and report['gaps'] == doctored.known['gaps']
    assert [row['code'] for row in report['diagnostics']].count('MH0120') == 1


def test_members_of_the_state_elsewhere(interpreter, doctored):
    skip_unless_sizes_are_told(interpreter)
    if interpreter.free_threaded:
        pytest.skip('%s: is refused for its sizes already' % interpreter)
    doctored.grow_interpreter()
    doctored.move_interned()
    doctored.check_refused('PyInterpreterState has other members')


def test_members_of_objects_elsewhere(interpreter, doctored):
    skip_unless_sizes_are_told(interpreter)
    doctored.grow_interpreter()
    doctored.grow(doctored.offsets + DICT_SIZE_AT[interpreter.version[1]])
    doctored.check_refused('its own offsets tell another size of PyDictObject')


def test_objects_of_another_size(interpreter, doctored):
    if interpreter.version >= (3, 13):
        doctored.grow_interpreter()
    elif doctored.known['resolution']['layout_table'] == '.'.join(map(str, interpreter.version)):
        pytest.skip('%s: has a table' % interpreter)
    doctored.grow(doctored.basic_size)
    doctored.check_refused('the instances of dict have another size')


def test_a_table_of_headers_must_be_proven(interpreter, doctored):
    """3.14.4 says that it is 3.15, or as large as 3.14.10, of whose free-threaded builds nobody has
    seen more than headers."""
    if not interpreter.free_threaded or interpreter.version != (3, 14, 4):
        pytest.skip('%s: the sizes are those of builds next to 3.14.4' % interpreter)
    pack = functools.partial(struct.pack_into, '<Q', doctored.content)
    known = doctored.word(doctored.offsets + VERSION_AT)
    pack(doctored.offsets + VERSION_AT, VERSION_3_15_2)
    doctored.check_refused('than the table of 3.15.2t says')
    pack(doctored.offsets + VERSION_AT, known)
    for at, size in SIZES_3_14_10:
        pack(doctored.offsets + at, size)
    doctored.check_refused('_PyThreadStateImpl has other members than the table of 3.14.10t says')
