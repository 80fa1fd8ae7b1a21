/* SPDX-License-Identifier: MIT */
/*
 * Memory of ours with the shape of the target's: what lies side by side there does so here, also
 * when a mapping grows after the mirror was made. Pages that are never copied take no memory, and
 * are zeros.
 */
#pragma once

#include "proc.h"

/* A stretch of the target's addresses. */
struct mirror_part {
	vaddr start, end;
	uint8_t *bytes; /* of `start` */
};

struct mirror {
	VECTOR(struct mirror_part) list; /* by address */
};

/* Makes room for `mappings`, those without any access left out, and for their growth. False with
 * errno. */
bool mirror_reserve(struct mirror *mirror, const struct mappings *mappings);

/* Our bytes for [start, end) of the target, which can be written; NULL with errno. */
uint8_t *mirror_at(struct mirror *mirror, vaddr start, vaddr end);

/* Asks for the memory behind [bytes, bytes + size) now, not when it is written. */
void mirror_populate(uint8_t *bytes, uint64_t size);

void mirror_deinit(struct mirror *mirror);
