# SPDX-License-Identifier: MIT
"""Copies of an ELF file that tell less: the same build id, but fewer ways to find a symbol."""
import os
import re
import shutil
import struct
import subprocess


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


def sections(path):
    """{name: (offset, size)} in the file."""
    output = subprocess.run(['readelf', '-SW', path], capture_output=True, text=True).stdout
    rows = re.findall(r'^ *\[ *\d+\] (\S+) +\S+ +\S+ +(\S+) +(\S+)', output, re.M)
    return {name: (int(offset, 16), int(size, 16)) for name, offset, size in rows}


def build_id(path):
    """In hexadecimal; '' where there is none."""
    output = subprocess.run(['readelf', '-nW', path], capture_output=True, text=True).stdout
    found = re.search(r'Build ID: ([0-9a-f]+)', output)
    return found.group(1) if found else ''


def edit(path, change):
    with open(path, 'rb') as file:
        content = bytearray(file.read())
    change(content)
    os.unlink(path)
    with open(path, 'wb') as file:
        file.write(content)
    os.chmod(path, 0o755)


def hide_symbol(path, name):
    """Renames a symbol in .dynstr, so that .dynsym no longer leads to it."""
    offset, size = sections(path)['.dynstr']

    def change(content):
        at = content.index(b'\0' + name.encode() + b'\0', offset, offset + size)
        content[at + 1] ^= 0x20
    edit(path, change)


def move_symbol(path, name, value):
    """Lets the symbol in .dynsym lie."""
    strings, size = sections(path)['.dynstr']
    symbols, symbols_size = sections(path)['.dynsym']

    def change(content):
        string = content.index(b'\0' + name.encode() + b'\0', strings, strings + size) + 1 - strings
        for at in range(symbols, symbols + symbols_size, 24):
            if struct.unpack_from('<I', content, at)[0] == string:
                struct.pack_into('<Q', content, at + 8, value)
    edit(path, change)


def drop_sections(path):
    """No section headers at all, as sstrip leaves a file."""
    def change(content):
        struct.pack_into('<Q', content, 40, 0)              # e_shoff
        struct.pack_into('<HHH', content, 58, 64, 0, 0)     # e_shentsize, e_shnum, e_shstrndx
    edit(path, change)


def bare(path, copy):
    """A stripped copy in which _PyRuntime is no symbol."""
    run('objcopy', '--strip-all', path, copy)
    hide_symbol(copy, '_PyRuntime')
    return copy


def debug_file(path, copy):
    """Its separate debug file: symbols and DWARF, which dwz wants uncompressed."""
    os.makedirs(os.path.dirname(copy), exist_ok=True)
    run('objcopy', '--only-keep-debug', '--decompress-debug-sections', path, copy)
    return copy


def mini_debug(path, copy, symbol):
    """A bare copy whose .gnu_debugdata has one symbol (Fedora's hold those of functions)."""
    run('objcopy', '--only-keep-debug', path, copy + '.debug')
    run('objcopy', '-S', '--keep-symbol=' + symbol, '--remove-section=.comment', copy + '.debug',
        copy + '.mini')
    run('xz', '-f', copy + '.mini')
    bare(path, copy + '.bare')
    run('objcopy', '--add-section', '.gnu_debugdata=' + copy + '.mini.xz', copy + '.bare', copy)
    for suffix in ('.debug', '.mini.xz', '.bare'):
        os.unlink(copy + suffix)
    return copy


def without_build_id(path, copy):
    run('objcopy', '--remove-section=.note.gnu.build-id', path, copy)
    assert not build_id(copy)
    shutil.copymode(path, copy)
    return copy
