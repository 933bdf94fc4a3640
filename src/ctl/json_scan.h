/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A strict look at JSON text before anybody parses it: RFC 8259 to the letter, UTF-8, bounded depth.
 *
 * json-c 0.16 alone would not do: it takes NaN, control characters and bytes after a NUL, cuts keys at \u0000,
 * replaces lone surrogates and saturates big integers. What passes here may be handed to it; and a value that must be
 * given back unaltered (an id of 30 digits) is a span of the text, never a parsed number.
 * Nothing allocates. Cost: one pass over the text, a level of the stack for each level of nesting.
 */
#ifndef CTL_JSON_SCAN_H
#define CTL_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/** A piece of the scanned text. */
struct json_span { const char *at; size_t len; };

/** What is wrong, and at which byte. */
struct json_fault { size_t offset; const char *why; };

/**
 * json_check - is `text` exactly one JSON value?
 * @depth: levels of arrays and objects that are allowed
 *
 * Also refused, since nobody could give them back unaltered: keys with \u0000, lone surrogates.
 * Returns true, or false and *ret_fault says why.
 */
bool json_check(struct json_span text, unsigned depth, struct json_fault *ret_fault);

/* The rest demands text that json_check() took. */

/** The value without the white space around it. */
struct json_span json_trim(struct json_span text);

/**
 * json_element, json_member - the next element of an array, member of an object
 * @at: in: 0 the first time; out: where to go on
 *
 * Returns false after the last.
 */
bool json_element(struct json_span array, size_t *at, struct json_span *ret_value);
bool json_member(struct json_span object, size_t *at, struct json_span *ret_key, struct json_span *ret_value);

/** Does a key or string, escapes resolved, read `name` (ASCII)? */
bool json_is(struct json_span string, const char *name);

#endif /* CTL_JSON_SCAN_H */
