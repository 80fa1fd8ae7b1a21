# SPDX-License-Identifier: MIT
"""Cores that systemd-coredump keeps: a directory made as it makes it, without it."""
import errno
import json
import os
import shutil
import subprocess

import jsonschema
import pytest

import commands
import harness

BOOT = '0123456789abcdef0123456789abcdef'
TIME = 1700000000       # 2023-11-14T22:13:20Z


class Store:
    def __init__(self, directory):
        self.directory = str(directory)

    def add(self, content, name, pid, seconds, suffix='', attributes=True, **more):
        """A core, called and described as systemd-coredump does it."""
        escaped = name.replace('.', '\\x2e')
        path = os.path.join(self.directory, 'core.%s.1000.%s.%d.%d000000%s' %
                            (escaped, BOOT, pid, TIME + seconds, suffix))
        with open(path, 'wb') as file:
            file.write(content)
        facts = dict(pid=pid, uid=1000, gid=1000, signal=6, timestamp='%d000000' % (TIME + seconds),
                     rlimit=2**64 - 1, hostname='host', comm=name, exe='/opt/%s' % name, **more)
        for key, value in facts.items() if attributes else ():
            try:
                os.setxattr(path, 'user.coredump.' + key, str(value).encode())
            except OSError as error:
                if error.errno != errno.ENOTSUP:
                    raise
                pytest.skip('no extended attributes in ' + self.directory)
        return path

    def list(self, *arguments, **more):
        result = harness.memheap('list', '--directory', self.directory, '--format', 'json',
                                 *arguments, **more)
        report = json.loads(result.stdout)
        jsonschema.Draft202012Validator(commands.schema('list')).validate(report)
        return report

    def run(self, *arguments):
        return harness.memheap(*arguments, '--directory', self.directory, check=False)


def read(path):
    with open(path, 'rb') as file:
        return file.read()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture(scope='module')
def python(newest_core):
    """The core of a Python."""
    return read(newest_core.path)


@pytest.fixture(scope='module')
def sleep(sleep_core):
    return read(sleep_core)


def minor(newest_core):
    return '.'.join(map(str, newest_core.interpreter.version[:2]))


def test_pythons_newest_first(store, python, sleep, newest_core):
    old = store.add(python, 'web.worker', 100, 1)
    new = store.add(python, 'python3', 101, 2)
    store.add(sleep, 'sleep', 102, 3)
    report = store.list()
    assert report['store'] == {'directory': store.directory, 'cores': 3, 'python_cores': 2,
                               'unreadable_cores': 0}
    assert report['cores'] == [
        {'time': '2023-11-14T22:13:22Z', 'pid': 101, 'uid': 1000, 'signal': 'SIGABRT',
         'name': 'python3', 'executable': '/opt/python3', 'file_bytes': len(python),
         'is_python': True, 'version': minor(newest_core), 'path': new},
        {'time': '2023-11-14T22:13:21Z', 'pid': 100, 'uid': 1000, 'signal': 'SIGABRT',
         'name': 'web.worker', 'executable': '/opt/web.worker', 'file_bytes': len(python),
         'is_python': True, 'version': minor(newest_core), 'path': old}]
    assert report['gaps'] == report['diagnostics'] == []


def test_other_programs_with_all(store, python, sleep):
    store.add(python, 'python3', 101, 2)
    store.add(sleep, 'sleep', 102, 3)
    rows = store.list('--all')['cores']
    assert [(row['name'], row['is_python'], row['version'] is None) for row in rows] == \
        [('sleep', False, True), ('python3', True, False)]


def test_table(store, python):
    path = store.add(python, 'python3', 101, 2)
    text = store.run('list').stdout
    assert path in text and ' 101 ' in text and 'SIGABRT' in text


@pytest.mark.parametrize('suffix, program', [('.zst', 'zstd'), ('.lz4', 'lz4'), ('.xz', 'xz')])
def test_compressed(store, python, newest_core, suffix, program):
    if not shutil.which(program):
        pytest.skip(program + ' is not installed')
    packed = subprocess.run([program, '-1', '-q', '-c'], input=python, stdout=subprocess.PIPE,
                            check=True).stdout
    store.add(packed, 'web', 7, 1, suffix)
    row, = store.list()['cores']
    assert (row['pid'], row['version'], row['file_bytes']) == (7, minor(newest_core), len(packed))
    assert store.run('types', '--coredump', 'web', *newest_core.interpreter.options).code == 0


def test_without_attributes(store, python):
    """As after a copy that leaves them behind: the name and the notes tell."""
    store.add(python, 'web.worker', 100, 1, attributes=False)
    row, = store.list()['cores']
    assert (row['name'], row['pid'], row['uid'], row['time'], row['signal'], row['executable']) == \
        ('web.worker', 100, 1000, '2023-11-14T22:13:21Z', 'SIGABRT', None)


def test_cores_of_the_kernel(store, python, newest_core):
    for name in ('core', 'core.4711', 'app.core'):
        with open(os.path.join(store.directory, name), 'wb') as file:
            file.write(python)
        os.utime(file.name, (TIME, TIME))
    pid = newest_core.report('info')['target']['pid']
    rows = store.list()['cores']
    assert sorted(os.path.basename(row['path']) for row in rows) == ['app.core', 'core', 'core.4711']
    assert {(row['pid'], row['time'], row['signal']) for row in rows} == \
        {(pid, '2023-11-14T22:13:20Z', 'SIGABRT')}


def test_what_is_no_core(store):
    for name, content in (('core', b''), ('core.1', b'text'), ('core.2', b'\x28\xb5\x2f\xfdrest'),
                          ('notes', b'\177ELF')):
        with open(os.path.join(store.directory, name), 'wb') as file:
            file.write(content)
    os.mkdir(os.path.join(store.directory, 'core.d'))
    os.mkfifo(os.path.join(store.directory, 'core.fifo'))
    os.symlink('nowhere', os.path.join(store.directory, 'core.link'))
    assert store.list('--all')['cores'] == []
    # of what systemd-coredump has named, its name tells, whatever is in it
    store.add(b'', 'python3.11', 5, 1)
    row, = store.list()['cores']
    assert (row['name'], row['version'], row['file_bytes']) == ('python3.11', '3.11', 0)


@pytest.mark.parametrize('name, version', [
    ('python', None), ('python3', None), ('python2.7', '2.7'), ('python3.11', '3.11'),
    ('python3.13t', '3.13t'), ('python3.11d', '3.11'), ('pythonx', False), ('ipython', False),
    ('libpython3.so', None)])
def test_names_of_pythons(store, name, version):
    store.add(b'', name, 5, 1)
    row, = store.list('--all')['cores']
    assert (row['is_python'], row['version']) == ((True, version) if version is not False
                                                  else (False, None))


@pytest.mark.parametrize('name', ['core.python3.11.0.%s.5.6' % BOOT[1:], 'core.python3.0.x.5.6',
                                  'core.python3.0.%s.5' % BOOT, 'core.python3.-1.%s.5.6' % BOOT,
                                  'core..0.%s.5.99999999999999999999999' % BOOT, 'core.zst'])
def test_names_that_are_not_of_systemd(store, name):
    with open(os.path.join(store.directory, name), 'wb'):
        pass
    assert store.list('--all')['cores'] == []


def test_sorted_and_limited(store):
    for i in range(5):
        store.add(bytes(i), 'python3', 10 + i, i)
    rows = store.list('--sort', 'file_bytes', '--limit', '2')['cores']
    assert [row['pid'] for row in rows] == [14, 13]
    lines = store.run('list', '--format', 'csv', '--sort', 'pid', '--ascending').stdout.splitlines()
    assert [line.split(',')[1] for line in lines] == ['pid', '10', '11', '12', '13', '14']


def test_unreadable_ones_are_counted(store, python):
    if os.geteuid():
        pytest.skip('only root can make files that it may not read')
    if not shutil.which('setpriv'):
        pytest.skip('root reads everything, and setpriv is missing')
    os.chmod(store.add(python, 'python3', 100, 1), 0o600)
    os.chmod(store.add(python, 'web', 101, 2), 0o600)
    for directory in (store.directory, *map(str, __import__('pathlib').Path(store.directory).parents)):
        if 'pytest' in directory:
            os.chmod(directory, 0o755)
    before = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']
    if subprocess.run([*before, 'test', '-x', harness.MEMHEAP]).returncode:
        pytest.skip('another user cannot run ' + harness.MEMHEAP)
    result = subprocess.run([*before, harness.MEMHEAP, 'list', '--directory', store.directory,
                             '--format', 'json'], capture_output=True, text=True)
    report = json.loads(result.stdout)
    assert result.returncode == 5       # there may be more Pythons
    # what it is called may be read
    assert [(row['name'], row['pid']) for row in report['cores']] == [('python3', 100)]
    assert report['store']['unreadable_cores'] == 2
    gap, = report['gaps']
    assert (gap['gap'], gap['count'], gap['bytes']) == ('core_unreadable', 2, 2 * len(python))
    notice, = report['diagnostics']
    assert '2 of 2 cores' in notice['message'] and 'as root' in notice['hint']


def test_directory_that_is_not_there(store):
    store.directory += '/missing'
    for command in (['list'], ['analyze', '--coredump', 'last']):
        result = store.run(*command)
        assert (result.code, result.stdout) == (1, '')
        assert 'cannot list the cores in %s: No such file' % store.directory in result.stderr
        assert 'kernel.core_pattern' in result.stderr and '--directory DIR' in result.stderr


def test_coredump_by_anything(store, python, sleep, newest_core):
    store.add(sleep, 'sleep', 102, 9)
    newest = store.add(python, 'web.worker', 101, 5)
    store.add(python, 'python3', 100, 1)
    for which in ('last', '101', 'web.worker', '/opt/web.worker', newest, os.path.basename(newest)):
        result = store.run('info', '--coredump', which, '--format', 'json')
        assert result.code == 0, result.stderr
        assert json.loads(result.stdout)['target']['pid'] == \
            newest_core.report('info')['target']['pid']
        assert '.101.' in json.loads(result.stdout)['target']['path']
    options = newest_core.interpreter.options
    address = commands.first_object(newest_core)['address']
    result = store.run('object', '--coredump', '100', address, *options)
    assert result.code == 0 and address in result.stdout


def test_coredump_that_is_ambiguous(store):
    for i in range(7):
        store.add(b'', 'web', 10 + i, i)
    result = store.run('info', '--coredump', 'web')
    assert (result.code, result.stdout) == (2, '')
    assert 'there are 7 cores of web in %s: process 16 of 2023-11-14T22:13:26Z, process 15' % \
        store.directory in result.stderr
    assert 'give a process id' in result.stderr


def test_coredump_that_is_not_there(store, sleep):
    store.add(sleep, 'sleep', 102, 9)
    for which, words in (('last', 'no core of a Python in %s: 1 cores are there'),
                         ('4711', 'no core of process 4711 in %s: 1 cores are there'),
                         ('web', 'no core of web in %s: 1 cores are there'), ('', 'no core of ')):
        result = store.run('info', '--coredump', which)
        assert (result.code, result.stdout) == (1, '')
        assert (words % store.directory if '%' in words else words) in result.stderr
        assert 'memheap list --all' in result.stderr


def test_coredump_takes_no_core(store):
    assert store.run('info', 'core', '--coredump', 'last').code == 2
    result = store.run('object', '--coredump', 'last')
    assert result.code == 2 and 'object takes ADDRESS' in result.stderr
    assert harness.memheap('list', 'core', check=False).code == 2
