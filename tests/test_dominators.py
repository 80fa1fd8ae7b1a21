# SPDX-License-Identifier: MIT
"""retained: held against networkx, which computes dominators in another way, on a large graph."""
import os

import pytest

import harness
import held

networkx = pytest.importorskip('networkx', reason='networkx is not here (Debian: python3-networkx)')

# tests/bench/dominators takes more, for a million references
NODES = int(os.environ.get('MEMHEAP_TEST_NODES', 27000))
LINKS = NODES // 9

PROGRAM = '''
import os, random
class Node:
    __slots__ = 'left', 'right', 'other'
    def __init__(self):
        self.left = self.right = self.other = None
class Link:
    __slots__ = 'next', 'skip', 'payload'
random.seed(5)
nodes = [Node() for i in range(%d)]
for i, node in enumerate(nodes):
    # a tree, in which one in eight leads elsewhere: up, near by, or anywhere below its own subtree
    if 2 * i + 2 < len(nodes):
        node.left, node.right = nodes[2 * i + 1], nodes[2 * i + 2]
    kind = random.randrange(32)
    if kind == 0:
        node.other = nodes[i // 8]
    elif kind == 1:
        node.other = nodes[min(i + random.randrange(9), len(nodes) - 1)]
    elif kind < 4:
        node.other = nodes[min(4 * i + random.randrange(8), len(nodes) - 1)]
top, inside = nodes[0], nodes[5000]
del node, nodes
links = [Link() for i in range(%d)]
for i, link in enumerate(links):
    link.next = links[(i + 1) %% len(links)]
    link.skip = links[random.randrange(i + 1) if random.randrange(4) else min(i + 20, len(links) - 1)]
    link.payload = bytearray(random.randrange(100))
chain = links[0]
del link, links
os.abort()
''' % (NODES, LINKS)


def some_interpreters():
    """The newest, and the oldest of Python 3: there frames are objects."""
    here = [one for one in harness.interpreters()
            if one.version >= (3, 6) and not one.root and not one.environment and
            not one.free_threaded and not isinstance(one, harness.Emulated)]
    return {str(one): one for one in (max(here, key=lambda one: one.version),
                                      min(here, key=lambda one: one.version))} if here else {}


@pytest.fixture(scope='module', params=some_interpreters())
def core(request):
    core = harness.abort_core(some_interpreters()[request.param], PROGRAM)
    yield core
    core.close()


def dominators(graph):
    """The immediate dominator of each object that is held, None: all roots together."""
    edges = networkx.DiGraph()
    edges.add_edges_from(('roots', root) for root in graph.roots)
    edges.add_edges_from((one, to) for one, refs in graph.refs.items() for to in refs)
    found = {one: None if above == 'roots' else above
             for one, above in networkx.immediate_dominators(edges, 'roots').items()
             if one != 'roots'}
    # the table of interned strings holds only what nothing else does
    for table in graph.interned:
        found[table] = None
        for one in graph.refs[table]:
            found.setdefault(one, table)
    return found


def test_dominators_and_retained_sizes_are_those_of_networkx(core):
    found = held.objects(core)
    graph = held.Graph(core, found)
    above = dominators(graph)
    assert above.keys() == graph.all
    assert {one: row['dominator_address'] for one, row in found.items()} == \
        {one: above.get(one) for one in found}
    sizes = {one: row['occupied_bytes'] for one, row in graph.rows.items()}
    # from the leaves of the tree upwards
    left = dict.fromkeys(found, 0)
    for one in above.values():
        if one:
            left[one] += 1
    todo = [one for one, below in left.items() if not below]
    while todo:
        one = todo.pop()
        to = above.get(one)
        if not to:
            continue
        sizes[to] += sizes[one]
        left[to] -= 1
        if not left[to]:
            todo.append(to)
    assert {one: row['retained_bytes'] for one, row in found.items()} == sizes
    # the graph is no mere tree, and no heap in which the roots hold each object by themselves
    deep = sum(1 for one in above.values() if one and found[one]['type'].endswith('Node'))
    assert deep > NODES // 2
    elsewhere = sum(1 for one, to in above.items() if to and one not in graph.refs[to])
    assert elsewhere > NODES // 50
