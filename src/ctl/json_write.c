/* SPDX-License-Identifier: BSD-2-Clause */
/* One growing buffer, doubled when it is full. */
#include "ctl/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "ctl/memory.h"

void jw_free(struct json_writer *w)
{
	ctl_free(w->text);
	*w = (struct json_writer){ 0 };
}

void jw_cut(struct json_writer *w, size_t len, bool comma)
{
	w->len = len;
	w->comma = comma;
}

/* Room for `more` bytes, or false. */
static bool room(struct json_writer *w, size_t more)
{
	size_t size = w->size ? w->size : 512;
	char *text;

	if (w->size - w->len >= more)
		return !w->failed;
	while (size - w->len < more)
		size *= 2;
	text = w->failed ? NULL : ctl_resize(w->text, size);
	if (!text) {
		w->failed = true;
		return false;
	}
	w->text = text;
	w->size = size;
	return true;
}

void jw_plain(struct json_writer *w, const char *text, size_t len)
{
	if (!len || !room(w, len))
		return;
	memcpy(w->text + w->len, text, len);
	w->len += len;
}

void jw_raw(struct json_writer *w, const char *text, size_t len)
{
	if (w->comma)
		jw_plain(w, ",", 1);
	jw_plain(w, text, len);
	w->comma = true;
}

void jw_open(struct json_writer *w, char bracket)
{
	jw_raw(w, &bracket, 1);
	w->comma = false;
}

void jw_close(struct json_writer *w, char bracket)
{
	jw_plain(w, &bracket, 1);
	w->comma = true;
}

void jw_key(struct json_writer *w, const char *key)
{
	jw_string(w, key);
	jw_plain(w, ":", 1);
	w->comma = false;
}

void jw_null(struct json_writer *w) { jw_raw(w, "null", 4); }
void jw_bool(struct json_writer *w, bool value) { jw_raw(w, value ? "true" : "false", value ? 4 : 5); }

void jw_uint(struct json_writer *w, uint64_t value)
{
	char digits[20], *at = digits + sizeof digits;

	do
		*--at = (char)('0' + value % 10);
	while (value /= 10);
	jw_raw(w, at, (size_t)(digits + sizeof digits - at));
}

void jw_int(struct json_writer *w, int64_t value)
{
	char text[24];

	jw_raw(w, text, (size_t)snprintf(text, sizeof text, "%" PRId64, value));
}

void jw_real(struct json_writer *w, double value)
{
	char text[340];			/* the longest double has 309 digits before its point */

	if (!isfinite(value)) {
		jw_null(w);
		return;
	}
	jw_raw(w, text, (size_t)snprintf(text, sizeof text, "%.3f", value));
}

void jw_address(struct json_writer *w, uint64_t address)
{
	char text[24];

	jw_raw(w, text, (size_t)snprintf(text, sizeof text, "\"0x%" PRIx64 "\"", address));
}

static void escaped(struct json_writer *w, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *known = c ? strchr(from, c) : NULL;
	char text[8];

	if (known)
		jw_plain(w, (char[]){ '\\', to[known - from] }, 2);
	else
		jw_plain(w, text, (size_t)snprintf(text, sizeof text, "\\u%04x", c));
}

static bool is_plain(unsigned char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

void jw_bytes(struct json_writer *w, const char *text, size_t len)
{
	const unsigned char *c = (const unsigned char *)text;
	size_t i = 0, n;

	jw_raw(w, "\"", 1);
	while (i < len) {
		for (n = 0; i + n < len && is_plain(c[i + n]); n++)
			;
		jw_plain(w, text + i, n);
		i += n;
		if (i == len)
			break;
		if (c[i] < 0x80) {
			escaped(w, c[i++]);
			continue;
		}
		n = utf8_char(c + i, len - i, &(uint32_t){ 0 });
		jw_plain(w, n ? text + i : "\xef\xbf\xbd", n ? n : 3);
		i += n ? n : 1;
	}
	jw_plain(w, "\"", 1);
}

void jw_string(struct json_writer *w, const char *text) { jw_bytes(w, text, strlen(text)); }

void jw_format(struct json_writer *w, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	jw_string(w, text);
}
