# SPDX-License-Identifier: MIT
"""What holds what, computed from the references that `objects --refs` tells."""
import harness


def lines(core, *arguments):
    return list(harness.json_lines(core.memheap(*arguments, '--format', 'jsonl').stdout))


def objects(core):
    """What is told of all objects: {address: row}."""
    rows = lines(core, 'retained', '--table', 'objects', '--limit', '0')
    return {row['address']: row for row in rows}


class Graph:
    """What keeps what alive, as `objects --refs` tells it."""

    def __init__(self, core, found):
        """`found`: those objects(), for what are roots."""
        self.rows = {row['address']: row for row in lines(core, 'objects', '--refs')}
        self.refs = {address: set(row['refs'] + row['extra_refs'] + row['conservative_refs'])
                     for address, row in self.rows.items()}
        self.roots = [address for address, row in found.items() if row['root']]
        # a dict of interned strings: nothing refers to it, and each str is its own value
        referred = set().union(*self.refs.values())
        self.interned = [
            root for root in self.roots if root not in referred and
            found[root]['root'] not in ('modules', 'interpreter', 'frame', 'thread') and
            self.rows[root]['type'] == 'dict' and len(self.refs[root]) > 500 and
            {self.rows[one]['type'] for one in self.refs[root]} == {'str'}]
        self.roots = [root for root in self.roots if root not in self.interned]
        self.held = self.reach(())
        self.all = self.held.union(self.interned, *(self.refs[one] for one in self.interned))

    def reach(self, without):
        """What the roots lead to, not through those."""
        new = set(self.roots) - set(without)
        reached = new.union(without)
        while new:
            new = set().union(*map(self.refs.__getitem__, new)) - reached
            reached |= new
        return reached.difference(without)

    def retained(self, objects):
        return sum(self.rows[one]['occupied_bytes'] for one in self.held - self.reach(objects))
