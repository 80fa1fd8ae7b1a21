# SPDX-License-Identifier: MIT
"""What is in a table: --sort, --limit, and the filters."""
import fnmatch
import json

import pytest

import commands

# what each object has of its own, and is shown when asked for
UNSORTABLE = ['value', 'refs', 'weak_refs', 'extra_refs', 'conservative_refs']
SORTED = [(command, column) for command in commands.REPORTS for column in commands.columns(command)
          if column not in UNSORTABLE]


def rows(core, command, *arguments):
    lines = core.memheap(command, *commands.arguments(core, command), '--format', 'jsonl',
                         *arguments).stdout
    return [json.loads(line) for line in lines.splitlines()]


def order(value):
    """Addresses by number, flags as numbers, texts as their bytes."""
    if isinstance(value, str):
        return (int(value, 16), b'') if value.startswith('0x') else (0, value.encode())
    return value


@pytest.fixture(scope='module')
def plain(newest_core):
    """The rows of each command in their own order."""
    return {command: rows(newest_core, command) for command in commands.REPORTS}


@pytest.mark.parametrize('command, column', SORTED)
def test_sorted_by_column(command, column, newest_core, plain):
    for ascending in ([], ['--ascending']):
        found = rows(newest_core, command, '--sort', column, *ascending)
        values = [order(row[column]) for row in found if row.get(column) is not None]
        assert values == sorted(values, reverse=not ascending)
        # what has no value comes last, and no row is lost or changed
        assert all(row.get(column) is None for row in found[len(values):])
        assert sorted(map(repr, found)) == sorted(map(repr, plain[command]))


@pytest.mark.parametrize('column', UNSORTABLE)
def test_values_and_references_are_nothing_to_sort_by(column, newest_core):
    result = newest_core.memheap('objects', '--values', '--refs', '--sort', column, check=False)
    assert result.code == 2 and not result.stdout
    assert 'objects cannot be sorted by ' + column in result.stderr


@pytest.mark.parametrize('command', commands.REPORTS)
@pytest.mark.parametrize('limit', [1, 2, 10 ** 9])
def test_limited(command, limit, newest_core, plain):
    assert rows(newest_core, command, '--limit', str(limit)) == plain[command][:limit]
    assert rows(newest_core, command, '-n', '0') == plain[command]


@pytest.mark.parametrize('command', commands.REPORTS)
def test_sorted_then_limited(command, newest_core):
    column = commands.columns(command)[0]
    everything = rows(newest_core, command, '--sort', column)
    assert rows(newest_core, command, '--sort', column, '--limit', '2') == everything[:2]


@pytest.mark.parametrize('command', ['types', 'objects'])
def test_a_table_for_people_is_limited(command, newest_core, plain):
    printed = newest_core.memheap(command).stdout
    assert 50 <= len(printed.splitlines()) <= 60
    assert len(plain[command]) > 50
    everything = newest_core.memheap(command, '--limit', '0').stdout
    assert len(everything.splitlines()) >= len(plain[command])


def test_a_limit_says_what_it_left_out(newest_core, plain):
    printed = newest_core.memheap('types', '--limit', '3').stdout
    assert '%d more' % (len(plain['types']) - 3) in printed


def test_bytes_are_exact_when_asked(newest_core):
    row = rows(newest_core, 'types')[0]
    assert '{:,}'.format(row['occupied_bytes']) in newest_core.memheap('types', '--bytes').stdout
    assert '{:,}'.format(row['occupied_bytes']) not in newest_core.memheap('types').stdout


@pytest.mark.parametrize('pattern', ['dict', '*Error', 'weakref.*', '[a-d]*', 'nothing'])
@pytest.mark.parametrize('command', ['types', 'objects'])
def test_filtered_by_type(command, pattern, newest_core, plain):
    wanted = [row for row in plain[command] if fnmatch.fnmatchcase(row['type'], pattern)]
    assert rows(newest_core, command, '--type', pattern) == wanted
    assert bool(wanted) == (pattern != 'nothing')


@pytest.mark.parametrize('pattern', ['pymalloc*', 'module data', '*', 'nothing'])
@pytest.mark.parametrize('command', ['regions', 'objects'])
def test_filtered_by_region(command, pattern, newest_core, plain):
    wanted = [row for row in plain[command] if fnmatch.fnmatchcase(row['region'], pattern)]
    assert rows(newest_core, command, '--region', pattern) == wanted
    assert bool(wanted) == (pattern != 'nothing')


@pytest.mark.parametrize('arguments, least, most', [
    (['--min-size', '1k'], 1024, None),
    (['--max-size', '64'], 0, 64),
    (['--min-size', '500', '--max-size', '1KiB'], 500, 1024),
    (['--min-size', '0.5k', '--max-size', '512'], 512, 512),
])
def test_filtered_by_size(arguments, least, most, newest_core, plain):
    wanted = [row for row in plain['objects'] if
              row['occupied_bytes'] >= least and (not most or row['occupied_bytes'] <= most)]
    assert wanted and rows(newest_core, 'objects', *arguments) == wanted


def test_filters_together_sorted_and_limited(newest_core, plain):
    wanted = [row for row in plain['objects'] if row['type'] == 'dict' and
              row['occupied_bytes'] >= 300 and row['region'] == 'pymalloc arena']
    wanted.sort(key=lambda row: -row['shallow_bytes'])
    assert len(wanted) > 5
    assert rows(newest_core, 'objects', '--type', 'dict', '--min-size', '300', '--region',
                'pymalloc arena', '--sort', 'shallow_bytes', '--limit', '5') == wanted[:5]


@pytest.mark.parametrize('command', commands.REPORTS)
def test_each_table_as_csv(command, newest_core):
    for table in commands.schema(command)['properties']:
        if table in ('schema', 'schema_version'):
            continue
        output = newest_core.memheap(command, *commands.arguments(newest_core, command),
                                     '--format', 'csv', '--table', table).stdout
        schema = commands.table_schema(command, table)
        keys = [key for key, column in schema.get('items', schema)['properties'].items()
                if column.get('type') != 'array']
        assert output.splitlines()[0] == ','.join(keys)
