# SPDX-License-Identifier: MIT
"""C code is as clang-format would write it, and every file has its licence on top."""
import re
import subprocess
import sys

import source

VERSION = 14    # others format a few things differently

LICENSED = ('.c', '.h', '.def', '.py', '.c.in')
SCRIPTS = ['.ci/run', 'fixtures/setup', 'fixtures/dump', 'tests/sanitize']

source.need('clang-format')
said = subprocess.run(['clang-format', '--version'], capture_output=True, text=True, check=True)
if int(re.search(r'version (\d+)', said.stdout).group(1)) != VERSION:
    print('skipped: clang-format %d is needed, this is %s' % (VERSION, said.stdout.strip()))
    sys.exit(77)
paths = list(source.files('.c', '.h'))
problems = subprocess.run(['clang-format', '--dry-run', '-Werror', *paths], cwd=source.ROOT,
                          capture_output=True, text=True, check=False).stderr.splitlines()
for path in [*source.files(*LICENSED), *SCRIPTS]:
    if 'SPDX-License-Identifier: MIT' not in ''.join(source.text(path).splitlines()[:2]):
        problems.append('%s: no SPDX-License-Identifier on top' % path)
source.end(problems, len(paths))
