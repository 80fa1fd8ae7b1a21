/* SPDX-License-Identifier: MIT */
/* What is known of the insides of a type's instances. */
#include "types.h"
#include "values.h"

#define BASES_MAX 64

/* The decoder of exactly this type. */
static const struct decoder *find_decoder(const struct type *type, const struct layout *layout)
{
	for (size_t i = 0; decoders[i]; i++) {
		const struct decoder *decoder = decoders[i];

		if (strcmp(decoder->type_name, type->name))
			continue;
		if (!type->heap || decoder->by_name ||
		    (decoder->size != FIELD_COUNT && layout_has(layout, decoder->size) &&
		     layout_offset(layout, decoder->size) == type->basic_size))
			return decoder;
	}
	return NULL;
}

/* Whether the type's __sizeof__ is a function, and so Python code. */
static bool is_python_sizeof(const struct type_table *table, const struct memory *memory,
			     const struct type *type)
{
	uint32_t index;
	uint64_t at;

	if (!type->sizeof_method ||
	    !memory_field(memory, type->sizeof_method, FIELD_OBJECT_TYPE, &at))
		return false;
	index = type_find(table, at);
	return index != TYPE_NONE && !strcmp(table->list.items[index].name, "function");
}

const struct type *type_base(const struct type_table *table, const struct type *type)
{
	uint32_t index = type->base ? type_find(table, type->base) : TYPE_NONE;

	return index == TYPE_NONE ? NULL : &table->list.items[index];
}

static bool dict_has(const struct memory *memory, vaddr dict, const char *key)
{
	vaddr value;

	return dict_lookup(memory, dict, key, &value);
}

/*
 * Whether instances have words that their base's have not, and that nobody knows: of a C type, not
 * of a class made by Python, which adds its __slots__, and words for __dict__ and __weakref__.
 */
static bool adds_unknown(const struct memory *memory, const struct type *type,
			 const struct type *base)
{
	uint64_t base_size = base ? base->basic_size : layout_offset(memory->layout, SIZE_OBJECT);
	uint64_t known = 0, dict;

	if (type->basic_size <= base_size)
		return false;
	if (type->heap && memory_field(memory, type->at, FIELD_TYPE_DICT, &dict) && dict) {
		if (dict_has(memory, dict, "__slots__"))
			return false;
		known += dict_has(memory, dict, "__dict__") ? sizeof(vaddr) : 0;
		known += dict_has(memory, dict, "__weakref__") ? sizeof(vaddr) : 0;
	}
	return type->basic_size - base_size > known;
}

/* Whether no base of the type but object has a __sizeof__; types without a base are object. */
static bool has_default_sizeof(const struct type_table *table, const struct memory *memory,
			       const struct type *type)
{
	const struct type *base;

	for (int depth = 0; depth < BASES_MAX; depth++, type = base) {
		uint64_t dict;

		base = type_base(table, type);
		if (!base)
			return true;
		if (!memory_field(memory, type->at, FIELD_TYPE_DICT, &dict) || !dict ||
		    dict_has(memory, dict, "__sizeof__"))
			return false;
	}
	return false;
}

void types_choose_decoders(struct type_table *table, const struct memory *memory)
{
	for (size_t i = 0; i < table->list.count; i++) {
		struct type *type = &table->list.items[i];
		const struct type *at = type, *base;

		type->decoder = type->own_decoder = find_decoder(type, memory->layout);
		type->default_sizeof = layout_knows(memory->layout, CONSTANT_SIZEOF_BY_DICT) &&
				       has_default_sizeof(table, memory, type);
		type->python_sizeof = is_python_sizeof(table, memory, type);
		for (int depth = 0; !type->decoder && depth < BASES_MAX; depth++, at = base) {
			base = type_base(table, at);
			type->opaque |= adds_unknown(memory, at, base);
			if (!base)
				break;
			type->decoder = find_decoder(base, memory->layout);
			type->python_sizeof |= is_python_sizeof(table, memory, base);
		}
	}
}
