/* SPDX-License-Identifier: BSD-2-Clause */
/* Checked copies of texts and numbers that somebody else wrote. */
#include "mem/observe/peek.h"

#include "base/utf8.h"

/** Length of the UTF-8 sequence at s, 0: it is none, or a control character. */
static size_t sequence(const char *s, size_t bytes)
{
	uint32_t c;
	size_t n = utf8_char(s, bytes, &c);

	return n && (c < ' ' || (c >= 0x7f && c < 0xa0)) ? 0 : n;
}

void peek_text(char *to, size_t room, const char *from, size_t bytes)
{
	size_t out = 0;

	for (size_t in = 0, n; in < bytes && from[in] && out + 1 < room; in += n) {
		n = sequence(from + in, bytes - in);
		if (!n) {
			to[out++] = '?';
			n = 1;
			continue;
		}
		if (n > room - 1 - out)
			break;
		for (size_t i = 0; i < n; i++)
			to[out++] = from[in + i];
	}
	to[out] = '\0';
}

const char *peek_number(const char *s, uint64_t max, uint64_t *ret_n)
{
	uint64_t n = 0;

	if (*s < '1' || *s > '9')
		return NULL;
	for (; *s >= '0' && *s <= '9'; s++) {
		uint64_t digit = (uint64_t)(*s - '0');

		if (n > (max - digit) / 10)
			return NULL;
		n = n * 10 + digit;
	}
	*ret_n = n;
	return s;
}
