# SPDX-License-Identifier: MIT
"""gcc and clang build the whole tree without a warning."""
import os
import subprocess

import source

# all that clang warns of it knows before it optimizes
COMPILERS = {'gcc': [], 'clang': ['-Db_lto=false', '-Doptimization=0', '-Ddebug=false']}

source.need(*COMPILERS)
problems = []
for compiler, options in COMPILERS.items():
    if compiler == os.environ.get('MEMHEAP_BUILT_WITHOUT_WARNINGS_BY'):
        continue        # meson setup --werror: that build would have ended at one
    directory = os.path.join(source.BUILD, 'warnings', compiler)
    steps = [['meson', 'compile', '-C', directory]]
    if not os.path.exists(os.path.join(directory, 'build.ninja')):
        steps.insert(0, ['meson', 'setup', '--werror', *options, directory, source.ROOT])
    for step in steps:
        result = subprocess.run(step, env=dict(os.environ, CC=compiler), capture_output=True,
                                text=True, check=False)
        if result.returncode:
            problems.append('%s: %s\n%s%s' % (compiler, ' '.join(step), result.stdout,
                                              result.stderr))
            break
source.end(problems, len(COMPILERS))
