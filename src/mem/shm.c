/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared pool of this process: made or attached at the first use, inherited by forked children.
 *
 * Each thread claims a slot at its first call. A child's threads find out that the slot in their TLS is the parent's
 * because the epoch word differs, and claim their own before their first store. In a pool of several shards a thread
 * has its slot in shard 0 from the start, in the others when it first uses them.
 */
#define MEM_DOMAIN_SHM 1		/* the short way through magazines is the domain's */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/front/shards.h"
#include "mem/front/slot_magazine.h"
#include "mem/init.h"
#include "mem/meta/lock.h"
#include "mem/meta/process.h"
#include "mem/meta/registry.h"
#include "mem/meta/slot.h"
#include "mem/meta/store.h"
#include "mem/reap/reap.h"
#include "mem/shared.h"
#include "mem/shm.h"

struct pool mem_shm_pools[SHARDS_MAX];
unsigned mem_shm_shards = 1;

static const struct mem_manager *chosen;		/* by shm_init_manager() */
static struct {
	char name[POOL_NAME_MAX + 1];
	uint64_t size;
	bool create;
} wanted; /* by shm_create(), shm_attach() */

struct shm_thread { struct owner owner; uint64_t epoch; };
static _Thread_local struct shm_thread self __attribute__((tls_model("initial-exec")));
static pthread_key_t leave_key;
static bool leave_key_made;

/*
 * Slots in shards 1, 2, … of the thread whose slot in shard 0 has this number. Not in TLS, of which a library that is
 * loaded late gets little; pages that no thread comes to are never touched.
 */
static struct owner others[SLOTS_MAX][SHARDS_MAX - 1];

/* ---- slots of threads ---- */

static struct owner *owner_in(unsigned k) { return k ? &others[self.owner.number][k - 1] : &self.owner; }

/* It holds the lock, or a signal handler has interrupted a call of its: to wait for it would be to wait for itself. */
static bool busy(const struct owner *o) { return o->holds | o->inside; }

static void leave_all(void)
{
	for (unsigned k = mem_shm_shards; k--; ) { /* shard 0 last: its slot says whose the others are */
		struct owner *o = owner_in(k);

		if (o->slot && !busy(o) && !slot_settled(&mem_shm_pools[k], o->number))
			shm_front_settle(&mem_shm_pools[k], o, o->number);
		slot_leave(&mem_shm_pools[k], o);
	}
}

static void thread_ends(void *arg)
{
	struct shm_thread *t = arg;

	if (t->epoch && t->epoch == *epoch_word)
		leave_all();
	t->epoch = 0;
}

static void adopt(const struct owner *o)
{
	self.owner = *o;
	self.epoch = *epoch_word;
	if (mem_shm_shards > 1) /* what is there was of another thread, or of the parent */
		memset(others[self.owner.number], 0, sizeof others[0]);
	if (!leave_key_made)
		leave_key_made = pthread_key_create(&leave_key, thread_ends) == 0;
	if (leave_key_made)
		pthread_setspecific(leave_key, &self);
}

static int claim_in(struct pool *p, struct owner *ret_owner)
{
	int rc = slot_claim(p, false, ret_owner);

	if (rc) {
		/* full, or no memory for one more: those of the dead that nothing names any more; whoever reaps needs
		 * no slot for that, and another may just have done it */
		struct owner nobody = { 0 };

		slot_reap(p, &nobody);
		rc = slot_claim(p, false, ret_owner);
	}
	if (rc)
		mem_set_error("no slot in the shared pool %s: %s", p->id->name, error_name(-rc));
	return rc;
}

static int claim(struct pool *p)
{
	struct owner o;
	int rc = claim_in(p, &o);

	if (rc == 0)
		adopt(&o);
	return rc;
}

/* ---- the pool ---- */

static int make(struct pool *p, const char *name, uint64_t size)
{
	const struct conf *c = mem_conf();
	struct shared_spec spec = { .name = name, .size = size, .manager = chosen, .on_death = c->on_death };
	struct owner o[SHARDS_MAX];
	char dir[REGISTRY_PATH_MAX];
	int rc = chosen ? 0 : mem_choose_manager(c->manager[CONF_SHM].name, MEM_SHM, &spec.manager);

	if (rc)
		return rc;
	spec.features = mem_features(spec.manager->shm, MEM_SHM);
	spec.shards = mem_shards(0, MEM_SHM, spec.manager);
	rc = shared_create(&spec, p, o);
	if (rc) {
		mem_set_error("the shared pool %s of %llu bytes could not be made in the registry %s: %s", name,
			      (unsigned long long)shared_size(size, spec.shards) * spec.shards,
			      registry_path(dir, sizeof dir), registry_reason(rc));
		return rc;
	}
	mem_shm_shards = spec.shards;
	adopt(&o[0]);
	for (unsigned k = 1; k < mem_shm_shards; k++) {
		*owner_in(k) = o[k];
		owner_in(k)->home = &self.owner;
	}
	return 0;
}

static int attach(struct pool *p, const char *name)
{
	int rc = shared_attach(name, 0, p, &mem_shm_shards);

	if (rc == 0)
		return claim(p);
	*p = (struct pool){ 0 };
	mem_set_error("the shared pool %s could not be attached: %s", name,
		      rc == -ENOENT	 ? "there is none of this name; mmd hosts those of its configuration"
		      : rc == -EUCLEAN	 ? "its META is damaged or of another version"
		      : rc == -ENOTSUP	 ? "its manager is not in this build"
		      : rc == -EADDRINUSE ? "its addresses are taken in this process"
					  : error_name(-rc));
	return rc;
}

static int first_use(struct pool *p)
{
	const struct conf *c = mem_conf();
	char own[24];

	mem_register_handlers();
	if (wanted.name[0])
		return wanted.create ? make(p, wanted.name, wanted.size) : attach(p, wanted.name);
	if (c->shm_pool[0])
		return attach(p, c->shm_pool);
	snprintf(own, sizeof own, "%d", process_self()->pid);
	return make(p, own, c->shm_size);
}

COLD static int get_ready(void)
{
	struct pool *p = &mem_shm_pool;
	int rc = 0;

	mem_setup_lock();
	if (!p->id)
		rc = first_use(p);
	else if (self.epoch != *epoch_word)
		rc = claim(p);
	mem_setup_unlock();
	return rc;
}

/* All shards. Who holds the lock reaps later: a fragment goes back in a transaction of its own. */
static bool reap_if_due(struct pool *p)
{
	int saved = errno;

	if (!(p->features & POOL_REAP_DUE))
		return true;
	if (busy(&self.owner))
		return false;
	/* relaxed: it speaks of META, and is set again when there is more */
	atomic_fetch_and_explicit(&p->features, ~POOL_REAP_DUE, memory_order_relaxed);
	shm_reap();
	errno = saved;
	return true;
}

COLD static void follow(struct pool *p)
{
	uint64_t wish = atomic_load_explicit(&p->live->wanted, memory_order_relaxed);
	uint64_t features = (wish | FEATURE_SITES) & ~POOL_REAP_DUE;

	pool_follow(p, features | (reap_if_due(p) ? 0 : POOL_REAP_DUE));
	atomic_store_explicit(&p->live->features, features, memory_order_relaxed);
	/* unless another wish has come meanwhile: that one is followed next */
	atomic_compare_exchange_strong_explicit(&p->live->wanted, &wish, features, memory_order_relaxed,
						memory_order_relaxed);
}

/* The shard's owner, with a slot there from now on. */
static bool use_shard(struct front_call *call, unsigned k)
{
	struct pool *p = &mem_shm_pools[k];
	struct owner *o = owner_in(k);

	if (UNLIKELY(!o->slot)) {
		if (claim_in(p, o))
			return false;
		o->home = &self.owner;
	}
	if (UNLIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) != p->features))
		follow(p);
	call->p = p;
	call->o = o;
	return true;
}

static struct shards shards(void)
{
	return (struct shards){ mem_shm_pools, mem_shm_shards, self.owner.number % mem_shm_shards, use_shard };
}

static inline bool ready(struct pool *p)
{
	if (UNLIKELY(self.epoch != *epoch_word || !self.epoch) && get_ready())
		return false;
	if (UNLIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) != p->features))
		follow(p);
	return true;
}

bool mem_shm_use(struct pool **ret_pool, struct owner **ret_owner, unsigned k)
{
	struct front_call call;

	if (!ready(&mem_shm_pool) || !use_shard(&call, k))
		return false;
	*ret_pool = call.p;
	*ret_owner = call.o;
	return true;
}

struct pool *mem_shm_ready(struct owner **ret_owner)
{
	if (!ready(&mem_shm_pool))
		return NULL;
	*ret_owner = &self.owner;
	return &mem_shm_pool;
}

static int already(void)
{
	mem_set_error("this process already has the shared pool %s", mem_shm_pool.id->name);
	return -EALREADY;
}

int shm_init_manager(const char *name)
{
	const struct mem_manager *m;
	int rc = mem_choose_manager(name, MEM_SHM, &m);

	if (rc)
		return rc;
	if (mem_shm_pool.id)
		return already();
	chosen = m;
	return get_ready();
}

static int use_named(const char *name, uint64_t size, bool create)
{
	int rc;

	if (!registry_pool_name_ok(name)) {
		mem_set_error("%.60s: a pool's name is 1 to 48 of A-Z a-z 0-9 _ . -, not digits alone, no dot first", name);
		return -EINVAL;
	}
	if (mem_shm_pool.id)
		return already();
	snprintf(wanted.name, sizeof wanted.name, "%s", name);
	wanted.size = size;
	wanted.create = create;
	rc = get_ready();
	if (rc)
		wanted.name[0] = 0;
	return rc;
}

static bool a_live_one(const char *name)
{
	struct pool probe[SHARDS_MAX];
	unsigned count;
	bool live;

	if (shared_attach(name, 0, probe, &count))
		return false;
	live = atomic_load_explicit(&probe->live->state, memory_order_acquire) == POOL_LIVE &&
	       (probe->id->hosted || shared_users(probe, NULL));
	shared_detach(probe, count);
	return live;
}

int shm_create(const char *name, size_t size)
{
	if (!mem_shm_pool.id && registry_pool_name_ok(name) && a_live_one(name)) {
		mem_set_error("a live shared pool is already called %s", name);
		return -EEXIST;
	}
	return use_named(name, size, true);
}

int shm_attach(const char *name) { return use_named(name, 0, false); }

/*
 * The last process to leave a pool that is nobody's takes its files away. Threads that still run go with the process;
 * children that have not asked for anything yet are heirs all the same, and one that never did goes without touching
 * what a dead one may have left. Slot and inheritance are let go before the others are counted, so that of two that end
 * together one at least sees nobody; `state` says which one acts, for the name may be another pool's as soon as it is
 * free.
 */
void mem_shm_at_exit(void)
{
	struct pool *p = &mem_shm_pool;
	uint64_t live = POOL_LIVE;
	struct shared_crowd crowd;
	bool heirs;

	if (!p->id)
		return;
	crowd = shared_crowd(p);
	if (self.epoch && self.epoch == *epoch_word)
		leave_all();
	self.epoch = 0;
	heirs = shared_heirs(p);
	if (p->id->hosted || mem_conf()->keep_exited || (!crowd.own && crowd.dead))
		return;
	if (!heirs && !shared_crowd(p).others &&
	    atomic_compare_exchange_strong_explicit(&p->live->state, &live, POOL_EXITED, memory_order_acq_rel,
						    memory_order_relaxed))
		shared_unlink(p->id->name, p->id->incarnation, mem_shm_shards);
}

/* ---- calls ---- */

#define CALL(extra) \
	(&(const struct front_call){ &mem_shm_pool, &self.owner, site, __builtin_return_address(0), (extra), NULL })

static void *not_ready(void)
{
	errno = ENOMEM;
	return NULL;
}

/*
 * A thread without a slot, for which there is no memory, cannot free: nobody could roll it back. The fragment stays its
 * owner's, and the pool tells of a failure with nothing requested.
 */
COLD static void not_freed(struct pool *p)
{
	int saved = errno;

	if (p->id)
		note_failure(p, &(const struct meta_failure){ .time = clock_seconds(),
							      .pid = process_self()->pid,
							      .size = p->data_size,
							      .verdict = VERDICT_EXHAUSTED });
	errno = saved;
}

static void *allocate_once(const struct front_call *call, size_t align, size_t size)
{
	struct shards s;

	if (LIKELY(mem_shm_shards == 1))
		return shm_front_alloc(call, align, size);
	s = shards();
	return shm_shards_alloc(&s, call, align, size);
}

/* A look at memory where nobody has died. Who holds the lock does not wait for himself. */
COLD static void reap_for_memory(void)
{
	struct front_call call;

	for (unsigned k = mem_shm_shards; k-- && !self.owner.holds; )
		if (use_shard(&call, k))
			reap_for_need(call.p, call.o);
}

/* The first try was quiet: a failure is told once, after what the dead hold was given back. */
COLD static void *allocate_again(const struct front_call *call, size_t align, size_t size)
{
	struct front_call here = *call;

	if (errno != ENOMEM)
		return NULL;
	reap_for_memory();
	here.flags &= ~(unsigned)FRONT_QUIET;
	return allocate_once(&here, align, size);
}

static inline void *allocate(const struct front_call *call, size_t align, size_t size)
{
	void *ptr = allocate_once(call, align, size);

	return LIKELY(ptr) ? ptr : allocate_again(call, align, size);
}

void *mem_shm_allocate(const struct front_call *call, size_t align, size_t size)
{
	struct front_call here = *call;

	here.p = &mem_shm_pool;
	here.o = &self.owner;
	here.flags |= FRONT_QUIET;
	return allocate(&here, align, size);
}

bool mem_shm_find(struct front_call *call, const void *ptr)
{
	if (!ready(&mem_shm_pool) ||
	    !use_shard(call, mem_shm_shards > 1 ? shards_find(mem_shm_pools, mem_shm_shards, ptr) : 0))
		return false;
	call->flags = (call->flags & ~(unsigned)FRONT_HELD) | (call->o->holds ? FRONT_HELD : 0);
	return true;
}

static inline void release(const struct front_call *call, void *p)
{
	struct shards s;

	if (LIKELY(mem_shm_shards == 1)) {
		shm_front_free(call, p);
		return;
	}
	s = shards();
	if (UNLIKELY(!shm_shards_free(&s, call, p)))
		not_freed(&mem_shm_pool);
}

static inline void *reallocate_once(const struct front_call *call, void *p, size_t size)
{
	struct shards s;

	if (LIKELY(mem_shm_shards == 1))
		return shm_front_realloc(call, p, size);
	s = shards();
	return shm_shards_realloc(&s, call, p, size);
}

static void *reallocate(const struct front_call *call, void *p, size_t size)
{
	struct front_call quiet = *call;
	void *fresh;

	quiet.flags = FRONT_QUIET;
	fresh = reallocate_once(&quiet, p, size);
	if (LIKELY(fresh || (p && !size)) || errno != ENOMEM)
		return fresh;
	reap_for_memory();
	return reallocate_once(call, p, size);
}

/*
 * The short way: nothing has changed since the last call, its place in code is known, and a magazine can serve it.
 * Half of the instructions of a call that goes through the front end.
 */
static inline bool quick(const struct pool *p)
{
	return LIKELY(self.epoch == *epoch_word) && LIKELY(self.epoch) &&
	       LIKELY(!(self.owner.holds | self.owner.inside)) &&
	       LIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) == p->features);
}

__attribute__((noinline)) static void *malloc_long(size_t size, const struct mem_site *site, const void *caller)
{
	const struct front_call call = { &mem_shm_pool, &self.owner, site, caller, FRONT_QUIET, NULL };

	return LIKELY(ready(&mem_shm_pool)) ? allocate(&call, 16, size) : not_ready();
}

__attribute__((noinline)) static void free_long(void *ptr, const struct mem_site *site, const void *caller)
{
	const struct front_call call = { &mem_shm_pool, &self.owner, site, caller, 0, NULL };

	if (!ptr)
		return;
	if (LIKELY(ready(&mem_shm_pool)))
		release(&call, ptr);
	else
		not_freed(&mem_shm_pool);
}

void *mem_shm_malloc(size_t size, const struct mem_site *site)
{
	struct pool *p = &mem_shm_pool;
	uint32_t number;
	void *ptr;

	if (LIKELY(quick(p)) && LIKELY(size - 1 < p->magazine_quick)) {
		number = site_known(p, site, __builtin_return_address(0));
		if (LIKELY(number)) {
			ptr = slot_take(p, &self.owner, size, number);
			if (LIKELY(ptr))
				return ptr;
		}
	}
	return malloc_long(size, site, __builtin_return_address(0));
}

void *mem_shm_mallocxz(size_t size, const struct mem_site *site)
{
	return LIKELY(ready(&mem_shm_pool)) ? allocate(CALL(FRONT_ZERO | FRONT_QUIET), 16, size) : not_ready();
}

void *mem_shm_malloc_unsafe(size_t size, const struct mem_site *site)
{
	return LIKELY(ready(&mem_shm_pool))
		       ? allocate(CALL(FRONT_QUIET | (self.owner.holds ? FRONT_HELD : 0)), 16, size)
		       : not_ready();
}

void *mem_shm_memalign(size_t align, size_t size, const struct mem_site *site)
{
	if (!align || align & (align - 1)) {
		errno = EINVAL;
		return NULL;
	}
	return LIKELY(ready(&mem_shm_pool)) ? allocate(CALL(FRONT_QUIET), align < 16 ? 16 : align, size) : not_ready();
}

void *mem_shm_realloc(void *p, size_t size, const struct mem_site *site)
{
	return LIKELY(ready(&mem_shm_pool)) ? reallocate(CALL(0), p, size) : not_ready();
}

void *mem_shm_reallocxf(void *p, size_t size, const struct mem_site *site)
{
	return LIKELY(ready(&mem_shm_pool)) ? reallocate(CALL(FRONT_XF), p, size) : not_ready();
}

void mem_shm_free(void *ptr, const struct mem_site *site)
{
	struct pool *p = &mem_shm_pool;
	uint32_t number;

	if (LIKELY(quick(p)) && LIKELY(p->magazine_quick)) {
		number = site_known(p, site, __builtin_return_address(0));
		if (LIKELY(number) && LIKELY(slot_put(p, &self.owner, ptr, number)))
			return;
	}
	free_long(ptr, site, __builtin_return_address(0));
}

void mem_shm_free_unsafe(void *p, const struct mem_site *site)
{
	if (p && LIKELY(ready(&mem_shm_pool)))
		release(CALL(self.owner.holds ? FRONT_HELD : 0), p);
}

void *mem_shm_resize(void *p, size_t size, const struct mem_site *site)
{
	void *fresh;

	if (UNLIKELY(!ready(&mem_shm_pool)))
		return not_ready();
	if (self.owner.holds)
		return allocate_once(CALL(0), 16, size); /* refused there, with a record */
	shm_lock();
	release(CALL(FRONT_HELD), p);
	fresh = allocate_once(CALL(FRONT_HELD), 16, size);
	shm_unlock();
	return fresh;
}

size_t shm_usable(const void *p)
{
	const struct mem_site *site = NULL;
	struct shards s;

	if (!p || !ready(&mem_shm_pool))
		return 0;
	if (LIKELY(mem_shm_shards == 1))
		return shm_front_usable(CALL(self.owner.holds ? FRONT_HELD : 0), p);
	s = shards();
	return shm_shards_usable(&s, CALL(self.owner.holds ? FRONT_HELD : 0), p);
}

/* All locks, in the order of the shards; of a shard that we cannot get a slot in, not: there we allocate nothing. */
void shm_lock(void)
{
	struct front_call call;

	if (!ready(&mem_shm_pool))
		return;
	for (unsigned k = 0; k < mem_shm_shards; k++) {
		if (!use_shard(&call, k))
			continue;
		if (!call.o->holds)
			lock_take(call.p, call.o);
		call.o->holds++;
	}
}

void shm_unlock(void)
{
	if (!ready(&mem_shm_pool))
		return;
	for (unsigned k = mem_shm_shards; k--; ) {
		struct owner *o = owner_in(k);

		if (o->holds && --o->holds == 0)
			lock_leave(&mem_shm_pools[k]);
	}
}

void shm_trim(void)
{
	struct front_call call = { .flags = 0 };

	if (!ready(&mem_shm_pool))
		return;
	for (unsigned k = 0; k < mem_shm_shards; k++)
		if (use_shard(&call, k) && !busy(call.o))
			shm_front_trim(&call);
}

/* ---- the dead ---- */

size_t shm_reap(void)
{
	struct front_call call;
	size_t freed = 0;

	for (unsigned k = mem_shm_shards; k--; ) /* who is new has a slot in shard 0 first */
		if (ready(&mem_shm_pool) && use_shard(&call, k) && !busy(call.o))
			freed += reap_pool(call.p, call.o);
	return freed;
}

size_t shm_release_dead(long pid)
{
	struct front_call call;
	size_t freed = 0;

	for (unsigned k = mem_shm_shards; k--; )
		if (ready(&mem_shm_pool) && use_shard(&call, k) && !busy(call.o))
			freed += reap_release(call.p, call.o, pid);
	return freed;
}
