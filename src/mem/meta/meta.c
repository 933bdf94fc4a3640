/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/meta/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem/meta/process.h"

static uint64_t new_generation(void)
{
	uint64_t generation = 0;

	if (getrandom(&generation, sizeof generation, 0) != sizeof generation || !(generation & UINT32_MAX))
		generation = clock_seconds() << 20 ^ (uint64_t)getpid() << 1 ^ 1;
	return generation;
}

void meta_identity(struct meta_identity *id, unsigned domain, uint32_t incarnation, const char *manager)
{
	const struct process_self *self = process_self();

	*id = (struct meta_identity){ .magic = META_MAGIC,
				      .layout = META_LAYOUT,
				      .pointer_bytes = sizeof(void *),
				      .page_bytes = META_PAGE,
				      .identity_bytes = sizeof(struct meta_identity),
				      .domain = domain,
				      .incarnation = incarnation,
				      .generation = new_generation(),
				      .shards = 1,
				      .created = clock_seconds(),
				      .pid = self->pid,
				      .start_time = self->start_time,
				      .pid_namespace = self->pid_namespace,
				      .uid = self->uid };
	snprintf(id->manager, sizeof id->manager, "%s", manager);
	memcpy(id->command, self->command, sizeof id->command - 1);
}

void meta_wire(struct pool *p)
{
	p->id = (struct meta_identity *)(void *)p->meta;
	p->live = (struct meta_live *)(void *)(p->meta + META_LIVE);
	p->sites = (struct meta_sites *)(void *)(p->meta + META_SITES);
	p->records = (struct meta_record *)(void *)(p->meta + META_RECORDS);
	p->generation = p->id->generation << 32;
}

/* Beyond RLIMIT_FSIZE the kernel does not refuse: it kills, by SIGXFSZ. */
static bool size_allowed(uint64_t bytes)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) == -1 || limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur;
}

int meta_file_new(int dir, const char *file, uint64_t bytes, int *ret_fd)
{
	int fd;

	if (!size_allowed(bytes))
		return -EFBIG;
	fd = openat(dir, file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd == -1)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) == -1) {
		int rc = -errno;

		unlinkat(dir, file, 0);
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int meta_file_name(int dir, const char *from, const char *to)
{
	return renameat2(dir, from, dir, to, RENAME_NOREPLACE) == -1 ? -errno : 0;
}
