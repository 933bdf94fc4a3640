/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared pool of this process: made or attached at the first use, inherited by forked children.
 *
 * Each thread claims a slot at its first call. A child's threads find out that the slot in their TLS is the parent's
 * because the epoch word differs, and claim their own before their first store. In a pool of several shards a thread
 * has its slot in shard 0 from the start, in the others when it first uses them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/front/slot_known.h"
#include "mem/init.h"
#include "mem/meta/process.h"
#include "mem/meta/registry.h"
#include "mem/meta/slot.h"
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

struct mem_inline_shm mem_shm_nobody;			/* a gate that is closed */
_Thread_local struct shm_thread mem_shm_self = { .known = &mem_shm_nobody, .owner.open = OWNER_CLOSED };
extern __thread struct mem_inline_shm_self memapi_shm_self __attribute__((alias("mem_shm_self")));
_Static_assert(!offsetof(struct shm_thread, known) && offsetof(struct shm_thread, owner) == 8, "as applications see it");
static pthread_key_t leave_key;
static bool leave_key_made;

/*
 * Slots in shards 1, 2, … of the thread whose slot in shard 0 has this number. Not in TLS, of which a library that is
 * loaded late gets little; pages that no thread comes to are never touched.
 */
static struct owner others[SLOTS_MAX][SHARDS_MAX - 1];

/* ---- slots of threads ---- */

struct owner *mem_shm_owner_in(unsigned k)
{
	return k ? &others[mem_shm_self.owner.number][k - 1] : &mem_shm_self.owner;
}

/* ---- their own places ---- */

/*
 * Whether fragments lie as inline_shm.h knows them, and there is one heap. It looks at the lower half of sizes, and at
 * 32 bits of a record's: one of 32 GiB may look small.
 */
static bool known_layout(const struct pool *p)
{
	const struct mem_size_word *word = &p->ops->size_word;

	return p->id->shards == 1 && (uint32_t)word->mask == MEM_INLINE_SIZE && p->id->size <= 32ull << 30 &&
	       word->at == 16 - p->magazine_head && word->less == word->at;
}

/* A child's thread goes on with its copy of the parent's. NULL: none. */
static struct mem_inline_shm *places_for(const struct pool *p)
{
	struct mem_inline_shm *own = mem_shm_self.known;

	if (!known_layout(p))
		return NULL;
	if (own == &mem_shm_nobody) {
		own = mmap(NULL, sizeof *own, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (own == MAP_FAILED)
			return NULL;
		/* without it (before 4.14) only fork() is noticed, by mem_shm_after_fork() */
		(void)madvise(own, META_PAGE, MADV_WIPEONFORK);
	}
	return own;
}

static void take_places(const struct pool *p, struct owner *o)
{
	struct mem_inline_shm *own = places_for(p);

	if (!own)
		return;
	own->followed = (const void *)(uintptr_t)&p->features; /* and what is behind it */
	own->op = &o->magazines->op;
	own->records = (void *)p->records;
	own->head = p->magazine_head;
	own->records_max = p->records_max;
	own->generation = p->generation;
	own->mine = o->mine;
	o->known = mem_shm_self.known = own;
	known_open(p, o);
}

static void leave_places(struct owner *o)
{
	struct mem_inline_shm *own = o->known;

	if (!own)
		return;
	known_close(o);
	o->known = NULL;
	mem_shm_self.known = &mem_shm_nobody;
	atomic_signal_fence(memory_order_seq_cst);	/* a signal handler finds them there, or nobody's */
	munmap(own, sizeof *own);
}

void mem_shm_after_fork(void)
{
	if (mem_shm_self.known == &mem_shm_nobody)
		return;
	MEM_INLINE_SET(mem_shm_self.known->now, 0);
	MEM_INLINE_SET(mem_shm_self.known->span, 0);
}

/*
 * Who ends with a lock, or inside of a call, leaves nothing: the kernel certifies its death, and the others take the
 * lock over and roll back. So that what ends after us in this thread still finds whose the lock is. false: it is so.
 */
static bool leave_all(void)
{
	for (unsigned k = mem_shm_shards; k--; )
		if (shm_busy(mem_shm_owner_in(k)))
			return false;
	for (unsigned k = mem_shm_shards; k--; ) { /* shard 0 last: its slot says whose the others are */
		struct owner *o = mem_shm_owner_in(k);

		if (o->slot && !slot_settled(&mem_shm_pools[k], o->number))
			shm_front_settle(&mem_shm_pools[k], o, o->number);
		o->open = OWNER_CLOSED;
		leave_places(o);
		slot_leave(&mem_shm_pools[k], o);
	}
	return true;
}

static void thread_ends(void *arg)
{
	struct shm_thread *t = arg;

	if (!t->epoch || t->epoch != *epoch_word || leave_all())
		t->epoch = 0;
}

static void adopt(const struct owner *o)
{
	mem_shm_self.owner = *o;
	mem_shm_self.epoch = mem_shm_self.owner.epoch = mem_shm_self.owner.open = *epoch_word;
	take_places(&mem_shm_pool, &mem_shm_self.owner);
	if (mem_shm_shards > 1) /* what is there was of another thread, or of the parent */
		memset(others[mem_shm_self.owner.number], 0, sizeof others[0]);
	if (!leave_key_made)
		leave_key_made = pthread_key_create(&leave_key, thread_ends) == 0;
	if (leave_key_made)
		pthread_setspecific(leave_key, &mem_shm_self);
}

/* Keeps errno: for free(), too. */
static int claim_in(struct pool *p, struct owner *ret_owner)
{
	int saved = errno, rc = slot_claim(p, false, ret_owner);

	if (rc) {
		/* full, or no memory for one more: those of the dead that nothing names any more; whoever reaps needs
		 * no slot for that, and another may just have done it */
		struct owner nobody = { 0 };

		slot_reap(p, &nobody);
		rc = slot_claim(p, false, ret_owner);
	}
	if (rc)
		mem_set_error("no slot in the shared pool %s: %s", p->id->name, error_name(-rc));
	errno = saved;
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
		*mem_shm_owner_in(k) = o[k];
		mem_shm_owner_in(k)->home = &mem_shm_self.owner;
	}
	return 0;
}

static int attach(struct pool *p, const char *name)
{
	int rc = shared_attach(name, 0, p, &mem_shm_shards);

	if (rc == 0) {
		rc = claim(p);
		if (rc) {
			shared_detach(p, mem_shm_shards);
			*p = (struct pool){ 0 };
			mem_shm_shards = 1;
		}
		return rc;
	}
	*p = (struct pool){ 0 };
	mem_set_error("the shared pool %s could not be attached: %s", name,
		      rc == -ENOENT	 ? "there is none of this name; mmd hosts those of its configuration"
		      : rc == -EUCLEAN	 ? "its META is damaged or of another version"
		      : rc == -ENOTSUP	 ? "its manager is not in this build"
		      : rc == -EADDRINUSE ? "its addresses are taken in this process"
					  : error_name(-rc));
	return rc;
}

/* Of those that find no live pool of this name at the same time one makes it. */
static int make_named(struct pool *p, const char *name, uint64_t size)
{
	int dir, rc = registry_open(&dir);

	if (rc)
		return make(p, name, size);	/* which tells why not */
	registry_lock(dir);
	if (shared_live(dir, name)) {
		mem_set_error("a live shared pool is already called %s", name);
		rc = -EEXIST;
	} else {
		rc = make(p, name, size);
	}
	registry_unlock(dir);
	close(dir);
	return rc;
}

static int first_use(struct pool *p)
{
	const struct conf *c = mem_conf();
	char own[24];

	mem_register_handlers();
	if (wanted.name[0])
		return wanted.create ? make_named(p, wanted.name, wanted.size) : attach(p, wanted.name);
	if (c->shm_pool[0])
		return attach(p, c->shm_pool);
	snprintf(own, sizeof own, "%d", process_self()->pid);
	return make(p, own, c->shm_size);
}

COLD int mem_shm_get_ready(void)
{
	struct pool *p = &mem_shm_pool;
	int saved = errno, rc = 0;

	mem_setup_lock();
	if (!p->id)
		rc = first_use(p);
	else if (mem_shm_self.epoch != *epoch_word)
		rc = claim(p);
	mem_setup_unlock();
	errno = saved;
	return rc;
}

/* All shards. Who holds the lock reaps later: a fragment goes back in a transaction of its own. */
static void reap_if_due(struct pool *p)
{
	int saved = errno;

	if (!(p->features & POOL_REAP_DUE) || shm_busy(&mem_shm_self.owner))
		return;
	/* relaxed: it speaks of META, and is set again when there is more */
	atomic_fetch_and_explicit(&p->features, ~POOL_REAP_DUE, memory_order_relaxed);
	shm_reap();
	errno = saved;
}

static void follow(struct pool *p)
{
	uint64_t wish = atomic_load_explicit(&p->live->wanted, memory_order_relaxed);
	uint64_t features = (wish | FEATURE_SITES) & ~POOL_REAP_DUE;

	pool_follow(p, features);
	atomic_store_explicit(&p->live->features, features, memory_order_relaxed);
	/* unless another wish has come meanwhile: that one is followed next */
	atomic_compare_exchange_strong_explicit(&p->live->wanted, &wish, features, memory_order_relaxed,
						memory_order_relaxed);
}

/*
 * One thread at a time: of two, the slower one would leave what is not wanted any more, or half of it. The others, and
 * signal handlers, go on with what was followed before, and ask again at their next call. The word is the epoch of the
 * process whose thread it is: in a child it is nobody's.
 */
COLD void mem_shm_follow(struct pool *p)
{
	static _Atomic uint64_t following;
	uint64_t was = atomic_load_explicit(&following, memory_order_relaxed);

	reap_if_due(p);
	if (was == *epoch_word || !atomic_compare_exchange_strong_explicit(&following, &was, *epoch_word,
									   memory_order_acquire, memory_order_relaxed))
		return;
	follow(p);
	/* what it wrote is there for who follows next: pairs with the acquire above */
	atomic_store_explicit(&following, 0, memory_order_release);
}

/* The shard's owner, with a slot there from now on. */
bool mem_shm_use_shard(struct front_call *call, unsigned k)
{
	struct pool *p = &mem_shm_pools[k];
	struct owner *o = mem_shm_owner_in(k);

	if (UNLIKELY(!o->slot)) {
		if (claim_in(p, o))
			return false;
		o->home = &mem_shm_self.owner;
	}
	if (UNLIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) != p->features))
		mem_shm_follow(p);
	call->p = p;
	call->o = o;
	return true;
}

bool mem_shm_use(struct pool **ret_pool, struct owner **ret_owner, unsigned k)
{
	struct front_call call;

	if (!shm_ready(&mem_shm_pool) || !mem_shm_use_shard(&call, k))
		return false;
	*ret_pool = call.p;
	*ret_owner = call.o;
	return true;
}

struct pool *mem_shm_ready(struct owner **ret_owner)
{
	if (!shm_ready(&mem_shm_pool))
		return NULL;
	*ret_owner = &mem_shm_self.owner;
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
	return mem_shm_get_ready();
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
	rc = mem_shm_get_ready();
	if (rc)
		wanted.name[0] = 0;
	return rc;
}

int shm_create(const char *name, size_t size) { return use_named(name, size, true); }
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
	if (!mem_shm_self.epoch || mem_shm_self.epoch != *epoch_word || leave_all())
		mem_shm_self.epoch = 0;
	heirs = shared_heirs(p);
	if (p->id->hosted || mem_conf()->keep_exited || (!crowd.own && crowd.dead))
		return;
	if (!heirs && !shared_crowd(p).others &&
	    atomic_compare_exchange_strong_explicit(&p->live->state, &live, POOL_EXITED, memory_order_acq_rel,
						    memory_order_relaxed))
		shared_unlink(p->id->name, p->id->incarnation, mem_shm_shards);
}
