# SPDX-License-Identifier: MIT
"""References: those of every object equal what gc.get_referents() says of it."""
import collections

import pytest

import harness

# Types that differ, in how many objects at most, and why.
DIFFERENT = {
    # How the state of a C module is laid out only the module knows. All its words that are the
    # address of an object are taken for visited, if it has a tp_traverse; of some modules that
    # leaves out a few str and int. And what the state points to is not searched: the callbacks of
    # atexit (up to 3.9), the exceptions of _decimal (3.13).
    'module': 12,
    # _socket's capsule visits what its C structure holds (3.13)
    'PyCapsule': 1,
    # what a type shown by its address visits nobody knows: only without files
    'unnamed': 12,
    # likewise maxsize
    'functools._lru_cache_wrapper': 13,
}
PROGRAMS = ['zoo', 'threads', 'interpreters', 'web django']
KINDS = ['refs', 'weak_refs', 'extra_refs', 'conservative_refs']


@pytest.fixture(params=PROGRAMS)
def core(request, cores, interpreter):
    if request.param != 'zoo' and not ('pyenv' in interpreter.name and
                                       interpreter.name[-1].isdigit()):
        pytest.skip('%s: zoo is enough, how references are found is the same' % interpreter)
    return cores.get(interpreter, *request.param.split())


def test_references_equal_get_referents(core):
    truth = dict(core.referents())
    types, wrong, targets, counts = {}, {}, set(), collections.Counter()
    text = core.memheap('objects', '--refs', '--format', 'jsonl').stdout
    for row in harness.json_lines(text):
        address, mine = row['address'], row['refs']
        # without its name there is no decoder for it; test_exact.py counts such types
        types[address] = 'unnamed' if harness.is_unnamed(row) else row['type']
        right = truth.pop(address, mine)
        if sorted(mine) != sorted(right):
            mine, right = collections.Counter(mine), collections.Counter(right)
            wrong[address] = right - mine, mine - right
        for key in KINDS:
            targets.update(row[key])
            counts[key] += len(row[key])
    assert not truth        # each object of the truth was there
    different = collections.Counter(types[address] for address in wrong)
    examples = ['%s %s: without %s, but with %s' %
                (types[address], address, *([types.get(one) for one in some] for some in pair))
                for address, pair in wrong.items() if types[address] not in DIFFERENT]
    assert not examples, '%d: %s' % (len(examples), '; '.join(examples[:10]))
    assert all(count <= DIFFERENT[kind] for kind, count in different.items()), different
    assert targets <= types.keys()      # each is an object
    # scanned word by word are only C types that references.def does not have, and their buffers
    assert counts['conservative_refs'] < 0.0005 * counts['refs']
