/* SPDX-License-Identifier: BSD-2-Clause */
/* Checked copies of texts and numbers that somebody else wrote. */
#include "mem/observe/peek.h"

/** Length of the UTF-8 sequence at s, 0: it is none, or names what no text should hold. */
static size_t sequence(const unsigned char *s, size_t bytes)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 && s[0] < 0xf8 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
	uint32_t c;

	if (n == 1)
		return s[0] >= ' ' && s[0] != 0x7f;
	if (!n || n > bytes || s[0] >= 0xf8)
		return 0;
	c = s[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	/* overlong, surrogates, beyond Unicode, C1 controls */
	return c < least[n] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff || c < 0xa0 ? 0 : n;
}

void peek_text(char *to, size_t room, const char *from, size_t bytes)
{
	size_t out = 0;

	for (size_t in = 0, n; in < bytes && from[in] && out + 1 < room; in += n) {
		n = sequence((const unsigned char *)from + in, bytes - in);
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
