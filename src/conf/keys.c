/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of keys, made from keys.def, and the rules of its types.
 *
 * Invariant: every default that is not NULL is a value that its own row allows (a test tells).
 */
#include "conf/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)

#ifdef DBG_SR_MEMORY
#define CONF_DEBUG "yes"
#define CONF_TRACK "sites"
#else
#define CONF_DEBUG "no"
#define CONF_TRACK "off"
#endif

#define PKG (1u << CONF_PKG)
#define SHM (1u << CONF_SHM)
#define BOTH (PKG | SHM)

#define AT(member) .offset = offsetof(struct OBJECT, member), .bytes = sizeof(((struct OBJECT *)0)->member)
#define MANAGER(domains) .type = KEY_MANAGER, .min = (domains)
#define SIZE(member, least, most) .type = KEY_SIZE, AT(member), .min = (least), .max = (most)
#define OPTIONAL_SIZE(member, least, most) SIZE(member, least, most), .zero = true
#define NUMBER(member, least, most, unit) .type = KEY_NUMBER, AT(member), .min = (least), .max = (most), .words = (unit)
#define EITHER(member, pair) .type = KEY_FLAG, AT(member), .words = (pair)
#define FLAG(member) EITHER(member, "no yes")
#define WORD(member, list) .type = KEY_WORD, AT(member), .words = (list)
#define NAME(member, list) .type = KEY_NAME, AT(member), .words = (list)
#define TEXT(member) .type = KEY_TEXT, AT(member)
#define POOL(member) .type = KEY_POOL, AT(member)
#define ROW(title, kind, value, text) { .name = (title), kind, .initial = (value), .help = (text) },

#define OBJECT conf
#define KEY ROW
#define POOL_KEY(...)
const struct conf_key conf_keys[] = {
#include "conf/keys.def"
	{ .name = NULL }
};

#undef OBJECT
#undef KEY
#undef POOL_KEY
#define OBJECT conf_pool
#define KEY(...)
#define POOL_KEY ROW
const struct conf_key conf_pool_keys[] = {
#include "conf/keys.def"
	{ .name = NULL }
};

const struct conf_key *key_find(const struct conf_key *keys, const char *name)
{
	for (; keys->name; keys++)
		if (!strcmp(keys->name, name))
			return keys;
	return NULL;
}

bool key_environment(const struct conf_key *k, char *ret_name, size_t bytes)
{
	static const char group[] = "memory.";
	size_t n = 0;

	if (strncmp(k->name, group, sizeof group - 1) != 0)
		return false;
	/* of each key, at each start of a program: without snprintf() */
	for (const char *c = "MEMAPI_"; *c && n + 1 < bytes; c++)
		ret_name[n++] = *c;
	for (const char *c = k->name + sizeof group - 1; *c && n + 1 < bytes; c++)
		ret_name[n++] = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
	ret_name[n] = 0;
	return true;
}

char *words_text(const char *words, char *buf, size_t bytes)
{
	size_t n = 0;

	for (; *words && n + 3 < bytes; words++) {
		if (*words == ' ')
			buf[n++] = ',';
		buf[n++] = *words;
	}
	buf[n] = 0;
	return buf;
}

char *key_size_text(uint64_t value, char *buf, size_t bytes)
{
	static const char units[] = "\0KMGT";
	unsigned unit = 0;

	while (value && value % 1024 == 0 && units[unit + 1]) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, bytes, "%llu%.1s", (unsigned long long)value, &units[unit]);
	return buf;
}

char *key_allowed(const struct conf_key *k, char *buf, size_t bytes)
{
	char least[24], most[24];

	switch (k->type) {
	case KEY_MANAGER:
		snprintf(buf, bytes, "the name of a manager");
		break;
	case KEY_SIZE:
		snprintf(buf, bytes, "%s%s to %s, in bytes or with K, M, G or T", k->zero ? "0, or " : "",
			 key_size_text(k->min, least, sizeof least), key_size_text(k->max, most, sizeof most));
		break;
	case KEY_NUMBER:
		snprintf(buf, bytes, "%llu to %llu %s", (unsigned long long)k->min, (unsigned long long)k->max,
			 k->words);
		break;
	case KEY_FLAG:
	case KEY_WORD:
	case KEY_NAME:
		words_text(k->words, buf, bytes);
		break;
	case KEY_TEXT:
		snprintf(buf, bytes, "at most %zu bytes", k->bytes - 1);
		break;
	case KEY_POOL:
		snprintf(buf, bytes, "nothing, or " POOL_NAME_RULE);
		break;
	}
	return buf;
}

bool key_number(const char *text, bool suffix, uint64_t *ret_value)
{
	static const char units[] = "KMGT";
	uint64_t value = 0;
	const char *unit;

	if (!isdigit((unsigned char)*text))
		return false;
	for (; isdigit((unsigned char)*text); text++)
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	if (suffix && *text == ' ')
		text++;
	if (suffix && *text && (unit = strchr(units, toupper((unsigned char)*text)))) {
		if (__builtin_mul_overflow(value, 1ull << 10 * (unit - units + 1), &value))
			return false;
		text++;
		if (!strcasecmp(text, "ib") || !strcasecmp(text, "b"))
			return *ret_value = value, true;
	}
	if (*text)
		return false;
	*ret_value = value;
	return true;
}

/** Place of `text` in the list "a b c", or -1. */
static int word_index(const char *words, const char *text)
{
	size_t len = strlen(text);

	for (int i = 0; *words; i++) {
		size_t word = strcspn(words, " ");

		if (word == len && !strncmp(words, text, len))
			return i;
		words += word + (words[word] == ' ');
	}
	return -1;
}

bool pool_name_good(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && *name != '.' && len < sizeof((struct conf_pool *)0)->name && strspn(name, "0123456789") < len &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == len;
}

/** A number or size, within the row's limits. */
static bool store_number(const struct conf_key *k, void *to, const char *text)
{
	uint64_t value;

	if (!key_number(text, k->type == KEY_SIZE, &value))
		return false;
	if ((value < k->min || value > k->max) && !(k->zero && value == 0))
		return false;
	if (k->bytes == sizeof(uint64_t))
		*(uint64_t *)to = value;
	else
		*(unsigned *)to = (unsigned)value;
	return true;
}

static bool store_text(const struct conf_key *k, void *to, const char *text)
{
	if (strlen(text) >= k->bytes)
		return false;
	memset(to, 0, k->bytes);
	memcpy(to, text, strlen(text));
	return true;
}

/** The first word is false, the second true; where they are no and yes, so are their usual friends. */
static bool store_flag(const struct conf_key *k, bool *to, const char *text)
{
	int i = word_index(k->words, text);

	if (i < 0 && !strcmp(k->words, "no yes") && (i = word_index("off on false true 0 1", text)) >= 0)
		i %= 2;
	if (i < 0)
		return false;
	*to = i;
	return true;
}

bool key_store(const struct conf_key *k, void *object, const char *text)
{
	void *to = (char *)object + k->offset;
	int i;

	switch (k->type) {
	case KEY_SIZE:
	case KEY_NUMBER:
		return store_number(k, to, text);
	case KEY_FLAG:
		return store_flag(k, to, text);
	case KEY_WORD:
		if ((i = word_index(k->words, text)) < 0)
			return false;
		*(unsigned *)to = (unsigned)i;
		return true;
	case KEY_NAME:
		return word_index(k->words, text) >= 0 && store_text(k, to, text);
	case KEY_POOL:
		return (!*text || pool_name_good(text)) && store_text(k, to, text);
	case KEY_TEXT:
		return store_text(k, to, text);
	case KEY_MANAGER:
		break;
	}
	return false;
}

void error_set(struct conf_error *e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(e->text, sizeof e->text, format, args);
	va_end(args);
	for (char *c = e->text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
}

int key_refuse(struct conf_error *e, const char *place, const char *found, const char *allowed)
{
	bool cut = strlen(found) > 80;

	error_set(e, "%s: \"%.80s%s\" found, allowed: %s", place, found, cut ? "…" : "", allowed);
	return -EINVAL;
}
