/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Magazines and the op record of the shared pool: src/mem/front/slot_magazine.h slot_magazine.c owner.c, and the pass of
 * src/mem/reap/reclaim.c.
 *
 *	chain[s]	count << 4 | newest record		beside[s], depot: such words, too
 *	op[s]		record << 2 | NONE BEGIN ALLOC FREE
 *	inuse[f]	for the manager, and by its record's address
 *	owner[f]	its record: slot, CACHED, CLAIMED: one word	next[f]: `time`
 *
 * Two owners make OPS calls each and leave, reapers pass once each; up to KILLS are killed, between any two stores. A
 * signal handler comes once in a life, between two stores of a take or put. A transaction is one step here: lock.pml is why
 * it may be. Stores in it that are not logged are steps. One class, fragment f has record f; a slot's other chain gets
 * and gives fragments by turn() alone.
 * Assumed: no program frees what it was told to be reclaimed after somebody got it again (on_death = reclaim).
 *
 * Holds: what is handed out is in no chain and with nobody else; what the manager gets back is with no program; at the
 * end each fragment is in just one place.
 */
#ifndef FRAGMENTS
#define FRAGMENTS 2
#endif
#ifndef OPS
#define OPS 1
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef REAPERS
#define REAPERS 1
#endif
#ifndef HANDLERS
#define HANDLERS 1
#endif

#define NONE 0
#define BEGIN 1
#define ALLOC 2
#define FREE 3
#define OP(kind, f) ((f) << 2 | (kind))
#define KIND(op) ((op) & 3)
#define RECORD(op) ((op) >> 2)

#define COUNT(word) ((word) >> 4)
#define HEAD(word) ((word) & 15)
#define CHAIN(count, head) ((count) << 4 | (head))
#define DEPTH 2

#define CACHED 4
#define CLAIMED 8
#define SLOT(word) ((word) & 3)
#define FLAGS(word) ((word) & ~3)

#define LIVE 0
#define LEFT 1
#define DEAD 2

byte chain[2], beside[2], op[2], depot, owner[FRAGMENTS], next[FRAGMENTS];
bool inuse[FRAGMENTS];
byte lock, state[2];			/* lock: process + 1; of the dead it is taken over */
bool dead[2 + REAPERS];
byte ended;

/* ghost: whose a fragment is */
#define NOBODY 0
#define PROGRAM 1			/* any of its processes may free it, once */
#define FREED_BY 2			/* + slot: on its way in there */
byte with[FRAGMENTS];

inline enter(process) { atomic { lock == 0 || (lock <= 2 + REAPERS && dead[lock - 1]) -> lock = (process) + 1 } }
inline let_go() { lock = 0 }

inline no_chain_has(f)		/* d_step */
{
	assert(!COUNT(chain[0]) || HEAD(chain[0]) != f);
	assert(!COUNT(chain[1]) || HEAD(chain[1]) != f);
	assert(!COUNT(beside[0]) || HEAD(beside[0]) != f);
	assert(!COUNT(beside[1]) || HEAD(beside[1]) != f);
	assert(!COUNT(depot) || HEAD(depot) != f)
}

/* A fragment whose record says that it is in a magazine, or on its way, goes to the manager. */
inline give_up(f)
{
	assert(inuse[f] && with[f] == NOBODY);
	inuse[f] = false
}

/* A fragment that the manager has. Nobody frees it meanwhile: see the assumption. */
inline pick()
{
	f = 0;
	do
	:: f == FRAGMENTS -> break
	:: f < FRAGMENTS && !inuse[f] && with[f] == NOBODY -> break
	:: f < FRAGMENTS && (inuse[f] || with[f] != NOBODY) -> f++
	od
}

/* ---- a signal handler of an owner's thread: all of it between two of its steps ---- */

inline handler()
{
	if
	:: atomic { handlers < HANDLERS ->
		handlers++;
		if
#ifdef BUG_HANDLER_ENTERS
		:: COUNT(chain[me]) > 0 ->
#else
		:: op[me] == NONE && COUNT(chain[me]) > 0 ->
#endif
			h = HEAD(chain[me]);
			assert(inuse[h] && with[h] == NOBODY);
			chain[me] = CHAIN(COUNT(chain[me]) - 1, next[h]);
			owner[h] = me;
			next[h] = 0;
			with[h] = PROGRAM;
			op[me] = NONE;
			h = 0
		:: else
		fi }
	:: skip
	fi
}

/* ---- slot_magazine.h ---- */

inline take()		/* slot_take() */
{
	if
	:: op[me] == NONE ->
		handler();
#ifdef BUG_BEGIN_LATE
		word = chain[me];
		handler();
		op[me] = OP(BEGIN, 0);
#else
		op[me] = OP(BEGIN, 0);
		handler();
		word = chain[me];
#endif
		f = HEAD(word);
		if
		:: COUNT(word) == 0 -> op[me] = NONE
		:: else ->
#ifdef BUG_OP_NAMES_NOTHING
			op[me] = OP(BEGIN, 0);
#else
			op[me] = OP(ALLOC, f);
#endif
			handler();
#ifdef BUG_TAKE_OP_CLEARED_FIRST
			owner[f] = me;
			d_step { n = next[f]; next[f] = 0 };
			op[me] = NONE;
			chain[me] = CHAIN(COUNT(word) - 1, n);
#else
			chain[me] = CHAIN(COUNT(word) - 1, next[f]);
			handler();
			owner[f] = me;
			next[f] = 0;
#endif
			d_step {	/* until here it has not happened */
				assert(inuse[f] && with[f] == NOBODY);
				no_chain_has(f);
				op[me] = NONE;
				with[f] = PROGRAM
			}
		fi;
	:: else
	fi;
	atomic { f = 0; word = 0 }
}

inline give_to_manager()	/* front_free() of f, with the lock */
{
	enter(me);
	if
	:: inuse[f] && !(owner[f] & CACHED) && with[f] == FREED_BY + me ->
		d_step { inuse[f] = false; with[f] = NOBODY; no_chain_has(f) }
	:: else -> if :: with[f] == FREED_BY + me -> with[f] = NOBODY :: else fi	/* MEM_WILD_FREE: reclaimed */
	fi;
	let_go()
}

inline put()		/* slot_put() of a fragment of the program */
{
	f = 0;
	do
	:: atomic { f < FRAGMENTS && with[f] == PROGRAM -> with[f] = FREED_BY + me; break }
	:: f < FRAGMENTS -> f++
	:: f == FRAGMENTS -> break
	od;
	if
	:: f < FRAGMENTS ->
		was = owner[f];
		ok = inuse[f] && !FLAGS(was);			/* record_of(); what has a flag is for the manager */
		if
		:: ok ->
#ifdef BUG_PUT_LOOKS_EARLY
			word = chain[me];
			handler();
			op[me] = OP(FREE, f);
#else
			op[me] = OP(FREE, f);
			handler();
			word = chain[me];
#endif
			if
			:: COUNT(word) == DEPTH -> ok = false
#ifdef BUG_PLAIN_FOREIGN
			:: COUNT(word) < DEPTH -> d_step { owner[f] = me | CACHED; with[f] = NOBODY }
#else
			:: COUNT(word) < DEPTH && was == me ->		/* slot_put_own() */
				d_step { owner[f] = me | CACHED; with[f] = NOBODY }	/* it has happened */
			:: COUNT(word) < DEPTH && was != me ->
				atomic {			/* put_other(): compare and exchange */
					if
					:: owner[f] == was -> owner[f] = me | CACHED; with[f] = NOBODY
					:: else -> ok = false
					fi
				}
#endif
			fi;
			if
			:: ok ->
				next[f] = HEAD(word);
#ifdef BUG_PUT_OP_CLEARED_FIRST
				op[me] = NONE;
				chain[me] = CHAIN(COUNT(word) + 1, f)
#else
				chain[me] = CHAIN(COUNT(word) + 1, f);
				op[me] = NONE
#endif
			:: else -> op[me] = NONE
			fi
		:: else
		fi;
		if
		:: !ok -> give_to_manager()
		:: else
		fi
	:: else
	fi;
	atomic { f = 0; word = 0; was = 0; ok = false }
}

/* ---- slot_magazine.c ---- */

inline turn()		/* slot_turn(): without the lock; after a take that found nothing, or a put that found no room */
{
	if
	:: op[me] == NONE ->
		op[me] = OP(BEGIN, 0);
		handler();
		word = chain[me];
		if
		:: COUNT(word) == 0 && COUNT(beside[me]) > 0 ->
#ifdef BUG_TURN_EMPTIES_FIRST
			d_step { n = beside[me]; beside[me] = 0 };
			chain[me] = n;
			n = 0
#else
			chain[me] = beside[me];
			beside[me] = 0
#endif
		:: COUNT(word) == DEPTH && COUNT(beside[me]) == 0 ->
			beside[me] = word;
			chain[me] = 0
		:: else
		fi;
		op[me] = NONE;
		word = 0
	:: else
	fi
}

inline drain_one(at)	/* a transaction a fragment */
{
	do
	:: d_step { COUNT(at) > 0 ->
		n = HEAD(at);
		at = CHAIN(COUNT(at) - 1, next[n]);
		give_up(n);
		n = 0 }
	:: else -> break
	od
}

inline drain(s)		/* empty_of() */
{
#ifndef BUG_TURNED_EMPTIED_TWICE
	if
	:: d_step { COUNT(chain[s]) && COUNT(beside[s]) && HEAD(chain[s]) == HEAD(beside[s]) -> beside[s] = 0 }
	:: else
	fi;
#endif
	drain_one(chain[s]);
	drain_one(beside[s])
}

inline refill()		/* slot_refill(): from the depot, else one from the manager */
{
	enter(me);
	op[me] = OP(BEGIN, 0);
	if
	:: COUNT(chain[me]) == 0 && COUNT(depot) > 0 ->
		d_step { chain[me] = depot; depot = 0 }		/* from_depot() */
	:: COUNT(chain[me]) == 0 && COUNT(depot) == 0 ->
		pick();
		if
		:: f < FRAGMENTS ->				/* refill_one() */
			owner[f] = me | CACHED;			/* not logged */
			next[f] = HEAD(chain[me]);
			d_step { no_chain_has(f); inuse[f] = true; chain[me] = CHAIN(COUNT(chain[me]) + 1, f) }
		:: else
		fi
	:: else
	fi;
	op[me] = NONE;
	let_go();
	f = 0
}

inline unload()		/* slot_unload(): to the depot, where there is room, else to the manager; slot_give_back() */
{
	enter(me);
	op[me] = OP(BEGIN, 0);
	if
	:: COUNT(chain[me]) > 0 && COUNT(depot) == 0 ->
		d_step { depot = chain[me]; chain[me] = 0 }	/* to_depot() */
	:: COUNT(chain[me]) > 0 -> drain(me)
	:: else
	fi;
	op[me] = NONE;
	let_go()
}

inline allocate()	/* front_alloc() by the manager */
{
	enter(me);
	pick();
	if
	:: f < FRAGMENTS ->
		owner[f] = me;					/* not logged */
		d_step { no_chain_has(f); inuse[f] = true; with[f] = PROGRAM }
	:: else
	fi;
	let_go();
	f = 0
}

proctype user(byte me)
{
	byte f, word, was, n, h, ops, handlers;
	bool ok;

	{
		do
		:: ops < OPS -> take(); ops++
		:: ops < OPS -> put(); ops++
		:: ops < OPS -> turn(); ops++
		:: ops < OPS -> refill(); ops++
		:: ops < OPS -> unload(); ops++
		:: ops < OPS -> allocate(); ops++
		:: break
		od;
		enter(me);
		drain(me);		/* leave_all() */
		let_go();
		state[me] = LEFT
	} unless { d_step { dead[me] && state[me] != LEFT -> f = 0; word = 0; was = 0; n = 0; h = 0; ops = 0; ok = false; handlers = 0 } };
	ended++
}

/* ---- after the owner ---- */

#ifdef BUG_FINISH_ANY_FREE
#define UNDER_WAY(s) (KIND(op[s]) == ALLOC || KIND(op[s]) == FREE)
#else
#define UNDER_WAY(s) (KIND(op[s]) == ALLOC || (KIND(op[s]) == FREE && owner[RECORD(op[s])] == (s | CACHED)))
#endif

inline bury(s)		/* slot_bury() */
{
	if
	:: state[s] == LIVE && dead[s] -> state[s] = DEAD
	:: else
	fi
}

inline settle(s)	/* shm_front_settle() */
{
	if
	:: state[s] == DEAD && (op[s] != NONE || COUNT(chain[s]) || COUNT(beside[s])) ->
		enter(process);
		d_step {	/* finish() */
			if
			:: UNDER_WAY(s) && inuse[RECORD(op[s])] &&
			   !(COUNT(chain[s]) && HEAD(chain[s]) == RECORD(op[s])) &&
			   !(COUNT(beside[s]) && HEAD(beside[s]) == RECORD(op[s])) ->
				n = RECORD(op[s]);
				give_up(n);
				n = 0
			:: else
			fi;
			op[s] = NONE
		};
		let_go();
		enter(process);
		drain(s);
		let_go()
	:: else
	fi
}

inline decide(f)	/* shm_front_reclaim(): on_death = reclaim */
{
	was = owner[f];
	if
	:: inuse[f] && !(was & CACHED) && state[SLOT(was)] == DEAD ->
		n = SLOT(was);
		enter(process);
		was = owner[f];
		if
#ifdef BUG_DECIDE_UNSETTLED
		:: inuse[f] && SLOT(was) == n && !(was & CACHED) && state[n] == DEAD ->
#else
		:: inuse[f] && SLOT(was) == n && !(was & CACHED) && state[n] == DEAD && op[n] == NONE ->
#endif
#ifndef BUG_NO_CLAIM
			atomic {	/* claim(): compare and exchange */
				if
				:: owner[f] == was -> owner[f] = was | CLAIMED; ok = true
				:: else
				fi
			};
#else
			ok = true;
#endif
			if
			:: ok -> d_step { no_chain_has(f); inuse[f] = false; if :: with[f] == PROGRAM -> with[f] = NOBODY :: else fi }
			:: else
			fi
		:: else
		fi;
		let_go();
		n = 0
	:: else
	fi;
	atomic { was = 0; ok = false }
}

inline reap()
{
	bury(0);
	bury(1);
	settle(0);
	settle(1);
	bury(0);		/* slot_reap() */
	bury(1);
	for (i : 0 .. FRAGMENTS - 1) {
		decide(i)
	};
	i = 0
}

proctype reaper(byte process)
{
	byte i, n, was;
	bool ok;

	{ reap() } unless { dead[process] -> i = 0; n = 0; was = 0; ok = false };
	ended++
}

active proctype killer()
{
	byte k;

	do
	:: d_step { k < KILLS && !dead[0] && state[0] != LEFT -> dead[0] = true; k++ }
	:: d_step { k < KILLS && !dead[1] && state[1] != LEFT -> dead[1] = true; k++ }
	:: d_step { k < KILLS && !dead[1 + REAPERS] -> dead[1 + REAPERS] = true; k++ }
	:: break
	od;
	k = 0;
	ended++
}

/* Starts them, and is the reaper at the end, of whom nobody is left to be seen. */
init
{
	byte process = 2 + REAPERS, i, n, was, f, places;
	bool ok;

	atomic {
		for (f : 0 .. FRAGMENTS - 1) {		/* they have worked before */
			if
			:: skip
			:: COUNT(chain[0]) < DEPTH ->
				inuse[f] = true; owner[f] = 0 | CACHED;
				next[f] = HEAD(chain[0]); chain[0] = CHAIN(COUNT(chain[0]) + 1, f)
			:: COUNT(beside[0]) == 0 -> inuse[f] = true; owner[f] = 0 | CACHED; beside[0] = CHAIN(1, f)
			:: COUNT(depot) == 0 -> inuse[f] = true; owner[f] = 1 | CACHED; depot = CHAIN(1, f)
			:: inuse[f] = true; owner[f] = 0; with[f] = PROGRAM
			fi
		};
		f = 0;
		run user(0);
		run user(1);
		for (i : 2 .. 1 + REAPERS) { run reaper(i) };
		i = 0
	};
	ended == 3 + REAPERS;
	reap();
	atomic {
		for (f : 0 .. FRAGMENTS - 1) {
			places = 0;
			if :: !inuse[f] -> places++ :: else fi;
			if :: inuse[f] && !(owner[f] & CACHED) -> places++ :: else fi;	/* used, as its record says */
			was = depot;
			do
			:: COUNT(was) > 0 ->
				if
				:: HEAD(was) == f -> assert(inuse[f] && (owner[f] & CACHED)); places++
				:: else
				fi;
				was = CHAIN(COUNT(was) - 1, next[HEAD(was)])
			:: else -> break
			od;
			assert(places == 1);
			assert(with[f] != PROGRAM || (inuse[f] && !(owner[f] & CACHED)))
		};
		assert(op[0] == NONE && op[1] == NONE && !COUNT(chain[0]) && !COUNT(chain[1]) && !COUNT(beside[0]) &&
		       !COUNT(beside[1]))
	}
}
