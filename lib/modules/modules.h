/* SPDX-License-Identifier: MIT */
/*
 * ELF files mapped in the target, and their twins on disk: what the kernel did not dump is
 * refilled from them, and symbols come from them.
 */
#pragma once

#include "../target/target.h"
#include "debuginfod.h"
#include "elf_file.h"

enum module_status {
	MODULE_FOUND,      /* on disk, with the build id that the core has */
	MODULE_UNREAD,     /* on disk; its shape fits, and its build id was not unpacked */
	MODULE_UNVERIFIED, /* on disk; without a build id, its shape fits */
	MODULE_FORCED,     /* on disk with another build id, used by --force-modules */
	MODULE_MISMATCH,   /* on disk with another build id, not used */
	MODULE_MISSING,    /* not on disk */
};

struct module {
	const char *path; /* in the target */
	vaddr start, end; /* its lowest and highest address, .bss included */
	vaddr first_end;  /* of its first mapping */
	vaddr bias;       /* address in the target - link address */
	struct build_id build_id;
	bool unread;                /* where the build id may be, the core was not unpacked */
	struct elf_headers headers; /* load_count 0: not in the core */
	enum module_status status;
	struct elf_file *file; /* NULL unless found, unverified or forced */
	/* NULL when there is none, or not looked for: */
	struct elf_file *mini;  /* what .gnu_debugdata of `file` holds */
	struct elf_file *debug; /* separate debug file */
	struct elf_file *alt;   /* what dwz took out of that one */
	bool debug_tried;
	char *tried; /* paths that were looked at, for messages */
};

struct modules {
	VECTOR(struct module) list; /* by start */
	struct module *executable;  /* NULL when the core doesn't tell */
};

/* Where files of the target may be found, besides their own path. */
struct module_search {
	const char *sysroot;
	const char *executable;
	const char *const *library_paths;
	size_t library_path_count;
	const char *process_root; /* /proc/PID/root of a live process; NULL: a core */
	bool force;
	struct debuginfod *debuginfod; /* NULL: not to be asked */
};

/*
 * Finds the target's modules and their files, and refills missing read-only segments from them.
 * Files that are missing or differ are noticed.
 */
struct memheap_error *modules_load(struct modules *modules, struct target *target,
				   const struct module_search *search, struct notices *notices);

void modules_deinit(struct modules *modules);

/* The module that has `at` between its start and end, or NULL. */
const struct module *modules_find(const struct modules *modules, vaddr at);

/* Whether `module` is the extension module called one of `names`, parted by "|":
 * "array.cpython-312-…so". */
bool module_is_extension(const struct module *module, const char *names);

/* How many bytes of `segment`, from its start, are writable data of `module`. Its .bss may share a
 * mapping with memory behind the module. */
uint64_t module_writable_size(const struct module *module, const struct segment *segment);

/* How many bytes of `segment`, from its start, are a module's data that can be read: what is
 * writable, or was while it was relocated. */
uint64_t modules_data_size(const struct modules *modules, const struct segment *segment);

/* Looks for the debug files of `module`, once: .gnu_debugdata, then a separate file by build id,
 * by .gnu_debuglink, by debuginfod. */
void module_load_debug(struct module *module, const struct module_search *search);

/* The address in the target of symbol `name`, from the module's file or debug files. */
bool module_symbol(const struct module *module, const char *name, struct elf_symbol *ret);

/* The address in the target of section `name`. */
bool module_section(const struct module *module, const char *name, struct elf_symbol *ret);

/* The file of `module` that has DWARF, or NULL. */
const struct elf_file *module_dwarf(const struct module *module);

/* What `status` is called in reports. */
const char *module_status_name(enum module_status status);
