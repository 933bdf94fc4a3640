/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What do those who are served notice of reports?
 *
 *	mmd		hosts a pool
 *	registrar	examples/registrar on it, two workers; N phones are registered, one fragment each
 *	here		an open loop: RATE phones a second register again, whether answers come or not
 *	reporter	asks mmd for stats, summary, leaks, failures, check, pages of dump, without a pause
 *	idle reporter	the same with idle priority (chrt -i 0): what is done with answers is its own affair
 *	burner		does arithmetic, without a pause: what any busy program costs that looks at nothing
 *
 * All fragments come from real REGISTERs, one address each: the registrar takes some 80000 a second, so that two
 * millions are there in half a minute. Quiet, beside the reporter and beside the burner take turns of a quarter second,
 * in changing order, so that whatever else the machine does falls on all of them; TURNS of each are a round, and ratios
 * are taken within a round. A reply's time goes from just before sendto() to the kernel's time stamp of the reply, so
 * that a late client counts as late ("client late"), not as a slow server; being open, the loop sends what is due
 * however slow the answers are. The sweeper sleeps all the while: to go over two million addresses costs more than
 * all that is asked here, and falls into some turns and not into others.
 *
 * A virtual machine's host stops a CPU for milliseconds, some times a second, which is more than all else that is to be
 * seen here. Requests that were under way then are left out, whatever the phase ("left out"; stalls.h). The kernel's
 * own figure stands beside the percentiles: how long a worker of the registrar that could run waited for a CPU.
 *
 * Reports take no lock, but CPU time. `chrt -r 10 bench_serve` takes that out of the picture: registrar and phones go
 * first then, mmd, reporter and burner keep their normal priority, and what is left are locks, memory and the kernel.
 */
#include "ask.h"
#include "bench.h"
#include "phones.h"
#include "stalls.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <memapi/manager.h>
#include <memapi/memcore.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/behind.h"

enum { QUIET, REPORTS, POLITE, BUSY, PHASES };
enum {
	FRAGMENTS = 2000000, RATE = 4000, TURNS = 24, TURN = RATE / 4, ROUND = TURN * TURNS,
	BYTES_A_PHONE = 1280,			/* with room to spare: the pool commits what it needs */
	STEP = 7919,				/* phones register again in this stride, so that none does twice soon */
	GRACE_MS = 1000, PAGES = 20, LEFT_OUT = -1000000000,	/* below all times, even when the clock goes back */
};

/* ---- a turn: an open loop ---- */

/* What a round has seen of a phase. */
struct seen {
	double took_us[ROUND], late_us[ROUND];
	uint32_t answered, refused, left_out;	/* left out: took_us is negative */
	double waited_ns, slices;		/* of the registrar */
};

struct flight {
	uint64_t first;				/* number of its first request */
	_Atomic uint64_t sent[TURN];		/* CLOCK_REALTIME */
	double *took_us;			/* NAN: no answer */
	double *late_us;
	_Atomic uint32_t answered;
	uint32_t refused;
	_Atomic bool over;
};

static void *receive_on(void *arg)
{
	struct flight *f = arg;
	struct reply r;

	while (!atomic_load(&f->over)) {
		if (!phone_receive(&r) || r.number - f->first >= TURN || !isnan(f->took_us[r.number - f->first]))
			continue;
		f->took_us[r.number - f->first] =
			(double)(int64_t)(r.ns - atomic_load(&f->sent[r.number - f->first])) / 1e3;
		f->refused += !r.ok;
		atomic_fetch_add(&f->answered, 1);
	}
	return NULL;
}

static void fly(struct flight *f)
{
	uint64_t start = bench_ns(CLOCK_MONOTONIC) + 1000000, pause = 1000000000u / RATE;

	for (uint32_t i = 0; i < TURN; i++) {
		uint64_t due = start + i * pause;
		struct timespec at = { (time_t)(due / 1000000000u), (long)(due % 1000000000u) };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		f->late_us[i] = (double)(bench_ns(CLOCK_MONOTONIC) - due) / 1e3;
		atomic_store(&f->sent[i], bench_ns(CLOCK_REALTIME));
		phone_send((uint32_t)((f->first + i) * STEP % phones.count), f->first + i);
	}
	for (unsigned i = 0; i < GRACE_MS && atomic_load(&f->answered) < TURN; i++)
		usleep(1000);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double share_of(const double *sorted, uint32_t count, double q) { return sorted[(uint32_t)(q * (count - 1))]; }

static struct figures {
	struct bench_series p50[PHASES], p99[PHASES], p999[PHASES], worst[PHASES], late[PHASES], left_out[PHASES],
		waited[PHASES];
	struct bench_series ratio, polite_ratio, busy_ratio, polite_asked, beside_busy, pause, asked, lost, refused,
		fill_s;
	double fragments;
	bool watched;			/* for times when the machine stood still */
} figures;

static void leave_out(struct seen *seen, const struct flight *f)
{
	for (uint32_t i = 0; i < TURN; i++) {
		uint64_t from = atomic_load(&f->sent[i]);

		if (isnan(f->took_us[i]) || !stalls_between(from, from + (uint64_t)(f->took_us[i] * 1e3)))
			continue;
		f->took_us[i] = LEFT_OUT;
		seen->left_out++;
	}
}

/* What is lost took all of GRACE_MS. */
static const char *tell(struct seen *seen, unsigned phase)
{
	uint32_t kept = ROUND - seen->left_out;
	const double *took = seen->took_us + seen->left_out;

	for (uint32_t i = 0; i < ROUND; i++)
		if (isnan(seen->took_us[i]))
			seen->took_us[i] = GRACE_MS * 1e3;
	qsort(seen->took_us, ROUND, sizeof *seen->took_us, ascending);
	qsort(seen->late_us, ROUND, sizeof *seen->late_us, ascending);
	if (kept < ROUND / 2)
		return "the machine stands still more often than not";
	if (took[0] <= 0)
		return "the clock was set back meanwhile";
	bench_add(&figures.p50[phase], share_of(took, kept, 0.5));
	bench_add(&figures.p99[phase], share_of(took, kept, 0.99));
	bench_add(&figures.p999[phase], share_of(took, kept, 0.999));
	bench_add(&figures.worst[phase], took[kept - 1]);
	bench_add(&figures.late[phase], share_of(seen->late_us, ROUND, 0.999));
	bench_add(&figures.left_out[phase], 100.0 * seen->left_out / ROUND);
	bench_add(&figures.waited[phase], seen->slices > 0 ? seen->waited_ns / seen->slices / 1e3 : NAN);
	bench_add(&figures.lost, ROUND - seen->answered);
	bench_add(&figures.refused, seen->refused);
	return NULL;
}

/* ---- what the registrar waited ---- */

static pid_t registrar_pid;

static void add_schedstat(const char *task, double *waited_ns, double *slices)
{
	unsigned long long ran, waited, n;
	char path[128];
	FILE *in;

	snprintf(path, sizeof path, "/proc/%.20s/schedstat", task);
	in = fopen(path, "r");
	if (in && fscanf(in, "%llu %llu %llu", &ran, &waited, &n) == 3) {
		*waited_ns += (double)waited;
		*slices += (double)n;
	}
	if (in)
		fclose(in);
}

/* Of its workers, which are its children: how long they could have run and did not, and how often they ran. sign: ±1 */
static void workers_waited(struct seen *seen, double sign)
{
	double waited_ns = 0, slices = 0;
	char path[64], child[24];
	FILE *in;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)registrar_pid, (int)registrar_pid);
	in = fopen(path, "r");
	while (in && fscanf(in, "%20s", child) == 1)
		add_schedstat(child, &waited_ns, &slices);
	if (in)
		fclose(in);
	seen->waited_ns += sign * waited_ns;
	seen->slices += sign * slices;
}

/* ---- who disturbs ---- */

/* Who disturbs has no real-time priority, though the rest may have. */
static void be(int policy) { pthread_setschedparam(pthread_self(), policy, &(struct sched_param){ 0 }); }

/* From turn to turn it goes on where it was. */
struct reporter {
	_Atomic bool stop;
	int policy;
	double pause_us;
	unsigned asked;
	bool failed;
	char cursor[ASK_CURSOR];
};

/* The n-th: each of the methods, then PAGES of the dump, and again. */
static bool report(struct link *l, unsigned n, char cursor[ASK_CURSOR])
{
	static const char *const methods[] = { "stats", "summary", "leaks", "failures", "check" };
	enum { METHODS = sizeof methods / sizeof *methods };
	double ms;

	n %= METHODS + PAGES;
	if (n >= METHODS)
		return ask_page(l, cursor, &ms) >= 0;
	return !isnan(ask(l, methods[n], "{\"domain\":\"shm\"}")) && ask_good(l);
}

static void *report_on(void *arg)
{
	struct reporter *r = arg;
	struct link l;

	be(r->policy);
	ctl_go_behind();			/* as mmctl does */
	r->failed = !ask_open(&l);
	if (r->failed)
		return NULL;
	while (!atomic_load(&r->stop) && !r->failed) {
		r->failed = !report(&l, r->asked++, r->cursor);
		if (!r->failed)
			r->pause_us = fmax(r->pause_us, ask_pause(&l));
	}
	ask_close(&l);
	return NULL;
}

static void *burn_on(void *arg)
{
	struct reporter *r = arg;
	uint64_t state = 1, sum = 0;

	be(r->policy);
	while (!atomic_load(&r->stop))
		for (unsigned i = 0; i < 1000; i++)
			sum += bench_random(&state);
	r->asked = sum != 0;			/* so that it is computed at all */
	return NULL;
}

static const char *turn(unsigned phase, unsigned n, struct seen *seen, struct reporter *r)
{
	static void *(*const body[PHASES])(void *) = { NULL, report_on, report_on, burn_on };
	static struct flight f;
	pthread_t receiver, other;
	bool disturbed;

	f.first = phones.next;
	f.took_us = seen->took_us + (size_t)n * TURN;
	f.late_us = seen->late_us + (size_t)n * TURN;
	f.refused = 0;
	atomic_store(&f.answered, 0);
	atomic_store(&f.over, false);
	atomic_store(&r->stop, false);
	for (uint32_t i = 0; i < TURN; i++)
		f.took_us[i] = NAN;
	if (pthread_create(&receiver, NULL, receive_on, &f))
		return "no thread";
	disturbed = body[phase] && !pthread_create(&other, NULL, body[phase], r);
	usleep(20000);				/* the other one is at work */
	workers_waited(seen, -1);
	fly(&f);
	workers_waited(seen, 1);
	atomic_store(&r->stop, true);
	atomic_store(&f.over, true);
	pthread_join(receiver, NULL);
	if (disturbed)
		pthread_join(other, NULL);
	leave_out(seen, &f);
	seen->answered += atomic_load(&f.answered);
	seen->refused += f.refused;
	phones.next += TURN;
	return body[phase] && !disturbed ? "no thread" : r->failed ? "a report was refused" : NULL;
}

static const char *round_run(unsigned round)
{
	struct seen *seen = calloc(PHASES, sizeof *seen);
	struct reporter r[PHASES] = { [POLITE] = { .policy = SCHED_IDLE } };
	const char *error = seen ? NULL : "out of memory";

	for (unsigned n = 0; n < TURNS && !error; n++)
		for (unsigned j = 0; j < PHASES && !error; j++) {
			unsigned phase = (round + n + (n % 2 ? PHASES - j : j)) % PHASES;

			error = turn(phase, n, &seen[phase], &r[phase]);
		}
	for (unsigned phase = 0; phase < PHASES && !error; phase++)
		error = tell(&seen[phase], phase);
	bench_add(&figures.pause, fmax(r[REPORTS].pause_us, r[POLITE].pause_us));
	bench_add(&figures.asked, r[REPORTS].asked);
	bench_add(&figures.polite_asked, r[POLITE].asked);
	free(seen);
	return error;
}

/* ---- the scene ---- */

static const char *fragments_count(void)
{
	json_object *r = NULL, *pools, *pool, *name;
	struct link l;

	if (!ask_open(&l))
		return "the daemon does not answer";
	if (!isnan(ask(&l, "stats", "{\"domain\":\"shm\"}")))
		r = ask_result(&l, "stats");
	if (json_object_object_get_ex(r, "pools", &pools))
		for (size_t i = 0; i < json_object_array_length(pools); i++)
			if ((pool = json_object_array_get_idx(pools, i)) && json_object_object_get_ex(pool, "name", &name) &&
			    !strcmp(json_object_get_string(name), "serve"))
				figures.fragments = ask_number(pool, "fragments");
	json_object_put(r);
	ask_close(&l);
	return figures.fragments >= phones.count ? NULL : "fragments are missing from stats";
}

static double ratio(const struct bench_series *a, const struct bench_series *b)
{
	return a->n && b->n ? a->v[a->n - 1] / b->v[b->n - 1] : NAN;
}

static const char *rounds_run(unsigned rounds)
{
	const char *error = NULL;

	for (unsigned i = 0; i < rounds && !error; i++) {
		error = round_run(i);
		if (error)
			break;
		bench_add(&figures.ratio, ratio(&figures.p999[REPORTS], &figures.p999[QUIET]));
		bench_add(&figures.polite_ratio, ratio(&figures.p999[POLITE], &figures.p999[QUIET]));
		bench_add(&figures.busy_ratio, ratio(&figures.p999[BUSY], &figures.p999[QUIET]));
		bench_add(&figures.beside_busy, ratio(&figures.p999[REPORTS], &figures.p999[BUSY]));
	}
	return error;
}

static bool configure(const char *manager, uint32_t count)
{
	char path[128];
	FILE *conf;

	snprintf(path, sizeof path, "%s/mmd.conf", bench_sandbox());
	conf = fopen(path, "w");
	if (!conf)
		return false;
	fprintf(conf, "memory.shm.manager = %s\n[pool.serve]\nsize = %lluM\n", manager,
		((unsigned long long)count * BYTES_A_PHONE >> 20) + 256);
	return !fclose(conf);
}

static const char *play(const char *manager, uint32_t count, unsigned rounds, const char *self)
{
	pid_t daemon = -1, registrar = -1;
	const char *error = NULL;
	unsigned port = 0;

	memset(&figures, 0, sizeof figures);
	if (!configure(manager, count))
		return "the configuration cannot be written";
	daemon = ask_daemon(self);
	if (daemon > 0)
		registrar = registrar_pid = registrar_start(self, &port);
	if (!port)
		error = daemon > 0 ? "the registrar did not start" : "mmd did not start";
	if (!error && !phones_open(port))
		error = strerror(errno);
	if (!error) {
		uint64_t from = bench_ns(CLOCK_MONOTONIC);

		error = phones_register(count);
		bench_add(&figures.fill_s, (double)(bench_ns(CLOCK_MONOTONIC) - from) / 1e9);
	}
	if (!error)
		error = fragments_count();
	if (!error) {
		figures.watched = stalls_begin();
		error = rounds_run(rounds);
		stalls_end();
	}
	phones_close();
	ask_end(registrar, SIGTERM);
	ask_end(daemon, SIGTERM);
	return error;
}

/* ---- output ---- */

static void print_row(const struct bench_options *o, const char *name, const char *text, const struct bench_series *s)
{
	struct bench_spread x = bench_spread(s);

	if (o->json) {
		putchar(',');
		bench_json_series(stdout, name, s);
	} else {
		printf("  %-46s %9.2f [%.2f-%.2f]\n", text, x.median, x.min, x.max);
	}
}

static void print_phases(const struct bench_options *o)
{
	static const char *const names[PHASES] = { "quiet", "reports", "polite", "busy" };
	static const char *const texts[PHASES] = { "quiet", "with reports", "asked idly", "beside a busy program" };
	static const struct { const char *name, *text; size_t at; } rows[] = {
		{ "p50_us", "median, us", offsetof(struct figures, p50) },
		{ "p99_us", "99 percentile, us", offsetof(struct figures, p99) },
		{ "p999_us", "99.9 percentile, us", offsetof(struct figures, p999) },
		{ "worst_us", "slowest, us", offsetof(struct figures, worst) },
		{ "late_us", "client late, 99.9 %, us", offsetof(struct figures, late) },
		{ "waited_us", "a worker waited for a CPU, us", offsetof(struct figures, waited) },
		{ "left_out", "left out, the machine stood still, %", offsetof(struct figures, left_out) },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (unsigned phase = 0; phase < PHASES; phase++) {
			char name[64], text[96];

			snprintf(name, sizeof name, "%s_%s", names[phase], rows[i].name);
			snprintf(text, sizeof text, "%s: %s", texts[phase], rows[i].text);
			print_row(o, name, text,
				  (const struct bench_series *)(const void *)((const char *)&figures + rows[i].at) +
					  phase);
		}
}

static void print(const struct bench_options *o, const char *manager, const char *error)
{
	if (o->json)
		printf("{\"bench\":\"serve\",\"manager\":\"%s\",\"fragments\":%.0f,\"rate\":%u", manager, figures.fragments,
		       RATE);
	else
		printf("registrar on shm %s, %.0f fragments, %u REGISTERs a second%s%s\n", manager, figures.fragments, RATE,
		       error ? ": " : figures.watched ? "" : "; no right to look for times when the machine stands still",
		       error ? error : "");
	if (!error) {
		print_row(o, "fill_s", "registering them, s", &figures.fill_s);
		print_phases(o);
		print_row(o, "tail_ratio", "99.9 percentile, reports x quiet", &figures.ratio);
		print_row(o, "polite_ratio", "99.9 percentile, asked idly x quiet", &figures.polite_ratio);
		print_row(o, "busy_ratio", "99.9 percentile, busy program x quiet", &figures.busy_ratio);
		print_row(o, "beside_busy", "99.9 percentile, reports x busy program", &figures.beside_busy);
		print_row(o, "pause_us", "longest hold of the pool's lock, us", &figures.pause);
		print_row(o, "asked", "reports and pages a round", &figures.asked);
		print_row(o, "polite_asked", "... asked idly", &figures.polite_asked);
		print_row(o, "lost", "requests without an answer", &figures.lost);
		print_row(o, "refused", "requests refused", &figures.refused);
	} else if (o->json) {
		printf(",\"error\":");
		bench_json_string(stdout, error);
	}
	puts(o->json ? "}" : "");
}

static bool goals(const struct bench_options *o, const char *manager)
{
	const struct { const char *goal; const struct bench_series *s; double limit; } rows[] = {
		{ "no report holds the pool's lock for more than 100 us", &figures.pause, 100 },
		{ "99.9 percentile of requests with reports <= 1.2 x without", &figures.ratio, 1.2 },
		{ "no request is lost", &figures.lost, 0 },
	};
	bool ok = true;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char goal[128];

		snprintf(goal, sizeof goal, "registrar on shm %s, %u: %s", manager, phones.count, rows[i].goal);
		ok &= bench_goal(o, "serve", goal, rows[i].s, rows[i].limit);
	}
	if (!o->json)
		putchar('\n');
	return ok;
}

int main(int argc, char **argv)
{
	const struct mem_manager *m;
	struct bench_options o;
	bool ok = true;

	bench_options(argc, argv, "Times a registrar's answers while reports are asked. Without -k: on fm alone.",
		      &o);
	bench_sandbox();
	signal(SIGPIPE, SIG_IGN);
	bench_machine(&o, "serve");
	for (size_t i = 0; (m = mem_manager_at(i)); i++) {
		const char *error;

		if (!m->shm || (o.only ? !strstr(m->name, o.only) : strcmp(m->name, "fm") != 0))
			continue;
		error = play(m->name, (uint32_t)(FRAGMENTS * o.scale), o.rounds, argv[0]);
		print(&o, m->name, error);
		ok &= !error && goals(&o, m->name);
	}
	return ok ? 0 : 1;
}
