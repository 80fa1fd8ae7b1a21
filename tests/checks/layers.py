# SPDX-License-Identifier: MIT
"""Data flows in one direction, so do includes: a folder knows only those before it."""
import os
import re

import source

ORDER = ['base', 'target', 'modules', 'layout', 'malloc', 'cpython', 'graph', 'analysis']
PUBLIC = ['memheap.h']      # all that formats and cmd may see of lib
# includes every stage, and belongs to whoever comes after them
SNAPSHOT = 'lib/snapshot.h'


def rank(path):
    """Where a file of lib stands; its top files see all, but only analysis sees the snapshot."""
    parts = path.split('/')
    if path == 'lib/memheap.h':
        return -1
    if path == SNAPSHOT:
        return ORDER.index('graph') + 0.5
    return ORDER.index(parts[1]) if len(parts) > 2 else len(ORDER)


problems, checked = [], 0
for path in source.files('.c', '.h', '.def', folders=['lib']):
    for name in re.findall(r'^#include "([^"]+)"', source.text(path), re.M):
        target = os.path.normpath(os.path.join(os.path.dirname(path), name))
        if not target.startswith('lib/'):
            problems.append('%s: includes %s, outside of lib' % (path, target))
        elif not os.path.exists(os.path.join(source.ROOT, target)):
            problems.append('%s: includes %s, which is not there' % (path, target))
        elif rank(target) > rank(path):
            problems.append('%s: includes %s, which comes after it' % (path, target))
        checked += 1
    # lib talks to the outside by what it returns
    if re.search(r'\b(v?printf|puts|putchar|perror)\(|\b(stdout|stderr)\b', source.text(path)):
        problems.append('%s: prints' % path)
library = {os.path.basename(one) for one in source.files('.h', folders=['lib', 'formats'])}
for folder, allowed in (('formats', PUBLIC), ('cmd', PUBLIC + ['formats.h'])):
    own = {os.path.basename(path) for path in source.files('.h', folders=[folder])}
    for path in source.files('.c', '.h', folders=[folder]):
        for name in re.findall(r'^#include ["<]([^">]+)[">]', source.text(path), re.M):
            checked += 1
            if name not in allowed and name not in own and os.path.basename(name) in library:
                problems.append('%s: includes %s; of the library it may only see %s' %
                                (path, name, ', '.join(allowed)))
source.end(problems, checked)
