/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A private heap in a registry of its own, and an observer of it: what both programs in here begin with. MEMAPI_… that
 * a test wants is set before come_apart().
 */
#ifndef TESTS_MAGAZINE_APART_H
#define TESTS_MAGAZINE_APART_H

#include "check.h"

#include <ftw.h>
#include <memapi/memapi.h>
#include <memapi/observe.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char place[] = "/tmp/memapi-magazine-XXXXXX";
static struct obs *obs;
static bool guarded;

static void come_apart(const char *manager, const char *track, void (*on_fault)(const struct mem_fault_report *))
{
	char path[64];
	FILE *conf;

	CHECK(mkdtemp(place));
	snprintf(path, sizeof path, "%s/registry", place);
	setenv("MEMAPI_REGISTRY", path, 1);
	setenv("XDG_STATE_HOME", place, 1);
	snprintf(path, sizeof path, "%s/mmd.conf", place);
	setenv("MEMAPI_CONFIG", path, 1);
	conf = fopen(path, "w");
	CHECK(conf);
	fclose(conf);
	setenv("MEMAPI_TRACK", track, 1);
	setenv("MEMAPI_DEBUG", guarded ? "yes" : "no", 1);
	CHECK(pkg_init_manager(manager) == 0);
	memapi_on_fault(on_fault);
	CHECK(obs_open(NULL, &obs) == 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static void go(void)
{
	obs_close(obs);
	nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct obs_pool *own_pool(void)
{
	char id[32];

	snprintf(id, sizeof id, "pkg:%d:1", getpid());
	obs_scan(obs, NULL, NULL);
	return obs_find(obs, id);
}

static struct obs_stats seen(void)
{
	struct obs_stats s = { .used = 0 };
	struct obs_pool *p = own_pool();

	CHECK(p && obs_stats(p, &s) == 0);
	return s;
}

#endif /* TESTS_MAGAZINE_APART_H */
