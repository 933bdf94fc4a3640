/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * calls MANAGER [CALLS] - random calls on the private heap of a manager, against a model
 *
 * Patterns in every fragment, alignments, realloc that keeps contents; tracking is switched off and on while the heap
 * is in use, and all the while counters are what the model says, the walk tells what is tracked, and an observer finds
 * nothing wrong. A child of fork goes on with what it inherited. At the end everything is free, and counters are 0.
 */
#include <memapi/manager.h>
#include <memapi/memapi.h>
#include <memapi/memcore.h>
#include <memapi/observe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

enum { LIVE = 400, LOOK_EVERY = 512, SWITCH_EVERY = 3000, THREADS = 4 };

static struct held { unsigned char *p; size_t size; } held[LIVE];
static uint64_t seed = 1;
static bool own;

static size_t pick(size_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (size_t)(seed >> 33) % n;
}

/* Mostly small; now and then large enough for mmap. */
static size_t some_size(void) { return pick((size_t)32 << pick(pick(50) ? 8 : 14)); }

static unsigned char pattern(size_t k, size_t i) { return (unsigned char)(k * 31 + i * 7 + 3); }

static void fill(size_t k)
{
	for (size_t i = 0; i < held[k].size; i++)
		held[k].p[i] = pattern(k, i);
}

static bool intact(size_t k, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (held[k].p[i] != pattern(k, i))
			return false;
	return true;
}

/* ---- what is told of it ---- */

struct told { uint64_t used, fragments, bytes; };

static bool tell(const struct mem_fragment *f, void *arg)
{
	struct told *t = arg;
	size_t k = 0;

	if (!f->used)
		return true;
	while (k < LIVE && held[k].p != f->address)
		k++;
	MUST(k < LIVE);
	MUST(f->requested >= held[k].size || !f->requested);
	MUST(f->size >= held[k].size);
	t->fragments++;
	t->bytes += f->size;
	return true;
}

static struct obs_pool *own_pool(struct obs *o)
{
	char id[64];

	snprintf(id, sizeof id, "pkg:%d:", (int)getpid());
	MUST(obs_scan(o, NULL, NULL) == 0);
	for (size_t i = 0; obs_at(o, i); i++)
		if (!strncmp(obs_info(obs_at(o, i))->id, id, strlen(id)))
			return obs_at(o, i);
	return NULL;
}

static bool seen(const struct obs_fragment *f, void *arg)
{
	*(uint64_t *)arg += f->state == OBS_USED;
	return true;
}

static void on_error(uint64_t address, const char *what, void *arg)
{
	(void)arg;
	printf("check: %#llx: %s\n", (unsigned long long)address, what);
}

/* What the holders of untracked fragments may use. */
static uint64_t usable_of_all(void)
{
	uint64_t bytes = 0;

	for (size_t k = 0; k < LIVE; k++)
		bytes += held[k].p ? pkg_usable(held[k].p) : 0;
	return bytes;
}

/* Counters, walk, and what an observer says of the same heap. */
static void look(struct obs *o, size_t count)
{
	struct told t = { 0 };
	struct mem_info info;
	struct obs_stats s;
	struct obs_check check;
	struct obs_pool *p = own_pool(o);
	uint64_t cursor = 0, walked = 0;

	MUST(p != NULL);
	pkg_info(&info);
	MUST(pkg_api()->xwalk(pkg_api()->mem_block, tell, &t) == 0);
	MUST(obs_stats(p, &s) == 0);
	MUST(s.state == OBS_LIVE);
	MUST(s.fragments == count);
	MUST(s.used == info.used_size);
	MUST(s.untracked <= s.fragments);
	MUST(s.untracked < s.fragments || s.used == usable_of_all());
	if (own) {
		MUST(s.size == OBS_UNKNOWN && s.free == OBS_UNKNOWN && s.real_used == OBS_UNKNOWN);
		MUST(s.largest_free == OBS_UNKNOWN && s.free_fragments == OBS_UNKNOWN && s.committed == OBS_UNKNOWN);
		MUST(t.fragments == s.fragments - s.untracked);
		MUST(t.bytes == s.used - s.untracked_bytes);
	} else {
		MUST(t.fragments == s.fragments && t.bytes == s.used);
	}
	do
		MUST(obs_walk(p, &cursor, 1000, seen, &walked) == 0);
	while (cursor);
	MUST(walked == t.fragments);
	MUST(obs_check(p, &check, on_error, NULL) == 0);
	MUST(check.known && check.ok);
}

static void track(struct obs *o, enum obs_tracking mode)
{
	void *p;

	MUST(obs_track(own_pool(o), mode) == 0);
	p = pkg_malloc(1);		/* followed by the next call */
	MUST(p != NULL);
	pkg_free(p);
}

/* ---- calls ---- */

static void one_call(size_t k, size_t *count)
{
	struct held *x = &held[k];
	size_t size = some_size(), align = (size_t)16 << pick(pick(8) ? 1 : 10);
	unsigned char *p;

	MUST(!x->p || intact(k, x->size));
	if (!x->p) {
		p = pick(5) ? pkg_malloc(size) : pick(2) ? pkg_memalign(align, size) : pkg_mallocxz(size);
		MUST(p != NULL || align > 16);
		if (!p)			/* MEM_ALIGN16 */
			return;
		x->p = p;
		++*count;
	} else if (pick(3) == 0) {
		p = pkg_realloc(x->p, size + 1);
		MUST(p != NULL);
		x->p = p;
		MUST(intact(k, size < x->size ? size : x->size));
		size++;
	} else {
		pkg_free(x->p);
		*x = (struct held){ 0 };
		--*count;
		return;
	}
	MUST((uintptr_t)x->p % 16 == 0);
	MUST(pkg_usable(x->p) >= size);
	x->size = size;
	fill(k);
}

static void free_all(size_t *count)
{
	for (size_t k = 0; k < LIVE; k++) {
		MUST(!held[k].p || intact(k, held[k].size));
		pkg_free(held[k].p);
		*count -= held[k].p != NULL;
		held[k] = (struct held){ 0 };
	}
}

static void in_child(size_t count)
{
	struct obs *o;

	MUST(obs_open(NULL, &o) == 0);
	for (unsigned i = 0; i < 2000; i++)
		one_call(pick(LIVE), &count);
	look(o, count);
	free_all(&count);
	look(o, 0);
	obs_close(o);
	_exit(0);
}

static void fork_one(size_t count)
{
	int status = 1;
	pid_t pid = fork();

	MUST(pid >= 0);
	if (!pid)
		in_child(count);
	MUST(waitpid(pid, &status, 0) == pid);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void *thread(void *arg)
{
	unsigned char *p[64] = { 0 };
	uint64_t mine = (uint64_t)(uintptr_t)arg;

	for (unsigned i = 0; i < 20000; i++) {
		size_t k, size;

		mine = mine * 6364136223846793005u + 1442695040888963407u;
		k = (size_t)(mine >> 33) % 64;
		size = (size_t)(mine >> 40) % 900 + 1;
		if (p[k]) {
			MUST(p[k][0] == (unsigned char)k);
			pkg_free(p[k]);
			p[k] = NULL;
		} else {
			p[k] = pkg_malloc(size);
			MUST(p[k] != NULL);
			p[k][0] = (unsigned char)k;
		}
	}
	for (size_t k = 0; k < 64; k++)
		pkg_free(p[k]);
	return NULL;
}

static void threads(void)
{
	pthread_t t[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		MUST(pthread_create(&t[i], NULL, thread, (void *)(i + 1)) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		MUST(pthread_join(t[i], NULL) == 0);
}

static void edges(void)
{
	void *p = pkg_malloc(0);

	MUST(p != NULL);
	pkg_free(p);
	MUST(pkg_malloc(SIZE_MAX) == NULL);
	MUST(pkg_malloc(SIZE_MAX / 2) == NULL);
	MUST(pkg_memalign(24, 100) == NULL);
	p = pkg_malloc(10);
	memcpy(p, "123456789", 10);
	MUST(pkg_realloc(p, SIZE_MAX / 2) == NULL);
	MUST(memcmp(p, "123456789", 10) == 0);
	MUST(pkg_realloc(p, 0) == NULL);
}

static size_t resident(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	MUST(f && fscanf(f, "%*u %lu", &pages) == 1);
	fclose(f);
	return pages * 4096;
}

/* Large zeros that are new from the system are not touched; but by libraries whose own calloc stores them. */
static void large_zeros(bool stored)
{
	enum { BYTES = 64 << 20, PAGE = 4096 };
	size_t before = resident();
	unsigned char *p;

	for (unsigned round = 0; round < 2; round++) {
		p = pkg_mallocxz(BYTES);
		MUST(p != NULL);
		MUST(stored || resident() - before < BYTES / 4);
		for (size_t i = 0; i < BYTES; i += BYTES / 16)
			MUST(!p[i] && !p[i + PAGE - 1]);
		memset(p, 0xff, BYTES / 16);
		memset(p + BYTES - PAGE, 0xff, PAGE);
		pkg_free(p);
	}
}

int main(int argc, char **argv)
{
	unsigned long calls = argc > 2 ? strtoul(argv[2], NULL, 10) : 60000;
	const struct mem_manager *m;
	size_t count = 0;
	struct obs *o;

	if (argc < 2 || pkg_init_manager(argv[1])) {
		printf("%s\n", argc < 2 ? "usage: calls MANAGER [CALLS]" : memapi_error());
		return 2;
	}
	m = mem_manager_find(argv[1]);
	MUST(m != NULL);
	own = m->pkg->flags & MEM_OWN_MEMORY;
	MUST(obs_open(NULL, &o) == 0);
	edges();
	large_zeros(strstr(argv[1], "mimalloc") || strstr(argv[1], "tcmalloc"));
	for (unsigned long i = 0; i < calls; i++) {
		if (i % SWITCH_EVERY == SWITCH_EVERY - 1)
			track(o, i / SWITCH_EVERY % 3 ? OBS_SITES : OBS_OFF);
		one_call(pick(LIVE), &count);
		if (i % LOOK_EVERY == 0)
			look(o, count);
		if (i % 20000 == 10000)
			fork_one(count);
	}
	threads();
	look(o, count);
	free_all(&count);
	look(o, 0);
	obs_close(o);
	return 0;
}
