/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared pools between processes that do not descend from each other, and their lock for applications.
 *
 * The program starts itself again for the other side: pools MANAGER attach|die|fill|apart. Exit status 0, or 1 with the
 * line.
 */
#include <errno.h>
#include <memapi/memapi.h>
#include <memapi/observe.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"

extern char **environ;

struct table { struct mem_lock lock; uint64_t turns; char text[64]; };

static int run(const char *self, const char *manager, const char *role)
{
	char *argv[] = { (char *)(uintptr_t)self, (char *)(uintptr_t)manager, (char *)(uintptr_t)role, NULL };
	int status;
	pid_t pid;

	EXPECT(posix_spawn(&pid, self, NULL, NULL, argv, environ) == 0);
	EXPECT(waitpid(pid, &status, 0) == pid);
	return status;
}

/* ---- the other side ---- */

static void attach_and_write(void)
{
	struct table *t;

	EXPECT(shm_attach("no-such-pool") == -ENOENT);
	EXPECT(strstr(memapi_error(), "no-such-pool"));
	EXPECT(shm_attach("12345") == -EINVAL && shm_attach("a/b") == -EINVAL && shm_attach("") == -EINVAL);
	EXPECT(shm_attach("pools-test") == 0);
	EXPECT(shm_create("pools-test", 0) == -EALREADY);
	t = shm_root_get("table");
	EXPECT(t && strcmp(t->text, "from the maker") == 0);
	EXPECT(mem_lock_acquire(&t->lock) == 0);
	EXPECT(mem_lock_acquire(&t->lock) == -EDEADLK);
	t->turns++;
	EXPECT(mem_lock_release(&t->lock) == 0);
	EXPECT(mem_lock_release(&t->lock) == -EPERM);
	EXPECT(shm_root_set("from the other side", shm_malloc(1000)) == 0);
	EXPECT(shm_root_get("nobody set this") == NULL);
}

static void die_with_the_lock(void)
{
	struct table *t;

	EXPECT(shm_attach("pools-test") == 0);
	t = shm_root_get("table");
	EXPECT(mem_lock_acquire(&t->lock) == 0);
	strcpy(t->text, "half chang");
	raise(SIGKILL);
}

static void fill_until_null(void)
{
	struct obs_stats stats;
	struct mem_info info;
	struct obs *o;
	char id[64];
	unsigned long count = 0;
	void *last = NULL, *p;

	while ((p = shm_malloc(5000))) {
		*(void **)p = last;
		last = p;
		count++;
	}
	EXPECT(errno == ENOMEM && count > 100);
	shm_info(&info);
	EXPECT(info.total_frags >= count && info.used_size <= info.total_size);
	EXPECT(obs_open(NULL, &o) == 0 && obs_scan(o, NULL, NULL) == 0);
	snprintf(id, sizeof id, "shm:%d:1", getpid());
	EXPECT(obs_find(o, id) && obs_stats(obs_find(o, id), &stats) == 0);
	EXPECT(stats.failures == 1 && stats.fragments == count);
	obs_close(o);
	for (; last; last = p) {	/* the caller carries on */
		p = *(void **)last;
		shm_free(last);
	}
	EXPECT(shm_malloc(info.total_size / 8));
	EXPECT(!shm_malloc(info.total_size * 2) && !shm_malloc(SIZE_MAX) && !shm_malloc(SIZE_MAX - 8));
	EXPECT(!pkg_malloc(SIZE_MAX) && !pkg_malloc(SIZE_MAX - 8) && !pkg_memalign((size_t)1 << 62, 8));
	EXPECT(!pkg_memalign(3, 8) && errno == EINVAL);
}

/* ---- this side ---- */

static void named_pool(const char *self, const char *manager)
{
	struct table *t;

	EXPECT(shm_create("pools-test", 8 << 20) == 0);
	t = shm_mallocxz(sizeof *t);
	strcpy(t->text, "from the maker");
	EXPECT(shm_root_set("table", t) == 0);
	EXPECT(run(self, manager, "attach") == 0);
	EXPECT(t->turns == 1);
	EXPECT(shm_usable(shm_root_get("from the other side")) >= 1000);
	for (unsigned i = 0; i < 20; i++) {
		int status = run(self, manager, "die");

		EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		EXPECT(mem_lock_try(&t->lock) == EOWNERDEAD);
		strcpy(t->text, "from the maker");
		EXPECT(mem_lock_release(&t->lock) == 0);
		EXPECT(mem_lock_acquire(&t->lock) == 0);
		EXPECT(mem_lock_release(&t->lock) == 0);
	}
	EXPECT(mem_lock_acquire((struct mem_lock *)(void *)&(uint64_t){ 0 }) == -EINVAL);
}

static void named_roots(void)
{
	char name[80];
	unsigned i;

	for (i = 0; i < 40; i++) {
		snprintf(name, sizeof name, "root %u", i);
		if (shm_root_set(name, &name))
			break;
	}
	EXPECT(i == 30);	/* 32, and two are taken */
	EXPECT(shm_root_set("root 3", NULL) == 0 && shm_root_get("root 3") == NULL);
	memset(name, 'x', sizeof name);
	name[56] = 0;
	EXPECT(shm_root_set(name, NULL) == -EINVAL && shm_root_get(name) == NULL && shm_root_set("", NULL) == -EINVAL);
}

/* POSIX 2024: whatever free() has to do. */
static void a_free_that_waits_keeps_errno(void)
{
	void *p[2] = { shm_malloc(20000), shm_malloc(20000) };
	int told[2], status;
	char c;
	pid_t pid;

	EXPECT(p[0] && p[1] && pipe(told) == 0);
	pid = fork();
	if (pid == 0) {
		shm_lock();
		EXPECT(write(told[1], "x", 1) == 1);
		nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
		shm_unlock();
		_exit(0);
	}
	EXPECT(read(told[0], &c, 1) == 1);
	errno = ENOTTY;
	shm_free(p[0]);
	EXPECT(errno == ENOTTY);
	shm_free_unsafe(p[1]);
	EXPECT(errno == ENOTTY);
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	close(told[0]);
	close(told[1]);
}

static void unsafe_calls(void)
{
	const sr_shm_api_t *api = shm_api();
	struct mem_counter *list = NULL;
	struct mem_report report;
	void *p;

	p = shm_malloc_unsafe(10);	/* who does not hold the lock gets it for the call */
	EXPECT(p);
	shm_free_unsafe(p);
	shm_lock();
	EXPECT(!shm_malloc(10) && errno == EDEADLK);
	p = shm_malloc_unsafe(100);
	EXPECT(p);
	errno = ENOTTY;
	shm_free(p);			/* refused */
	EXPECT(errno == ENOTTY);
	alarm(20);			/* none of these waits for the lock that its caller has */
	api->xsetfunc(api->mem_block, p, MEM_SITE);
	api->xreport(api->mem_block, &report);
	EXPECT(report.used_frags >= 1 && report.used_frags + report.free_frags == report.total_frags);
	api->xmodstats(api->mem_block, &list);
	EXPECT(list);
	api->xfmodstats(list);
	alarm(0);
	shm_free_unsafe(p);
	shm_unlock();
	p = shm_malloc(100);
	p = shm_resize(p, 5000);
	EXPECT(p && shm_usable(p) >= 5000);
	p = shm_realloc(p, 0);
	EXPECT(!p);
}

/* In a heap without holes: what two processes use first of a size is in no cache line of both, nor in the next one. */
static void first_fragments_lie_apart(const char *manager)
{
	enum { SIZE = 88, LINES = 128 };
	uintptr_t *seen = shm_malloc(sizeof *seen), mine = (uintptr_t)shm_malloc(SIZE);
	pid_t pid;

	if (!strcmp(manager, "qm") || !strcmp(manager, "vq"))
		return;			/* guards close the magazines; no fragment is of just the size */
	pid = fork();
	if (pid == 0) {
		*seen = (uintptr_t)shm_malloc(SIZE);	/* the compiler, too, has to know that the parent sees it */
		_exit(0);
	}
	EXPECT(waitpid(pid, NULL, 0) == pid);
	EXPECT(*seen && (*seen > mine ? *seen - mine : mine - *seen) >= SIZE + LINES);
}

int main(int argc, char **argv)
{
	const char *role = argc > 2 ? argv[2] : "";

	if (argc < 2 || pkg_init_manager(argv[1])) {
		fprintf(stderr, "usage: pools MANAGER [attach|die|fill|apart]; %s\n", memapi_error());
		return 2;
	}
	setenv("MEMAPI_SHM_MANAGER", argv[1], 1);
	if (strcmp(role, "attach") == 0) {
		attach_and_write();
	} else if (strcmp(role, "die") == 0) {
		die_with_the_lock();
	} else if (strcmp(role, "fill") == 0) {
		setenv("MEMAPI_SHM_SIZE", "6M", 1);
		fill_until_null();
	} else if (strcmp(role, "apart") == 0) {
		first_fragments_lie_apart(argv[1]);
	} else {
		EXPECT(pkg_init_manager("no such manager") == -ENOENT && strstr(memapi_error(), argv[1]));
		named_pool(argv[0], argv[1]);
		named_roots();
		unsafe_calls();
		a_free_that_waits_keeps_errno();
		EXPECT(run(argv[0], argv[1], "fill") == 0);
		EXPECT(run(argv[0], argv[1], "apart") == 0);
		puts("pools: found each other's data, outlived each other's death");
	}
	return 0;
}
