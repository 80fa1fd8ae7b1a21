/* SPDX-License-Identifier: MIT */
/* _io: BytesIO, StringIO, buffered files. Modules/_io */
#include "../refcount.h"
#include "decoders.h"

/* bytesio.c, bytesio_sizeof(): the bytes object inside counts unless others hold it too; in 2.7 it
 * is a block. */
static bool bytes_io_measure(struct measure *measure, const struct object *object)
{
	const struct memory *memory = measure->memory;
	const uint8_t *bytes;
	uint64_t length;
	vaddr buffer;

	if (!basic_measure(measure, object))
		return false;
	buffer = object_field(measure, object, FIELD_BYTESIO_BUFFER);
	if (!buffer)
		return true;
	if (layout_has(memory->layout, FIELD_BYTESIO_BUFFER_SIZE)) {
		length = object_field(measure, object, FIELD_BYTESIO_BUFFER_SIZE);
		measure->size += length;
		own(measure, buffer, length, BUFFER_IO_BUFFER);
		return true;
	}
	bytes = memory_struct(memory, buffer, SIZE_OBJECT);
	if (!bytes || !memory_field(memory, buffer, FIELD_VAR_SIZE, &length)) {
		measure->unreadable = true;
		return true;
	}
	/* sys.getsizeof(bytes): PyBytesObject_SIZE is offsetof(ob_sval) + 1 */
	if (object_refcount(memory->layout, bytes) == 1)
		measure->elsewhere = layout_offset(memory->layout, FIELD_BYTES_DATA) + 1 + length;
	measure->size += measure->elsewhere;
	return true;
}

static bool string_io_measure(struct measure *measure, const struct object *object)
{
	if (!plain_measure(measure, object))
		return false;
	own(measure, object_field(measure, object, FIELD_STRINGIO_BUFFER), 0, BUFFER_IO_BUFFER);
	return true;
}

/* bufferedio.c, buffered_sizeof() */
static bool buffered_measure(struct measure *measure, const struct object *object)
{
	uint64_t bytes;
	vaddr buffer;

	if (!basic_measure(measure, object))
		return false;
	buffer = object_field(measure, object, FIELD_BUFFERED_BUFFER);
	bytes = object_field(measure, object, FIELD_BUFFERED_BUFFER_SIZE);
	if (buffer)
		measure->size += bytes;
	own(measure, buffer, bytes, BUFFER_IO_BUFFER);
	own(measure, object_field(measure, object, FIELD_BUFFERED_LOCK), 0, BUFFER_LOCK);
	return true;
}

/* 2.7's file, on C's. Objects/fileobject.c */
static bool file_measure(struct measure *measure, const struct object *object)
{
	if (!plain_measure(measure, object))
		return false;
	if (object_has(measure, object, FIELD_FILE_BUFFER))
		own(measure, object_field(measure, object, FIELD_FILE_BUFFER), 0, BUFFER_IO_BUFFER);
	return true;
}

const struct decoder decoder_file = {
	.type_name = "file",
	.size = SIZE_FILE,
	.measure = file_measure,
};

const struct decoder decoder_bytes_io = {
	.type_name = "_io.BytesIO",
	.size = SIZE_BYTESIO,
	.measure = bytes_io_measure,
};

const struct decoder decoder_string_io = {
	.type_name = "_io.StringIO",
	.size = SIZE_STRINGIO,
	.measure = string_io_measure,
};

const struct decoder decoder_buffered_reader = {
	.type_name = "_io.BufferedReader",
	.size = SIZE_BUFFERED,
	.measure = buffered_measure,
};

const struct decoder decoder_buffered_writer = {
	.type_name = "_io.BufferedWriter",
	.size = SIZE_BUFFERED,
	.measure = buffered_measure,
};

const struct decoder decoder_buffered_random = {
	.type_name = "_io.BufferedRandom",
	.size = SIZE_BUFFERED,
	.measure = buffered_measure,
};
