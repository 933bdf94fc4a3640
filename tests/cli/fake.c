/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A daemon that says what a script tells it: fake SOCKET LOG < script
 *
 *	METHOD JSON	the call of METHOD gets this result
 *	!METHOD TEXT	it gets this line, in which @ stands for the call's id
 *	=METHOD JSON	it gets this result, and the connection is closed
 *	~METHOD		the connection is closed instead of an answer
 *	.METHOD		there is no answer, ever
 *
 * A line a call, in this order; another call than expected is answered with an error that says so. Each call's method
 * and params go to LOG, a line each. The program listens, goes to the background and prints its pid: who has read that
 * can connect. It ends after the last line of the script, when the connection does, or after 60 s.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <json-c/json.h>

static char *script[256];
static size_t lines, at;

static void read_script(void)
{
	size_t room = 0;
	ssize_t len;

	while (lines < 256 && (len = getline(&script[lines], &room, stdin)) > 0) {
		script[lines][strcspn(script[lines], "\n")] = 0;
		lines += *script[lines] != 0;
		room = 0;
	}
}

static int listen_on(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	unlink(path);
	if (fd == -1 || bind(fd, (const struct sockaddr *)&addr, sizeof addr) || listen(fd, 8)) {
		perror(path);
		exit(1);
	}
	return fd;
}

static void answer(FILE *out, char *rule, long long id, const char *method)
{
	char kind = strchr("!=~.", *rule) ? *rule++ : 0, *rest = strchr(rule, ' ');

	if (rest)
		*rest++ = 0;
	if (strcmp(rule, method)) {
		fprintf(out, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"error\":{\"code\":-1,", id);
		fprintf(out, "\"message\":\"%s was expected, not %s\"}}\n", rule, method);
	} else if (kind == '!') {
		for (; rest && *rest; rest++)
			if (*rest == '@')
				fprintf(out, "%lld", id);
			else
				fputc(*rest, out);
		fputc('\n', out);
	} else if (kind != '.') {
		fprintf(out, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":%s}\n", id, rest);
	}
	fflush(out);
	if (kind == '.')
		pause();
}

/* One connection; returns when it ends, or the script wants it closed. */
static void serve(int fd, FILE *log)
{
	FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
	char *line = NULL, *rule;
	size_t room = 0;
	bool closing = false;

	while (at < lines && getline(&line, &room, in) > 0) {
		struct json_object *call = json_tokener_parse(line), *params = NULL;
		const char *method = json_object_get_string(json_object_object_get(call, "method"));

		json_object_object_get_ex(call, "params", &params);
		fprintf(log, "%s %s\n", method, json_object_to_json_string_ext(params, JSON_C_TO_STRING_NOSLASHESCAPE));
		fflush(log);
		rule = script[at++];
		if (*rule == '~') {
			json_object_put(call);
			break;
		}
		closing = *rule == '=';
		answer(out, rule, json_object_get_int64(json_object_object_get(call, "id")), method);
		json_object_put(call);
		if (closing)
			break;
	}
	if (at == lines && !closing && *script[lines - 1] != '~')
		while (getline(&line, &room, in) > 0)
			;
	free(line);
	fclose(in);
	fclose(out);
}

int main(int argc, char **argv)
{
	FILE *log;
	pid_t pid;
	int fd;

	if (argc != 3)
		return 2;
	read_script();
	fd = listen_on(argv[1]);
	log = fopen(argv[2], "w");
	pid = fork();
	if (pid || !log || !lines) {
		printf("%d\n", (int)pid);
		return pid > 0 ? 0 : 1;
	}
	freopen("/dev/null", "w", stdout);	/* who waits for the pid waits for the end of stdout */
	freopen("/dev/null", "w", stderr);
	alarm(60);
	while (at < lines)
		serve(accept(fd, NULL, NULL), log);
	return 0;
}
