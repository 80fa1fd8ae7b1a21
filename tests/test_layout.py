# SPDX-License-Identifier: MIT
"""Offsets: the built-in tables are those of the debug information, whichever is asked for."""
import os
import re
import subprocess
import sys

import pytest

import harness

VERSIONS = os.path.join(os.path.dirname(harness.HERE), 'lib', 'layout', 'versions')


@pytest.fixture(scope='module')
def found(interpreter):
    """A core, and how its layout was found."""
    core = harness.abort_core(interpreter)
    yield core, core.report('info')['resolution']
    core.close()


def skip_without_two_sources(core, how):
    if not how['layout_dwarf']:
        pytest.skip('%s: no debug information' % core.interpreter)
    if 'pydebug' in core.interpreter.name:
        pytest.skip('%s: no table' % core.interpreter)


def test_table_agrees_with_dwarf(found):
    core, how = found
    skip_without_two_sources(core, how)
    assert how['layout_differences'] == 0
    assert how['layout'].endswith('checked against DWARF')


def test_target_tells_its_offsets_from_313_on(found):
    core, how = found
    assert (how['layout_fields_from_target'] > 0) == (core.interpreter.version >= (3, 13))


def test_each_source_gives_the_same_answer(found):
    core, how = found
    skip_without_two_sources(core, how)
    reports = [core.report('analyze', '--layout', which) for which in ('auto', 'table', 'dwarf')]
    for report in reports:
        del report['resolution'], report['diagnostics']
    assert reports[0] == reports[1] == reports[2]


def test_dwarf_cannot_be_had_everywhere(found):
    core, how = found
    if how['layout_dwarf']:
        pytest.skip('%s has debug information' % core.interpreter)
    result = core.memheap('analyze', '--layout', 'dwarf', check=False)
    assert result.code == 3 and not result.stdout
    assert 'no layout for CPython' in result.stderr
    assert 'hint: install the debug symbols' in result.stderr


def test_table_is_as_it_would_be_made_today(found):
    core, how = found
    skip_without_two_sources(core, how)
    name = '.'.join(map(str, core.interpreter.version))
    if core.interpreter.root or not os.path.exists(
            os.path.join(VERSIONS, 'v%s.c' % name.replace('.', '_'))):
        pytest.skip('no table was made from %s' % core.interpreter)
    made = subprocess.run([sys.executable, os.path.join(harness.FIXTURES, 'layout.py'),
                           core.interpreter.command[0]], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with open(os.path.join(VERSIONS, 'v%s.c' % name.replace('.', '_'))) as file:
        committed = file.read()
    without_space = lambda text: re.sub(r'\s+', '', text)
    assert without_space(made.stdout) == without_space(committed)
