/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Growth: src/mem/front/memory.c front_grow(), src/mem/region/region.c region_file_commit(); src/mem/meta/store.c
 * records_grow() and slot.c more_slots() have the same order without a log.
 *
 *	behind		pages of DATA that have memory, from its start
 *	committed	what everybody believes	that is; a word of the transaction
 *	top		where the manager's heap ends: extend() moves it, in the same transaction
 *	records		as `committed`, grown by a plain store: memory first
 *
 * Two growers in turn, each killed anywhere or told that the system has no more; the next one rolls back. One looks at
 * all times, without the lock, at what `committed` and `records` say is there.
 *
 * Holds: nobody touches a page with nothing behind it; the heap ends where `committed` does, for who has the lock.
 */
#ifndef PAGES
#define PAGES 6
#endif
#ifndef GROWS
#define GROWS 3
#endif

byte behind = 1, committed = 1, top = 1;
byte records_behind = 1, records = 1;
byte lock, log_n, log_committed, log_top;	/* lock: process + 1 */
bool dead[2];

inline touch(page) { assert((page) <= behind) }

inline enter()		/* lock_take(), with roll_back() where its owner is dead: newest first, the log's end last */
{
	if
	:: atomic { lock == 0 -> lock = me + 1 }
	:: atomic { lock != 0 && dead[lock - 1] -> lock = me + 1 };
		if
		:: log_n == 2 -> top = log_top; committed = log_committed
		:: log_n == 1 -> committed = log_committed
		:: log_n == 0
		fi;
		log_n = 0
	fi;
	assert(log_n == 0 && top == committed);
	touch(committed)	/* heap.len */
}

inline commit_data()	/* fallocate(): it is there, or it fails and some of it may be */
{
	if
	:: behind = (have + step > behind -> have + step : behind); ok = true
	:: ok = false
	:: behind = (have + 1 > behind -> have + 1 : behind); ok = false
	fi
}

inline set_committed()
{
	log_committed = committed;
	log_n = 1;
	committed = have + step
}

inline grow()		/* front_grow() */
{
	have = committed;
	step = 2;
#ifdef BUG_COMMITTED_FIRST
	set_committed();
	commit_data();
#else
	commit_data();
	if
	:: !ok -> step = 1; commit_data()		/* what the request needs, not more */
	:: else
	fi;
#endif
	if
	:: ok ->
#ifndef BUG_COMMITTED_FIRST
		set_committed();
#endif
		log_top = top;				/* ops->extend(): writes to the new pages */
		log_n = 2;
		touch(have + step);
		top = have + step;
		log_n = 0				/* HEAP_COMMIT() */
	:: else
#ifdef BUG_COMMITTED_FIRST
		-> committed = log_committed; log_n = 0
#endif
	fi
}

inline records_grow()
{
#ifdef BUG_RECORDS_FIRST
	records++;
	records_behind = (records > records_behind -> records : records_behind)
#else
	if
	:: records_behind = (records + 1 > records_behind -> records + 1 : records_behind); records++
	:: skip		/* ENOSPC */
	fi
#endif
}

proctype grower(byte me)
{
	byte have, step, grows;
	bool ok;

	{
		do
		:: grows < GROWS && committed + 2 <= PAGES ->
			enter();
			if
			:: grow()
			:: records_grow()
			fi;
			lock = 0;
			atomic { have = 0; step = 0; ok = false; grows++ }
		:: break
		od
	} unless { d_step { dead[me] -> have = 0; step = 0; grows = 0; ok = false } }
}

/* mmd: what it believes at any time, is there; and stays there, since nothing goes back. Once, at each time. */
active proctype watcher() { assert(committed <= behind && records <= records_behind) }

active proctype killer()
{
	if
	:: dead[0] = true
	:: skip
	fi;
	if
	:: dead[1] = true
	:: skip
	fi
}

init { atomic { run grower(0); run grower(1) } }
