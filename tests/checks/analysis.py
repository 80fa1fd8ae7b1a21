# SPDX-License-Identifier: MIT
"""clang's static analyzer has nothing to say, but for what is known to be wrong."""
import concurrent.futures
import json
import os
import re
import shlex
import subprocess

import source

# It does not see that _cleanup_ frees.
LEAK = ('Potential leak', 'Potential memory leak')
# Where it is wrong, and why. What it no longer says must go.
WRONG = {
    ('lib/target/elf_core.c', 'core.uninitialized.Assign'):
        'takes it that an error that was made may be NULL',
    ('lib/modules/modules.c', 'core.NullDereference'):
        'takes it that a list may hold modules without having items',
    ('lib/analysis/cycles.c', 'core.NullDereference'):
        'takes it that an array of nothing, which may be NULL, is used',
    ('lib/analysis/path.c', 'core.NullDereference'):
        'takes it that an array of nothing, which may be NULL, is used',
    ('lib/analysis/path.c', 'core.NonNullParamChecker'):
        'takes it that an array of nothing, which may be NULL, is used',
    ('lib/graph/roots.c', 'core.NonNullParamChecker'):
        'takes it that an array of nothing, which may be NULL, is used',
    ('lib/target/live/family.c', 'core.NullDereference'):
        'takes it that an array of nothing, which may be NULL, is used',
    ('lib/cpython/members.c', 'core.NullDereference'):
        'takes it that a type that was found has no entry',
    ('lib/cpython/runtime.c', 'unix.Malloc'):
        'takes it that there may be no version table',
    ('lib/cpython/allocators/mimalloc.c', 'core.DivideZero'):
        'does not see that sizes of blocks were checked before',
    ('lib/cpython/static_names.c', 'core.DivideZero'):
        'does not see that numbers of entries were checked before',
}


def analyze(command):
    arguments = shlex.split(command['command'])
    kept = [one for one in arguments[1:] if one.startswith(('-I', '-D', '-std='))]
    result = subprocess.run(['clang', '--analyze', '--analyzer-output', 'text', *kept,
                             command['file']],
                            cwd=command['directory'], capture_output=True, text=True, check=False)
    found = re.findall(r'^(\S+?):\d+:\d+: (?:warning|error|fatal error): (.*)$', result.stderr,
                       re.M)
    for path, message in found:
        path = os.path.relpath(os.path.join(command['directory'], path), source.ROOT)
        checker = re.search(r'\[([\w.]+)\]$', message)
        known = (path, checker and checker.group(1))
        if known in WRONG:
            met.add(known)
        elif not message.startswith(LEAK):
            yield '%s: %s\n%s' % (path, message, result.stderr)
    if result.returncode and not found:
        yield result.stderr


met = set()
source.need('clang')
with open(os.path.join(source.BUILD, 'compile_commands.json'), encoding='utf-8') as file:
    commands = [one for one in json.load(file) if one['file'].endswith('.c')]
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    problems = [problem for found in pool.map(lambda one: list(analyze(one)), commands)
                for problem in found]
problems += ['%s: %s is found no more' % known for known in WRONG.keys() - met]
source.end(problems, len(commands))
