/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "formats.h"

extern const struct format format_csv, format_dot, format_json, format_jsonl, format_text;

const struct format *const formats[] = {
	&format_text, &format_json, &format_jsonl, &format_csv, &format_dot, NULL,
};

const struct format *format_find(const char *name)
{
	for (size_t i = 0; formats[i]; i++) {
		if (!strcmp(formats[i]->name, name))
			return formats[i];
	}
	return NULL;
}

const struct memheap_table *format_table(const struct memheap_report *report,
					 const struct style *style)
{
	return memheap_report_table(
		report, style->table ? style->table : memheap_report_shape_of(report)->main_table);
}
