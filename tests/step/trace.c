/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

bool board_make(struct victim *v)
{
	v->board_fd = memfd_create("board", 0);
	if (v->board_fd == -1 || ftruncate(v->board_fd, sizeof *v->board) == -1)
		return false;
	v->board = mmap(NULL, sizeof *v->board, PROT_READ | PROT_WRITE, MAP_SHARED, v->board_fd, 0);
	return v->board != MAP_FAILED;
}

static bool find_text(struct victim *v)
{
	char path[40], line[512];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/maps", v->pid);
	f = fopen(path, "re");
	v->text = v->text_end = 0;
	while (f && fgets(line, sizeof line, f))
		if (strstr(line, "libmemapi") && strstr(line, "r-xp")) {
			char *at = line;

			v->text = strtoull(at, &at, 16);
			v->text_end = strtoull(at + 1, &at, 16);
			v->text_from = strtoull(at + 6, NULL, 16);
		}
	if (f)
		fclose(f);
	return v->text != 0;
}

bool victim_start(struct victim *v, const char *program, const char *pool, uint64_t seed, const char *calls, bool steps)
{
	char fd[12], number[24];
	char *argv[] = {
		(char *)(uintptr_t)program, fd, (char *)(uintptr_t)pool, number, (char *)(uintptr_t)calls, NULL
	};

	snprintf(fd, sizeof fd, "%d", v->board_fd);
	snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
	memset(v->board, 0, sizeof *v->board);
	v->pid = fork();
	if (v->pid == 0) {
		if (steps && ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1)
			_exit(3);
		setenv("LD_BIND_NOW", "1", 1);
		execv(program, argv);
		_exit(3);
	}
	if (v->pid == -1 || !steps)
		return v->pid != -1;
	/* at its exec, then at its first announcement */
	return victim_next(v) && victim_next(v) && find_text(v);
}

static bool resume(struct victim *v, enum __ptrace_request request)
{
	int status, sig = 0;

	for (;;) {
		if (ptrace(request, v->pid, NULL, (void *)(intptr_t)sig) == -1 ||
		    waitpid(v->pid, &status, __WALL) != v->pid)
			return false;
		if (!WIFSTOPPED(status)) {
			v->pid = 0;
			return false;
		}
		if (WSTOPSIG(status) == SIGTRAP)
			return true;
		sig = WSTOPSIG(status);
	}
}

bool victim_next(struct victim *v)
{
	int status;

	if (!v->text && !v->text_end && !v->board->end) {	/* its exec: nothing to resume yet */
		v->text_end = 1;
		return waitpid(v->pid, &status, __WALL) == v->pid && WIFSTOPPED(status);
	}
	return resume(v, PTRACE_CONT);
}

bool victim_inlined(const struct victim *v)
{
	return v->at - v->board->inlined < v->board->inlined_end - v->board->inlined;
}

enum step victim_step(struct victim *v)
{
	if (!resume(v, PTRACE_SINGLESTEP))
		return STEP_ENDED;
	v->at = (uintptr_t)ptrace(PTRACE_PEEKUSER, v->pid, offsetof(struct user, regs.rip), NULL);
	return v->at == v->board->end				? STEP_OVER :
	       v->at - v->text < v->text_end - v->text || victim_inlined(v) ? STEP_INSIDE :
								  STEP_OUTSIDE;
}

void victim_reap(struct victim *v)
{
	if (v->pid > 0)
		waitpid(v->pid, NULL, __WALL);
	v->pid = 0;
}

void victim_kill(struct victim *v)
{
	if (v->pid > 0)
		kill(v->pid, SIGKILL);
	victim_reap(v);
}

static char registry[256];

const char *registry_make(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(registry, sizeof registry, "/dev/shm/memapi-step.XXXXXX");
	if (mkdtemp(registry))
		return registry;
	snprintf(registry, sizeof registry, "%s/memapi-step.XXXXXX", tmp ? tmp : "/tmp");
	return mkdtemp(registry);
}

void registry_remove(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(dir);
}
