/* SPDX-License-Identifier: MIT */
/* The pipeline: read this first. Each stage fills one struct; afterwards everybody sees it const.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "snapshot.h"
#include "target/live/live.h"

/* What is known of the interpreter when only the head of the core was unpacked. */
static void notice_head(struct memheap_snapshot *s)
{
	const struct python_name *name = &s->python_name;
	const char *path = name->path;

	notice_add(&s->notices, NOTICE_HEAD_ONLY,
		   "only the first %llu bytes of the core were unpacked: %s%s",
		   (unsigned long long)s->target.file_size,
		   path ? "the version of Python is what a file is called by: "
			: "no file is called like a Python",
		   path ? path : "");
}

static void notice_state(struct memheap_snapshot *s)
{
	const struct target *target = &s->target;
	const struct gap *truncated = &target->gaps.kinds[GAP_CORE_TRUNCATED];
	const struct unpacked *unpacked = &target->unpacked;

	if (unpacked->flaw) {
		notice_add(&s->notices, NOTICE_STREAM_DAMAGED,
			   "the %s stream that holds the core %s near byte %llu", unpacked->format,
			   unpacked->flaw, (unsigned long long)unpacked->flaw_at);
		notice_hint(&s->notices, TARGET_FLAW_HINT);
	}
	if (unpacked->stopped)
		notice_head(s);
	if (truncated->count)
		notice_add(&s->notices, NOTICE_TRUNCATED,
			   "the core is truncated: %llu of %llu bytes are missing",
			   (unsigned long long)(target->expected_size - target->file_size),
			   (unsigned long long)target->expected_size);
	if (truncated->count && unpacked->flaw)
		notice_hint(&s->notices, TARGET_FLAW_HINT);
	if (!s->has_python)
		return;
	if (s->python.finalizing)
		notice_add(&s->notices, NOTICE_FINALIZING, "the interpreter was shutting down");
	if (!s->python.threads.count)
		notice_add(&s->notices, NOTICE_NO_THREADS, "the interpreter has no thread");
	if (s->python.collecting)
		notice_add(&s->notices, NOTICE_GC_RUNNING,
			   "a garbage collection was going on: GC links could not be checked");
}

/* What is not in the report because a malloc could not be walked. */
static void notice_malloc(struct memheap_snapshot *s)
{
	const struct malloc_map *malloc = &s->blocks.malloc;
	bool all = !s->blocks.pymalloc.arenas.count && !s->blocks.mimalloc.pages.count;
	const char *there = all ? "all objects lie there (PYTHONMALLOC=malloc)"
				: "objects and buffers of more than 512 bytes lie there";

	if (malloc->foreign_kind != FOREIGN_NONE)
		notice_add(
			&s->notices, NOTICE_MALLOC_NOT_WALKED,
			"the malloc of %s is %s, whose memory is not walked: %s, and are found by "
			"references to them, with the size that was asked for",
			malloc->foreign_module->path, foreign_name(malloc->foreign_kind), there);
	else if (!malloc->found)
		notice_add(&s->notices, NOTICE_MALLOC_NOT_WALKED,
			   "no malloc that is known was found: %s, and are found by references to "
			   "them; the memory of C code is accounted as unknown",
			   there);
}

/* Types whose size is made up by Python code. */
static void notice_objects(struct memheap_snapshot *s)
{
	size_t overridden = 0;

	for (size_t i = 0; i < s->objects.types.list.count; i++)
		overridden += s->objects.types.list.items[i].python_sizeof &&
			      s->objects.by_type[i].objects;
	if (overridden)
		notice_add(&s->notices, NOTICE_SIZEOF_OVERRIDDEN,
			   "%zu types define __sizeof__ in Python", overridden);
	if (s->objects.names_recovered)
		notice_add(
			&s->notices, NOTICE_NAMES_RECOVERED,
			"the names of %zu static types are not in the core: they were taken from "
			"their order in the interpreter, from what is known of their make, and "
			"from the modules that have them",
			s->objects.names_recovered);
	notice_malloc(s);
}

static void collect_gaps(struct memheap_snapshot *s)
{
	gaps_merge(&s->gaps, &s->target.gaps);
	gaps_merge(&s->gaps, &s->python.gaps);
	gaps_merge(&s->gaps, &s->blocks.gaps);
	gaps_merge(&s->gaps, &s->objects.gaps);
	s->gaps.kinds[GAP_REFERENCES_UNREADABLE].count += s->graph.incomplete;
}

/*
 * Whether an answer without an interpreter is worth having: info gives one of every core, the
 * others of a core that is cut off before the interpreter's data, which lie near its end.
 */
static bool can_do_without_python(const struct memheap_snapshot *s)
{
	return s->stage <= MEMHEAP_IMAGE ||
	       (s->target.gaps.kinds[GAP_CORE_TRUNCATED].count && s->python_name.path);
}

/* Finds the interpreter, or says in a notice why there is none. */
static struct memheap_error *load_python(struct memheap_snapshot *s,
					 const struct module_search *search,
					 enum memheap_layout_source layout)
{
	struct memheap_error *error =
		python_load(&s->python, &s->target, &s->modules, search, layout, &s->notices);

	s->has_python = !error;
	if (!error || error->status != MEMHEAP_NOT_PYTHON || !can_do_without_python(s))
		return error;
	if (s->stage > MEMHEAP_IMAGE)
		notice_add(&s->notices, NOTICE_PYTHON_CUT_OFF,
			   "the core is cut off before the data of the interpreter (%s): its "
			   "objects cannot be told apart",
			   s->python_name.path);
	else
		notice_add(&s->notices, NOTICE_NO_PYTHON, "%s", error->message);
	if (error->hint)
		notice_hint(&s->notices, error->hint);
	memheap_error_destroy(error);
	return NULL;
}

/* Whether the core holds any memory of the process's own: bit 0 of coredump_filter. */
static bool has_own_memory(const struct image *image)
{
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];

		if (segment->bytes && !segment->path && segment->permissions & PF_W)
			return true;
	}
	return false;
}

/* Errors of this stage speak of a part: names the core, and what can be done. */
static struct memheap_error *explain(const struct target *target, struct memheap_error *error)
{
	struct memheap_error *named = error;

	/* without a path memory ran out */
	if (!error || !target->path || error->status != MEMHEAP_NOT_PYTHON)
		return error;
	if (!strstr(error->message, target->path)) {
		named = error_create(error->status, "cannot decode %s: %s", target->path,
				     error->message);
		if (error->hint)
			named = error_hint(named, "%s", error->hint);
		memheap_error_destroy(error);
	}
	if (target->unpacked.flaw)
		return error_hint(named, "its %s stream %s near byte %llu: %s",
				  target->unpacked.format, target->unpacked.flaw,
				  (unsigned long long)target->unpacked.flaw_at, TARGET_FLAW_HINT);
	if (target->gaps.kinds[GAP_CORE_TRUNCATED].count)
		return error_hint(named,
				  "the core is truncated, %llu of %llu bytes are missing: raise "
				  "the limit (ulimit -c unlimited) and free the disk",
				  (unsigned long long)(target->expected_size - target->file_size),
				  (unsigned long long)target->expected_size);
	if (target->image.segments.count && !has_own_memory(&target->image))
		return error_hint(named,
				  "the core holds no memory of the process's own: next time, "
				  "echo 0x7f > /proc/PID/coredump_filter makes one that does");
	/* a process that was not taken is not known to info either */
	if (!target->image.segments.count)
		return named;
	return error_hint(named, "%s%smemheap info %s shows what is known of it",
			  named->hint ? named->hint : "", named->hint ? "; " : "",
			  target->live         ? strrchr(target->path, ' ') + 1
			  : target->from_input ? "-"
					       : target->path);
}

bool memheap_path_is_process(const char *path)
{
	return live_is_pid(path);
}

/* Makes the image: of a process that lives, or of a core. */
static struct memheap_error *open_target(struct memheap_snapshot *s, const char *path,
					 const struct memheap_options *options,
					 enum memheap_stage last)
{
	const struct live_options live = { options->mode, options->max_pause_ms };
	const struct target_options core = {
		.directory = options->temporary_directory,
		.head = last <= MEMHEAP_IMAGE && !options->whole,
		.parallel = &s->parallel,
	};

	if (live_is_pid(path))
		return live_load(&s->target, path, &live, &s->parallel);
	return target_open(&s->target, path, &core);
}

/* Whether the graph, which is only wished, is to be made; a notice tells why not. */
static bool can_have_graph(struct memheap_snapshot *s, uint64_t objects_max)
{
	if (!s->has_python)
		return false;
	if (s->objects.count <= objects_max)
		return true;
	notice_add(&s->notices, NOTICE_GRAPH_LEFT_OUT,
		   "who holds the %llu objects was not looked for: that takes about five times as "
		   "long as all else",
		   (unsigned long long)s->objects.count);
	notice_hint(&s->notices, "memheap suspects does it, or --suspects always");
	return false;
}

static struct memheap_error *build_graph(struct memheap_snapshot *s,
					 const struct memheap_options *options)
{
	const struct heap_view view = { &s->objects, &s->blocks, &s->python };

	if (options->graph_objects_max && !can_have_graph(s, options->graph_objects_max)) {
		s->stage = MEMHEAP_OBJECTS;
		return NULL;
	}
	s->has_graph = true;
	return graph_build(&s->graph, &view, &s->parallel);
}

static struct memheap_error *build(struct memheap_snapshot *s, const char *path,
				   const struct memheap_options *options, enum memheap_stage last)
{
	char process[32];
	struct debuginfod debuginfod = { .progress = options->progress, .notices = &s->notices };
	struct module_search search = {
		/* what the core itself tells comes at once */
		.debuginfod = last == MEMHEAP_IMAGE ? NULL : &debuginfod,
		.sysroot = options->sysroot,
		.executable = options->executable,
		.library_paths = options->library_paths,
		.library_path_count = options->library_path_count,
		.force = options->force_modules,
	};
	struct memheap_error *error;

	error = open_target(s, path, options, last);
	if (s->target.live) {
		snprintf(process, sizeof(process), "/proc/%d/root", (int)s->target.live->pid);
		search.process_root = process;
	}
	if (!error)
		error = modules_load(&s->modules, &s->target, &search, &s->notices);
	if (!error)
		python_name_find(&s->python_name, &s->target.process);
	if (!error && !stacks_find(&s->stacks, &s->target.image, &s->target.process))
		error = &error_no_memory;
	if (!error && !s->target.unpacked.stopped)
		error = load_python(s, &search, options->layout);
	debuginfod_end(&debuginfod);
	if (!error && last >= MEMHEAP_OBJECTS && s->has_python)
		error = blocks_build(&s->blocks, &s->python, &s->modules, &s->stacks, &s->parallel);
	if (!error && last >= MEMHEAP_OBJECTS && s->has_python)
		error = objects_build(&s->objects, &s->blocks, &s->python, &s->modules,
				      &s->parallel);
	if (!error && last >= MEMHEAP_GRAPH)
		error = build_graph(s, options);
	return error;
}

struct memheap_error *memheap_snapshot_create(const char *path,
					      const struct memheap_options *options,
					      enum memheap_stage last,
					      struct memheap_snapshot **ret)
{
	struct memheap_snapshot *s = calloc(1, sizeof(*s));
	struct memheap_error *error;

	if (!s)
		return &error_no_memory;
	s->stage = last;
	s->target.fd = -1;
	s->parallel.workers = options->threads ? options->threads : parallel_processors();
	s->parallel.progress = options->progress;
	error = explain(&s->target, build(s, path, options, last));
	if (error) {
		memheap_snapshot_destroy(s);
		return error;
	}
	notice_state(s);
	if (last >= MEMHEAP_OBJECTS && s->has_python)
		notice_objects(s);
	collect_gaps(s);
	*ret = s;
	return NULL;
}

bool memheap_snapshot_taking(const struct memheap_snapshot *s, struct memheap_taking *ret)
{
	const struct taking *taking = &s->target.process.taking;

	if (!taking->known)
		return false;
	*ret = (struct memheap_taking){
		.mode = taking_mode_name(taking->mode),
		.pause_us = (taking->pause_ns + 999) / 1000,
		.torn = taking_torn(taking),
	};
	return true;
}

void memheap_snapshot_destroy(struct memheap_snapshot *s)
{
	if (!s)
		return;
	graph_deinit(&s->graph);
	objects_deinit(&s->objects);
	blocks_deinit(&s->blocks);
	python_unload(&s->python);
	stacks_deinit(&s->stacks);
	modules_deinit(&s->modules);
	target_close(&s->target, &s->parallel);
	tree_deinit(&s->tree);
	notices_deinit(&s->notices);
	free(s);
}
