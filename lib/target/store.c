/* SPDX-License-Identifier: MIT */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "../base/cleanup.h"
#include "target.h"

#define ATTRIBUTE_MAX 4096

/* One of the extended attributes that systemd-coredump gives a core; NULL: it has none. */
static const char *attribute(const char *path, const char *name, struct strings *strings)
{
	char key[64], text[ATTRIBUTE_MAX];
	ssize_t size;

	snprintf(key, sizeof(key), "user.coredump.%s", name);
	size = getxattr(path, key, text, sizeof(text));
	return size > 0 ? strings_add(strings, text, (size_t)size) : NULL;
}

static bool number(const char *text, uint64_t *ret)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return !*end && !errno;
}

/* What the attributes say; they need the permission to read the core. */
static void read_attributes(struct stored_core *core, struct strings *strings)
{
	const char *name = attribute(core->path, "comm", strings);
	uint64_t pid, uid, value;

	if (name)
		core->name = name;
	core->executable = attribute(core->path, "exe", strings);
	if (number(attribute(core->path, "pid", strings), &pid) && pid <= UINT32_MAX &&
	    number(attribute(core->path, "uid", strings), &uid) && uid <= UINT32_MAX) {
		core->pid = (uint32_t)pid;
		core->uid = (uint32_t)uid;
		core->has_process = true;
	}
	if (number(attribute(core->path, "timestamp", strings), &value))
		core->time = value;
	if (number(attribute(core->path, "signal", strings), &value) && value < UINT32_MAX)
		core->signal = (uint32_t)value;
}

static const char *copy(struct strings *strings, const char *text)
{
	return text ? strings_add(strings, text, strlen(text)) : NULL;
}

/* What the notes say of which nothing else told; false when it is no core. */
static bool read_notes(struct stored_core *core, struct strings *strings)
{
	const struct parallel alone = { .workers = 1 };
	const struct target_options options = { .head = true, .parallel = &alone };
	struct memheap_error *error;
	struct target target;
	bool read;

	error = target_open(&target, core->path, &options);
	read = !error;
	if (read) {
		const struct process *process = &target.process;

		python_name_find(&core->python, process);
		core->python.path = copy(strings, core->python.path);
		if (!core->has_process) {
			core->pid = process->pid;
			core->uid = process->uid;
			core->has_process = process->name;
		}
		if (!core->name)
			core->name = copy(strings, process->name);
		if (!core->signal)
			core->signal = process->signal.number;
	}
	memheap_error_destroy(error);
	target_close(&target, &alone);
	return read;
}

/* What the names of its program tell, if its files don't. */
static void guess_python(struct stored_core *core)
{
	if (core->python.path)
		return;
	if (!core->executable || !python_name_parse(&core->python, core->executable)) {
		if (core->name)
			python_name_parse(&core->python, core->name);
	}
}

/* Whether a file of that name is worth a look. */
static bool may_be_core(const char *file)
{
	size_t length = strlen(file);

	return !strcmp(file, "core") || !strncmp(file, "core.", 5) ||
	       (length > 5 && !strcmp(file + length - 5, ".core"));
}

/* Adds the file if it is a core, or called like one of systemd-coredump; false: out of memory. */
static bool add_file(struct store *store, const char *file, bool notes)
{
	_cleanup_free_ char *path = NULL;
	struct stored_core core = { 0 }, *added;
	struct stat status;
	bool named, known = true;

	if (asprintf(&path, "%s/%s", store->directory, file) < 0) {
		path = NULL;
		return false;
	}
	if (!may_be_core(file) || stat(path, &status) || !S_ISREG(status.st_mode))
		return true;
	core.path = path;
	core.time = (uint64_t)status.st_mtim.tv_sec * 1000000;
	core.file_bytes = (uint64_t)status.st_size;
	named = store_parse_name(&core, file, &store->strings);
	core.unreadable = access(path, R_OK) && (errno == EACCES || errno == EPERM);
	if (!core.unreadable)
		read_attributes(&core, &store->strings);
	if (!core.unreadable && (notes || !named))
		known = read_notes(&core, &store->strings);
	guess_python(&core);
	if (!named && !known)
		return true;
	store->pythons += core.python.path != NULL;
	store->unreadable += core.unreadable;
	added = vector_push(&store->cores);
	if (!added)
		return false;
	*added = core;
	take(path);
	return true;
}

/* Newest first; of the same moment, by path. */
static int compare_cores(const void *a, const void *b)
{
	const struct stored_core *left = a, *right = b;

	if (left->time != right->time)
		return left->time > right->time ? -1 : 1;
	return strcmp(left->path, right->path);
}

/* Says where the kernel puts cores here. */
static struct memheap_error *explain(struct memheap_error *error)
{
	char pattern[256] = "";
	_cleanup_close_ int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, pattern, sizeof(pattern) - 1);

	if (size > 0)
		pattern[strcspn(pattern, "\n")] = '\0';
	return error_hint(error,
			  "the kernel's pattern for cores is '%s' here (kernel.core_pattern): give "
			  "the directory where they are with --directory DIR",
			  pattern);
}

struct memheap_error *store_read(struct store *store, const char *directory, bool notes)
{
	const struct dirent *entry;
	bool added = true;
	DIR *list;

	*store = (struct store){ .directory = directory ? directory : STORE_DIRECTORY };
	list = opendir(store->directory);
	if (!list)
		return explain(error_create_errno("cannot list the cores in %s", store->directory));
	while (added && (entry = readdir(list)))
		added = add_file(store, entry->d_name, notes);
	closedir(list);
	if (store->cores.count)
		qsort(store->cores.items, store->cores.count, sizeof(*store->cores.items),
		      compare_cores);
	return added ? NULL : &error_no_memory;
}

void store_deinit(struct store *store)
{
	for (size_t i = 0; i < store->cores.count; i++)
		free(store->cores.items[i].path);
	free(store->cores.items);
	strings_deinit(&store->strings);
	*store = (struct store){ 0 };
}
