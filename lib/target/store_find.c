/* SPDX-License-Identifier: MIT */
/* Which of the cores that are kept is meant. */
#include <stdio.h>
#include <stdlib.h>

#include "../base/cleanup.h"
#include "store.h"

#define NAMED_MAX 5 /* of several that fit, in a message */

static bool is_called(const char *path, const char *which)
{
	const char *file = path ? strrchr(path, '/') : NULL;

	return path && (!strcmp(path, which) || (file && !strcmp(file + 1, which)));
}

/* `pid` is 0 when `which` is a name. */
static bool is_meant(const struct stored_core *core, const char *which, uint64_t pid)
{
	if (pid)
		return core->has_process && core->pid == pid;
	return (core->name && !strcmp(core->name, which)) || is_called(core->executable, which) ||
	       is_called(core->path, which);
}

static struct memheap_error *none_found(const struct store *store, const char *which, uint64_t pid)
{
	const char *kind = pid ? "process " : "";

	if (!strcmp(which, "last"))
		return error_hint(error_create(MEMHEAP_FAILED,
					       "there is no core of a Python in %s: %zu cores are "
					       "there, %zu of them may not be read",
					       store->directory, store->cores.count,
					       store->unreadable),
				  "memheap list --all --directory %s shows them", store->directory);
	return error_hint(error_create(MEMHEAP_FAILED,
				       "there is no core of %s%s in %s: %zu cores are there", kind,
				       which, store->directory, store->cores.count),
			  "memheap list --all --directory %s shows them; names of processes, files "
			  "and their programs were compared",
			  store->directory);
}

static struct memheap_error *several_found(const struct store *store, const char *which,
					   uint64_t pid)
{
	char list[1024] = "", time[STORE_TIME_MAX];
	size_t count = 0, used = 0;

	for (size_t i = 0; i < store->cores.count; i++) {
		const struct stored_core *core = &store->cores.items[i];
		const char *when = store_format_time(core->time, time);

		if (!is_meant(core, which, pid) || count++ >= NAMED_MAX)
			continue;
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%sprocess %u of %s",
					 count > 1 ? ", " : "", core->pid, when ? when : "?");
	}
	return error_hint(error_create(MEMHEAP_USAGE, "there are %zu cores of %s in %s: %s%s",
				       count, which, store->directory, list,
				       count > NAMED_MAX ? ", …" : ""),
			  "give a process id, or the path of one as CORE (memheap list --directory "
			  "%s)",
			  store->directory);
}

/* The path of that core, taken out of the store. */
static char *take_path(struct store *store, const struct stored_core *core)
{
	return take(store->cores.items[core - store->cores.items].path);
}

static void cleanup_store(struct store *store)
{
	store_deinit(store);
}

struct memheap_error *memheap_coredump_find(const char *directory, const char *which, char **ret)
{
	bool last = !strcmp(which, "last");
	size_t length = strlen(which), digits = strspn(which, "0123456789");
	uint64_t pid = length && digits == length ? strtoull(which, NULL, 10) : 0;
	const struct stored_core *found = NULL;
	struct memheap_error *error;

	_cleanup_(cleanup_store) struct store store;
	error = store_read(&store, directory, last);
	if (error)
		return error;
	for (size_t i = 0; i < store.cores.count; i++) {
		const struct stored_core *core = &store.cores.items[i];

		if (last ? !core->python.path : !is_meant(core, which, pid))
			continue;
		if (found)
			return several_found(&store, which, pid);
		found = core;
		if (last)
			break;
	}
	if (!found)
		return none_found(&store, which, pid);
	*ret = take_path(&store, found);
	return NULL;
}
