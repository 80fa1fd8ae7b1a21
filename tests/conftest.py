# SPDX-License-Identifier: MIT
import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness


def pytest_addoption(parser):
    parser.addoption('--interpreter', metavar='NAME', help='test on this interpreter only')


def pytest_configure(config):
    config.pluginmanager.register(Results())
    name = config.getoption('--interpreter')
    if name:
        harness.only(name)


def pytest_report_header():
    found = harness.interpreters()
    if not found:
        raise pytest.UsageError('no CPython to test on (MEMHEAP_TEST_ONLY=%s)' %
                                os.environ.get('MEMHEAP_TEST_ONLY', ''))
    return ['memheap: ' + harness.MEMHEAP,
            'cores are made by: ' + harness.how_to_dump(),
            'interpreters: ' + ', '.join(map(str, found))]


def pytest_generate_tests(metafunc):
    if 'interpreter' in metafunc.fixturenames:
        metafunc.parametrize('interpreter', harness.interpreters(), ids=str, scope='session')


class Results:
    """What the exact tests found of each interpreter: tests/matrix makes a table of them."""

    def __init__(self):
        self.found = {}
        self.whole = True       # nothing was left out

    def pytest_deselected(self, items):
        self.whole &= not items

    def pytest_collection_modifyitems(self, items):
        for item in items:
            params = item.callspec.params if hasattr(item, 'callspec') else {}
            found = params.get('interpreter')
            # without any interpreter pytest makes up something else
            if item.location[0].endswith('test_exact.py') and isinstance(found, harness.Interpreter):
                item.user_properties.append(('interpreter', str(found)))

    def pytest_runtest_logreport(self, report):
        name = dict(report.user_properties).get('interpreter')
        if not name or (report.when != 'call' and report.passed):
            return
        found = self.found.setdefault(name, {'interpreter': name, 'passed': 0, 'failed': 0,
                                             'skipped': 0, 'reason': ''})
        found[report.outcome] += 1
        if report.failed and not found['reason']:
            found['reason'] = report.location[2].split('[')[0]

    def pytest_sessionfinish(self, exitstatus):
        build = os.environ.get('MEMHEAP_BUILD', os.path.join(harness.MEMHEAP, '../..'))
        directory = os.path.normpath(os.path.join(build, 'tests/results'))
        if not self.whole or exitstatus not in (0, 1) or not self.found:
            return
        os.makedirs(directory, exist_ok=True)
        for name, found in self.found.items():
            with open(os.path.join(directory, name + '.json'), 'w') as file:
                json.dump(found, file)


class Cores:
    """Cores of the interpreter at hand; those of another are thrown away."""

    def __init__(self):
        self.interpreter = None
        self.made = {}

    def get(self, interpreter, *program):
        """The core of a program with its arguments; skips when it can't run here."""
        if interpreter is not self.interpreter:
            self.clear()
            self.interpreter = interpreter
        if program not in self.made:
            try:
                self.made[program] = harness.make_core(interpreter, *program)
            except pytest.skip.Exception as reason:
                self.made[program] = reason
        if isinstance(self.made[program], pytest.skip.Exception):
            raise self.made[program]
        return self.made[program]

    def clear(self):
        for core in self.made.values():
            if isinstance(core, harness.Core):
                core.close()
        self.made = {}


@pytest.fixture(scope='session')
def cores():
    cores = Cores()
    yield cores
    cores.clear()


def as_they_are():
    """The interpreters with a GIL that need no chroot."""
    return [found for found in harness.interpreters()
            if not found.root and not found.free_threaded]


@pytest.fixture(scope='session')
def newest():
    """The newest interpreter with a GIL as it is: for tests that don't depend on the version."""
    return max(as_they_are(), key=lambda found: (found.version, not found.environment))


@pytest.fixture(scope='session')
def oldest(newest):
    """The oldest one, for a few tests that depend on it a little."""
    found = min(as_they_are(), key=lambda found: (found.version, bool(found.environment)))
    if found is newest:
        pytest.skip('there is one interpreter only, which is the newest too')
    return found


# More for the commands to find: objects of which a reference is leaked.
LEAK = '''import ctypes
for kind in list, dict, set, bytearray:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kind()))
'''


@pytest.fixture(scope='session')
def newest_core(newest):
    core = harness.abort_core(newest, LEAK + harness.ONE_CYCLE)
    yield core
    core.close()


@pytest.fixture(scope='session')
def sleep_core(tmp_path_factory):
    """The core of a process that is no Python."""
    path = str(tmp_path_factory.mktemp('sleep') / 'core')
    harness.dump(path, ['timeout', '-s', 'ABRT', '0.1', 'sleep', '60'])
    return path


@pytest.fixture(scope='session')
def places_core(newest):
    """The core of fixtures/programs/places.py; its .places are addresses by name."""
    core = harness.make_core(newest, 'places')
    core.places = {name: int(number) for name, number in
                   (line.split('\t') for line in core.text('places.txt').splitlines())}
    marker = core.places.pop('marker')
    core.marker = marker.to_bytes(marker.bit_length() // 8 + 1, 'big').decode()
    yield core
    core.close()
