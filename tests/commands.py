# SPDX-License-Identifier: MIT
"""What the tests of the program know of its commands."""
import json
import os

import harness

REPORTS = ['analyze', 'info', 'types', 'arenas', 'regions', 'gc', 'objects', 'object', 'refs',
           'referrers', 'path', 'cycles', 'deep', 'retained', 'suspects',
           'refcounts', 'leaks']
WITH_ADDRESS = ['object', 'refs', 'referrers', 'path', 'deep']
WITHOUT_CORE = ['list']
WITH_SCHEMA = REPORTS + WITHOUT_CORE + ['tree']     # analyze --tree
FORMATS = ['table', 'json', 'jsonl', 'csv']
SCHEMAS = os.path.join(os.path.dirname(harness.FIXTURES), 'formats', 'schemas')
MAIN_TABLES = {'analyze': 'types', 'info': 'modules', 'types': 'types', 'arenas': 'arenas',
               'regions': 'regions', 'gc': 'gc.generations', 'objects': 'objects',
               'object': 'words', 'refs': 'references', 'referrers': 'referrers',
               'path': 'path', 'cycles': 'types', 'deep': 'types', 'retained': 'types',
               'suspects': 'suspects', 'refcounts': 'types', 'leaks': 'types'}


def first_object(core, *filters):
    """The row of the first object that the filters let through."""
    lines = core.memheap('objects', '--format', 'jsonl', '--limit', '1', *filters).stdout
    return json.loads(lines)


def arguments(core, command):
    """What a command needs beside the core."""
    if command not in WITH_ADDRESS:
        return []
    if command == 'object':
        return [first_object(core, '--type', 'dict', '--region', 'pymalloc*')['address']]
    # a class: it refers to several objects, and several to it
    return [first_object(core, '--type', 'abc.ABCMeta')['address']]


def schema(command):
    with open(os.path.join(SCHEMAS, command + '.json'), encoding='utf-8') as file:
        return json.load(file)


def table_schema(command, table):
    """The schema of a table: 'gc.generations' is a property of the property gc."""
    found = schema(command)
    for name in table.split('.'):
        found = found['properties'][name]
    return found


def columns(command, table=None):
    found = table_schema(command, table or MAIN_TABLES[command])
    return list(found.get('items', found)['properties'])
