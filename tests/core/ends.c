/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a shared pool begins where there is no memory for it, and how it ends with its last process.
 *
 * Each role is a process of its own: ends MANAGER none N | threads | thread-only | crowd | refused WHY. Without a role:
 * all. Exit status 0, or 1 with the line.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <memapi/memapi.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

extern char **environ;

/* What the library finds as fallocate(): after so many calls the file system is full. */
static int room = INT32_MAX;

__attribute__((visibility("default"))) int fallocate(int fd, int mode, off_t offset, off_t len)
{
	if (room-- <= 0) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

static unsigned files_of_shared_pools(void)
{
	const char *path = getenv("MEMAPI_REGISTRY");
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;
	unsigned count = 0;

	EXPECT(dir);
	while ((entry = readdir(dir)))
		count += strstr(entry->d_name, "shm-") && !strchr(entry->d_name, '+'); /* one a pool, with its data */
	closedir(dir);
	return count;
}

/* What a test that failed has left. */
static void tidy(void)
{
	const char *path = getenv("MEMAPI_REGISTRY");
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strstr(entry->d_name, "shm-"))
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
}

/* Made by a role that nobody waits for, when all was as it should be. */
static const char *outcome(void)
{
	static char path[300];

	snprintf(path, sizeof path, "%s.good", getenv("MEMAPI_REGISTRY"));
	return path;
}

/* ---- roles ---- */

/* The thread's list of robust mutexes is whole: one of the program's goes in and out. */
static void lock_a_robust_mutex(void)
{
	static pthread_mutex_t mutex;
	pthread_mutexattr_t attr;

	EXPECT(pthread_mutexattr_init(&attr) == 0);
	EXPECT(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
	EXPECT(pthread_mutex_init(&mutex, &attr) == 0 && pthread_mutex_lock(&mutex) == 0);
	EXPECT(pthread_mutex_unlock(&mutex) == 0);
}

static void none(const char *calls)
{
	void *p;

	room = atoi(calls);
	p = shm_malloc(100);
	EXPECT(room < atoi(calls) || !p);	/* ours is asked */
	lock_a_robust_mutex();
	if (!p) {
		EXPECT(errno == ENOMEM && !shm_malloc(100));
		lock_a_robust_mutex();
	}
	room = INT32_MAX;		/* there is room again */
	p = shm_malloc(100);
	EXPECT(p);
	shm_free(p);
}

static void *allocate_and_stay(void *arg)
{
	static void *kept;

	kept = shm_malloc(100);
	EXPECT(write(*(int *)arg, kept ? "y" : "n", 1) == 1);
	pause();
	return NULL;
}

/* exit() while other threads are in the pool, with and without a slot of the main thread. */
static void threads(bool main_too)
{
	int ends[2];
	pthread_t thread;
	char said[3];
	void *p = NULL;

	EXPECT(pipe(ends) == 0);
	if (main_too)
		EXPECT((p = shm_malloc(100)));
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(pthread_create(&thread, NULL, allocate_and_stay, &ends[1]) == 0);
		EXPECT(read(ends[0], &said[i], 1) == 1 && said[i] == 'y');
	}
	shm_free(p);
}

/* Four processes that end at one moment, after their parent. */
static void crowd(void)
{
	int gate[2];
	char c;

	EXPECT(pipe(gate) == 0 && shm_malloc(10));
	for (unsigned i = 0; i < 4; i++)
		if (!fork()) {
			EXPECT(shm_malloc(10));
			close(gate[1]);
			EXPECT(read(gate[0], &c, 1) == 0);
			exit(0);
		}
	usleep(20000);
	close(gate[1]);
}

/* A registry that is not to be used: the private heap works, the shared pool is an error that says why. */
static void refused(const char *why)
{
	char *p = pkg_malloc(100);

	EXPECT(p);
	pkg_free(p);
	EXPECT(!shm_malloc(100) && strstr(memapi_error(), why));
}

/*
 * As servers go into the background: the parent ends in order before its child has asked the pool for anything. The
 * child sees to it that the pool is still there for others, and is the last to leave.
 */
static void background(const char *use)
{
	int gate[2];
	char c;

	EXPECT(pipe(gate) == 0 && shm_malloc(10));
	if (fork())
		return;
	close(gate[1]);
	EXPECT(read(gate[0], &c, 1) == 0);	/* the parent is no more */
	if (files_of_shared_pools() != 2)
		fprintf(stderr, "background: the pool's files are gone\n"), _exit(1);
	if (*use == 'y')
		EXPECT(shm_malloc(10));
	EXPECT(mkdir(outcome(), 0700) == 0);
}

/* ---- all of them ---- */

static void run(char *self, char *manager, const char *role, const char *n)
{
	char *argv[] = { self, manager, (char *)(uintptr_t)role, (char *)(uintptr_t)n, NULL };
	int status;
	pid_t pid;

	EXPECT(posix_spawn(&pid, self, NULL, NULL, argv, environ) == 0);
	EXPECT(waitpid(pid, &status, 0) == pid);
	if (status) {
		fprintf(stderr, "%s %s: status %#x\n", role, n ? n : "", (unsigned)status);
		exit(1);
	}
}

/* The children of a crowd are nobody's: wait for what they do. */
static void until_no_files(const char *role)
{
	for (unsigned i = 0; i < 500 && files_of_shared_pools(); i++)
		usleep(10000);
	if (files_of_shared_pools()) {
		fprintf(stderr, "%s: files of the pool are left\n", role);
		exit(1);
	}
}

static void in_the_background(char *self, char *manager)
{
	for (unsigned i = 0; i < 2; i++) {
		rmdir(outcome());
		run(self, manager, "background", i ? "yes" : "no");
		for (unsigned tries = 0; tries < 500 && rmdir(outcome()); tries++) {
			EXPECT(tries < 499);
			usleep(10000);
		}
		until_no_files("background");
	}
}

static void refused_registries(char *self, char *manager)
{
	char good[200], path[400];

	snprintf(good, sizeof good, "%s", getenv("MEMAPI_REGISTRY"));
	snprintf(path, sizeof path, "%s/%0*d", good, 150, 0);
	setenv("MEMAPI_REGISTRY", path, 1);
	run(self, manager, "refused", "File name too long");
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/open", good);
		setenv("MEMAPI_REGISTRY", path, 1);
		EXPECT(mkdir(path, 0700) == 0 && chmod(path, i ? 0702 : 0720) == 0);
		run(self, manager, "refused", "others may write");
		EXPECT(rmdir(path) == 0);
	}
	setenv("MEMAPI_REGISTRY", good, 1);
}

int main(int argc, char **argv)
{
	const char *role = argc > 2 ? argv[2] : "", *n = argc > 3 ? argv[3] : "";
	char number[8];

	if (argc < 2 || pkg_init_manager(argv[1])) {
		fprintf(stderr, "usage: ends MANAGER [none N|threads|thread-only|crowd]; %s\n", memapi_error());
		return 2;
	}
	setenv("MEMAPI_SHM_MANAGER", argv[1], 1);
	if (!strcmp(role, "none")) {
		none(n);
	} else if (!strcmp(role, "threads") || !strcmp(role, "thread-only")) {
		threads(!strcmp(role, "threads"));
	} else if (!strcmp(role, "background")) {
		background(n);
	} else if (!strcmp(role, "refused")) {
		refused(n);
	} else if (!strcmp(role, "crowd")) {
		crowd();
	} else {
		tidy();
		for (unsigned i = 0; i < 8; i++) {
			snprintf(number, sizeof number, "%u", i);
			run(argv[0], argv[1], "none", number);
			until_no_files("none");
		}
		run(argv[0], argv[1], "threads", NULL);
		until_no_files("threads");
		run(argv[0], argv[1], "thread-only", NULL);
		until_no_files("thread-only");
		for (unsigned i = 0; i < 20; i++) {
			run(argv[0], argv[1], "crowd", NULL);
			until_no_files("crowd");
		}
		in_the_background(argv[0], argv[1]);
		refused_registries(argv[0], argv[1]);
		puts("ends: without memory an error, without users no files");
	}
	return 0;
}
