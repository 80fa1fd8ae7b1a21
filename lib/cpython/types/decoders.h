/* SPDX-License-Identifier: MIT */
/* What the decoders share. */
#pragma once

#include "../types.h"

/* Reports the NUL-terminated C string at `at` as owned, and returns its bytes with the NUL; 0
 * when there is none. */
uint64_t own_string(struct measure *measure, vaddr at, enum buffer_kind kind);
