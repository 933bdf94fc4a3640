/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libmemapi-preload.so: the C library's allocation functions, and C++'s operators (cxx.c), on the private heap.
 *
 *	malloc() -> ready? -> magazine -> front end -> manager
 *		      | no: this thread sets the heap up, or forks, or the loader is not done
 *		    early arena
 *
 * The call site is the address that the exported function returns to, so that it is the program's. A fragment that is
 * freed where the heap must not be touched waits in `deferred`, linked through its first word, for the next free. What
 * a function does with bad arguments, and to errno, is what glibc does.
 */
#include "mem/preload/preload.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mem/front/front.h"
#include "mem/front/magazine.h"
#include "mem/init.h"
#include "mem/pkg.h"
#include "mem/preload/early.h"
#include "memapi/memcore.h"

static _Atomic(void *) deferred;

#define CALL(extra) (&(const struct front_call){ &mem_pkg_pool, NULL, NULL, caller, (extra), NULL })
#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

/* ---- when the heap is not ready ---- */

COLD static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

COLD static void *early(size_t align, size_t size)
{
	void *p = early_alloc(align, size);

	return p ? p : no_memory();
}

static bool of_heap(const void *p)
{
	if (mem_pkg_pool.ops && mem_pkg_pool.ops->flags & MEM_OWN_MEMORY)
		return true;		/* it lies anywhere */
	for (unsigned k = 0; k < mem_pkg_shards; k++)
		if ((uintptr_t)p - (uintptr_t)mem_pkg_pools[k].heap.base < mem_pkg_pools[k].heap.len)
			return true;
	return false;
}

/* In use and our caller's, so that its head stands still; with a tail or without. */
static size_t usable_not_ready(const void *p)
{
	if (early_holds(p))
		return early_usable(p);
	return of_heap(p) ? mem_pkg_pool.ops->usable(&mem_pkg_pool.heap, p) - TAIL_BYTES : 0;
}

COLD static void free_not_ready(void *p)
{
	void *next = atomic_load_explicit(&deferred, memory_order_relaxed);

	if (early_holds(p)) {
		early_free(p);
	} else if (of_heap(p)) {
		do
			*(void **)p = next;
		/* Pairs with the acquire in free_deferred(): the link. */
		while (!atomic_compare_exchange_weak_explicit(&deferred, &next, p, memory_order_release,
							      memory_order_relaxed));
	}
}

COLD static void free_deferred(const void *caller)
{
	void *p = atomic_exchange_explicit(&deferred, NULL, memory_order_acquire), *next;

	for (; p; p = next) {
		next = *(void **)p;
		pkg_release(CALL(0), p);
	}
}

COLD static void *realloc_not_ready(void *p, size_t size)
{
	size_t bytes = p ? usable_not_ready(p) : 0;
	unsigned char *fresh = NULL;

	if (size || !p) {
		fresh = early(16, size);
		if (!fresh)
			return NULL;
		for (size_t i = 0; i < size && i < bytes; i++)
			((volatile unsigned char *)fresh)[i] = ((unsigned char *)p)[i];
	}
	if (p)
		free_not_ready(p);
	return fresh;
}

/* ---- with the caller's address ---- */

/* Before the loader has relocated the library the epoch is 0, and nothing else may be looked at. */
static inline bool relocated(void) { return LIKELY(mem_pkg_pool.epoch); }

/* Apart, so that who finds something in a magazine has no frame to make for it. */
__attribute__((noinline)) static void *malloc_front(size_t size, const struct mem_site *site, const void *caller)
{
	(void)site;
	return LIKELY(pkg_ready(&mem_pkg_pool)) ? pkg_allocate(CALL(FRONT_MISSED), 16, size) : early(16, size);
}

void *preload_malloc(size_t size, const void *caller)
{
	void *p;

	if (UNLIKELY(!relocated()))
		return malloc_front(size, NULL, caller);
	p = magazine_take(size);
	if (LIKELY(p))
		return p;
	return UNLIKELY(magazine_records(mem_pkg_self.own)) ? pkg_recorded_alloc(size, NULL, caller, malloc_front) :
							      pkg_plain_alloc(size, NULL, caller, malloc_front);
}

void *preload_memalign(size_t align, size_t size, const void *caller)
{
	if (UNLIKELY(!pkg_ready(&mem_pkg_pool)))
		return early(align, size);
	return pkg_allocate(CALL(0), align < 16 ? 16 : align, size);
}

__attribute__((noinline)) static void free_front(void *p, const struct mem_site *site, const void *caller)
{
	enum magazine_answer answer;

	(void)site;
	if (UNLIKELY(!pkg_ready(&mem_pkg_pool))) {
		free_not_ready(p);
		return;
	}
	if (UNLIKELY(early_holds(p))) {	/* a manager that keeps its own memory shall not be asked about it */
		early_free(p);
		return;
	}
	answer = pkg_magazine_put(&mem_pkg_pool, p);
	if (answer == MAGAZINE_PUT)
		return;
	if (UNLIKELY(atomic_load_explicit(&deferred, memory_order_relaxed))) /* whoever sees it takes it */
		free_deferred(caller);
	pkg_release(CALL(answer == MAGAZINE_KNOWN ? FRONT_KNOWN : 0), p);
}

void preload_free(void *p, const void *caller)
{
	if (!p)
		return;
	if (UNLIKELY(!relocated()))
		free_front(p, NULL, caller);
	else
		magazine_free(p, NULL, caller, free_front);
}

static void *calloc_from(size_t count, size_t each, const void *caller)
{
	size_t size;
	void *p;

	if (UNLIKELY(__builtin_mul_overflow(count, each, &size)))
		return no_memory();
	p = relocated() ? magazine_take_zeros(size) : NULL;
	if (LIKELY(p))
		return p;
	p = relocated() ? magazine_recorded_zeros(size, NULL, caller) : NULL;
	if (p)
		return p;
	return LIKELY(pkg_ready(&mem_pkg_pool)) ? pkg_allocate(CALL(FRONT_ZERO | FRONT_MISSED), 16, size)
						: early(16, size);
}

/* What the early arena gave moves to the heap when it changes its size. */
COLD static void *realloc_early(void *p, size_t size, const void *caller)
{
	size_t bytes = early_usable(p);
	void *fresh = size ? pkg_allocate(CALL(0), 16, size) : NULL;

	if (fresh)
		memcpy(fresh, p, size < bytes ? size : bytes);
	if (fresh || !size)
		early_free(p);
	return fresh;
}

__attribute__((noinline)) static void *realloc_front(void *p, size_t size, const struct mem_site *site,
						     const void *caller)
{
	(void)site;
	if (UNLIKELY(!pkg_ready(&mem_pkg_pool)))
		return realloc_not_ready(p, size);
	if (UNLIKELY(early_holds(p)))
		return realloc_early(p, size, caller);
	return pkg_reallocate(CALL(0), p, size);
}

static void *realloc_from(void *p, size_t size, const void *caller)
{
	static const struct pkg_otherwise otherwise = { malloc_front, free_front, realloc_front };

	return relocated() ? pkg_plain_realloc(p, size, NULL, caller, &otherwise) :
			     realloc_front(p, size, NULL, caller);
}

/* As glibc has it: what is no power of two becomes the next one. */
static void *memalign_from(size_t align, size_t size, const void *caller)
{
	if (UNLIKELY(align > SIZE_MAX / 2 + 1)) {
		errno = EINVAL;
		return NULL;
	}
	if (UNLIKELY(align < 16))
		align = 16;
	else if (UNLIKELY(align & (align - 1)))
		align = (size_t)1 << (64 - __builtin_clzl(align));
	return preload_memalign(align, size, caller);
}

/* ---- C's functions ---- */

EXPORT void *malloc(size_t size) { return preload_malloc(size, CALLER); }
EXPORT void *calloc(size_t count, size_t each) { return calloc_from(count, each, CALLER); }
EXPORT void *realloc(void *p, size_t size) { return realloc_from(p, size, CALLER); }
EXPORT void free(void *p) { preload_free(p, CALLER); }

EXPORT void *reallocarray(void *p, size_t count, size_t each)
{
	size_t size;

	return __builtin_mul_overflow(count, each, &size) ? no_memory() : realloc_from(p, size, CALLER);
}

EXPORT void *memalign(size_t align, size_t size) { return memalign_from(align, size, CALLER); }
EXPORT void *aligned_alloc(size_t align, size_t size) { return memalign_from(align, size, CALLER); }
EXPORT void *valloc(size_t size) { return preload_memalign(META_PAGE, size, CALLER); }

EXPORT void *pvalloc(size_t size)
{
	if (size > SIZE_MAX - META_PAGE)
		return no_memory();
	return preload_memalign(META_PAGE, ROUND_UP(size, META_PAGE), CALLER);
}

EXPORT int posix_memalign(void **ret, size_t align, size_t size)
{
	int saved = errno;
	void *p;

	if (align < sizeof(void *) || align & (align - 1))
		return EINVAL;
	p = preload_memalign(align, size, CALLER);
	errno = saved;
	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}

EXPORT size_t malloc_usable_size(void *p)
{
	const void *caller = CALLER;

	if (!p)
		return 0;
	if (UNLIKELY(!pkg_ready(&mem_pkg_pool)))
		return usable_not_ready(p);
	return UNLIKELY(early_holds(p)) ? early_usable(p) : pkg_usable_in(CALL(0), p);
}

/* C23, and what old programs were linked with. */
EXPORT void free_sized(void *p, size_t size);
EXPORT void free_aligned_sized(void *p, size_t align, size_t size);
EXPORT void cfree(void *p);
void free_sized(void *p, size_t size) { (void)size, preload_free(p, CALLER); }
void free_aligned_sized(void *p, size_t align, size_t size) { (void)align, (void)size, preload_free(p, CALLER); }
void cfree(void *p) { preload_free(p, CALLER); }

/* ---- questions about glibc's heap, answered for this one ---- */

EXPORT struct mallinfo2 mallinfo2(void)
{
	struct mem_info i;

	pkg_info(&i);
	/* total_size is what may be reserved; programs ask for what was taken from the system */
	i.total_size = i.real_used + (mem_pkg_pool.id ? mem_pkg_pool.live->counters.tally.free_bytes : 0);
	return (struct mallinfo2){ .arena = i.total_size,
				   .ordblks = i.total_frags,
				   .uordblks = i.real_used,
				   .fordblks = i.total_size - i.real_used };
}

static int clamp(size_t n) { return n < INT32_MAX ? (int)n : INT32_MAX; }

EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 i = mallinfo2();

	return (struct mallinfo){ .arena = clamp(i.arena),
				  .ordblks = clamp(i.ordblks),
				  .uordblks = clamp(i.uordblks),
				  .fordblks = clamp(i.fordblks) };
}

/* Nothing was given back; no parameter is taken on. */
EXPORT int malloc_trim(size_t pad) { return (void)pad, 0; }
EXPORT int mallopt(int parameter, int value) { return (void)parameter, (void)value, 0; }

/* ---- for mmctl run ---- */

EXPORT const char *memapi_preload_refusal(const char *manager)
{
	const struct mem_manager *m;
	int rc = memapi_init(NULL, NULL);

	if (rc == 0 && mem_choose_manager(manager ? manager : mem_conf()->manager[CONF_PKG].name, MEM_PKG, &m) == 0)
		return NULL;
	return memapi_error();
}

const char mem_pkg_alone = 1;

EXPORT bool memapi_preload_room(void) { return mem_modules_make_room(); }
