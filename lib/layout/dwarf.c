/* SPDX-License-Identifier: MIT */
/*
 * One pass over the top level of all units finds the structures by name; then each field is
 * looked for in its structure. The first complete structure of a name wins.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "dwarf.h"

#define NAME_SIZE        48
#define TYPE_CHAIN_MAX   16
#define MEMBER_DEPTH_MAX 8

/* A structure that some field wants. */
struct wanted {
	char name[NAME_SIZE];
	bool found;
	Dwarf_Die structure;
};

struct reader {
	VECTOR(struct wanted) names;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct wanted *)a)->name, ((const struct wanted *)b)->name);
}

/* Once the names are sorted. */
static struct wanted *find_wanted(struct reader *reader, const char *name)
{
	struct wanted key;
	size_t length = strlen(name);

	if (length >= sizeof(key.name))
		return NULL;
	memcpy(key.name, name, length + 1);
	return bsearch(&key, reader->names.items, reader->names.count, sizeof(key), compare_names);
}

/* Copies the alternative that `*list` begins with and moves `*list` behind it. */
static bool next_alternative(const char **list, char *name, size_t size)
{
	size_t length = strcspn(*list, "|");

	if (!length || length >= size)
		return false;
	memcpy(name, *list, length);
	name[length] = '\0';
	*list += length + ((*list)[length] == '|');
	return true;
}

static bool serves(const struct field_name *field, const char *module)
{
	return !module || (field->module && !strcmp(field->module, module));
}

/* False when out of memory. */
static bool collect_names(struct reader *reader, const char *module)
{
	struct wanted *names;
	size_t kept = 0;

	for (size_t i = 0; i < FIELD_COUNT; i++) {
		const char *list = field_names[i].structure;
		char name[NAME_SIZE];

		while (serves(&field_names[i], module) &&
		       next_alternative(&list, name, sizeof(name))) {
			struct wanted *wanted = vector_push(&reader->names);

			if (!wanted)
				return false;
			*wanted = (struct wanted){ .found = false };
			strcpy(wanted->name, name);
		}
	}
	names = reader->names.items;
	if (reader->names.count)
		qsort(names, reader->names.count, sizeof(*names), compare_names);
	for (size_t i = 0; i < reader->names.count; i++) {
		if (!kept || compare_names(&names[kept - 1], &names[i]))
			names[kept++] = names[i];
	}
	reader->names.count = kept;
	return true;
}

/* Follows typedefs and qualifiers from `type` to a structure or another real type. */
static bool strip(Dwarf_Die *type)
{
	for (int i = 0; i < TYPE_CHAIN_MAX; i++) {
		Dwarf_Attribute attribute;

		switch (dwarf_tag(type)) {
		case DW_TAG_typedef:
		case DW_TAG_const_type:
		case DW_TAG_volatile_type:
		case DW_TAG_atomic_type:
			if (!dwarf_attr_integrate(type, DW_AT_type, &attribute) ||
			    !dwarf_formref_die(&attribute, type))
				return false;
			break;
		default:
			return true;
		}
	}
	return false;
}

static bool is_structure(Dwarf_Die *type)
{
	int tag = dwarf_tag(type);

	return (tag == DW_TAG_structure_type || tag == DW_TAG_union_type) &&
	       !dwarf_hasattr(type, DW_AT_declaration);
}

/* Takes `die` when it is a structure, or a typedef of one, that is wanted. */
static void consider(struct reader *reader, Dwarf_Die *die)
{
	int tag = dwarf_tag(die);
	struct wanted *wanted;
	const char *name;
	Dwarf_Die type;

	if (tag != DW_TAG_structure_type && tag != DW_TAG_union_type && tag != DW_TAG_typedef)
		return;
	name = dwarf_diename(die);
	wanted = name ? find_wanted(reader, name) : NULL;
	if (!wanted || wanted->found)
		return;
	type = *die;
	if (!strip(&type) || !is_structure(&type))
		return;
	wanted->structure = type;
	wanted->found = true;
}

static void find_structures(struct reader *reader, Dwarf *dwarf)
{
	Dwarf_CU *unit = NULL;
	Dwarf_Die root, child;

	while (!dwarf_get_units(dwarf, unit, &unit, NULL, NULL, &root, NULL)) {
		if (dwarf_child(&root, &child))
			continue;
		do {
			consider(reader, &child);
		} while (!dwarf_siblingof(&child, &child));
	}
}

static uint64_t attribute_u64(Dwarf_Die *die, unsigned name, uint64_t absent)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value;

	if (!dwarf_attr_integrate(die, name, &attribute) || dwarf_formudata(&attribute, &value))
		return absent;
	return value;
}

/* The type of a member, or of the elements of an array. */
static bool member_type(Dwarf_Die *member, Dwarf_Die *type)
{
	Dwarf_Attribute attribute;

	return dwarf_attr_integrate(member, DW_AT_type, &attribute) &&
	       dwarf_formref_die(&attribute, type) && strip(type);
}

/* Finds the member called `name` (`length` bytes) in `structure`, in anonymous members too. Adds
 * the bytes before it to `*offset`. */
static bool find_name(Dwarf_Die *structure, const char *name, size_t length, int depth,
		      Dwarf_Die *member, uint64_t *offset)
{
	Dwarf_Die child, type;

	if (depth > MEMBER_DEPTH_MAX || dwarf_child(structure, &child))
		return false;
	do {
		const char *found = dwarf_diename(&child);
		uint64_t at = attribute_u64(&child, DW_AT_data_member_location, 0);

		if (dwarf_tag(&child) != DW_TAG_member)
			continue;
		if (found && strlen(found) == length && !memcmp(found, name, length)) {
			*member = child;
			*offset += at;
			return true;
		}
		if (found || !member_type(&child, &type) || !is_structure(&type))
			continue;
		if (find_name(&type, name, length, depth + 1, member, offset)) {
			*offset += at;
			return true;
		}
	} while (!dwarf_siblingof(&child, &child));
	return false;
}

/* Where the bit-field `member` lies; `at` is the offset of its structure. DWARF 4 and later say
 * DW_AT_data_bit_offset; GCC before 11 said DW_AT_bit_offset, from the most significant bit. */
static void set_bits(Dwarf_Die *member, struct field *field, uint64_t bits)
{
	uint64_t from_start = attribute_u64(member, DW_AT_data_bit_offset, UINT64_MAX);
	uint64_t from_end = attribute_u64(member, DW_AT_bit_offset, UINT64_MAX);
	uint64_t bit = 0, storage = (uint64_t)field->size * 8;

	if (from_start != UINT64_MAX)
		bit = field->offset * 8ULL + from_start;
	else if (from_end != UINT64_MAX && storage >= from_end + bits)
		bit = field->offset * 8ULL + storage - from_end - bits;
	else
		bit = field->offset * 8ULL;
	field->offset = (uint32_t)(bit / storage * field->size);
	field->bit = (uint8_t)(bit - field->offset * 8ULL);
	field->bits = (uint8_t)bits;
}

/*
 * The size of a type, 0 where it is not told. libdw knows that of an array only in units that tell
 * their language, which those that dwz makes don't: CPython's arrays begin at 0.
 */
static uint64_t type_size(Dwarf_Die *type)
{
	Dwarf_Die element, range;
	Dwarf_Word size;
	uint64_t count = 1;

	if (!dwarf_aggregate_size(type, &size))
		return size;
	if (dwarf_tag(type) != DW_TAG_array_type || !member_type(type, &element) ||
	    dwarf_aggregate_size(&element, &size) || dwarf_child(type, &range))
		return 0;
	do {
		uint64_t last = attribute_u64(&range, DW_AT_upper_bound, UINT64_MAX);

		if (dwarf_tag(&range) == DW_TAG_subrange_type)
			count *= attribute_u64(&range, DW_AT_count, last + 1);
	} while (!dwarf_siblingof(&range, &range));
	return count * size;
}

/* Finds the member at dotted `path` of `length` bytes. */
static bool find_member(Dwarf_Die structure, const char *path, size_t length, struct field *field)
{
	const char *end = path + length;
	uint64_t offset = 0, bits;
	Dwarf_Die member, type = structure;
	uint64_t size;

	while (path < end) {
		const char *dot = memchr(path, '.', (size_t)(end - path));
		size_t name = (size_t)((dot ? dot : end) - path);

		if (!find_name(&type, path, name, 0, &member, &offset) ||
		    !member_type(&member, &type))
			return false;
		path += name + (dot ? 1 : 0);
	}
	size = type_size(&type);
	*field = (struct field){ (uint32_t)offset, (uint32_t)size, 0, 0, FROM_DWARF };
	bits = attribute_u64(&member, DW_AT_bit_size, 0);
	if (bits && size)
		set_bits(&member, field, bits);
	return true;
}

static bool read_size(struct wanted *wanted, struct field *field)
{
	int size = dwarf_bytesize(&wanted->structure);

	*field = (struct field){ (uint32_t)size, 1, 0, 0, FROM_DWARF };
	return size > 0;
}

/* Reads the first of the alternatives `members` that the structure has. */
static bool read_member(struct wanted *wanted, const char *members, struct field *field)
{
	char text[128];

	while (next_alternative(&members, text, sizeof(text))) {
		if (find_member(wanted->structure, text, strlen(text), field))
			return true;
	}
	return false;
}

static bool read_field(struct reader *reader, const struct field_name *name, struct field *field)
{
	const char *structures = name->structure;
	char text[128];

	while (next_alternative(&structures, text, sizeof(text))) {
		struct wanted *wanted = find_wanted(reader, text);

		if (wanted && wanted->found &&
		    (name->member ? read_member(wanted, name->member, field)
				  : read_size(wanted, field)))
			return true;
	}
	return false;
}

unsigned dwarf_read(const struct module *module, const char *extension,
		    struct field fields[FIELD_COUNT])
{
	const struct elf_file *file = module_dwarf(module);
	unsigned found = 0;
	Dwarf *dwarf, *alt;

	/* not the mapping that we have: libelf writes to it where sections are compressed */
	_cleanup_close_ int fd = file ? open(file->path, O_RDONLY | O_CLOEXEC) : -1;
	_cleanup_close_ int alt_fd =
		module->alt ? open(module->alt->path, O_RDONLY | O_CLOEXEC) : -1;
	struct reader reader = { 0 };

	if (fd < 0)
		return 0;
	dwarf = dwarf_begin(fd, DWARF_C_READ);
	if (!dwarf)
		return 0;
	/* libdw would look for what dwz took out of it on this machine only */
	alt = alt_fd < 0 ? NULL : dwarf_begin(alt_fd, DWARF_C_READ);
	if (alt)
		dwarf_setalt(dwarf, alt);
	if (collect_names(&reader, extension)) {
		find_structures(&reader, dwarf);
		if (alt)
			find_structures(&reader, alt);
		for (size_t i = 0; i < FIELD_COUNT; i++)
			found += serves(&field_names[i], extension) &&
				 read_field(&reader, &field_names[i], &fields[i]);
	}
	free(reader.names.items);
	dwarf_end(dwarf);
	dwarf_end(alt);
	return found;
}
