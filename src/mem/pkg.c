/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The private heap of this process: made at the first use, given a META of its own again in each forked child.
 *
 * Truth is private memory (DATA, roots, counters) and follows fork by copy-on-write. META is what others read: when it
 * cannot be a file, the heap goes on unseen. It may be several shards (front/shards.h), each with a META of its own;
 * they are made, forked and left as one.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/front/magazine.h"
#include "mem/front/own_fast.h"
#include "mem/front/sampled.h"
#include "mem/front/starts.h"
#include "mem/init.h"
#include "mem/meta/meta.h"
#include "mem/meta/process.h"
#include "mem/meta/registry.h"
#include "mem/meta/store.h"
#include "mem/pkg.h"
#include "mem/reap/reap.h"

enum { INCARNATIONS = 1000, STARTS_PER_REAP = 64 };
#define RESERVE (64ull << 30)
#define RESERVE_LEAST (1ull << 20)
#define FIRST_COMMIT (64ull << 10)
#define RECORDS_MOST (64ull << 20)
#define RECORDS_LEAST (64ull << 10)

struct pool mem_pkg_pools[SHARDS_MAX];
unsigned mem_pkg_shards = 1;
static const struct mem_manager *chosen;	/* by pkg_init_manager() */

/* Without records it ends where the slots would begin: those are of shared pools. */
static uint64_t meta_bytes_for(uint64_t records)
{
	return records ? META_RECORDS + records * sizeof(struct meta_record) : META_SLOTS;
}

/* ---- META ---- */

/* As many records as there is address space for. */
static int map_meta(struct pool *p, int fd)
{
	int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint64_t records = RECORDS_MOST;
	void *at;

	for (;; records = records / 4 >= RECORDS_LEAST ? records / 4 : 0) {
		p->meta_bytes = meta_bytes_for(records);
		at = mmap(NULL, p->meta_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
		if (at != MAP_FAILED) {
			p->meta = at;
			return 0;
		}
		if (!records)
			return -errno;
	}
}

static uint32_t number_of(const struct pool *p) { return (uint32_t)(p - p->home); }

/* The same for all shards of this process's heap. Shard 0 comes first. */
static uint64_t group_of(const struct pool *p)
{
	return mem_pkg_shards == 1 ? 0 : p == p->home ? p->id->generation | 1 : p->home->id->group;
}

static void fill_identity(struct pool *p, uint32_t incarnation)
{
	struct meta_identity *id = (struct meta_identity *)(void *)p->meta;

	meta_identity(id, MEM_PKG, incarnation, p->manager->name);
	p->id = id;
	id->shard = number_of(p);
	id->shards = mem_pkg_shards;
	id->group = group_of(p);
	id->base = (uintptr_t)p->heap.base;
	id->size = pool_keeps_own(p) ? 0 : p->data_size;	/* 0: the manager has memory of its own */
	id->roots = (uintptr_t)p->heap.roots;
	id->root_bytes = p->ops->root_bytes;
	id->records_max =
		p->meta_bytes > META_RECORDS ? (p->meta_bytes - META_RECORDS) / sizeof(struct meta_record) : 0;
	meta_wire(p);
	p->created = id->created;
	p->live->wanted = p->live->features = p->features;
	p->live->counters = p->counters;
	p->live->state = POOL_LIVE;
}

static void name_file(char *name, size_t bytes, uint32_t incarnation, uint32_t shard)
{
	int len = snprintf(name, bytes, ".pkg-%d-%u", process_self()->pid, incarnation);

	if (shard)
		snprintf(name + len, bytes - (size_t)len, "+%u", shard);
}

/* The next incarnation that is free; shard 0 takes it for all. */
static int free_file(const struct pool *p, int dir, char *temp, size_t bytes, int *ret_fd, uint32_t *ret_incarnation)
{
	uint32_t first = p == p->home ? 1 : p->home->id->incarnation, end = p == p->home ? INCARNATIONS : first + 1;
	int rc = -EEXIST;

	for (uint32_t i = first; rc == -EEXIST && i < end; i++) {
		name_file(temp, bytes, i, number_of(p));
		if (p != p->home)
			unlinkat(dir, temp + 1, 0); /* of a process that had our pid */
		else if (faccessat(dir, temp + 1, F_OK, 0) == 0)
			continue;
		rc = meta_file_new(dir, temp, meta_bytes_for(RECORDS_MOST), ret_fd);
		*ret_incarnation = i;
	}
	return rc;
}

static int open_others(struct pool *p, int dir);

static int new_file(struct pool *p, int dir, uint32_t *ret_incarnation)
{
	char temp[REGISTRY_NAME_MAX], *name = temp + 1; /* a dot before it while it is made */
	int fd, rc = free_file(p, dir, temp, sizeof temp, &fd, ret_incarnation);

	if (rc)
		return rc;
	rc = region_file_open(&p->meta_file, fd);
	if (rc == 0)
		rc = region_file_commit(&p->meta_file, NULL, 0, META_PKG_START);
	if (rc == 0)
		rc = map_meta(p, p->meta_file.fd);
	if (rc == 0) {
		fill_identity(p, *ret_incarnation);
		rc = p == p->home ? open_others(p, dir) : 0;
	}
	if (rc == 0)
		rc = meta_file_name(dir, temp, name);
	if (rc) {
		unlinkat(dir, temp, 0);
		region_file_close(&p->meta_file);
		if (p->meta)
			munmap(p->meta, p->meta_bytes);
		p->meta = NULL;
	}
	return rc;
}

static void remember_path(struct pool *p, uint32_t incarnation)
{
	char dir[REGISTRY_PATH_MAX], file[REGISTRY_NAME_MAX];

	name_file(file, sizeof file, incarnation, number_of(p));
	snprintf(p->path, sizeof p->path, "%s/%s", registry_path(dir, sizeof dir), file + 1);
	p->seen = true;
}

static void unseen(struct pool *p)
{
	p->meta = NULL;
	p->path[0] = 0;
	p->seen = false;
	p->meta_file.fd = -1;
}

/* The other shards, before shard 0 gets its name: whoever finds it finds all. */
static int open_others(struct pool *p, int dir)
{
	uint32_t incarnation;
	int rc = 0;

	for (unsigned k = 1; rc == 0 && k < mem_pkg_shards; k++) {
		unseen(&p[k]);
		rc = new_file(&p[k], dir, &incarnation);
		if (rc == 0)
			remember_path(&p[k], incarnation);
	}
	for (unsigned k = 1; rc && k < mem_pkg_shards; k++)
		if (p[k].seen) {
			unlink(p[k].path);
			region_file_close(&p[k].meta_file);
			munmap(p[k].meta, p[k].meta_bytes);
			unseen(&p[k]);
		}
	return rc;
}

static int seen_meta(struct pool *p)
{
	uint32_t incarnation = 0;
	int dir, rc = registry_open(&dir);

	if (rc)
		return rc;
	if (process_self()->pid % STARTS_PER_REAP == 0)
		reap_registry(dir);
	rc = new_file(p, dir, &incarnation);
	if (rc == -ENOSPC && reap_registry(dir) > 0)
		rc = new_file(p, dir, &incarnation);
	close(dir);
	if (rc == 0)
		remember_path(p, incarnation);
	return rc;
}

/* A META for this process: a file for each shard, or memory that nobody else sees. */
static int open_meta(struct pool *p)
{
	int rc;

	unseen(p);
	rc = seen_meta(p);
	if (rc == 0)
		return 0;
	mem_notice("memapi: this heap goes on unseen: no file in the registry: %s", registry_reason(rc));
	for (unsigned k = 0; k < mem_pkg_shards; k++) {
		unseen(&p[k]);
		rc = map_meta(&p[k], -1);
		if (rc)
			return rc;
		fill_identity(&p[k], 1);
	}
	return 0;
}

/* ---- the heap ---- */

/* What was wished for, or, where address space is limited, half of what there is: META and the program want some. */
static int reserve(uint64_t *size, void **ret_base)
{
	uint64_t wish = *size;
	int rc = region_reserve(size, mem_conf()->pkg_size ? wish : RESERVE_LEAST, ret_base);

	if (rc || *size == wish)
		return rc;
	region_release(*ret_base, *size);
	*size = ROUND_UP(*size / 2, META_PAGE);
	return region_reserve(size, RESERVE_LEAST, ret_base);
}

static uint64_t roots_bytes(uint64_t bytes) { return ROUND_UP(bytes ? bytes : 1, META_PAGE); }

/* A page that tells observers whether the process still has this heap, or is another program by now. */
static int open_roots(uint64_t bytes, void **ret_roots)
{
	*ret_roots = mmap(NULL, roots_bytes(bytes), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return *ret_roots == MAP_FAILED ? -ENOMEM : 0;
}

/* No region: the manager takes from where it does. */
static int open_own_heap(struct pool *p)
{
	void *roots;
	int rc = open_roots(p->ops->root_bytes, &roots);

	if (rc)
		return rc;
	p->counters = (struct meta_counters){ 0 };
	p->data_size = mem_conf()->pkg_size ? mem_conf()->pkg_size : PTRDIFF_MAX;
	p->heap = (struct mem_heap){ .roots = roots, .tally = &p->counters.tally, .cursors = &p->pkg_cursors };
	pkg_own_sizes_open(p);
	return 0;
}

static int open_heap(struct pool *p)
{
	uint64_t size = ROUND_UP((mem_conf()->pkg_size ? mem_conf()->pkg_size : RESERVE) / mem_pkg_shards, META_PAGE);
	uint64_t first = p->ops->extend && size > FIRST_COMMIT ? FIRST_COMMIT : size;
	void *base, *roots;
	int rc;

	if (pool_keeps_own(p))
		return open_own_heap(p);
	/* no step for managers that keep their first size: they get what they may have at once */
	if (!p->ops->extend && !mem_conf()->pkg_size)
		size = first = 1ull << 30;
	rc = reserve(&size, &base);
	if (rc)
		return rc;
	rc = open_roots(p->ops->root_bytes, &roots);
	if (rc) {
		region_release(base, size);
		return rc;
	}
	p->counters = (struct meta_counters){ 0 };
	p->data_size = size;
	p->heap = (struct mem_heap){ .base = base,
				     .len = first < size ? first : size,
				     .roots = roots,
				     .tally = &p->counters.tally,
				     .cursors = &p->pkg_cursors };
	pkg_starts_open(p);
	return 0;
}

/* ---- threads and their magazines ---- */

static pthread_key_t end_key;
static bool end_key_made;

/* Its last calls, from other destructors, go without. */
static void thread_ends(void *own)
{
	struct pool *p = &mem_pkg_pool;

	if (mem_pkg_self.own != own)
		return;
	mem_pkg_self.own = &mem_pkg_none;
	atomic_signal_fence(memory_order_seq_cst);
	if (pkg_ready(p))
		pkg_magazines_release(p, own);
}

static void make_key(void)
{
	if (!end_key_made)
		end_key_made = pthread_key_create(&end_key, thread_ends) == 0;
}

static void settle(struct pool *p)
{
	struct magazines *own;
	int saved = errno;

	mem_pkg_self.own = &mem_pkg_none;	/* what is allocated in here goes by the lock */
	if (!end_key_made || !magazines_possible(p->ops))
		return;
	own = pkg_magazines_claim(p);
	if (own && pthread_setspecific(end_key, own) == 0)
		mem_pkg_self.own = own;
	else if (own)
		pkg_magazines_release(p, own);
	errno = saved;
}

/* ---- */

/* What a heap had that could not be made: the next call tries again. Nobody has seen any of it. */
static void unmake(struct pool *p)
{
	for (unsigned k = mem_pkg_shards; k--; ) {
		if (p[k].seen) {
			unlink(p[k].path);
			region_file_close(&p[k].meta_file);
		}
		if (p[k].meta)
			munmap(p[k].meta, p[k].meta_bytes);
		if (p[k].heap.roots)
			munmap(p[k].heap.roots, roots_bytes(p[k].ops->root_bytes));
		if (p[k].heap.base)
			region_release(p[k].heap.base, p[k].data_size);
		pkg_starts_close(&p[k]);
		pkg_own_sizes_close(&p[k]);
		p[k] = (struct pool){ .data_file = { .fd = -1 }, .meta_file = { .fd = -1 } };
	}
}

static int make(struct pool *p, const struct mem_manager *manager)
{
	int rc = 0;

	mem_pkg_shards = mem_shards(0, MEM_PKG, manager);
	pkg_sample_every(mem_conf()->sample);
	for (unsigned k = 0; rc == 0 && k < mem_pkg_shards; k++) {
		p[k] = (struct pool){ .manager = manager, .ops = manager->pkg, .home = p, .data_file = { .fd = -1 } };
		p[k].features = mem_features(p->ops, MEM_PKG);
		rc = open_heap(&p[k]);
	}
	if (rc == 0)
		rc = open_meta(p);
	if (rc == 0) {
		make_key();
		own_follow(p);
		pkg_magazines_attach(p);
	}
	for (unsigned k = 0; rc == 0 && k < mem_pkg_shards; k++)
		rc = pkg_front_init(&p[k], NULL, p[k].heap.len);
	if (rc) {
		mem_set_error("the private heap could not be made: %s", error_name(-rc));
		unmake(p);
	}
	return rc;
}

/* ---- forked children ---- */

/* The parent was inside of a call when we were made: its heap may be half changed, ours begins anew. */
static void abandon(struct pool *p)
{
	struct range old = { p->heap.base, p->heap.len };

	if (open_heap(p) == 0) {
		p->abandoned = old;
		p->pkg_cursors = (struct mem_cursors){ .live = 0 };	/* they stand in the old one */
		memset(&p->trim, 0, sizeof p->trim);
	}
	atomic_store_explicit(&p->mutex, 0, memory_order_relaxed); /* nobody else is here yet */
}

/* What a shard had of the parent's. */
struct inherited { unsigned char *meta; uint64_t meta_bytes; struct region_file meta_file; bool caught, inside; };

static struct inherited inherit(struct pool *p)
{
	struct inherited old = { p->meta, p->meta_bytes, p->meta_file, false, false };

	/* inside: fork() by a signal handler that has interrupted a call of ours, whose mutex our atfork handler gave
	 * back */
	old.caught = (atomic_load_explicit(&p->mutex, memory_order_relaxed) && !p->at_fork) || mem_pkg_self.inside;
	if (old.caught && pool_keeps_own(p))	/* its library has its own ways with fork */
		atomic_store_explicit(&p->mutex, 0, memory_order_relaxed); /* nobody else is here yet */
	else if (old.caught)
		abandon(p);
	if (p == p->home) /* while their tails have the parent's generation */
		old.inside = !pkg_magazines_inherit(p, old.caught);
	/* walks of threads that are not here: who is, and comes back, has its own as long as nobody wants it */
	memset(p->cursor_expires, 0, sizeof p->cursor_expires);
	/* the ledger is the parent's: what we inherited is untracked */
	p->counters.recorded = p->counters.recorded_bytes = 0;
	p->counters.records_free = p->counters.records_used = p->counters.sites_used = 0;
	p->features = atomic_load_explicit(&p->live->wanted, memory_order_relaxed);
	own_follow(p);
	return old;
}

/* The call that our signal handler has interrupted comes back to it: it finds memory, but not the parent's. */
static void let_go(const struct inherited *old, bool inside)
{
	if (!inside || mmap(old->meta, old->meta_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		munmap(old->meta, old->meta_bytes);
}

static void become_child(struct pool *p)
{
	struct inherited old[SHARDS_MAX];

	if (p->counters.sites_used)
		pkg_known_sites_forget();
	for (unsigned k = 0; k < mem_pkg_shards; k++)
		old[k] = inherit(&p[k]);
	if (open_meta(p)) {
		p->meta = NULL;	/* no memory for that: every call fails from here on */
		p->id = NULL;
		return;
	}
	pkg_magazines_attach(p);
	for (unsigned k = 0; k < mem_pkg_shards; k++) {
		region_file_close(&old[k].meta_file);
		let_go(&old[k], old[0].inside);
		if (old[k].caught && !pool_keeps_own(&p[k]))
			pkg_front_init(&p[k], NULL, p[k].heap.len);
	}
}

static uint64_t forked_from;		/* epoch, while at_fork */

bool mem_pkg_inside(void) { return mem_pkg_self.inside; }

void mem_pkg_before_fork(void)
{
	if (mem_pkg_pool.id) {
		for (unsigned k = 0; k < mem_pkg_shards; k++) {
			pkg_front_hold(&mem_pkg_pools[k]);
			mem_pkg_pools[k].at_fork = true;
		}
		pkg_magazines_hold();
		forked_from = mem_pkg_pool.epoch;
		mem_pkg_pool.epoch = 0;	/* who calls meanwhile waits for the setup lock, or knows that it holds it */
	}
}

void mem_pkg_after_fork(bool child)
{
	if (!mem_pkg_pool.id)
		return;
	if (!child && forked_from) {
		mem_pkg_pool.epoch = forked_from;
		pkg_magazines_let_go(&mem_pkg_pool);
	}
	for (unsigned k = mem_pkg_shards; k--; ) {
		if (!mem_pkg_pools[k].at_fork)
			continue;
		mem_pkg_pools[k].at_fork = false;
		if (child) /* it has one thread */
			atomic_store_explicit(&mem_pkg_pools[k].mutex, 0, memory_order_relaxed);
		else
			pkg_front_let_go(&mem_pkg_pools[k]);
	}
}

/* ---- readiness: one compare a call ---- */

static int pick_and_make(struct pool *p)
{
	const struct mem_manager *m = chosen;
	int rc = m ? 0 : mem_choose_manager(mem_conf()->manager[CONF_PKG].name, MEM_PKG, &m);

	return rc ? rc : make(p, m);
}

/* The address of itself, once the loader has been here. */
static const volatile void *const volatile relocated = &relocated;

COLD bool mem_pkg_get_ready(void)
{
	struct pool *p = &mem_pkg_pool;
	int saved, rc = 0;
	bool good;

	if (relocated != &relocated || mem_setup_inside())
		return false;
	saved = errno;
	mem_setup_lock();
	if (!p->manager)
		rc = pick_and_make(p);
	else if (p->id && p->epoch != *epoch_word)
		become_child(p);
	if (rc == 0 && p->id) {
		p->epoch = *epoch_word;
		mem_register_handlers();
	}
	/* with the lock: behind it another thread may be forking again, and the epoch is 0 as long as that takes */
	good = p->id && p->epoch == *epoch_word;
	mem_setup_unlock();
	errno = saved;
	return good;
}

/* An operator has asked for other features: a store of ours, at our next call. */
COLD void mem_pkg_follow(struct pool *p)
{
	const uint64_t tracks =
		FEATURE_SITES | FEATURE_STACKS | FEATURE_GUARDS | (pool_keeps_own(p) ? 0 : FEATURE_SAMPLED);

	if (!mem_pkg_self.inside)	/* a signal handler has interrupted a call: the next one does it */
		pkg_magazines_follow(p, FEATURES_ALWAYS | (mem_can_track(p->ops) ? tracks : 0));
}

COLD void mem_pkg_catch_up(struct pool *p)
{
	if (mem_pkg_self.own == &mem_pkg_unsettled && !mem_pkg_self.inside)
		settle(p);
	if (atomic_load_explicit(&p->live->wanted, memory_order_relaxed) != GATE(mem_pkg_self.own->features))
		mem_pkg_follow(p);
}

static inline bool ready(struct pool *p) { return pkg_ready(p); }

int pkg_init_manager(const char *name)
{
	const struct mem_manager *m;
	int rc = mem_choose_manager(name, MEM_PKG, &m);

	if (rc)
		return rc;
	if (mem_pkg_pool.manager) {
		mem_set_error("the private heap is already on %s", mem_pkg_pool.manager->name);
		return -EALREADY;
	}
	chosen = m;
	return mem_pkg_get_ready() ? 0 : -ENOMEM;
}

void mem_pkg_at_exit(void)
{
	struct pool *p = &mem_pkg_pool;

	if (!p->id || p->epoch != *epoch_word || !p->epoch)
		return;
	for (unsigned k = 0; k < mem_pkg_shards; k++) {
		atomic_store_explicit(&p[k].live->state, POOL_EXITED, memory_order_release);
		if (p[k].seen && !(p->features & FEATURES_TRACK) && !mem_conf()->keep_exited)
			unlink(p[k].path);
	}
}

/* ---- shards ---- */

/* + 1 of the one that this thread prefers; 0: it has not called yet. */
static _Thread_local unsigned preferred __attribute__((tls_model("initial-exec")));
static _Atomic unsigned threads;

static bool use_shard(struct front_call *call, unsigned k)
{
	struct pool *p = &mem_pkg_pools[k];

	if (UNLIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) != p->features))
		mem_pkg_follow(p);
	call->p = p;
	return true;
}

struct shards mem_pkg_as_shards(void)
{
	if (UNLIKELY(!preferred)) /* relaxed: any number will do */
		preferred = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % mem_pkg_shards;
	return (struct shards){ mem_pkg_pools, mem_pkg_shards, preferred - 1, use_shard };
}

/* ---- calls ---- */

#define CALL(extra) \
	(&(const struct front_call){ &mem_pkg_pool, NULL, site, __builtin_return_address(0), (extra), NULL })

static void *not_ready(void)
{
	errno = ENOMEM;
	return NULL;
}

/* ---- to a manager that keeps its own memory, short: functions of their own, so that others save no register for it */

#define OWN_CALL __attribute__((noinline)) static

OWN_CALL void *own_malloc_long(size_t size, const struct mem_site *site, const void *caller)
{
	const struct front_call call = { .p = &mem_pkg_pool, .site = site, .caller = caller };

	return mem_pkg_pool.id ? pkg_front_alloc(&call, 16, size) : not_ready();
}

OWN_CALL void *own_malloc(size_t size, const struct mem_site *site, const void *caller)
{
	bool may = LIKELY(ready(&mem_pkg_pool)) && own_alone();
	void *ptr = LIKELY(may) ? own_take(&mem_pkg_pool, size) : NULL;

	return LIKELY(ptr) ? ptr : own_malloc_long(size, site, caller);
}

OWN_CALL void own_free_long(void *p, const struct mem_site *site, const void *caller)
{
	const struct front_call call = { .p = &mem_pkg_pool, .site = site, .caller = caller };

	if (mem_pkg_pool.id)
		pkg_front_free(&call, p);
}

/* What is in no magazine yet. */
OWN_CALL void own_free_manager(void *p, uint64_t usable, const struct mem_site *site, const void *caller)
{
	if (UNLIKELY(!ready(&mem_pkg_pool)) ||
	    !(own_cache_more(p, usable) || (own_alone() && own_put(&mem_pkg_pool, p, usable))))
		own_free_long(p, site, caller);
}

OWN_CALL void own_free(void *p, const struct mem_site *site, const void *caller)
{
	uint64_t usable;

	if (UNLIKELY(!own_cache(&mem_pkg_pool, p, &usable)))
		own_free_manager(p, usable, site, caller);
}

/* ---- past the magazines: apart, so that who finds something in there has no frame to make for it ---- */

#define LONG_CALL __attribute__((noinline)) static

LONG_CALL void *malloc_front(size_t size, const struct mem_site *site, const void *caller)
{
	const struct front_call call = { &mem_pkg_pool, NULL, site, caller, FRONT_MISSED, NULL };

	return LIKELY(ready(&mem_pkg_pool)) ? pkg_allocate(&call, 16, size) : not_ready();
}

LONG_CALL void free_front(void *p, const struct mem_site *site, const void *caller)
{
	struct front_call call = { .p = &mem_pkg_pool, .site = site, .caller = caller };
	enum magazine_answer answer;

	if (UNLIKELY(!ready(&mem_pkg_pool)))
		return;
	answer = pkg_magazine_put(&mem_pkg_pool, p);
	if (answer == MAGAZINE_PUT)
		return;
	call.flags = answer == MAGAZINE_KNOWN ? FRONT_KNOWN : 0;
	pkg_release(&call, p);
}

LONG_CALL void *realloc_front(void *p, size_t size, const struct mem_site *site, const void *caller)
{
	const struct front_call call = { .p = &mem_pkg_pool, .site = site, .caller = caller };

	return LIKELY(ready(&mem_pkg_pool)) ? pkg_reallocate(&call, p, size) : not_ready();
}

/* ---- */

void *mem_pkg_malloc(size_t size, const struct mem_site *site)
{
	void *ptr = magazine_take(size);

	if (LIKELY(ptr))
		return ptr;
	if (UNLIKELY(magazine_records(mem_pkg_self.own)))
		return pkg_recorded_alloc(size, site, __builtin_return_address(0), malloc_front);
	if (UNLIKELY(mem_pkg_pool.lean))
		return own_malloc(size, site, __builtin_return_address(0));
	return pkg_plain_alloc(size, site, __builtin_return_address(0), malloc_front);
}

void *mem_pkg_mallocxz(size_t size, const struct mem_site *site)
{
	void *ptr = magazine_take_zeros(size);

	if (LIKELY(ptr))
		return ptr;
	ptr = magazine_recorded_zeros(size, site, __builtin_return_address(0));
	if (ptr)
		return ptr;
	return LIKELY(ready(&mem_pkg_pool)) ? pkg_allocate(CALL(FRONT_ZERO | FRONT_MISSED), 16, size) : not_ready();
}

void *mem_pkg_memalign(size_t align, size_t size, const struct mem_site *site)
{
	if (!align || align & (align - 1)) {
		errno = EINVAL;
		return NULL;
	}
	return LIKELY(ready(&mem_pkg_pool)) ? pkg_allocate(CALL(0), align < 16 ? 16 : align, size) : not_ready();
}

void *mem_pkg_realloc(void *p, size_t size, const struct mem_site *site)
{
	static const struct pkg_otherwise otherwise = { malloc_front, free_front, realloc_front };

	return pkg_plain_realloc(p, size, site, __builtin_return_address(0), &otherwise);
}

void *mem_pkg_reallocxf(void *p, size_t size, const struct mem_site *site)
{
	return LIKELY(ready(&mem_pkg_pool)) ? pkg_reallocate(CALL(FRONT_XF), p, size) : not_ready();
}

void mem_pkg_free(void *p, const struct mem_site *site)
{
	uint64_t i;

	if (LIKELY(magazine_put_sized(p, &i)))
		return;
	if (LIKELY(i >= MAGAZINE_SIZES))	/* NULL has no size */
		pkg_shelf_free(p, i, site, __builtin_return_address(0), free_front);
	else if (!p || magazine_put_own_known(p))
		return;
	else if (UNLIKELY(magazine_records(mem_pkg_self.own)))
		pkg_recorded_free(p, site, __builtin_return_address(0), free_front);
	else if (UNLIKELY(mem_pkg_pool.lean))
		own_free(p, site, __builtin_return_address(0));
	else
		pkg_plain_free(p, site, __builtin_return_address(0), free_front);
}

size_t pkg_usable(const void *p)
{
	const struct mem_site *site = NULL;

	return ready(&mem_pkg_pool) ? pkg_usable_in(CALL(0), p) : 0;
}

struct pool *mem_pkg_ready(void) { return ready(&mem_pkg_pool) ? &mem_pkg_pool : NULL; }
