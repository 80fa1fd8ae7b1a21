/* SPDX-License-Identifier: MIT */
/* The arguments of a process, from the stack that it was started with. */
#pragma once

#include "image.h"
#include "process.h"

/*
 * Replaces process->command_line, which notes cut off, by all arguments, if the stack is in the
 * image and they are found there; else leaves it as it is.
 */
void arguments_read(struct process *process, const struct image *image);
