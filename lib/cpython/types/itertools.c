/* SPDX-License-Identifier: MIT */
/* Iterators of itertools that keep an array of indices. Modules/itertoolsmodule.c */
#include "decoders.h"

#define COUNT_MAX (1ULL << 40)

static bool tuple_size(struct measure *measure, vaddr tuple, uint64_t *ret)
{
	if (memory_field(measure->memory, tuple, FIELD_VAR_SIZE, ret) && *ret < COUNT_MAX)
		return true;
	measure->unreadable = true;
	*ret = 0;
	return false;
}

/* product_sizeof() */
static bool product_measure(struct measure *measure, const struct object *object)
{
	uint64_t count;

	if (!basic_measure(measure, object))
		return false;
	tuple_size(measure, object_field(measure, object, FIELD_PRODUCT_POOLS), &count);
	measure->size += count * sizeof(vaddr);
	own(measure, object_field(measure, object, FIELD_PRODUCT_INDICES), count * sizeof(vaddr),
	    BUFFER_ITERATOR_STATE);
	return true;
}

/* combinations_sizeof(), cwr_sizeof() */
static bool measure_indices(struct measure *measure, const struct object *object,
			    enum field_id indices, enum field_id length)
{
	uint64_t count;

	if (!basic_measure(measure, object))
		return false;
	count = object_field(measure, object, length);
	if (count >= COUNT_MAX)
		return false;
	measure->size += count * sizeof(vaddr);
	own(measure, object_field(measure, object, indices), count * sizeof(vaddr),
	    BUFFER_ITERATOR_STATE);
	return true;
}

static bool combinations_measure(struct measure *measure, const struct object *object)
{
	return measure_indices(measure, object, FIELD_COMBINATIONS_INDICES,
			       FIELD_COMBINATIONS_LENGTH);
}

static bool replacing_measure(struct measure *measure, const struct object *object)
{
	return measure_indices(measure, object, FIELD_REPLACING_INDICES, FIELD_REPLACING_LENGTH);
}

/* permutations_sizeof() */
static bool permutations_measure(struct measure *measure, const struct object *object)
{
	uint64_t count;

	if (!measure_indices(measure, object, FIELD_PERMUTATIONS_INDICES,
			     FIELD_PERMUTATIONS_LENGTH))
		return false;
	tuple_size(measure, object_field(measure, object, FIELD_PERMUTATIONS_POOL), &count);
	measure->size += count * sizeof(vaddr);
	own(measure, object_field(measure, object, FIELD_PERMUTATIONS_CYCLES), 0,
	    BUFFER_ITERATOR_STATE);
	return true;
}

/* teedataobject_traverse(): as many values as were read. */
static void tee_data_visit(struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;
	uint64_t room = layout->fields[FIELD_TEE_DATA_VALUES].size / sizeof(vaddr);
	uint64_t count = visited_field(visitor, object, FIELD_TEE_DATA_COUNT);

	refer_member(visitor, visitor->strong,
		     visited_field(visitor, object, FIELD_TEE_DATA_ITERATOR), "it");
	refer_member(visitor, visitor->strong, visited_field(visitor, object, FIELD_TEE_DATA_NEXT),
		     "nextlink");
	refer_items(visitor, object->at + layout_offset(layout, FIELD_TEE_DATA_VALUES),
		    MIN(count, room));
}

const struct decoder decoder_tee_data = {
	.type_name = "itertools._tee_dataobject",
	.size = FIELD_COUNT,
	.by_name = true,
	.measure = basic_measure,
	.visit = tee_data_visit,
};

/* the name of the type in 2.7 */
const struct decoder decoder_tee_data_2 = {
	.type_name = "itertools.tee_dataobject",
	.size = FIELD_COUNT,
	.measure = basic_measure,
	.visit = tee_data_visit,
};

const struct decoder decoder_product = {
	.type_name = "itertools.product",
	.size = SIZE_PRODUCT,
	.measure = product_measure,
};

const struct decoder decoder_combinations = {
	.type_name = "itertools.combinations",
	.size = SIZE_COMBINATIONS,
	.measure = combinations_measure,
};

const struct decoder decoder_combinations_with_replacement = {
	.type_name = "itertools.combinations_with_replacement",
	.size = SIZE_REPLACING,
	.measure = replacing_measure,
};

const struct decoder decoder_permutations = {
	.type_name = "itertools.permutations",
	.size = SIZE_PERMUTATIONS,
	.measure = permutations_measure,
};
