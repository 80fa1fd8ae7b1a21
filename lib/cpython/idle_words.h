/* SPDX-License-Identifier: MIT */
/*
 * Words that hold nothing, whatever they seem to point to. An object that is taken from one of
 * CPython's free lists leaves its address behind there. The instructions of a code object look like
 * addresses where those are small, and what their inline caches point to is borrowed.
 */
#pragma once

#include "references.h"

/* Finds them where no allocator has the memory: joined ranges. These are slots of the states of
 * interpreters and threads, or (up to 3.9) of static variables, and static code objects. False when
 * out of memory. */
bool idle_words_find(struct ranges *idle, const struct heap_view *view);

/* Of the first `size` bytes of a block with that tag, those that are in front of instructions. */
uint64_t idle_words_before(const struct heap_view *view, block_tag tag, uint64_t size);
