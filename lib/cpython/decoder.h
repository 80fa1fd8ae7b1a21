/* SPDX-License-Identifier: MIT */
/*
 * A decoder knows one built-in type: what sys.getsizeof() says of an instance, which blocks only
 * that instance owns, and which objects it refers to. Subclasses inherit the decoder of their
 * nearest base. References that lie in members of the instance are rows of
 * lib/layout/references.def instead.
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
 * Called for each block that the object owns; `at` is where CPython would free it, `size` what it
 * has asked for; 0: the object does not tell. A shared block is owned together with others and
 * counts for none of them.
 */
typedef void own_fn(void *closure, vaddr at, uint64_t size, enum buffer_kind kind, bool shared);

/* One measurement, in and out. */
struct measure {
	const struct memory *memory;
	own_fn *own; /* NULL: not asked for */
	void *closure;
	bool sizes;         /* in: blocks are wanted with their sizes, even where that takes time */
	uint64_t size;      /* out: what __sizeof__ returns */
	uint64_t inside;    /* out: bytes of it that the object covers where it lies */
	uint64_t elsewhere; /* out: bytes of it in other objects, on the stack, or counted twice */
	uint64_t preheader; /* in and out: what sys.getsizeof() adds */
	bool unreadable;    /* out: parts are missing; `size` is a lower bound */
};

/* How a reference holds its target. */
enum reference_kind {
	REFERENCE_STRONG,       /* tp_traverse visits it: gc.get_referents() tells of it */
	REFERENCE_EXTRA,        /* counted, but no tp_traverse visits it */
	REFERENCE_WEAK,         /* keeps nothing alive */
	REFERENCE_CONSERVATIVE, /* a word that nobody knows, where an object begins */
	REFERENCE_KINDS
};

/* Where in its holder a reference is: what it is called. */
enum reference_step {
	STEP_MEMBER,    /* attribute `text` */
	STEP_ATTRIBUTE, /* attribute; the address of its name, a str */
	STEP_ITEM,      /* [number] */
	STEP_KEY,       /* a key of a dict, an item of a set */
	STEP_VALUE,     /* of a dict; the address of its key */
	STEP_LOCAL,     /* local variable; the address of its name */
	STEP_STACK,     /* of the evaluation stack of a frame; its number */
	STEP_WORD,      /* at an offset, in a structure that nobody knows */
};

struct reference {
	vaddr to;
	uint8_t kind;   /* enum reference_kind */
	uint8_t step;   /* enum reference_step */
	bool uncounted; /* it holds the object, which does not count it: frames only */
	union {
		const char *text;
		uint64_t number;
	};
};

/* Called for each reference. What `to` says was not looked at: maybe no object is there. */
typedef void reference_fn(void *closure, const struct reference *reference);

/* One visit to an object. */
struct visitor {
	const struct memory *memory;
	reference_fn *see;
	void *closure;
	vaddr general_lookup; /* up to 3.10, dk_lookup of dicts with keys other than str */
	uint8_t strong;       /* kind of what tp_traverse visits: extra in an object without GC */
	bool unreadable;      /* out: parts are missing */
};

struct decoder {
	const char *type_name; /* as struct type names it */
	/* The type's tp_basicsize (SIZE_*): a type made at run time must have it, because anybody
	 * may call a class so. FIELD_COUNT: only a static type is meant. */
	enum field_id size;
	bool by_name; /* the name is enough: nobody else would call a class so */
	/* Sets measure->size and reports owned blocks; false when this can't be such an object. */
	bool (*measure)(struct measure *measure, const struct object *object);
	/* Reports the references that are not rows of references.def; NULL: there are none. */
	void (*visit)(struct visitor *visitor, const struct object *object);
};

/* NULL-terminated. */
extern const struct decoder *const decoders[];

extern const struct decoder decoder_tuple; /* that of 2.7's struct sequences, too */
extern const struct decoder decoder_type;

/* Measures any object: its decoder's part, and what its type adds (values kept apart from it). */
bool object_measure(struct measure *measure, const struct object *object);

/* What object.__sizeof__() says: tp_basicsize + ob_size * tp_itemsize; false when there is no room
 * for it. */
bool plain_measure(struct measure *measure, const struct object *object);

/* What _PyObject_SIZE() says: tp_basicsize; false when there is no room for it. */
bool basic_measure(struct measure *measure, const struct object *object);

static inline void own(struct measure *measure, vaddr at, uint64_t size, enum buffer_kind kind)
{
	if (at && measure->own)
		measure->own(measure->closure, at, size, kind, false);
}

static inline void own_shared(struct measure *measure, vaddr at, uint64_t size,
			      enum buffer_kind kind)
{
	if (at && measure->own)
		measure->own(measure->closure, at, size, kind, true);
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

/* Reports a reference, unless it is NULL. */
static inline void refer_as(struct visitor *visitor, enum reference_kind kind, vaddr to,
			    enum reference_step step, uint64_t number)
{
	if (to)
		visitor->see(visitor->closure, &(struct reference){ .to = to,
								    .kind = (uint8_t)kind,
								    .step = (uint8_t)step,
								    .number = number });
}

/* Reports a reference that tp_traverse visits. */
static inline void refer(struct visitor *visitor, vaddr to, enum reference_step step,
			 uint64_t number)
{
	refer_as(visitor, visitor->strong, to, step, number);
}

/* The same for a member called `text`. */
static inline void refer_member(struct visitor *visitor, enum reference_kind kind, vaddr to,
				const char *text)
{
	if (to)
		visitor->see(visitor->closure, &(struct reference){ .to = to,
								    .kind = (uint8_t)kind,
								    .step = STEP_MEMBER,
								    .text = text });
}

/* The field `id` of the object, 0 where the layout or the object has none. */
static inline uint64_t visited_field(const struct visitor *visitor, const struct object *object,
				     enum field_id id)
{
	const struct field *field = &visitor->memory->layout->fields[id];

	if (field->source == FIELD_ABSENT || field->offset + field->size > object->room)
		return 0;
	return field_load(visitor->memory->layout, object->bytes, id);
}

/* Reports the `count` items of an array in the target. */
void refer_items(struct visitor *visitor, vaddr items, uint64_t count);
