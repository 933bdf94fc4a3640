/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registrar: a prefork SIP registrar on UDP whose contacts live in shared memory.
 *
 * The parent opens socket, pool and table, forks the workers and the sweeper, and forks again whoever dies. It touches
 * no lock and no heap after its start, so that a child forked at any time begins with nothing half done.
 *
 * SIGTERM, SIGINT: end in order. SIGUSR1: counts to standard error.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server.h"

enum { EXIT_USAGE = 2, BRIEF_LIFE_MS = 50 };

const char *argp_program_version = "registrar (memapi example) 0.1";

enum {
	OPT_LISTEN = 'l', OPT_WORKERS = 'w', OPT_POOL = 'p', OPT_LEAK = 256, OPT_LEAK_PKG, OPT_LEAK_SHM, OPT_MIN,
	OPT_DEFAULT, OPT_MAX, OPT_REMEMBER, OPT_SWEEP, OPT_BUCKETS, OPT_CONTACTS
};

static const struct argp_option option_table[] = {
	{ "listen", OPT_LISTEN, "ADDR:PORT", 0, "UDP socket, 127.0.0.1:5060; port 0: any free one", 0 },
	{ "workers", OPT_WORKERS, "N", 0, "worker processes, 4", 0 },
	{ "pool", OPT_POOL, "NAME", 0, "keep contacts in this named pool, else in one of its own", 0 },
	{ "min-expires", OPT_MIN, "S", 0, "shorter registrations are answered 423, 60", 1 },
	{ "default-expires", OPT_DEFAULT, "S", 0, "for contacts that do not say, 3600", 1 },
	{ "max-expires", OPT_MAX, "S", 0, "longer registrations are cut to it, 7200", 1 },
	{ "remember", OPT_REMEMBER, "S", 0, "how long replies and removed contacts are remembered, 32", 1 },
	{ "max-contacts", OPT_CONTACTS, "N", 0, "of one address, 16", 1 },
	{ "sweep", OPT_SWEEP, "MS", 0, "pause between two looks for what has expired, 1000", 2 },
	{ "buckets", OPT_BUCKETS, "N", 0, "of a new table, 4096", 2 },
	{ "leak", OPT_LEAK, "PERCENT", 0, "demonstration: forget memory of both kinds in so many requests", 3 },
	{ "leak-pkg", OPT_LEAK_PKG, "PERCENT", 0, "the same, private memory alone", 3 },
	{ "leak-shm", OPT_LEAK_SHM, "PERCENT", 0, "the same, shared memory alone", 3 },
	{ 0 },
};

static unsigned number(struct argp_state *state, const char *arg, unsigned min, unsigned max)
{
	uint64_t n = 0;

	if (!text_number((struct text){ arg, strlen(arg) }, 1u << 31, &n) || n < min || n > max)
		argp_error(state, "%s: a number from %u to %u is allowed", arg, min, max);
	return (unsigned)n;
}

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_LISTEN: o->listen = arg; break;
	case OPT_POOL: o->pool = arg; break;
	case OPT_WORKERS: o->workers = number(state, arg, 1, WORKERS_MAX); break;
	case OPT_MIN: o->min_expires = number(state, arg, 0, 3600); break;
	case OPT_DEFAULT: o->default_expires = number(state, arg, 1, 1u << 30); break;
	case OPT_MAX: o->max_expires = number(state, arg, 1, 1u << 30); break;
	case OPT_REMEMBER: o->remember = number(state, arg, 0, 3600); break;
	case OPT_CONTACTS: o->max_contacts = number(state, arg, 1, CONTACTS_MAX); break;
	case OPT_SWEEP: o->sweep_ms = number(state, arg, 10, 3600000); break;
	case OPT_BUCKETS: o->buckets = number(state, arg, 1, 1u << 20); break;
	case OPT_LEAK: o->leak_pkg = o->leak_shm = number(state, arg, 0, 100); break;
	case OPT_LEAK_PKG: o->leak_pkg = number(state, arg, 0, 100); break;
	case OPT_LEAK_SHM: o->leak_shm = number(state, arg, 0, 100); break;
	case ARGP_KEY_ARG: argp_error(state, "%s: no arguments are allowed", arg); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp parser = {
	option_table, option, NULL,
	"A SIP registrar (RFC 3261 section 10) on UDP, as an example of memapi."
	"\vMemory: -x NAME, -X NAME manager of shared and of private memory; -m MB, -M MB their sizes; "
	"--memory.KEY=VALUE any key of mmd.conf.", NULL, NULL, NULL
};

/* ADDR:PORT, [V6]:PORT */
static int socket_open(const char *listen, struct sockaddr_storage *ret_address)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct timeval look_at_stop = { .tv_usec = 500000 };
	struct addrinfo *found;
	const char *colon = strrchr(listen, ':');
	char host[128];
	int fd, err;
	socklen_t len = sizeof *ret_address;
	size_t host_len = colon ? (size_t)(colon - listen) : 0;
	bool v6 = host_len > 2 && listen[0] == '[' && listen[host_len - 1] == ']';

	if (!host_len || host_len >= sizeof host)
		return -EINVAL;
	snprintf(host, sizeof host, "%.*s", (int)(v6 ? host_len - 2 : host_len), listen + v6);
	if (getaddrinfo(host, colon + 1, &hints, &found))
		return -EINVAL;
	fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	err = 0;
	if (fd == -1 || bind(fd, found->ai_addr, found->ai_addrlen) == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &look_at_stop, sizeof look_at_stop) == -1 ||
	    getsockname(fd, (struct sockaddr *)ret_address, &len) == -1)
		err = -errno;
	freeaddrinfo(found);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ 1 << 20 }, sizeof(int));	/* a wish */
	if (!err)
		return fd;
	if (fd != -1)
		close(fd);
	return err;
}

static int pool_open(struct server *s)
{
	int err = s->opt.pool ? shm_attach(s->opt.pool) : 0;

	if (err) {
		fprintf(stderr, "registrar: pool %s: %s (%s)\n", s->opt.pool, strerror(-err), memapi_error());
		return err;
	}
	err = table_open(s->opt.buckets, &s->table);
	if (err)
		fprintf(stderr, "registrar: the table of contacts: %s (%s)\n", strerror(-err), memapi_error());
	return err;
}

static volatile sig_atomic_t stop;

static void on_stop(int signal_number)
{
	(void)signal_number;
	stop = 1;
}

static void child(struct server *s, unsigned row, pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_stop }, NULL);	/* interrupts recvfrom() */
	signal(SIGINT, SIG_IGN);		/* the terminal's reaches all: the parent decides */
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	s->self = row;
	if (getppid() != parent)
		stop = 1;
	if (row < s->opt.workers) {
		worker_run(s, &stop);
	} else {
		prctl(PR_SET_NAME, "registrar-sweep");		/* to tell it from workers: 15 bytes at most */
		sweeper_run(s, &stop);
	}
	exit(0);
}

/* A row's process. pid 0: none could be made; the parent tries again. */
static void spawn(struct server *s, unsigned row)
{
	pid_t parent = getpid(), pid = fork();

	if (!pid)
		child(s, row, parent);
	/* relaxed: read by humans, and by the parent itself */
	atomic_store_explicit(&s->stats->worker[row].pid, pid > 0 ? pid : 0, memory_order_relaxed);
}

static pid_t row_pid(const struct server *s, unsigned row)
{
	return (pid_t)atomic_load_explicit(&s->stats->worker[row].pid, memory_order_relaxed);
}

static void print_counts(const struct server *s)
{
	const struct stats *st = s->stats;

	fprintf(stderr, "registrar: contacts %" PRIu64 " records %" PRIu64 " removed %" PRIu64 " repairs %" PRIu64
		" sweeps %" PRIu64 "\n", st->contacts, st->records, st->removed, st->repairs, st->sweeps);
	for (unsigned i = 0; i <= s->opt.workers; i++)
		fprintf(stderr, "registrar: %s %u pid %" PRId64 " requests %" PRIu64 " replies %" PRIu64
			" dropped %" PRIu64 " restarts %" PRIu64 "\n", i < s->opt.workers ? "worker" : "sweeper", i,
			st->worker[i].pid, st->worker[i].requests, st->worker[i].replies, st->worker[i].dropped,
			st->worker[i].restarts);
}

/* Collect the dead: their rows get pid 0. */
static void collect(struct server *s)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (unsigned row = 0; row <= s->opt.workers; row++)
			if (row_pid(s, row) == pid)
				atomic_store_explicit(&s->stats->worker[row].pid, 0, memory_order_relaxed);
}

/* Each row without a process gets one. One that died as soon as it was born waits a little, so that nothing spins. */
static void fill(struct server *s, int64_t *born)
{
	for (unsigned row = 0; row <= s->opt.workers; row++) {
		if (row_pid(s, row))
			continue;
		if (born[row] && now_ms() - born[row] < BRIEF_LIFE_MS)
			nanosleep(&(struct timespec){ .tv_nsec = BRIEF_LIFE_MS * 1000000l }, NULL);
		if (born[row])
			atomic_fetch_add_explicit(&s->stats->worker[row].restarts, 1, memory_order_relaxed);
		born[row] = now_ms();
		spawn(s, row);
	}
}

static void end_children(struct server *s)
{
	for (unsigned row = 0; row <= s->opt.workers; row++)
		if (row_pid(s, row))
			kill(row_pid(s, row), SIGTERM);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

static void parent_run(struct server *s, const sigset_t *signals)
{
	int64_t born[WORKERS_MAX + 1] = { 0 };

	for (;;) {
		int got;

		fill(s, born);
		got = sigtimedwait(signals, NULL, &(struct timespec){ .tv_sec = 1 });
		if (got == SIGTERM || got == SIGINT)
			break;
		if (got == SIGUSR1)
			print_counts(s);
		collect(s);
	}
	end_children(s);
}

static void announce(const struct server *s, const struct sockaddr_storage *address)
{
	char host[64] = "?", port[16] = "?";

	getnameinfo((const struct sockaddr *)address, sizeof *address, host, sizeof host, port, sizeof port,
		    NI_NUMERICHOST | NI_NUMERICSERV | NI_DGRAM);
	printf("registrar: listening on %s:%s, %u workers, shm %s, pkg %s, pool %s, table of %" PRIu64 " buckets, "
	       "pid %d\n", host, port, s->opt.workers, shm_api()->mname, pkg_api()->mname,
	       s->opt.pool ? s->opt.pool : "of its own", s->table->buckets, (int)getpid());
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct server s = { .opt = { .listen = "127.0.0.1:5060", .workers = 4, .buckets = 4096, .max_contacts = 16,
				     .min_expires = 60, .default_expires = 3600, .max_expires = 7200, .remember = 32,
				     .sweep_ms = 1000 } };
	struct sockaddr_storage address = { 0 };
	sigset_t signals;

	if (memapi_init(&argc, argv)) {
		fprintf(stderr, "registrar: %s\n", memapi_error());
		return EXIT_USAGE;
	}
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&parser, argc, argv, 0, NULL, &s.opt);
	s.fd = socket_open(s.opt.listen, &address);
	if (s.fd < 0) {
		fprintf(stderr, "registrar: --listen %s: %s\n", s.opt.listen, strerror(-s.fd));
		return EXIT_USAGE;
	}
	if (pool_open(&s))
		return 1;
	if (!pkg_api()) {
		fprintf(stderr, "registrar: %s\n", memapi_error());
		return 1;
	}
	s.stats = mmap(NULL, sizeof *s.stats, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s.stats == MAP_FAILED) {
		perror("registrar");
		return 1;
	}
	sigemptyset(&signals);
	for (size_t i = 0; i < 4; i++)
		sigaddset(&signals, (const int[]){ SIGTERM, SIGINT, SIGUSR1, SIGCHLD }[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	announce(&s, &address);
	parent_run(&s, &signals);
	return 0;
}
