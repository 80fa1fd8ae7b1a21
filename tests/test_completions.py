# SPDX-License-Identifier: MIT
"""Completions, driven in the shells that are there."""
import os
import shutil
import subprocess

import pytest

import harness
from test_help import COMMANDS, OPTIONS, SHELLS, need, printed


@pytest.fixture(scope='module')
def script(tmp_path_factory):
    """Paths of the completions, by shell."""
    directory = tmp_path_factory.mktemp('completions')
    for shell in SHELLS:
        harness.memheap('completion', shell, '-o', str(directory / shell))
    (directory / 'core.1').write_text('')
    return {shell: str(directory / shell) for shell in SHELLS}


def bash(script, *words):
    """What bash offers for the last of the words."""
    drive = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _memheap;'
             'printf "%s\\n" "${COMPREPLY[@]}"')
    output = subprocess.run(['bash', '--norc', '-c', drive, script['bash'], 'memheap', *words],
                            cwd=os.path.dirname(script['bash']), capture_output=True, text=True,
                            check=True)
    assert output.stderr == ''
    return output.stdout.split()


def fish(script, line):
    """What fish offers at the end of a line."""
    drive = 'source $argv[1]; complete -C $argv[2]'
    output = subprocess.run(['fish', '--no-config', '-c', drive, script['fish'], line],
                            cwd=os.path.dirname(script['fish']), capture_output=True, text=True,
                            check=True, env=dict(os.environ, HOME=os.path.dirname(script['fish'])))
    return [offer.split('\t')[0] for offer in output.stdout.splitlines()]


def test_bash_completes_commands(script):
    assert set(COMMANDS) < set(bash(script, ''))
    assert bash(script, 'ty') == ['types']
    assert bash(script, 'obj') == ['objects', 'object']


def test_bash_completes_options(script):
    assert bash(script, 'types', '--f') == ['--format', '--force-modules']
    assert '--min-size' in bash(script, 'objects', 'core', '--')
    assert '--min-size' not in bash(script, 'types', 'core', '--')


def test_bash_completes_what_options_take(script):
    assert bash(script, 'types', '--format', '') == ['table', 'json', 'jsonl', 'csv']
    assert bash(script, 'types', '-f', 'js') == ['json', 'jsonl']
    assert bash(script, 'types', '--layout', 'd') == ['dwarf']
    assert bash(script, 'types', '--limit', '') == []
    assert 'core.1' in bash(script, 'types', '--exe', '')


def test_bash_completes_arguments(script):
    assert bash(script, 'types', 'co') == ['core.1']
    assert bash(script, 'completion', '') == SHELLS
    assert bash(script, 'help', 'ar') == ['arenas']


@pytest.mark.parametrize('shell, check', [('bash', ['bash', '-n']), ('zsh', ['zsh', '-n']),
                                          ('fish', ['fish', '--no-execute'])])
def test_shell_understands_its_completions(shell, check, script):
    need(shell)
    result = subprocess.run([*check, script[shell]], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, '')


def test_fish_completes(script):
    need('fish')
    assert set(COMMANDS) <= set(fish(script, 'memheap '))
    assert fish(script, 'memheap types --fo') == ['--force-modules', '--format']
    assert fish(script, 'memheap types --format j') == ['json', 'jsonl']
    assert fish(script, 'memheap gc --min') == []


def test_zsh_loads_its_completions(script):
    need('zsh')
    os.makedirs(os.path.join(os.path.dirname(script['zsh']), 'functions'), exist_ok=True)
    shutil.copy(script['zsh'], os.path.join(os.path.dirname(script['zsh']), 'functions/_memheap'))
    drive = ('fpath=($1 $fpath); autoload -Uz compinit; compinit -u -D;'
             'print ${_comps[memheap]}; autoload +X _memheap && print loaded')
    result = subprocess.run(['zsh', '-f', '-c', drive, 'zsh',
                             os.path.join(os.path.dirname(script['zsh']), 'functions')],
                            capture_output=True, text=True, check=True)
    assert result.stdout.split() == ['_memheap', 'loaded']


LETTERS = [(letter, name) for name, letter in OPTIONS if letter]


@pytest.mark.parametrize('letter, name', LETTERS)
def test_every_letter_is_completed_like_its_option(letter, name, script):
    assert bash(script, 'types', '-' + letter, '') == bash(script, 'types', '--' + name, '')


def test_letters_that_take_something_are_known(script):
    """Or the test above would compare the completion of a core with itself."""
    assert {('f', 'format'), ('o', 'output')} <= set(LETTERS)
    assert 'core.1' not in bash(script, 'types', '-f', '')
