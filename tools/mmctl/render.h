/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rows of JSON become a table, CSV, JSON or newline-delimited JSON.
 *
 *	struct style st = …;	struct render r;
 *	render_open(&r, &st, "pools", pool_columns);
 *	while (…)	render_row(&r, row);		one row, checked against the columns
 *	render_total(&r, "total", total);		tables only
 *	render_close(&r, tail);				json: the members that come after the rows
 *
 * On a terminal that is too narrow for a table the heads' words stand one above the other, then texts are cut, or
 * a last column's go on in the next line, and when that does not do columns are left out, which stderr is told.
 *
 * Rows stream: a table is held back for TABLE_BLOCK rows to find its widths, which never shrink afterwards; the
 * other forms hold nothing. A row that is not as the columns say is refused with a text, in every form:
 * it comes from a daemon that may be of another version, or hostile.
 */
#ifndef MMCTL_RENDER_H
#define MMCTL_RENDER_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "text.h"

enum format { TABLE, JSON, CSV, NDJSON };

/** How to write. On a terminal a table has units, local time and no more columns than the terminal. */
struct style {
	FILE *out;
	enum format format;
	bool terminal, color;
	unsigned width;			/* columns of the terminal, 0: no limit */
};

enum kind {
	TEXT_OF,			/* a string */
	COMMAND_OF,			/* a command line; a table shows its start, without the program's directory */
	STATE_OF,			/* a string; crashed, damaged in red */
	OK_OF,				/* true "ok", false "damaged", null "unknown" */
	COUNT_OF, BYTES_OF,		/* a whole number, not negative */
	NUMBER_OF,			/* any number */
	SECONDS_OF,			/* an age, fractions allowed */
	RATE_OF,			/* bytes a second, may be negative */
	TIME_OF,			/* seconds since the epoch */
	TRUTH_OF,			/* true, false */
	MARK_OF,			/* true a star, false nothing; strings, alone or in an array, as they are */
	ANY_OF,				/* a string, or any other value as JSON */
	WORDS_OF,			/* an array of strings */
	SERIES_OF,			/* an array of bytes */
	SITE_OF,			/* {file, function, line, module} */
	OWNER_OF,			/* {pid, command, alive} */
};

struct column {
	const char *head, *member;	/* member: "used" or "walked.used" */
	enum kind kind;
	bool may_lack;			/* a row without it is no error: as null */
	unsigned elastic;		/* columns to which a narrow terminal may cut it; 0: it is never cut */
	unsigned spare;			/* a terminal that is narrower still leaves out 1 first, then 2, …; 0: never */
	bool hidden;			/* in CSV, not in a table */
	bool estimates;			/* a table puts a ~ before it where the row says that it is estimated */
	bool wraps;			/* an elastic one, the last: instead of being cut it goes on in lines below */
	const char *other;		/* numbers: second member; a table shows a/b where they differ, CSV both.
					 * sites: a string that a table shows where the site is null */
};

enum { TABLE_BLOCK = 1000, COLUMNS_MAX = 24 };

/** A table's cell: its text in render.text, its width on the terminal. */
struct cell { size_t at, len, width; bool red; };

struct render {
	const struct style *st;
	const struct column *columns[COLUMNS_MAX];
	unsigned count;			/* of columns */
	const char *member;		/* the rows' array in json */
	size_t rows;			/* written or held back */
	struct cell *cells;		/* of the rows held back */
	size_t held;
	size_t widths[COLUMNS_MAX];
	struct text text;		/* of the cells */
	bool headed, refused;
	bool stacked;			/* a head's words stand one above the other */
	bool out[COLUMNS_MAX];		/* left out: the terminal is too narrow */
	char error[256];		/* what was wrong with a row */
};

/** Start. Columns end with head NULL. @member: name of the rows' array in json. */
void render_open(struct render *r, const struct style *st, const char *member, const struct column *columns);

/** One row. False: it is not as the columns say, r->error tells how; nothing of it was written. */
bool render_row(struct render *r, struct json_object *row);

/** The check alone; the row counts as written. */
bool render_check(struct render *r, struct json_object *row);

/** In a table: a last line, `label` in its first column, or in its last where the first is a number. Null is `-`. */
bool render_total(struct render *r, const char *label, struct json_object *total);

/** Heads that were left out, ", " between; "": none. For after the first rows have been written. */
void render_left_out(const struct render *r, char *buf, size_t bytes);

/** Write what is held back. @tail: an object or NULL; its members follow the rows in json. Frees all. */
void render_close(struct render *r, struct json_object *tail);

/** Free without an end: what is held back is written, a json document stays open, so that nobody takes it for whole. */
void render_abandon(struct render *r);

/** A whole value as JSON: indented on a terminal, else one line. */
void render_json(const struct style *st, struct json_object *value);

/** Value at "a.b" of an object; false when it is absent. Null is a value: *ret is NULL. */
bool json_at(struct json_object *object, const char *path, struct json_object **ret);

/* ---- cell.c: one value, checked and written ---- */

/** Is the row's value what the column says? False: `error` says what is wrong. */
bool cell_check(const struct column *c, struct json_object *row, char *error, size_t bytes);
/** Add the value as a table shows it; its text and width are noted in *ret. The row has passed cell_check(). */
void cell_table(const struct column *c, struct json_object *row, bool human, struct text *to, struct cell *ret);
/** Add the value as CSV, without the comma before; kinds that stand for several fields have commas inside. */
void cell_csv(const struct column *c, struct json_object *row, bool terminal, struct text *to);
/** Add the names of the value's CSV fields. */
void cell_csv_head(const struct column *c, struct text *to);
/** Numbers are set to the right. */
bool cell_right(const struct column *c);

#endif /* MMCTL_RENDER_H */
