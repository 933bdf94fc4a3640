/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * glibc, Boost, every manager of memapi, its modules and what they are made of, as rows.
 *
 * Every row goes through one wrapper of its own: an indirect call and a jump through the PLT, alike for all. What
 * memapi.h compiles into the loop of an application is a row of its own, "inline".
 */
#include "rows.h"

#include <dlfcn.h>
#include <memapi/manager.h>
#include <memapi/memapi.h>
#include <memapi/memcore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *glibc_setup(const struct row *row, size_t bytes) { (void)row, (void)bytes; return NULL; }
static void *glibc_alloc(size_t size) { return malloc(size); }
static void glibc_free(void *p) { free(p); }
static void *glibc_realloc(void *p, size_t size) { return realloc(p, size); }

static void *pkg_alloc(size_t size) { return mem_pkg_malloc(size, NULL); }
static void pkg_release(void *p) { mem_pkg_free(p, NULL); }
static void *pkg_again(void *p, size_t size) { return mem_pkg_realloc(p, size, NULL); }

/* As an application that is built with DBG_SR_MEMORY calls. */
static void *pkg_alloc_site(size_t size) { return mem_pkg_malloc(size, MEM_SITE); }
static void pkg_release_site(void *p) { mem_pkg_free(p, MEM_SITE); }
static void *pkg_again_site(void *p, size_t size) { return mem_pkg_realloc(p, size, MEM_SITE); }

static void *shm_alloc(size_t size) { return mem_shm_malloc(size, NULL); }
static void shm_release(void *p) { mem_shm_free(p, NULL); }
static void *shm_again(void *p, size_t size) { return mem_shm_realloc(p, size, NULL); }

static void set_size(const char *key, size_t bytes)
{
	char text[24];

	snprintf(text, sizeof text, "%zu", bytes);
	setenv(key, text, 1);
}

/* Debugging managers guard and record unless told otherwise: a row is what its name says. */
static const char *pkg_setup(const struct row *row, size_t bytes)
{
	(void)bytes;				/* pkg heaps have no limit unless one is set, like glibc's */
	setenv("MEMAPI_TRACK", row->track ? "sites" : "off", 1);
	setenv("MEMAPI_MAGAZINES", row->bare ? "no" : "yes", 1);
	return pkg_init_manager(row->manager) ? memapi_error() : NULL;
}

static const char *shm_setup(const struct row *row, size_t bytes)
{
	set_size("MEMAPI_SHM_SIZE", bytes);
	setenv("MEMAPI_TRACK", "sites", 1);	/* shm always records */
	setenv("MEMAPI_MAGAZINES", row->bare ? "no" : "yes", 1);
	return shm_init_manager(row->manager) ? memapi_error() : NULL;
}

static const struct row glibc_row = { "glibc", glibc_setup, glibc_alloc, glibc_free, glibc_realloc, .threads = true };
static const struct row pkg_row = { "pkg %s", pkg_setup, pkg_alloc, pkg_release, pkg_again, .threads = true };
static const struct row pkg_track_row = { "pkg %s, tracking", pkg_setup, pkg_alloc_site, pkg_release_site, pkg_again_site,
					  .threads = true, .track = true };
static const struct row pkg_inline_row = { "pkg %s, inline", pkg_setup, pkg_alloc, pkg_release, pkg_again, .threads = true,
					   .inlined = true };
static const struct row shm_inline_row = { "shm %s, inline", shm_setup, shm_alloc, shm_release, shm_again, .shared = true,
					   .threads = true, .inlined = true };
static const struct row shm_row = { "shm %s", shm_setup, shm_alloc, shm_release, shm_again, .shared = true,
				    .threads = true };
/* Every call through the manager. */
static const struct row pkg_bare_row = { "pkg %s, no magazines", pkg_setup, pkg_alloc, pkg_release, pkg_again,
					 .threads = true, .bare = true };
static const struct row shm_bare_row = { "shm %s, no magazines", shm_setup, shm_alloc, shm_release, shm_again,
					 .shared = true, .threads = true, .bare = true };

static struct row manager_row(const struct row *kind, const char *manager)
{
	const char *hole = strstr(kind->name, "%s");
	struct row row = *kind;

	snprintf(row.name, sizeof row.name, "%.*s%s%s", (int)(hole - kind->name), kind->name, manager, hole + 2);
	snprintf(row.manager, sizeof row.manager, "%s", manager);
	return row;
}

/* ---- modules, and the bare libraries behind them ---- */

static const struct { const char *name, *library, *alloc, *release, *again; } modules[] = {
	{ "mimalloc", "libmimalloc.so.2", "mi_malloc", "mi_free", "mi_realloc" },
	{ "jemalloc", "libjemalloc.so.2", "malloc", "free", "realloc" },
	{ "tcmalloc", "libtcmalloc_minimal.so.4", "tc_malloc", "tc_free", "tc_realloc" },
};
enum { MODULES = sizeof modules / sizeof *modules };

static void *(*library_alloc)(size_t size);
static void (*library_release)(void *p);
static void *(*library_again)(void *p, size_t size);

static void *bare_alloc(size_t size) { return library_alloc(size); }
static void bare_release(void *p) { library_release(p); }
static void *bare_again(void *p, size_t size) { return library_again(p, size); }

/* One library a process: a measurement is a child. */
static const char *bare_setup(const struct row *row, size_t bytes)
{
	void *library;
	unsigned i = 0;

	(void)bytes;
	while (strcmp(modules[i].name, row->manager) != 0)
		i++;
	library = dlopen(modules[i].library, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return "the library is not here";
	*(void **)&library_alloc = dlsym(library, modules[i].alloc);
	*(void **)&library_release = dlsym(library, modules[i].release);
	*(void **)&library_again = dlsym(library, modules[i].again);
	return library_alloc && library_release && library_again ? NULL : "the library has other names";
}

static const struct row bare_row = { "bare %s", bare_setup, bare_alloc, bare_release, bare_again, .threads = true };

static unsigned rows_modules(struct row *rows)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MODULES; i++) {
		char manager[32];

		snprintf(manager, sizeof manager, "module:%s", modules[i].name);
		rows[n++] = manager_row(&bare_row, modules[i].name);
		rows[n++] = manager_row(&pkg_row, manager);
	}
	return n;
}

unsigned rows_all(struct row *rows)
{
	const struct mem_manager *m;
	unsigned n = 0;

	rows[n++] = glibc_row;
	row_boost(&rows[n++]);
	for (size_t i = 0; (m = mem_manager_at(i)) && n + 6 + 2 * MODULES <= ROWS_MAX; i++) {
		if (m->pkg) {
			rows[n++] = manager_row(&pkg_row, m->name);
			rows[n++] = manager_row(&pkg_inline_row, m->name);
			rows[n++] = manager_row(&pkg_track_row, m->name);
			rows[n++] = manager_row(&pkg_bare_row, m->name);
		}
		if (m->shm) {
			rows[n++] = manager_row(&shm_row, m->name);
			rows[n++] = manager_row(&shm_inline_row, m->name);
			rows[n++] = manager_row(&shm_bare_row, m->name);
		}
	}
	return n + rows_modules(rows + n);
}
