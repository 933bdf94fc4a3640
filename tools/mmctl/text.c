/* SPDX-License-Identifier: BSD-2-Clause */
/* Text for people; see text.h. Widths are those of wcwidth() where the locale knows the character, else 1. */
#include "text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/utf8.h"

void text_free(struct text *t)
{
	free(t->at);
	*t = (struct text){ 0 };
}

/* Room for `len` more bytes and a final 0, which is not counted. */
static bool text_reserve(struct text *t, size_t len)
{
	size_t room = t->room ? t->room : 256;
	char *at;

	if (t->failed || len >= SIZE_MAX / 4 - t->len)
		return !(t->failed = true);
	while (room <= t->len + len)
		room *= 2;
	if (room == t->room)
		return true;
	at = realloc(t->at, room);
	if (!at)
		return !(t->failed = true);
	t->at = at;
	t->room = room;
	return true;
}

void text_add(struct text *t, const char *bytes, size_t len)
{
	if (!text_reserve(t, len))
		return;
	memcpy(t->at + t->len, bytes, len);
	t->len += len;
	t->at[t->len] = 0;
}

void text_format(struct text *t, const char *format, ...)
{
	char *out;
	va_list ap;
	int len;

	va_start(ap, format);
	len = vasprintf(&out, format, ap);
	va_end(ap);
	if (len < 0) {
		t->failed = true;
		return;
	}
	text_add(t, out, (size_t)len);
	free(out);
}

/* C0, DEL, C1; line and paragraph separators; marks and overrides of direction; byte order mark. */
static bool obeyed(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c == 0x061c;
}

static size_t escape(struct text *t, uint32_t c)
{
	size_t before = t->len;

	if (c == '\n')
		text_add(t, "\\n", 2);
	else if (c == '\t')
		text_add(t, "\\t", 2);
	else
		text_format(t, c < 0x100 ? "\\x%02x" : "\\u{%x}", (unsigned)c);
	return t->len - before;
}

static size_t columns_of(uint32_t c)
{
	int width = c < 0x80 ? 1 : wcwidth((wchar_t)c);

	return width < 0 ? 1 : (size_t)width;
}

size_t text_safe(struct text *t, const char *bytes, size_t len)
{
	size_t width = 0, n;
	uint32_t c;

	for (size_t i = 0; i < len; i += n) {
		n = utf8_char(bytes + i, len - i, &c);
		if (!n) {
			width += escape(t, (unsigned char)bytes[i]);
			n = 1;
		} else if (obeyed(c)) {
			width += escape(t, c);
		} else {
			text_add(t, bytes + i, n);
			width += columns_of(c);
		}
	}
	return width;
}

size_t text_fit(const char *bytes, size_t len, size_t columns)
{
	size_t at = 0, n;
	uint32_t c = 0;

	for (size_t used = 0; at < len; at += n) {
		n = utf8_char(bytes + at, len - at, &c);
		if (!n)
			break;
		used += columns_of(c);
		if (used > columns)
			break;
	}
	return at;
}

char *text_bytes(double bytes, char buf[static 32])
{
	static const char units[] = "KMGTPE";
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(buf, 32, "%.0f", bytes);
		return buf;
	}
	bytes /= 1024;
	while (bytes >= 1023.95 && unit < sizeof units - 2) {	/* 1023.95 would round to 1024.0 */
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, 32, "%.1f%c", bytes, units[unit]);
	return buf;
}

char *text_seconds(double seconds, char buf[static 32])
{
	double whole = floor(seconds + 0.5);
	uint64_t s = whole < 1e15 ? (uint64_t)whole : 0;

	if (seconds < 10 && fabs(seconds - whole) >= 0.05)
		snprintf(buf, 32, "%.1fs", seconds);
	else if (whole >= 1e15)
		snprintf(buf, 32, "%.3gs", seconds);
	else if (s < 60)
		snprintf(buf, 32, "%jus", (uintmax_t)s);
	else if (s < 3600)
		snprintf(buf, 32, "%jum%02jus", (uintmax_t)(s / 60), (uintmax_t)(s % 60));
	else if (s < 86400)
		snprintf(buf, 32, "%juh%02jum", (uintmax_t)(s / 3600), (uintmax_t)(s / 60 % 60));
	else
		snprintf(buf, 32, "%jud%02juh", (uintmax_t)(s / 86400), (uintmax_t)(s / 3600 % 24));
	return buf;
}
