/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registrar's table under SIGKILL at every instruction, with the library that ships.
 *
 *	child: claims its slot, sets the processor's trap flag, updates the middle record of a bucket, dies at step n
 *	child: takes the bucket over, is killed too, at step m of what it does (half of the time)
 *	parent: takes the bucket over and looks
 *
 * What must hold: the bucket is not stuck; the list has the records it had, the one in question as before or as after;
 * every fragment is the table or in the list: none is lost.
 * A plain program: children that die by signals are no place for Criterion.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "memapi/observe.h"
#include "table.h"

enum { TRAP_FLAG = 0x100, POINTS = 100, FRAGMENTS_MAX = 64 };

static struct table *table;

#define MUST(what) do { \
	if (!(what)) { \
		fprintf(stderr, "NOT TRUE: %s (line %d), %s killed at step %ld, its heir at %ld\n", #what, __LINE__, \
			operation_name, kill_step, heir_step); \
		exit(1); \
	} \
} while (0)
static const char *operation_name = "nobody";
static long kill_step, heir_step;

/* ---- the operations ---- */

static void put(const char *name, const char *contact)
{
	struct text key = { name, strlen(name) }, text = { contact, strlen(contact) };
	struct bindings b = { .contacts = 1, .contact = { { .text = text, .uri = text, .call_id = TEXT("call"),
							    .until = INT64_MAX } } };
	uint64_t hash = text_hash(table->secret, key);
	struct bucket *bucket = table_lock(table, hash);
	struct record *r = bucket_make(bucket, record_bytes(&b, key));

	if (r) {
		record_write(r, record_bytes(&b, key), &b, key, hash);
		bucket_link(bucket, bucket_find(bucket, hash, key), r);
	}
	table_unlock(bucket);
}

static void take_out(const char *name)
{
	struct text key = { name, strlen(name) };
	uint64_t hash = text_hash(table->secret, key);
	struct bucket *bucket = table_lock(table, hash);
	_Atomic(struct record *) *link = bucket_find(bucket, hash, key);

	if (atomic_load_explicit(link, memory_order_relaxed))
		bucket_remove(bucket, link);
	table_unlock(bucket);
}

static void op_replace(void) { put("b", "<sip:after@h>"); }
static void op_remove(void) { take_out("b"); }
static void op_add(void) { put("d", "<sip:after@h>"); }
static void op_sweep(void) { table_sweep(table, INT64_MAX - 1, &(struct sweep){ 0 }); }	/* removes nothing: all stay */
static void op_heir(void) { table_unlock(table_lock_at(table, 0)); }

/* b, d before and after: 0 absent, 1 `before`, 2 `after` */
static const struct operation { const char *name; void (*run)(void); int b[2], d[2]; } operations[] = {
	{ "replace", op_replace, { 1, 2 }, { 0, 0 } },
	{ "remove", op_remove, { 1, 0 }, { 0, 0 } },
	{ "add", op_add, { 1, 1 }, { 0, 2 } },
	{ "sweep", op_sweep, { 1, 1 }, { 0, 0 } },
};

/* ---- dying at a step ---- */

static volatile long steps_left;

static void on_trap(int sig, siginfo_t *info, void *context)
{
	greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

	(void)sig, (void)info;
	if (!--steps_left)
		kill(getpid(), SIGKILL);
	*flags = steps_left >= 0 ? *flags | TRAP_FLAG : *flags & ~(greg_t)TRAP_FLAG;
}

/* A child that runs `run` and dies at its `step`-th instruction. 0: lives to the end. *ret_died. */
static void run_and_die(void (*run)(void), long step, bool *ret_died)
{
	pid_t child = fork();
	int status;

	if (!child) {
		shm_free(shm_malloc(16));		/* its slot is its own */
		sigaction(SIGTRAP, &(struct sigaction){ .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO }, NULL);
		steps_left = step + 1;			/* the one that begins it */
		raise(SIGTRAP);
		run();
		steps_left = 0;
		_exit(0);
	}
	MUST(child > 0 && waitpid(child, &status, 0) == child);
	*ret_died = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	MUST(*ret_died || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

/* ---- looking ---- */

struct fragments { struct obs_pool *pool; size_t count; uint64_t at[FRAGMENTS_MAX]; };

static bool collect(const struct obs_fragment *f, void *arg)
{
	struct fragments *all = arg;

	MUST(all->count < FRAGMENTS_MAX);
	if (f->state == OBS_USED)	/* not what lies in a magazine */
		all->at[all->count++] = f->address;
	return true;
}

static struct obs *observer;

static void used_fragments(struct fragments *all)
{
	uint64_t cursor = 0;

	all->count = 0;
	MUST(!obs_scan(observer, NULL, NULL));
	for (size_t i = 0; (all->pool = obs_at(observer, i)); i++)
		if (obs_info(all->pool)->domain == OBS_SHM)
			break;
	MUST(all->pool);
	do
		MUST(!obs_records(all->pool, &cursor, UINT64_MAX, collect, all));
	while (cursor);
}

/* 0 absent, 1 `before`, 2 `after` */
static int state_of(struct bucket *bucket, const char *name)
{
	struct text key = { name, 1 };
	struct bindings b;
	const struct record *r =
		atomic_load_explicit(bucket_find(bucket, text_hash(table->secret, key), key), memory_order_relaxed);

	if (!r)
		return 0;
	MUST(record_sound(r) && bindings_read(r, 0, &b) && b.contacts == 1);
	return text_same(b.contact[0].text, TEXT("<sip:before@h>")) ? 1 : 2;
}

static bool listed(const struct bucket *bucket, uint64_t address)
{
	for (const struct record *r = atomic_load(&bucket->head); r; r = atomic_load(&r->next))
		if ((uintptr_t)r == address)
			return true;
	return false;
}

static void check_fragments(const struct bucket *bucket)
{
	static struct fragments all;

	used_fragments(&all);
	for (size_t i = 0; i < all.count; i++)
		MUST(all.at[i] == (uintptr_t)table || listed(bucket, all.at[i]));
}

/* One death, perhaps two. Returns whether the child died. */
static bool round_of(const struct operation *op, long step, long heir)
{
	struct bucket *bucket;
	bool died, heir_died = false;

	operation_name = op->name;
	kill_step = step;
	heir_step = heir;
	take_out("d");
	put("b", "<sip:before@h>");
	run_and_die(op->run, step, &died);
	if (heir)
		run_and_die(op_heir, heir, &heir_died);
	bucket = table_lock_at(table, 0);
	MUST(bucket);
	MUST(state_of(bucket, "a") == 1 && state_of(bucket, "c") == 1);
	MUST(state_of(bucket, "b") == op->b[1] || (died && state_of(bucket, "b") == op->b[0]));
	MUST(state_of(bucket, "d") == op->d[1] || (died && state_of(bucket, "d") == op->d[0]));
	MUST(!atomic_load(&bucket->fresh) && !atomic_load(&bucket->dying));
	table_unlock(bucket);
	check_fragments(bucket);
	return died;
}

/* How many instructions the operation has. */
static long length_of(const struct operation *op)
{
	long low = 1, high = 1;

	while (round_of(op, high, 0))
		low = high, high *= 2;
	while (high - low > 1) {
		long middle = low + (high - low) / 2;

		*(round_of(op, middle, 0) ? &low : &high) = middle;
	}
	return low;
}

int main(void)
{
	char directory[] = "/tmp/table-kill-XXXXXX", command[64];
	uint64_t repairs = 0;

	MUST(mkdtemp(directory));
	setenv("MEMAPI_REGISTRY", directory, 1);
	MUST(!table_open(1, &table) && !obs_open(directory, &observer));
	put("a", "<sip:before@h>");
	put("b", "<sip:before@h>");
	put("c", "<sip:before@h>");
	for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
		const struct operation *op = &operations[i];
		long length = length_of(op), stride = length / POINTS + 1;
		unsigned points = 0;

		for (long step = 1; step <= length; step += stride, points++)
			round_of(op, step, points % 2 ? 1 + (points * 37l) % 3000 : 0);
		printf("%s: %u of %ld instructions, %llu buckets repaired\n", op->name, points, length,
		       (unsigned long long)(table->bucket[0].repairs - repairs));
		MUST(points > POINTS / 2);
		MUST(table->bucket[0].repairs > repairs);
		repairs = table->bucket[0].repairs;
	}
	obs_close(observer);
	snprintf(command, sizeof command, "rm -rf %s", directory);
	return system(command) ? 1 : 0;
}
