# SPDX-License-Identifier: MIT
"""Other ways to build CPython, and to set up its allocators: done right, or said clearly."""
import os

import pytest

import harness

CODE = 'import os; kept = [str(i) for i in range(100000)]; os.abort()'


@pytest.fixture(scope='module')
def plain():
    """The interpreters of this machine as they are, one for each version."""
    found = [one for one in harness.interpreters() if not one.root and 'strip' not in one.name]
    assert found
    return found


def core_with(interpreter, malloc):
    environment = dict(interpreter.environment, PYTHONMALLOC=malloc)
    one = harness.Interpreter(interpreter.name, interpreter.command, interpreter.version,
                              environment, interpreter.options)
    return harness.abort_core(one, CODE)


def test_pythonmalloc_malloc(plain):
    for interpreter in plain:
        core = core_with(interpreter, 'malloc')
        report = core.report()
        texts = {row['type']: row['objects'] for row in report['types']}['str']
        core.close()
        assert 100000 < texts < 120000, interpreter
        assert report['pymalloc']['arenas'] == 0
        unknown = sum(row['bytes'] for row in report['memory'] if row['path'].startswith('unknown'))
        assert unknown < 100000, interpreter


def test_debug_hooks_are_a_gap(plain):
    for interpreter in plain:
        core = core_with(interpreter, 'debug')
        result = core.memheap('types', '--format', 'json', check=False)
        core.close()
        assert result.code == 5, interpreter
        assert '"debug_hooks"' in result.stdout


def test_debug_build_is_refused():
    command = '/usr/bin/python3.11d'
    if not os.path.exists(command):
        pytest.skip('no %s (Debian: python3-dbg)' % command)
    interpreter = harness.Interpreter('debug', [command], (3, 11))
    core = harness.abort_core(interpreter, CODE)
    result = core.memheap('analyze', check=False)
    core.close()
    assert result.code == 3 and not result.stdout
    assert 'is a debug build' in result.stderr
