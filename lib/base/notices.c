/* SPDX-License-Identifier: MIT */
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
	struct notice *notice = vector_push(&notices->list);
	va_list args;

	if (!notice)
		return;
	va_start(args, format);
	*notice = (struct notice){
		.kind = kind,
		.text = strings_format_list(&notices->strings, format, args),
		.hint = notice_infos[kind].hint,
	};
	va_end(args);
	if (!notice->text)
		notices->list.count--;
}

void notice_hint(struct notices *notices, const char *hint)
{
	if (notices->list.count)
		notices->list.items[notices->list.count - 1].hint =
			strings_add(&notices->strings, hint, strlen(hint));
}

void notices_forget(struct notices *notices, size_t count)
{
	if (notices->list.count > count)
		notices->list.count = count;
}

void notices_deinit(struct notices *notices)
{
	free(notices->list.items);
	strings_deinit(&notices->strings);
	*notices = (struct notices){ 0 };
}
