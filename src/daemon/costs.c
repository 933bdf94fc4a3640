/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each mode is a process of its own, since it is chosen at the start; so the modes take turns of some 20 us, and what
 * else the machine does falls on all of them. Of the turns the median counts. Ratios are to the C library's malloc and
 * free, which take turns with them. Where a few pairs cost most, a turn is long enough to have some of these.
 */
#include "daemon/costs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl/memory.h"
#include "daemon/log.h"
#include "memapi/memapi.h"
#include "memapi/memcore.h"

extern char **environ;

enum { PAIRS = 1000, TURNS = 51, SIZE = 64, MODES_MAX = 16, NAME = 16, LATER_S = 5, LINE = 64 };

struct mode {
	const char *name;
	const char *track, *debug, *magazines;
	void (*pairs)(void);
	bool shm;
	unsigned more;			/* as many thousand pairs more in a turn */
};

/* ---- a mode ---- */

/* Or the compiler would leave the pair out. */
static void *seen(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static void libc_pairs(void)
{
	for (unsigned i = 0; i < PAIRS; i++)
		free(seen(malloc(SIZE)));
}

static void pkg_pairs(void)
{
	for (unsigned i = 0; i < PAIRS; i++)
		pkg_free(seen(pkg_malloc(SIZE)));
}

static void shm_pairs(void)
{
	for (unsigned i = 0; i < PAIRS; i++)
		shm_free(seen(shm_malloc(SIZE)));
}

static const struct mode modes[] = {
	{ .name = "libc", .pairs = libc_pairs },
	{ .name = "off", .track = "off", .pairs = pkg_pairs },
	{ .name = "sites", .track = "sites", .pairs = pkg_pairs },
	{ .name = "stacks", .track = "stacks", .pairs = pkg_pairs },
	{ .name = "sampled stacks", .track = "sampled", .pairs = pkg_pairs, .more = 19 },	/* one in 6,500 */
	{ .name = "guards", .track = "sites", .debug = "yes", .pairs = pkg_pairs },
	{ .name = "no magazines", .track = "off", .magazines = "no", .pairs = pkg_pairs },
	{ .name = "shm", .pairs = shm_pairs, .shm = true },
};
enum { MODES = sizeof modes / sizeof *modes };

static double turn(const struct mode *m)
{
	struct timespec a, b;

	m->pairs();				/* warm again after the others' turns */
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i <= m->more; i++)
		m->pairs();
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / PAIRS / (m->more + 1);
}

static int start_heap(const struct mode *m, const struct conf *conf)
{
	setenv("MEMAPI_TRACK", m->track ? m->track : "off", 1);
	setenv("MEMAPI_DEBUG", m->debug ? m->debug : "no", 1);
	setenv("MEMAPI_MAGAZINES", m->magazines ? m->magazines : "yes", 1);
	if (m->pairs == libc_pairs)
		return 0;
	return m->shm ? shm_init_manager(conf->manager[CONF_SHM].name) : pkg_init_manager(conf->manager[CONF_PKG].name);
}

/* For each byte that comes, a turn, and its time back. */
static void child(const struct mode *m, const struct conf *conf, int from, int to)
{
	char go;
	double ns;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (start_heap(m, conf))
		_exit(1);
	while (read(from, &go, 1) == 1) {
		ns = turn(m);
		if (write(to, &ns, sizeof ns) != sizeof ns)
			break;
	}
	_exit(0);
}

/* ---- all of them ---- */

struct runner {
	pid_t pid;
	int to, from;			/* -1: it does not run */
	double ns[TURNS];
};

static void end_runner(struct runner *r)
{
	if (r->to != -1) {
		close(r->to);
		close(r->from);
	}
	r->to = r->from = -1;
	if (r->pid > 0) {
		kill(r->pid, SIGKILL);		/* the others have its pipes, too */
		waitpid(r->pid, NULL, 0);
	}
	r->pid = -1;
}

static void start_runner(struct runner *r, const struct mode *m, const struct conf *conf)
{
	int to[2], from[2];

	*r = (struct runner){ .pid = -1, .to = -1, .from = -1 };
	if (pipe2(to, O_CLOEXEC))
		return;
	if (pipe2(from, O_CLOEXEC)) {
		close(to[0]), close(to[1]);
		return;
	}
	r->pid = fork();
	if (!r->pid) {
		close(to[1]);
		child(m, conf, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	r->to = to[1];
	r->from = from[0];
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(struct runner *r)
{
	qsort(r->ns, TURNS, sizeof *r->ns, by_size);
	return r->ns[TURNS / 2];
}

static void remove_all(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	(void)rmdir(dir);
}

/* A mode that the manager does not have, as guards in some, is left out. */
static void take_turns(struct runner runner[MODES], const char *dir)
{
	for (unsigned t = 0; t < TURNS; t++) {
		for (unsigned i = 0; i < MODES; i++) {
			struct runner *r = &runner[i];

			if (r->to == -1)
				continue;
			if (write(r->to, "", 1) != 1 || read(r->from, &r->ns[t], sizeof r->ns[t]) != sizeof r->ns[t])
				end_runner(r);
		}
		if (!t)
			remove_all(dir);	/* all heaps are open: nothing is left behind by who is killed */
	}
}

int costs_measure(const struct conf *conf)
{
	char dir[] = "/dev/shm/memapi-costs-XXXXXX";	/* where registries are */
	struct runner runner[MODES];
	double libc;

	if (!mkdtemp(dir)) {
		fprintf(stderr, "mmd: %s: %s\n", dir, strerror(errno));
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	setenv("MEMAPI_REGISTRY", dir, 1);	/* nobody is shown what lives for a moment */
	setenv("MEMAPI_CONFIG", "/dev/null", 1);
	for (unsigned i = 0; i < MODES; i++)
		start_runner(&runner[i], &modes[i], conf);
	take_turns(runner, dir);
	libc = runner[0].to == -1 ? 0 : median(&runner[0]);
	for (unsigned i = 0; i < MODES; i++) {
		if (runner[i].to != -1 && libc > 0) {
			double ns = i ? median(&runner[i]) : libc;

			printf("%-14s  %8.1f ns  %6.2f x libc\n", modes[i].name, ns, ns / libc);
		}
		end_runner(&runner[i]);
	}
	remove_all(dir);			/* what came after the first turn */
	return libc > 0 ? 0 : 1;
}

/* ---- in the daemon ---- */

struct costs {
	struct event_base *base;
	struct event *timer, *readable;
	const struct conf *conf;
	char self[512];
	pid_t pid;			/* -1: not started yet, 0: ended */
	int fd;
	size_t len;
	char said[MODES_MAX * LINE];
	struct { char mode[NAME]; double ns, ratio; } row[MODES_MAX];
	unsigned rows;
};

static const struct timeval later = { LATER_S, 0 };

static void stop_listening(struct costs *c)
{
	if (c->readable)
		event_free(c->readable);
	c->readable = NULL;
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
}

static void read_rows(struct costs *c)
{
	char *line, *rest = c->said;

	c->said[c->len] = '\0';
	while ((line = strsep(&rest, "\n")) && c->rows < MODES_MAX)
		if (sscanf(line, "%15[a-z ]%lf ns %lf x libc", c->row[c->rows].mode, &c->row[c->rows].ns,
			   &c->row[c->rows].ratio) == 3) {
			char *end = c->row[c->rows].mode + strlen(c->row[c->rows].mode);

			while (end > c->row[c->rows].mode && end[-1] == ' ')
				*--end = '\0';
			c->rows++;
		}
}

static void on_said(evutil_socket_t fd, short what, void *arg)
{
	struct costs *c = arg;
	ssize_t n = read(fd, c->said + c->len, sizeof c->said - 1 - c->len);

	(void)what;
	if (n > 0) {
		c->len += (size_t)n;
		return;
	}
	stop_listening(c);
	read_rows(c);
	event_add(c->timer, &later);		/* on a busy machine it takes a while to end, too */
}

static int execute(struct costs *c, int to)
{
	struct conf conf = *c->conf;		/* argv is not const */
	char *argv[] = { c->self, (char[]){ "--costs" }, (char[]){ "-x" }, conf.manager[CONF_SHM].name, (char[]){ "-X" },
			 conf.manager[CONF_PKG].name, *conf.file ? (char[]){ "-c" } : NULL, conf.file, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int error;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_setschedpolicy(&attr, SCHED_IDLE);
	posix_spawnattr_setschedparam(&attr, &(struct sched_param){ 0 });
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSCHEDULER);
	error = posix_spawn(&c->pid, c->self, &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (error)
		c->pid = 0;			/* it is not tried again */
	return error;
}

static void begin(struct costs *c)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return;
	c->fd = ends[0];
	if (!execute(c, ends[1]))
		c->readable = event_new(c->base, c->fd, EV_READ | EV_PERSIST, on_said, c);
	close(ends[1]);
	if (!c->readable || event_add(c->readable, NULL))
		stop_listening(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct costs *c = arg;
	int status = 0;

	(void)fd, (void)what;
	if (c->pid == -1) {
		begin(c);
	} else if (!waitpid(c->pid, &status, WNOHANG)) {
		event_add(c->timer, &later);
	} else {
		c->pid = 0;
		if (!c->rows)
			log_line(LOG_NOTICE, "what watching costs is not known: `%s --costs` says why (it ended with %#x)", c->self,
				 (unsigned)status);
	}
}

struct costs *costs_start(struct event_base *base, const char *self, const struct conf *conf)
{
	struct costs *c = ctl_zalloc(sizeof *c);

	if (!c)
		return NULL;
	c->base = base;
	c->pid = -1;
	c->fd = -1;
	snprintf(c->self, sizeof c->self, "%s", self);
	c->conf = conf;
	c->timer = event_new(base, -1, 0, on_timer, c);
	if (c->timer)
		event_add(c->timer, &later);
	return c;
}

void costs_free(struct costs *c)
{
	if (!c)
		return;
	stop_listening(c);
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	if (c->timer)
		event_free(c->timer);
	ctl_free(c);
}

void costs_write(const struct costs *c, struct json_writer *w)
{
	jw_key(w, "costs"), jw_open(w, '[');
	for (unsigned i = 0; c && i < c->rows; i++) {
		jw_open(w, '{');
		jw_key(w, "mode"), jw_string(w, c->row[i].mode);
		jw_key(w, "ns"), jw_real(w, c->row[i].ns);
		jw_key(w, "ratio"), jw_real(w, c->row[i].ratio);
		jw_close(w, '}');
	}
	jw_close(w, ']');
}
