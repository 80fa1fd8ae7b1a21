/* SPDX-License-Identifier: MIT */
/*
 * A decoder knows one built-in type: what sys.getsizeof() says of an instance, and which blocks
 * only that instance owns. Subclasses inherit the decoder of their nearest base.
 *
 * To add a type: write its decoder in lib/cpython/types, add a row in types/decoders.c.
 */
#pragma once

#include "memory.h"

struct type;

/* What an owned block is used for: the categories of python/buffers. */
enum buffer_kind {
#define BUFFER(name, text) BUFFER_##name,
#include "buffers.def"
#undef BUFFER
	BUFFER_KINDS
};

extern const char *const buffer_names[BUFFER_KINDS];

/* An object, or what may be one. */
struct object {
	vaddr at;
	const uint8_t *bytes;
	uint64_t room;   /* bytes that can be read from `at`: the object can't be longer */
	uint64_t before; /* bytes that can be read before `at`: its pre-header */
	const struct type *type;
};

/*
 * Called for each block that the object owns; `at` is where CPython would free it. A shared block
 * is owned together with others and counts for none of them.
 */
typedef void own_fn(void *closure, vaddr at, enum buffer_kind kind, bool shared);

/* One measurement, in and out. */
struct measure {
	const struct memory *memory;
	own_fn *own; /* NULL: not asked for */
	void *closure;
	uint64_t size;      /* out: what __sizeof__ returns */
	uint64_t inside;    /* out: bytes of it that the object covers where it lies */
	uint64_t elsewhere; /* out: bytes of it in other objects, on the stack, or counted twice */
	uint64_t preheader; /* in and out: what sys.getsizeof() adds */
	bool unreadable;    /* out: parts are missing; `size` is a lower bound */
};

struct decoder {
	const char *type_name; /* as struct type names it */
	/* The type's tp_basicsize (SIZE_*): a type made at run time must have it, because anybody
	 * may call a class so. FIELD_COUNT: only a static type is meant. */
	enum field_id size;
	bool by_name; /* the name is enough: nobody else would call a class so */
	/* Sets measure->size and reports owned blocks; false when this can't be such an object. */
	bool (*measure)(struct measure *measure, const struct object *object);
};

/* NULL-terminated. */
extern const struct decoder *const decoders[];

/* Measures any object: its decoder's part, and what its type adds (values kept apart from it). */
bool object_measure(struct measure *measure, const struct object *object);

/* What object.__sizeof__() says: tp_basicsize + ob_size * tp_itemsize; false when there is no room
 * for it. */
bool plain_measure(struct measure *measure, const struct object *object);

/* What _PyObject_SIZE() says: tp_basicsize; false when there is no room for it. */
bool basic_measure(struct measure *measure, const struct object *object);

static inline void own(struct measure *measure, vaddr at, enum buffer_kind kind)
{
	if (at && measure->own)
		measure->own(measure->closure, at, kind, false);
}

static inline void own_shared(struct measure *measure, vaddr at, enum buffer_kind kind)
{
	if (at && measure->own)
		measure->own(measure->closure, at, kind, true);
}

/* The object's field `id`; it lies inside the object, whose size was checked. */
static inline uint64_t object_field(const struct measure *measure, const struct object *object,
				    enum field_id id)
{
	return field_load(measure->memory->layout, object->bytes, id);
}

/* Whether the layout has a field, and the object room for it. */
static inline bool object_has(const struct measure *measure, const struct object *object,
			      enum field_id id)
{
	const struct field *field = &measure->memory->layout->fields[id];

	return field->source != FIELD_ABSENT &&
	       (uint64_t)field->offset + field->size <= object->room;
}
