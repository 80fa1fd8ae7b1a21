/* SPDX-License-Identifier: MIT */
#include "graph.h"

#include <stdlib.h>

#define GRAIN 4096

/* The edges of a row of objects, which one worker has found. */
struct stretch {
	object_id first;
	unsigned worker;
	size_t begin, count; /* in the worker's edges */
};

struct PER_WORKER worker {
	VECTOR(edge_word) edges;
	VECTOR(struct stretch) stretches;
	VECTOR(object_id) uncounted;
	uint64_t incomplete;
	bool failed; /* out of memory */
};

struct build {
	struct graph *graph;
	const struct heap_view *view;
	struct worker *workers;
};

/* An object at work. */
struct source {
	const struct build *build;
	struct worker *worker;
};

/* Numbers the objects: false when out of memory. */
static bool number_objects(struct graph *graph, const struct block_map *map)
{
	uint64_t words = ((uint64_t)map->count + 63) / 64;
	uint32_t count = 0;

	graph->ranks = calloc(words + 1, sizeof(*graph->ranks));
	if (!graph->ranks)
		return false;
	for (uint64_t i = 0; i < words; i++) {
		struct block_rank *rank = &graph->ranks[i];
		uint64_t end = MIN((uint64_t)map->count - i * 64, 64);

		rank->before = count;
		for (uint64_t j = 0; j < end; j++) {
			uint64_t is_object = tag_state(map->tags[i * 64 + j]) == BLOCK_OBJECT;

			rank->objects |= is_object << j;
		}
		count += (uint32_t)__builtin_popcountll(rank->objects);
	}
	graph->count = count;
	graph->blocks = malloc(((uint64_t)count + 1) * sizeof(*graph->blocks));
	return graph->blocks;
}

static void list_blocks(struct graph *graph, uint64_t words)
{
	object_id id = 0;

	for (uint64_t i = 0; i < words; i++) {
		for (uint64_t left = graph->ranks[i].objects; left; left &= left - 1)
			graph->blocks[id++] = (block_id)(i * 64 + (uint64_t)__builtin_ctzll(left));
	}
}

static void add_edge(void *closure, block_id to, const struct reference *reference)
{
	struct source *source = closure;
	struct worker *worker = source->worker;
	object_id id = graph_object(source->build->graph, to);
	edge_word *edge = vector_push(&worker->edges);
	object_id *uncounted = reference->uncounted ? vector_push(&worker->uncounted) : NULL;

	if (edge)
		*edge = edge_make(reference->kind, id);
	if (uncounted)
		*uncounted = id;
	worker->failed |= !edge || (reference->uncounted && !uncounted);
}

/* Collects the edges of one object, and notes how many there are. */
static void visit_object(const struct build *build, struct worker *worker, object_id id,
			 const struct object *object)
{
	struct source source = { build, worker };
	size_t before = worker->edges.count;

	if (!references_visit(build->view, object, add_edge, &source))
		worker->incomplete++;
	build->graph->out.first[id + 1] = (uint32_t)(worker->edges.count - before);
}

static void begin_stretch(const struct build *build, unsigned index, object_id first)
{
	struct worker *worker = &build->workers[index];
	struct stretch *stretch = vector_push(&worker->stretches);

	if (stretch)
		*stretch = (struct stretch){ first, index, worker->edges.count, 0 };
	else
		worker->failed = true;
}

static void end_stretch(struct worker *worker)
{
	struct stretch *stretch;

	if (!worker->stretches.count)
		return;
	stretch = &worker->stretches.items[worker->stretches.count - 1];
	stretch->count = worker->edges.count - stretch->begin;
}

static void visit_run(void *context, unsigned index, const struct block_run *run)
{
	const struct build *build = context;
	const struct block_map *map = build->view->map;
	struct worker *worker = &build->workers[index];
	const uint8_t *bytes = run_bytes(run, build->view->python->memory.image);
	bool begun = false;

	for (uint32_t i = 0; bytes && i < run->count; i++) {
		struct object object;
		struct block block;

		if (tag_state(map->tags[run->first + i]) != BLOCK_OBJECT)
			continue;
		block = run_block(run, i, true);
		if (!object_in_block(build->view, &block, bytes + (block.start - run->start),
				     &object))
			continue;
		if (!begun)
			begin_stretch(build, index, graph_object(build->graph, block.id));
		begun = true;
		visit_object(build, worker, graph_object(build->graph, block.id), &object);
	}
	if (begun)
		end_stretch(worker);
}

/* Visits the objects in chunks and in static data: blocks [begin, end) from the first chunk on. */
static void visit_others(void *context, unsigned index, size_t begin, size_t end)
{
	const struct build *build = context;
	block_id first = build->view->map->first_chunk;
	bool begun = false;

	for (size_t i = begin; i < end; i++) {
		object_id id = graph_object(build->graph, first + (block_id)i);
		struct object object;

		if (id == OBJECT_NONE)
			continue;
		if (!object_get(build->view, first + (block_id)i, &object)) {
			build->workers[index].incomplete++;
			continue;
		}
		if (!begun)
			begin_stretch(build, index, id);
		begun = true;
		visit_object(build, &build->workers[index], id, &object);
	}
	if (begun)
		end_stretch(&build->workers[index]);
}

/* Makes counts, each one place behind its own, the places where the rows begin. */
static uint64_t sum_up(uint32_t *first, object_id count)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i <= count; i++) {
		sum += first[i];
		first[i] = (uint32_t)sum;
	}
	return sum;
}

static bool gather_uncounted(struct graph *graph, const struct worker *worker)
{
	for (size_t i = 0; i < worker->uncounted.count; i++) {
		object_id *uncounted = vector_push(&graph->uncounted);

		if (!uncounted)
			return false;
		*uncounted = worker->uncounted.items[i];
	}
	return true;
}

/* Puts the workers' edges where they belong. */
static struct memheap_error *gather(struct build *build, unsigned workers)
{
	struct graph *graph = build->graph;
	uint64_t sum = 0;

	for (unsigned i = 0; i < workers; i++) {
		if (build->workers[i].failed || !gather_uncounted(graph, &build->workers[i]))
			return &error_no_memory;
		sum += build->workers[i].edges.count;
		graph->incomplete += build->workers[i].incomplete;
	}
	if (sum > UINT32_MAX)
		return error_create(MEMHEAP_FAILED,
				    "cannot number the references: %llu are more "
				    "than 32 bits can tell",
				    (unsigned long long)sum);
	graph->edge_count = (uint32_t)sum_up(graph->out.first, graph->count);
	graph->out.to = malloc((sum + 1) * sizeof(*graph->out.to));
	if (!graph->out.to)
		return &error_no_memory;
	for (unsigned i = 0; i < workers; i++) {
		struct worker *worker = &build->workers[i];

		for (size_t j = 0; j < worker->stretches.count; j++) {
			const struct stretch *stretch = &worker->stretches.items[j];

			memcpy(graph->out.to + graph->out.first[stretch->first],
			       worker->edges.items + stretch->begin,
			       stretch->count * sizeof(*graph->out.to));
		}
		free(worker->edges.items);
		worker->edges.items = NULL;
	}
	return NULL;
}

static void free_workers(struct worker *workers, unsigned count)
{
	for (unsigned i = 0; workers && i < count; i++) {
		free(workers[i].edges.items);
		free(workers[i].stretches.items);
		free(workers[i].uncounted.items);
	}
	free(workers);
}

struct memheap_error *graph_build(struct graph *graph, const struct heap_view *view,
				  const struct parallel *parallel)
{
	const struct block_map *map = view->map;
	struct build build = { graph, view, NULL };
	struct memheap_error *error;

	if (!number_objects(graph, map))
		return &error_no_memory;
	if (graph->count > OBJECTS_MAX)
		return error_create(MEMHEAP_FAILED, "cannot number the objects: more than %u",
				    OBJECTS_MAX);
	list_blocks(graph, ((uint64_t)map->count + 63) / 64);
	graph->out.first = calloc((uint64_t)graph->count + 2, sizeof(*graph->out.first));
	build.workers = parallel_results(parallel, sizeof(*build.workers));
	if (!graph->out.first || !build.workers) {
		free(build.workers);
		return &error_no_memory;
	}
	blocks_each_run(map, parallel, "reading references", visit_run, &build);
	parallel_for(parallel, "reading references of chunks", map->count - map->first_chunk, GRAIN,
		     visit_others, &build);
	error = gather(&build, parallel->workers);
	free_workers(build.workers, parallel->workers);
	if (!error && !edges_reverse(&graph->out, graph->count, &graph->in, parallel))
		error = &error_no_memory;
	return error;
}

void edges_deinit(struct edges *edges)
{
	free(edges->first);
	free(edges->to);
	*edges = (struct edges){ 0 };
}

void graph_deinit(struct graph *graph)
{
	free(graph->ranks);
	free(graph->blocks);
	free(graph->uncounted.items);
	edges_deinit(&graph->out);
	edges_deinit(&graph->in);
	*graph = (struct graph){ 0 };
}
