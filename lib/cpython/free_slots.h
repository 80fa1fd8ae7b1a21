/* SPDX-License-Identifier: MIT */
/*
 * Where CPython's free lists keep pointers to dead objects. An object that is taken from there
 * leaves its address behind: these words hold nothing, whatever they point to.
 */
#pragma once

#include "references.h"

/* Finds them in the states of interpreters and threads, or (up to 3.9) in static variables: joined
 * ranges of words. False when out of memory. */
bool free_slots_find(struct ranges *slots, const struct heap_view *view);
