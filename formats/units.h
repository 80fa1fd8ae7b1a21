/* SPDX-License-Identifier: MIT */
/* Numbers as people read them. */
#pragma once

#include "formats.h"

#define UNIT_TEXT_MAX 40

/* "61.2 MiB", or "64,171,213" with style->exact_bytes. */
const char *format_bytes(char text[UNIT_TEXT_MAX], uint64_t bytes, const struct style *style);

/* "617,601" */
const char *format_count(char text[UNIT_TEXT_MAX], uint64_t count);

/* A cell as text; "" when absent. Texts are returned as they are. */
const char *format_cell(char text[UNIT_TEXT_MAX], enum memheap_kind kind,
			const struct memheap_cell *cell, const struct style *style);
