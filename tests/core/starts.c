/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program that is only linked to memapi touches few pages for that, from its start to its exit: starts BARE and
 * LINKED, the same program that returns at once, and compares their page faults (decision 0032).
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

/* Headers, .dynamic twice, the other page of tables, data, `unsettled`, and what the C library has for one library
 * more; once there were 17. Where everything is loaded changes which pages come together. */
enum { STARTS = 32, FAULTS_MOST = 11 };

/* Of the start with the fewest, or -1. */
static long faults(char *path)
{
	char *args[] = { path, NULL };
	long least = -1;

	for (unsigned i = 0; i < STARTS; i++) {
		struct rusage used;
		int status;
		pid_t pid;

		if (posix_spawn(&pid, path, NULL, NULL, args, environ))
			return -1;
		while (wait4(pid, &status, 0, &used) == -1)
			if (errno != EINTR)
				return -1;
		if (status)
			return -1;
		if (least < 0 || used.ru_minflt < least)
			least = used.ru_minflt;
	}
	return least;
}

int main(int argc, char **argv)
{
	long bare, linked;

	if (argc != 3) {
		fprintf(stderr, "usage: starts BARE LINKED\n");
		return 2;
	}
	bare = faults(argv[1]);
	linked = faults(argv[2]);
	if (bare < 0 || linked < 0) {
		fprintf(stderr, "starts: %s does not run\n", argv[bare < 0 ? 1 : 2]);
		return 1;
	}
	printf("starts: %ld page faults bare, %ld linked, at most %d more\n", bare, linked, FAULTS_MOST);
	return linked - bare > FAULTS_MOST;
}
