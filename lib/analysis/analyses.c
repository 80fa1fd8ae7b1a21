/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "analyses.h"

extern const struct analysis analysis_analyze, analysis_arenas, analysis_cycles, analysis_deep,
	analysis_gc, analysis_info, analysis_leaks, analysis_list, analysis_object,
	analysis_objects, analysis_path, analysis_refcounts, analysis_referrers, analysis_refs,
	analysis_regions, analysis_retained, analysis_suspects, analysis_tree, analysis_types;

static const struct analysis *const analyses[] = {
	&analysis_analyze,   &analysis_arenas,  &analysis_cycles,  &analysis_deep,
	&analysis_gc,        &analysis_info,    &analysis_leaks,   &analysis_list,
	&analysis_object,    &analysis_objects, &analysis_path,    &analysis_refcounts,
	&analysis_referrers, &analysis_refs,    &analysis_regions, &analysis_retained,
	&analysis_suspects,  &analysis_tree,    &analysis_types,
};

static const struct memheap_report_shape *const shapes[] = {
	&analysis_analyze.shape,   &analysis_arenas.shape,
	&analysis_cycles.shape,    &analysis_deep.shape,
	&analysis_gc.shape,        &analysis_info.shape,
	&analysis_leaks.shape,     &analysis_list.shape,
	&analysis_object.shape,    &analysis_objects.shape,
	&analysis_path.shape,      &analysis_refcounts.shape,
	&analysis_referrers.shape, &analysis_refs.shape,
	&analysis_regions.shape,   &analysis_retained.shape,
	&analysis_suspects.shape,  &analysis_tree.shape,
	&analysis_types.shape,     NULL,
};

const struct analysis *analysis_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(analyses); i++) {
		if (!strcmp(analyses[i]->shape.name, name))
			return analyses[i];
	}
	return NULL;
}

const struct memheap_report_shape *const *memheap_report_shapes(void)
{
	return shapes;
}
