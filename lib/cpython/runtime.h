/* SPDX-License-Identifier: MIT */
/* The runtime: which interpreter this is, where its state is, its interpreters and threads. */
#pragma once

#include "memory.h"

/* One PyThreadState. */
struct thread_state {
	vaddr at;
	uint32_t interpreter; /* index */
	uint64_t id;          /* pthread_t */
	uint64_t native_id;   /* kernel's thread id; 0 before 3.11 */
};

/* One PyInterpreterState. */
struct interpreter {
	vaddr at;
	int64_t id;
	vaddr sys;      /* sys.__dict__; 0 while starting or after finalization */
	vaddr builtins; /* builtins.__dict__ */
	vaddr modules;  /* sys.modules */
	vaddr gc;       /* _gc_runtime_state; shared by all interpreters up to 3.8 */
};

/* A chunk of a thread's stack of Python frames (3.11 and later): mapped, not allocated. */
struct frame_stack {
	vaddr start, end;
};

struct python {
	const struct module *module; /* the ELF file that the interpreter is in */
	vaddr runtime;               /* _PyRuntime */
	const char *runtime_found;   /* how: "symbol _PyRuntime in .dynsym" */
	const char *version_found;   /* how the version was found */
	uint32_t version;            /* PY_VERSION_HEX */
	char version_text[24];       /* "3.13.0", "3.13.0rc1" */
	bool free_threaded;
	bool debug;             /* configured --with-pydebug */
	bool traces_references; /* configured --with-trace-refs */
	bool finalizing;
	bool refused;    /* the right one, with a layout that is not proven */
	bool collecting; /* some garbage collection was going on */
	struct layout layout;
	struct memory memory;
	vaddr type_type;                         /* PyType_Type */
	VECTOR(struct interpreter) interpreters; /* the main one first */
	VECTOR(struct thread_state) threads;
	VECTOR(struct frame_stack) frame_stacks; /* by start */
	struct gaps gaps;
	struct strings strings;
};

/*
 * Finds the interpreter in the image, chooses its layout, reads its interpreters and threads.
 * `files` is for separate debug files.
 */
struct memheap_error *python_load(struct python *python, const struct target *target,
				  struct modules *modules, const struct module_search *files,
				  enum memheap_layout_source layout, struct notices *notices);

void python_unload(struct python *python);

/* The word at symbol `name` of the interpreter's module. */
bool python_symbol(const struct python *python, const char *name, struct elf_symbol *ret);
