# SPDX-License-Identifier: MIT
"""Interpreters to test on, cores of fixture programs, and running memheap."""
import functools
import glob
import hashlib
import json
import mmap
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import pytest

from answers import answers, ask
from libraries import compile_library

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(os.path.dirname(HERE), 'fixtures')
MEMHEAP = os.environ.get('MEMHEAP', os.path.join(os.path.dirname(HERE), 'build/cmd/memheap'))
SCRATCH = os.environ.get('MEMHEAP_SCRATCH',
                         os.path.join(tempfile.gettempdir(), 'memheap-tests-%d' % os.getuid()))
OLDEST, NEWEST = (2, 7), (3, 15)

PT_NOTE = 4
NT_FILE = 0x46494c45
BUILD_ID_NOTE = b'\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0'


class Interpreter:
    """A way to run a CPython: a command, its environment, and options for memheap; and whether the
    files of its cores can be found."""

    def __init__(self, name, command, version, environment=None, options=(), root=None, files=True):
        self.name = name
        self.command = list(command)
        self.version = version
        self.environment = dict(environment or {})
        self.options = list(options)    # for memheap, to find its files
        self.root = root                # of a chroot
        self.files = files
        self.free_threaded = '-freethreaded' in name

    def __repr__(self):
        return self.name

    def full_environment(self, more=()):
        environment = dict(os.environ, **self.environment)
        environment.pop('PYTHONPATH', None)
        environment.update(more)
        return environment

    def run(self, *arguments, environment=(), **more):
        return subprocess.Popen(self.command + list(arguments),
                                env=self.full_environment(environment), **more)


def links(program, library):
    """Whether the program needs that shared library."""
    output = subprocess.run(['ldd', os.path.realpath(program)], capture_output=True, text=True)
    return library in output.stdout


def candidates():
    """Paths of interpreters on this machine."""
    found = glob.glob(os.path.expanduser('~/.pyenv/versions/*/bin/python3'))
    found += glob.glob(os.path.expanduser('~/.pyenv/versions/*/bin/python2.7'))
    for directory in '/usr/bin/', '/usr/local/bin/':
        found += glob.glob(directory + 'python2.7') + glob.glob(directory + 'python3.[0-9]*')
    found = [path for path in found if re.search(r'python(2\.7|3(\.\d+d?)?)$', path)]
    return sorted(found) + asked_for()


def asked_for():
    """Those that MEMHEAP_TEST_PYTHONS names: not to be able to test on one is an error."""
    paths = list(filter(None, os.environ.get('MEMHEAP_TEST_PYTHONS', '').split(':')))
    for path in paths:
        if not ask([path]):
            sys.exit('MEMHEAP_TEST_PYTHONS: %s is no Python that runs' % path)
    return paths


def copy_directory(path, change, root=None):
    """A directory, in the root if there is one, for a copy of a file with that change: another one
    when the file is another."""
    status = os.stat(path)
    identity = '%s %s %d %d' % (change, os.path.realpath(path), status.st_size, status.st_mtime_ns)
    scratch = os.path.join(root, 'tmp') if root else SCRATCH
    directory = os.path.join(scratch, 'copies', hashlib.sha256(identity.encode()).hexdigest()[:16])
    os.makedirs(directory, exist_ok=True)
    return directory


def strip_library(library):
    """A directory with a stripped copy of a libpython."""
    directory = copy_directory(library, 'stripped')
    copy = os.path.join(directory, os.path.basename(library))
    if not os.path.exists(copy):
        # other tests may be at it too
        new = '%s.%d' % (copy, os.getpid())
        subprocess.run(['strip', '--strip-all', '-o', new, library], check=True)
        os.rename(new, copy)
    return directory


def with_another_build_id(content):
    at = content.find(BUILD_ID_NOTE) + len(BUILD_ID_NOTE)
    assert at > len(BUILD_ID_NOTE), 'no build id'
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:]


def hide_debug_files(program, root=None):
    """A copy of a program whose separate debug file can't be found: its build id is changed."""
    copy = os.path.join(copy_directory(program, 'another build id', root),
                        os.path.basename(program))
    if not os.path.exists(copy):
        with open(program, 'rb') as file:
            content = file.read()
        new = '%s.%d' % (copy, os.getpid())
        with open(new, 'wb') as file:
            file.write(with_another_build_id(content))
        os.chmod(new, 0o755)
        os.rename(new, copy)
    return copy


def inside(path, root):
    """The command that runs a program, in its root if it has one."""
    return ['chroot', root, '/' + os.path.relpath(path, root)] if root else [path]


def without_symbols(path, root, about):
    """(A command, its environment) that runs the same interpreter without symbols; or None."""
    library, directory, prefix = about[2:5]
    # Debian's program has all in itself, although its configuration speaks of a library
    if library and (root or not links(path, library)):
        library = None
    if not library:
        copy = hide_debug_files(os.path.realpath(path), root)
        return inside(copy, root), {'PYTHONHOME': prefix}
    if os.path.exists(os.path.join(directory, library)):
        return [path], {'LD_LIBRARY_PATH': strip_library(os.path.join(directory, library))}
    return None


def allocators(command, version, free_threaded):
    """(suffix, PYTHONMALLOC or None) of what an interpreter can allocate with."""
    yield '', None
    if version < (3, 6):        # 2.7 has no PYTHONMALLOC
        return
    # 3.6's "debug" takes malloc for all
    yield '-debugmalloc', 'debug' if version >= (3, 7) else 'pymalloc_debug'
    if free_threaded:           # which have no other than mimalloc
        return
    yield '-malloc', 'malloc'
    if version >= (3, 13) and ask(command, PYTHONMALLOC='mimalloc'):
        yield '-mimalloc', 'mimalloc'


def forms(path, root, about):
    """(suffix, command, environment, whether there are files where the core is looked at) of an
    interpreter as it is, without symbols, and then without its files."""
    yield '', inside(path, root), {}, True
    stripped = without_symbols(path, root, about)
    if not stripped:
        return
    yield '-stripped', *stripped, True
    if tuple(about[0]) >= (3, 8):       # those before need their program's file
        yield '-nofile', *stripped, False
HEAPS = ['&mi_heap_visit_blocks', '&_mi_abandoned_pool_visit_blocks',
         '&((_PyThreadStateImpl *) 0)->mimalloc.heaps', 'sizeof(mi_heap_t)',
         '&((PyInterpreterState *) 0)->mimalloc.abandoned_pool']


@functools.lru_cache(maxsize=None)
def heaps_environment(path):
    """For fixtures/heaps.c: where that finds mimalloc's functions and heaps, says gdb."""
    values = []
    for expression in ['&Py_IsInitialized', *HEAPS]:
        output = subprocess.run(['gdb', '-nx', '-batch', '-ex', 'print (long) ' + expression, path],
                                capture_output=True, text=True).stdout
        found = re.search(r'^\$1 = (\d+)$', output, re.M)
        if not found:       # no debug information
            return {}
        values.append(int(found.group(1)))
    library = compile_library(os.path.join(FIXTURES, 'heaps.c'), SCRATCH)
    values[1:3] = [value - values[0] for value in values[1:3]]
    return {'MEMHEAP_HEAPS': ' '.join([library, *map(str, values[1:])])}


def flavours(path, root=None):
    """Ways to run the interpreter at path: its forms, and the allocators of the first; of all of
    them with MEMHEAP_TEST_MATRIX. A debug build as it is."""
    command = inside(path, root)
    about = ask(command)
    if not about:
        return
    version, implementation, library, directory, _, free_threaded, debug = about
    if implementation != 'cpython' or not OLDEST <= tuple(version[:2]) <= NEWEST:
        return
    where = 'pyenv' if '.pyenv' in path else 'system'
    if root:
        where = os.path.basename(root.rstrip('/'))
    name = '%s-%s' % (where, '.'.join(map(str, version)) + ('-freethreaded' if free_threaded else ''))
    make = functools.partial(Interpreter, version=tuple(version), root=root,
                             options=['--sysroot', root] if root else [])
    if debug:       # nothing but DWARF tells its layout
        yield make('%s-%s' % (name, debug), command)
        return
    heaps = {}
    if free_threaded:
        heaps = heaps_environment(os.path.join(directory, library)
                                  if library and links(path, library) else os.path.realpath(path))
    for form, form_command, environment, files in forms(path, root, about):
        for suffix, malloc in allocators(command, tuple(version), free_threaded):
            if form and malloc and not os.environ.get('MEMHEAP_TEST_MATRIX'):
                continue
            more = {'PYTHONMALLOC': malloc} if malloc else {}
            yield make(name + form + suffix, form_command,
                       environment=dict(environment, **heaps, **more),
                       files=files)


def roots():
    """Interpreters in unpacked systems below MEMHEAP_TEST_ROOTS, which only root can run."""
    for root in filter(None, os.environ.get('MEMHEAP_TEST_ROOTS', '').split(':')):
        for path in sorted(glob.glob(os.path.join(root, 'usr/bin/python[23].[0-9]*'))):
            if re.search(r'[23]\.\d+d?$', path):
                yield from flavours(path, root)


class Emulated(Interpreter):
    """One of another machine, in an unpacked system, that qemu-user runs."""

    def __init__(self, emulator, root, path, version, name, files):
        super().__init__(name, [emulator, '-L', root, path], version,
                         {'PYTHONHOME': os.path.join(root, 'usr')},
                         ['--sysroot', root] if files else [], files=files)
        self.emulated = root


def emulated():
    """Interpreters of another machine, below MEMHEAP_TEST_EMULATED=MACHINE=ROOT:…"""
    for one in filter(None, os.environ.get('MEMHEAP_TEST_EMULATED', '').split(':')):
        machine, root = one.split('=', 1)
        emulator = shutil.which('qemu-%s-static' % machine) or shutil.which('qemu-' + machine)
        for path in sorted(glob.glob(os.path.join(root, 'usr/bin/python3.[0-9]*'))):
            if not emulator or not re.search(r'3\.\d+$', path):
                continue
            about = ask([emulator, '-E', 'PYTHONHOME=' + os.path.join(root, 'usr'), '-L', root, path])
            if not about or not OLDEST <= tuple(about[0][:2]) <= NEWEST:
                continue
            name = '%s-%s' % (machine, '.'.join(map(str, about[0])))
            for suffix, files in (('-stripped', True), ('-nofile', False)):
                yield Emulated(emulator, root, path, tuple(about[0]), name + suffix, files)


def take_qemu_core(interpreter, directory):
    """Makes of what qemu wrote what the kernel of that machine would have written."""
    for host in glob.glob(os.path.join(directory, 'core*')):
        os.unlink(host)         # of qemu itself
    made, = glob.glob(os.path.join(directory, 'qemu_*.core'))
    subprocess.run([sys.executable, os.path.join(FIXTURES, 'kernel_core.py'), made,
                    os.path.join(directory, 'maps.txt'), interpreter.emulated,
                    os.path.join(directory, 'core')], check=True)
    os.unlink(made)


def only(name):
    """From now on there is only the interpreter called name."""
    os.environ['MEMHEAP_TEST_ONLY'] = '^' + re.escape(name) + '$'


@functools.lru_cache(maxsize=None)
def interpreters():
    found, seen = [], set()
    for path in candidates():
        if os.path.realpath(path) not in seen:
            seen.add(os.path.realpath(path))
            found += flavours(path)
    found += roots()
    found += emulated()
    wanted = os.environ.get('MEMHEAP_TEST_ONLY')
    if wanted:
        found = [interpreter for interpreter in found if re.search(wanted, interpreter.name)]
    return found


def allow_cores():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def how_to_dump():
    """'kernel' where the kernel writes cores into the working directory, else 'gcore'."""
    with open('/proc/sys/kernel/core_pattern') as file:
        pattern = file.read().strip()
    if os.environ.get('MEMHEAP_DUMP', '').startswith(('stopped', 'waiting')):
        return os.environ['MEMHEAP_DUMP']
    pattern = os.environ.get('MEMHEAP_DUMP', pattern)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    handled = pattern == 'gdb' or pattern.startswith('|') or '/' in pattern
    return 'gcore' if handled or hard == 0 else 'kernel'


def await_rest(pid):
    """Waits until a process is stopped by a signal, or sleeps for long."""
    deadline = time.monotonic() + 120
    while True:
        with open('/proc/%d/stat' % pid) as file:
            state = file.read().rsplit(')', 1)[1].split()[0]
        with open('/proc/%d/syscall' % pid) as file:
            call = file.read().split()[0]
        if state == 'T' or (state == 'S' and call in ('230', '23', '270')):   # clock_nanosleep, select
            return
        assert time.monotonic() < deadline, (state, call)
        time.sleep(0.01)


@functools.lru_cache(maxsize=None)
def why_not_live():
    """Why no process can be looked at here; None: it can."""
    process = subprocess.Popen(['sleep', '100'])
    try:
        result = memheap('info', str(process.pid), check=False)
        return None if result.code == 0 else result.stderr
    finally:
        process.kill()
        process.wait()


class Core:
    """A core or a process, the truth about it, and its twin that answers."""

    def __init__(self, interpreter, program, directory, process):
        self.interpreter = interpreter
        self.program = program
        self.directory = directory
        self.process = process          # None: it has gone
        self.path = os.path.join(directory, 'core')
        self.pid = None                 # of the process that lives in place of a core
        self.options = []               # how it is to be taken

    def __repr__(self):
        return '%s/%s' % (self.interpreter, self.program)

    def memheap(self, *arguments, check=True, **more):
        return memheap(arguments[0], self.path, *arguments[1:], *self.interpreter.options,
                       *self.options, check=check, **more)

    @functools.lru_cache(maxsize=None)
    def report(self, command='analyze', *arguments):
        result = self.memheap(command, '--format', 'json', *arguments, check=False)
        report = json.loads(result.stdout)
        assert result.code == 0, (report.get('gaps'), result.stderr)
        return report

    @functools.lru_cache(maxsize=1)     # of the last core: they are large
    def objects(self):
        """{address: row}"""
        text = self.memheap('objects', '--format', 'jsonl').stdout
        return {int(row['address'], 16): row for row in json_lines(text)}

    def truth(self):
        """(address, type, size, tracked, refcount) of every object that the process reaches."""
        with open(os.path.join(self.directory, 'objects.tsv'), encoding='utf-8',
                  errors='surrogateescape') as file:
            for line in file:
                address, kind, size, tracked, refcount = line.rstrip('\n').split('\t')
                yield int(address, 16), kind, int(size), tracked == '1', int(refcount)

    def referents(self):
        """(address, what gc.get_referents() tells) of the same objects, written like 0x7f12."""
        with open(os.path.join(self.directory, 'referents.tsv')) as file:
            for line in file:
                address, *referents = line.split()
                yield address, referents

    def facts(self):
        with open(os.path.join(self.directory, 'facts.py')) as file:
            return eval(file.read())

    def text(self, name):
        with open(os.path.join(self.directory, name)) as file:
            return file.read()

    def ask(self, *addresses):
        """(type, size) of what the process's twin has at each address; up to 1000 at once."""
        self.process.stdin.write(' '.join(map(hex, addresses)) + '\n')
        self.process.stdin.flush()
        answers = []
        while len(answers) < len(addresses) and ('died',) not in answers:
            answers.append(tuple(self.process.stdout.readline().rstrip('\n').split('\t')))
        return [(answer[0], int(answer[1])) if len(answer) == 2 and answer[0] != 'error' else answer
                for answer in answers]

    def disagreements(self, rows):
        """Those of the rows of objects that the twin has not, with what it has."""
        for begin in range(0, len(rows), 1000):     # a fork of the twin for each
            batch = rows[begin:begin + 1000]
            answers = self.ask(*(int(row['address'], 16) for row in batch))
            if all(map(agrees, batch, answers)) and len(answers) == len(batch):
                continue
            for row in batch:
                answer, = self.ask(int(row['address'], 16))
                if not agrees(row, answer):
                    yield row, answer

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        if self.process:
            self.process.stdin.close()      # ends the twin
            self.process.stdout.close()
            self.process.kill()
            self.process.wait()
        if not os.environ.get('MEMHEAP_TEST_KEEP'):
            shutil.rmtree(self.directory, ignore_errors=True)


def json_lines(text):
    """The rows of `--format jsonl`; many at once, for a call takes longer than a row."""
    lines = text.split('\n')
    assert not lines.pop()
    for begin in range(0, len(lines), 1000):
        yield from json.loads('[%s]' % ','.join(lines[begin:begin + 1000]))


def is_unnamed(row):
    """Whether the type of an object is shown by its address."""
    return row['type'].startswith('<type at 0x')


def agrees(row, answer):
    """Whether the object of a row is what the process says: (type, size)."""
    return answer[1:] == (row['shallow_bytes'],) and (answer[0] == row['type'] or is_unnamed(row))


def core_notes(core):
    """(type, offset of the content, size) of each note of a core."""
    at, count = struct.unpack_from('<Q', core, 32)[0], struct.unpack_from('<H', core, 56)[0]
    for header in range(at, at + count * 56, 56):
        kind, _, start, _, _, size = struct.unpack_from('<IIQQQQ', core, header)
        end = start + size if kind == PT_NOTE else 0
        while start < end:
            name, content, kind = struct.unpack_from('<III', core, start)
            start += 12 + (name + 3 & ~3)
            yield kind, start, content
            start += content + 3 & ~3


def hide_files(path):
    """Makes a core one from another machine: its files are not found here, by no path or build id."""
    with open(path, 'r+b') as file, mmap.mmap(file.fileno(), 0) as core:
        end = len(core) - 2 * len(BUILD_ID_NOTE)    # CPython 3.11's find() reads beyond its end
        at = core.find(BUILD_ID_NOTE, 0, end)
        while at >= 0:
            at += len(BUILD_ID_NOTE)
            core[at] ^= 0x55        # not what hide_debug_files() does: that would undo it
            at = core.find(BUILD_ID_NOTE, at, end)
        for kind, start, size in core_notes(core):
            if kind != NT_FILE:
                continue
            count = struct.unpack_from('<Q', core, start)[0]
            at = start + 16 + count * 24
            for _ in range(count):
                assert core[at:at + 1] == b'/'
                core[at + 1] = ord('~')
                at = core.find(b'\0', at) + 1


def find_core(directory):
    found = glob.glob(os.path.join(directory, 'core*'))
    assert found, 'no core in %s: %s' % (directory, os.listdir(directory))
    os.rename(found[0], os.path.join(directory, 'core'))


def how_to_make(how):
    """(how a core is made, options): 'waiting/fork' is a process that waits, taken by fork."""
    how, _, mode = how.partition('/')
    return how, ['--mode', mode] if mode else []


def make_core(interpreter, program, *arguments, how=None):
    """Runs fixtures/programs/PROGRAM.py, which ends in truth.write(); with the library of PROGRAM.c.

    2.7 runs zoo2 for zoo, which has the syntax of Python 3. How: as a core (kernel, gcore), or as a
    process that lives (stopped, waiting, running)."""
    if interpreter.version < (3,):
        if program == 'library':
            pytest.skip('%s: library.py has the syntax of Python 3; zoo2.py has both' % interpreter)
        program = {'zoo': 'zoo2'}.get(program, program)
    parent = os.path.join(interpreter.root, 'tmp') if interpreter.root else SCRATCH
    os.makedirs(parent, exist_ok=True)
    directory = tempfile.mkdtemp(prefix='%s-%s-' % (interpreter.name, program), dir=parent)
    shown, fixtures = lambda path: path[len((interpreter.root or '').rstrip('/')):], FIXTURES
    if interpreter.root:
        fixtures = os.path.join(directory, 'fixtures')
        shutil.copytree(FIXTURES, fixtures)
    emulated = isinstance(interpreter, Emulated)
    source = os.path.join(FIXTURES, 'programs', program + '.c')
    if os.path.exists(source) and not emulated:
        shutil.copy(compile_library(source, SCRATCH), directory)
    how, options = how_to_make(how or ('qemu' if emulated else how_to_dump()))
    process = interpreter.run(
        shown(os.path.join(fixtures, 'programs', program + '.py')), *arguments, cwd=directory,
        environment={'MEMHEAP_TRUTH': shown(directory), 'MEMHEAP_CORE': how,
                     'PYTHONPATH': shown(fixtures), 'PYTHONDONTWRITEBYTECODE': '1'},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(directory + '/stderr.txt', 'w'),
        text=True, errors='surrogateescape', preexec_fn=allow_cores)
    core = Core(interpreter, program, directory, process)
    line = next((line for line in process.stdout if line.startswith(('ready\n', 'skipped: '))), '')
    if line != 'ready\n':
        process.kill()
        process.wait()
        if line.startswith('skipped: '):
            pytest.skip('%s: %s' % (core, line[len('skipped: '):].strip()))
        raise RuntimeError('%s: %r %s' % (core, line, core.text('stderr.txt')[-2000:]))
    if how == 'gcore':
        await_rest(int(core.text('child.pid')))
        subprocess.run(['gcore', '-o', os.path.join(directory, 'core'), core.text('child.pid')],
                       check=True, capture_output=True)
        os.kill(int(core.text('child.pid')), signal.SIGKILL)
    if how in ('stopped', 'waiting', 'running'):
        core.pid = int(core.text('child.pid'))
        core.path, core.options = str(core.pid), options
        if how != 'running':
            await_rest(core.pid)
    else:
        if emulated:
            take_qemu_core(interpreter, directory)
        find_core(directory)
        if not interpreter.files:
            hide_files(core.path)
    return core


def dump(path, command, **more):
    """The core of a command that ends by a signal."""
    subprocess.run([os.path.join(FIXTURES, 'dump'), path, *command], check=True, **more)


# garbage for cycles to find, and two suspects
ONE_CYCLE = ('import os; one = [{}]; one[0][0] = one; del one; '
             'large, larger = bytes(10 ** 6), bytes(11 * 10 ** 5); os.abort()')


def abort_core(interpreter, code=ONE_CYCLE, *arguments):
    """A core of a one-line program, without truth."""
    os.makedirs(SCRATCH, exist_ok=True)
    directory = tempfile.mkdtemp(prefix=interpreter.name + '-', dir=SCRATCH)
    core = Core(interpreter, 'abort', directory, None)
    environment = interpreter.full_environment()
    if interpreter.root:
        # the kernel would write it into the directory that chroot(1) goes to
        environment['MEMHEAP_DUMP'] = 'gdb'
    dump(core.path, [*interpreter.command, *arguments, '-c', code], env=environment)
    return core


class Result:
    def __init__(self, process):
        self.stdout = process.stdout
        self.stderr = process.stderr
        self.code = process.returncode


def memheap(*arguments, check=True, text=True, **more):
    more.setdefault('env', {key: value for key, value in os.environ.items()
                            if key != 'DEBUGINFOD_URLS'})
    process = subprocess.run([*os.environ.get('MEMHEAP_WRAPPER', '').split(), MEMHEAP, *arguments],
                             capture_output=True, text=text, errors='surrogateescape' if text
                             else None, **more)
    result = Result(process)
    if check:
        assert result.code == 0, (arguments, result.code, result.stderr)
    return result


if __name__ == '__main__':
    # harness.py FILE prints the interpreters, and writes what they answered for MEMHEAP_TEST_ANSWERS
    os.environ.pop('MEMHEAP_TEST_ANSWERS', None)
    print(*interpreters(), sep='\n')
    if sys.argv[1:]:
        with open(sys.argv[1], 'w') as file:
            json.dump(answers(), file)
