/* SPDX-License-Identifier: MIT */
#include "counted.h"

#include "refcount.h"

/* The number by which threads count references to the object; 0: they don't. Free-threaded builds
 * since 3.14: Include/internal/pycore_object.h, _Py_INCREF_TYPE(), _Py_INCREF_CODE();
 * pycore_dict.h, _PyDict_UniqueId() */
static uint64_t unique_id(const struct layout *layout, const struct object *object)
{
	const struct decoder *decoder = object->type->decoder;
	uint64_t heap = layout_constant(layout, CONSTANT_TYPE_HEAP);

	if (object->type->metatype)
		return layout_offset(layout, SIZE_HEAP_TYPE) <= object->room &&
				       field_load(layout, object->bytes, FIELD_TYPE_FLAGS) & heap
			       ? field_load(layout, object->bytes, FIELD_HEAP_TYPE_UNIQUE_ID)
			       : 0;
	if (decoder && !strcmp(decoder->type_name, "code"))
		return field_load(layout, object->bytes, FIELD_CODE_UNIQUE_ID);
	if (decoder && !strcmp(decoder->type_name, "dict"))
		return field_load(layout, object->bytes, FIELD_DICT_WATCHER_TAG) >> 32;
	return 0;
}

/* What all threads count for themselves. */
static int64_t thread_refcount(const struct python *python, const struct object *object)
{
	const struct memory *memory = &python->memory;
	uint64_t id = unique_id(&python->layout, object), values, size, count;
	int64_t sum = 0;

	for (size_t i = 0; id && i < python->threads.count; i++) {
		vaddr thread = python->threads.items[i].at;

		if (memory_field(memory, thread, FIELD_THREAD_REFCOUNTS, &values) &&
		    memory_field(memory, thread, FIELD_THREAD_REFCOUNTS_SIZE, &size) &&
		    id - 1 < size &&
		    image_u64(memory->image, values + (id - 1) * sizeof(count), &count))
			sum += (int64_t)count;
	}
	return sum;
}

uint64_t counted_references(const struct python *python, const struct object *object)
{
	const struct layout *layout = &python->layout;
	int64_t count = object_refcount(layout, object->bytes);

	if (layout_has(layout, FIELD_THREAD_REFCOUNTS) &&
	    !object_is_immortal(layout, object->bytes))
		count += thread_refcount(python, object);
	return count < 0 ? 0 : (uint64_t)count;
}
