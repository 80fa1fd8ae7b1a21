# SPDX-License-Identifier: MIT
"""Paths are true: in the living process, each name leads to the object that its row tells of."""
import json
import os
import subprocess

import pytest

import harness


@pytest.fixture
def process(interpreter):
    reason = harness.why_not_live()
    if reason:
        pytest.skip('no process can be looked at here: %s' % reason)
    if isinstance(interpreter, harness.Emulated) or interpreter.root or interpreter.environment:
        pytest.skip('%s: paths do not depend on where it runs, and how it allocates' % interpreter)
    program = os.path.join(harness.FIXTURES, 'programs', 'paths.py')
    with interpreter.run(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'ready\n'
        yield process
        process.stdin.close()


def paths(rows):
    """[(name, address), …] from the root to each row."""
    above = []
    for row in rows:
        del above[row['depth']:]
        above.append((row['name'], int(row['address'], 16)))
        yield row, list(above)


def test_paths_are_true(process, interpreter):
    lines = harness.memheap('path', str(process.pid), '--type', '__main__.Target', '--values',
                            '--limit', '0', '--format', 'jsonl').stdout.splitlines()
    asked, wrong = 0, []
    for row, steps in paths(map(json.loads, lines)):
        if row['type'] != '__main__.Target':
            continue
        process.stdin.write(json.dumps(steps) + '\n')
        process.stdin.flush()
        answer = process.stdout.readline().strip()
        asked += 1
        if answer != 'true':
            wrong.append((answer, [name for name, _ in steps]))
    assert not wrong
    # 2.7 has no arguments by keyword only, and no SimpleNamespace
    assert asked == (34 if interpreter.version >= (3,) else 31)
