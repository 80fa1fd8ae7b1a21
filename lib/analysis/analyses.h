/* SPDX-License-Identifier: MIT */
/* The table of analyses. */
#pragma once

#include "report.h"

/* The analysis called `name`, or NULL. */
const struct analysis *analysis_find(const char *name);
