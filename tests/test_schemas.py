# SPDX-License-Identifier: MIT
"""The JSON Schemas are those that memheap prints, and real output is as they say."""
import json
import os
import subprocess

import jsonschema
import pytest

import commands
import harness


def validator(schema):
    return jsonschema.Draft202012Validator(schema)


def each_object(schema):
    """Every part of a schema that describes an object."""
    if isinstance(schema, dict):
        if schema.get('type') == 'object':
            yield schema
        for part in schema.values():
            yield from each_object(part)


@pytest.mark.parametrize('command', commands.WITH_SCHEMA)
def test_committed_schema_is_current(command):
    with open(os.path.join(commands.SCHEMAS, command + '.json'), encoding='utf-8') as file:
        assert harness.memheap('schema', command).stdout == file.read(), \
            'meson compile -C build schemas makes them anew'


def test_every_committed_schema_belongs_to_a_command():
    files = sorted(os.listdir(commands.SCHEMAS))
    assert files == sorted(command + '.json' for command in commands.WITH_SCHEMA)


@pytest.mark.parametrize('command', commands.WITH_SCHEMA)
def test_schema_is_strict(command):
    schema = commands.schema(command)
    jsonschema.Draft202012Validator.check_schema(schema)
    objects = list(each_object(schema))
    assert len(objects) > 3
    for part in objects:
        assert part['additionalProperties'] is False
        assert set(part['required']) <= set(part['properties'])


def test_default_schema_is_that_of_analyze():
    assert harness.memheap('schema').stdout == harness.memheap('schema', 'analyze').stdout


def test_a_key_means_the_same_everywhere():
    """The same key has the same JSON type in every table."""
    kinds = {}
    for command in commands.WITH_SCHEMA:
        for part in each_object(commands.schema(command)):
            for key, column in part['properties'].items():
                if isinstance(column.get('type'), list):
                    kinds.setdefault(key, set()).add((column['type'][0], column.get('pattern')))
    # where a file is, which area of memory; and by which steps an object is reached
    assert kinds.pop('path') == {('string', None), ('array', None)}
    assert not {key for key, found in kinds.items() if len(found) > 1}


@pytest.mark.parametrize('command', commands.REPORTS)
def test_output_is_as_its_schema_says(command, newest_core):
    output = newest_core.memheap(command, *commands.arguments(newest_core, command),
                                 '--format', 'json').stdout
    validator(commands.schema(command)).validate(json.loads(output))


@pytest.mark.parametrize('command', commands.REPORTS)
def test_output_has_rows(command, newest_core):
    """Or the schemas of rows would not be tested."""
    output = newest_core.memheap(command, *commands.arguments(newest_core, command),
                                 '--format', 'json').stdout
    table = json.loads(output)
    for name in commands.MAIN_TABLES[command].split('.'):
        table = table[name]
    assert len(table) > 1


def test_an_answer_without_suspects_is_as_its_schema_says(newest_core):
    output = newest_core.memheap('analyze', '--suspects', 'never', '--format', 'json').stdout
    validator(commands.schema('analyze')).validate(json.loads(output))


@pytest.mark.parametrize('command', ['objects', 'object'])
def test_output_with_values_is_as_its_schema_says(command, newest_core):
    output = newest_core.memheap(command, *commands.arguments(newest_core, command),
                                 '--values', '--format', 'json').stdout
    validator(commands.schema(command)).validate(json.loads(output))


@pytest.mark.parametrize('command', commands.REPORTS)
def test_partial_output_is_as_its_schema_says(command, newest_core, tmp_path):
    """With rows of gaps and diagnostics."""
    path = str(tmp_path / 'core')
    extra = commands.arguments(newest_core, command)
    subprocess.run(['cp', newest_core.path, path], check=True)
    os.truncate(path, os.path.getsize(path) * 99 // 100)
    result = harness.memheap(command, path, *extra, '--format', 'json',
                             *newest_core.interpreter.options, check=False)
    report = json.loads(result.stdout)
    assert result.code == 5 and report['gaps'] and report['diagnostics']
    validator(commands.schema(command)).validate(report)


def test_output_of_no_python_is_as_its_schema_says(sleep_core):
    result = harness.memheap('info', sleep_core, '--format', 'json', check=False)
    validator(commands.schema('info')).validate(json.loads(result.stdout))


@pytest.mark.parametrize('command', commands.REPORTS)
def test_each_table_as_lines_is_as_its_schema_says(command, newest_core):
    extra = commands.arguments(newest_core, command)
    document = json.loads(newest_core.memheap(command, *extra, '--format', 'json').stdout)
    for table in document:
        if table in ('schema', 'schema_version'):
            continue
        schema = commands.table_schema(command, table)
        if schema['type'] == 'object':
            # a record, without the tables that lie inside of it
            columns = {key: column for key, column in schema['properties'].items()
                       if column['type'] != 'array'}
            schema = dict(schema, properties=columns,
                          required=[key for key in schema['required'] if key in columns])
        output = newest_core.memheap(command, *extra, '--format', 'jsonl', '--table', table).stdout
        for line in output.splitlines():
            validator(schema.get('items', schema)).validate(json.loads(line))


@pytest.mark.parametrize('change', ['more', 'fewer', 'text', 'version'])
def test_the_schema_finds_drift(change, newest_core):
    report = json.loads(newest_core.memheap('types', '--format', 'json').stdout)
    if change == 'more':
        report['types'][0]['surprise'] = 1
    elif change == 'fewer':
        del report['types'][0]['objects']
    elif change == 'text':
        report['types'][0]['objects'] = 'many'
    else:
        report['schema_version'] = '0.9'
    with pytest.raises(jsonschema.ValidationError):
        validator(commands.schema('types')).validate(report)
