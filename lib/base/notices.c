/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notices.h"

const struct notice_info notice_infos[NOTICE_KINDS] = {
#define NOTICE(name, code, level, hint) { code, level, hint },
#include "notices.def"
#undef NOTICE
};

void notice_add(struct notices *notices, enum notice_kind kind, const char *format, ...)
{
	struct notice *notice;
	va_list args;
	char *text;
	int length;

	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0)
		return;
	notice = vector_push(&notices->list);
	if (notice)
		*notice = (struct notice){ kind,
					   strings_add(&notices->strings, text, (size_t)length) };
	free(text);
}

void notices_deinit(struct notices *notices)
{
	free(notices->list.items);
	strings_deinit(&notices->strings);
	*notices = (struct notices){ 0 };
}
