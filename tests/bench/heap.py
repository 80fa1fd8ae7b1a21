# SPDX-License-Identifier: MIT
"""Fills the heap with about COUNT blocks of everyday objects, then dumps core."""
import os
import sys


class Record:
    def __init__(self, number):
        self.number = number
        self.name = 'record %d' % number
        self.tags = [number, 'tag %d' % (number % 1000)]


class Point:
    __slots__ = 'x', 'y'

    def __init__(self, number):
        self.x = float(number)
        self.y = number + 1000000


# Record: itself, its values or dict, an int, a str, a list with its items, a str; Point: itself, a
# float, an int; then a dict of str: tuple, and sets. About 17 blocks a round.
BLOCKS_PER_ROUND = 17


def fill(count):
    records, points, table, sets = [], [], {}, []
    for number in range(1000, 1000 + count // BLOCKS_PER_ROUND):
        records.append(Record(number))
        points.append(Point(number))
        table['key %d' % number] = (number, b'bytes %d' % number, number * 1.5)
        sets.append({number, -number})
        table[number] = 'value %d' % number
    return records, points, table, sets


if __name__ == '__main__':
    kept = fill(int(sys.argv[1]))
    os.abort()
