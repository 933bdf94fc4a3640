/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * text: a slice of somebody's bytes, with its length and without a final 0.
 *
 * A slice owns nothing and lives as long as the bytes below it. Case is ASCII's, whatever the locale says.
 */
#ifndef REGISTRAR_TEXT_H
#define REGISTRAR_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text { const char *at; size_t len; };

#define TEXT(literal) ((struct text){ literal, sizeof(literal) - 1 })

static inline char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }
static inline bool ascii_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
static inline bool ascii_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool ascii_alpha(char c) { return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'; }

/** RFC 3261 25.1 `token` */
static inline bool ascii_token(char c) { return ascii_alpha(c) || ascii_digit(c) || (c && strchr("-.!%*_+`'~", c)); }

static inline int ascii_hex(char c)
{
	c = ascii_lower(c);
	return ascii_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline struct text text_of(const char *at, const char *end) { return (struct text){ at, (size_t)(end - at) }; }
static inline const char *text_end(struct text t) { return t.at + t.len; }
static inline struct text text_skip(struct text t, size_t n) { return (struct text){ t.at + n, t.len - n }; }

static inline struct text text_trim(struct text t)
{
	for (; t.len && ascii_space(t.at[0]); t = text_skip(t, 1))
		;
	for (; t.len && ascii_space(t.at[t.len - 1]); t.len--)
		;
	return t;
}

static inline bool text_same(struct text a, struct text b)
{
	return a.len == b.len && (!a.len || !memcmp(a.at, b.at, a.len));
}

static inline bool text_same_nocase(struct text a, struct text b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (ascii_lower(a.at[i]) != ascii_lower(b.at[i]))
			return false;
	return true;
}

/** Bytes before the first `c`, or all of them. */
static inline size_t text_find(struct text t, char c)
{
	const char *p = t.len ? memchr(t.at, c, t.len) : NULL;

	return p ? (size_t)(p - t.at) : t.len;
}

/**
 * text_cut - what stands before the first of `stops` that is neither quoted nor in <>
 * @rest: gets what follows the stop; empty when there was none
 * @ret_stop: the character that ended it, 0: the end of `t`; or NULL
 *
 * The result is trimmed. A quote or a < that is not closed reaches to the end.
 */
static inline struct text text_cut(struct text t, const char *stops, struct text *rest, char *ret_stop)
{
	bool quoted = false, angle = false;
	size_t i = 0;

	for (; i < t.len; i++) {
		char c = t.at[i];

		if (quoted && c == '\\' && i + 1 < t.len)
			i++;
		else if (c == '"' && !angle)
			quoted = !quoted;
		else if (!quoted && c == '<')
			angle = true;
		else if (!quoted && c == '>')
			angle = false;
		else if (!quoted && !angle && c && strchr(stops, c))
			break;
	}
	if (ret_stop)
		*ret_stop = i < t.len ? t.at[i] : 0;
	*rest = i < t.len ? text_skip(t, i + 1) : (struct text){ text_end(t), 0 };
	return text_trim((struct text){ t.at, i });
}

/** All of `t` as a decimal number, at most `max`, larger ones give `max`; false: it is none. */
static inline bool text_number(struct text t, uint64_t max, uint64_t *ret_number)
{
	uint64_t n = 0;

	if (!t.len)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (!ascii_digit(t.at[i]))
			return false;
		n = n > max / 10 ? max : n * 10 + (uint64_t)(t.at[i] - '0');
		n = n > max ? max : n;
	}
	*ret_number = n;
	return true;
}

/** Mix `t` into a hash. Start with a secret, so that nobody can choose what falls together. */
static inline uint64_t text_hash(uint64_t h, struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		h = (h ^ (unsigned char)t.at[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	h = (h ^ t.len) * 0xbf58476d1ce4e5b9ull;	/* "ab","c" is not "a","bc" */
	return h ^ h >> 31;
}

#endif /* REGISTRAR_TEXT_H */
