# SPDX-License-Identifier: MIT
"""path --dot: the drawing is the tree that the other formats tell, and graphviz reads it so."""
import collections
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

import harness

PROGRAM = r'''
import os
class Target: pass
class Holder: pass
Odd = type('Odd "&lt;\\N\\', (Target,), {})
holder = Holder()
holder.target = Target()
holder.table = {'quo"te': Target(), 'end\\': Target(), '\\N\\G\\l': Target(), '&lt;&#34;': Target(),
                'line\nline': Target(), '{r|<e>}': Target(), '\u00fc\u4e2d': Target(), 'odd': Odd()}
holder.many = [Target() for i in range(60)]
def function():
    local = Target()
    os.abort()
function()
'''
EVERY = ['--type', '__main__.*', '--limit', '0']
QUERIES = {'type': EVERY, 'values': EVERY + ['--values'],
           'all roots': ['--type', '*', '--limit', '0'],
           'limit': ['--type', '__main__.*', '--limit', '7'],
           'nothing': ['--type', 'no such type', '--limit', '0'],
           'address': []}


@pytest.fixture(scope='module')
def core(newest):
    core = harness.abort_core(newest, PROGRAM)
    yield core
    core.close()


@pytest.fixture
def query(core, how):
    if how != 'address':
        return QUERIES[how]
    line = core.memheap('objects', '--type', '*Odd*', '--format', 'jsonl').stdout
    return [json.loads(line)['address']]


def rows_of(core, query):
    lines = core.memheap('path', *query, '--format', 'jsonl').stdout.split('\n')[:-1]
    return [json.loads(line) for line in lines]


def shown(quoted):
    """The lines of a label as graphviz shows the inside of a quoted string."""
    known = {'\\"': '"', '\\\\': '\\', '\\n': '\n', '&amp;': '&'}
    pieces = re.findall(r'\\.|&\w*;?|[^\\&]', quoted)
    return ''.join(known[one] if one[0] in '\\&' else one for one in pieces).split('\n')


STRING = r'"((?:[^"\\\n]|\\.)*)"'
KIND = re.compile(r'"([\w ]+)" \[shape=box\];')
NODE = re.compile(r'(n\d+) \[label=%s\];' % STRING)
EDGE = re.compile(r'(?:(n\d+)|"([\w ]+)") -> (n\d+) \[label=%s\];' % STRING)
LABEL = re.compile('label=%s;' % STRING)


class Drawing:
    """A graph in the part of graphviz's language that memheap needs."""

    def __init__(self, text):
        assert text.startswith('digraph path {\n\trankdir=LR;\n\t') and text.endswith('\n}\n')
        self.kinds, self.nodes, self.edges = [], {}, []
        *lines, last = [line[1:] for line in text.split('\n')[2:-2]]
        self.label = shown(LABEL.fullmatch(last)[1])
        for line in lines:
            kind, node, edge = (one.fullmatch(line) for one in (KIND, NODE, EDGE))
            if kind:
                self.kinds.append(kind[1])
            elif node:
                assert node[1] not in self.nodes
                self.nodes[node[1]] = shown(node[2])
            else:
                self.edges.append((edge[1], edge[2], edge[3], shown(edge[4])))

    def texts(self):
        """All that is to be seen."""
        yield from self.kinds
        yield from self.label
        for node in self.nodes.values():
            yield from node
        for *_, label in self.edges:
            yield from label


def edges_of(rows):
    """(the node above or the kind of root, the node, the name): nodes as their labels."""
    above = []
    for row in rows:
        node = (row['type'], row['address'],
                '%s object%s' % (format(row['objects'], ','), 's' * (row['objects'] != 1)))
        del above[row['depth']:]
        yield above[-1] if above else row['root'], node, (row['name'],)
        above.append(node)


@pytest.mark.parametrize('how', QUERIES)
def test_the_drawing_is_the_tree(core, query, how):
    rows = rows_of(core, query)
    drawing = Drawing(core.memheap('path', *query, '--dot').stdout)
    nodes = {name: tuple(label) for name, label in drawing.nodes.items()}
    # a KeyError: an edge to a node that is not declared
    assert collections.Counter((nodes[above] if above else kind, nodes[node], tuple(label))
                               for above, kind, node, label in drawing.edges) == \
        collections.Counter(edges_of(rows))
    assert len(nodes) == len(rows) and (rows or how == 'nothing')
    kinds = {kind for _, kind, _, _ in drawing.edges if kind}
    assert sorted(drawing.kinds) == sorted(kinds)
    assert len(kinds) > 3 or how != 'all roots'
    more = core.report('path', *query[:2])['path'][len(rows):]
    assert drawing.label == ['What keeps it alive'] + \
        (['%s more are not drawn' % format(len(more), ',')] if more else [])
    assert bool(more) == (how == 'limit')


def test_without_a_limit_fifty_are_drawn(core):
    assert len(Drawing(core.memheap('path', *EVERY[:2], '--dot').stdout).nodes) == 50


def test_values_are_drawn_on_request_only(core):
    assert 'quo' not in core.memheap('path', *EVERY, '--dot').stdout
    names = {name for *_, (name,) in Drawing(
        core.memheap('path', *QUERIES['values'], '--dot').stdout).edges}
    assert {'["quo"te"]', '["end\\"]', '["\\N\\G\\l"]', '["&lt;&#34;"]', '["{r|<e>}"]',
            '["\u00fc\u4e2d"]'} <= names


def test_a_file_gets_the_same(core, tmp_path):
    path = tmp_path / 'path.dot'
    assert core.memheap('path', *EVERY, '--dot', '-o', str(path)).stdout == ''
    assert path.read_text(encoding='utf-8') == core.memheap('path', *EVERY, '--dot').stdout


@pytest.mark.parametrize('how', ['values', 'limit', 'nothing', 'address'])
def test_graphviz_shows_each_text(core, query, how):
    if not shutil.which('dot'):
        pytest.skip('graphviz is not here (Debian package graphviz)')
    text = core.memheap('path', *query, '--dot').stdout
    made = subprocess.run(['dot', '-Tsvg'], input=text, capture_output=True, encoding='utf-8',
                          check=True)
    # without a font it tells that it guesses at sizes
    assert not re.search('[Ee]rror|syntax|unknown|not found', made.stderr), made.stderr
    drawn = xml.etree.ElementTree.fromstring(made.stdout)
    texts = [''.join(one.itertext()).replace('\u00a0', ' ')
             for one in drawn.iter('{http://www.w3.org/2000/svg}text')]
    assert sorted(texts) == sorted(Drawing(text).texts())


@pytest.mark.parametrize('more, message', [
    (['--format', 'json'], '--dot and --format json do not go together'),
    (['--format', 'jsonl'], '--dot and --format jsonl do not go together'),
    (['--format', 'csv'], '--dot and --format csv do not go together'),
    (['--sort', 'objects'], '--dot and --sort do not go together'),
    (['--table', 'gaps'], '--table goes with --format csv or jsonl'),
    (['--bytes'], '--bytes goes with --format table')])
def test_what_does_not_go_together_is_refused(more, message):
    result = harness.memheap('path', 'core', '--type', '*', '--dot', *more, check=False)
    assert (result.code, result.stdout) == (2, '')
    assert message in result.stderr and result.stderr.count('\n') == 1


def test_other_commands_draw_nothing():
    result = harness.memheap('retained', 'core', '--dot', check=False)
    assert result.code == 2 and "unknown option '--dot'" in result.stderr
