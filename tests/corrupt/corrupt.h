/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One small program a kind of damage. Each defines damage(): it prepares, says what must be reported, and does it.
 *
 * corrupt.c runs it in children: every manager, both domains, every way of watching, and under memory.safety = report
 * and = abort. The report must be the one that was expected to the letter, once; the pool must go on as if nothing was
 * done.
 */
#ifndef TESTS_CORRUPT_H
#define TESTS_CORRUPT_H

#include <memapi/memapi.h>
#include <stdbool.h>
#include <stddef.h>

#include "memapi/manager.h"

/** What the library knows: nothing (pkg only), records with sites, records and guards behind each request. */
enum watch { PLAIN, RECORDED, GUARDED };

/** The memory that is damaged. */
struct memory {
	const char *domain, *manager;
	enum watch watch;
	bool shared;
	size_t fills;			/* a request of some 100 bytes that leaves none between it and the tail */
	unsigned flags;			/* of the manager's operations */
	void *(*alloc)(size_t size, const struct mem_site *site);
	void *(*realloc)(void *p, size_t size, const struct mem_site *site);
	void (*free)(void *p, const struct mem_site *site);
	size_t (*usable)(const void *p);
	/* the other domain's */
	void *(*foreign)(size_t size, const struct mem_site *site);
	void (*foreign_free)(void *p, const struct mem_site *site);
};

/** Its place, remembered in `site`: an argument of the calls above. */
#define AT(site) ((site) = MEM_SITE)

/** A site as reports name it. Valid until the fourth call after it. */
const char *place(const struct mem_site *site);

/** The next call makes exactly this report. Without it, damage() must make none. */
__attribute__((format(printf, 3, 4)))
void expect(enum mem_fault_kind kind, const void *address, const char *text, ...);

/** What must hold; printed and counted as a failure when it does not. */
#define MUST(what) must((what), #what, __FILE__, __LINE__)
void must(bool holds, const char *what, const char *file, int line);

/**
 * The program. Under memory.safety = abort the call that is reported does not return.
 * Returns false when `m` cannot show this damage; then nothing was done.
 */
bool damage(const struct memory *m);

#endif /* TESTS_CORRUPT_H */
