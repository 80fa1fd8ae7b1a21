# SPDX-License-Identifier: MIT
"""What interpreters answer that are asked what they are."""
import functools
import json
import os
import subprocess
import sys

ASK = ('import sys, sysconfig, json, platform;'
       'print(json.dumps([list(sys.version_info[:3]), platform.python_implementation().lower(),'
       'sysconfig.get_config_var("INSTSONAME") if sysconfig.get_config_var("Py_ENABLE_SHARED")'
       ' else None, sysconfig.get_config_var("LIBDIR"), sys.prefix,'
       'bool(sysconfig.get_config_var("Py_GIL_DISABLED")),'
       '"pydebug" if sysconfig.get_config_var("Py_DEBUG") else'
       ' "tracerefs" if sysconfig.get_config_var("Py_TRACE_REFS") else ""]))')


@functools.lru_cache(maxsize=None)
def answers():
    """What all interpreters answered when the build was set up, which takes seconds to ask again;
    without a build nothing is known."""
    try:
        with open(os.environ['MEMHEAP_TEST_ANSWERS']) as file:
            return json.load(file)
    except (KeyError, FileNotFoundError):
        return {}


def ask(command, **more):
    """[version, implementation, libpython or None, its directory, prefix, free-threaded,
    "pydebug", "tracerefs" or ""]"""
    question = ' '.join([*('%s=%s' % pair for pair in more.items()), *command])
    if question not in answers():
        answers()[question] = ask_anew(command, more)
    return answers()[question]


def ask_anew(command, more):
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    environment.update(more)
    said = ''
    try:
        output = subprocess.run(command + ['-c', ASK], capture_output=True, text=True, timeout=60,
                                env=environment)
        said = output.stderr
        return json.loads(output.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as problem:
        print('%s does not answer: %s %s' % (command[-1], problem, said[-500:]), file=sys.stderr)
        return None
