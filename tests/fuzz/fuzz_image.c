/* SPDX-License-Identifier: MIT */
/* Fuzzes the reader of cores and their notes: the input is the core. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct memory_file core;

	if (!core.fd)
		core = memory_file_create("core");
	memory_file_resize(&core, 0);
	memory_file_write(&core, bytes, size, 0);
	read_everything(core.path, NULL, MEMHEAP_IMAGE, 0);
	return 0;
}
