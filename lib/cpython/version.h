/* SPDX-License-Identifier: MIT */
/* Which version an interpreter is, before its layout is known. */
#pragma once

#include "memory.h"

struct python_version {
	uint32_t hex;       /* PY_VERSION_HEX */
	const char *found;  /* how it was found */
	bool debug_offsets; /* _PyRuntime begins with a _Py_DebugOffsets */
	bool free_threaded;
	bool debug;             /* configured --with-pydebug */
	bool traces_references; /* configured --with-trace-refs */
};

/*
 * The version of the interpreter in `module` with its _PyRuntime at `runtime`, by, in this order:
 * what _Py_DebugOffsets says, symbol Py_Version, the text that Py_GetVersion() made. False when
 * none is to be had.
 */
bool version_find(const struct image *image, const struct module *module, vaddr runtime,
		  struct python_version *ret);

/* PY_VERSION_HEX as text: "3.13.0rc1". */
void version_format(uint32_t hex, char text[24]);
