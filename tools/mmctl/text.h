/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text for people: a growing buffer, strings made safe for a terminal, bytes and seconds in human units.
 *
 * Strings come from other processes, so nothing of them may reach a terminal that the terminal would obey.
 */
#ifndef MMCTL_TEXT_H
#define MMCTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes that grow; zeros are an empty one. When memory runs out `failed` is set and what follows is dropped. */
struct text {
	char *at;
	size_t len, room;
	bool failed;
};

void text_free(struct text *t);
void text_add(struct text *t, const char *bytes, size_t len);
void text_format(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * text_safe - add a string from elsewhere, and say how many columns it takes
 *
 * Control characters, bytes that are not UTF-8 and characters that turn the direction of writing or break lines become
 * \n, \t, \xHH or \u{H}. The rest stays as it is.
 */
size_t text_safe(struct text *t, const char *bytes, size_t len);

/** What stands for text that was cut: one column. */
#define TEXT_CUT (MB_CUR_MAX > 1 ? "\u2026" : "~")

/** Length of the longest start of `bytes` that takes at most `columns`; for text that text_safe() made. */
size_t text_fit(const char *bytes, size_t len, size_t columns);

/** "0" "999" "4.0K" "12.3M": at most 6 columns. Returns buf. */
char *text_bytes(double bytes, char buf[static 32]);
/** "12s" "2m03s" "3h20m" "4d05h"; below 10 s with a tenth when there is one. Returns buf. */
char *text_seconds(double seconds, char buf[static 32]);

#endif /* MMCTL_TEXT_H */
