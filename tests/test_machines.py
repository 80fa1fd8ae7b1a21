# SPDX-License-Identifier: MIT
"""Cores of other machines: aarch64 is known, with pages of any size; others are refused.

A real core of aarch64 is tested where qemu-user and an unpacked system are (MEMHEAP_TEST_EMULATED,
test_exact.py). Here a core of this machine is told to be one of another: memory looks the same on
all 64-bit little-endian machines, but no register is found where aarch64 has them.
"""
import json
import shutil
import struct

import pytest

import harness

EM_AARCH64, EM_RISCV, EM_LOONGARCH = 183, 243, 258
NT_AUXV, AT_PAGESZ = 6, 6


class Copy:
    """A copy of a core."""

    def __init__(self, core, path):
        self.path = str(path / 'core')
        shutil.copy(core.path, self.path)
        with open(self.path, 'rb') as file:
            self.content = bytearray(file.read())

    def set_machine(self, machine):
        struct.pack_into('<H', self.content, 18, machine)
        return self

    def set_page_size(self, size):
        for kind, start, length in harness.core_notes(self.content):
            for at in range(start, start + length if kind == NT_AUXV else start, 16):
                if struct.unpack_from('<Q', self.content, at)[0] == AT_PAGESZ:
                    struct.pack_into('<Q', self.content, at + 8, size)
        return self

    def run(self, command, *options):
        with open(self.path, 'wb') as file:
            file.write(self.content)
        return harness.memheap(command, self.path, *options, check=False)


@pytest.mark.parametrize('machine, name', [(EM_RISCV, 'riscv64'), (EM_LOONGARCH, 'loongarch64'),
                                           (4711, 'unknown')])
def test_other_machines_are_refused(newest_core, tmp_path, machine, name):
    core = Copy(newest_core, tmp_path).set_machine(machine)
    result = core.run('types')
    assert result.code == 3 and not result.stdout
    assert name in result.stderr and 'x86-64 and aarch64' in result.stderr
    info = core.run('info', '--format', 'json')
    assert info.code == 0
    report = json.loads(info.stdout)
    assert report['target']['machine'] in (name, 'ELF machine %d' % machine)
    assert [row['code'] for row in report['diagnostics']].count('MH0129') == 1


@pytest.mark.parametrize('page', [4096, 16384, 65536])
def test_aarch64(newest_core, tmp_path, page):
    # the registers, which are roots, lie where x86-64 has them: who holds what is not compared
    expected = newest_core.report('analyze', '--suspects', 'never')
    core = Copy(newest_core, tmp_path).set_machine(EM_AARCH64).set_page_size(page)
    result = core.run('analyze', '--suspects', 'never', '--format', 'json')
    assert result.code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report['target']['machine'] == 'aarch64'
    assert report['types'] == expected['types']
    # with larger pages the last one of a .bss reaches into what this machine has behind it: blocks
    # and chunks that were nobody's may be that module's
    assert [row['used_blocks'] for row in report['pymalloc']['size_classes']] == \
        [row['used_blocks'] for row in expected['pymalloc']['size_classes']]
    assert report['malloc']['used_chunks'] == expected['malloc']['used_chunks']
    for table in ('pymalloc', 'malloc'):
        assert page > 4096 or report[table] == expected[table]
    assert sum(row['bytes'] for row in report['memory']) == report['completeness']['image_bytes']


def test_big_endian_cores_are_refused(newest_core, tmp_path):
    core = Copy(newest_core, tmp_path)
    core.content[5] = 2     # EI_DATA
    result = core.run('info')
    assert result.code == 3 and 'another kind of machine' in result.stderr
