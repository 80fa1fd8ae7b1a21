/* SPDX-License-Identifier: MIT */
#include "decoders.h"

#define STRING_MAX (16 << 20)

const char *const buffer_names[BUFFER_KINDS] = {
#define BUFFER(name, text) text,
#include "../buffers.def"
#undef BUFFER
};

extern const struct decoder decoder_array, decoder_async_generator, decoder_buffered_random,
	decoder_buffered_reader, decoder_buffered_writer, decoder_bytearray, decoder_bytes,
	decoder_bytes_io, decoder_cell, decoder_code, decoder_combinations,
	decoder_combinations_with_replacement, decoder_complex, decoder_coroutine,
	decoder_ctypes_data, decoder_ctypes_dict, decoder_ctypes_function_type,
	decoder_ctypes_pointer_type, decoder_ctypes_structure_type, decoder_ctypes_type,
	decoder_ctypes_union_type, decoder_datetime, decoder_decimal, decoder_deque, decoder_dict,
	decoder_element, decoder_element_2, decoder_element_iterator, decoder_file, decoder_float,
	decoder_frame, decoder_frozendict, decoder_frozenset, decoder_function, decoder_generator,
	decoder_hamt_array, decoder_hamt_bitmap, decoder_hamt_collision, decoder_instance,
	decoder_instance_method, decoder_int, decoder_list, decoder_lock, decoder_lock_2,
	decoder_long, decoder_lru_cache, decoder_memory_view, decoder_method, decoder_method_caller,
	decoder_module, decoder_ndarray, decoder_numpy_bytes, decoder_numpy_generic,
	decoder_numpy_void, decoder_odict, decoder_old_class, decoder_permutations,
	decoder_pickle_stack, decoder_pickler, decoder_product, decoder_rlock, decoder_set,
	decoder_simple_queue, decoder_sqlite_cache, decoder_str, decoder_string_io, decoder_struct,
	decoder_struct_3_8, decoder_syntax_tree, decoder_tee_data, decoder_tee_data_2, decoder_time,
	decoder_type, decoder_unicode, decoder_unpickler;

const struct decoder *const decoders[] = {
	&decoder_array,
	&decoder_async_generator,
	&decoder_buffered_random,
	&decoder_buffered_reader,
	&decoder_buffered_writer,
	&decoder_bytearray,
	&decoder_bytes,
	&decoder_bytes_io,
	&decoder_cell,
	&decoder_code,
	&decoder_combinations,
	&decoder_combinations_with_replacement,
	&decoder_complex,
	&decoder_coroutine,
	&decoder_ctypes_data,
	&decoder_ctypes_dict,
	&decoder_ctypes_function_type,
	&decoder_ctypes_pointer_type,
	&decoder_ctypes_structure_type,
	&decoder_ctypes_type,
	&decoder_ctypes_union_type,
	&decoder_datetime,
	&decoder_decimal,
	&decoder_deque,
	&decoder_dict,
	&decoder_element,
	&decoder_element_2,
	&decoder_element_iterator,
	&decoder_file,
	&decoder_float,
	&decoder_frame,
	&decoder_frozendict,
	&decoder_frozenset,
	&decoder_function,
	&decoder_generator,
	&decoder_hamt_array,
	&decoder_hamt_bitmap,
	&decoder_hamt_collision,
	&decoder_instance,
	&decoder_instance_method,
	&decoder_int,
	&decoder_list,
	&decoder_lock,
	&decoder_lock_2,
	&decoder_long,
	&decoder_lru_cache,
	&decoder_memory_view,
	&decoder_method,
	&decoder_method_caller,
	&decoder_module,
	&decoder_ndarray,
	&decoder_numpy_bytes,
	&decoder_numpy_generic,
	&decoder_numpy_void,
	&decoder_odict,
	&decoder_old_class,
	&decoder_permutations,
	&decoder_pickle_stack,
	&decoder_pickler,
	&decoder_product,
	&decoder_rlock,
	&decoder_set,
	&decoder_simple_queue,
	&decoder_sqlite_cache,
	&decoder_str,
	&decoder_string_io,
	&decoder_struct,
	&decoder_struct_3_8,
	&decoder_syntax_tree,
	&decoder_tee_data,
	&decoder_tee_data_2,
	&decoder_time,
	&decoder_tuple,
	&decoder_type,
	&decoder_unicode,
	&decoder_unpickler,
	NULL,
};

uint64_t own_string(struct measure *measure, vaddr at, enum buffer_kind kind)
{
	size_t length, bytes = 0;

	if (!at)
		return 0;
	if (image_string(measure->memory->image, at, STRING_MAX, &length))
		bytes = length + 1;
	else
		measure->unreadable = true;
	own(measure, at, bytes, kind);
	return bytes;
}
