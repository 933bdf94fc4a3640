/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the models found, in the library: a repairer that is held up between two of its steps, while others go on. It is
 * held up where it asks whether a process lives: process_fate() is ours, and does meanwhile what the others did.
 *
 * Usage: held_up MANAGER. Exit status 0, 1: a fault was found, 2: it could not be run.
 */
#include <memapi/memapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/front/front.h"
#include "mem/meta/lock.h"
#include "mem/meta/process.h"
#include "mem/meta/slot.h"
#include "mem/reap/reap.h"

static struct pool *p;
static struct owner *o;
static pid_t child;
static uint32_t its;		/* number of the child's slot */
static unsigned asked;
static bool said_dead;
static void (*meanwhile)(void);	/* at the second question */
static struct meta_record *the_record;	/* of the child's fragment */
static int bad;

enum process_fate __real_process_fate(int32_t pid, uint64_t start_time, uint64_t pid_namespace);
enum process_fate __wrap_process_fate(int32_t pid, uint64_t start_time, uint64_t pid_namespace);

enum process_fate __wrap_process_fate(int32_t pid, uint64_t start_time, uint64_t pid_namespace)
{
	if (++asked == 2 && meanwhile)
		meanwhile();
	return pid == child && said_dead ? PROCESS_DEAD : __real_process_fate(pid, start_time, pid_namespace);
}

static void expect(bool is, const char *what)
{
	if (is)
		return;
	printf("not so: %s\n", what);
	bad = 1;
}

static void begin(bool dead, void (*others)(void))
{
	asked = 0;
	said_dead = dead;
	meanwhile = others;
}

static uint64_t word_of(uint32_t number)
{
	uint64_t generation = SLOT_GEN(pool_slot(p, number)->state) & 0x7ffff;

	return 7ull << 32 | generation << 13 | (uint64_t)(number + 1) << 1;
}

static void set_state(unsigned state, unsigned more_generations)
{
	_Atomic uint64_t *word = &pool_slot(p, its)->state;

	*word = ((*word + ((uint64_t)more_generations << 8)) & ~0xffull) | state;
}

static struct meta_record *find_record(void)
{
	for (uint64_t i = 0; i < p->live->counters.records_used; i++) {
		struct meta_record *r = &p->records[i];

		if (!(r->address & RECORD_FREE) && r->owner >> 32 == its)
			return r;
	}
	return NULL;
}

/* ---- the lock ---- */

/* The one whose word it was let go, we took the lock, and then that one died. */
static void lock_becomes_ours(void) { p->live->lock = word_of(o->number) + (1ull << 32); }

static void the_lock_of_a_living_one_is_not_taken_from_it(void)
{
	p->live->lock = word_of(its);
	begin(true, lock_becomes_ours);
	lock_settle(p, o);
	expect(p->live->lock == word_of(o->number) + (1ull << 32), "the lock stays with the living one who has it");
	p->live->lock = 0;
}

/* ---- slots ---- */

/* Somebody else gave the slot on, its next owner made a record and died, too. We had the lock until now. */
static void slot_goes_round(void)
{
	set_state(SLOT_DEAD, 1);
	the_record->owner &= ~((uint64_t)RECORD_CACHED << 48);
	p->live->lock = 0;
}

static void a_slot_that_was_given_on_is_not_freed(void)
{
	struct meta_record *r = the_record;
	uint64_t owner = r->owner;
	struct owner nobody = { 0 };

	set_state(SLOT_DEAD, 0);
	r->owner |= (uint64_t)RECORD_CACHED << 48;	/* of no one's */
	p->live->lock = word_of(o->number);
	begin(false, slot_goes_round);
	slot_reap(p, &nobody);
	expect(asked >= 2, "somebody was asked about while the lock was held");
	expect(SLOT_STATE(pool_slot(p, its)->state) == SLOT_DEAD, "a slot that records name is not free");
	r->owner = owner;
	set_state(SLOT_LIVE, 0);
	p->live->lock = 0;
}

/* Who frees the child's fragment dies with the lock; nobody there can repair. */
static void what_a_dead_holder_hides_is_named(void)
{
	struct meta_slot *holder = pool_slot(p, o->number);
	struct meta_record *r = the_record;
	struct owner nobody = { 0 };
	uint64_t log_n = holder->log.n, address = r->address, was = holder->state;

	set_state(SLOT_DEAD, 0);
	p->live->lock = word_of(o->number);
	holder->state = (was & ~0xffull) | SLOT_DEAD;
	holder->log.e[log_n & 0xffff] = (struct undo_entry){ &r->address, address };
	holder->log.n = log_n + 1;
	r->address |= RECORD_FREE;
	begin(false, NULL);
	slot_reap(p, &nobody);
	expect(SLOT_STATE(pool_slot(p, its)->state) == SLOT_DEAD, "a slot that a rollback names again is not free");
	r->address = address;
	holder->log.n = log_n;
	holder->state = was;
	p->live->lock = 0;
	set_state(SLOT_LIVE, 0);
}

/* ---- what is in slots ---- */

static void magazines_of_the_living_are_left_alone(void)
{
	uint64_t before = magazines_cached(slot_magazines(p, its), 0);

	begin(false, NULL);
	shm_front_settle(p, o, its);
	expect(before && magazines_cached(slot_magazines(p, its), 0) == before, "a living one's magazines stay full");
}

static void what_is_reclaimed_is_that_owners(void)
{
	const struct front_call call = { .p = p, .o = o };
	struct meta_magazines *m = slot_magazines(p, its);
	struct meta_record *r = the_record;
	uint64_t index = (uint64_t)(r - p->records), dead;

	set_state(SLOT_DEAD, 0);
	dead = pool_slot(p, its)->state;
	set_state(SLOT_LEFT, 1);
	expect(!shm_front_reclaim(&call, index, its, dead, false), "who left in order is not reclaimed for the one before");
	set_state(SLOT_DEAD, 0);
	dead = pool_slot(p, its)->state;
	m->op = OP(OP_ALLOC, index);
	expect(!shm_front_reclaim(&call, index, its, dead, false), "what the op record names is not reclaimed");
	m->op = OP_NONE;
	expect(shm_front_reclaim(&call, index, its, dead, false), "what a dead one left is reclaimed");
	set_state(SLOT_LIVE, 0);
}

/* It has one fragment, and something in its magazines. */
static void make_child(void)
{
	int ready[2];
	char byte;

	if (pipe(ready))
		exit(2);
	child = fork();
	if (!child) {
		void *some[9];

		for (unsigned i = 0; i < 9; i++)
			some[i] = shm_malloc(100);
		for (unsigned i = 0; i < 8; i++)
			shm_free(some[i]);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(ready[1]);
	if (child < 0 || read(ready[0], &byte, 1) != 1)
		exit(2);
	while (its < p->live->slots_used && (SLOT_STATE(pool_slot(p, its)->state) != SLOT_LIVE ||
					     SLOT_PID(pool_slot(p, its)->state) != child))
		its++;
}

int main(int argc, char **argv)
{
	setenv("MEMAPI_MAGAZINES", "yes", 1);
	setenv("MEMAPI_SHM_SIZE", "4M", 1);
	if (argc < 2 || shm_init_manager(argv[1]) || !(p = mem_shm_ready(&o))) {
		fprintf(stderr, "usage: held_up MANAGER; %s\n", memapi_error());
		return 2;
	}
	make_child();
	if (its == p->live->slots_used || !(the_record = find_record()))
		return 2;
	the_lock_of_a_living_one_is_not_taken_from_it();
	magazines_of_the_living_are_left_alone();
	set_state(SLOT_DEAD, 0);
	shm_front_settle(p, o, its);			/* else nothing would free the slot */
	set_state(SLOT_LIVE, 0);
	a_slot_that_was_given_on_is_not_freed();
	what_a_dead_holder_hides_is_named();
	what_is_reclaimed_is_that_owners();
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return bad;
}
