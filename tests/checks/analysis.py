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
EMPTY = 'takes it that a list with a count may have no items'
# Where it is wrong, and why: by file, function and checker. What it no longer says must go.
WRONG = {
    ('lib/target/elf_core.c', 'elf_core_load', 'core.uninitialized.Assign'):
        'takes it that an error that was made may be NULL',
    ('lib/target/live/family.c', 'count_frames', 'core.NullDereference'): EMPTY,
    ('lib/modules/modules.c', 'find_file', 'core.NullDereference'): EMPTY,
    ('lib/graph/roots.c', 'add_c_memory', 'core.NonNullParamChecker'): EMPTY,
    ('lib/graph/places.c', 'find_tls', 'core.NonNullParamChecker'): EMPTY,
    ('lib/analysis/by_type.c', 'by_type_examples', 'core.NonNullParamChecker'): EMPTY,
    ('lib/analysis/retained_tree.c', 'open_node', 'core.NonNullParamChecker'): EMPTY,
    ('lib/analysis/retained_tree.c', 'show', 'core.NullDereference'): EMPTY,
    ('lib/analysis/path.c', 'count_target', 'core.NullDereference'): EMPTY,
    ('lib/analysis/path.c', 'list_nodes', 'core.NonNullParamChecker'): EMPTY,
    ('lib/analysis/path.c', 'add_tree', 'core.NullDereference'): EMPTY,
    ('tests/unit/target/test_pages.c', 'add', 'core.NullDereference'):
        'takes it that assert_non_null() returns',
}


def function_at(path, line):
    """The function that line `line` of a file is in: its name stands in the last line before that
    begins at the margin and has a parenthesis."""
    with open(path, encoding='utf-8') as file:
        before = [re.match(r'[A-Za-z][^;=]*?(\w+)\(', one) for one in file.readlines()[:line]]
    names = [one.group(1) for one in before if one]
    return names[-1] if names else ''


def analyze(command):
    arguments = shlex.split(command['command'])
    kept = [one for one in arguments[1:] if one.startswith(('-I', '-D', '-std='))]
    result = subprocess.run(['clang', '--analyze', '--analyzer-output', 'text', *kept,
                             command['file']],
                            cwd=command['directory'], capture_output=True, text=True, check=False)
    found = re.findall(r'^(\S+?):(\d+):\d+: (?:warning|error|fatal error): (.*)$', result.stderr,
                       re.M)
    for path, line, message in found:
        path = os.path.relpath(os.path.join(command['directory'], path), source.ROOT)
        checker = re.search(r'\[([\w.]+)\]$', message)
        known = (path, function_at(os.path.join(source.ROOT, path), int(line)),
                 checker and checker.group(1))
        if known in WRONG:
            met.add(known)
        elif not message.startswith(LEAK):
            yield '%s, %s(): %s\n%s' % (*known[:2], message, result.stderr)
    if result.returncode and not found:
        yield result.stderr


met = set()
source.need('clang')
with open(os.path.join(source.BUILD, 'compile_commands.json'), encoding='utf-8') as file:
    commands = [one for one in json.load(file) if one['file'].endswith('.c')]
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    problems = [problem for found in pool.map(lambda one: list(analyze(one)), commands)
                for problem in found]
problems += ['%s, %s(): %s is found no more' % known for known in WRONG.keys() - met]
source.end(problems, len(commands))
