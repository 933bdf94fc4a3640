/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a slot: src/mem/meta/slot.c, and who buries, settles and decides: src/mem/reap/reclaim.c.
 *
 *	state[s]	generation | pid, 3 bits | FREE CLAIMING LIVE LEFT DEAD, 3 bits
 *	lock		turn | generation, 2 bits | slot + 1, 2 bits		REAPER: of who reaps; they have slots elsewhere
 *	used, owner	one record: does it name a fragment, and whose slot. `used` is logged, `owner` is not
 *	mag[s]		something is in the slot's magazines
 *	log[s]		n, and the old `used`
 *
 * CLAIMANTS processes of one life each claim one of SLOTS slots, allocate, free, fill a magazine, and leave or are
 * killed anywhere; two reapers pass PASSES times. How the lock is taken over is lock.pml's; here that is one step.
 *
 * Holds: a slot is one's; it is free only when its owner is gone, no record names it, nor will after a rollback, its
 * magazines and its log are empty; a rollback's log is that of the owner whom the lock names; what is settled or
 * reclaimed was a dead one's, and not one's who left it behind in order.
 */
#ifndef SLOTS
#define SLOTS 1
#endif
#ifndef CLAIMANTS
#define CLAIMANTS 2
#endif
#ifndef PASSES
#define PASSES 1
#endif
#ifdef SECOND		/* what the second reaper does: 0 nothing, 1 it settles, 2 it decides; else all of a pass */
#define WHOLE false
#else
#define WHOLE true
#endif
#ifndef WORK
#define WORK 1
#endif

#define FREE 0
#define CLAIMING 1
#define LIVE 2
#define LEFT 3
#define DEAD 4
#define STATE(word) ((word) & 7)
#define PID(word) (((word) >> 3) & 7)
#define GEN(word) ((word) >> 6)
#define WITH(word, st) (((word) & ~7) | (st))

#define LOW(word) ((word) & 15)
#define LSLOT(word) ((word) & 3)
#define LGEN(word) (((word) >> 2) & 3)
#define TURN(word) ((word) >> 4)
#define REAPER 3
#define NAMES(word, s) (LSLOT(word) == (s) + 1 && LSLOT(word) != REAPER)

#ifdef BUG_FREE_BEFORE_SETTLED
#define SETTLED(s) true
#else
#define SETTLED(s) (!mag[s])	/* slot_settled() */
#endif

short state[SLOTS], lock;
bool mag[SLOTS], log_n[SLOTS], log_old[SLOTS];
bool used;
byte owner, rollbacks;

bool dead[CLAIMANTS + 1];	/* by pid, from 1 */
byte has[SLOTS];		/* ghost: pid of who has the slot, until it is gone */
bool left[CLAIMANTS + 1];	/* ghost: it left in order */
byte maker, maker_gen;		/* ghost: pid of who made the record */
byte filled[SLOTS];		/* ghost: pid of who filled the magazines */
byte ended;

/* certified dead, and still the same owner: gone(), of the state that was loaded before */
#define CERTIFIED(word) ((STATE(word) != LIVE && STATE(word) != CLAIMING) || dead[PID(word)])
/* slot_gone_since() of a lock word, as one step: lock.pml has what lies between */
#define GONE_SINCE(word) (LSLOT(word) != 0 && LSLOT(word) != REAPER && \
	(CERTIFIED(state[LSLOT(word) - 1]) || (GEN(state[LSLOT(word) - 1]) & 3) != LGEN(word)))

inline enter(tag)	/* lock_take() */
{
	atomic { LOW(lock) == 0 -> lock = ((lock >> 4) + 1) << 4 | (tag) }
}

inline let_go() { lock = lock & ~15 }

inline take_over()	/* of the lock's word as it is now */
{
	if
	:: LSLOT(lock) != 0 && LSLOT(lock) != REAPER && GONE_SINCE(lock) ->
		x = LSLOT(lock) - 1;
		assert((GEN(state[x]) & 3) == LGEN(lock));	/* else POOL_DAMAGED: its log is another's by now */
		if
		:: log_n[x] ->
			used = log_old[x];
			log_n[x] = false;
			rollbacks++;
			/* a name that comes back is one that its slot still has */
			assert(!used || (GEN(state[owner]) == maker_gen && STATE(state[owner]) != FREE))
		:: else
		fi;
		lock = lock & ~15;
		x = 0
	:: else
	fi
}

inline reaper_enter()	/* lock_take() of one who waits and asks */
{
	do
	:: atomic { LOW(lock) == 0 -> lock = ((lock >> 4) + 1) << 4 | REAPER; break }
	:: atomic { GONE_SINCE(lock) -> take_over() }
	od
}

/* ---- an owner ---- */

proctype claimant(byte me)
{
	short was, claimed;
	byte s, work;

	{
		/* slot_claim() */
		do
		:: s == SLOTS -> goto end	/* all are taken */
		:: s < SLOTS ->
			was = state[s];
			if
			:: STATE(was) == FREE ->
				claimed = ((GEN(was) + 1) << 6) | me << 3 | CLAIMING;
				atomic {	/* claim_one() */
					if
					:: state[s] == was ->
						state[s] = claimed;
						assert(has[s] == 0 || dead[has[s]] || left[has[s]]);
						assert(!used || owner != s);
						assert(!mag[s] && !log_n[s]);
						has[s] = me;
						break
					:: else
					fi
				}
			:: else
			fi;
			s++
		od;
		/* become() */
		atomic { assert(state[s] == claimed && has[s] == me); state[s] = WITH(claimed, LIVE) };
		do
		:: work < WORK && !used -> /* front_alloc(): record_put() */
			enter((GEN(claimed) & 3) << 2 | (s + 1));
			if
			:: !used ->
				owner = s;			/* not logged */
				d_step { maker = me; maker_gen = GEN(claimed); log_old[s] = used };
				log_n[s] = true;
				used = true;
				log_n[s] = false		/* HEAP_COMMIT() */
			:: else
			fi;
			let_go();
			work++
		:: work < WORK && used ->	/* front_free(): record_drop(), of whosoever it is */
			enter((GEN(claimed) & 3) << 2 | (s + 1));
			if
			:: used ->
				log_old[s] = used;
				log_n[s] = true;
				used = false;
				log_n[s] = false
			:: else
			fi;
			let_go();
			work++
		:: work < WORK && !mag[s] ->	/* slot_put() */
			d_step { mag[s] = true; filled[s] = me };
			work++
		:: break
		od;
		assert(state[s] == WITH(claimed, LIVE));
		/* leave_all(): shm_front_settle() of one's own, slot_leave() */
		if
		:: mag[s] ->
			enter((GEN(claimed) & 3) << 2 | (s + 1));
			mag[s] = false;
			let_go()
		:: else
		fi;
		d_step { assert(state[s] == WITH(claimed, LIVE)); left[me] = true; state[s] = WITH(claimed, LEFT) };
	end:
		skip
	} unless { d_step { dead[me] && !left[me] -> was = 0; claimed = 0; s = 0; work = 0 } };
	ended++
}

/* ---- who reaps ---- */

inline mark_gone(i)	/* r: it is gone */
{
	word = state[i];
	if
	:: !CERTIFIED(word) || (STATE(word) == FREE)
	:: CERTIFIED(word) && (STATE(word) == LIVE || STATE(word) == CLAIMING) ->
		if
		:: state[i] == word ->		/* it was this owner's death */
#ifndef BUG_NOT_FORGOTTEN
			do			/* lock_forget_dead() */
			:: atomic { NAMES(lock, i) && GONE_SINCE(lock) -> take_over() }
			:: !(NAMES(lock, i) && GONE_SINCE(lock)) -> break
			od;
#endif
			atomic {		/* compare and exchange */
				if
#ifdef BUG_CAS_STATE_ONLY
				:: STATE(state[i]) == STATE(word) ->
					word = state[i];
#else
				:: state[i] == word ->
#endif
					state[i] = WITH(word, (STATE(word) == LIVE -> DEAD : FREE));
					assert(has[i] == PID(word) && dead[has[i]]);
					any = true
				:: else
				fi
			}
		:: else
		fi
	:: else -> any = true
	fi;
	word = 0
}

inline bury()		/* slot_bury() */
{
	any = false;
	i = 0;
	do
	:: i < SLOTS -> mark_gone(i); i++
	:: else -> i = 0; break
	od
}

inline settle(i)	/* shm_front_settle() of slot i */
{
	word = state[i];
#ifndef BUG_SETTLE_ANY
	if
	:: STATE(word) == LEFT || STATE(word) == DEAD ->
#endif
		reaper_enter();
		if
		:: state[i] == word && mag[i] ->
			assert(dead[filled[i]] || left[filled[i]]);	/* a living one uses it without the lock */
			mag[i] = false
		:: else
		fi;
		let_go()
#ifndef BUG_SETTLE_ANY
	:: else
	fi
#endif
	;
	word = 0
}

inline settle_seen()
{
	do
	:: i < SLOTS ->
		if
		:: (STATE(state[i]) == LEFT || STATE(state[i]) == DEAD) && mag[i] -> settle(i)
		:: else
		fi;
		i++
	:: else -> i = 0; break
	od
}

inline nothing_hidden()		/* any: yes */
{
	word = lock;
	seen = word;
	do
	:: LOW(word) == 0 || TURN(word) != TURN(seen) -> break
	:: LOW(word) != 0 && TURN(word) == TURN(seen) && GONE_SINCE(word) ->
#ifdef BUG_DEAD_HIDES_NOTHING
		goto hidden_checked;
#else
		/* what the dead one's open transaction hides is named, too */
		if
		:: log_n[LSLOT(word) - 1] && log_old[LSLOT(word) - 1] -> named[owner] = true
		:: else
		fi;
		any = (lock == word);
		break
#endif
	:: LOW(word) != 0 && TURN(word) == TURN(seen) && !GONE_SINCE(word) ->
		if
		:: word = lock
		:: any = false; break		/* HIDDEN_LOOKS */
		fi
	od;
	any = any && rollbacks == turned;
hidden_checked:
	word = 0;
	seen = 0
}

inline free_slot(i)
{
#ifdef BUG_STATE_AFTER_LOOK
	found[i] = state[i];
#endif
	if
	:: (STATE(found[i]) == LEFT || STATE(found[i]) == DEAD) && !named[i] && SETTLED(i) ->
		atomic {	/* compare and exchange */
			if
			:: state[i] == found[i] ->
				state[i] = WITH(found[i], FREE);
				assert(dead[has[i]] || left[has[i]]);
				assert(!used || owner != i);
				assert(!mag[i] && !log_n[i]);
				has[i] = 0
			:: else
			fi
		}
	:: else
	fi
}

inline slot_reap()
{
	bury();
	if
	:: any ->
		turned = rollbacks;
#ifndef BUG_STATE_AFTER_LOOK
		i = 0;
		do
		:: i < SLOTS -> found[i] = state[i]; i++
		:: else -> i = 0; break
		od;
#endif
		if		/* find_named() */
		:: used -> named[owner] = true
		:: else
		fi;
#ifndef BUG_NOT_HIDDEN
		nothing_hidden();
#endif
		do
		:: any && i < SLOTS -> free_slot(i); i++
		:: else -> break
		od;
		atomic {
			i = 0;
			turned = 0;
			do
			:: i < SLOTS -> named[i] = false; found[i] = 0; i++
			:: else -> i = 0; break
			od
		}
	:: else
	fi
}

inline decide()		/* on_death = reclaim; who left in order meant it to stay */
{
	if
	:: used ->
		n = owner;
		word = state[n];
		if
		:: STATE(word) == DEAD ->
			reaper_enter();	/* shm_front_reclaim() */
			if
#ifdef BUG_RECLAIM_ANY_GONE
			:: used && owner == n && (STATE(state[n]) == DEAD || STATE(state[n]) == LEFT) ->
#else
			:: used && owner == n && state[n] == word ->
#endif
				assert(dead[maker] && !left[maker]);
				used = false
			:: else
			fi;
			let_go()
		:: else
		fi;
		n = 0;
		word = 0
	:: else
	fi
}

proctype reaper(bool whole)	/* false: only the step SECOND of a pass */
{
	short word, seen, found[SLOTS];
	byte i, n, x, pass, turned;
	bool any, named[SLOTS];

	do
	:: !whole ->
		i = 0;
#if SECOND == 1
		settle_seen();
#elif SECOND == 2
		decide();
#endif
		break
	:: whole && pass < PASSES ->
		bury();
		settle_seen();
		slot_reap();
		decide();
		slot_reap();
#ifdef UNTIL_FREE
		if
		:: ended == CLAIMANTS && STATE(state[0]) == FREE && STATE(state[SLOTS - 1]) == FREE -> break
		:: ended == CLAIMANTS && used && left[maker] -> break		/* stays: somebody's by now */
		:: else
		fi
#else
		pass++
#endif
	:: whole && pass == PASSES -> break
	od
}

active proctype killer()
{
	byte k;

	do
	:: k < CLAIMANTS ->
		k++;
		if
		:: d_step { !left[k] -> dead[k] = true }
		:: skip
		fi
	:: else -> break
	od
}

init { atomic { byte i; for (i : 1 .. CLAIMANTS) { run claimant(i) }; run reaper(true); run reaper(WHOLE) } }
