# SPDX-License-Identifier: MIT
"""Functions have at most 60 lines, files at most 600."""
import ast
import re

import source

FILE_LINES, FUNCTION_LINES = 600, 60
# one of each type, one after the other: long, and nothing to understand
LISTS = ['fixtures/programs/zoo.py']
GENERATED = 'lib/layout/versions/'


def c_functions(lines):
    """(name, lines) of functions; clang-format puts their braces alone on a line."""
    head = opened = None
    for number, line in enumerate(lines):
        if line == '{':
            opened = head
        elif line == '}' and opened is not None:
            yield lines[opened].split('(')[0], number - opened + 1
            opened = None
        elif re.match(r'[A-Za-z_].*\(', line) and opened is None:
            head = number


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.end_lineno - node.lineno + 1


problems, checked = [], 0
for path in source.files('.c', '.h', '.py', '.def'):
    text = source.text(path)
    lines = text.splitlines()
    if path in LISTS or path.startswith(GENERATED):
        continue
    if len(lines) > FILE_LINES:
        problems.append('%s: %d lines' % (path, len(lines)))
    if path.endswith('.def'):
        continue
    for name, size in (python_functions(text) if path.endswith('.py') else c_functions(lines)):
        checked += 1
        if size > FUNCTION_LINES:
            problems.append('%s: %s has %d lines' % (path, name, size))
source.end(problems, checked)
