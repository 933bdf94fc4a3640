/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Strict JSON by recursive descent over the text, one function a rule of RFC 8259.
 *
 *	value -> object | array | string | number | true | false | null
 *
 * Invariant: s->at never passes s->end; a rule returns true with s->at behind what it took, or false with s->why set
 * and s->at at the fault.
 */
#include "ctl/json_scan.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

struct scan {
	const char *at, *end;
	unsigned depth;			/* levels that are left */
	const char *why;
};

static bool value(struct scan *s);

static bool wrong(struct scan *s, const char *why)
{
	s->why = why;
	return false;
}

static bool take(struct scan *s, char c)
{
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

static void blank(struct scan *s)
{
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r' || *s->at == '\n'))
		s->at++;
}

static bool digits(struct scan *s)
{
	const char *from = s->at;

	while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
		s->at++;
	return s->at > from || wrong(s, "digit expected");
}

static bool number(struct scan *s)
{
	take(s, '-');
	if (!take(s, '0') && !digits(s))
		return false;
	if (take(s, '.') && !digits(s))
		return false;
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '+'))
			take(s, '-');
		return digits(s);
	}
	return true;
}

static bool word(struct scan *s, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(s->end - s->at) < len || memcmp(s->at, text, len))
		return wrong(s, "value expected");
	s->at += len;
	return true;
}

/* One character of two bytes or more. */
static bool utf8(struct scan *s)
{
	uint32_t c;
	size_t len = utf8_char(s->at, (size_t)(s->end - s->at), &c);

	if (!len)
		return wrong(s, "not UTF-8");
	s->at += len;
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* Four hex digits, or -1. */
static int hex4(struct scan *s)
{
	int code = 0;

	for (int i = 0; i < 4; i++, s->at++) {
		int digit = s->at < s->end ? hex_digit(*s->at) : -1;

		if (digit < 0)
			return -1;
		code = code << 4 | digit;
	}
	return code;
}

/* Behind \u. A high surrogate must have its low one. */
static bool escaped_unicode(struct scan *s, bool key)
{
	int code = hex4(s);

	if (code < 0)
		return wrong(s, "four hex digits expected");
	if (!code && key)
		return wrong(s, "\\u0000 in a key");
	if (code >= 0xdc00 && code <= 0xdfff)
		return wrong(s, "lone surrogate");
	if (code >= 0xd800 && code <= 0xdbff) {
		if (!take(s, '\\') || !take(s, 'u'))
			return wrong(s, "lone surrogate");
		code = hex4(s);
		if (code < 0xdc00 || code > 0xdfff)
			return wrong(s, "lone surrogate");
	}
	return true;
}

static bool escape(struct scan *s, bool key)
{
	if (s->at < s->end && *s->at && strchr("\"\\/bfnrt", *s->at)) {
		s->at++;
		return true;
	}
	return take(s, 'u') ? escaped_unicode(s, key) : wrong(s, "unknown escape");
}

static bool string(struct scan *s, bool key)
{
	if (!take(s, '"'))
		return wrong(s, key ? "key expected" : "value expected");
	while (s->at < s->end) {
		unsigned char c = (unsigned char)*s->at;

		if (c == '"')
			return take(s, '"');
		if (c < 0x20)
			return wrong(s, "control character in a string");
		if (c >= 0x80) {
			if (!utf8(s))
				return false;
			continue;
		}
		s->at++;
		if (c == '\\' && !escape(s, key))
			return false;
	}
	return wrong(s, "string does not end");
}

static bool array(struct scan *s)
{
	blank(s);
	if (take(s, ']'))
		return true;
	do {
		if (!value(s))
			return false;
		blank(s);
	} while (take(s, ','));
	return take(s, ']') || wrong(s, ", or ] expected");
}

static bool object(struct scan *s)
{
	blank(s);
	if (take(s, '}'))
		return true;
	do {
		blank(s);
		if (!string(s, true))
			return false;
		blank(s);
		if (!take(s, ':'))
			return wrong(s, ": expected");
		if (!value(s))
			return false;
		blank(s);
	} while (take(s, ','));
	return take(s, '}') || wrong(s, ", or } expected");
}

static bool nested(struct scan *s)
{
	char open = *s->at;
	bool good;

	if (!s->depth)
		return wrong(s, "nested too deep");
	s->depth--;
	s->at++;
	good = open == '[' ? array(s) : object(s);
	s->depth++;
	return good;
}

static bool value(struct scan *s)
{
	blank(s);
	if (s->at == s->end)
		return wrong(s, "value expected");
	switch (*s->at) {
	case '{':
	case '[':
		return nested(s);
	case '"':
		return string(s, false);
	case 't':
		return word(s, "true");
	case 'f':
		return word(s, "false");
	case 'n':
		return word(s, "null");
	case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
		return number(s);
	default:
		return wrong(s, "value expected");
	}
}

bool json_check(struct json_span text, unsigned depth, struct json_fault *ret_fault)
{
	const char *at = text.at ? text.at : "";	/* no text at all may come without an address */
	struct scan s = { at, at + text.len, depth, NULL };

	if (value(&s)) {
		blank(&s);
		if (s.at == s.end)
			return true;
		s.why = "end expected";
	}
	*ret_fault = (struct json_fault){ (size_t)(s.at - at), s.why };
	return false;
}

/* ---- walking text that was checked: here every rule holds ---- */

struct json_span json_trim(struct json_span text)
{
	struct scan s = { text.at, text.at + text.len, 0, NULL };

	blank(&s);
	while (s.end > s.at && strchr(" \t\r\n", s.end[-1]))
		s.end--;
	return (struct json_span){ s.at, (size_t)(s.end - s.at) };
}

/* Goes on behind an opening bracket or a comma; false at the closing one. */
static bool go_on(struct json_span whole, size_t at, struct scan *s)
{
	*s = (struct scan){ whole.at + at, whole.at + whole.len, UINT32_MAX, NULL };
	if (!at)
		blank(s);
	s->at += s->at < s->end;	/* [ { or , */
	blank(s);
	return s->at < s->end && *s->at != ']' && *s->at != '}';
}

static struct json_span taken(const char *from, const struct scan *s)
{
	return (struct json_span){ from, (size_t)(s->at - from) };
}

bool json_element(struct json_span whole, size_t *at, struct json_span *ret_value)
{
	struct scan s;
	const char *from;

	if ((*at && whole.at[*at] == ']') || !go_on(whole, *at, &s))
		return false;
	from = s.at;
	value(&s);
	*ret_value = taken(from, &s);
	blank(&s);
	*at = (size_t)(s.at - whole.at);
	return true;
}

bool json_member(struct json_span whole, size_t *at, struct json_span *ret_key, struct json_span *ret_value)
{
	struct scan s;
	const char *from;

	if ((*at && whole.at[*at] == '}') || !go_on(whole, *at, &s))
		return false;
	from = s.at;
	string(&s, true);
	*ret_key = taken(from, &s);
	blank(&s);
	take(&s, ':');
	blank(&s);
	from = s.at;
	value(&s);
	*ret_value = taken(from, &s);
	blank(&s);
	*at = (size_t)(s.at - whole.at);
	return true;
}

/* The next character of a string, escapes resolved; -1 for what is not ASCII. */
static int next_char(struct scan *s)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *c;

	if (*s->at != '\\')
		return (unsigned char)*s->at++;
	s->at++;
	if (take(s, 'u'))
		return hex4(s);
	c = strchr(from, *s->at);
	return s->at++, c ? to[c - from] : s->at[-1];
}

bool json_is(struct json_span text, const char *name)
{
	struct scan s = { text.at + 1, text.at + text.len - 1, 0, NULL };

	if (text.len < 2 || *text.at != '"')
		return false;
	for (; *name && s.at < s.end; name++)
		if (next_char(&s) != *name)
			return false;
	return !*name && s.at == s.end;
}
