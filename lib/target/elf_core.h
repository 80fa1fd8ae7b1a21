/* SPDX-License-Identifier: MIT */
/* ELF core files: program headers to segments, notes to facts. */
#pragma once

#include "target.h"

/* Fills the image and the process of `target` from its mapped file. */
struct memheap_error *elf_core_load(struct target *target);

/* Whether the first `size` bytes of a core, in `fd`, hold its notes, and some memory. */
bool elf_core_has_head(int fd, uint64_t size);
