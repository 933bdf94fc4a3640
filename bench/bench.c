/* SPDX-License-Identifier: BSD-2-Clause */
/* What the benchmarks share; the contract is in bench.h. */
#include "bench.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a place of its own ---- */

static char sandbox[64];
static pid_t sandbox_owner;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static void sandbox_remove(void)
{
	if (getpid() == sandbox_owner)
		nftw(sandbox, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* `KEY=SANDBOX/NAME` for this process and its children. */
static void point_at(const char *key, const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", sandbox, name);
	setenv(key, path, 1);
}

const char *bench_sandbox(void)
{
	char file[128];
	FILE *conf;

	if (sandbox_owner)
		return sandbox;
	strcpy(sandbox, "/dev/shm/memapi-bench-XXXXXX");
	if (!mkdtemp(sandbox)) {
		perror("/dev/shm");
		exit(1);
	}
	sandbox_owner = getpid();
	atexit(sandbox_remove);
	point_at("MEMAPI_REGISTRY", "registry");
	point_at("XDG_STATE_HOME", "state");
	point_at("XDG_RUNTIME_DIR", "run");
	point_at("MEMAPI_CONFIG", "mmd.conf");
	snprintf(file, sizeof file, "%s/run", sandbox);
	mkdir(file, 0700);
	snprintf(file, sizeof file, "%s/mmd.conf", sandbox);
	conf = fopen(file, "w");		/* empty: defaults, whatever the user's own file says */
	if (conf)
		fclose(conf);
	return sandbox;
}

/* ---- time and place ---- */

uint64_t bench_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void bench_pin(unsigned n)
{
	static cpu_set_t may;
	static int count;
	cpu_set_t one;

	if (!count) {				/* asked before the first pinning narrows the answer */
		if (sched_getaffinity(0, sizeof may, &may) == -1)
			return;
		count = CPU_COUNT(&may);
	}
	n %= (unsigned)count;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &may) || n--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof one, &one);
		return;
	}
}

/* ---- children ---- */

void bench_in_child(bench_child_fn *fn, const void *arg, struct bench_result *ret_result)
{
	struct bench_result *shared =
		mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	if (shared == MAP_FAILED || (fflush(NULL), pid = fork()) == -1) {
		snprintf(ret_result->error, sizeof ret_result->error, "no child: %s", strerror(errno));
		return;
	}
	if (!pid) {
		fn(arg, shared);
		exit(0);			/* not _exit: a pool is left in order */
	}
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	*ret_result = *shared;
	munmap(shared, sizeof *shared);
	if (WIFSIGNALED(status))
		snprintf(ret_result->error, sizeof ret_result->error, "died of signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) && !ret_result->error[0])
		snprintf(ret_result->error, sizeof ret_result->error, "exit status %d", WEXITSTATUS(status));
}

/* ---- figures ---- */

void bench_add(struct bench_series *s, double v)
{
	if (s->n < ROUNDS_MAX)
		s->v[s->n++] = v;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The value below which the share `q` of the sorted ones lies, between neighbours by line. */
static double quantile(const double *v, unsigned n, double q)
{
	double at = q * (n - 1), below = floor(at);
	unsigned i = (unsigned)below;

	return i + 1 < n ? v[i] + (at - below) * (v[i + 1] - v[i]) : v[n - 1];
}

struct bench_spread bench_spread(const struct bench_series *s)
{
	double v[ROUNDS_MAX];

	if (!s->n)
		return (struct bench_spread){ .median = NAN };
	memcpy(v, s->v, s->n * sizeof *v);
	qsort(v, s->n, sizeof *v, ascending);
	return (struct bench_spread){ quantile(v, s->n, 0.5), v[0], v[s->n - 1], quantile(v, s->n, 0.25),
				      quantile(v, s->n, 0.75) };
}

enum bench_verdict bench_judge(const struct bench_series *s, double limit)
{
	struct bench_spread x = bench_spread(s);

	return !s->n ? UNKNOWN : x.q3 <= limit ? MET : x.q1 > limit ? MISSED : NOISY;
}

/* ---- output ---- */

void bench_json_string(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < ' ')
			fprintf(out, "\\u%04x", *text);
		else
			putc(*text, out);
	putc('"', out);
}

void bench_json_series(FILE *out, const char *name, const struct bench_series *s)
{
	struct bench_spread x = bench_spread(s);

	if (!s->n)
		fprintf(out, "\"%s\":null", name);
	else
		fprintf(out, "\"%s\":{\"median\":%.4g,\"min\":%.4g,\"max\":%.4g,\"n\":%u}", name, x.median, x.min, x.max,
			s->n);
}

bool bench_goal(const struct bench_options *o, const char *bench, const char *goal, const struct bench_series *s,
		double limit)
{
	static const char *const name[] = { "met", "MISSED", "too noisy to tell", "not measured" };
	enum bench_verdict verdict = bench_judge(s, limit);
	struct bench_spread x = bench_spread(s);

	if (o->json) {
		printf("{\"bench\":\"%s\",\"goal\":", bench);
		bench_json_string(stdout, goal);
		printf(",\"limit\":%.4g,\"verdict\":\"%s\",", limit, name[verdict]);
		bench_json_series(stdout, "value", s);
		puts("}");
	} else if (verdict == UNKNOWN) {
		printf("%-18s %s\n", name[verdict], goal);
	} else {
		printf("%-18s %s: %.3g [%.3g-%.3g], limit %.3g\n", name[verdict], goal, x.median, x.min, x.max, limit);
	}
	return verdict != MISSED;
}

/* The first line of `path` that begins with `key`, from behind the colon. */
static void field_of(const char *path, const char *key, char *ret_text, size_t bytes)
{
	char line[256], *colon;
	FILE *in = fopen(path, "r");

	snprintf(ret_text, bytes, "unknown");
	while (in && fgets(line, sizeof line, in))
		if (!strncmp(line, key, strlen(key)) && (colon = strchr(line, ':'))) {
			line[strcspn(line, "\n")] = 0;
			snprintf(ret_text, bytes, "%s", colon + 1 + strspn(colon + 1, " \t"));
			break;
		}
	if (in)
		fclose(in);
}

void bench_machine(const struct bench_options *o, const char *bench)
{
	char cpu[128], memory[64];
	struct utsname kernel;
	double load = 0;

	uname(&kernel);
	getloadavg(&load, 1);
	field_of("/proc/cpuinfo", "model name", cpu, sizeof cpu);
	field_of("/proc/meminfo", "MemTotal", memory, sizeof memory);
	if (!o->json) {
		printf("%s, %ld CPUs, %s, Linux %s, %s, load %.2f at the start\n\n", cpu, sysconf(_SC_NPROCESSORS_ONLN),
		       memory, kernel.release, __VERSION__, load);
		return;
	}
	printf("{\"bench\":\"%s\",\"machine\":{\"cpu\":", bench);
	bench_json_string(stdout, cpu);
	printf(",\"cpus\":%ld,\"memory\":", sysconf(_SC_NPROCESSORS_ONLN));
	bench_json_string(stdout, memory);
	printf(",\"kernel\":");
	bench_json_string(stdout, kernel.release);
	printf(",\"compiler\":");
	bench_json_string(stdout, __VERSION__);
	printf(",\"load\":%.2f,\"time\":%lld}}\n", load, (long long)time(NULL));
}

static _Noreturn void usage(const char *program, const char *what)
{
	fprintf(stderr, "usage: %s [-o table|json] [-r ROUNDS] [-k TEXT] [-s FACTOR]\n%s\n", program, what);
	exit(2);
}

void bench_options(int argc, char **argv, const char *what, struct bench_options *ret_options)
{
	struct bench_options o = { .rounds = 7, .scale = 1 };

	for (int c; (c = getopt(argc, argv, "o:r:k:s:")) != -1; )
		switch (c) {
		case 'o':
			o.json = !strcmp(optarg, "json");
			if (!o.json && strcmp(optarg, "table"))
				usage(argv[0], what);
			break;
		case 'r':
			o.rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'k':
			o.only = optarg;
			break;
		case 's':
			o.scale = strtod(optarg, NULL);
			break;
		default:
			usage(argv[0], what);
		}
	if (optind != argc || !o.rounds || o.rounds > ROUNDS_MAX || !(o.scale > 0))
		usage(argv[0], what);
	*ret_options = o;
}
