/* SPDX-License-Identifier: MIT */
/*
 * Images of systems are full of absolute links: /lib64 of merged /usr, /etc/alternatives. The
 * kernel would follow them to the files of this machine.
 */
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "sysroot.h"

#define LINKS_MAX 40 /* as Linux: include/linux/namei.h, MAXSYMLINKS */

/* A path being resolved. */
struct resolution {
	char *done;   /* from the root on, without links; its components begin with a slash */
	char *to_do;  /* what follows */
	size_t links; /* that were met */
};

/* Replaces `*text` by `made` unless that is NULL; false then. */
static bool replace(char **text, char *made)
{
	if (!made)
		return false;
	free(*text);
	*text = made;
	return true;
}

static char *join(const char *a, const char *b, const char *c)
{
	char *joined;

	return asprintf(&joined, "%s%s%s", a, b, c) < 0 ? NULL : joined;
}

/* Follows the link that leads on from `done`. */
static bool follow(struct resolution *resolution, const char *link)
{
	if (++resolution->links > LINKS_MAX)
		return false;
	if (*link == '/')
		*resolution->done = '\0';
	return replace(&resolution->to_do, join(link, "/", resolution->to_do));
}

/* Takes the first component off `to_do` and adds it to `done`; false when out of memory, or when
 * there are too many links. */
static bool step(struct resolution *resolution, const char *root)
{
	const char *begin = resolution->to_do + strspn(resolution->to_do, "/");
	size_t length = strcspn(begin, "/");
	char link[PATH_MAX];
	ssize_t size;

	_cleanup_free_ char *name = strndup(begin, length);
	if (!name || !replace(&resolution->to_do, strdup(begin + length)))
		return false;
	if (!*name || !strcmp(name, "."))
		return true;
	if (!strcmp(name, "..")) {
		char *slash = strrchr(resolution->done, '/');

		if (slash)
			*slash = '\0';
		return true;
	}
	_cleanup_free_ char *next = join(resolution->done, "/", name);
	_cleanup_free_ char *here = next ? join(root, next, "") : NULL;
	if (!here)
		return false;
	size = readlink(here, link, sizeof(link) - 1);
	if (size < 0)
		return replace(&resolution->done, take(next));
	link[size] = '\0';
	return follow(resolution, link);
}

char *sysroot_path(const char *root, const char *path)
{
	struct resolution resolution = { .done = strdup(""), .to_do = strdup(path) };
	bool good = resolution.done && resolution.to_do;
	char *found = NULL;

	while (good && resolution.to_do[strspn(resolution.to_do, "/")])
		good = step(&resolution, root);
	if (good)
		found = join(root, resolution.done, "");
	free(resolution.done);
	free(resolution.to_do);
	return found;
}
