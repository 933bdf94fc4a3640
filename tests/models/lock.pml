/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pool's lock and its take-over with rollback: src/mem/meta/lock.c lock.h, include/memapi/undo.h.
 *
 *	lock	turn | slot + 1, 3 bits | waiters, 1 bit	slots are not given on here: that is slot.pml
 *	repair	slot + 1 of who rolls back
 *	pair[]	two words of the pool, equal whenever a call is over
 *	log[s]	the undo log of slot s: n, and what the words held
 *
 * N owners change the pair in a transaction, ROUNDS times each, then bury the dead. Up to KILLS of them are killed, each
 * between any two of its steps, also while it repairs. A step is one load or store of shared memory.
 *
 * Holds: one has the lock; who takes it finds what the last ended transaction left, and all logs empty; only of the dead
 * it is taken; nothing names a slot that was buried; everybody comes to an end (run with -DNP -l -f: no fair cycle).
 */
#ifndef N
#define N 3
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef KILLS
#define KILLS 2
#endif

#define WAITERS 1
#define LOW(word) ((word) & 15)
#define SLOT(word) (((word) >> 1) & 7)
#define FREED(word) ((word) & ~15)
#define TAG(me) (((me) + 1) << 1)
#define GONE(word) (SLOT(word) && dead[SLOT(word) - 1])	/* owner_gone(): the kernel's word */
#define ODD 99						/* what the pair holds in the middle of a transaction */

typedef entry { bit word; byte old }
typedef undo { byte n; entry e[3] }

short lock;
byte repair, pair[2];
undo log[N];

bool dead[N];
byte holder;		/* ghost: slot + 1 of who has the lock */
byte good;		/* ghost: what the last ended transaction left in both words */
#ifdef BUG_NO_TIMEOUT
bool sleeps[N];
#endif

inline wake_one()	/* futex_wake(word, 1) */
{
#ifdef BUG_NO_TIMEOUT
	atomic {
		if
		:: sleeps[0] -> sleeps[0] = false
		:: sleeps[1] -> sleeps[1] = false
		:: sleeps[2] -> sleeps[2] = false
		:: !sleeps[0] && !sleeps[1] && !sleeps[2]
		fi
	}
#else
	skip
#endif
}

inline wake_all()	/* futex_wake(word, INT_MAX) */
{
#ifdef BUG_NO_TIMEOUT
	d_step { sleeps[0] = false; sleeps[1] = false; sleeps[2] = false }
#else
	skip
#endif
}

/* ---- undo.h ---- */

inline set(x, value)	/* HEAP_SET(): undo_note(), then the store */
{
#ifdef BUG_COUNTS_FIRST
	log[me].n++;
	d_step { log[me].e[log[me].n - 1].word = x; log[me].e[log[me].n - 1].old = pair[x] };
#else
	d_step { log[me].e[log[me].n].word = x; log[me].e[log[me].n].old = pair[x] };	/* nobody looks yet */
	log[me].n++;			/* an entry is whole before it counts */
#endif
	pair[x] = value			/* and counts before its word changes */
}

inline commit(value)	/* undo_commit() of one's own log: from here on it has happened */
{
	d_step { log[me].n = 0; good = value }
}

/* ---- lock.h ---- */

inline try(mark)	/* lock_try_word() */
{
	was = lock;
	if
	:: LOW(was) == 0 ->
		atomic {	/* compare and exchange */
			if
			:: lock == was ->
				lock = was + 16 + TAG(me) + mark;
				assert(holder == 0);
				holder = me + 1;
				assert(pair[0] == good && pair[1] == good);
				assert(log[0].n == 0 && log[1].n == 0 && log[N - 1].n == 0);
				got = true
			:: else
			fi
		}
	:: else
	fi
}

inline leave()		/* lock_leave_word() */
{
	was = lock;
	d_step {	/* a plain store: a mark that came since the load is lost */
		assert((lock & ~WAITERS) == (was & ~WAITERS));
		holder = 0;
		lock = FREED(was)
	}
	if
	:: was & WAITERS -> wake_one()
	:: else
	fi
}

/* ---- lock.c ---- */

inline roll_back()	/* roll_back() of `word` */
{
	d = SLOT(word) - 1;
	assert(dead[d] && holder == d + 1);
	if
	:: log[d].n > 0 ->
#ifdef BUG_COMMIT_FIRST
		n = log[d].n;
		log[d].n = 0;
#else
		n = log[d].n;
#endif
#ifdef BUG_OLDEST_FIRST
		was = 0;
		do
		:: was < n -> pair[log[d].e[was].word] = log[d].e[was].old; was++
		:: else -> break
		od;
#else
		do
		:: n > 0 -> n--; pair[log[d].e[n].word] = log[d].e[n].old
		:: else -> break
		od;
#endif
		n = 0
	:: else
	fi;
	log[d].n = 0;			/* undo_commit(): after the words */
	d_step {
		assert((lock & ~WAITERS) == (word & ~WAITERS));	/* only we may change it */
		holder = 0;
		lock = FREED(word)
	}
	wake_all();
	d = 0
}

inline take_over()
{
	was = repair;			/* begin_repair() */
	if
	:: was && !dead[was - 1]
	:: else ->
		got = false;
#ifdef BUG_NO_REPAIR_WORD
		got = true;
#else
		atomic {	/* compare and exchange */
			if
			:: repair == was -> repair = me + 1; got = true
			:: else
			fi
		}
#endif
		if
		:: got ->
#ifndef BUG_NOT_ASKED_AGAIN
			word = lock;	/* take_over(): another repairer may have been here */
#endif
			if
#ifdef BUG_NOT_ASKED_AGAIN
			:: true -> roll_back()
#else
			:: GONE(word) ->
#ifndef BUG_STALE_WORD
				was = lock;	/* it may have let go and died after that */
				if
				:: (was & ~WAITERS) == (word & ~WAITERS) -> roll_back()
				:: else
				fi
#else
				roll_back()
#endif
			:: else
#endif
			fi;
			repair = 0
		:: else
		fi;
		got = false
	fi;
	word = 0
}

inline sleep()		/* lock_sleep() of `word`, which somebody has; got: it slept */
{
	if
	:: !(word & WAITERS) ->
		atomic {	/* compare and exchange */
			if
			:: lock == word -> lock = word | WAITERS; got = true
			:: else
			fi
		}
	:: else -> got = true
	fi;
	if
	:: got ->
#ifdef BUG_NO_TIMEOUT
		atomic {	/* FUTEX_WAIT: the kernel compares */
			if
			:: lock == (word | WAITERS) -> sleeps[me] = true
			:: else
			fi
		};
		!sleeps[me]
#else
		skip		/* it wakes by itself: a millisecond may be over at any step */
#endif
	:: else
	fi
}

inline take()		/* lock_take(), lock_wait() */
{
	got = false;
	try(0);
	do
	:: got -> break
	:: else ->
		word = lock;
		if
		:: LOW(word) == 0 -> try(WAITERS)
		:: else ->
			sleep();
			if
			:: got ->
				got = false;
				word = lock;
				if
#ifndef BUG_NEVER_ASKS
				:: LOW(word) && GONE(word) -> take_over()
#endif
				:: else
				fi
			:: else
			fi
		fi
	od;
	atomic { got = false; was = 0; word = 0 }
}

inline forget_dead(other)	/* lock_forget_dead(): of a slot that is certified dead */
{
	word = lock;
	do
	:: SLOT(word) == other + 1 && GONE(word) ->
		take_over();
		word = lock
	:: else -> break
	od;
	word = 0;
	was = repair;
	if
	:: was == other + 1 ->
		atomic {	/* compare and exchange */
			if
			:: repair == was -> repair = 0
			:: else
			fi
		}
	:: else
	fi;
	was = 0;
	assert(SLOT(lock) != other + 1 && repair != other + 1)	/* nothing names it */
}

proctype owner(byte me)
{
	short was, word;
	byte d, n, rounds;
	bool got;

	{
		do
		:: rounds < ROUNDS ->
			take();
			set(0, ODD);
			set(1, good + 1);
			set(0, good + 1);	/* twice in one transaction: newest first matters */
#ifdef BUG_COMMIT_LATE
			leave();
			commit(pair[1]);
#else
			commit(pair[1]);
			leave();
#endif
			d_step { was = 0; rounds++ }
		:: else -> break
		od;
		rounds = 0;
		do
		:: rounds < N ->
			if
			:: dead[rounds] -> forget_dead(rounds)
			:: else
			fi;
			rounds++
		:: else -> break
		od
	} unless { d_step { dead[me] -> was = 0; word = 0; d = 0; n = 0; rounds = 0; got = false } }
}

active proctype killer()
{
	byte kills;

	do
	:: d_step { kills < KILLS && !dead[0] -> dead[0] = true; kills++ }
	:: d_step { kills < KILLS && !dead[1] -> dead[1] = true; kills++ }
	:: d_step { kills < KILLS && !dead[N - 1] -> dead[N - 1] = true; kills++ }
	:: break
	od
}

init { atomic { byte i; for (i : 0 .. N - 1) { run owner(i) } } }
