/* SPDX-License-Identifier: MIT */
/* module: the state of the C module behind it. Objects/moduleobject.c */
#include "decoders.h"

static bool module_measure(struct measure *measure, const struct object *object)
{
	if (!plain_measure(measure, object))
		return false;
	own(measure, object_field(measure, object, FIELD_MODULE_STATE), BUFFER_MODULE_STATE);
	return true;
}

const struct decoder decoder_module = {
	.type_name = "module",
	.size = FIELD_COUNT,
	.measure = module_measure,
};
