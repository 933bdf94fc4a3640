/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The private heap of this process: made at the first use, given a META of its own again in each forked child.
 *
 * Truth is private memory (DATA, roots, counters) and follows fork by copy-on-write. META is what others read: when it
 * cannot be a file, the heap goes on unseen.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/front/magazine.h"
#include "mem/init.h"
#include "mem/meta/meta.h"
#include "mem/meta/process.h"
#include "mem/meta/registry.h"
#include "mem/meta/store.h"
#include "mem/reap/reap.h"

enum { INCARNATIONS = 1000, STARTS_PER_REAP = 64 };
#define RESERVE (64ull << 30)
#define RESERVE_LEAST (1ull << 20)
#define FIRST_COMMIT (64ull << 10)
#define RECORDS_MOST (64ull << 20)
#define RECORDS_LEAST (64ull << 10)

struct pool mem_pkg_pool;
struct magazines mem_pkg_magazines;
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

static void fill_identity(struct pool *p, uint32_t incarnation)
{
	struct meta_identity *id = (struct meta_identity *)(void *)p->meta;

	meta_identity(id, MEM_PKG, incarnation, p->manager->name);
	id->base = (uintptr_t)p->heap.base;
	id->size = p->data_size;
	id->roots = (uintptr_t)p->heap.roots;
	id->root_bytes = p->ops->root_bytes;
	id->records_max =
		p->meta_bytes > META_RECORDS ? (p->meta_bytes - META_RECORDS) / sizeof(struct meta_record) : 0;
	meta_wire(p);
	p->live->wanted = p->live->features = p->features;
	p->live->counters = p->counters;
	p->live->state = POOL_LIVE;
}

static int new_file(struct pool *p, int dir, uint32_t *ret_incarnation)
{
	char temp[REGISTRY_NAME_MAX], *name = temp + 1; /* a dot before it while it is made */
	int fd, rc = -EEXIST;

	for (uint32_t i = 1; rc == -EEXIST && i < INCARNATIONS; i++) {
		snprintf(temp, sizeof temp, ".pkg-%d-%u", process_self()->pid, i);
		if (faccessat(dir, name, F_OK, 0) == 0)
			continue;
		rc = meta_file_new(dir, temp, meta_bytes_for(RECORDS_MOST), &fd);
		*ret_incarnation = i;
	}
	if (rc)
		return rc;
	region_file_open(&p->meta_file, fd);
	rc = region_file_commit(&p->meta_file, NULL, 0, META_PKG_START);
	if (rc == 0)
		rc = map_meta(p, fd);
	if (rc == 0) {
		fill_identity(p, *ret_incarnation);
		rc = meta_file_name(dir, temp, name);
	}
	if (rc) {
		unlinkat(dir, temp, 0);
		region_file_close(&p->meta_file);
		if (p->meta)
			munmap(p->meta, p->meta_bytes);
		p->meta = NULL;
	}
	return rc;
}

static int seen_meta(struct pool *p)
{
	char dir_path[REGISTRY_PATH_MAX];
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
	if (rc)
		return rc;
	registry_path(dir_path, sizeof dir_path);
	snprintf(p->path, sizeof p->path, "%s/pkg-%d-%u", dir_path, process_self()->pid, incarnation);
	p->seen = true;
	return 0;
}

/* A META for this process: a file, or memory that nobody else sees. */
static int open_meta(struct pool *p)
{
	int rc;

	p->meta = NULL;
	p->path[0] = 0;
	p->seen = false;
	p->meta_file.fd = -1;
	rc = seen_meta(p);
	if (rc == 0)
		return 0;
	mem_notice("memapi: this heap goes on unseen: no file in the registry: %s", strerror(-rc));
	p->meta_file.fd = -1;
	rc = map_meta(p, -1);
	if (rc == 0)
		fill_identity(p, 1);
	return rc;
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

static int open_heap(struct pool *p)
{
	uint64_t size = mem_conf()->pkg_size ? ROUND_UP(mem_conf()->pkg_size, META_PAGE) : RESERVE;
	uint64_t first = p->ops->extend && size > FIRST_COMMIT ? FIRST_COMMIT : size;
	uint64_t root_bytes = ROUND_UP(p->ops->root_bytes ? p->ops->root_bytes : 1, META_PAGE);
	void *base, *roots;
	int rc;

	/* no step for managers that keep their first size: they get what they may have at once */
	if (!p->ops->extend && !mem_conf()->pkg_size)
		size = first = 1ull << 30;
	rc = reserve(&size, &base);
	if (rc)
		return rc;
	roots = mmap(NULL, root_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (roots == MAP_FAILED) {
		region_release(base, size);
		return -ENOMEM;
	}
	p->counters = (struct meta_counters){ 0 };
	p->data_size = size;
	p->heap = (struct mem_heap){ .base = base,
				     .len = first < size ? first : size,
				     .roots = roots,
				     .tally = &p->counters.tally,
				     .cursors = &p->pkg_cursors };
	return 0;
}

static int make(struct pool *p, const struct mem_manager *manager)
{
	int rc;

	*p = (struct pool){ .manager = manager, .ops = manager->pkg, .data_file = { .fd = -1 } };
	p->features = mem_features(p->ops, MEM_PKG);
	magazine_follow(p);
	rc = open_heap(p);
	if (rc == 0)
		rc = open_meta(p);
	if (rc == 0)
		rc = pkg_front_init(p, NULL, p->heap.len);
	if (rc)
		mem_set_error("the private heap could not be made: %s", strerror(-rc));
	return rc;
}

/* ---- forked children ---- */

/* The parent was inside of a call when we were made: its heap may be half changed, ours begins anew. */
static void abandon(struct pool *p)
{
	struct range old = { p->heap.base, p->heap.len };

	mem_pkg_magazines = (struct magazines){ .open = mem_pkg_magazines.open };

	if (open_heap(p) == 0)
		p->abandoned = old;
	atomic_store_explicit(&p->mutex, 0, memory_order_relaxed); /* nobody else is here yet */
}

static void become_child(struct pool *p)
{
	unsigned char *meta = p->meta;
	uint64_t meta_bytes = p->meta_bytes;
	struct region_file meta_file = p->meta_file;
	bool caught = atomic_load_explicit(&p->mutex, memory_order_relaxed) && !p->at_fork;

	if (caught)
		abandon(p);
	else
		pkg_front_flush(p);	/* while their tails have the parent's generation */
	if (p->counters.sites_used)
		pkg_known_sites_forget();
	/* the ledger is the parent's: what we inherited is untracked */
	p->counters.recorded = p->counters.recorded_bytes = 0;
	p->counters.records_free = p->counters.records_used = p->counters.sites_used = 0;
	p->features = atomic_load_explicit(&p->live->wanted, memory_order_relaxed);
	magazine_follow(p);
	if (open_meta(p)) {
		p->meta = NULL;	/* no memory for that: every call fails from here on */
		p->id = NULL;
		return;
	}
	region_file_close(&meta_file);
	munmap(meta, meta_bytes);
	if (caught)
		pkg_front_init(p, NULL, p->heap.len);
}

void mem_pkg_before_fork(void)
{
	if (mem_pkg_pool.id) {
		pkg_front_hold(&mem_pkg_pool);
		mem_pkg_pool.at_fork = true;
	}
}

void mem_pkg_after_fork(bool child)
{
	if (!mem_pkg_pool.id)
		return;
	mem_pkg_pool.at_fork = false;
	if (child)
		atomic_store_explicit(&mem_pkg_pool.mutex, 0, memory_order_relaxed); /* the child has one thread */
	else
		pkg_front_let_go(&mem_pkg_pool);
}

/* ---- readiness: one compare a call ---- */

static int pick_and_make(struct pool *p)
{
	const struct mem_manager *m = chosen;
	int rc = m ? 0 : mem_choose_manager(mem_conf()->manager[CONF_PKG].name, MEM_PKG, &m);

	return rc ? rc : make(p, m);
}

COLD static bool get_ready(void)
{
	struct pool *p = &mem_pkg_pool;
	int saved = errno, rc = 0;

	mem_setup_lock();
	if (!*epoch_word)
		epoch_renew();
	if (!p->manager)
		rc = pick_and_make(p);
	else if (p->id && p->epoch != *epoch_word)
		become_child(p);
	if (rc == 0 && p->id) {
		p->epoch = *epoch_word;
		mem_register_handlers();
	}
	mem_setup_unlock();
	errno = saved;
	return p->id && p->epoch == *epoch_word;
}

/* An operator has asked for other features: a store of ours, at our next call. */
COLD static void follow(struct pool *p)
{
	uint64_t wanted = atomic_load_explicit(&p->live->wanted, memory_order_relaxed);
	const uint64_t may = FEATURE_SITES | FEATURE_STACKS | FEATURE_GUARDS | FEATURE_ABORT;

	p->features = p->ops->mark ? wanted & may : wanted & FEATURE_ABORT;
	magazine_follow(p);
	/* what cannot be followed is taken back, so that the question is not asked again */
	atomic_store_explicit(&p->live->wanted, p->features, memory_order_relaxed);
	atomic_store_explicit(&p->live->features, p->features, memory_order_relaxed);
}

static inline bool ready(struct pool *p)
{
	if (UNLIKELY(p->epoch != *epoch_word || !p->epoch) && !get_ready())
		return false;
	if (UNLIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) != p->features))
		follow(p);
	return true;
}

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
	return get_ready() ? 0 : -ENOMEM;
}

void mem_pkg_at_exit(void)
{
	struct pool *p = &mem_pkg_pool;

	if (!p->id || p->epoch != *epoch_word || !p->epoch)
		return;
	atomic_store_explicit(&p->live->state, POOL_EXITED, memory_order_release);
	if (p->seen && !(p->features & (FEATURE_SITES | FEATURE_STACKS)) && !mem_conf()->keep_exited)
		unlink(p->path);
}

/* ---- calls ---- */

#define CALL(extra) \
	(&(const struct front_call){ &mem_pkg_pool, NULL, site, __builtin_return_address(0), (extra) })

static void *not_ready(void)
{
	errno = ENOMEM;
	return NULL;
}

void *mem_pkg_malloc(size_t size, const struct mem_site *site)
{
	void *ptr;

	if (UNLIKELY(!ready(&mem_pkg_pool)))
		return not_ready();
	ptr = magazine_take(&mem_pkg_pool, size);
	return LIKELY(ptr) ? ptr : pkg_front_alloc(CALL(0), 16, size);
}

void *mem_pkg_mallocxz(size_t size, const struct mem_site *site)
{
	return LIKELY(ready(&mem_pkg_pool)) ? pkg_front_alloc(CALL(FRONT_ZERO), 16, size) : not_ready();
}

void *mem_pkg_memalign(size_t align, size_t size, const struct mem_site *site)
{
	if (!align || align & (align - 1)) {
		errno = EINVAL;
		return NULL;
	}
	return LIKELY(ready(&mem_pkg_pool)) ? pkg_front_alloc(CALL(0), align < 16 ? 16 : align, size) : not_ready();
}

void *mem_pkg_realloc(void *p, size_t size, const struct mem_site *site)
{
	return LIKELY(ready(&mem_pkg_pool)) ? pkg_front_realloc(CALL(0), p, size) : not_ready();
}

void *mem_pkg_reallocxf(void *p, size_t size, const struct mem_site *site)
{
	return LIKELY(ready(&mem_pkg_pool)) ? pkg_front_realloc(CALL(FRONT_XF), p, size) : not_ready();
}

void mem_pkg_free(void *p, const struct mem_site *site)
{
	enum magazine_answer answer;

	if (!p || UNLIKELY(!ready(&mem_pkg_pool)))
		return;
	answer = magazine_put(&mem_pkg_pool, p);
	if (UNLIKELY(answer != MAGAZINE_PUT))
		pkg_front_free(CALL(answer == MAGAZINE_KNOWN ? FRONT_KNOWN : 0), p);
}

size_t pkg_usable(const void *p)
{
	const struct mem_site *site = NULL;

	return ready(&mem_pkg_pool) ? pkg_front_usable(CALL(0), p) : 0;
}

struct pool *mem_pkg_ready(void) { return ready(&mem_pkg_pool) ? &mem_pkg_pool : NULL; }
