# SPDX-License-Identifier: MIT
"""What the README says can be done: commands and options are there, so are the files it names."""
import os
import re
import shlex
import subprocess

import source

README = source.text('README.md')
TEST = 'meson test -C build'
# of CPython's configure
OTHERS = ['--with-pydebug', '--with-trace-refs', '--with-pymalloc-hugepages', '--disable-gil']



def help_of(*words):
    return subprocess.run([os.environ.get('MEMHEAP', source.BUILD + '/cmd/memheap'), 'help', *words],
                          capture_output=True, text=True, check=False).stdout


problems = []
known = help_of('man')
fenced = '\n'.join(re.findall(r'```\n(.*?)```', README, re.S))
commands = re.findall(r'`(memheap [a-z]+ [^`\n]*)`', README)
commands += re.findall(r'(?:^|^\$ |\| )(memheap [a-z]+ [^|\n]*)', fenced, re.M)
for command in commands:
    words = shlex.split(command, comments=True)
    if '*%s*' % words[1] not in known:
        problems.append('no command: ' + command)
    text = help_of(words[1])
    for option in (word for word in words[2:] if word.startswith('--')):
        if not re.search(re.escape(option) + r'\b', text):
            problems.append('%s has no option %s: %s' % (words[1], option, command))
# those of other programs have the program before them
for option in re.findall(r'`(--[a-z-]+)', re.sub(r'```.*?```', '', README, flags=re.S)):
    if '*%s*' % option not in known and option not in OTHERS:
        problems.append('no option ' + option)
for path in re.findall(r'`((?:lib|cmd|formats|fixtures|tests|\.ci)/[\w./]*)`', README) + \
        re.findall(r'\]\(([\w./]+)\)', README):
    if not os.path.exists(os.path.join(source.ROOT, path)):
        problems.append('no file ' + path)
if '\n./fixtures/setup ' not in README or '\n%s ' % TEST not in README:
    problems.append('the two commands to set up are not in README.md')
if not source.text('.ci/run').endswith('\n%s\n' % TEST):
    problems.append('.ci/run does not end in the test command of README.md: ' + TEST)
fixtures = source.text('fixtures/README.md')
for name in os.listdir(os.path.join(source.ROOT, 'fixtures')):
    if name not in ('README.md', 'programs', '__pycache__') and '`%s`' % name not in fixtures:
        problems.append('fixtures/README.md leaves out ' + name)
for name in os.listdir(os.path.join(source.ROOT, 'fixtures/programs')):
    if name.endswith('.py') and '`%s' % name not in fixtures:
        problems.append('fixtures/README.md leaves out programs/' + name)
for folder in os.listdir(os.path.join(source.ROOT, 'lib')):
    if os.path.isdir(os.path.join(source.ROOT, 'lib', folder)) and '`lib/%s`' % folder not in README:
        problems.append('the tour leaves out lib/' + folder)
matrix = subprocess.run([os.path.join(source.ROOT, 'tests/matrix'), 'check'],
                        capture_output=True, text=True)
if matrix.returncode:
    problems.append(matrix.stderr.strip())
source.end(problems, len(commands))
