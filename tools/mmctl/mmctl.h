/* SPDX-License-Identifier: BSD-2-Clause */
/* What every verb of mmctl works with. A verb is a row of verbs.def and a function verb_ID() in a file v_FAMILY.c. */
#ifndef MMCTL_MMCTL_H
#define MMCTL_MMCTL_H

#include "command.h"
#include "link.h"
#include "render.h"

struct mmctl {
	char **argv;		/* main()'s */
	struct command cmd;
	struct link link;
	struct style style;
};

/** A verb: does it all, returns the exit code. What went wrong has been said on stderr. */
typedef enum exit_code verb_fn(struct mmctl *m);
#define VERB(id, ...) verb_fn verb_##id;
#include "verbs.def"

/* ---- main.c ---- */

/** Say something on stderr, with the program's name in front. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- show.c: what verbs have in common ---- */

/** Call a method; say what went wrong. *ret_result is the caller's. */
enum exit_code ask(struct mmctl *m, const char *method, struct json_object *params, struct json_object **ret_result);
/** The verb's own method with the command line's parameters; the result must be an object. */
enum exit_code ask_own(struct mmctl *m, struct json_object **ret_result);

/** Say that an answer is not as it should be. Returns RC_REFUSED. */
enum exit_code odd(const struct mmctl *m, const char *what);

/** Member `name` of `object`, if it is an array; else NULL, and odd() has been called. */
struct json_object *array_of(const struct mmctl *m, struct json_object *object, const char *name);

/**
 * show - call the verb's method and print the rows of its result
 * @member: the rows' array in the result
 * @total: label of a last line from the result's `total`, or NULL
 * @none: what stderr is told when a table has no rows, or NULL
 *
 * json is the result as it came, but its rows are checked in every form.
 */
enum exit_code show(struct mmctl *m, const char *member, const struct column *columns, const char *total,
		    const char *none);
/** The same with a result that is there already and stays the caller's; an empty one is not remarked on. */
enum exit_code show_rows(struct mmctl *m, struct json_object *result, const char *member, const struct column *columns,
			 const char *total);

/** Of a table with estimates: what the ~ is. */
void say_estimated(const struct mmctl *m);
/** Say the pool and the reason of each row that has both: what an answer could not tell. */
void say_errors(struct json_object *list);
/** The same of rows that are about something else: `member` names it. */
void say_reasons(struct json_object *list, const char *member);

/** A row of pages(): returns whether to print it; may add members to it. */
typedef bool page_fn(struct json_object *row, void *arg);

/**
 * pages - fetch page after page of a method and print the rows as they come
 * @r: opened by the caller, so that several pages() can feed one table; its `member` is the rows' array
 * @params: changed (limit, cursor)
 * @left: rows that may still be printed, counted down
 * @fn: or NULL
 * @tail: an object that gets what came beside the rows, or NULL
 */
enum exit_code pages(struct mmctl *m, struct render *r, const char *method, struct json_object *params, uint64_t *left,
		     page_fn *fn, void *arg, struct json_object *tail);

/** The managers now and after the next restart. @prefix: of the domains' members; @only: a domain, or NULL. */
enum exit_code show_choice(struct mmctl *m, struct json_object *result, const char *prefix, const char *only);

/** All rows are printed, or could not be: close the table, complain about a refused row, pass the code on. */
enum exit_code finish(struct mmctl *m, struct render *r, enum exit_code code, struct json_object *tail);

#endif /* MMCTL_MMCTL_H */
