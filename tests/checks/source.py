# SPDX-License-Identifier: MIT
"""The source files, and how checks end."""
import os
import shutil
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('MEMHEAP_BUILD', os.path.join(ROOT, 'build'))
FOLDERS = ['lib', 'formats', 'cmd', 'tests', 'fixtures']


def files(*endings, folders=FOLDERS):
    """Paths from ROOT on of all files with one of the endings."""
    for folder in folders:
        for where, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(where, name), ROOT)


def text(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as file:
        return file.read()


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            print('skipped: %s is not installed' % program)
            sys.exit(77)


def end(problems, checked):
    """Prints the problems and exits; checking nothing is one too."""
    for problem in problems:
        print(problem)
    if not checked:
        print('nothing was checked')
    print('%d checked, %d problems' % (checked, len(problems)))
    sys.exit(1 if problems or not checked else 0)
