# SPDX-License-Identifier: MIT
"""The small core of the fuzzers as something to damage, and running memheap on what comes out."""
import gzip
import json
import os
import resource
import struct
import subprocess

import harness

CORES = os.path.join(harness.HERE, 'fuzz', 'cores')
SECONDS_MAX = 20            # for one run, sanitized or not
BYTES_MAX = 1 << 30
DOCUMENTED = (0, 1, 2, 3, 4, 5)
DAMAGED = (0, 1, 3, 5)      # of a core that may be read, and a command line that makes sense


def is_sanitized():
    """Whether memheap reserves terabytes of addresses, as AddressSanitizer does."""
    with open(harness.MEMHEAP, 'rb') as file:
        return b'__asan_init' in file.read() or 'MEMHEAP_WRAPPER' in os.environ


SANITIZED = is_sanitized()


def some(items):
    """All of the items; with a sanitizer, which takes ten times as long, every fourth."""
    return list(items)[::4 if SANITIZED else 1]


def limit(files):
    """Little memory beside the maps of the files: mimalloc's cores are sparse files of gigabytes."""
    if not SANITIZED:
        size = BYTES_MAX + sum(os.path.getsize(file) for file in files)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def run(*arguments, **more):
    """memheap with limits on time and memory; its exit code is one of the documented."""
    command = [*os.environ.get('MEMHEAP_WRAPPER', '').split(), harness.MEMHEAP, *arguments]
    files = [argument for argument in arguments if os.path.isfile(argument)]
    more.setdefault('stdout', subprocess.PIPE)
    more.setdefault('stdin', subprocess.DEVNULL)
    process = subprocess.run(more.pop('before', []) + command, stderr=subprocess.PIPE, text=True,
                             timeout=SECONDS_MAX, errors='surrogateescape',
                             preexec_fn=lambda: limit(files), **more)
    assert process.returncode in DOCUMENTED, (arguments, process.returncode, process.stderr)
    return harness.Result(process)


def check_message(result, path, hint=True):
    """A failure names the file, and says what to do."""
    assert result.stderr.startswith('memheap: '), result.stderr
    assert path in result.stderr, (path, result.stderr)
    assert '\n  hint: ' in result.stderr or not hint, result.stderr


def check_answer(result, path, codes=DAMAGED):
    """A report adds up; a failure has a message. Returns the report, or None."""
    assert result.code in codes, (result.code, result.stderr)
    if result.code not in (0, 5):
        check_message(result, path)
        return None
    report = json.loads(result.stdout)
    completeness = report['completeness']
    image = completeness['image_bytes']
    assert (result.code == 5) == completeness['partial'], completeness
    if 'memory' in report:
        assert sum(row['bytes'] for row in report['memory']) == image
        impossible = [row for row in report['memory'] if not 0 < row['bytes'] <= image]
        assert not impossible, impossible
    return report


class SmallCore:
    """A small core in memory, by address."""

    def __init__(self, name, directory):
        self.path = os.path.join(directory, name + '.core')
        self.options = ('--exe', os.path.join(CORES, name + '.elf'))
        with gzip.open(os.path.join(CORES, name + '.core.gz')) as file:
            self.content = file.read()
        self.write(self.content)
        self.headers = []           # (offset of the header, type, offset, address, size in file)
        start, count = self.u64(32), struct.unpack_from('<H', self.content, 56)[0]
        for i in range(count):
            kind, _, offset, at, _, size = struct.unpack_from('<IIQQQQ', self.content,
                                                              start + 56 * i)
            self.headers.append((start + 56 * i, kind, offset, at, size))
        self.notes = self.read_notes()

    def read_notes(self):
        """{type: offset of the note's header}, the last of each type"""
        at, size = next((offset, size) for _, kind, offset, _, size in self.headers if kind == 4)
        notes, end = {}, at + size
        while at < end:
            name, payload, kind = struct.unpack_from('<III', self.content, at)
            notes[kind] = at
            at += 12 + (name + 3 & ~3) + (payload + 3 & ~3)
        return notes

    def u64(self, offset):
        return struct.unpack_from('<Q', self.content, offset)[0]

    def offset(self, at):
        """Where in the file the byte at an address is, or None."""
        for _, kind, offset, start, size in self.headers:
            if kind == 1 and start <= at < start + size:
                return offset + at - start
        return None

    def word(self, at):
        return self.u64(self.offset(at))

    def words(self):
        """Offsets of all words in memory that are not zero."""
        return [offset + i * 8 for _, kind, offset, _, size in self.headers if kind == 1
                for i, word in enumerate(memoryview(self.content)[offset:offset + size // 8 * 8]
                                         .cast('Q')) if word]

    def write(self, content):
        with open(self.path, 'wb') as file:
            file.write(content)

    def patch(self, patches):
        """Writes {offset: bytes} over the file; returns what was there."""
        before = {}
        with open(self.path, 'r+b', buffering=0) as file:
            for offset, value in patches.items():
                before[offset] = self.content[offset:offset + len(value)]
                file.seek(offset)
                file.write(value)
        return before

    def memheap(self, command, *arguments):
        return run(command, self.path, *self.options, *arguments)

    def analyze(self, patches={}, command='analyze'):
        """(result, report) of the core with {offset: bytes} written over it."""
        before = self.patch(patches)
        result = self.memheap(command, '--format', 'json')
        self.patch(before)
        return result, check_answer(result, self.path)

    def analyze_other(self, content, command='analyze'):
        """(result, report) of other content."""
        self.write(content)
        result = self.memheap(command, '--format', 'json')
        self.write(self.content)
        return result, check_answer(result, self.path)

    def rows(self, command, table):
        result = self.memheap(command, '--format', 'json')
        assert result.code == 0, result.stderr
        return json.loads(result.stdout)[table]
