/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes JSON text piece by piece: a page of 10,000 fragments is 3 MB of text here, 40 MB as a tree of json-c.
 *
 *	jw_open(w, '{'); jw_key(w, "pid"); jw_uint(w, 7); jw_close(w, '}');	{"pid":7}
 *
 * Commas come by themselves. The caller keeps the grammar: a key before each member's value, brackets that match.
 * Whatever goes in, what comes out is UTF-8 on one line: broken bytes become U+FFFD. When memory runs out `failed`
 * stays set and the text is of no use. Cost: amortised O(1) a byte.
 */
#ifndef CTL_JSON_WRITE_H
#define CTL_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_writer {
	char *text;			/* not ended by 0 */
	size_t len, size;
	bool comma;			/* the next value or key needs one */
	bool failed;
};

void jw_free(struct json_writer *w);

/** Cuts the text back to `len`, an earlier w->len, as if nothing had been written since; `comma` as it was then. */
void jw_cut(struct json_writer *w, size_t len, bool comma);

void jw_open(struct json_writer *w, char bracket);
void jw_close(struct json_writer *w, char bracket);
void jw_key(struct json_writer *w, const char *key);
void jw_null(struct json_writer *w);
void jw_bool(struct json_writer *w, bool value);
void jw_int(struct json_writer *w, int64_t value);
void jw_uint(struct json_writer *w, uint64_t value);
/** Rounded to 3 places; what is no number is null. */
void jw_real(struct json_writer *w, double value);
void jw_string(struct json_writer *w, const char *text);
void jw_bytes(struct json_writer *w, const char *text, size_t len);	/* a string that need not end with 0 */
/** A string of at most 511 bytes. */
__attribute__((format(printf, 2, 3))) void jw_format(struct json_writer *w, const char *format, ...);
/** "0x7f…" */
void jw_address(struct json_writer *w, uint64_t address);
/** JSON text as it is. */
void jw_raw(struct json_writer *w, const char *text, size_t len);
/** Bytes as they are, no comma: what stands between values. */
void jw_plain(struct json_writer *w, const char *text, size_t len);

#endif /* CTL_JSON_WRITE_H */
