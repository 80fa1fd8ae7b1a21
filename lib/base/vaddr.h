/* SPDX-License-Identifier: MIT */
/* Addresses in the target, and loads of target bytes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* An address in the target, never a pointer of ours. */
typedef uint64_t vaddr;

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)         ((a) < (b) ? (a) : (b))
#define MAX(a, b)         ((a) > (b) ? (a) : (b))

/* Loads of little-endian target bytes at any alignment. */
static inline uint64_t load_u64(const void *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

static inline uint32_t load_u32(const void *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

static inline uint16_t load_u16(const void *bytes)
{
	uint16_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

/* `value` rounded up or down to a multiple of `unit`, a power of two. */
static inline uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

static inline uint64_t round_down(uint64_t value, uint64_t unit)
{
	return value & ~(unit - 1);
}

/* Whether [at, at + size) lies inside [start, end); safe against every overflow. */
static inline bool range_holds(vaddr start, vaddr end, vaddr at, uint64_t size)
{
	return at >= start && at <= end && size <= end - at;
}
