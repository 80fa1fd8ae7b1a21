# SPDX-License-Identifier: MIT
"""Every option and command is in the help, the man page and the completions."""
import os
import re
import shutil
import subprocess

import pytest

import harness

ROOT = os.path.dirname(harness.FIXTURES)
SHELLS = ['bash', 'zsh', 'fish']


def from_table(path, pattern):
    """What the tables in the source of the program say."""
    with open(os.path.join(ROOT, 'cmd', path), encoding='utf-8') as file:
        found = re.findall(pattern, file.read())
    assert len(found) > 5
    return found


OPTIONS = from_table('options.c', r'\{ OPTION_\w+, "([\w-]+)", (?:\'(\w)\'|0),')
COMMANDS = from_table('commands.c', r'\.name = "(\w+)"')


def printed(*arguments):
    return harness.memheap(*arguments).stdout


def need(program):
    if not shutil.which(program):
        pytest.skip(program + ' is not installed')


def helps():
    return {command: printed(command, '--help') for command in COMMANDS}


@pytest.mark.parametrize('name, letter', OPTIONS)
def test_option_is_everywhere(name, letter):
    spelling = '-%s, --%s' % (letter, name) if letter else '--' + name
    assert any(re.search(r'^ +%s\b' % re.escape(spelling), text, re.M) for text in helps().values())
    assert '*--%s*' % name in printed('help', 'man')
    assert '--%s ' % name in printed('completion', 'bash')
    assert re.search(r'--%s[\[}]' % name, printed('completion', 'zsh'))
    assert '-l %s ' % name in printed('completion', 'fish')


@pytest.mark.parametrize('command', COMMANDS)
def test_command_is_everywhere(command):
    assert re.search(r'^  %s +\S' % command, printed('--help'), re.M)
    assert '*%s*' % command in printed('help', 'man')
    for shell in SHELLS:
        assert re.search(r'\b%s\b' % command, printed('completion', shell))


@pytest.mark.parametrize('command', COMMANDS)
def test_help_of_command(command):
    text = printed('help', command)
    assert text == printed(command, '--help') == printed(command, '-h')
    assert text.startswith('Usage: memheap %s [OPTION]...' % command)
    assert max(map(len, text.splitlines())) <= 90


def test_help_names_just_the_options_that_apply():
    """Those of the help are taken, others are refused."""
    for command, text in helps().items():
        for name, _ in OPTIONS:
            result = harness.memheap(command, '--' + name, check=False)
            unknown = "unknown option '--%s'" % name in result.stderr
            assert unknown == (re.search(r'--%s\b(?!-)' % name, text.split('Options:')[1]
                                         .split('Examples:')[0]) is None), (command, name)


def test_help_is_short():
    assert len(printed('--help').splitlines()) <= 36
    assert printed('help') == printed('--help') == printed('-h')


@pytest.fixture(scope='module')
def man_page(tmp_path_factory):
    need('scdoc')
    path = tmp_path_factory.mktemp('man') / 'memheap.1'
    page = subprocess.run(['scdoc'], input=printed('help', 'man'), capture_output=True, text=True,
                          check=True)
    assert page.stderr == ''
    path.write_text(page.stdout)
    return str(path)


def test_man_page_renders(man_page):
    need('man')
    result = subprocess.run(['man', '--warnings', '-l', man_page], capture_output=True, text=True,
                            env=dict(os.environ, LC_ALL='C.UTF-8', MANWIDTH='80', MAN_KEEP_FORMATTING=''),
                            check=False)
    assert (result.returncode, result.stderr) == (0, '')
    for text in ['EXIT STATUS', '130', *('--' + name for name, _ in OPTIONS)]:
        assert text in re.sub('.\b', '', result.stdout)


def test_man_page_is_clean(man_page):
    need('mandoc')
    result = subprocess.run(['mandoc', '-T', 'lint', '-W', 'warning', man_page],
                            capture_output=True, text=True, check=False)
    # scdoc puts paragraphs everywhere
    assert [line for line in result.stdout.splitlines() if ' paragraph macro: ' not in line] == []


def test_man_page_names_every_exit_code():
    codes = re.findall(r'^\*(\d+)\*$', printed('help', 'man'), re.M)
    assert codes == ['0', '1', '2', '3', '4', '5', '130']
