/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/region/region.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/base/compiler.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Window for shared pools. Unused by loaders and mmap in the wild (research: > 300 process instances). */
#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif
#ifdef TSAN
#define WINDOW_LOW 0x2000000000ull
#define WINDOW_HIGH 0x7000000000ull
#else
#define WINDOW_LOW 0x350000000000ull
#define WINDOW_HIGH 0x3f0000000000ull
#endif
#define WINDOW_STEP 0x200000ull

enum { TRIES = 32, HUGE_BYTES = 2 << 20 };

int region_reserve(uint64_t *bytes, uint64_t least, void **ret_base)
{
	for (uint64_t want = *bytes; want >= least; want = ROUND_UP(want / 2, 4096)) {
		void *base = mmap(NULL, want, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (base != MAP_FAILED) {
			*bytes = want;
			*ret_base = base;
			return 0;
		}
		if (want <= 4096)
			break;
	}
	return -ENOMEM;
}

int region_commit(void *at, uint64_t bytes) { return mprotect(at, bytes, PROT_READ | PROT_WRITE) == -1 ? -errno : 0; }

bool region_discard(void *at, uint64_t bytes)
{
	uint64_t from = ROUND_UP((uintptr_t)at, 4096), to = ((uintptr_t)at + bytes) & ~4095ull;

	return to <= from || madvise((void *)from, to - from, MADV_DONTNEED) == 0; /* not what is locked in memory */
}

void region_huge(void *at, uint64_t bytes, bool wanted)
{
	uint64_t from = ROUND_UP((uintptr_t)at, HUGE_BYTES), to = ((uintptr_t)at + bytes) & ~(uint64_t)(HUGE_BYTES - 1);

	if (from < to) /* refused by kernels without them */
		(void)madvise((void *)from, to - from, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static int reserve_at(uint64_t at, uint64_t bytes, void **ret_base)
{
	void *base = mmap((void *)at, bytes, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (base == MAP_FAILED)
		return errno == EEXIST ? -EADDRINUSE : -errno;
	if ((uintptr_t)base != at) { /* a kernel before 4.17 takes it for a hint */
		munmap(base, bytes);
		return -EADDRINUSE;
	}
	*ret_base = base;
	return 0;
}

int region_reserve_shared(void *at, uint64_t bytes, void **ret_base)
{
	int rc = -EADDRINUSE;

	if (at)
		return reserve_at((uintptr_t)at, bytes, ret_base);
	if (bytes >= WINDOW_HIGH - WINDOW_LOW)
		return -ENOMEM;
	for (unsigned i = 0; i < TRIES && rc == -EADDRINUSE; i++) {
		uint64_t dice, places = (WINDOW_HIGH - WINDOW_LOW - bytes) / WINDOW_STEP;

		if (getrandom(&dice, sizeof dice, 0) != sizeof dice)
			return -EIO;
		rc = reserve_at(WINDOW_LOW + dice % places * WINDOW_STEP, bytes, ret_base);
	}
	return rc;
}

int region_map_file(void *at, uint64_t bytes, int fd)
{
	return mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ? -errno : 0;
}

void region_release(void *at, uint64_t bytes)
{
	if (at)
		munmap(at, bytes);
}

/* Programs count on low numbers: on the lowest free one, and on 0 to 2, which may be closed at their start. */
static int out_of_the_way(int fd)
{
	static const int from[] = { 200, 20, 3 };	/* as the limit allows */

	for (unsigned i = 0; i < sizeof from / sizeof *from; i++) {
		int high = fcntl(fd, F_DUPFD_CLOEXEC, from[i]);

		if (high != -1) {
			close(fd);
			return high;
		}
	}
	return fd;
}

int region_file_open(struct region_file *f, int fd)
{
	struct stat st;

	*f = (struct region_file){ .fd = -1 };
	fd = out_of_the_way(fd);
	if (fstat(fd, &st) == -1) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	*f = (struct region_file){ fd, st.st_dev, st.st_ino };
	return 0;
}

static bool still_ours(const struct region_file *f)
{
	struct stat st;

	return f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_dev == f->device && st.st_ino == f->inode;
}

int region_file_commit(const struct region_file *f, void *at, uint64_t offset, uint64_t bytes)
{
	int rc;

	if (!still_ours(f))
		return madvise(at, bytes, MADV_POPULATE_WRITE) == -1 ? -ENOSPC : 0;
	do
		rc = fallocate(f->fd, 0, (off_t)offset, (off_t)bytes) == -1 ? -errno : 0;
	while (rc == -EINTR);
	return rc;
}

void region_file_close(struct region_file *f)
{
	if (still_ours(f))
		close(f->fd);
	f->fd = -1;
}
