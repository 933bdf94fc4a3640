/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How pools begin: processes that start together have one pool of a name; one that cannot be looked into is alive all
 * the same; a heap that there was no memory for is made when there is; the configuration is read once.
 *
 * The program starts itself again for each: begins MANAGER ROLE.
 */
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"

extern char **environ;

enum { STARTERS = 8, ROUNDS = 10 };

static const char *self, *manager;

static pid_t start(const char *role)
{
	char *argv[] = { (char *)(uintptr_t)self, (char *)(uintptr_t)manager, (char *)(uintptr_t)role, NULL };
	pid_t pid;

	EXPECT(posix_spawn(&pid, self, NULL, NULL, argv, environ) == 0);
	return pid;
}

static void expect_good(pid_t pid)
{
	int status;

	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

/* ---- one pool of a name ---- */

static void attach_or_create(void)
{
	int rc = shm_attach("one");

	if (rc == -ENOENT)
		rc = shm_create("one", 1 << 20);
	if (rc == -EEXIST)
		rc = shm_attach("one");
	EXPECT(rc == 0);
}

/* What the library finds as openat(): files take their time to be made, so that others look meanwhile. */
__attribute__((visibility("default"))) int openat(int dir, const char *path, int flags, ...)
{
	if (flags & O_CREAT)
		nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
	return (int)syscall(SYS_openat, dir, path, flags, 0600);
}

struct crowd { _Atomic unsigned go, here, done; _Atomic uintptr_t pool; };

/* All that are alive at once have the same pool, whose address is one in every process. */
static void be_one(struct crowd *crowd)
{
	uintptr_t pool, none = 0;

	while (!atomic_load(&crowd->go))
		nanosleep(&(struct timespec){ 0, 10000 }, NULL);
	attach_or_create();
	pool = (uintptr_t)shm_api()->mem_pool;
	EXPECT(atomic_compare_exchange_strong(&crowd->pool, &none, pool) || none == pool);
	atomic_fetch_add(&crowd->here, 1);
	while (atomic_load(&crowd->here) < STARTERS)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	_exit(0);
}

static void those_that_start_together_have_one_pool(void)
{
	struct crowd *crowd = mmap(NULL, sizeof *crowd, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[STARTERS];

	EXPECT(crowd != MAP_FAILED);
	for (unsigned round = 0; round < ROUNDS; round++) {
		*crowd = (struct crowd){ 0 };
		for (unsigned i = 0; i < STARTERS; i++) {
			pid[i] = fork();
			if (pid[i] == 0) {
				alarm(20);
				be_one(crowd);
			}
		}
		atomic_store(&crowd->go, 1);
		for (unsigned i = 0; i < STARTERS; i++)
			expect_good(pid[i]);
	}
}

#ifndef __SANITIZE_ADDRESS__		/* whose shadow wants more room than that */

static void limit_addresses(rlim_t bytes)
{
	struct rlimit limit;

	EXPECT(getrlimit(RLIMIT_AS, &limit) == 0);
	limit.rlim_cur = bytes ? bytes : limit.rlim_max;
	EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void create_without_room(void)
{
	limit_addresses(48 << 20);
	EXPECT(shm_create("large", 1 << 20) == -EEXIST);
	_exit(0);
}

static void a_live_pool_that_cannot_be_mapped_keeps_its_name(void)
{
	EXPECT(shm_create("large", 64 << 20) == 0);
	expect_good(start("create"));
}

/* ---- again ---- */

static void a_heap_is_made_when_there_is_memory(void)
{
	int rc;

	limit_addresses(20 << 20);
	rc = pkg_init_manager(manager);
	EXPECT(rc == -ENOMEM);
	EXPECT(!pkg_malloc(100));
	EXPECT(pkg_init_manager(manager) == -ENOMEM && !pkg_api());
	limit_addresses(0);
	EXPECT(pkg_init_manager(manager) == 0 && pkg_api());
	for (unsigned i = 0; i < 1000; i++)
		EXPECT(pkg_malloc(i));
	_exit(0);
}

#endif

/* ---- the configuration ---- */

static _Atomic unsigned opened;
static pthread_barrier_t together;

/* What the library finds as open(). */
__attribute__((visibility("default"))) int open(const char *path, int flags, ...)
{
	if (strstr(path, "begins.conf")) {
		atomic_fetch_add(&opened, 1);
		nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

static void *first_allocation(void *arg)
{
	pthread_barrier_wait(&together);
	pkg_free(pkg_malloc(100));
	return arg;
}

static void *first_choice(void *arg)
{
	pthread_barrier_wait(&together);
	EXPECT(shm_init_manager("module:no-such-module") == -ENOENT);
	return arg;
}

static void threads_read_the_configuration_once(void)
{
	pthread_t thread[2];

	setenv("MEMAPI_CONFIG", "begins.conf", 1);
	pthread_barrier_init(&together, NULL, 2);
	EXPECT(pthread_create(&thread[0], NULL, first_allocation, NULL) == 0);
	EXPECT(pthread_create(&thread[1], NULL, first_choice, NULL) == 0);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	EXPECT(atomic_load(&opened) == 1);
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *role = argc > 2 ? argv[2] : "";

	self = argv[0];
	manager = argc > 1 ? argv[1] : "";
	if (argc < 2) {
		fprintf(stderr, "usage: begins MANAGER [ROLE]\n");
		return 2;
	}
	setenv("MEMAPI_MANAGER", manager, 1);
#ifndef __SANITIZE_ADDRESS__
	if (strcmp(role, "create") == 0)
		create_without_room();
	if (strcmp(role, "again") == 0)
		a_heap_is_made_when_there_is_memory();
#endif
	if (strcmp(role, "read") == 0)
		threads_read_the_configuration_once();
	those_that_start_together_have_one_pool();
	expect_good(start("read"));
#ifndef __SANITIZE_ADDRESS__
	expect_good(start("again"));
	a_live_pool_that_cannot_be_mapped_keeps_its_name();
#endif
	puts("begins: one pool of a name, one heap, one configuration");
	return 0;
}
