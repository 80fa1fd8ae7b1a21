# SPDX-License-Identifier: MIT
"""The public header compiles alone, in C11 and C++17, without a warning."""
import subprocess

import source

WAYS = [['gcc', '-x', 'c', '-std=c11'], ['clang', '-x', 'c', '-std=c11'],
        ['g++', '-x', 'c++', '-std=c++17'], ['clang++', '-x', 'c++', '-std=c++17']]
STRICT = ['-Wall', '-Wextra', '-Wshadow', '-Wpedantic', '-Werror', '-fsyntax-only', '-Ilib', '-']

source.need(*(way[0] for way in WAYS))
problems = []
for way in WAYS:
    result = subprocess.run(way + STRICT, input='#include <memheap.h>\n#include <memheap.h>\n',
                            cwd=source.ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        problems.append(' '.join(way) + ':\n' + result.stderr)
source.end(problems, len(WAYS))
