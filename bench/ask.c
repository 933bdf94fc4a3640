/* SPDX-License-Identifier: BSD-2-Clause */
/* A daemon, and connections that ask it; the contract is in ask.h. */
#include "ask.h"

#include <fcntl.h>
#include <libgen.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

enum { CHUNK = 65536 };			/* bytes of an answer in one go */

/* ---- the daemon ---- */

static void show(const char *log)
{
	FILE *in = fopen(log, "r");

	for (int c; in && (c = getc(in)) != EOF; )
		putc(c, stderr);
	if (in)
		fclose(in);
}

pid_t ask_daemon(const char *self)
{
	char path[4096], socket_path[128], log[128];
	char *copy = strdup(self), *args[] = { path, (char[]){ "--socket" }, socket_path, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t normal;
	struct link l;
	pid_t pid;
	int error;

	snprintf(path, sizeof path, "%s/mmd", copy ? dirname(copy) : ".");
	free(copy);
	snprintf(socket_path, sizeof socket_path, "%s/run/mmd.sock", bench_sandbox());
	snprintf(log, sizeof log, "%s/mmd.log", bench_sandbox());
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawnattr_init(&normal);
	posix_spawnattr_setflags(&normal, POSIX_SPAWN_SETSCHEDULER);
	posix_spawnattr_setschedpolicy(&normal, SCHED_OTHER);
	posix_spawnattr_setschedparam(&normal, &(struct sched_param){ .sched_priority = 0 });
	error = posix_spawn(&pid, path, &actions, &normal, args, environ);
	posix_spawnattr_destroy(&normal);
	posix_spawn_file_actions_destroy(&actions);
	if (error)
		return -1;
	for (unsigned i = 0; i < 200; i++, usleep(25000))
		if (ask_open(&l)) {		/* that it listens is not enough: its pools come after */
			bool answers = !isnan(ask(&l, "ping", "{}"));

			ask_close(&l);
			if (answers)
				return pid;
		}
	ask_end(pid, SIGTERM);
	show(log);
	return -1;
}

void ask_end(pid_t pid, int signal)
{
	if (pid > 0) {
		kill(pid, signal);
		waitpid(pid, NULL, 0);
	}
}

/* ---- a connection ---- */

bool ask_open(struct link *l)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(at.sun_path, sizeof at.sun_path, "%s/run/mmd.sock", bench_sandbox());
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	l->line = NULL;
	l->bytes = 0;
	if (l->fd != -1 && !connect(l->fd, (struct sockaddr *)&at, sizeof at) && (l->in = fdopen(l->fd, "r"))) {
		setvbuf(l->in, NULL, _IOFBF, CHUNK);	/* as mmctl reads */
		return true;
	}
	close(l->fd);
	return false;
}

void ask_close(struct link *l)
{
	fclose(l->in);
	free(l->line);
}

double ask(struct link *l, const char *method, const char *params)
{
	uint64_t from = bench_ns(CLOCK_MONOTONIC);

	if (dprintf(l->fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n", method, params) < 0)
		return NAN;
	if (getline(&l->line, &l->bytes, l->in) == -1)
		return NAN;
	return (double)(bench_ns(CLOCK_MONOTONIC) - from) / 1e6;
}

/* ---- answers ---- */

json_object *ask_result(struct link *l, const char *method)
{
	json_object *answer = json_tokener_parse(l->line), *result = NULL;

	if (!json_object_object_get_ex(answer, "result", &result))
		fprintf(stderr, "%s: %.200s\n", method, l->line);
	json_object_get(result);
	json_object_put(answer);
	return result;
}

double ask_number(json_object *o, const char *name)
{
	json_object *v;

	return json_object_object_get_ex(o, name, &v) && v ? json_object_get_double(v) : 0;
}

/* Behind the next `"key":` from `at` on; NULL: none. Inside a string its quotes would have a \ before them. */
static const char *member(const char *at, const char *key)
{
	at = strstr(at, key);
	return at ? at + strlen(key) : NULL;
}

double ask_pause(const struct link *l)
{
	double most = 0;

	for (const char *at = l->line; (at = member(at, "\"pause_us\":")); )
		most = fmax(most, strtod(at, NULL));
	return most;
}

/* `next` stands behind the fragments, and is a string without escapes or null. */
static void next_of(const char *behind, char cursor[ASK_CURSOR])
{
	const char *at = member(behind, "\"next\":\"");
	size_t len = at ? strcspn(at, "\"") : 0;

	snprintf(cursor, ASK_CURSOR, "%.*s", (int)len, at ? at : "");
}

double ask_page(struct link *l, char cursor[ASK_CURSOR], double *ret_ms)
{
	char params[ASK_CURSOR + 64];
	const char *behind = l->line;
	double seen = 0;

	snprintf(params, sizeof params, "{\"domain\":\"shm\",\"limit\":10000%s%s%s}", *cursor ? ",\"cursor\":\"" : "", cursor,
		 *cursor ? "\"" : "");
	*ret_ms = ask(l, "dump", params);
	if (isnan(*ret_ms) || !(behind = strstr(l->line, "\"fragments\":"))) {
		fprintf(stderr, "dump: %.200s\n", isnan(*ret_ms) ? "no answer" : l->line);
		return -1;
	}
	for (const char *at = behind; (at = member(at, "\"address\":")); behind = at)
		seen++;
	next_of(behind, cursor);
	return seen;
}
