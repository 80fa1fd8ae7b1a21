/* SPDX-License-Identifier: MIT */
/* Paths of the target, below the directory that its files are in. */
#pragma once

/*
 * The path on this machine of the target's file `path`, whose root is the directory `root`.
 * Symbolic links below `root` are followed as the target would: absolute ones, and "..", lead to
 * no place outside of it. NULL when out of memory, or when the links have no end.
 */
char *sysroot_path(const char *root, const char *path);
