/* SPDX-License-Identifier: MIT */
/* What the program says of itself. */
#pragma once

#include <stdio.h>

struct command;

void help_overview(FILE *out);
void help_command(const struct command *command, FILE *out);

/* The man page, as source for scdoc. */
void help_man(FILE *out);
