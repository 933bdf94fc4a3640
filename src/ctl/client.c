/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket is non-blocking and every wait is a poll() that knows the call's deadline.
 *
 *	in:   | line that was given out | bytes that came after it | room |
 *	      0                         taken                      len    size
 */
#include "ctl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ctl/behind.h"

enum { TIMEOUT_MS = 10000, CHUNK = 32768, PIECE = 4096, LINE_MAX_BYTES = 256 << 20, REPLY_DEPTH = 64 };

struct client {
	int fd;
	unsigned timeout_ms;
	int64_t deadline_ms;
	unsigned id;
	char path[CLIENT_PATH];
	char *in;
	size_t taken, len, size;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int fail(const struct client *c, struct client_error *e, int error, const char *what)
{
	snprintf(e->text, sizeof e->text, "%s: %s: %s", c->path, what, strerror(-error));
	return error;
}

int client_socket_path(const char *given, const char *configured, char ret_path[CLIENT_PATH])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *path = given;
	char text[CLIENT_PATH];
	int len;

	if (!path && configured && *configured)
		path = configured;
	if (path)
		len = snprintf(text, sizeof text, "%s", path);
	else if (runtime && *runtime == '/')
		len = snprintf(text, sizeof text, "%s/mmd.sock", runtime);
	else
		len = snprintf(text, sizeof text, "/run/mmd/mmd.sock");
	if ((size_t)len >= sizeof text)
		return -ENAMETOOLONG;
	memcpy(ret_path, text, (size_t)len + 1);
	return 0;
}

/* Waits until the socket is ready or the deadline is over. */
static int wait_for(struct client *c, short events)
{
	struct pollfd p = { .fd = c->fd, .events = events };

	for (;;) {
		int64_t left = c->deadline_ms - now_ms();
		int n = left > 0 ? poll(&p, 1, left < INT32_MAX ? (int)left : INT32_MAX) : 0;

		if (n == 1)
			return 0;
		if (!n)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int connect_to(struct client *c)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	memcpy(to.sun_path, c->path, strlen(c->path));
	for (;;) {
		if (!connect(c->fd, (const struct sockaddr *)&to, sizeof to))
			return 0;
		if (errno != EAGAIN && errno != EINTR)	/* EAGAIN: the daemon's backlog is full */
			return -errno;
		if (now_ms() >= c->deadline_ms)
			return -ETIMEDOUT;
		poll(NULL, 0, 5);
	}
}

int client_open(const char *path, unsigned timeout_ms, struct client **ret_client, struct client_error *ret_error)
{
	struct client *c;
	int error;

	if (strlen(path) >= CLIENT_PATH) {
		snprintf(ret_error->text, sizeof ret_error->text, "%.200s…: the path of a socket has at most %d bytes", path,
			 CLIENT_PATH - 1);
		return -ENAMETOOLONG;
	}
	c = calloc(1, sizeof *c);
	if (!c) {
		snprintf(ret_error->text, sizeof ret_error->text, "out of memory");
		return -ENOMEM;
	}
	memcpy(c->path, path, strlen(path) + 1);
	c->timeout_ms = timeout_ms ? timeout_ms : TIMEOUT_MS;
	c->deadline_ms = now_ms() + c->timeout_ms;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	error = c->fd == -1 ? -errno : connect_to(c);
	if (error) {
		fail(c, ret_error, error, "connect");
		client_close(c);
		return error;
	}
	*ret_client = c;
	return 0;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	if (c->fd != -1)
		close(c->fd);
	free(c->in);
	free(c);
}

int client_send(struct client *c, const char *bytes, size_t len, struct client_error *ret_error)
{
	int error;

	c->deadline_ms = now_ms() + c->timeout_ms;
	while (len) {
		ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			error = wait_for(c, POLLOUT);
			if (error)
				return fail(c, ret_error, error, "send");
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return 0;	/* the reply that says why may be waiting */
		} else if (errno != EINTR) {
			return fail(c, ret_error, -errno, "send");
		}
	}
	return 0;
}

static int more(struct client *c)
{
	ssize_t n;
	int error;

	if (c->size - c->len < CHUNK) {
		size_t size = c->size ? c->size * 2 : 2 * (size_t)CHUNK;
		char *in = c->len > LINE_MAX_BYTES ? NULL : realloc(c->in, size);

		if (!in)
			return c->len > LINE_MAX_BYTES ? -EMSGSIZE : -ENOMEM;
		c->in = in;
		c->size = size;
	}
	for (;;) {
		ctl_give_way();
		n = recv(c->fd, c->in + c->len, CHUNK, 0);
		if (n > 0) {
			c->len += (size_t)n;
			return 0;
		}
		if (!n)
			return -EPIPE;
		if (errno == EAGAIN) {
			error = wait_for(c, POLLIN);
			if (error)
				return error;
		} else if (errno != EINTR) {
			return errno == ECONNRESET ? -EPIPE : -errno;
		}
	}
}

int client_receive(struct client *c, const char **ret_line, size_t *ret_len, struct client_error *ret_error)
{
	size_t looked = 0;
	int error;

	if (c->len > c->taken)
		memmove(c->in, c->in + c->taken, c->len - c->taken);
	c->len -= c->taken;
	c->taken = 0;
	for (;;) {
		char *end = c->len > looked ? memchr(c->in + looked, '\n', c->len - looked) : NULL;

		if (end) {
			*ret_line = c->in;
			*ret_len = (size_t)(end - c->in);
			c->taken = *ret_len + 1;
			return 0;
		}
		looked = c->len;
		error = more(c);
		if (error)
			return fail(c, ret_error, error, error == -EPIPE ? "the daemon closed the connection" : "receive");
	}
}

/* ---- calls ---- */

/* In pieces: a long reply takes longer than who waits for this CPU should wait. NULL: no value, or more than one. */
static struct json_object *parse_pieces(struct json_tokener *tok, const char *line, size_t len)
{
	struct json_object *value;
	size_t piece;

	do {
		ctl_give_way();
		piece = len < PIECE ? len : PIECE;
		value = json_tokener_parse_ex(tok, line, (int)piece);
		line += piece;
		len -= piece;
	} while (len && json_tokener_get_error(tok) == json_tokener_continue);
	if (len) {
		json_object_put(value);
		return NULL;
	}
	return value;
}

static int parse(const char *line, size_t len, struct json_object **ret_value)
{
	struct json_tokener *tok = json_tokener_new_ex(REPLY_DEPTH);
	struct json_object *value;
	bool good;

	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	value = len <= INT32_MAX ? parse_pieces(tok, line, len) : NULL;
	good = json_tokener_get_error(tok) == json_tokener_success && json_object_is_type(value, json_type_object);
	json_tokener_free(tok);
	if (!good) {
		json_object_put(value);
		return -EPROTO;
	}
	*ret_value = value;
	return 0;
}

/* Takes the reply apart; false: it is none to call `id`. Errors about no call in particular have the id null. */
static bool take_reply(struct json_object *whole, unsigned id, struct client_reply *r)
{
	struct json_object *version, *got, *error, *member;
	bool has_id = json_object_object_get_ex(whole, "id", &got);

	*r = (struct client_reply){ .whole = whole };
	if (!has_id || !json_object_object_get_ex(whole, "jsonrpc", &version) ||
	    !json_object_is_type(version, json_type_string) || strcmp(json_object_get_string(version), "2.0"))
		return false;
	if (json_object_object_get_ex(whole, "error", &error)) {
		if (!json_object_is_type(error, json_type_object) || !json_object_object_get_ex(error, "code", &member) ||
		    !json_object_is_type(member, json_type_int))
			return false;
		r->code = json_object_get_int(member);
		if (!json_object_object_get_ex(error, "message", &member) || !json_object_is_type(member, json_type_string))
			return false;
		r->message = json_object_get_string(member);
		json_object_object_get_ex(error, "data", &r->data);
		return r->code && (!got || json_object_get_uint64(got) == id);
	}
	return json_object_object_get_ex(whole, "result", &r->result) && json_object_is_type(got, json_type_int) &&
	       json_object_get_uint64(got) == id;
}

static int send_call(struct client *c, const char *method, struct json_object *params, struct client_error *ret_error)
{
	struct json_object *call = json_object_new_object();
	const char *text;
	size_t len;
	char *line;
	int error;

	json_object_object_add(call, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(call, "id", json_object_new_int64(++c->id));
	json_object_object_add(call, "method", json_object_new_string(method));
	if (params)
		json_object_object_add(call, "params", json_object_get(params));
	text = json_object_to_json_string_length(call, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	line = malloc(len + 1);
	if (line) {
		memcpy(line, text, len);
		line[len] = '\n';
		error = client_send(c, line, len + 1, ret_error);
	} else {
		error = fail(c, ret_error, -ENOMEM, "send");
	}
	free(line);
	json_object_put(call);
	return error;
}

int client_call(struct client *c, const char *method, struct json_object *params, struct client_reply *ret_reply,
		struct client_error *ret_error)
{
	struct json_object *whole;
	struct client_reply reply;
	const char *line;
	size_t len;
	int error = send_call(c, method, params, ret_error);

	if (!error)
		error = client_receive(c, &line, &len, ret_error);
	if (error)
		return error;
	error = parse(line, len, &whole);
	if (!error && !take_reply(whole, c->id, &reply)) {
		json_object_put(whole);
		error = -EPROTO;
	}
	if (error)
		return fail(c, ret_error, error, "what came is no reply to this call");
	*ret_reply = reply;
	return 0;
}

void client_reply_clear(struct client_reply *reply)
{
	json_object_put(reply->whole);
	*reply = (struct client_reply){ 0 };
}

static const char *member_text(struct json_object *data, const char *name)
{
	struct json_object *value;

	if (!json_object_is_type(data, json_type_object) || !json_object_object_get_ex(data, name, &value))
		return NULL;
	return json_object_is_type(value, json_type_string)
		       ? json_object_get_string(value)
		       : json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
}

__attribute__((format(printf, 4, 5)))
static void append(char *buf, size_t bytes, size_t *at, const char *format, ...)
{
	va_list args;

	if (*at >= bytes)
		return;
	va_start(args, format);
	*at += (size_t)vsnprintf(buf + *at, bytes - *at, format, args);
	va_end(args);
}

static void append_allowed(struct json_object *data, char *buf, size_t bytes, size_t *at)
{
	struct json_object *list;

	if (!json_object_object_get_ex(data, "allowed", &list))
		return;
	if (!json_object_is_type(list, json_type_array)) {
		append(buf, bytes, at, "; allowed: %s", json_object_get_string(list));
		return;
	}
	append(buf, bytes, at, "; allowed:");
	for (size_t i = 0; i < json_object_array_length(list); i++)
		append(buf, bytes, at, " %s", json_object_get_string(json_object_array_get_idx(list, i)));
}

void client_reply_text(const struct client_reply *r, char *buf, size_t bytes)
{
	const char *param = member_text(r->data, "param"), *reason = member_text(r->data, "reason");
	size_t at = 0;

	append(buf, bytes, &at, "%s", r->message ? r->message : "");
	if (param)
		append(buf, bytes, &at, ": %s", param);
	if (param && member_text(r->data, "got"))
		append(buf, bytes, &at, " is %s", member_text(r->data, "got"));
	if (reason)
		append(buf, bytes, &at, ": %s", reason);
	if (json_object_is_type(r->data, json_type_object))
		append_allowed(r->data, buf, bytes, &at);
}
