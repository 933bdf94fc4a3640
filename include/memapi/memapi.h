/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memapi: private (pkg) and shared (shm) memory from managers that are chosen at start, not at compile time.
 *
 *	#include <memapi/memapi.h>
 *	cc app.c $(pkg-config --cflags --libs memapi)
 *
 * The first use initialises from, strongest first: the options given to memapi_init(), the environment
 * (MEMAPI_…), the choice stored by `mmctl manager set`, the configuration file, the built-in default.
 * With DBG_SR_MEMORY defined each call passes its place in the code as a static struct, without it NULL: an
 * application built either way runs with a library built either way.
 *
 * Unless a function says otherwise: sizes are bytes; a failed allocation returns NULL, sets errno to ENOMEM,
 * leaves a failure record (`mmctl failures`) and changes nothing; a free leaves errno as it was, also one that is
 * refused or waits; every function may be called by any thread. In a signal handler allocations, frees and resizes are
 * served, or refused with EDEADLK and a report where they interrupted a call; nothing else may be called there.
 */
#ifndef MEMAPI_MEMAPI_H
#define MEMAPI_MEMAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <memapi/inline.h>
#include <memapi/inline_shm.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEMAPI_VERSION_MAJOR 0
#define MEMAPI_VERSION_MINOR 1

#if defined(__GNUC__)
#define MEMAPI_EXPORT __attribute__((visibility("default")))
#define MEMAPI_MALLOC __attribute__((malloc, warn_unused_result)) MEMAPI_EXPORT
/* Without malloc, by which the compiler takes what nobody was given for its own: a forked child stores there, too. */
#define MEMAPI_SHM_MALLOC __attribute__((warn_unused_result)) MEMAPI_EXPORT
#else
#define MEMAPI_EXPORT
#define MEMAPI_MALLOC
#define MEMAPI_SHM_MALLOC
#endif

/** A place in the code. One static object a call site; the library keeps what it knows of it behind `cache`. */
struct mem_site {
	uint32_t size;			/* sizeof(struct mem_site), as it was compiled */
	uint32_t line;
	const char *file, *function, *module;
	uint64_t *cache;		/* two words of the application, 0 at first; or NULL */
};

/* Module name of this translation unit, as a string. */
#ifndef MEMAPI_MODULE
#define MEMAPI_MODULE "core"
#endif

/** MEM_SITE - the place of this call, as a static struct mem_site */
#define MEM_SITE (__extension__({ \
	static uint64_t memapi_cache_[2]; \
	static const struct mem_site memapi_site_ = { sizeof(struct mem_site), __LINE__, __FILE__, __func__, \
						      MEMAPI_MODULE, memapi_cache_ }; \
	&memapi_site_; \
}))

#ifdef DBG_SR_MEMORY
#define MEM_HERE_ MEM_SITE
#else
#define MEM_HERE_ ((const struct mem_site *)0)
#endif

/* ---- selection ---- */

/**
 * memapi_init - initialise now, with the program's own options
 * @argc, @argv: as main() got them, or 0 and NULL. Known options are taken out and *argc is lowered:
 *	-x NAME, -X NAME manager of shm (alone: of both) and of pkg; -m MB, -M MB sizes of shm and pkg;
 *	--memory.KEY=VALUE any key of the configuration
 *
 * Returns 0, or -errno: -EINVAL for a bad option, key or value, and the text is in memapi_error(). Unlike the
 * first use, which goes on with defaults, it does not forgive. Call it before any thread is made.
 * Example:
 *	int argc = 2;
 *	char *argv[] = { "server", "-xfm", NULL };
 *	if (memapi_init(&argc, argv)) {
 *		fprintf(stderr, "%s: %s\n", argv[0], memapi_error());
 *		return 2;
 *	}
 */
MEMAPI_EXPORT int memapi_init(int *argc, char **argv);

/** Text of what went wrong last in this thread or at first use: where, what, what is allowed. Never NULL. */
MEMAPI_EXPORT const char *memapi_error(void);

/**
 * pkg_init_manager, shm_init_manager - make the domain's pool on the manager `name`
 *
 * `name` as in `mmctl manager list`, or an alias of Kamailio's (f_malloc, q_malloc …). Before the first
 * allocation of the domain only. Returns 0; -ENOENT: no such manager or compiled out, memapi_error() lists what is
 * available; -EALREADY: the domain already has its pool; or another -errno.
 * Example:
 *	if (pkg_init_manager("fm") || shm_init_manager("fm"))
 *		return -1;
 */
MEMAPI_EXPORT int pkg_init_manager(const char *name);
MEMAPI_EXPORT int shm_init_manager(const char *name);

/* ---- reports of the API structs ---- */

/** Totals of a pool, from its counters: no lock is taken. */
struct mem_info {
	uint64_t total_size, free_size, used_size, real_used, max_used, min_frag, total_frags;
};

/** Counters (_s) beside what a walk measures (_m), and the extreme fragments with their sites. */
struct mem_report {
	uint64_t total_size;
	uint64_t free_size_s, free_size_m, used_size_s, used_size_m, real_used_s, real_used_m, max_used_s;
	uint64_t free_frags, used_frags, total_frags;
	struct mem_report_frag {
		uint64_t size, line;
		char file[80], func[56], mname[32];
	} max_free_frag, min_free_frag, max_used_frag, min_used_frag;
};

/** What one call site holds; a list. */
struct mem_counter {
	char file[80], func[56], mname[32];
	uint64_t line, size, count;
	struct mem_counter *next;
};

/** One fragment, as xwalk tells it. */
struct mem_fragment {
	const void *address;
	uint64_t size, requested;	/* usable; asked for, or size where it is not known */
	bool used;
};
/** Return false to stop. Runs without any lock; the fragment may be gone by then. */
typedef bool mem_fragment_fn(const struct mem_fragment *fragment, void *arg);

/*
 * The two API structs. Filled when the domain is initialised; `mem_block` is what every member gets first.
 * site: MEM_SITE or NULL. Text goes to `out`. Members that walk hold the pool's lock for 64 fragments at most at a
 * time; who holds it by xglock may call them, too.
 */
typedef struct sr_pkg_api {
	uint32_t size;			/* sizeof(sr_pkg_api_t), of the library */
	const char *mname;		/* manager */
	void *mem_pool;			/* first byte of DATA */
	void *mem_block;
	void *(*xmalloc)(void *mbp, size_t size, const struct mem_site *site);
	void *(*xmallocxz)(void *mbp, size_t size, const struct mem_site *site);	/* zeros */
	void *(*xmemalign)(void *mbp, size_t align, size_t size, const struct mem_site *site);
	void *(*xrealloc)(void *mbp, void *p, size_t size, const struct mem_site *site);
	void *(*xreallocxf)(void *mbp, void *p, size_t size, const struct mem_site *site); /* frees p when it fails */
	void (*xfree)(void *mbp, void *p, const struct mem_site *site);
	size_t (*xusable)(void *mbp, const void *p);
	/* a new call site for p; in shm the caller is its owner from then on */
	void (*xsetfunc)(void *mbp, void *p, const struct mem_site *site);
	void (*xstatus)(void *mbp, FILE *out);				/* totals, then every fragment */
	void (*xstatus_filter)(void *mbp, const char *file_or_function, FILE *out);
	void (*xinfo)(void *mbp, struct mem_info *info);
	void (*xreport)(void *mbp, struct mem_report *report);
	uint64_t (*xavailable)(void *mbp); /* free bytes, what the pool may grow by included */
	void (*xsums)(void *mbp, FILE *out);				/* a line a call site */
	/* the same as a list; NULL: nothing, or no memory */
	void (*xmodstats)(void *mbp, struct mem_counter **ret_list);
	void (*xfmodstats)(struct mem_counter *list);			/* frees the list */
	/*
	 * 0; -EUCLEAN: damaged; -EBUSY: 8 others are walking, or fn took more than a minute and one of them has its
	 * place: the rest is not told. fn may leave by longjmp(): that place is free after a minute.
	 */
	int (*xwalk)(void *mbp, mem_fragment_fn *fn, void *arg);
	void (*xdestroy)(void *mbp);
} sr_pkg_api_t;

typedef struct sr_shm_api {
	uint32_t size;
	const char *mname;
	void *mem_pool;
	void *mem_block;
	void *(*xmalloc)(void *mbp, size_t size, const struct mem_site *site);
	void *(*xmallocxz)(void *mbp, size_t size, const struct mem_site *site);
	void *(*xmalloc_unsafe)(void *mbp, size_t size, const struct mem_site *site);	/* under xglock */
	void *(*xmemalign)(void *mbp, size_t align, size_t size, const struct mem_site *site);
	void *(*xrealloc)(void *mbp, void *p, size_t size, const struct mem_site *site);
	void *(*xreallocxf)(void *mbp, void *p, size_t size, const struct mem_site *site);
	void *(*xresize)(void *mbp, void *p, size_t size, const struct mem_site *site);	/* contents are lost */
	void (*xfree)(void *mbp, void *p, const struct mem_site *site);
	void (*xfree_unsafe)(void *mbp, void *p, const struct mem_site *site);		/* under xglock */
	size_t (*xusable)(void *mbp, const void *p);
	void (*xsetfunc)(void *mbp, void *p, const struct mem_site *site);
	void (*xstatus)(void *mbp, FILE *out);
	void (*xstatus_filter)(void *mbp, const char *file_or_function, FILE *out);
	void (*xinfo)(void *mbp, struct mem_info *info);
	void (*xreport)(void *mbp, struct mem_report *report);
	uint64_t (*xavailable)(void *mbp);
	void (*xsums)(void *mbp, FILE *out);
	void (*xmodstats)(void *mbp, struct mem_counter **ret_list);
	void (*xfmodstats)(struct mem_counter *list);
	int (*xwalk)(void *mbp, mem_fragment_fn *fn, void *arg);
	void (*xglock)(void *mbp); /* the pool's one lock; shm_malloc by its holder is refused: use _unsafe */
	void (*xgunlock)(void *mbp);
	void (*xdestroy)(void *mbp);
} sr_shm_api_t;

/** The domain's API struct, initialised; NULL when the domain has no pool: see memapi_error(). */
MEMAPI_EXPORT const sr_pkg_api_t *pkg_api(void);
MEMAPI_EXPORT const sr_shm_api_t *shm_api(void);

/* ---- private memory ---- */

MEMAPI_MALLOC void *mem_pkg_malloc(size_t size, const struct mem_site *site);
MEMAPI_MALLOC void *mem_pkg_mallocxz(size_t size, const struct mem_site *site);
MEMAPI_MALLOC void *mem_pkg_memalign(size_t align, size_t size, const struct mem_site *site);
MEMAPI_EXPORT void *mem_pkg_realloc(void *p, size_t size, const struct mem_site *site);
MEMAPI_EXPORT void *mem_pkg_reallocxf(void *p, size_t size, const struct mem_site *site);
MEMAPI_EXPORT void mem_pkg_free(void *p, const struct mem_site *site);

/* The same three, where inline.h serves small sizes without a call. */
#ifdef MEMAPI_INLINE
__attribute__((warn_unused_result)) MEM_INLINE_FN void *mem_inline_malloc(size_t size, const struct mem_site *site)
{
	void *fragment = mem_inline_take(memapi_pkg_self.own, size);

	return fragment ? fragment : mem_pkg_malloc(size, site);
}

__attribute__((warn_unused_result)) MEM_INLINE_FN void *mem_inline_mallocxz(size_t size, const struct mem_site *site)
{
	void *fragment = mem_inline_take(memapi_pkg_self.own, size);

	return fragment ? __builtin_memset(fragment, 0, size) : mem_pkg_mallocxz(size, site);
}

MEM_INLINE_FN void mem_inline_free(void *p, const struct mem_site *site)
{
	if (!mem_inline_put(memapi_pkg_self.own, p))
		mem_pkg_free(p, site);
}
#else
#define mem_inline_malloc mem_pkg_malloc
#define mem_inline_mallocxz mem_pkg_mallocxz
#define mem_inline_free mem_pkg_free
#endif

/**
 * pkg_malloc - `size` bytes of this process's memory, 16-byte aligned; size 0 gives a fragment of its own
 *
 * Example:
 *	char *line = pkg_malloc(80);
 *	if (!line)
 *		return -1;
 *	pkg_free(line);
 */
#define pkg_malloc(size) mem_inline_malloc((size), MEM_HERE_)
/** pkg_mallocxz - the same, filled with zeros */
#define pkg_mallocxz(size) mem_inline_mallocxz((size), MEM_HERE_)
/** pkg_memalign - aligned to `align`, a power of two, or NULL with errno EINVAL */
#define pkg_memalign(align, size) mem_pkg_memalign((align), (size), MEM_HERE_)
/** pkg_realloc - `p` with `size` bytes, perhaps elsewhere; p NULL: malloc; size 0: free, NULL. NULL otherwise: `p` is
 * as it was */
#define pkg_realloc(p, size) mem_pkg_realloc((p), (size), MEM_HERE_)
/** pkg_reallocxf - the same, but frees `p` when it fails */
#define pkg_reallocxf(p, size) mem_pkg_reallocxf((p), (size), MEM_HERE_)
/** pkg_free - give `p` back; NULL is fine. A wild, double or foreign free is reported, see memory.safety */
#define pkg_free(p) mem_inline_free((p), MEM_HERE_)
/** Bytes that the holder of `p` may use, at least what was asked for. */
MEMAPI_EXPORT size_t pkg_usable(const void *p);
MEMAPI_EXPORT void pkg_info(struct mem_info *info);

/* ---- shared memory ---- */

MEMAPI_SHM_MALLOC void *mem_shm_malloc(size_t size, const struct mem_site *site);
MEMAPI_SHM_MALLOC void *mem_shm_mallocxz(size_t size, const struct mem_site *site);
MEMAPI_SHM_MALLOC void *mem_shm_malloc_unsafe(size_t size, const struct mem_site *site);
MEMAPI_SHM_MALLOC void *mem_shm_memalign(size_t align, size_t size, const struct mem_site *site);
MEMAPI_EXPORT void *mem_shm_realloc(void *p, size_t size, const struct mem_site *site);
MEMAPI_EXPORT void *mem_shm_reallocxf(void *p, size_t size, const struct mem_site *site);
MEMAPI_EXPORT void *mem_shm_resize(void *p, size_t size, const struct mem_site *site);
MEMAPI_EXPORT void mem_shm_free(void *p, const struct mem_site *site);
MEMAPI_EXPORT void mem_shm_free_unsafe(void *p, const struct mem_site *site);

/**
 * mem_shm_malloc_here, mem_shm_free_here - the same two, as called by places in code that inline_shm.h is compiled into
 * @place: number of the place, once the library has told or noted it; the caller's for good, any thread may store it
 *
 * For inline_shm.h alone. Cold: one call, and one address, for each place; gcc makes two of it else. Not so where they
 * are defined.
 */
#ifndef MEM_INLINE_COLD
#define MEM_INLINE_COLD __attribute__((cold))
#endif
MEM_INLINE_COLD MEMAPI_SHM_MALLOC void *mem_shm_malloc_here(size_t size, uint32_t *place);
MEM_INLINE_COLD MEMAPI_EXPORT void mem_shm_free_here(void *p, uint32_t *place);

#ifdef MEMAPI_INLINE
__attribute__((warn_unused_result)) MEM_INLINE_FN void *mem_inline_shm_malloc(size_t size, const struct mem_site *site)
{
	uint32_t *place;
	uint64_t now;
	void *fragment = NULL;

	if (site)
		return mem_shm_malloc(size, site);
	place = mem_inline_number();
	if (mem_inline_numbered(__atomic_load_n(place, __ATOMIC_RELAXED))) {
		now = (uint64_t)time(NULL);	/* first: what follows needs no register saved */
		fragment =
			mem_inline_shm_take(memapi_shm_self.own, size, __atomic_load_n(place, __ATOMIC_RELAXED), now);
	}
	return fragment ? fragment : mem_shm_malloc_here(size, place);
}

MEM_INLINE_FN void mem_inline_shm_free(void *p, const struct mem_site *site)
{
	uint32_t *place, number;

	if (site) {
		mem_shm_free(p, site);
		return;
	}
	place = mem_inline_number();
	number = __atomic_load_n(place, __ATOMIC_RELAXED);
	__asm__("" : "+r"(p));		/* of whatever object it was for the compiler */
	if (!mem_inline_numbered(number) || !mem_inline_shm_put(memapi_shm_self.own, p, number))
		mem_shm_free_here(p, place);
}
#else
#define mem_inline_shm_malloc mem_shm_malloc
#define mem_inline_shm_free mem_shm_free
#endif

/**
 * shm_malloc - `size` bytes that every process of the pool sees at this address, 16-byte aligned
 *
 * A caller that is killed inside got nothing, and nothing is lost. Takes the pool's lock; the holder of
 * shm_lock() gets NULL, EDEADLK and a failure record, and uses the _unsafe form.
 * Example:
 *	int *counter = shm_malloc(sizeof *counter);
 *	if (!counter)
 *		return -1;
 *	*counter = 1;		// as every process that is forked from here on sees it
 *	shm_free(counter);
 */
#define shm_malloc(size) mem_inline_shm_malloc((size), MEM_HERE_)
#define shm_mallocxz(size) mem_shm_mallocxz((size), MEM_HERE_)
/** shm_malloc_unsafe, shm_free_unsafe - for the holder of shm_lock(); anybody else's call takes the lock itself */
#define shm_malloc_unsafe(size) mem_shm_malloc_unsafe((size), MEM_HERE_)
#define shm_memalign(align, size) mem_shm_memalign((align), (size), MEM_HERE_)
#define shm_realloc(p, size) mem_shm_realloc((p), (size), MEM_HERE_)
#define shm_reallocxf(p, size) mem_shm_reallocxf((p), (size), MEM_HERE_)
/**
 * shm_resize - free and malloc in one lock hold: the contents are lost; NULL: p is freed, but for the holder of
 * shm_lock(), whose call is refused with EDEADLK, and p stays
 */
#define shm_resize(p, size) mem_shm_resize((p), (size), MEM_HERE_)
/**
 * shm_free - give `p` back; NULL is fine
 *
 * A thread's first call in a pool claims a slot there. Where there is no memory for one, even after those of the dead
 * were asked for, the call frees nothing, and leaves a failure record with nothing requested: `p` stays, and may be
 * freed later, by this thread too, or by another one.
 */
#define shm_free(p) mem_inline_shm_free((p), MEM_HERE_)
#define shm_free_unsafe(p) mem_shm_free_unsafe((p), MEM_HERE_)
MEMAPI_EXPORT size_t shm_usable(const void *p);
MEMAPI_EXPORT void shm_info(struct mem_info *info);

/* ---- publication: a pointer in shared memory and what it names change in one step ---- */

MEMAPI_EXPORT void *mem_shm_malloc_to(void *dst, size_t size, const struct mem_site *site);
MEMAPI_EXPORT void *mem_shm_mallocxz_to(void *dst, size_t size, const struct mem_site *site);
MEMAPI_EXPORT void *mem_shm_realloc_to(void *dst, size_t size, const struct mem_site *site);
MEMAPI_EXPORT bool mem_shm_free_from(void *dst, const struct mem_site *site);

/* The address of a pointer variable, of any type of pointer, atomic or not; what is no pointer does not compile. */
#define MEM_DST_(dst) ((void)sizeof(char[sizeof *(dst) == sizeof(void *) ? 1 : -1]), (void *)(uintptr_t)(dst))

/**
 * shm_malloc_to - allocate and publish in one step
 * @dst: address of the pointer variable, 8-byte aligned, in a fragment of the shared pool
 *
 * Killed at any instruction: *dst names the new fragment, or it is as it was and nothing is allocated. Returns the
 * fragment; NULL: *dst is as it was, and errno is ENOMEM, or EINVAL when dst is elsewhere (memapi_error() says so):
 * a variable of the process's own dies with it, and what only that names is shm_malloc_owned()'s.
 *
 * *dst is the caller's to change, as with any store: by a lock of the application's. What the pointer named before is
 * not freed. Bytes of the fragment are not set; who may look at *dst without the lock gets shm_mallocxz_to(), and may
 * see a pointer that goes again when the caller is killed at that moment. mem_lock_acquire() that returns EOWNERDEAD
 * has settled what the dead one had begun; with a lock of another kind call shm_reap() before *dst is read. Takes the
 * pool's lock; the holder of shm_lock() may call it as it is.
 * Example:
 *	struct row { char *text; } *row = shm_mallocxz(sizeof *row);
 *	if (!row || !shm_malloc_to(&row->text, 80))
 *		return -1;
 *	snprintf(row->text, 80, "hello");
 */
#define shm_malloc_to(dst, size) mem_shm_malloc_to(MEM_DST_(dst), (size), MEM_HERE_)
/**
 * shm_mallocxz_to - the same, with zeros that are there before *dst names them
 *
 * They are written without the pool's lock. Who is killed meanwhile owns the fragment (shm_own), and it goes back when
 * the slot is reaped.
 */
#define shm_mallocxz_to(dst, size) mem_shm_mallocxz_to(MEM_DST_(dst), (size), MEM_HERE_)
/**
 * shm_free_from - free what *dst names and make it NULL in one step
 *
 * Killed at any instruction: *dst is NULL and the fragment is free, or neither. true, also when *dst was NULL. Of
 * several callers with the same dst one frees, and the others find NULL. false, and nothing changed: errno is EINVAL:
 * dst is no place for a pointer, or *dst names no fragment in use, which is reported as by shm_free().
 * Example:
 *	struct row { char *text; } *row = shm_mallocxz(sizeof *row);
 *	if (row && shm_malloc_to(&row->text, 80))
 *		shm_free_from(&row->text);	// and row->text is NULL
 */
#define shm_free_from(dst) mem_shm_free_from(MEM_DST_(dst), MEM_HERE_)
/**
 * shm_realloc_to - give what *dst names another size, perhaps another place, in one step
 *
 * Killed at any instruction: *dst names the old fragment or the new one, with its bytes, and the other is free, or goes
 * back when the slot of the dead is reaped. Returns what *dst names; *dst NULL: as shm_malloc_to(); size 0: as
 * shm_free_from(), NULL. NULL otherwise: *dst and the fragment are as they were; errno as shm_malloc_to(), EINVAL also
 * when dst lies in the very fragment, EBUSY: somebody else changed *dst meanwhile. The result is SHARED.
 * Example:
 *	struct row { char *text; } *row = shm_mallocxz(sizeof *row);
 *	if (!row || !shm_malloc_to(&row->text, 80) || !shm_realloc_to(&row->text, 8000))
 *		return -1;
 */
#define shm_realloc_to(dst, size) mem_shm_realloc_to(MEM_DST_(dst), (size), MEM_HERE_)

/* ---- whose shared memory is: what becomes of it when its owner ends ---- */

MEMAPI_SHM_MALLOC void *mem_shm_malloc_owned(size_t size, const struct mem_site *site);

/**
 * shm_malloc_owned - shm_malloc() of memory that goes back when the calling thread ends, in order or killed
 *
 * The owner is a thread: what a process needs to its end is owned by a thread that lives as long. It goes back when the
 * slot is reaped: by mmd, by whoever waited for the dead one's lock, by who finds no memory, or by shm_reap(). May be
 * called by the holder of shm_lock(). shm_realloc() of OWNED memory gives OWNED memory.
 */
#define shm_malloc_owned(size) mem_shm_malloc_owned((size), MEM_HERE_)
/**
 * shm_own, shm_share - the fragment `p` becomes the calling thread's, whoever had it
 *
 * own: OWNED, it goes back when the thread ends. share: SHARED, as shm_malloc() gives it: it stays when the thread
 * ends, and when it is killed the pool's on_death decides; `mmctl leaks` names the caller then. One transaction: killed
 * inside, it is as before or as after. 0; -EINVAL: `p` is no fragment in use. Whoever takes over what is quarantined
 * takes it out of quarantine.
 * Example:
 *	void *draft = shm_malloc_owned(100);	// if this process dies now, it is nobody's
 *	if (!draft || shm_share(draft))		// others know of it from here on
 *		return -1;
 */
MEMAPI_EXPORT int shm_own(void *p);
MEMAPI_EXPORT int shm_share(void *p);

/**
 * shm_reap - settle what owners left that have ended
 *
 * Rolls back what the killed had begun, frees what was OWNED, and follows the pool's on_death for what the killed
 * SHARED: keep: it stays, is used and freed as before, and `mmctl leaks` names its dead owner; reclaim: it is freed;
 * quarantine: it stays as it is, and freeing it does nothing, until shm_release_dead(), shm_own() or shm_share(). Runs
 * by itself, see shm_malloc_owned(); call it where you know of a death. Returns how many fragments went back. Does
 * nothing for the holder of shm_lock().
 */
MEMAPI_EXPORT size_t shm_reap(void);
/** All that the killed left goes, whatever on_death says: what others may still use, too. pid: one process; 0: all the
 * dead. How many fragments went. Who left in order is not among them. */
MEMAPI_EXPORT size_t shm_release_dead(long pid);

/**
 * shm_trim - what is kept ready in magazines goes back to the manager, where neighbours join
 *
 * The calling thread's own and what nobody has at once; other threads and processes follow when they need the lock
 * next. A request that finds no memory does the same. Nothing is promised to those who do not call: see `cached` in the
 * stats.
 */
MEMAPI_EXPORT void shm_trim(void);

/** The pool's one lock, for several _unsafe calls in a row. Each of them is still whole or not at all when killed. */
MEMAPI_EXPORT void shm_lock(void);
MEMAPI_EXPORT void shm_unlock(void);

/**
 * shm_create, shm_attach - the named pool becomes this process's shm pool
 * @name: 1 to 48 of [A-Za-z0-9_.-], not digits alone, no dot first
 * @size: bytes that it may grow to; 0: memory.shm.size
 *
 * Before the first shm allocation. create: -EEXIST when a live pool has the name. attach: the newest live
 * incarnation; -ENOENT: there is none. -EADDRINUSE: its address range is taken in this process.
 * Example:
 *	if (shm_attach("table") == -ENOENT) {
 *		int rc = shm_create("table", 1 << 20);
 *		if (rc == 0)
 *			shm_root_set("visits", shm_mallocxz(sizeof(int)));
 *		else if (rc == -EEXIST)		// another process was faster
 *			shm_attach("table");
 *	}
 *	int *visits = shm_root_get("visits");
 *	if (!visits)
 *		return -1;
 *	++*visits;
 */
MEMAPI_EXPORT int shm_create(const char *name, size_t size);
MEMAPI_EXPORT int shm_attach(const char *name);

/** Named roots, so that a newcomer finds the pool's data: 32 of them, names of at most 55 bytes. set: 0, -ENOSPC,
 * -EINVAL. */
MEMAPI_EXPORT int shm_root_set(const char *name, void *p);
MEMAPI_EXPORT void *shm_root_get(const char *name);

/* ---- a lock for applications, in shared memory, that survives its owner ---- */

/** All zeros is an unlocked lock. It must lie in a fragment of the process's shm pool. */
struct mem_lock { uint64_t word; };

/**
 * mem_lock_acquire - lock, wait if need be
 *
 * Returns 0; EOWNERDEAD: locked too, and the owner before died with it: what it guards may be half changed;
 * -EDEADLK: this thread holds it; -EINVAL: not in the pool. A stopped owner is waited for: only the kernel's word
 * that it is dead counts.
 * Example:
 *	struct queue { struct mem_lock lock; int length; } *q = shm_mallocxz(sizeof *q);
 *	if (!q)
 *		return -1;
 *	int rc = mem_lock_acquire(&q->lock);
 *	if (rc == EOWNERDEAD)
 *		q->length = 0;		// who had it died in the middle: make it whole again
 *	else if (rc)
 *		return -1;
 *	q->length++;
 *	mem_lock_release(&q->lock);
 */
MEMAPI_EXPORT int mem_lock_acquire(struct mem_lock *lock);
/** As acquire, or -EBUSY at once when a living owner has it. */
MEMAPI_EXPORT int mem_lock_try(struct mem_lock *lock);
/** 0, or -EPERM: this thread does not hold it. */
MEMAPI_EXPORT int mem_lock_release(struct mem_lock *lock);

/* ---- faults ---- */

enum mem_fault_kind { MEM_DOUBLE_FREE, MEM_WILD_FREE, MEM_OVERRUN, MEM_DEADLOCK };

/** What a wrong free, or damage found by one, looks like to the program. Texts live as long as the call. */
struct mem_fault_report {
	enum mem_fault_kind kind;
	const void *address;
	const char *text;		/* one line with both places */
};

/**
 * memapi_on_fault - tell the program of faults
 * @fn: called after a fault was recorded, without any lock; NULL: nobody. memory.safety = abort aborts after it.
 *
 * Example:
 *	memapi_on_fault(write_to_my_log);	// void write_to_my_log(const struct mem_fault_report *report)
 */
MEMAPI_EXPORT void memapi_on_fault(void (*fn)(const struct mem_fault_report *report));

#ifdef __cplusplus
}
#endif
#endif /* MEMAPI_MEMAPI_H */
