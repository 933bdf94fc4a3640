/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Publication and ownership: calls that change a pointer variable of the application's in shared memory in the same
 * transaction as the heap, and calls that say whose a fragment is.
 *
 *	malloc_to, free_from		heap and *dst in one transaction
 *	mallocxz_to			OWNED fragment | zeros | *dst, SHARED
 *	realloc_to, in place		*dst stays, SHARED
 *	realloc_to that moves		OWNED fragment | bytes | *dst, SHARED, and the old one free
 *
 * Between the transactions no lock is held: bytes of the application's are not logged, so that they are written while
 * the new fragment is allocated for good and nobody else's yet. Who is killed there owns it, and it goes back.
 */
#include <errno.h>
#include <string.h>

#include "mem/front/shards.h"
#include "mem/init.h"
#include "mem/shm.h"

#define CALL { .site = site, .caller = __builtin_return_address(0) }

static void *fails(int error)
{
	errno = error;
	return NULL;
}

/* Behind it lies memory that every process of the pool has, and that a rollback may write to. */
static bool in_data(const void *dst)
{
	for (unsigned k = 0; k < mem_shm_shards; k++) {
		const struct pool *p = &mem_shm_pools[k];
		uint64_t at = (uintptr_t)dst - (uintptr_t)p->heap.base;

		if (pool_holds(p, dst))
			return at % sizeof(uint64_t) == 0 &&
			       at < *(const volatile uint64_t *)&p->live->counters.committed;
	}
	return false;
}

static bool fit(const void *dst, const char *name)
{
	struct owner *o;

	if (!mem_shm_ready(&o)) {
		errno = ENOMEM;
		return false;
	}
	if (in_data(dst))
		return true;
	mem_set_error("%s: %p is no place for a pointer in the shared pool %s: it must be 8-byte aligned and lie in a fragment",
		      name, dst, mem_shm_pool.id->name);
	errno = EINVAL;
	return false;
}

static void *named_by(void *dst) { return (void *)(uintptr_t) * (volatile uint64_t *)dst; }

/* As the calls of the API, which take a lock that the caller holds by shm_lock() for their own. */
static void *allocate(struct front_call *call, unsigned flags, size_t size)
{
	struct owner *o;

	if (!mem_shm_ready(&o))
		return fails(ENOMEM);
	call->flags = flags | (o->holds ? FRONT_HELD : 0);
	return mem_shm_allocate(call, 16, size);
}

void *mem_shm_malloc_to(void *dst, size_t size, const struct mem_site *site)
{
	struct front_to to = { .dst = dst };
	struct front_call call = CALL;

	call.to = &to;
	return fit(dst, "shm_malloc_to") ? allocate(&call, 0, size) : NULL;
}

void *mem_shm_mallocxz_to(void *dst, size_t size, const struct mem_site *site)
{
	struct front_to to = { 0 };
	struct front_call call = CALL;
	void *fresh;

	call.to = &to;
	fresh = fit(dst, "shm_mallocxz_to") ? allocate(&call, FRONT_OWNED | FRONT_ZERO, size) : NULL;
	if (!fresh || !mem_shm_find(&call, fresh))
		return NULL;
	to.dst = dst;
	shm_front_deliver(&call, fresh);
	return fresh;
}

/* Of several that free what *dst names only one does, and the others find NULL. */
static bool free_from(struct front_call *call, void *dst)
{
	struct front_to to = { .dst = dst };
	void *p;

	call->to = &to;
	while ((p = named_by(dst))) {
		call->flags = 0;
		if (!mem_shm_find(call, p)) {
			errno = ENOMEM;
			return false;
		}
		shm_front_free(call, p);
		if (to.done)
			return true;
		if (named_by(dst) == p) {	/* a fault, which was told */
			errno = EINVAL;
			return false;
		}
	}
	return true;
}

bool mem_shm_free_from(void *dst, const struct mem_site *site)
{
	struct front_call call = CALL;

	return fit(dst, "shm_free_from") && free_from(&call, dst);
}

static void *move(struct front_call *call, void *dst, void *p, size_t size, size_t old)
{
	struct front_to to = { 0 };
	void *fresh;

	call->to = &to;
	fresh = allocate(call, FRONT_OWNED, size);
	if (!fresh)
		return NULL;
	memcpy(fresh, p, size < old ? size : old);
	to.dst = dst;
	to.value = (uintptr_t)fresh;
	call->flags = 0;
	if (mem_shm_find(call, p))
		shm_front_free(call, p);
	if (to.done)
		return fresh;
	call->to = NULL;			/* another has changed *dst: it keeps what it has now */
	if (mem_shm_find(call, fresh))
		shm_front_free(call, fresh);
	return fails(EBUSY);
}

static void *realloc_to(struct front_call *call, void *dst, void *p, size_t size)
{
	struct front_to to = { 0 };
	struct front_old old;

	if (!mem_shm_find(call, p))
		return fails(ENOMEM);
	if (shm_front_refuses(call))
		return NULL;
	if ((uintptr_t)dst - (uintptr_t)p < shm_front_usable(call, p)) {
		mem_set_error("shm_realloc_to: the pointer at %p lies in the fragment %p that it names", dst, p);
		return fails(EINVAL);
	}
	call->to = &to;
	old = shm_front_resize(call, p, size);
	if (old.now)
		return old.now;
	if (!old.bad)
		return move(call, dst, p, size, old.bytes);
	front_fault(call, MEM_WILD_FREE, p, (uint64_t)NO_RECORD);
	return fails(EINVAL);
}

void *mem_shm_realloc_to(void *dst, size_t size, const struct mem_site *site)
{
	struct front_to to = { .dst = dst };
	struct front_call call = CALL;
	void *p;

	if (!fit(dst, "shm_realloc_to"))
		return NULL;
	p = named_by(dst);
	if (p && size)
		return realloc_to(&call, dst, p, size);
	if (p) {
		free_from(&call, dst);
		return NULL;
	}
	call.to = &to;
	return allocate(&call, 0, size);
}

/* ---- whose it is ---- */

void *mem_shm_malloc_owned(size_t size, const struct mem_site *site)
{
	struct front_call call = CALL;

	return allocate(&call, FRONT_OWNED, size);
}

static int transfer(void *p, bool owned)
{
	struct front_call call = { .caller = __builtin_return_address(0) };

	if (p && mem_shm_find(&call, p) && shm_front_refuses(&call))
		return -EDEADLK;
	if (p && mem_shm_find(&call, p) && shm_front_own(&call, p, owned))
		return 0;
	mem_set_error("%p is no fragment in use of the shared pool", p);
	return -EINVAL;
}

int shm_own(void *p) { return transfer(p, true); }
int shm_share(void *p) { return transfer(p, false); }
