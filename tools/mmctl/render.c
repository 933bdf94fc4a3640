/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rows become a table, CSV, JSON or newline-delimited JSON; see render.h.
 *
 *	held back:	cells[row * count + column] -> text[at, len)	at most TABLE_BLOCK rows, then forgotten
 *
 * Memory is that of one block, whatever the number of rows. Numbers stand to the right, the last column is not padded.
 */
#include "render.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/behind.h"

#define BOLD "\033[1m"
#define RED "\033[31m"
#define NORMAL "\033[0m"

enum { GAP = 2 };

static const char spaces[] = "                                                                ";

static void pad(FILE *out, size_t count)
{
	for (size_t n; count; count -= n) {
		n = count < sizeof spaces - 1 ? count : sizeof spaces - 1;
		fwrite(spaces, 1, n, out);
	}
}

/* ---- JSON ---- */

/* U+200B to U+202E, U+2060 to U+207F: marks of direction, separators. `p` has two bytes more, or a 0. */
static bool directs(const unsigned char *p)
{
	return p[0] == 0xe2 && ((p[1] == 0x80 && p[2] >= 0x8b && p[2] <= 0xae) || (p[1] == 0x81 && p[2] >= 0xa0));
}

/* json-c leaves DEL, C1 and marks of direction as they are; inside strings, and nowhere else can they be. */
static void write_safe_json(FILE *out, const char *s)
{
	for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
		if (*p == 0x7f) {
			fputs("\\u007f", out);
		} else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
			fprintf(out, "\\u%04x", *++p);
		} else if (directs(p)) {
			fprintf(out, "\\u%04x", 0x2000u | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu));
			p += 2;
		} else {
			fputc(*p, out);
		}
	}
}

static void write_json(const struct style *st, struct json_object *value, int flags)
{
	const char *s = json_object_to_json_string_ext(value, flags | JSON_C_TO_STRING_NOSLASHESCAPE);

	if (!s)
		s = "null";
	if (st->terminal)
		write_safe_json(st->out, s);
	else
		fputs(s, st->out);
}

void render_json(const struct style *st, struct json_object *value)
{
	int pretty = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;

	write_json(st, value, st->terminal ? pretty : JSON_C_TO_STRING_PLAIN);
	fputc('\n', st->out);
}

static void json_row(struct render *r, struct json_object *row)
{
	if (r->st->format == JSON) {
		if (!r->rows)
			fprintf(r->st->out, "{\"%s\":[", r->member);
		fputs(r->rows ? ",\n" : "\n", r->st->out);
	}
	write_json(r->st, row, JSON_C_TO_STRING_PLAIN);
	if (r->st->format == NDJSON)
		fputc('\n', r->st->out);
}

static void json_end(struct render *r, struct json_object *tail)
{
	FILE *out = r->st->out;

	if (!r->rows)
		fprintf(out, "{\"%s\":[", r->member);
	fputs(r->rows ? "\n]" : "]", out);
	if (tail) {
		json_object_object_foreach(tail, name, value) {
			fprintf(out, ",\"%s\":", name);
			write_json(r->st, value, JSON_C_TO_STRING_PLAIN);
		}
	}
	fputs("}\n", out);
}

/* ---- CSV ---- */

static void csv_line(struct render *r, struct json_object *row)
{
	r->text.len = 0;
	for (unsigned i = 0; i < r->count; i++) {
		text_add(&r->text, ",", i > 0);
		if (row)
			cell_csv(r->columns[i], row, r->st->terminal, &r->text);
		else
			cell_csv_head(r->columns[i], &r->text);
	}
	text_add(&r->text, "\n", 1);
	fwrite(r->text.at, 1, r->text.len, r->st->out);
}

/* ---- table ---- */

static bool human(const struct render *r) { return r->st->terminal && r->st->format == TABLE; }

/* Of what is shown. @least: with every elastic column as narrow as may be. */
static size_t line_width(const struct render *r, const size_t *widths, bool least)
{
	size_t total = 0;

	for (unsigned i = 0; i < r->count; i++) {
		size_t min = r->columns[i]->elastic;

		if (!r->out[i])
			total += GAP + (least && min && widths[i] > min ? min : widths[i]);
	}
	return total - GAP;
}

/* Before the head is written: leave out spare columns until the rest can be made to fit. */
static void leave_out(struct render *r, const size_t *widths)
{
	while (line_width(r, widths, true) > r->st->width) {
		unsigned first = r->count;

		for (unsigned i = 0; i < r->count; i++)
			if (r->columns[i]->spare && !r->out[i] &&
			    (first == r->count || r->columns[i]->spare < r->columns[first]->spare))
				first = i;
		if (first == r->count)
			return;
		r->out[first] = true;
	}
}

/* Take from the widest elastic column until the line fits, or none can give. */
static void squeeze(const struct render *r, size_t *widths)
{
	for (size_t total = line_width(r, widths, false); total > r->st->width; total--) {
		size_t most = 0, *widest = NULL;

		for (unsigned i = 0; i < r->count; i++)
			if (!r->out[i] && r->columns[i]->elastic && widths[i] > r->columns[i]->elastic &&
			    widths[i] > most) {
				widest = &widths[i];
				most = *widest;
			}
		if (!widest)
			return;
		--*widest;
	}
}

void render_left_out(const struct render *r, char *buf, size_t bytes)
{
	size_t at = 0;

	*buf = 0;
	for (unsigned i = 0; i < r->count && at < bytes; i++)
		if (r->out[i])
			at += (size_t)snprintf(buf + at, bytes - at, "%s%s", at ? ", " : "", r->columns[i]->head);
}

/* A site is told by its end, other texts by their start. */
static void put_cut(const struct render *r, const struct column *c, const struct cell *cell, size_t width)
{
	const char *s = r->text.at + cell->at;
	size_t at;

	if (c->kind == SITE_OF) {
		at = text_fit(s, cell->len, cell->width - width + 1);
		fprintf(r->st->out, "%s%.*s", TEXT_CUT, (int)(cell->len - at), s + at);
	} else {
		at = text_fit(s, cell->len, width - 1);
		fprintf(r->st->out, "%.*s%s", (int)at, s, TEXT_CUT);
	}
}

/* Of those that are shown. */
static bool is_last(const struct render *r, unsigned column)
{
	while (++column < r->count)
		if (!r->out[column])
			return false;
	return true;
}

/* Where a line of `width` columns ends: before a blank, or in a word that is longer. */
static size_t line_end(const char *s, size_t len, size_t width)
{
	size_t fits = text_fit(s, len, width), word = fits;

	if (fits == len || !fits)
		return len;
	while (word && s[word] != ' ')
		word--;
	return word ? word : fits;
}

static void put_wrapped(const struct render *r, unsigned column, const struct cell *cell, const size_t *widths)
{
	const char *s = r->text.at + cell->at;
	size_t len = cell->len, indent = 0, n;

	for (unsigned i = 0; i < column; i++)
		indent += r->out[i] ? 0 : widths[i] + GAP;
	while ((n = line_end(s, len, widths[column])) < len) {
		fwrite(s, 1, n, r->st->out);
		n += s[n] == ' ';
		s += n;
		len -= n;
		fputc('\n', r->st->out);
		pad(r->st->out, indent);
	}
	fwrite(s, 1, len, r->st->out);
}

static void put_cell(const struct render *r, unsigned column, const struct cell *cell, const size_t *widths)
{
	const struct column *c = r->columns[column];
	size_t width = widths[column];
	size_t left = width > cell->width ? width - cell->width : 0;
	const char *s = r->text.at ? r->text.at + cell->at : "";

	if (cell_right(c))
		pad(r->st->out, left);
	if (r->st->color && cell->red)
		fputs(RED, r->st->out);
	if (cell->width > width && c->wraps)
		put_wrapped(r, column, cell, widths);
	else if (cell->width > width)
		put_cut(r, c, cell, width);
	else
		fwrite(s, 1, cell->len, r->st->out);
	if (r->st->color && cell->red)
		fputs(NORMAL, r->st->out);
	if (!cell_right(c) && !is_last(r, column))
		pad(r->st->out, left);
	if (!is_last(r, column))
		pad(r->st->out, GAP);
}

static unsigned head_lines(const struct render *r, unsigned column)
{
	unsigned lines = 1;

	for (const char *p = r->columns[column]->head; r->stacked && (p = strchr(p, ' ')); p++)
		lines++;
	return lines;
}

/* The piece of a head on line `line`, the last line being 0; "" above its words. */
static struct cell head_piece(const struct render *r, unsigned column, unsigned line)
{
	const char *head = r->columns[column]->head, *p = head;
	unsigned lines = head_lines(r, column);

	if (line >= lines)
		return (struct cell){ 0 };
	for (unsigned skip = lines - 1 - line; skip; skip--)
		p = strchr(p, ' ') + 1;
	return (struct cell){ .at = (size_t)(p - head), .len = lines > 1 ? strcspn(p, " ") : strlen(p) };
}

static void put_head_line(const struct render *r, const size_t *widths, unsigned line)
{
	struct text t = { 0 };
	size_t end = 0;

	for (unsigned i = 0; i < r->count; i++) {
		struct cell piece = head_piece(r, i, line);
		bool right = cell_right(r->columns[i]);
		int width = (int)widths[i];

		if (r->out[i])
			continue;
		text_format(&t, right ? "%*.*s" : "%-*.*s", width, (int)piece.len, r->columns[i]->head + piece.at);
		if (piece.len)
			end = t.len - (right ? 0 : widths[i] - piece.len);
		text_add(&t, spaces, GAP);
	}
	if (!t.failed)
		fprintf(r->st->out, r->st->color ? BOLD "%.*s" NORMAL "\n" : "%.*s\n", (int)end, t.at ? t.at : "");
	text_free(&t);
}

/* Columns are at least as wide as their heads, which are stacked when they would not fit side by side. */
static void fit_heads(struct render *r)
{
	size_t cells[COLUMNS_MAX];

	memcpy(cells, r->widths, sizeof cells);
	for (r->stacked = false;; r->stacked = true) {
		memcpy(r->widths, cells, sizeof cells);
		for (unsigned i = 0; i < r->count; i++)
			for (unsigned line = 0; line < head_lines(r, i); line++)
				if (r->widths[i] < head_piece(r, i, line).len)
					r->widths[i] = head_piece(r, i, line).len;
		if (r->stacked || !human(r) || !r->st->width || line_width(r, r->widths, false) <= r->st->width)
			return;
	}
}

static void put_head(struct render *r, const size_t *widths)
{
	unsigned lines = 1;

	for (unsigned i = 0; i < r->count; i++)
		if (!r->out[i] && head_lines(r, i) > lines)
			lines = head_lines(r, i);
	while (lines--)
		put_head_line(r, widths, lines);
	r->headed = true;
}

/* Write what is held back. */
static void flush(struct render *r)
{
	size_t widths[COLUMNS_MAX];

	for (size_t i = 0; i < r->held * r->count; i++)
		if (r->widths[i % r->count] < r->cells[i].width)
			r->widths[i % r->count] = r->cells[i].width;
	if (!r->headed)
		fit_heads(r);
	if (!r->headed && human(r) && r->st->width)
		leave_out(r, r->widths);
	memcpy(widths, r->widths, sizeof widths);
	if (human(r) && r->st->width)
		squeeze(r, widths);
	if (!r->headed)
		put_head(r, widths);
	for (size_t row = 0; row < r->held; row++) {
		ctl_give_way();
		for (unsigned i = 0; i < r->count; i++)
			if (!r->out[i])
				put_cell(r, i, &r->cells[row * r->count + i], widths);
		fputc('\n', r->st->out);
	}
	r->held = r->text.len = 0;
}

static struct cell *next_line(struct render *r)
{
	struct cell *line;

	ctl_give_way();
	if (r->held == TABLE_BLOCK)
		flush(r);
	if (!r->cells)
		r->cells = calloc((size_t)TABLE_BLOCK * r->count, sizeof *r->cells);
	line = r->cells ? r->cells + r->held++ * r->count : NULL;
	return line;
}

static bool refuse(struct render *r, const char *why)
{
	r->refused = true;
	if (why != r->error)
		snprintf(r->error, sizeof r->error, "%s", why);
	return false;
}

static bool table_row(struct render *r, struct json_object *row)
{
	struct cell *line = next_line(r);

	if (!line)
		return refuse(r, "out of memory");
	for (unsigned i = 0; i < r->count; i++)
		cell_table(r->columns[i], row, human(r), &r->text, &line[i]);
	return r->text.failed ? refuse(r, "out of memory") : true;
}

/* ---- all of them ---- */

void render_open(struct render *r, const struct style *st, const char *member, const struct column *columns)
{
	*r = (struct render){ .st = st, .member = member };
	for (; columns->head && r->count < COLUMNS_MAX; columns++) {
		if (st->format == TABLE && columns->hidden)
			continue;
		r->columns[r->count++] = columns;
	}
	if (st->format == CSV)
		csv_line(r, NULL);
}

static bool check_row(struct render *r, struct json_object *row)
{
	char why[160];

	if (!json_object_is_type(row, json_type_object)) {
		snprintf(r->error, sizeof r->error, "%s[%zu] is of type %s, not an object", r->member, r->rows,
			 json_type_to_name(json_object_get_type(row)));
		return refuse(r, r->error);
	}
	for (unsigned i = 0; i < r->count; i++) {
		if (cell_check(r->columns[i], row, why, sizeof why))
			continue;
		snprintf(r->error, sizeof r->error, "%s[%zu]: %s", r->member, r->rows, why);
		return refuse(r, r->error);
	}
	return true;
}

bool render_check(struct render *r, struct json_object *row)
{
	if (r->refused || !check_row(r, row))
		return false;
	r->rows++;
	return true;
}

bool render_row(struct render *r, struct json_object *row)
{
	if (r->refused || !check_row(r, row))
		return false;
	if (r->st->format == TABLE && !table_row(r, row))
		return false;
	if (r->st->format == CSV)
		csv_line(r, row);
	if (r->st->format == JSON || r->st->format == NDJSON)
		json_row(r, row);
	r->rows++;
	return true;
}

bool render_total(struct render *r, const char *label, struct json_object *total)
{
	unsigned at = cell_right(r->columns[0]) ? r->count - 1 : 0;
	struct cell *cell;
	char why[160];

	if (r->refused || r->st->format != TABLE)
		return !r->refused;
	for (unsigned i = 0; i < r->count; i++) {
		struct column c = *r->columns[i];

		c.may_lack = true;
		if (cell_check(&c, total, why, sizeof why))
			continue;
		snprintf(r->error, sizeof r->error, "total: %s", why);
		return refuse(r, r->error);
	}
	if (!table_row(r, total))
		return false;
	cell = r->cells + (r->held - 1) * r->count + at;
	cell->at = r->text.len;
	cell->len = cell->width = strlen(label);
	text_add(&r->text, label, cell->len);
	return true;
}

static void release(struct render *r)
{
	free(r->cells);
	text_free(&r->text);
	r->cells = NULL;
	r->held = 0;
}

void render_close(struct render *r, struct json_object *tail)
{
	if (r->refused) {
		render_abandon(r);
		return;
	}
	if (r->st->format == TABLE)
		flush(r);
	if (r->st->format == JSON)
		json_end(r, tail);
	release(r);
}

void render_abandon(struct render *r)
{
	if (r->st->format == TABLE && r->held)
		flush(r);
	release(r);
}
