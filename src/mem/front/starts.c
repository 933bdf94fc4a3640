/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/front/starts.h"

#include <errno.h>

#include "mem/region/region.h"

/* Of the heap: so that what is committed is whole pages of both, and few calls of the kernel. */
enum { STARTS_STEP = 64 << 20, STARTS_SHARE = 128 };

void pkg_starts_open(struct pool *p)
{
	uint64_t pages = p->data_size / STARTS_PAGE, bits = ROUND_UP(p->data_size / STARTS_SHARE, STARTS_PAGE);
	uint64_t bytes = bits + ROUND_UP(pages, STARTS_PAGE);
	void *at;

	p->starts = (struct starts){ .bits = NULL };
	if (!(p->ops->flags & MEM_PAGED) || mem_pkg_shards > 1 || region_reserve(&bytes, bytes, &at))
		return;
	p->starts = (struct starts){ .bits = at, .sizes = (uint8_t *)at + bits };
	if (pkg_starts_cover(p, p->heap.len))
		return;
	region_release(at, bytes);
	p->starts = (struct starts){ .bits = NULL };
}

void pkg_starts_close(struct pool *p)
{
	uint64_t pages = p->data_size / STARTS_PAGE, bits = ROUND_UP(p->data_size / STARTS_SHARE, STARTS_PAGE);

	if (p->starts.bits)
		region_release(p->starts.bits, bits + ROUND_UP(pages, STARTS_PAGE));
	p->starts = (struct starts){ .bits = NULL };
}

bool pkg_starts_cover(struct pool *p, uint64_t len)
{
	uint64_t have = p->starts.len, want = ROUND_UP(len, STARTS_STEP);
	int saved = errno;
	bool done;

	if (!p->starts.bits || len <= have)
		return true;
	want = want < p->data_size ? want : p->data_size;
	done = !region_commit((char *)p->starts.bits + have / STARTS_SHARE,
			      ROUND_UP((want - have) / STARTS_SHARE, STARTS_PAGE)) &&
	       !region_commit(p->starts.sizes + have / STARTS_PAGE,
			      ROUND_UP((want - have) / STARTS_PAGE, STARTS_PAGE));
	errno = saved;
	if (done)
		p->starts.len = want;
	return done;
}
