/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does looking cost: the daemon, the one who asks, and the program that is looked at?
 *
 *	filler	holds N fragments in a shared pool, and goes on with 20 malloc+free pairs every 200 us ("a request")
 *	mmd	its own, on a socket in the sandbox
 *	here	one connection asks for stats, dump (all pages), summary, leaks, check; a second one pings meanwhile
 *
 * Told: how long stats take; a whole dump, and the slowest ping during it; the longest hold of the pool's lock that a
 * report owns up to (pause_us); mmd's peak memory; and the filler's 99.9 percentile with reports beside that without.
 */
#include "ask.h"
#include "bench.h"

#include <math.h>
#include <memapi/manager.h>
#include <memapi/memapi.h>
#include <memapi/memcore.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the program that is looked at ---- */

enum phase { FILLING, QUIET, REPORTS, OVER };
enum { PHASES = OVER, BUCKETS = 1 << 16, BUCKET_NS = 100, PAIRS = 20, PAUSE_US = 200 };

/* Between filler and here, in shared memory. */
static struct stage {
	_Atomic enum phase phase;
	_Atomic uint64_t filled;
	uint32_t latency[PHASES][BUCKETS];	/* requests by time; the last bucket: or longer */
	char error[160];
} * stage;

struct scene { const char *manager; size_t fragments; };

static void request(void **held)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		shm_free(held[i]);
		held[i] = shm_malloc(40 + 8 * i);
	}
}

static void serve(void)
{
	void *held[PAIRS] = { NULL };

	for (enum phase phase; (phase = atomic_load(&stage->phase)) != OVER; ) {
		uint64_t from = bench_ns(CLOCK_MONOTONIC), ns;

		request(held);
		ns = (bench_ns(CLOCK_MONOTONIC) - from) / BUCKET_NS;
		if (phase != FILLING)
			stage->latency[phase][ns < BUCKETS ? ns : BUCKETS - 1]++;
		usleep(PAUSE_US);
	}
}

static _Noreturn void filler(const struct scene *scene)
{
	char size[32];

	snprintf(size, sizeof size, "%zu", scene->fragments * 160 + (64 << 20));
	setenv("MEMAPI_SHM_SIZE", size, 1);
	if (shm_init_manager(scene->manager)) {
		snprintf(stage->error, sizeof stage->error, "%s", memapi_error());
		_exit(1);
	}
	for (uint64_t i = 0; i < scene->fragments; i++) {
		void *p = i % 3 ? mem_shm_malloc(64, MEM_SITE) : mem_shm_malloc(24, MEM_SITE);

		if (!p) {
			snprintf(stage->error, sizeof stage->error, "only %llu fragments fit", (unsigned long long)i);
			_exit(1);
		}
		atomic_store(&stage->filled, i + 1);
	}
	serve();
	_exit(0);
}

/* The time below which the share `q` of the requests stayed, in us. */
static double latency_us(enum phase phase, double q)
{
	uint64_t all = 0, seen = 0;

	for (unsigned i = 0; i < BUCKETS; i++)
		all += stage->latency[phase][i];
	for (unsigned i = 0; i < BUCKETS; i++)
		if ((double)(seen += stage->latency[phase][i]) >= q * (double)all)
			return (i + 1) * (BUCKET_NS / 1e3);
	return NAN;
}

/* ---- the daemon ---- */

/* Peak of what a process held that was its own (mappings of pools are not mmd's memory), in MiB; NAN: unknown. */
static double memory_mib(pid_t pid, const char *field)
{
	char path[64], line[128];
	double kib = NAN;
	FILE *in;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
	in = fopen(path, "r");
	while (in && fgets(line, sizeof line, in))
		if (!strncmp(line, field, strlen(field)))
			kib = strtod(line + strlen(field), NULL);
	if (in)
		fclose(in);
	return kib / 1024;
}

/* ---- what is asked ---- */

static struct figures {
	struct bench_series stats, stats_worst, dump, page_worst, ping_worst, pause, check, summary, memory, tail;
	double fragments;
} figures;

struct pinger { _Atomic bool stop; double worst_ms; unsigned count; };

static void *ping_on(void *arg)
{
	struct pinger *p = arg;
	struct link l;

	if (!ask_open(&l))
		return NULL;
	for (double ms; !atomic_load(&p->stop) && !isnan(ms = ask(&l, "ping", "{}")); usleep(1000), p->count++)
		p->worst_ms = fmax(p->worst_ms, ms);
	ask_close(&l);
	return NULL;
}

static void stats_round(struct link *l)
{
	struct bench_series ms = { .n = 0 };

	for (unsigned i = 0; i < ROUNDS_MAX; i++)
		bench_add(&ms, ask(l, "stats", "{\"domain\":\"shm\"}"));
	bench_add(&figures.stats, bench_spread(&ms).median);
	bench_add(&figures.stats_worst, bench_spread(&ms).max);
}

/* Pages through everything. Returns the fragments seen, -1 on an error. */
static double dump_all(struct link *l, double *ret_pause, double *ret_page_ms)
{
	char cursor[ASK_CURSOR] = "";
	double seen = 0, page, ms;

	do {
		page = ask_page(l, cursor, &ms);
		if (page < 0)
			return -1;
		*ret_page_ms = fmax(*ret_page_ms, ms);
		*ret_pause = fmax(*ret_pause, ask_pause(l));
		seen += page;
	} while (*cursor);
	return seen;
}

static bool reports_round(struct link *l)
{
	struct pinger pinger = { .stop = false };
	double pause = 0, page = 0, ms;
	uint64_t from;
	pthread_t thread;

	if (pthread_create(&thread, NULL, ping_on, &pinger))
		return false;
	from = bench_ns(CLOCK_MONOTONIC);
	figures.fragments = dump_all(l, &pause, &page);
	bench_add(&figures.dump, (double)(bench_ns(CLOCK_MONOTONIC) - from) / 1e9);
	bench_add(&figures.page_worst, page);
	ms = ask(l, "summary", "{\"domain\":\"shm\"}");
	bench_add(&figures.summary, ms);
	pause = fmax(pause, ask_pause(l));
	ms = ask(l, "check", "{\"domain\":\"shm\"}");
	bench_add(&figures.check, ms);
	pause = fmax(pause, ask_pause(l));
	atomic_store(&pinger.stop, true);
	pthread_join(thread, NULL);
	bench_add(&figures.ping_worst, pinger.worst_ms);
	bench_add(&figures.pause, pause);
	return figures.fragments >= 0;
}

/* ---- one scene ---- */

static const char *await_filled(const struct scene *scene, pid_t pid)
{
	while (atomic_load(&stage->filled) < scene->fragments) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return stage->error[0] ? stage->error : "the filler died";
		usleep(10000);
	}
	return NULL;
}

static void in_phase(enum phase phase, unsigned seconds)
{
	atomic_store(&stage->phase, phase);
	sleep(seconds);
}

/* value[0] to [1]: the tail of requests, quiet and with reports, us. */
static const char *look(unsigned rounds, pid_t daemon)
{
	struct link l;
	const char *error = NULL;

	if (!ask_open(&l))
		return "the daemon does not answer";
	for (unsigned i = 0; i < rounds && !error; i++) {
		memset(stage->latency, 0, sizeof stage->latency);
		in_phase(QUIET, 2);
		atomic_store(&stage->phase, REPORTS);
		stats_round(&l);
		error = reports_round(&l) ? NULL : "dump was refused";
		atomic_store(&stage->phase, QUIET);
		bench_add(&figures.tail, latency_us(REPORTS, 0.999) / latency_us(QUIET, 0.999));
	}
	bench_add(&figures.memory, memory_mib(daemon, "VmHWM:"));
	ask_close(&l);
	return error;
}

static const char *play(const struct scene *scene, unsigned rounds, const char *self)
{
	pid_t fill, daemon;
	const char *error;

	memset(&figures, 0, sizeof figures);
	memset(stage, 0, sizeof *stage);
	fflush(NULL);
	fill = fork();
	if (!fill)
		filler(scene);
	error = await_filled(scene, fill);
	if (error)
		return error;
	daemon = ask_daemon(self);
	error = daemon > 0 ? look(rounds, daemon) : "mmd did not start";
	ask_end(daemon, SIGTERM);
	atomic_store(&stage->phase, OVER);
	waitpid(fill, NULL, 0);
	return error;
}

/* ---- output ---- */

static const struct { const char *name, *unit; size_t at; } columns[] = {
	{ "stats_ms", "stats, median, ms", offsetof(struct figures, stats) },
	{ "stats_worst_ms", "stats, slowest of 64, ms", offsetof(struct figures, stats_worst) },
	{ "dump_s", "dump, all pages, s", offsetof(struct figures, dump) },
	{ "page_worst_ms", "dump, slowest page of 10000, ms", offsetof(struct figures, page_worst) },
	{ "ping_worst_ms", "ping meanwhile, slowest, ms", offsetof(struct figures, ping_worst) },
	{ "summary_ms", "summary, ms", offsetof(struct figures, summary) },
	{ "check_ms", "check, ms", offsetof(struct figures, check) },
	{ "pause_us", "longest hold of the pool's lock, us", offsetof(struct figures, pause) },
	{ "daemon_mib", "mmd's peak memory, MiB", offsetof(struct figures, memory) },
	{ "tail_ratio", "99.9 percentile of requests, x quiet", offsetof(struct figures, tail) },
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static const struct bench_series *column(size_t i)
{
	return (const struct bench_series *)(const void *)((const char *)&figures + columns[i].at);
}

static void print(const struct bench_options *o, const struct scene *scene, const char *error)
{
	if (o->json)
		printf("{\"bench\":\"introspect\",\"manager\":\"%s\",\"fragments\":%zu", scene->manager, scene->fragments);
	else
		printf("shm %s, %zu fragments%s%s\n", scene->manager, scene->fragments, error ? ": " : "", error ? error : "");
	for (size_t i = 0; i < COLUMNS && !error; i++) {
		struct bench_spread x = bench_spread(column(i));

		if (!o->json) {
			printf("  %-38s %9.2f [%.2f-%.2f]\n", columns[i].unit, x.median, x.min, x.max);
			continue;
		}
		putchar(',');
		bench_json_series(stdout, columns[i].name, column(i));
	}
	if (o->json && error) {
		printf(",\"error\":");
		bench_json_string(stdout, error);
	}
	puts(o->json ? "}" : "");
}

static bool goals(const struct bench_options *o, const struct scene *scene)
{
	static const struct { const char *goal; size_t at; double limit; size_t fragments; } rows[] = {
		{ "stats answer in < 2 ms with 1,000,000 fragments", offsetof(struct figures, stats), 2, 1000000 },
		{ "a ping stays < 20 ms while a dump streams", offsetof(struct figures, ping_worst), 20, 0 },
		{ "no report holds the pool's lock for more than 100 us", offsetof(struct figures, pause), 100, 0 },
		{ "mmd's memory < 64 MiB", offsetof(struct figures, memory), 64, 0 },
		{ "99.9 percentile of requests with reports <= 1.2 x without", offsetof(struct figures, tail), 1.2, 0 },
	};
	bool ok = true;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char goal[128];

		if (rows[i].fragments && (double)scene->fragments > (double)rows[i].fragments)
			continue;
		snprintf(goal, sizeof goal, "shm %s, %zu: %s", scene->manager, scene->fragments, rows[i].goal);
		ok &= bench_goal(o, "introspect", goal,
				 (const struct bench_series *)(const void *)((const char *)&figures + rows[i].at),
				 rows[i].limit);
	}
	if (!o->json)
		putchar('\n');
	return ok;
}

static bool scene_run(const struct bench_options *o, const char *manager, size_t fragments, const char *self)
{
	struct scene scene = { manager, (size_t)((double)fragments * o->scale) };
	const char *error = play(&scene, o->rounds < 3 ? o->rounds : 3, self);

	print(o, &scene, error);
	return !error && goals(o, &scene);
}

int main(int argc, char **argv)
{
	const struct mem_manager *m;
	struct bench_options o;
	bool ok = true;

	bench_options(argc, argv, "Times reports of a pool of 1,000,000 and 2,000,000 fragments, at most 3 rounds.", &o);
	bench_sandbox();
	stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stage == MAP_FAILED)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	bench_machine(&o, "introspect");
	for (size_t i = 0; (m = mem_manager_at(i)); i++) {
		if (!m->shm || (o.only && !strstr(m->name, o.only)))
			continue;
		ok &= scene_run(&o, m->name, 1000000, argv[0]);
		ok &= scene_run(&o, m->name, 2000000, argv[0]);
	}
	return ok ? 0 : 1;
}
