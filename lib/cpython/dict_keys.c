/* SPDX-License-Identifier: MIT */
#include "dict_keys.h"

#define LOG2_SIZE_MAX 40

/* 3.11 Include/internal/pycore_dict.h: DictKeysKind */
#define KIND_GENERAL 0
#define KIND_SPLIT   2

/* 3.10 Objects/dictobject.c, DK_IXSIZE(): bytes of one index. */
static uint64_t index_width(uint64_t slots)
{
	return slots <= 0xFF ? 1 : slots <= 0xFFFF ? 2 : slots <= 0xFFFFFFFF ? 4 : 8;
}

/* 3.11 and later: sizes as powers of two. Returns the bytes of the indices, 0 when damaged. */
static uint64_t read_log2_header(const struct layout *layout, const uint8_t *bytes,
				 struct dict_keys *keys)
{
	uint64_t log2 = field_load(layout, bytes, FIELD_KEYS_LOG2_SIZE);
	uint64_t log2_index = field_load(layout, bytes, FIELD_KEYS_LOG2_INDEX_BYTES);
	uint64_t kind = field_load(layout, bytes, FIELD_KEYS_KIND);

	if (log2 > LOG2_SIZE_MAX || log2_index < log2 || log2_index > log2 + 3 || kind > KIND_SPLIT)
		return 0;
	keys->slots = 1ULL << log2;
	keys->str_keys = kind != KIND_GENERAL;
	keys->split = kind == KIND_SPLIT;
	return 1ULL << log2_index;
}

/* Up to 3.10: the size itself. */
static uint64_t read_plain_header(const struct layout *layout, const uint8_t *bytes,
				  struct dict_keys *keys)
{
	keys->slots = field_load(layout, bytes, FIELD_KEYS_SIZE);
	if (!keys->slots || keys->slots & (keys->slots - 1) || keys->slots >> LOG2_SIZE_MAX)
		return 0;
	return keys->slots * index_width(keys->slots);
}

bool dict_keys_read(const struct memory *memory, vaddr at, struct dict_keys *ret)
{
	const struct layout *layout = memory->layout;
	const uint8_t *bytes = memory_struct(memory, at, SIZE_KEYS);
	struct dict_keys keys = { .at = at };
	uint64_t index_bytes, entry_bytes;

	if (!bytes)
		return false;
	index_bytes = layout_has(layout, FIELD_KEYS_LOG2_SIZE)
			      ? read_log2_header(layout, bytes, &keys)
			      : read_plain_header(layout, bytes, &keys);
	keys.refcount = field_load(layout, bytes, FIELD_KEYS_REFCOUNT);
	keys.usable = keys.slots * 2 / 3;
	keys.used = field_load(layout, bytes, FIELD_KEYS_ENTRY_COUNT);
	keys.free = field_load(layout, bytes, FIELD_KEYS_USABLE);
	if (!index_bytes || keys.used > keys.usable || keys.free > keys.usable)
		return false;
	if (layout_has(layout, FIELD_KEYS_LOOKUP))
		keys.lookup = field_load(layout, bytes, FIELD_KEYS_LOOKUP);
	entry_bytes = layout_offset(layout, keys.str_keys ? SIZE_STR_KEY_ENTRY : SIZE_KEY_ENTRY);
	keys.entries = at + layout_offset(layout, SIZE_KEYS) + index_bytes;
	keys.size = layout_offset(layout, SIZE_KEYS) + index_bytes + keys.usable * entry_bytes;
	*ret = keys;
	return true;
}

bool dict_keys_general(const struct memory *memory, const struct dict_keys *keys,
		       vaddr general_lookup)
{
	if (layout_has(memory->layout, FIELD_KEYS_LOOKUP))
		return keys->lookup == general_lookup;
	return !keys->str_keys;
}

/* 2.7 Include/dictobject.h: a table of ma_mask + 1 entries. */
static bool read_old_table(const struct memory *memory, vaddr dict, struct dict_keys *ret)
{
	uint64_t mask, table;

	if (!memory_field(memory, dict, FIELD_DICT_MASK, &mask) ||
	    !memory_field(memory, dict, FIELD_DICT_TABLE, &table) || mask & (mask + 1) ||
	    mask >> LOG2_SIZE_MAX)
		return false;
	*ret = (struct dict_keys){
		.at = table,
		.entries = table,
		.refcount = 1,
		.slots = mask + 1,
		.usable = mask + 1,
		.used = mask + 1,
		.size = (mask + 1) * layout_offset(memory->layout, SIZE_KEY_ENTRY),
	};
	return true;
}

bool dict_keys_of(const struct memory *memory, vaddr dict, struct dict_keys *ret)
{
	uint64_t table;

	if (layout_has(memory->layout, FIELD_DICT_TABLE))
		return read_old_table(memory, dict, ret);
	return memory_field(memory, dict, FIELD_DICT_KEYS, &table) &&
	       dict_keys_read(memory, table, ret);
}

/* 3.13 Objects/dictobject.c, values_size_from_count(): behind the values is their order, a byte for
 * each, rounded up. */
uint64_t values_bytes(const struct memory *memory, vaddr at)
{
	uint64_t capacity;

	if (!memory_field(memory, at, FIELD_VALUES_CAPACITY, &capacity))
		return 0;
	return layout_offset(memory->layout, FIELD_VALUES_ITEMS) + capacity * sizeof(vaddr) +
	       round_up(capacity, sizeof(vaddr));
}

bool dict_keys_entry(const struct memory *memory, const struct dict_keys *keys, uint64_t index,
		     vaddr *key, vaddr *value)
{
	const struct layout *layout = memory->layout;
	enum field_id size = keys->str_keys ? SIZE_STR_KEY_ENTRY : SIZE_KEY_ENTRY;
	enum field_id key_field = keys->str_keys ? FIELD_STR_KEY_ENTRY_KEY : FIELD_KEY_ENTRY_KEY;
	enum field_id value_field =
		keys->str_keys ? FIELD_STR_KEY_ENTRY_VALUE : FIELD_KEY_ENTRY_VALUE;
	uint64_t bytes = layout_offset(layout, size);
	const uint8_t *entry = image_at(memory->image, keys->entries + index * bytes, bytes);

	if (!entry)
		return false;
	*key = field_load(layout, entry, key_field);
	*value = field_load(layout, entry, value_field);
	return true;
}
