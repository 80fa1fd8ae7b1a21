# SPDX-License-Identifier: MIT
"""gcc and clang build the whole tree without a warning."""
import os
import subprocess

import source

COMPILERS = ['gcc', 'clang']

source.need(*COMPILERS)
problems = []
for compiler in COMPILERS:
    directory = os.path.join(source.BUILD, 'warnings', compiler)
    steps = [['meson', 'compile', '-C', directory]]
    if not os.path.exists(os.path.join(directory, 'build.ninja')):
        steps.insert(0, ['meson', 'setup', '--werror', directory, source.ROOT])
    for step in steps:
        result = subprocess.run(step, env=dict(os.environ, CC=compiler), capture_output=True,
                                text=True, check=False)
        if result.returncode:
            problems.append('%s: %s\n%s%s' % (compiler, ' '.join(step), result.stdout,
                                              result.stderr))
            break
source.end(problems, len(COMPILERS))
