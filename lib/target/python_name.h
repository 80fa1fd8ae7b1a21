/* SPDX-License-Identifier: MIT */
/* What a process's files tell by their names of the Python in it: cheap, and no proof. */
#pragma once

#include "process.h"

struct python_name {
	const char *path; /* the file that is called so; NULL: no Python, as far as names tell */
	char version[16]; /* "3.13", "3.13t"; empty: not known */
};

/* Looks at all mapped files; the one that tells most wins. */
void python_name_find(struct python_name *ret, const struct process *process);

/* Whether a file of that name is an interpreter, or its library; the version goes to
 * ret->version. */
bool python_name_parse(struct python_name *ret, const char *path);
