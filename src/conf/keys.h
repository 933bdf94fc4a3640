/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys as a table, and how a text becomes a value of one of them.
 */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#include "conf/conf.h"

enum key_type { KEY_MANAGER, KEY_SIZE, KEY_NUMBER, KEY_FLAG, KEY_WORD, KEY_NAME, KEY_TEXT, KEY_POOL };

struct conf_key {
	const char *name;
	enum key_type type;
	size_t offset, bytes;		/* of the member */
	uint64_t min, max;		/* KEY_MANAGER: min is the set of domains, 1 << enum conf_domain */
	bool zero;			/* 0 will do, whatever min says */
	const char *words;		/* "off sites stacks"; KEY_NUMBER: the unit */
	const char *initial;		/* default; NULL: another key's value */
	const char *help;
};

extern const struct conf_key conf_keys[], conf_pool_keys[];	/* end: name NULL */

const struct conf_key *key_find(const struct conf_key *keys, const char *name);

/** "MEMAPI_SHM_SIZE"; false: the key has no name in the environment. */
bool key_environment(const struct conf_key *k, char *ret_name, size_t bytes);

/** What is allowed, for a person: "off, sites, stacks", "64K to 1T, …". Returns `buf`. */
char *key_allowed(const struct conf_key *k, char *buf, size_t bytes);

/** Size with a suffix, as short as it is exact: 64M. Returns `buf`. */
char *key_size_text(uint64_t value, char *buf, size_t bytes);

/** A whole number, with K M G T (KiB, KB or K are the same) when `suffix`. False: it is none, or beyond 64 bits. */
bool key_number(const char *text, bool suffix, uint64_t *ret_value);

/**
 * key_store - `text` becomes the member of `object` (struct conf or struct conf_pool) that belongs to `k`
 *
 * Not for KEY_MANAGER. False: not allowed, nothing is changed.
 */
bool key_store(const struct conf_key *k, void *object, const char *text);

/** Says "PLACE: "FOUND" found, allowed: ALLOWED" in one printable line. Always -EINVAL. */
int key_refuse(struct conf_error *e, const char *place, const char *found, const char *allowed);

/** snprintf into `e`, with everything replaced that is not printable. */
void error_set(struct conf_error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A list "a b c" as "a, b, c". Returns `buf`. */
char *words_text(const char *words, char *buf, size_t bytes);

/** 1 to 48 of A-Z a-z 0-9 _ . -, not digits alone, no dot first: as shm_create() takes it. */
bool pool_name_good(const char *name);
#define POOL_NAME_RULE "1 to 48 of A-Z a-z 0-9 _ . -, not digits alone, no dot first"

#endif /* CONF_KEYS_H */
