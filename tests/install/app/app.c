/* SPDX-License-Identifier: BSD-2-Clause */
/* The smallest program that uses everything which is linked: compiled as C and C++, with and without DBG_SR_MEMORY. */
#include <memapi/memapi.h>
#include <memapi/memcore.h>
#include <memapi/observe.h>

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	char *mine = (char *)pkg_malloc(100), *ours = (char *)shm_mallocxz(100);
	struct obs *o = NULL;
	int status;
	pid_t child;

	if (!mine || !ours || !mem_manager_at(0)) {
		printf("%s\n", memapi_error());
		return 1;
	}
	strcpy(mine, "said by the child");
	child = fork();
	if (child == 0) {
		strcpy(ours, mine);
		_exit(0);
	}
	if (child == -1 || waitpid(child, &status, 0) != child || status != 0)
		return 2;
	if (obs_open(NULL, &o) != 0 || obs_scan(o, NULL, NULL) != 0 || !obs_at(o, 0))
		return 3;
	obs_close(o);
	puts(ours);
	shm_free(ours);
	pkg_free(mine);
	return 0;
}
