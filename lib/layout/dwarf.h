/* SPDX-License-Identifier: MIT */
/* Offsets from DWARF: the only file that knows libdw. */
#pragma once

#include "layout.h"

/*
 * Finds in the debug information of `module` the fields whose structures lie in extension module
 * `extension` (NULL: in the interpreter, where extension modules may be built in too), and stores
 * them in `fields` with source FROM_DWARF. Returns the number of fields found; 0 when there is no
 * DWARF, or none that can be read.
 */
unsigned dwarf_read(const struct module *module, const char *extension,
		    struct field fields[FIELD_COUNT]);
