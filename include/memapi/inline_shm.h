/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The short way of shared memory, compiled into the application: memapi.h includes this, nobody else needs to.
 *
 * shm_malloc() and shm_free() of small fragments take from and put into the magazines of the calling thread's slot
 * here, without a call, as inline.h does for private memory: what is said there of stamps, of what is off, and of where
 * it is not compiled in holds here.
 *
 * kill: the slot's magazines lie in META (layout.h), and whoever buries the owner finds there, after each instruction,
 * what it has to find: the library's slot_magazine.h says which store may come after which, and all of them are made
 * here in that order. Nothing of META's magazines is read here but `op`. What is in them the thread knows from places
 * of its own, in private memory, one above the other:
 *
 *	kind[k].top ->	word 2 | r7	fragment of r7		as of[c][x] is now
 *			word 1 | r3	fragment of r3		as it is when r7 is taken
 *			word 0		NULL			and then; or what is below is not known here: call
 *
 * So that a pair waits for a store of the pair before it only once, and a take for no record.
 *
 * The number of a place in code is asked for once: each place that this is compiled into has a word for it. Some 190
 * bytes of code a malloc, 230 a free.
 */
#ifndef MEMAPI_INLINE_SHM_H
#define MEMAPI_INLINE_SHM_H

#include <memapi/inline.h>
#include <time.h>

#ifdef __GNUC__

#ifdef __cplusplus
extern "C" {
#endif

/* Kinds of 16 bytes. Fragments that a chain may have. Largest request. */
enum { MEM_INLINE_KINDS = 65, MEM_INLINE_DEEP = 64, MEM_INLINE_SHM_MOST = 1016 };
/* What `op` says, and a record's flags: enum magazine_op, RECORD_CACHED of the library. */
enum { MEM_INLINE_OP_NONE, MEM_INLINE_OP_FREE = 0x8000, MEM_INLINE_OP_BEGIN, MEM_INLINE_CACHED = 2 << 16 };
/* Of a chain's word: how many more there may be. */
#define MEM_INLINE_ROOMS 0xff00u
/* Of the word before a fragment: its size, with the head. */
#define MEM_INLINE_SIZE 0x0000fffffffffff0u
/* From the first record back to what an operator wants; from `op` to the chains. */
enum { MEM_INLINE_WANTED = 0x4000000 - 0x1000 - 256, MEM_INLINE_CHAINS = 64 };

typedef uint32_t __attribute__((may_alias)) mem_inline_half;

/** A record in META. */
struct mem_inline_record {
	mem_inline_word address;
	mem_inline_half eighths, requested;	/* usable bytes / 8; 4 x what was asked for */
	mem_inline_half site, slot;		/* flags above the slot */
	mem_inline_word time;
};

struct mem_inline_place { uint64_t word, fragment; };
/* volatile: as with MEM_INLINE_MINE */
struct mem_inline_kind { struct mem_inline_place *volatile top, *volatile beside; };

/** Of a thread, in private memory. */
struct mem_inline_shm {
	/* -- a page of gates, zeros in a forked child -- */
	char other_stamps[64 * MEMAPI_INLINE_STAMP];
	uint64_t now;			/* take: time(), as `mark` has it; 0: closed */
	uint64_t first;			/* put: address - first < *reach; 0: closed, no address is that low */
	char more_stamps[4096 - 64 * MEMAPI_INLINE_STAMP - 16];
	/* -- */
	const uint64_t *reach;
	/* -- of this stamp -- */
	const uint64_t *followed;	/* what the process has followed of what is wanted */
	mem_inline_word *op;
	struct mem_inline_record *records;
	uint64_t head;			/* bytes before a fragment, 16 or 8 */
	uint64_t records_max, generation;
	uint64_t mine;			/* number of the slot << 32 */
	uint64_t mark;			/* of the last record: s since the pool was made | stamp << 32 */
	struct mem_inline_kind kind[MEM_INLINE_KINDS + 1];
	struct mem_inline_place none;	/* of a kind that was never in use */
	struct mem_inline_place at[MEM_INLINE_KINDS][2][MEM_INLINE_DEEP + 2];
};

struct mem_inline_shm_self { struct mem_inline_shm *own; };
extern __thread struct mem_inline_shm_self memapi_shm_self
	__attribute__((tls_model("initial-exec"), visibility("default")));

/*
 * Kinds are counted in their 16 bytes here: a kind's usable bytes are these and `head`. One sum of both is all that is
 * kept, so that a call needs no register of its caller's.
 */
MEM_INLINE_FN struct mem_inline_kind *mem_inline_kind(struct mem_inline_shm *own, uint64_t kind)
{
	return (struct mem_inline_kind *)(void *)((char *)own->kind + kind);
}

MEM_INLINE_FN mem_inline_word *mem_inline_chain(mem_inline_word *op, uint64_t usable)
{
	return (mem_inline_word *)(void *)((char *)op + MEM_INLINE_CHAINS - 16 + usable);
}

MEM_INLINE_FN mem_inline_word *mem_inline_tail(uintptr_t fragment, uint64_t usable)
{
	return (mem_inline_word *)(fragment + usable - 8);
}

/* The thread's own, but for a signal handler of its. */
#define MEM_INLINE_MINE(word) (*(volatile __typeof__(word) *)&(word))

/*
 * A word of the place in code that this is compiled into, wherever the compiler puts it, and each copy of it: its
 * number, once the library has told. 0: not yet
 */
MEM_INLINE_FN uint32_t *mem_inline_number(void)
{
	uint32_t *number;

	__asm__ volatile(".pushsection .bss.memapi_places, \"aw\", @nobits\n\t"
			 ".balign 4\n"
			 "9:\t.zero 4\n\t"
			 ".popsection\n\t"
			 "leaq 9b(%%rip), %0"
			 : "=r"(number));
	return number;
}

/* ---- take ---- */

MEM_INLINE_FN bool mem_inline_shm_open(const struct mem_inline_shm *own, uint64_t now)
{
	const char *wanted = (const char *)own->records - MEM_INLINE_WANTED;

	/* relaxed: numbers, as in mem_inline_open() */
	return !mem_inline_rarely(MEM_INLINE_GET(own->now) != now) &&
	       !mem_inline_rarely(__atomic_load_n((const uint64_t *)(const void *)wanted, __ATOMIC_RELAXED) !=
				  __atomic_load_n(own->followed, __ATOMIC_RELAXED));
}

/** A fragment of `bytes` or more, or NULL: call. @site: number of the place in code, not 0 */
MEM_INLINE_FN void *mem_inline_shm_take(struct mem_inline_shm *own, size_t bytes, uint32_t site, uint64_t now)
{
	uint64_t usable, word, fragment;
	struct mem_inline_record *record;
	struct mem_inline_place *place;
	struct mem_inline_kind *of;
	mem_inline_word *op;

	if (mem_inline_rarely(bytes - 1 >= MEM_INLINE_SHM_MOST) || !mem_inline_shm_open(own, now))
		return NULL;
	op = own->op;
	if (mem_inline_rarely(*op != MEM_INLINE_OP_NONE))
		return NULL;
	MEM_INLINE_SET(*op, MEM_INLINE_OP_BEGIN);	/* before the place is looked at: it is ours from here on */
	usable = own->head;
	of = mem_inline_kind(own, (bytes + 23 - usable) & ~(uint64_t)15);
	usable += (bytes + 23 - usable) & ~(uint64_t)15;
	place = of->top;
	fragment = MEM_INLINE_MINE(place->fragment);
	if (mem_inline_rarely(!fragment)) {
		MEM_INLINE_SET(*op, MEM_INLINE_OP_NONE);
		return NULL;
	}
	word = MEM_INLINE_MINE(place->word);
	MEM_INLINE_SET(*op, word);			/* a take of this one */
	MEM_INLINE_SET(*mem_inline_chain(op, usable), MEM_INLINE_MINE(place[-1].word));
	word >>= 16;
	record = &own->records[word];
	MEM_INLINE_SET(record->requested, (uint32_t)bytes << 2);
	MEM_INLINE_SET(*(mem_inline_word *)&record->site, own->mine | site);
	MEM_INLINE_SET(record->time, own->mark += 1ull << 32);
	MEM_INLINE_SET(*mem_inline_tail(fragment, usable), word | own->generation);
	of->top = place - 1;
	MEM_INLINE_SET(*op, MEM_INLINE_OP_NONE);
	return (void *)fragment;
}

/* ---- put ---- */

/** true: it was a fragment of our own in use, and is in a magazine now. false: call. */
MEM_INLINE_FN bool mem_inline_shm_put(struct mem_inline_shm *own, void *fragment, uint32_t site)
{
	uint64_t kind, usable, index, word;
	struct mem_inline_record *record;
	struct mem_inline_place *place;
	struct mem_inline_kind *of;
	uintptr_t at = (uintptr_t)fragment;
	mem_inline_word *op;

	__asm__("" : "+r"(at));		/* for the compiler: of whatever object, its head is there, too */
	/* relaxed: the mapping is there before */
	if (mem_inline_rarely(at - MEM_INLINE_GET(own->first) >= __atomic_load_n(own->reach, __ATOMIC_RELAXED)))
		return false;
	usable = own->head;
	kind = (*(const mem_inline_word *)(at - usable) & MEM_INLINE_SIZE) - 2 * usable;
	if (mem_inline_rarely(kind >= 16 * MEM_INLINE_KINDS))
		return false;
	/* which is not believed: tail and record have to agree */
	usable += kind;
	index = *mem_inline_tail(at, usable) ^ own->generation;
	if (mem_inline_rarely(index >= own->records_max))
		return false;
	record = &own->records[index];
	op = own->op;
	if (mem_inline_rarely(record->address != at) || mem_inline_rarely(record->eighths != (uint32_t)usable / 8) ||
	    mem_inline_rarely(record->slot != own->mine >> 32) || mem_inline_rarely(*op != MEM_INLINE_OP_NONE))
		return false;
	index <<= 16;
	MEM_INLINE_SET(*op, index + MEM_INLINE_OP_FREE);	/* before the place is looked at */
	of = mem_inline_kind(own, kind);
	place = of->top;
	word = MEM_INLINE_MINE(place->word);
	if (mem_inline_rarely(!(word & MEM_INLINE_ROOMS))) {
		MEM_INLINE_SET(*op, MEM_INLINE_OP_NONE);
		return false;
	}
	MEM_INLINE_SET(record->slot, (uint32_t)(own->mine >> 32) | MEM_INLINE_CACHED);
	MEM_INLINE_SET(record->time, word << 16 | site);
	word = index + (word & 0xffff) + 1 - 0x100;
	MEM_INLINE_SET(*mem_inline_chain(op, usable), word);
	MEM_INLINE_SET(place[1].word, word);
	MEM_INLINE_SET(place[1].fragment, (uint64_t)at);
	of->top = place + 1;
	MEM_INLINE_SET(*op, MEM_INLINE_OP_NONE);
	return true;
}

#ifdef __cplusplus
}
#endif
#endif /* __GNUC__ */
#endif /* MEMAPI_INLINE_SHM_H */
