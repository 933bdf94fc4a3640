/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a person can type, as tables: verbs.def in C. Pure data, so that the parser, `mmctl help`, the completion's
 * generator and the manual's can all link it.
 */
#ifndef MMCTL_VERBS_H
#define MMCTL_VERBS_H

#include <stdbool.h>
#include <stddef.h>

/** Exit codes: RC_OK, RC_REFUSED, … */
enum exit_code {
#define EXITS(id, code, text) RC_##id = code,
#include "verbs.def"
};

/** How an option's or operand's text becomes a parameter; see verbs.def. */
enum how { GLOBAL, MARK, FIXED, WORD, NUMBER, BYTES, AGE, COUNT };

enum operand_id {
	A_NONE,
#define OPERAND(id, ...) A_##id,
#include "verbs.def"
	OPERANDS_END
};

enum option_id {
	O_NONE,
#define OPTION(id, ...) O_##id,
#include "verbs.def"
	OPTIONS_END
};

enum verb_id {
#define VERB(id, ...) V_##id,
#include "verbs.def"
	VERBS_END
};

enum { OPERANDS_MAX = 3, OPTIONS_MAX = 16 };

struct operand {
	const char *metavar, *param, *allowed;	/* allowed: words with a space between; NULL: any */
	bool optional;
	const char *help;
};

struct option_row {
	char letter;				/* 0: none */
	const char *name, *metavar, *param;	/* metavar NULL: takes no argument */
	enum how how;
	const char *value;			/* FIXED: what is sent; WORD, GLOBAL: allowed words or NULL */
	const char *help;
};

struct verb {
	const char *words, *method;		/* method NULL: none of its own */
	enum operand_id operands[OPERANDS_MAX];	/* A_NONE ends */
	enum option_id options[OPTIONS_MAX];	/* O_NONE ends; the GLOBAL ones come on top */
	const char *summary, *details, *example;
};

struct exit_row { const char *name; int code; const char *help; };

extern const struct operand operands[OPERANDS_END];	/* [A_NONE] is empty */
extern const struct option_row option_rows[OPTIONS_END];	/* [O_NONE] is empty */
extern const struct verb verbs[VERBS_END];
extern const struct exit_row exit_rows[];
extern const size_t exit_rows_count;

/** Does its operand begin another program's command line? Options of the verb stand before it. */
static inline bool verb_runs(const struct verb *v) { return v->operands[0] == A_PROGRAM; }

/** Is `word`, `len` bytes of it, one of `words` (space between)? */
bool word_in(const char *words, const char *word, size_t len);

#endif /* MMCTL_VERBS_H */
