/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap.h"

#include <fcntl.h>

#include "mem/meta/layout.h"

/* The newest of this pid: what another left that had it before may still be there. */
static int open_own(char *path, size_t bytes)
{
	int fd = -1;

	for (unsigned i = 32; fd == -1 && i; i--) {
		snprintf(path, bytes, "%s/pkg-%d-%u", getenv("MEMAPI_REGISTRY"), (int)getpid(), i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	return fd;
}

int on_heap(const void *p)
{
	struct meta_identity id;
	char path[4096];
	int fd, is;

	(void)faults;
	fd = open_own(path, sizeof path);
	if (fd == -1) {
		perror(path);
		return 0;
	}
	is = read(fd, &id, sizeof id) == (ssize_t)sizeof id && (uintptr_t)p - id.base < id.size;
	close(fd);
	return is;
}
