# SPDX-License-Identifier: MIT
"""A process that is read while it runs: what is not torn is true."""
import json
import os
import subprocess

import pytest

import harness

pytestmark = pytest.mark.skipif(harness.why_not_live() is not None,
                                reason='no process can be looked at here: %s' %
                                harness.why_not_live())


def moment_of(values, writes):
    """(the last write that the values at addresses show, the first one that they do not)"""
    last, first = 0, len(writes) + 1
    for at, value in values.items():
        last = max(last, value)
        assert value == 0 or writes[value - 1] == at
    for number, at in enumerate(writes, 1):
        if number > values.get(at, len(writes)):
            first = min(first, number)
    return last, first


def test_what_nostop_calls_consistent_is_of_one_moment(newest, tmp_path):
    """While 8 threads allocate and write: all that is not torn was so at once."""
    if newest.version < (3,):
        pytest.skip('stamps.py knows where ints of Python 3 have their number')
    process = newest.run(os.path.join(harness.FIXTURES, 'programs/stamps.py'), text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         environment={'MEMHEAP_TRUTH': str(tmp_path)})
    try:
        process.stdout.readline()
        reports = []
        for _ in range(5):
            result = harness.memheap('objects', str(process.pid), '--mode', 'nostop', '--type',
                                     'int', '--values', '--format', 'json', check=False)
            assert result.code in (0, 5), result.stderr
            reports.append(json.loads(result.stdout))
        for _ in range(20):     # it may not have run meanwhile, where others keep processors busy
            result = harness.memheap('snapshot', str(process.pid), '-o', str(tmp_path / 'core'),
                                     '--mode', 'nostop', check=False)
            assert (result.code == 5) == ('KiB are torn' in result.stderr)
            if result.code != 0:
                break
        assert result.code == 5, result.stderr
        # a note in the core says the same of it, as long as the core lives
        result = harness.memheap('objects', str(tmp_path / 'core'), '--type', 'int', '--values',
                                 '--format', 'json', check=False)
        assert result.code == 5, result.stderr
        reports.append(json.loads(result.stdout))
        kept = json.loads(harness.memheap('analyze', str(tmp_path / 'core'), '--format', 'json',
                                          check=False).stdout)
        assert kept['torn'] == reports[-1]['torn'] != []
        assert kept['snapshot']['mode'] == 'nostop' and not kept['snapshot']['consistent']
        assert kept['snapshot']['torn_bytes'] == sum(row['bytes'] for row in kept['torn'])
        process.communicate()
        writes, places = [[int(word, 16) for word in (tmp_path / name).read_text().split()]
                          for name in ('writes.txt', 'places.txt')]
        torn_ones = whole_ones = 0
        for report in reports:
            torn = {page for row in report['torn'] for page in
                    range(int(row['address'], 16), int(row['end_address'], 16), 4096)}
            rows = {int(row['address'], 16): row.get('value') for row in report['objects']}
            values = {at: int(rows[at]) for at in places if at & -4096 not in torn}
            torn_ones += len(places) - len(values)
            whole_ones += len(values)
            last, first = moment_of(values, writes)
            assert last < first, (last, first, len(values))
            assert last > 0 or not values
        assert torn_ones > 0 and whole_ones > 100
    finally:
        process.kill()
        process.communicate()
