/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does a malloc+free pair cost, under each manager, beside glibc and Boost.Interprocess?
 *
 *	lifo		64 B, freed at once: the fast path
 *	random 1k	one of 1,000 live fragments is replaced by one of 16-1024 B: bins, splits, joins, in the cache
 *	random 100k	the same over 100,000: out of the cache
 *	realloc		two vectors that grow by 64 B in turns to 64 KiB
 *	handed over	16-512 B, one participant takes, the other one frees: shm in two processes, others in two
 *threads
 *
 * each in one process, in two threads, in two processes (shm: one heap; else a heap in each). A measurement is a
 * forked child: a manager is chosen once a process. Time for one is the median of short batches, since what stops a
 * virtual CPU lasts longer than some of them; for two it is all the time, as they stop each other. The first word of
 * each fragment is written. Ratios are to glibc's and Boost's figure of the same round.
 *
 * What a module adds to its library is measured by itself: both in one process, a few batches each in turns, since two
 * processes differ by more than a few ns in where their pages came to lie.
 */
#include "bench.h"
#include "rows.h"

#include <errno.h>
#include <memapi/memapi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	LIVE_MAX = 100000,
	POOL_BYTES = 512 << 20,
	VECTOR_MAX = 64 << 10,
	PARTICIPANTS = 2,
	BATCHES_MAX = 100000,
	RING = 512
};
enum how { ONE, THREADS, PROCESSES, HOWS };

static const char *const how_name[] = { "1 process", "2 threads", "2 processes" };

struct state {
	const struct row *row;
	unsigned live, next;
	uint64_t random;
	size_t vector_size;
	void **at;
};

struct workload {
	const char *name;
	unsigned live;			/* fragments that are held all the time */
	bool (*pairs)(struct state *s, unsigned n);	/* false: no memory. NULL: handed over */
	unsigned step;			/* pairs between two looks at the clock */
	bool alone;			/* in one process only */
};

/* ---- the loops that are timed ---- */

/* One loop for all by their wrappers, and one that the short way is compiled into. */
#define LOOPS(kind, ALLOC, FREE)					\
static bool lifo_##kind(struct state *s, unsigned n)			\
{									\
	(void)s;							\
	while (n--) {							\
		uint64_t *p = ALLOC(64);				\
									\
		if (!p)							\
			return false;					\
		*(volatile uint64_t *)p = n;				\
		FREE(p);						\
	}								\
	return true;							\
}									\
									\
static bool replace_##kind(struct state *s, unsigned n)			\
{									\
	while (n--) {							\
		uint32_t r = bench_random(&s->random);			\
		void **at = &s->at[((uint64_t)r * s->live) >> 32];	\
									\
		FREE(*at);						\
		*at = ALLOC(16 + r % 1009);				\
		if (!*at)						\
			return false;					\
		*(volatile uint64_t *)*at = r;				\
	}								\
	return true;							\
}
LOOPS(calls, s->row->alloc, s->row->free)
LOOPS(inline_pkg, pkg_malloc, pkg_free)
LOOPS(inline_shm, shm_malloc, shm_free)

static bool lifo(struct state *s, unsigned n)
{
	return !s->row->inlined ? lifo_calls(s, n) : s->row->shared ? lifo_inline_shm(s, n) : lifo_inline_pkg(s, n);
}

static bool replace(struct state *s, unsigned n)
{
	return !s->row->inlined	 ? replace_calls(s, n)
	       : s->row->shared ? replace_inline_shm(s, n)
				: replace_inline_pkg(s, n);
}

/* A pair here is one realloc; live = 2. */
static bool grow(struct state *s, unsigned n)
{
	for (; n--; s->next ^= 1) {
		void *p = s->row->realloc(s->at[s->next], s->vector_size);

		if (!p)
			return false;
		s->at[s->next] = p;
		((volatile uint64_t *)p)[s->vector_size / 8 - 1] = n;
		if (s->next && (s->vector_size += 64) > VECTOR_MAX) {
			s->vector_size = 64;
			for (unsigned i = 0; i < 2; i++) {
				s->row->free(s->at[i]);
				s->at[i] = NULL;
			}
		}
	}
	return true;
}

static const struct workload workloads[] = {
	{ "lifo 64 B", 0, lifo, 5000, false },
	{ "random 1k", 1000, replace, 2000, false },
	{ "random 100k", 100000, replace, 1000, false },
	{ "realloc", 2, grow, 4096, true },
	{ "handed over", 0, NULL, 2000, true },
};
enum { WORKLOADS = sizeof workloads / sizeof *workloads };

/* ---- one measurement ---- */

struct job {
	const struct row *row;
	const struct workload *work;
	enum how how;
	uint64_t run_ns;
	const struct row *beside;	/* in turns with `row`; or NULL */
};

/* Between the participants of a measurement, in shared memory. The ring: what one takes and the other one frees. */
struct meeting {
	pthread_barrier_t start;
	_Alignas(64) _Atomic uint64_t in;
	_Alignas(64) _Atomic uint64_t out;
	void *ring[RING];
	struct part { uint64_t ns, pairs; char error[96]; } part[PARTICIPANTS];
};

struct ticket { const struct job *job; struct meeting *meeting; unsigned who; };

static const char *warm_up(struct state *s, const struct job *job)
{
	if (!job->work->pairs)
		return NULL;
	s->live = job->work->live;
	s->vector_size = 64;
	s->at = calloc(s->live + 1, sizeof *s->at);
	if (!s->at)
		return "no memory for the benchmark itself";
	for (unsigned i = 0; job->work->pairs == replace && i < s->live; i++)
		if (!(s->at[i] = job->row->alloc(16 + bench_random(&s->random) % 1009)))
			return "out of memory";
	return job->work->pairs(s, 20000 + 2 * s->live) ? NULL : "out of memory";
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Runs until the time is over; every participant is at it all the while. */
static const char *run(struct state *s, const struct job *job, struct part *part)
{
	static uint64_t took[BATCHES_MAX];	/* of the one participant */
	uint64_t from = bench_ns(CLOCK_MONOTONIC), last = from, now;
	size_t n = 0;

	do {
		if (!job->work->pairs(s, job->work->step))
			return "out of memory";
		now = bench_ns(CLOCK_MONOTONIC);
		if (job->how == ONE)
			took[n % BATCHES_MAX] = now - last;
		last = now;
		n++;
	} while (now - from < job->run_ns);
	part->ns = now - from;
	part->pairs = n * job->work->step;
	if (job->how == ONE) {
		n = n < BATCHES_MAX ? n : BATCHES_MAX;
		qsort(took, n, sizeof *took, ascending);
		part->ns = took[n / 2];
		part->pairs = job->work->step;
	}
	return NULL;
}

static void put_in(struct meeting *m, void *p)
{
	/* relaxed: only this participant stores it */
	uint64_t in = atomic_load_explicit(&m->in, memory_order_relaxed);

	while (in - atomic_load_explicit(&m->out, memory_order_acquire) == RING)
		;
	m->ring[in % RING] = p;
	atomic_store_explicit(&m->in, in + 1, memory_order_release);
}

static const char *take_and_hand(struct state *s, const struct job *job, struct meeting *m, struct part *part)
{
	uint64_t from = bench_ns(CLOCK_MONOTONIC);
	void *p;

	do {
		for (unsigned i = 0; i < job->work->step; i++) {
			p = s->row->alloc(16 + bench_random(&s->random) % 497);
			if (!p) {
				put_in(m, NULL);
				return "out of memory";
			}
			*(volatile uint64_t *)p = i;
			put_in(m, p);
		}
		part->pairs += job->work->step;
		part->ns = bench_ns(CLOCK_MONOTONIC) - from;
	} while (part->ns < job->run_ns);
	put_in(m, NULL);
	return NULL;
}

static void free_what_comes(const struct state *s, struct meeting *m)
{
	for (uint64_t out = 0;; out++) {
		void *p;

		while (atomic_load_explicit(&m->in, memory_order_acquire) == out)
			;
		p = m->ring[out % RING];
		atomic_store_explicit(&m->out, out + 1, memory_order_release);
		if (!p)
			return;
		s->row->free(p);
	}
}

static const char *hand_over(struct state *s, const struct ticket *t)
{
	if (t->who == 0)
		return take_and_hand(s, t->job, t->meeting, &t->meeting->part[0]);
	free_what_comes(s, t->meeting);
	return NULL;
}

static void give_back(struct state *s)
{
	for (unsigned i = 0; s->at && i < s->live; i++)
		if (s->at[i])
			s->row->free(s->at[i]);
	free(s->at);
}

static void *participate(void *arg)
{
	const struct ticket *t = arg;
	struct part *part = &t->meeting->part[t->who];
	struct state s = { .row = t->job->row, .random = 88172645463325252u + t->who };
	const char *error;

	bench_pin(t->who);
	error = warm_up(&s, t->job);
	pthread_barrier_wait(&t->meeting->start);	/* also after an error: the other one waits */
	if (!error)
		error = t->job->work->pairs ? run(&s, t->job, part) : hand_over(&s, t);
	if (error)
		snprintf(part->error, sizeof part->error, "%s", error);
	give_back(&s);
	return NULL;
}

static void in_threads(struct ticket *ticket)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, participate, &ticket[1])) {
		snprintf(ticket->meeting->part[0].error, sizeof ticket->meeting->part[0].error, "no thread");
		return;
	}
	participate(&ticket[0]);
	pthread_join(thread, NULL);
}

static void in_process(struct ticket *ticket)
{
	const struct row *row = ticket->job->row;
	const char *error = row->shared ? NULL : row->setup(row, POOL_BYTES);

	if (!error) {
		participate(ticket);
		return;
	}
	snprintf(ticket->meeting->part[ticket->who].error, sizeof ticket->meeting->part[0].error, "%s", error);
	pthread_barrier_wait(&ticket->meeting->start);
}

static void in_processes(struct ticket *ticket)
{
	for (unsigned i = 0; i < PARTICIPANTS; i++) {
		pid_t pid = fork();

		if (!pid) {
			in_process(&ticket[i]);
			exit(0);
		}
		if (pid == -1)
			abort();	/* the first one waits at the barrier: the whole measurement is lost */
	}
	for (int status; wait(&status) != -1 || errno == EINTR; )
		if (status)
			snprintf(ticket->meeting->part[0].error, sizeof ticket->meeting->part[0].error,
				 "a process ended with status %#x", (unsigned)status);
}

static struct meeting *meet(unsigned count)
{
	struct meeting *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_barrierattr_t shared;

	if (m == MAP_FAILED)
		abort();
	pthread_barrierattr_init(&shared);
	pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&m->start, &shared, count);
	return m;
}

/* value[0]: ns a pair, as each participant sees it. */
static void measure(const void *arg, struct bench_result *result)
{
	const struct job *job = arg;
	unsigned count = job->how == ONE ? 1 : PARTICIPANTS;
	struct meeting *m = meet(count);
	struct ticket ticket[PARTICIPANTS] = { { job, m, 0 }, { job, m, 1 } };
	bool here = job->how != PROCESSES || job->row->shared;
	const char *error = here ? job->row->setup(job->row, POOL_BYTES) : NULL;
	double ns = 0, pairs = 0;

	alarm(120);
	if (error) {
		snprintf(result->error, sizeof result->error, "%s", error);
		return;
	}
	if (job->how == ONE)
		participate(ticket);
	else if (job->how == THREADS)
		in_threads(ticket);
	else
		in_processes(ticket);
	for (unsigned i = 0; i < count; i++) {
		ns += (double)m->part[i].ns;
		pairs += (double)m->part[i].pairs;
		if (m->part[i].error[0])
			snprintf(result->error, sizeof result->error, "%s", m->part[i].error);
	}
	result->value[0] = ns / pairs;
}

/* ---- two in turns ---- */

enum { TURN_BATCHES = 10 };

static double median(uint64_t *took, size_t n)
{
	qsort(took, n, sizeof *took, ascending);
	n /= 2;
	return (double)took[n];
}

static const char *run_in_turns(struct state s[2], const struct job *job, double ns[2])
{
	static uint64_t took[2][BATCHES_MAX];
	uint64_t from = bench_ns(CLOCK_MONOTONIC), last = from, now;
	size_t n = 0;

	for (unsigned turn = 0; (last - from < 2 * job->run_ns || turn % 2) && n < BATCHES_MAX; turn++)
		for (unsigned i = 0; i < TURN_BATCHES; i++) {
			if (!job->work->pairs(&s[turn % 2], job->work->step))
				return "out of memory";
			now = bench_ns(CLOCK_MONOTONIC);
			took[turn % 2][n + i] = now - last;
			last = now;
			n += turn % 2 && i == TURN_BATCHES - 1 ? TURN_BATCHES : 0;
		}
	for (unsigned k = 0; k < 2; k++)
		ns[k] = median(took[k], n) / job->work->step;
	return NULL;
}

/* value[0], value[1]: ns a pair of job->row, of what is beside it. */
static void measure_in_turns(const void *arg, struct bench_result *result)
{
	const struct job *job = arg;
	const struct row *of[2] = { job->row, job->beside };
	struct state s[2] = { { .row = of[0], .random = 88172645463325252u },
			      { .row = of[1], .random = 88172645463325252u } };
	const char *error = NULL;

	alarm(120);
	bench_pin(0);
	for (unsigned k = 0; k < 2 && !error; k++)
		error = of[k]->setup(of[k], POOL_BYTES);
	for (unsigned k = 0; k < 2 && !error; k++) {
		struct job one = { .row = of[k], .work = job->work };

		error = warm_up(&s[k], &one);
	}
	if (!error)
		error = run_in_turns(s, job, result->value);
	if (error)
		snprintf(result->error, sizeof result->error, "%s", error);
}

/* ---- the rounds ---- */

static struct row rows[ROWS_MAX];
static unsigned row_count;

/* What is known of one allocator under one workload. */
static struct cell {
	struct bench_series ns, to_glibc, to_boost;
	struct bench_series added;	/* ns a call to the library alone, of its module */
	double now;			/* this round's, 0: none */
	char error[160];
} cells[WORKLOADS][HOWS][ROWS_MAX];

static bool told_of(unsigned w, enum how how)
{
	return !workloads[w].alone || how == (workloads[w].pairs ? ONE : PROCESSES);
}

/* Only what makes sense: Boost is for processes, a heap in each is the same for all managers of pkg. */
static bool wanted(const struct bench_options *o, unsigned w, enum how how, unsigned r)
{
	if (!told_of(w, how))
		return false;
	if (how == THREADS && rows[r].shared)
		return false;
	if (workloads[w].pairs == grow && !rows[r].realloc)
		return false;
	if (workloads[w].alone && rows[r].inlined)
		return false;
	return r <= ROW_BOOST || !o->only || strstr(rows[r].name, o->only);
}

static void measure_cell(const struct bench_options *o, unsigned w, enum how how, unsigned r)
{
	struct cell *c = &cells[w][how][r];
	struct job job = { &rows[r], &workloads[w], how, (uint64_t)(60e6 * o->scale), NULL };
	struct bench_result result = { .error = "" };

	if (!workloads[w].pairs && !rows[r].shared)
		job.how = THREADS;		/* nobody else can free what is private */
	c->now = 0;
	if (!wanted(o, w, how, r) || c->error[0])	/* what failed once is not tried again: it may cost a minute */
		return;
	bench_in_child(measure, &job, &result);
	if (result.error[0]) {
		memcpy(c->error, result.error, sizeof c->error);
		return;
	}
	c->now = result.value[0];
	bench_add(&c->ns, c->now);
}

/* A module's row follows its library's. */
static void measure_added(const struct bench_options *o, unsigned w, unsigned r)
{
	struct job job = { &rows[r], &workloads[w], ONE, (uint64_t)(60e6 * o->scale), &rows[r + 1] };
	struct bench_result result = { .error = "" };

	if (strncmp(rows[r].name, "bare ", 5) != 0 || workloads[w].alone || !wanted(o, w, ONE, r + 1))
		return;
	bench_in_child(measure_in_turns, &job, &result);
	if (!result.error[0])
		bench_add(&cells[w][ONE][r + 1].added, (result.value[1] - result.value[0]) / 2);
}

static void ratios(struct cell *row)
{
	for (unsigned r = 0; r < row_count; r++) {
		if (row[r].now > 0 && row[ROW_GLIBC].now > 0)
			bench_add(&row[r].to_glibc, row[r].now / row[ROW_GLIBC].now);
		if (row[r].now > 0 && row[ROW_BOOST].now > 0)
			bench_add(&row[r].to_boost, row[r].now / row[ROW_BOOST].now);
	}
}

static void one_round(const struct bench_options *o, unsigned round)
{
	for (unsigned w = 0; w < WORKLOADS; w++)
		for (enum how how = 0; how < HOWS; how++) {
			for (unsigned i = 0; i < row_count; i++)
				measure_cell(o, w, how, round % 2 ? row_count - 1 - i : i);
			ratios(cells[w][how]);
			for (unsigned r = 0; how == ONE && r < row_count; r++)
				measure_added(o, w, r);
		}
}

/* ---- output ---- */

static void ratio_text(const struct bench_series *s, char *text, size_t bytes)
{
	struct bench_spread x = bench_spread(s);

	if (s->n)
		snprintf(text, bytes, "%.2f [%.2f-%.2f]", x.median, x.min, x.max);
	else
		snprintf(text, bytes, "-");
}

static void print_row(const struct row *row, const struct cell *c)
{
	char glibc[48], boost[48];

	if (c->error[0]) {
		printf("  %-24s %s\n", row->name, c->error);
		return;
	}
	if (!c->ns.n)
		return;
	ratio_text(&c->to_glibc, glibc, sizeof glibc);
	ratio_text(&c->to_boost, boost, sizeof boost);
	printf("  %-24s %8.1f   %-22s %s\n", row->name, bench_spread(&c->ns).median, glibc, boost);
}

static void print_json(const struct row *row, unsigned w, enum how how, const struct cell *c)
{
	if (!c->ns.n && !c->error[0])
		return;
	printf("{\"bench\":\"pairs\",\"workload\":\"%s\",\"in\":\"%s\",\"allocator\":\"%s\",", workloads[w].name, how_name[how],
	       row->name);
	bench_json_series(stdout, "ns", &c->ns);
	putchar(',');
	bench_json_series(stdout, "to_glibc", &c->to_glibc);
	putchar(',');
	bench_json_series(stdout, "to_boost", &c->to_boost);
	if (c->error[0]) {
		printf(",\"error\":");
		bench_json_string(stdout, c->error);
	}
	puts("}");
}

static void print_all(const struct bench_options *o)
{
	for (unsigned w = 0; w < WORKLOADS; w++)
		for (enum how how = 0; how < HOWS; how++) {
			if (!told_of(w, how))
				continue;
			if (!o->json)
				printf("%s, %s\n  %-24s %8s   %-22s %s\n", workloads[w].name, how_name[how], "", "ns", "x glibc",
				       "x Boost");
			for (unsigned r = 0; r < row_count; r++)
				if (o->json)
					print_json(&rows[r], w, how, &cells[w][how][r]);
				else
					print_row(&rows[r], &cells[w][how][r]);
			if (!o->json)
				putchar('\n');
		}
}

/* ---- goals ---- */

static const struct cell *cell_of(const char *name, unsigned w, enum how how)
{
	static const struct cell none;

	for (unsigned r = 0; r < row_count; r++)
		if (!strcmp(rows[r].name, name))
			return &cells[w][how][r];
	return &none;
}

/* What a call is longer in `on` than in `off`: half of the difference of a pair, round by round. */
static bool adds_goal(const struct bench_options *o, const char *off, const char *on, unsigned w, double limit)
{
	const struct cell *a = cell_of(off, w, ONE), *b = cell_of(on, w, ONE);
	struct bench_series added = { .n = 0 };
	char goal[128];

	if (o->only && !b->ns.n)
		return true;			/* not asked for */
	if (b->added.n)
		added = b->added;
	for (unsigned i = 0; !b->added.n && i < a->ns.n && i < b->ns.n; i++)
		bench_add(&added, (b->ns.v[i] - a->ns.v[i]) / 2);
	snprintf(goal, sizeof goal, "%s, %s: <= %g ns a call more than %s", on, workloads[w].name, limit, off);
	return bench_goal(o, "pairs", goal, &added, limit);
}

static bool adds_goals(const struct bench_options *o, const struct row *row, unsigned w)
{
	char other[48];

	if (row->track) {
		snprintf(other, sizeof other, "pkg %s", row->manager);
		return adds_goal(o, other, row->name, w, 20);
	}
	if (!strncmp(row->name, "bare ", 5)) {
		snprintf(other, sizeof other, "pkg module:%s", row->manager);
		return adds_goal(o, row->name, other, w, 5);
	}
	return true;
}

static bool goals(const struct bench_options *o)
{
	bool ok = true;

	ok &= bench_goal(o, "pairs", "pkg fm, lifo 64 B: <= 1.5 x glibc", &cell_of("pkg fm", 0, ONE)->to_glibc, 1.5);
	ok &= bench_goal(o, "pairs", "shm fm, lifo 64 B: <= 0.5 x Boost rbtree_best_fit",
			 &cell_of("shm fm", 0, ONE)->to_boost, 0.5);
	ok &= bench_goal(o, "pairs", "shm fm, lifo 64 B, 2 processes: <= 0.5 x Boost rbtree_best_fit",
			 &cell_of("shm fm", 0, PROCESSES)->to_boost, 0.5);
	ok &= bench_goal(o, "pairs", "shm fm, lifo 64 B: <= 0.8 x glibc's private pair", &cell_of("shm fm", 0, ONE)->to_glibc, 0.8);
	ok &= bench_goal(o, "pairs", "shm fm, lifo 64 B, 2 processes: <= 0.8 x glibc's private pair",
			 &cell_of("shm fm", 0, PROCESSES)->to_glibc, 0.8);
	ok &= bench_goal(o, "pairs", "shm fm, inline, lifo 64 B: <= 0.8 x glibc's private pair",
			 &cell_of("shm fm, inline", 0, ONE)->to_glibc, 0.8);
	ok &= bench_goal(o, "pairs", "shm fm, inline, lifo 64 B, 2 processes: <= 0.8 x glibc's private pair",
			 &cell_of("shm fm, inline", 0, PROCESSES)->to_glibc, 0.8);
	ok &= bench_goal(o, "pairs", "pkg fm, lifo 64 B: <= 0.7 x glibc", &cell_of("pkg fm", 0, ONE)->to_glibc, 0.7);
	ok &= bench_goal(o, "pairs", "pkg fm, inline, lifo 64 B: <= 0.35 x glibc", &cell_of("pkg fm, inline", 0, ONE)->to_glibc,
			 0.35);
	for (unsigned r = 0; r < row_count; r++)
		for (unsigned w = 0; w < WORKLOADS && !workloads[w].alone; w++)
			ok &= adds_goals(o, &rows[r], w);
	return ok;
}

int main(int argc, char **argv)
{
	struct bench_options o;
	bool ok;

	bench_options(argc, argv, "Times malloc+free pairs of every manager beside glibc and Boost.Interprocess.", &o);
	bench_sandbox();
	row_count = rows_all(rows);
	bench_machine(&o, "pairs");
	for (unsigned round = 0; round < o.rounds; round++) {
		if (isatty(2))
			fprintf(stderr, "round %u of %u%c", round + 1, o.rounds, round + 1 < o.rounds ? '\r' : '\n');
		one_round(&o, round);
	}
	print_all(&o);
	ok = goals(&o);
	return ok ? 0 : 1;
}
