/* SPDX-License-Identifier: MIT */
#include "python_name.h"

#include <ctype.h>
#include <stdio.h>

/* "3.13", "3.13t" or nothing, from where a name goes on behind "python". */
static void read_version(struct python_name *name, const char *text)
{
	int major, minor, length = 0;

	*name->version = '\0';
	if (sscanf(text, "%1d.%2d%n", &major, &minor, &length) == 2 && length)
		snprintf(name->version, sizeof(name->version), "%d.%d%s", major, minor,
			 text[length] == 't' ? "t" : "");
}

/* The tag of an extension module: "x.cpython-313t-x86_64-linux-gnu.so" (PEP 3149). */
static bool read_tag(struct python_name *name, const char *file)
{
	const char *tag = strstr(file, ".cpython-");
	int major, minor, length = 0;

	if (!tag || sscanf(tag, ".cpython-%1d%2d%n", &major, &minor, &length) != 2 || !length)
		return false;
	snprintf(name->version, sizeof(name->version), "%d.%d%s", major, minor,
		 tag[length] == 't' ? "t" : "");
	return true;
}

bool python_name_parse(struct python_name *ret, const char *path)
{
	const char *file = strrchr(path, '/'), *rest;

	file = file ? file + 1 : path;
	rest = file + (strncmp(file, "lib", 3) ? 0 : 3);
	if (!strncmp(rest, "python", 6) && (!rest[6] || isdigit((unsigned char)rest[6])))
		read_version(ret, rest + 6);
	else if (!read_tag(ret, file))
		return false;
	ret->path = path;
	return true;
}

void python_name_find(struct python_name *ret, const struct process *process)
{
	*ret = (struct python_name){ 0 };
	for (size_t i = 0; i < process->mappings.count; i++) {
		struct python_name name;

		if (python_name_parse(&name, process->mappings.items[i].path) &&
		    (!ret->path || (*name.version && !*ret->version)))
			*ret = name;
	}
}
