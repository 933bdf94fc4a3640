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
 * here in that order.
 *
 * The number of a place in code is asked for once: each place that this is compiled into has a word for it. Some 180
 * bytes of code a malloc, 190 a free.
 */
#ifndef MEMAPI_INLINE_SHM_H
#define MEMAPI_INLINE_SHM_H

#include <memapi/inline.h>
#include <time.h>

#ifdef __GNUC__

#ifdef __cplusplus
extern "C" {
#endif

enum { MEM_INLINE_SHM_MOST = 1024 };	/* usable bytes of what is in magazines */
/* What `op` says, and a record's flags: enum magazine_op, RECORD_CACHED of the library. */
enum { MEM_INLINE_OP_NONE, MEM_INLINE_OP_FREE = 0x8000, MEM_INLINE_OP_BEGIN, MEM_INLINE_CACHED = 2 };
/* Of a chain's word: how many there are, how many more there may be; the newest one's record above. */
enum { MEM_INLINE_COUNT = 0xff, MEM_INLINE_ROOM = 0x100, MEM_INLINE_ROOMS = 0xff00 };
/* Of the lower half of the word before a fragment: its size, with the head. */
#define MEM_INLINE_SIZE 0xfffffff0u
/* From the first record back to what an operator wants; from `op` to the chains. */
enum { MEM_INLINE_WANTED = 0x4000000 - 0x1000 - 256, MEM_INLINE_CHAINS = 64 };

typedef uint32_t __attribute__((may_alias)) mem_inline_half;

/** A record in META. */
struct mem_inline_record {
	mem_inline_word address;
	mem_inline_half eighths, requested;	/* usable bytes / 8; 4 x what was asked for */
	mem_inline_half site;
	unsigned char slot[2], flags[2];
	mem_inline_word time; /* in use: clock; else the chain's word of before << 16 | the free's site */
};

/** Of the process: what it has followed of what is wanted, and the largest request that magazines serve since. */
struct mem_inline_followed { uint64_t features, most; };

/** Of a thread: a page of private memory, zeros in a forked child. Few lines of it: see docs/decisions/0033. */
struct mem_inline_shm {
	char other_stamps[64 * MEMAPI_INLINE_STAMP];
	uint64_t now;			/* take: time(), 0: closed */
	uint64_t span;			/* put: where small fragments are, address - from < span; 0: closed */
	/* -- of this stamp -- */
	uint64_t from;
	const struct mem_inline_followed *followed;
	mem_inline_word *op;
	struct mem_inline_record *records;
	uint64_t head;			/* bytes of a head that a fragment of 16 n has for its own: 8, or 0 */
	uint64_t records_max;
	char more_stamps[64 * (31 - MEMAPI_INLINE_STAMP)];
	/* -- of this stamp -- */
	uint64_t generation;
	uint64_t mine;			/* number of the slot << 32 */
	char rest[4096 - 64 * 32 - 16];
};

struct mem_inline_shm_self {
	struct mem_inline_shm *own;
	/* -- of this stamp -- */
	mem_inline_word clock;		/* seconds since the pool was made, at `now` | stamp of the last record << 32 */
};
extern __thread struct mem_inline_shm_self memapi_shm_self
	__attribute__((tls_model("initial-exec"), visibility("default")));

/* Usable bytes less 16 stand for a size: `over`. */
MEM_INLINE_FN mem_inline_word *mem_inline_chain(mem_inline_word *op, uint64_t over)
{
	return (mem_inline_word *)(void *)((char *)op + MEM_INLINE_CHAINS + over);
}

MEM_INLINE_FN mem_inline_word *mem_inline_tail(uintptr_t fragment, uint64_t over)
{
	return (mem_inline_word *)(fragment + over + 8);
}

/*
 * A store of 8 bytes that a killed process leaves in this order with the others: one instruction, at whatever place it
 * finds by itself (gcc works out the address of a volatile one first, which takes a register).
 */
#if defined(__x86_64__) && !defined(MEM_INLINE_WATCHED)
#define MEM_INLINE_STORE(word, value) __asm__ volatile("movq %1, %0" : "=m"(word) : "er"((uint64_t)(value)))
#else
#define MEM_INLINE_STORE(word, value) MEM_INLINE_SET(word, value)
#endif

/*
 * A word of the place in code that this is compiled into, wherever the compiler puts it, and each copy of it: its
 * number, once the library has told; before that UNTOLD. Where the library does not serve places, as those of another
 * stamp, it notes the number there for its own use, with the upper two bits: whatever has the uppermost one is a call,
 * for all stamps.
 */
#define MEM_INLINE_UNTOLD (0x80000000u | MEMAPI_INLINE_STAMP)
#define MEM_INLINE_NOTED 0xc0000000u

MEM_INLINE_FN uint32_t *mem_inline_number(void)
{
	uint32_t *number;

	__asm__ volatile(".pushsection .data.memapi_places, \"aw\", @progbits\n\t"
			 ".balign 4\n"
			 "9:\t.long %c1\n\t"
			 ".popsection\n\t"
			 "leaq 9b(%%rip), %0"
			 : "=r"(number) : "i"(MEM_INLINE_UNTOLD));
	return number;
}

MEM_INLINE_FN bool mem_inline_numbered(uint32_t number) { return !mem_inline_rarely(number & 0x80000000u); }

/*
 * Around what a call does between two stores to `op`. A signal handler that comes before has left all as it should be;
 * one that comes after finds it so; one that comes in between keeps out. And the caller uses his fragment outside.
 */
#define MEM_INLINE_FENCE() __atomic_signal_fence(__ATOMIC_SEQ_CST)

/* For the compiler another number, so that an address made of it is not kept in a register meanwhile. */
#define MEM_INLINE_AGAIN(number) __asm__("" : "+r"(number))

/* ---- take ---- */

/** What is wanted is what was followed, it is still the same second, and magazines serve so many bytes. */
MEM_INLINE_FN bool mem_inline_shm_open(const struct mem_inline_shm *own, const struct mem_inline_record *records,
				       size_t bytes, uint64_t now)
{
	const uintptr_t wanted = (uintptr_t)records - MEM_INLINE_WANTED;	/* a number: in a child it is of none */
	const struct mem_inline_followed *followed = own->followed;

	/* relaxed: numbers, as in mem_inline_open() */
	return !mem_inline_rarely(MEM_INLINE_GET(own->now) != now) &&
	       !mem_inline_rarely(bytes - 1 >= MEM_INLINE_GET(followed->most)) &&
	       !mem_inline_rarely(__atomic_load_n((const uint64_t *)wanted, __ATOMIC_RELAXED) !=
				  MEM_INLINE_GET(followed->features));
}

/** A fragment of `bytes` or more, or NULL: call. @site: number of the place in code, not 0 */
MEM_INLINE_FN void *mem_inline_shm_take(struct mem_inline_shm *own, size_t bytes, uint32_t site, uint64_t now)
{
	uint64_t head, over, word, index, fragment, below;
	struct mem_inline_record *records = own->records, *record;
	mem_inline_word *op;

	if (!mem_inline_shm_open(own, records, bytes, now))
		return NULL;
	op = own->op;
	if (mem_inline_rarely(*op != MEM_INLINE_OP_NONE))
		return NULL;
	MEM_INLINE_STORE(*op, MEM_INLINE_OP_BEGIN);	/* before the chain is looked at: it is ours from here on */
	MEM_INLINE_FENCE();
	head = own->head;
	over = ((bytes + head + 7) & ~(uint64_t)15) - head;
	word = *mem_inline_chain(op, over);
	if (mem_inline_rarely(!(word & MEM_INLINE_COUNT))) {
		MEM_INLINE_STORE(*op, MEM_INLINE_OP_NONE);
		return NULL;
	}
	MEM_INLINE_STORE(*op, word);			/* a take of this one */
	index = word >> 16;
	record = &records[index];
	fragment = record->address;
	below = record->time >> 16;
	MEM_INLINE_AGAIN(over);
	MEM_INLINE_STORE(*mem_inline_chain(op, over), below);
	MEM_INLINE_SET(record->requested, (uint32_t)bytes << 2);
	MEM_INLINE_STORE(*(mem_inline_word *)&record->site, own->mine | site);
	word = memapi_shm_self.clock + ((uint64_t)1 << 32);	/* the next stamp */
	MEM_INLINE_SET(memapi_shm_self.clock, word);
	MEM_INLINE_STORE(record->time, word);
	MEM_INLINE_STORE(*mem_inline_tail(fragment, over), index | own->generation);
	MEM_INLINE_FENCE();
	MEM_INLINE_STORE(*op, MEM_INLINE_OP_NONE);
	if (!fragment)
		__builtin_unreachable();	/* so that callers do not ask again */
	return (void *)fragment;
}

/* ---- put ---- */

/**
 * true: it was a fragment of our own in use, and is in a magazine now. false: call.
 * @fragment: of no object that the compiler knows, its head is there, too
 */
MEM_INLINE_FN bool mem_inline_shm_put(struct mem_inline_shm *own, void *fragment, uint32_t site)
{
	uint64_t head = own->head, over, index, word;
	struct mem_inline_record *record;
	uintptr_t at = (uintptr_t)fragment;
	mem_inline_word *op;

	if (mem_inline_rarely(at - MEM_INLINE_GET(own->from) >= MEM_INLINE_GET(own->span)))
		return false;
	over = (*(const mem_inline_half *)(at + head - 16) & MEM_INLINE_SIZE) + head - 32;
	if (mem_inline_rarely(over > MEM_INLINE_SHM_MOST - 16))
		return false;
	/* which is not believed: tail and record have to agree */
	index = *mem_inline_tail(at, over) ^ own->generation;
	if (mem_inline_rarely(index >= own->records_max))
		return false;
	record = &own->records[index];
	op = own->op;
	if (mem_inline_rarely(record->address != at) ||
	    mem_inline_rarely(record->eighths != (uint32_t)(over + 16) / 8) ||
	    mem_inline_rarely(*(const mem_inline_half *)(const void *)record->slot != own->mine >> 32) ||
	    mem_inline_rarely(*op != MEM_INLINE_OP_NONE))
		return false;
	index <<= 16;
	MEM_INLINE_STORE(*op, index + MEM_INLINE_OP_FREE);	/* before the chain is looked at */
	MEM_INLINE_FENCE();
	word = *mem_inline_chain(op, over);
	if (mem_inline_rarely(!(word & MEM_INLINE_ROOMS))) {
		MEM_INLINE_STORE(*op, MEM_INLINE_OP_NONE);
		return false;
	}
	MEM_INLINE_SET(record->flags[0], MEM_INLINE_CACHED);	/* there was none */
	MEM_INLINE_STORE(record->time, word << 16 | site);
	word = index + (word & (MEM_INLINE_COUNT | MEM_INLINE_ROOMS)) + 1 - MEM_INLINE_ROOM;
	MEM_INLINE_AGAIN(over);
	MEM_INLINE_STORE(*mem_inline_chain(op, over), word);
	MEM_INLINE_FENCE();
	MEM_INLINE_STORE(*op, MEM_INLINE_OP_NONE);
	return true;
}

#ifdef __cplusplus
}
#endif
#endif /* __GNUC__ */
#endif /* MEMAPI_INLINE_SHM_H */
