/* SPDX-License-Identifier: MIT */
/* From an instruction to its line. */
#pragma once

#include "memory.h"

/*
 * The line of the instruction that is `offset` bytes into the code object at `code`; 0 when it has
 * none, or the tables are missing.
 */
uint32_t code_line(const struct memory *memory, vaddr code, uint64_t offset);
