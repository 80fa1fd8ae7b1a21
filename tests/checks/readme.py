# SPDX-License-Identifier: MIT
"""What the README says can be done: commands and options are there, so are the files it names."""
import os
import re
import shlex
import subprocess

import source

README = source.text('README.md')
TEST = 'meson test -C build'

problems = []
known = subprocess.run([os.environ.get('MEMHEAP', source.BUILD + '/cmd/memheap'), 'help', 'man'],
                       capture_output=True, text=True, check=True).stdout
commands = re.findall(r'(?:^\$ |`)(memheap [a-z]+ [^`\n]*)', README, re.M)
for command in commands:
    words = shlex.split(command)
    if '*%s*' % words[1] not in known:
        problems.append('no command: ' + command)
    for option in (word for word in words[2:] if word.startswith('--')):
        if '*%s*' % option not in known:
            problems.append('no option %s: %s' % (option, command))
for path in re.findall(r'`((?:lib|cmd|formats|fixtures|tests|\.ci)/[\w./]*)`', README) + \
        re.findall(r'\]\(([\w./]+)\)', README):
    if not os.path.exists(os.path.join(source.ROOT, path)):
        problems.append('no file ' + path)
if '\n./fixtures/setup ' not in README or '\n%s ' % TEST not in README:
    problems.append('the two commands to set up are not in README.md')
if not source.text('.ci/run').endswith('\n%s\n' % TEST):
    problems.append('.ci/run does not end in the test command of README.md: ' + TEST)
for folder in os.listdir(os.path.join(source.ROOT, 'lib')):
    if os.path.isdir(os.path.join(source.ROOT, 'lib', folder)) and '`lib/%s`' % folder not in README:
        problems.append('the tour leaves out lib/' + folder)
source.end(problems, len(commands))
