/* SPDX-License-Identifier: MIT */
/* What the user is told beside the answer: each notice has a stable code. */
#pragma once

#include "strings.h"
#include "vector.h"

enum notice_kind {
#define NOTICE(name, code, level, hint) NOTICE_##name,
#include "notices.def"
#undef NOTICE
	NOTICE_KINDS
};

struct notice_info {
	const char *code;  /* "MH0101" */
	const char *level; /* "info" or "warning" */
	const char *hint;  /* what to do about any of them; may be empty */
};

extern const struct notice_info notice_infos[NOTICE_KINDS];

struct notice {
	enum notice_kind kind;
	const char *text;
	const char *hint; /* what to do about it; may be empty */
};

struct notices {
	VECTOR(struct notice) list;
	struct strings strings;
};

/* Adds a notice; one that can't be stored is lost. */
void notice_add(struct notices *notices, enum notice_kind kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Replaces the hint of the notice added last. */
void notice_hint(struct notices *notices, const char *hint);

/* Takes back all but the first `count` notices. */
void notices_forget(struct notices *notices, size_t count);

void notices_deinit(struct notices *notices);
