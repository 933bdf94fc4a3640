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
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "ctl/behind.h"

extern char **environ;

#define PRINTED(l) ((int)((l)->len < 200 ? (l)->len : 200))

enum { PATIENCE_MS = 60000, PIECE = 8192 };	/* PIECE: bytes scanned in one go */

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
	struct client_error error;
	char path[128];

	*l = (struct link){ 0 };
	snprintf(path, sizeof path, "%s/run/mmd.sock", bench_sandbox());
	return !client_open(path, PATIENCE_MS, &l->client, &error);
}

void ask_close(struct link *l)
{
	client_close(l->client);
	l->client = NULL;
}

double ask(struct link *l, const char *method, const char *params)
{
	uint64_t from = bench_ns(CLOCK_MONOTONIC);
	struct client_error error;
	char request[1024];
	int len = snprintf(request, sizeof request, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n",
			   method, params);

	if ((size_t)len >= sizeof request || client_send(l->client, request, (size_t)len, &error) ||
	    client_receive(l->client, &l->line, &l->len, &error))
		return NAN;
	return (double)(bench_ns(CLOCK_MONOTONIC) - from) / 1e6;
}

/* ---- answers ---- */

json_object *ask_result(struct link *l, const char *method)
{
	json_tokener *t = json_tokener_new();
	json_object *answer = json_tokener_parse_ex(t, l->line, (int)l->len), *result = NULL;

	if (!json_object_object_get_ex(answer, "result", &result))
		fprintf(stderr, "%s: %.*s\n", method, PRINTED(l), l->line);
	json_object_get(result);
	json_object_put(answer);
	json_tokener_free(t);
	return result;
}

double ask_number(json_object *o, const char *name)
{
	json_object *v;

	return json_object_object_get_ex(o, name, &v) && v ? json_object_get_double(v) : 0;
}

/* Behind the next `"key":` from `at` on; NULL: none. Inside a string its quotes would have a \ before them. */
static const char *member(const struct link *l, const char *at, const char *key)
{
	const char *end = l->line + l->len, *found;
	size_t len = strlen(key);

	for (; at < end; at += PIECE) {
		size_t left = (size_t)(end - at);

		ctl_give_way();			/* as mmctl does */
		found = memmem(at, left < PIECE + len ? left : PIECE + len, key, len);
		if (found)
			return found + len;
	}
	return NULL;
}

bool ask_good(const struct link *l) { return member(l, l->line, "\"result\":"); }

double ask_pause(const struct link *l)
{
	double most = 0;

	for (const char *at = l->line; (at = member(l, at, "\"pause_us\":")); )
		most = fmax(most, strtod(at, NULL));	/* ends before the line does: an object is around it */
	return most;
}

/* `next` stands behind the fragments, and is a string without escapes or null. */
static void next_of(const struct link *l, const char *behind, char cursor[ASK_CURSOR])
{
	const char *at = member(l, behind, "\"next\":\"");
	size_t len = at ? strcspn(at, "\"") : 0;

	snprintf(cursor, ASK_CURSOR, "%.*s", (int)len, at ? at : "");
}

double ask_page(struct link *l, char cursor[ASK_CURSOR], double *ret_ms)
{
	char params[ASK_CURSOR + 64];
	const char *behind = NULL;
	double seen = 0;

	snprintf(params, sizeof params, "{\"domain\":\"shm\",\"limit\":10000%s%s%s}", *cursor ? ",\"cursor\":\"" : "", cursor,
		 *cursor ? "\"" : "");
	*ret_ms = ask(l, "dump", params);
	if (!isnan(*ret_ms))
		behind = member(l, l->line, "\"fragments\":");
	if (!behind) {
		fprintf(stderr, "dump: %.*s\n", isnan(*ret_ms) ? 9 : PRINTED(l), isnan(*ret_ms) ? "no answer" : l->line);
		return -1;
	}
	for (const char *at = behind; (at = member(l, at, "\"address\":")); behind = at)
		seen++;
	next_of(l, behind, cursor);
	return seen;
}
