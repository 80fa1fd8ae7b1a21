/* SPDX-License-Identifier: MIT */
/*
 * systemd (252 to 257, src/coredump/coredump.c, make_filename()) calls a core
 * core.COMM.UID.BOOTID.PID.TIME, and adds .zst, .lz4 or .xz. Dots, slashes and blanks in COMM are
 * escaped as \x2e. TIME is microseconds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../base/cleanup.h"
#include "store.h"

#define BOOT_ID_DIGITS 32

static bool parse_number(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno;
}

/* Cuts the last part off `text`, at its last dot; NULL when there is none. */
static const char *cut_last(char *text)
{
	char *dot = strrchr(text, '.');

	if (!dot)
		return NULL;
	*dot = '\0';
	return dot + 1;
}

/* Puts characters in the place of \xNN. */
static size_t unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from;) {
		unsigned value;
		int length = 0;

		if (sscanf(from, "\\x%2x%n", &value, &length) == 1 && length == 4) {
			*to++ = (char)value;
			from += length;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
	return (size_t)(to - text);
}

bool store_parse_name(struct stored_core *core, const char *file, struct strings *strings)
{
	static const char *const suffixes[] = { ".zst", ".lz4", ".xz" };
	_cleanup_free_ char *text = strdup(file);
	const char *part;
	uint64_t time, pid, uid;

	if (!text || strncmp(text, "core.", 5))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		char *dot = strrchr(text, '.');

		if (dot && !strcmp(dot, suffixes[i]))
			*dot = '\0';
	}
	if (!(part = cut_last(text)) || !parse_number(part, &time) || !(part = cut_last(text)) ||
	    !parse_number(part, &pid) || pid > UINT32_MAX || !(part = cut_last(text)) ||
	    strspn(part, "0123456789abcdef") != BOOT_ID_DIGITS || part[BOOT_ID_DIGITS] ||
	    !(part = cut_last(text)) || !parse_number(part, &uid) || uid > UINT32_MAX ||
	    strlen(text) < 5)
		return false;
	core->time = time;
	core->pid = (uint32_t)pid;
	core->uid = (uint32_t)uid;
	core->has_process = true;
	core->name = strings_add(strings, text + 5, unescape(text + 5));
	return core->name;
}

const char *store_format_time(uint64_t time, char text[STORE_TIME_MAX])
{
	time_t seconds = (time_t)(time / 1000000);
	struct tm parts;

	if (!gmtime_r(&seconds, &parts) ||
	    !strftime(text, STORE_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts))
		return NULL;
	return text;
}
