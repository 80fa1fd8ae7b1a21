# SPDX-License-Identifier: MIT
"""Shared libraries for fixtures."""
import functools
import os
import subprocess


@functools.lru_cache(maxsize=None)
def compile_library(source, directory):
    """The path of a library of a C file."""
    os.makedirs(directory, exist_ok=True)
    library = os.path.join(directory, os.path.basename(source)[:-2] + '.so')
    new = '%s.%d' % (library, os.getpid())      # other tests may be at it too
    subprocess.run(['cc', '-shared', '-fPIC', '-pthread', '-O1', '-o', new, source], check=True)
    os.rename(new, library)
    return library
