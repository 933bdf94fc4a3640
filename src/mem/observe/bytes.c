/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where bytes come from: META and shared DATA by pread, private heaps by process_vm_readv.
 *
 * Descriptors stay open while there are few; beyond obs.open_max the one that was not used for longest is closed, and
 * opened again only as the same file. Nothing is mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mem/observe/peek.h"

int peek_open(struct peek_dir *dir, const char *file, int flags, struct stat *ret_stat)
{
	struct stat st;
	int fd, e;

	/* First without opening: the open of a device or FIFO may do things. */
	if (dir->fd == -1)
		return -ENOENT;
	if (fstatat(dir->fd, file, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	fd = openat(dir->fd, file, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1)
		return -errno;
	e = fstat(fd, &st) == -1 ? -errno : !S_ISREG(st.st_mode) ? -EINVAL :
	    st.st_uid != dir->owner && st.st_uid != 0 ? -EPERM : 0;
	if (e) {
		close(fd);
		return e;
	}
	*ret_stat = st;
	return fd;
}

static void shut(struct obs_pool *p, int *fd)
{
	if (*fd == -1)
		return;
	close(*fd);
	*fd = -1;
	p->o->open--;
}

void peek_close(struct obs_pool *p)
{
	shut(p, &p->fd);
	shut(p, &p->data_fd);
}

/** Of a pool's shards the one that has something open and was not used for longest, or `than`. */
static struct obs_pool *older(struct obs_pool *p, struct obs_pool *than)
{
	for (unsigned k = 0; k < p->id.shards; k++) {
		struct obs_pool *s = p->shard[k];

		if (s && (s->fd != -1 || s->data_fd != -1) && (!than || s->used_at < than->used_at))
			than = s;
	}
	return than;
}

void peek_make_room(struct obs *o)
{
	while (o->open >= o->open_max) {
		struct obs_pool *oldest = NULL;

		for (size_t i = 0; i < o->pools; i++)
			oldest = older(o->pool[i], oldest);
		if (!oldest)
			return;
		peek_close(oldest);
	}
}

int peek_fd(struct obs_pool *p)
{
	struct stat st;
	int fd;

	p->used_at = ++p->o->clock;
	if (p->fd != -1)
		return p->fd;
	peek_make_room(p->o);
	fd = peek_open(p->dir, p->file, O_RDONLY, &st);
	if (fd < 0)
		return fd;
	if (st.st_dev != p->dev || st.st_ino != p->ino) {	/* another pool by now */
		close(fd);
		return -ESTALE;
	}
	p->o->open++;
	return p->fd = fd;
}

int peek_data_fd(struct obs_pool *p)
{
	char file[PEEK_FILE + 8];
	struct stat st;
	int fd;

	p->used_at = ++p->o->clock;
	if (p->data_fd != -1)
		return p->data_fd;
	peek_make_room(p->o);
	snprintf(file, sizeof file, "%s.data", p->file);
	fd = peek_open(p->dir, file, O_RDONLY, &st);
	if (fd < 0)
		return fd;
	p->o->open++;
	return p->data_fd = fd;
}

/** Bytes that are there, at most `bytes`; or -errno. */
static ssize_t pread_some(int fd, uint64_t offset, void *to, size_t bytes)
{
	size_t done = 0;

	if (fd < 0)
		return fd;
	while (done < bytes) {
		ssize_t n = pread(fd, (char *)to + done, bytes - done, (off_t)(offset + done));

		if (n == 0)
			break;
		if (n == -1 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return (ssize_t)done;
}

int peek_meta(struct obs_pool *p, uint64_t offset, void *to, size_t bytes)
{
	ssize_t n = pread_some(peek_fd(p), offset, to, bytes);

	return n < 0 ? (int)n : (size_t)n < bytes ? -ENODATA : 0;
}

int peek_live(struct obs_pool *p, struct meta_live *ret_live)
{
	return peek_meta(p, META_LIVE, ret_live, sizeof *ret_live);
}

uint64_t peek_size(struct obs_pool *p)
{
	struct stat st;
	int fd = peek_fd(p);

	return fd < 0 || fstat(fd, &st) == -1 || st.st_size < 0 ? 0 : (uint64_t)st.st_size;
}

static ssize_t process_bytes(struct obs_pool *p, uint64_t at, void *to, size_t bytes)
{
	struct iovec here = { to, bytes }, there = { (void *)(uintptr_t)at, bytes };
	ssize_t n = process_vm_readv((pid_t)p->id.pid, &here, 1, &there, 1, 0);

	return n != -1 ? n : errno == EPERM ? -EACCES : -errno;
}

ssize_t peek_bytes(struct obs_pool *p, uint64_t at, void *to, size_t bytes)
{
	uint64_t meta_end = META_RECORDS + p->id.records_max * sizeof(struct meta_record);

	if (p->key.domain == OBS_PKG)
		return process_bytes(p, at, to, bytes);
	if (at - p->id.base < p->id.size)
		return pread_some(peek_data_fd(p), at - p->id.base, to, bytes);
	if (at - p->id.meta_at < meta_end)
		return pread_some(peek_fd(p), at - p->id.meta_at, to, bytes);
	return -EFAULT;
}
