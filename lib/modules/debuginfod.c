/* SPDX-License-Identifier: MIT */
/*
 * libdebuginfod is loaded when a server is to be asked and not before, as libdw does it: it brings
 * curl and thirty more libraries, which most runs have no use for, and it is not needed to build.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "debuginfod.h"

#define LIBRARY "libdebuginfod.so.1"

/* <elfutils/debuginfod.h>, elfutils 0.178 and later */
typedef struct debuginfod_client debuginfod_client;
typedef debuginfod_client *begin_fn(void);
typedef void end_fn(debuginfod_client *client);
typedef int find_fn(debuginfod_client *client, const unsigned char *id, int size, char **path);
typedef int progress_fn(debuginfod_client *client, long done, long total);
typedef void set_progress_fn(debuginfod_client *client, progress_fn *progress);
typedef void set_data_fn(debuginfod_client *client, void *data);
typedef void *get_data_fn(debuginfod_client *client);

static struct {
	void *library;
	begin_fn *begin;
	end_fn *end;
	find_fn *find[2]; /* by kind */
	set_progress_fn *set_progress;
	set_data_fn *set_data;
	get_data_fn *get_data;
} api;

static const struct {
	const char *name;
	void *function;
} functions[] = {
	{ "debuginfod_begin", &api.begin },
	{ "debuginfod_end", &api.end },
	{ "debuginfod_find_executable", &api.find[DEBUGINFOD_EXECUTABLE] },
	{ "debuginfod_find_debuginfo", &api.find[DEBUGINFOD_DEBUG] },
	{ "debuginfod_set_progressfn", &api.set_progress },
	{ "debuginfod_set_user_data", &api.set_data },
	{ "debuginfod_get_user_data", &api.get_data },
};

/* Loads the library; it stays, as curl may have threads. */
static bool load_library(void)
{
	if (!api.library)
		api.library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; api.library && i < ARRAY_SIZE(functions); i++) {
		void *found = dlsym(api.library, functions[i].name);

		if (!found)
			return false;
		memcpy(functions[i].function, &found, sizeof(found));
	}
	return api.library;
}

/* Called by the library now and then; not 0 ends the download. */
static int tell(debuginfod_client *client, long done, long total)
{
	struct debuginfod *debuginfod = api.get_data(client);
	struct memheap_progress *progress = &debuginfod->progress;

	if (progress->download && !progress->download(progress->closure, debuginfod->wanted,
						      (uint64_t)done, (uint64_t)total)) {
		debuginfod->stopped = true;
		return 1;
	}
	return 0;
}

static void begin(struct debuginfod *debuginfod)
{
	const char *urls = getenv("DEBUGINFOD_URLS");

	debuginfod->tried = true;
	if (!urls || !urls[strspn(urls, " ")])
		return;
	debuginfod->client = load_library() ? api.begin() : NULL;
	if (!debuginfod->client) {
		notice_add(debuginfod->notices, NOTICE_DEBUGINFOD,
			   "no debuginfod server was asked: " LIBRARY " cannot be loaded");
		notice_hint(debuginfod->notices, "install it (Debian: libdebuginfod1), or give "
						 "--debuginfod off");
		return;
	}
	api.set_data(debuginfod->client, debuginfod);
	api.set_progress(debuginfod->client, tell);
}

/* A miss is no error; anything else ends the asking: the next file would wait as long. */
static void judge_failure(struct debuginfod *debuginfod, int failure)
{
	if (debuginfod->stopped) {
		notice_add(debuginfod->notices, NOTICE_DEBUGINFOD,
			   "the download of %s was interrupted; debuginfod was asked for nothing "
			   "more",
			   debuginfod->wanted);
	} else if (failure != ENOENT) {
		debuginfod->stopped = true;
		notice_add(debuginfod->notices, NOTICE_DEBUGINFOD,
			   "debuginfod failed to find %s, and was asked for nothing more: %s",
			   debuginfod->wanted, strerror(failure));
	}
}

char *debuginfod_find(struct debuginfod *debuginfod, enum debuginfod_kind kind,
		      const struct build_id *id, const char *name)
{
	char *path = NULL;
	int fd;

	if (!debuginfod || !id->size)
		return NULL;
	if (!debuginfod->tried)
		begin(debuginfod);
	if (!debuginfod->client || debuginfod->stopped)
		return NULL;
	debuginfod->wanted = name;
	fd = api.find[kind](debuginfod->client, id->bytes, (int)id->size, &path);
	if (fd < 0) {
		judge_failure(debuginfod, -fd);
		return NULL;
	}
	close(fd);
	debuginfod->found++;
	return path;
}

void debuginfod_end(struct debuginfod *debuginfod)
{
	if (debuginfod->found) {
		notice_add(debuginfod->notices, NOTICE_DEBUGINFOD_FOUND,
			   "%u files came from debuginfod", debuginfod->found);
	}
	if (debuginfod->client)
		api.end(debuginfod->client);
	debuginfod->client = NULL;
}
