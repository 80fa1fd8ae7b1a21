/* SPDX-License-Identifier: MIT */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>

#include "../layout/debug_offsets.h"
#include "version.h"

#define LEVEL_ALPHA 0xA
#define LEVEL_BETA  0xB
#define LEVEL_RC    0xC
#define LEVEL_FINAL 0xF

void version_format(uint32_t hex, char text[24])
{
	static const char *const levels[16] = {
		[LEVEL_ALPHA] = "a",
		[LEVEL_BETA] = "b",
		[LEVEL_RC] = "rc",
	};
	const char *level = levels[hex >> 4 & 0xF];
	int length = snprintf(text, 24, "%u.%u.%u", hex >> 24, hex >> 16 & 0xFF, hex >> 8 & 0xFF);

	if (level)
		snprintf(text + length, 24 - (size_t)length, "%s%u", level, hex & 0xF);
}

static bool is_plausible(uint32_t hex)
{
	return hex >> 24 == 3 && (hex >> 16 & 0xFF) < 64;
}

/* Parses what Py_GetVersion() returns: "3.8.18 (default, Aug 25 2023, 13:20:30) \n[GCC …". */
static uint32_t parse_text(const char *text, uint64_t room)
{
	unsigned major, minor, micro, serial = 0, level = LEVEL_FINAL;
	int length = 0, more = 0;
	char copy[48];
	char tag[3];

	snprintf(copy, sizeof(copy), "%.*s", (int)MIN(room, sizeof(copy) - 1), text);
	if (sscanf(copy, "%1u.%2u.%3u%n", &major, &minor, &micro, &length) != 3)
		return 0;
	if (sscanf(copy + length, "%2[abrc]%2u%n", tag, &serial, &more) == 2)
		level = tag[0] == 'a' ? LEVEL_ALPHA : tag[0] == 'b' ? LEVEL_BETA : LEVEL_RC;
	length += more;
	if (copy[length] == '+')
		length++;
	if ((major != 2 && major != 3) || minor > 63 || micro > 255 ||
	    strncmp(copy + length, " (", 2))
		return 0;
	return major << 24 | minor << 16 | micro << 8 | level << 4 | serial;
}

/* Looks for that text, of major version `begin`, in the writable data of `module`. */
static uint32_t scan_text(const struct image *image, const struct module *module, const char *begin)
{
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		const char *bytes = (const char *)segment->bytes, *at = bytes;
		size_t size = module_writable_size(module, segment);

		while (size && (at = memmem(at, size - (size_t)(at - bytes), begin, 2))) {
			uint32_t hex = parse_text(at, size - (size_t)(at - bytes));

			if (hex)
				return hex;
			at++;
		}
	}
	return 0;
}

bool version_find(const struct image *image, const struct module *module, vaddr runtime,
		  struct python_version *ret)
{
	struct elf_symbol symbol;
	uint32_t hex;

	*ret = (struct python_version){ 0 };
	/* Include/object.h: exported where Py_REF_DEBUG is defined */
	ret->debug = module_symbol(module, "_Py_NegativeRefcount", &symbol);
	/* Include/modsupport.h: in place of PyModule_Create2 */
	ret->traces_references = module_symbol(module, "PyModule_Create2TraceRefs", &symbol);
	if (debug_offsets_at(image, runtime, &ret->hex, &ret->free_threaded)) {
		ret->debug_offsets = true;
		ret->found = "_Py_DebugOffsets";
		return is_plausible(ret->hex);
	}
	if (module_symbol(module, "Py_Version", &symbol) &&
	    image_u32(image, symbol.address, &hex) && is_plausible(hex)) {
		ret->hex = hex;
		ret->found = "symbol Py_Version";
		return true;
	}
	ret->hex = scan_text(image, module, "3.");
	if (!ret->hex)
		ret->hex = scan_text(image, module, "2.");
	ret->found = "text of Py_GetVersion()";
	return ret->hex;
}
