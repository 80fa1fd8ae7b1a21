/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "units.h"

const char *format_count(char text[UNIT_TEXT_MAX], uint64_t count)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%" PRIu64, count);
	char *to = text;

	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return text;
}

const char *format_bytes(char text[UNIT_TEXT_MAX], uint64_t bytes, const struct style *style)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t unit = 0;

	if (style->exact_bytes)
		return format_count(text, bytes);
	/* 1023.95 would be shown as 1024.0 */
	while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(text, UNIT_TEXT_MAX, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

const char *format_cell(char text[UNIT_TEXT_MAX], enum memheap_kind kind,
			const struct memheap_cell *cell, const struct style *style)
{
	if (!cell->present)
		return "";
	switch (kind) {
	case MEMHEAP_TEXT:
		return cell->text;
	case MEMHEAP_BYTES:
		return format_bytes(text, cell->number, style);
	case MEMHEAP_COUNT:
		return format_count(text, cell->number);
	case MEMHEAP_ID:
		snprintf(text, UNIT_TEXT_MAX, "%" PRIu64, cell->number);
		return text;
	case MEMHEAP_NUMBER:
		snprintf(text, UNIT_TEXT_MAX, "%" PRId64, cell->signed_number);
		return text;
	case MEMHEAP_ADDRESS:
		snprintf(text, UNIT_TEXT_MAX, "0x%" PRIx64, cell->number);
		return text;
	case MEMHEAP_ADDRESSES:
		return format_count(text, cell->addresses->count);
	case MEMHEAP_TEXTS:
		return format_count(text, cell->texts->count);
	case MEMHEAP_PERCENT:
		snprintf(text, UNIT_TEXT_MAX, "%.1f %%", (double)cell->number / 100);
		return text;
	case MEMHEAP_FLAG:
		return cell->number ? "yes" : "no";
	}
	return "";
}
