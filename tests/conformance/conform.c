/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs the parts of conform.h, and what they share.
 *
 *	conform MANAGER pkg|shm [TURNS [PART [WATCH]]]	TURNS: calls of the long parts
 *	conform --managers				the names that there are
 *
 * A domain that the manager does not serve must be refused with the reason; that is the test then. Prints a line a part
 * and way of watching; exit status 0, or 1 when one did not pass.
 */
#include "conform.h"

#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TURNS = 60000, PART_SECONDS = 1500 };

static const char *const watch_name[] = { "off", "sites", "guards", "switched" };

static const struct part {
	const char *name;
	void (*run)(const struct memory *m);
	const char *size;		/* of its pool */
	bool switched;			/* long enough to be watched otherwise meanwhile */
} parts[] = {
	{ "bad_arguments", bad_arguments, "8M", false },
	{ "alignments", alignments, "64M", false },
	{ "grow_and_shrink", grow_and_shrink, "64M", false },
	{ "random_calls", random_calls, "256M", true },
	{ "counters_at_every_step", counters_at_every_step, "16M", true },
	{ "exhaustion", exhaustion, "2M", false },
	{ "fragmentation", fragmentation, "6M", false },
	{ "processes", processes, "64M", true },
	{ "threads", threads, "64M", true },
};

/* ---- the calls, with the macros that an application uses ---- */

static void *p_alloc(size_t size) { return pkg_malloc(size); }
static void *p_zeros(size_t size) { return pkg_mallocxz(size); }
static void *p_aligned(size_t align, size_t size) { return pkg_memalign(align, size); }
static void *p_realloc(void *p, size_t size) { return pkg_realloc(p, size); }
static void *p_reallocxf(void *p, size_t size) { return pkg_reallocxf(p, size); }
static void p_free(void *p) { pkg_free(p); }
static void *s_alloc(size_t size) { return shm_malloc(size); }
static void *s_zeros(size_t size) { return shm_mallocxz(size); }
static void *s_aligned(size_t align, size_t size) { return shm_memalign(align, size); }
static void *s_realloc(void *p, size_t size) { return shm_realloc(p, size); }
static void *s_reallocxf(void *p, size_t size) { return shm_reallocxf(p, size); }
static void s_free(void *p) { shm_free(p); }

static const struct memory memories[] = {
	{ .domain = "pkg", .alloc = p_alloc, .zeros = p_zeros, .aligned = p_aligned, .realloc = p_realloc,
	  .reallocxf = p_reallocxf, .free = p_free, .usable = pkg_usable, .info = pkg_info },
	{ .domain = "shm", .shared = true, .alloc = s_alloc, .zeros = s_zeros, .aligned = s_aligned,
	  .realloc = s_realloc, .reallocxf = s_reallocxf, .free = s_free, .usable = shm_usable, .info = shm_info },
};

/* ---- one part in a process of its own ---- */

static char sandbox[] = "/tmp/memapi-conform-XXXXXX";

void fail(const char *file, int line, const char *what)
{
	const char *name = strrchr(file, '/');

	printf("%s:%d: not true: %s (errno %s; %s)\n", name ? name + 1 : file, line, what, strerror(errno), memapi_error());
	fflush(stdout);
	_exit(1);
}

static void environment(const struct memory *m, const struct part *part)
{
	char path[64];

	snprintf(path, sizeof path, "%s/registry", sandbox);
	setenv("MEMAPI_REGISTRY", path, 1);
	setenv("MEMAPI_CONFIG", "/dev/null", 1);
	setenv("XDG_STATE_HOME", sandbox, 1);
	setenv("MEMAPI_TRACK", m->watch == SITES || m->watch == GUARDS ? "sites" : "off", 1);
	setenv("MEMAPI_DEBUG", m->watch == GUARDS ? "yes" : "no", 1);
	setenv("MEMAPI_SAFETY", "abort", 1);
	setenv("MEMAPI_SHM_SIZE", part->size, 1);
	setenv("MEMAPI_PKG_SIZE", part->size, 1);
}

static int start(const struct memory *m)
{
	return m->shared ? shm_init_manager(m->manager) : pkg_init_manager(m->manager);
}

static void child(struct memory *m, const struct part *part)
{
	struct mem_info info;

	alarm(PART_SECONDS);
	EXPECT(start(m) == 0);
	m->info(&info);
	m->size = info.total_size;
	part->run(m);
	fflush(stdout);
	exit(0);
}

/** Whether it passed; prints its line. */
static bool run(struct memory *m, const struct part *part)
{
	struct timespec from, to;
	int status;
	pid_t pid;

	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &from);
	environment(m, part);
	pid = fork();
	if (pid == 0)
		child(m, part);
	if (pid == -1 || waitpid(pid, &status, 0) != pid) {
		perror("conform");
		exit(2);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%s %s, watched %s: %s: %s, %.1f s", m->domain, m->manager, watch_name[m->watch], part->name,
	       status ? "FAILED" : "ok",
	       (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
	if (WIFSIGNALED(status))
		printf(", ended by signal %d", WTERMSIG(status));
	printf("\n");
	return status == 0;
}

/* ---- a domain that is not served ---- */

static bool served(const struct memory *m, const char **ret_why)
{
	const struct mem_manager *manager = mem_manager_find(m->manager);

	*ret_why = manager ? "" : memapi_error();
	return manager && (m->shared ? manager->shm : manager->pkg);
}

static bool refused(const struct memory *m)
{
	int rc = start(m);

	printf("%s %s: %s\n", m->domain, m->manager, rc ? memapi_error() : "is not served, but was not refused");
	return rc && strstr(memapi_error(), m->manager);
}

/* ---- all of them ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static bool run_all(struct memory *m, const char *only, const char *watched)
{
	bool ok = true;

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		for (m->watch = OFF; m->watch < WATCHES; m->watch++) {
			if ((only && *only && strcmp(only, parts[i].name)) ||
			    (watched && strcmp(watched, watch_name[m->watch])) ||
			    (m->watch == SWITCHED && !parts[i].switched))
				continue;
			ok &= run(m, &parts[i]);
		}
	return ok;
}

static void list_managers(void)
{
	const struct mem_manager *manager;

	for (size_t i = 0; (manager = mem_manager_at(i)); i++)
		printf("%s\n", manager->name);
}

int main(int argc, char **argv)
{
	struct memory m;
	const char *why;
	bool ok;

	if (argc == 2 && strcmp(argv[1], "--managers") == 0) {
		list_managers();
		return 0;
	}
	if (argc < 3 || (strcmp(argv[2], "pkg") && strcmp(argv[2], "shm"))) {
		fprintf(stderr, "usage: conform MANAGER pkg|shm [TURNS [PART [WATCH]]]\n");
		return 2;
	}
	m = memories[strcmp(argv[2], "shm") == 0];
	m.manager = argv[1];
	m.turns = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : TURNS;
	if (!mkdtemp(sandbox)) {
		perror(sandbox);
		return 2;
	}
	environment(&m, &parts[0]);
	ok = served(&m, &why) ? run_all(&m, argc > 4 ? argv[4] : NULL, argc > 5 ? argv[5] : NULL) : refused(&m);
	nftw(sandbox, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return ok ? 0 : 1;
}
