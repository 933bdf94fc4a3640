/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs damage() under every manager and policy, and judges it; the contract is in corrupt.h. */
#include "corrupt.h"

#include <errno.h>
#include <ftw.h>
#include <memapi/manager.h>
#include <memapi/memcore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT = 800, TAIL = 8 };

/* Between a child and the test: the child may be gone when it is judged. */
static struct protocol {
	enum mem_fault_kind kind;
	const void *address;
	char expected[TEXT];		/* "": no report */
	unsigned reports, failed;
	bool skipped, finished;
} * protocol;

/* ---- what damage() calls ---- */

const char *place(const struct mem_site *site)
{
	static char text[4][220];
	static unsigned next;
	char *to = text[next++ % 4];
	size_t len = strlen(site->file);

	snprintf(to, sizeof text[0], "%s:%u (%.55s)", len > 79 ? site->file + len - 79 : site->file, site->line, site->function);
	return to;
}

void expect(enum mem_fault_kind kind, const void *address, const char *text, ...)
{
	va_list args;

	va_start(args, text);
	vsnprintf(protocol->expected, TEXT, text, args);
	va_end(args);
	protocol->kind = kind;
	protocol->address = address;
}

void must(bool holds, const char *what, const char *file, int line)
{
	if (holds)
		return;
	printf("%s:%d: not so: %s\n", file, line, what);
	protocol->failed++;
}

static void on_fault(const struct mem_fault_report *report)
{
	protocol->reports++;
	MUST(report->kind == protocol->kind);
	MUST(report->address == protocol->address);
	MUST(!strcmp(report->text, protocol->expected));
	if (strcmp(report->text, protocol->expected))
		printf("\texpected: %s\n\treported: %s\n", protocol->expected, report->text);
}

/* ---- the child ---- */

static bool count_used(const struct mem_fragment *f, void *arg)
{
	*(unsigned *)arg += f->used;
	return true;
}

/* Whatever was done to it, the heap can be walked, serves, and takes back. */
static void must_go_on(const struct memory *m)
{
	unsigned before = 0, after = 0;
	void *p[64];

	MUST((m->shared ? shm_api()->xwalk(shm_api()->mem_block, count_used, &before) :
			  pkg_api()->xwalk(pkg_api()->mem_block, count_used, &before)) == 0);
	for (size_t i = 0; i < 64; i++) {
		MUST((p[i] = m->alloc(1 + i * 37, MEM_SITE)) != NULL);
		memset(p[i], 0x5a, 1 + i * 37);
	}
	for (size_t i = 0; i < 64; i++)
		m->free(p[(i * 29) % 64], MEM_SITE);
	MUST((m->shared ? shm_api()->xwalk(shm_api()->mem_block, count_used, &after) :
			  pkg_api()->xwalk(pkg_api()->mem_block, count_used, &after)) == 0);
	MUST(before == after);
}

static void child(const struct memory *m, bool ends)
{
	setenv("MEMAPI_TRACK", m->watch == PLAIN ? "off" : "sites", 1);
	setenv("MEMAPI_DEBUG", m->watch == GUARDED ? "yes" : "no", 1);
	setenv("MEMAPI_SAFETY", ends ? "abort" : "report", 1);
	setenv("MEMAPI_SHM_SIZE", "4M", 1);
	alarm(20);
	if (m->shared ? shm_init_manager(m->manager) : pkg_init_manager(m->manager)) {
		printf("%s\n", memapi_error());
		exit(1);
	}
	memapi_on_fault(ends ? NULL : on_fault);
	protocol->skipped = !damage(m);
	if (!ends && !protocol->skipped) {
		MUST(protocol->reports == (protocol->expected[0] != 0));
		must_go_on(m);
		MUST(protocol->reports == (protocol->expected[0] != 0));
	}
	protocol->finished = true;
	fflush(stdout);
	exit(0);
}

/* ---- the judge ---- */

/* Runs the child with its stderr in `said`. */
static int run(const struct memory *m, bool ends, char *said, size_t bytes)
{
	int end[2], status = 0;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	memset(protocol, 0, sizeof *protocol);
	fflush(stdout);
	if (pipe(end) || (pid = fork()) == -1) {
		perror("a child");
		exit(1);
	}
	if (!pid) {
		dup2(end[1], STDERR_FILENO);
		close(end[0]);
		close(end[1]);
		child(m, ends);
	}
	close(end[1]);
	while ((got = read(end[0], said + n, bytes - 1 - n)) > 0)
		n += (size_t)got;
	said[n] = 0;
	close(end[0]);
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	return status;
}

static void judge_report(int status, const char *said)
{
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	MUST(protocol->finished);
	MUST(said[0] == 0);
	if (said[0])
		printf("\tstderr: %s\n", said);
}

static void judge_abort(int status, const char *said)
{
	char line[TEXT + 16];

	if (protocol->skipped || !protocol->expected[0]) {
		MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		return;
	}
	snprintf(line, sizeof line, "memapi: %s\n", protocol->expected);
	MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	MUST(!strcmp(said, line));
	if (strcmp(said, line))
		printf("\texpected: %s\tsaid: %s\n", line, said);
}

/* Returns whether all was as it must be. */
static bool run_both(const struct memory *m)
{
	static const char *const watch_name[] = { "plain", "recorded", "guarded" };
	char said[2 * TEXT];
	bool ok = true;

	for (int ends = 0; ends < 2; ends++) {
		int status = run(m, ends, said, sizeof said);

		(ends ? judge_abort : judge_report)(status, said);
		ok &= !protocol->failed;
		printf("%s %s, %s, %s: %s\n", m->domain, m->manager, watch_name[m->watch], ends ? "abort" : "report",
		       protocol->failed ? "FAILED" : protocol->skipped ? "cannot show it" : "ok");
	}
	return ok;
}

static const struct memory pkg_memory = { "pkg",
					  .alloc = mem_pkg_malloc,
					  .realloc = mem_pkg_realloc,
					  .free = mem_pkg_free,
					  .usable = pkg_usable,
					  .foreign = mem_shm_malloc,
					  .foreign_free = mem_shm_free };
static const struct memory shm_memory = { "shm", .shared = true, .alloc = mem_shm_malloc, .realloc = mem_shm_realloc,
					  .free = mem_shm_free, .usable = shm_usable, .foreign = mem_pkg_malloc,
					  .foreign_free = mem_pkg_free };

/* What memory of the manager's own has no record is its library's business; and under ASan, which is the C library's
 * malloc then and finds each misuse first, all of it is. */
static bool librarys_own(const struct memory *m)
{
#ifdef __SANITIZE_ADDRESS__
	return m->flags & MEM_OWN_MEMORY;
#else
	return m->watch == PLAIN && m->flags & MEM_OWN_MEMORY;
#endif
}

static bool run_manager(const struct mem_manager *manager)
{
	struct memory m;
	bool ok = true;

	for (enum watch watch = PLAIN; watch <= GUARDED; watch++) {
		m = pkg_memory;
		m.manager = manager->name;
		m.watch = watch;
		m.fills = manager->pkg ? mem_round(manager->pkg, 104 + TAIL) - TAIL : 0;
		m.flags = manager->view->flags;
		ok &= !manager->pkg || librarys_own(&m) || run_both(&m);
		m = shm_memory;
		m.manager = manager->name;
		m.watch = watch;
		m.fills = manager->shm ? mem_round(manager->shm, 104 + TAIL) - TAIL : 0;
		m.flags = manager->view->flags;
		ok &= !manager->shm || watch == PLAIN || run_both(&m);	/* shared fragments are always recorded */
	}
	return ok;
}

static char sandbox[] = "/tmp/memapi-corrupt-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static void settle(void)
{
	char path[64];
	FILE *conf;

	if (!mkdtemp(sandbox)) {
		perror(sandbox);
		exit(1);
	}
	snprintf(path, sizeof path, "%s/registry", sandbox);
	setenv("MEMAPI_REGISTRY", path, 1);
	setenv("XDG_STATE_HOME", sandbox, 1);
	snprintf(path, sizeof path, "%s/mmd.conf", sandbox);
	setenv("MEMAPI_CONFIG", path, 1);
	conf = fopen(path, "w");
	if (conf)
		fclose(conf);
}

int main(void)
{
	const struct mem_manager *manager;
	bool ok = true;

	protocol = mmap(NULL, sizeof *protocol, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (protocol == MAP_FAILED)
		return 1;
	settle();
	for (size_t i = 0; (manager = mem_manager_at(i)); i++)
		ok &= run_manager(manager);
	nftw(sandbox, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return ok ? 0 : 1;
}
