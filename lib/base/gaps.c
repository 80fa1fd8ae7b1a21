/* SPDX-License-Identifier: MIT */
#include "gaps.h"

const struct gap_info gap_infos[GAP_KINDS] = {
#define GAP(name, code, key, text) { code, key, text },
#include "gaps.def"
#undef GAP
};

void gaps_merge(struct gaps *gaps, const struct gaps *from)
{
	for (int i = 0; i < GAP_KINDS; i++) {
		struct gap *to = &gaps->kinds[i];
		const struct gap *gap = &from->kinds[i];

		if (!gap->count)
			continue;
		if (!to->count || gap->first < to->first)
			to->first = gap->first;
		to->count += gap->count;
		to->bytes += gap->bytes;
	}
}
