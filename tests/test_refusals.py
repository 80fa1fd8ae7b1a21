# SPDX-License-Identifier: MIT
"""Processes that cannot be looked at, and who may look: each refusal names the rule and a remedy."""
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

import harness
from test_live import MODES, refused, sleeper, state, tracer, waiting  # noqa: F401

pytestmark = pytest.mark.skipif(harness.why_not_live() is not None,
                                reason='no process can be looked at here: %s' %
                                harness.why_not_live())


def test_no_such_process():
    with open('/proc/sys/kernel/pid_max') as file:
        pid = int(file.read())      # one more than the last
    assert 'there is no process %d' % pid in refused(1, 'analyze', str(pid))


def test_digits_are_a_process_and_a_path_is_a_file(tmp_path):
    (tmp_path / '999999999').write_bytes(b'no core')
    assert 'a file of that name is ./999999999' in \
        refused(1, 'analyze', '999999999', cwd=tmp_path)
    assert './999999999: it is not an ELF core file' in \
        refused(1, 'analyze', './999999999', cwd=tmp_path)


def test_options_of_processes_are_refused_for_files(newest_core):
    for option in (['--mode', 'stop'], ['--max-pause', '5'], ['--tree']):
        assert 'go with a process' in refused(2, 'analyze', newest_core.path, *option)
    assert 'milliseconds' in refused(2, 'analyze', '1', '--max-pause', '0')


def test_thread_id():
    code = ('import threading, time; t = threading.Thread(target=time.sleep, args=(1000,)); '
            't.start(); print(t.native_id, flush=True)')
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    try:
        tid = process.stdout.readline().strip()
        assert '%s is a thread of process %d' % (tid, process.pid) in refused(2, 'info', tid)
    finally:
        process.kill()
        process.communicate()


def test_zombie(sleeper):
    sleeper.kill()
    while state(sleeper.pid) != 'Z':
        time.sleep(0.01)
    message = refused(1, 'analyze', str(sleeper.pid))
    assert 'zombie' in message and 'its parent, process %d' % os.getpid() in message


def test_not_python(sleeper):
    message = refused(3, 'analyze', str(sleeper.pid))
    assert 'memheap info %d shows what is known' % sleeper.pid in message
    assert harness.memheap('info', str(sleeper.pid)).code == 0


def test_the_kernel():
    message = refused(3, 'analyze', '2') if os.geteuid() == 0 else None
    if message is None or 'kernel' not in message:
        pytest.skip('process 2 is no thread of the kernel here')


def test_already_traced(sleeper):
    libc = ctypes.CDLL(None, use_errno=True)
    seize, detach = 0x4206, 17
    assert libc.ptrace(seize, sleeper.pid, None, None) == 0
    try:
        message = refused(4, 'analyze', str(sleeper.pid))
        assert 'is traced by process %d (' % os.getpid() in message
        assert harness.memheap('info', str(sleeper.pid), '--mode', 'nostop').code == 0
    finally:
        libc.ptrace(0x4207, sleeper.pid, None, None)    # PTRACE_INTERRUPT: to detach from it
        os.waitpid(sleeper.pid, 0)
        libc.ptrace(detach, sleeper.pid, None, None)


def test_another_user(sleeper):
    if os.geteuid() != 0:
        pytest.skip('only root can become another user')
    message = refused(4, 'analyze', str(sleeper.pid), user=65534, group=65534, extra_groups=[])
    assert 'belongs to another user' in message and 'CAP_SYS_PTRACE' in message
    assert 'docker run --cap-add=SYS_PTRACE' in message and 'shareProcessNamespace' in message
    for mode in 'fork', 'stop', 'precopy', 'nostop':
        assert 'belongs to another user' in refused(4, 'info', str(sleeper.pid), '--mode', mode,
                                                    user=65534, group=65534, extra_groups=[])


def test_another_group():
    """As with docker exec --user 65534, which is group 0."""
    if os.geteuid() != 0:
        pytest.skip('only root can become another user')
    process = subprocess.Popen(['sleep', '1000'], user=65534, group=65534, extra_groups=[])
    try:
        message = refused(4, 'info', str(process.pid), user=65534, group=0, extra_groups=[])
        assert 'another user or group (65534:65534; memheap has 65534:0)' in message
        assert 'docker exec --user 65534:65534' in message
        assert harness.memheap('info', str(process.pid), user=65534, group=65534,
                               extra_groups=[]).code == 0
    finally:
        process.kill()
        process.wait()


def test_the_capability_alone(sleeper):
    """As by setcap cap_sys_ptrace+ep: the files in /proc are another user's all the same."""
    if os.geteuid() != 0 or not shutil.which('setpriv'):
        pytest.skip('only root, with setpriv, can set this up')

    def with_capabilities(*names, mode='auto'):
        names = ','.join('+' + name for name in names)
        return memheap_from(['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups',
                             '--inh-caps', names, '--ambient-caps', names],
                            'info', str(sleeper.pid), '--mode', mode)

    result = with_capabilities('sys_ptrace')
    assert result.returncode == 4 and 'but not CAP_DAC_READ_SEARCH' in result.stderr, result.stderr
    assert 'setcap cap_sys_ptrace,cap_dac_read_search+ep' in result.stderr
    # the frozen copy is ended although it may not be sent a signal
    for mode in MODES:
        result = with_capabilities('sys_ptrace', 'dac_read_search', mode=mode)
        assert result.returncode == 0, (mode, result.stderr)
    with open('/proc/%d/task/%d/children' % (sleeper.pid, sleeper.pid)) as file:
        assert file.read() == ''


FILTER = '''
import ctypes, os, struct, sys
code = [struct.pack("HBBI", 0x20, 0, 0, 0)]     # the number of the call
for number in sys.argv[1].split(","):
    # if it is that one, the next instruction: EPERM
    code += [struct.pack("HBBI", 0x15, 0, 1, int(number)), struct.pack("HBBI", 6, 0, 0, 0x50001)]
code.append(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))   # SECCOMP_RET_ALLOW
program = ctypes.create_string_buffer(b"".join(code))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program)))
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, filter, 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
'''
PTRACE, PROCESS_VM_READV, GETPGRP = '101', '310', '111'     # the last is not used


def memheap_from(before, *arguments):
    """memheap started by another program."""
    return subprocess.run([*before, harness.MEMHEAP, *arguments], capture_output=True, text=True)


def under_filter(calls, *arguments):
    return memheap_from(['/usr/bin/python3', '-c', FILTER, calls], *arguments)


def test_filtered_itself(waiting):
    """As by a container's seccomp profile."""
    result = under_filter(PTRACE, 'info', str(waiting.pid))
    assert result.returncode == 4 and 'system calls are filtered' in result.stderr
    assert '--security-opt seccomp=unconfined' in result.stderr
    assert under_filter(PTRACE, 'info', str(waiting.pid), '--mode', 'nostop').returncode == 0
    result = under_filter(PROCESS_VM_READV, 'info', str(waiting.pid), '--mode', 'fork')
    assert result.returncode == 1 and 'process_vm_readv cannot read' in result.stderr
    result = under_filter(PROCESS_VM_READV, 'info', str(waiting.pid), '--format', 'json')
    assert json.loads(result.stdout)['snapshot']['mode'] == 'stop'


def test_a_filter_that_allows_it_is_not_blamed(sleeper):
    """As Docker's, which lets ptrace and process_vm_readv pass."""
    if os.geteuid() != 0:
        pytest.skip('only root can become another user')
    message = subprocess.run(['/usr/bin/python3', '-c', FILTER, GETPGRP, harness.MEMHEAP, 'info',
                              str(sleeper.pid)], capture_output=True, text=True, user=65534,
                             group=65534, extra_groups=[])
    if 'cannot execute' in message.stderr or 'PermissionError' in message.stderr:
        pytest.skip('another user cannot run ' + harness.MEMHEAP)
    assert message.returncode == 4 and 'belongs to another user' in message.stderr, message.stderr


YAMA = """
mount -t tmpfs none /proc/sys/kernel
mkdir /proc/sys/kernel/yama
echo "$0" > /proc/sys/kernel/yama/ptrace_scope
exec setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user "$@"
"""


@pytest.mark.parametrize('scope, rule, remedy', [
    (0, 'another user namespace, forbids it', 'docker run --cap-add=SYS_PTRACE'),
    (1, 'ptrace_scope is 1: only an ancestor may trace it', 'sysctl kernel.yama.ptrace_scope=0'),
    (2, 'ptrace_scope is 2: it takes CAP_SYS_PTRACE', 'sysctl kernel.yama.ptrace_scope=0'),
    (3, 'ptrace_scope is 3: nobody may trace', 'only a reboot'),
])
def test_the_rules_of_yama_are_told(scope, rule, remedy):
    """What Yama would say, in a file of ours; it is a user namespace that refuses."""
    if os.geteuid() != 0 or not shutil.which('setpriv'):
        pytest.skip('only root, with setpriv, can set this up')
    nobody = dict(user=65534, group=65534, extra_groups=[])
    process = subprocess.Popen(['sleep', '1000'], **nobody)
    try:
        program = os.path.realpath(harness.MEMHEAP)
        if subprocess.run([program, '--version'], capture_output=True, **nobody).returncode:
            pytest.skip('another user cannot run ' + program)
        result = subprocess.run(['unshare', '--mount', 'sh', '-ec', YAMA, str(scope), program,
                                 'info', str(process.pid)], capture_output=True, text=True)
        if result.stderr.startswith(('unshare:', 'mount:', 'sh:')):
            pytest.skip('no such namespaces can be made here: ' + result.stderr)
        assert result.returncode == 4 and rule in result.stderr, result.stderr
        assert remedy in result.stderr
    finally:
        process.kill()
        process.wait()


def test_from_inside_a_user_namespace(sleeper):
    result = memheap_from(['unshare', '--user', '--map-root-user'], 'info', str(sleeper.pid))
    if result.stderr.startswith('unshare:'):
        pytest.skip('no user namespace can be made here: ' + result.stderr)
    assert result.returncode == 4 and 'memheap is in a user namespace' in result.stderr
    assert 'on the host, as root: sudo memheap' in result.stderr


def test_without_the_capability(sleeper):
    """As root in a container without --cap-add=SYS_PTRACE."""
    if os.geteuid() != 0 or not shutil.which('setpriv'):
        pytest.skip('only root, with setpriv, can drop capabilities')
    result = memheap_from(['setpriv', '--bounding-set=-sys_ptrace'], 'info', str(sleeper.pid))
    assert result.returncode == 4 and 'it has capabilities that memheap has not' in result.stderr
    assert 'docker run --cap-add=SYS_PTRACE' in result.stderr


def test_a_protected_process():
    """PR_SET_DUMPABLE: its files in /proc belong to root then."""
    if os.geteuid() != 0:
        pytest.skip('only root can become another user')
    nobody = dict(user=65534, group=65534, extra_groups=[])
    process = subprocess.Popen(['/usr/bin/python3', '-c', 'import ctypes, time\n'
                                'ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n'
                                'print(flush=True)\ntime.sleep(1000)'],
                               stdout=subprocess.PIPE, **nobody)
    try:
        process.stdout.readline()
        if subprocess.run([os.path.realpath(harness.MEMHEAP), '--version'], capture_output=True,
                          **nobody).returncode:
            pytest.skip('another user cannot run ' + harness.MEMHEAP)
        message = refused(4, 'info', str(process.pid), **nobody)
        assert 'prctl(PR_SET_DUMPABLE)' in message and 'sudo memheap' in message
        assert harness.memheap('info', str(process.pid)).code == 0
    finally:
        process.kill()
        process.communicate()


def test_another_mount_namespace(tmp_path):
    """Files that only the process sees are reached through it."""
    script = ('set -e; mount -t tmpfs none "$0"; cp "$1" "$0/python"; '
              'exec "$0/python" -c "import time; print(flush=True); time.sleep(1000)"')
    process = subprocess.Popen(['unshare', '--pid', '--mount', '--fork', '--kill-child', 'sh', '-c',
                                script, tmp_path, os.path.realpath('/usr/bin/python3')],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if not process.stdout.readline():
            process.kill()
            pytest.skip('no mount namespace can be made here: ' + process.communicate()[1])
        with open('/proc/%d/task/%d/children' % (process.pid, process.pid)) as file:
            inner = file.read().strip()
        assert not os.listdir(tmp_path)
        for mode in MODES:
            report = json.loads(harness.memheap('info', inner, '--mode', mode, '--format',
                                                'json').stdout)
            row = {row['path']: row for row in report['modules']}['%s/python' % tmp_path]
            assert row['status'] == 'found'
            assert row['file'].startswith('/proc/%s/' % inner), row
            assert report['snapshot']['mode'] == mode
            assert 'CPython 3' in harness.memheap('analyze', inner, '--mode', mode).stdout
    finally:
        process.kill()
        process.communicate()


def test_same_user_without_capabilities(newest):
    """An unprivileged user looks at a process of its own."""
    if os.geteuid() != 0:
        pytest.skip('the other tests are as an unprivileged user already')
    if os.path.exists('/proc/sys/kernel/yama/ptrace_scope') and \
            open('/proc/sys/kernel/yama/ptrace_scope').read().strip() != '0':
        pytest.skip('kernel.yama.ptrace_scope forbids it')
    nobody = dict(user=65534, group=65534, extra_groups=[])
    process = subprocess.Popen(['/usr/bin/python3', '-c', 'import time; time.sleep(1000)'], **nobody)
    try:
        time.sleep(0.5)
        program = os.path.realpath(harness.MEMHEAP)
        if subprocess.run([program, '--version'], capture_output=True, **nobody).returncode:
            pytest.skip('another user cannot run ' + program)
        for mode in MODES:
            harness.memheap('analyze', str(process.pid), '--mode', mode, **nobody)
            assert tracer(process.pid) == '0'
    finally:
        process.kill()
        process.wait()


def test_another_pid_namespace(newest):
    """A child's number is another one inside: it is removed all the same."""
    code = 'import sys, time; sys.stdout.write("ready\\n"); sys.stdout.flush(); time.sleep(1000)'
    process = subprocess.Popen(['unshare', '--pid', '--fork', '--kill-child', *newest.command, '-c',
                                code], stdout=subprocess.PIPE, text=True)
    try:
        if not process.stdout.readline().strip():
            pytest.skip('no PID namespace can be made here')
        with open('/proc/%d/task/%d/children' % (process.pid, process.pid)) as file:
            inner = int(file.read())
        for mode in MODES:
            report = json.loads(harness.memheap('analyze', str(inner), '--mode', mode, '--format',
                                                'json').stdout)
            assert report['snapshot']['mode'] == mode and report['target']['pid'] == inner
            assert not report['snapshot']['left_zombie']
            with open('/proc/%d/task/%d/children' % (inner, inner)) as file:
                assert file.read() == ''
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize('mode', MODES)
def test_one_that_executes_others(mode):
    """Each program that it executes is taken as it is, or is said to be gone."""
    code = ('import os, sys\nx = [bytearray(1000) for _ in range(5000)]\n'
            'os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], sys.argv[1]])')
    process = subprocess.Popen(['/usr/bin/python3', '-c', code, code], start_new_session=True)
    try:
        for _ in range(15):
            result = harness.memheap('info', str(process.pid), '--mode', mode, check=False)
            # 3 and 5: taken before its Python was ready; or before it had mapped its C library, in
            # which the system calls are
            assert result.code in (0, 3, 5) or result.code == 1 and re.search(
                'process %d executed another program meanwhile|it has no instructions for a system '
                'call that it could make' % process.pid, result.stderr), result.stderr
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize('mode', MODES)
def test_one_that_ends(mode):
    for number in range(15):
        process = subprocess.Popen(['/usr/bin/python3', '-c', 'x = list(range(100000))'])
        time.sleep(number / 300)
        result = harness.memheap('info', str(process.pid), '--mode', mode, check=False)
        assert result.code in (0, 3, 5) or result.code == 1 and re.search(
            'process %d has ended' % process.pid, result.stderr), result.stderr
        assert process.wait() == 0
