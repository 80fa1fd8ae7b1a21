# SPDX-License-Identifier: MIT
"""A process that checks itself all the time notices nothing of its snapshots."""
import pytest

import harmless
import harness
from test_live import MODES

pytestmark = pytest.mark.skipif(harness.why_not_live() is not None,
                                reason='no process can be looked at here: %s' %
                                harness.why_not_live())


@pytest.mark.parametrize('mode', MODES)
def test_snapshots(mode):
    checked = harmless.Checked(1)
    checked.run([mode], 30, kill=False)
    result = checked.end()
    assert checked.done == 30 and result['strangers'] == result['left'] == 0
    # epoll_wait and sigwaitinfo, once for each stop; a fork stops one thread twice
    assert result['interrupted'] <= 30 * 4


@pytest.mark.parametrize('mode', MODES)
def test_snapshots_that_are_killed(mode):
    checked = harmless.Checked(2)
    checked.run([mode], 60)
    assert checked.killed > 5 and checked.done > 5
    # the next one removes what killed ones left
    checked.snapshot(mode)
    result = checked.end()
    assert result['left'] == result['strangers'] == 0 or mode == 'nostop'
