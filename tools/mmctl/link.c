/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection to mmd: the client library's errors become exit codes and texts that say what to do. */
#include "link.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "ctl/behind.h"
#include "ctl/method.h"
#include "text.h"

static const char system_socket[] = "/run/mmd/mmd.sock";

/* Texts may hold what the daemon said. */
static enum exit_code __attribute__((format(printf, 3, 4)))
fail(struct link *l, enum exit_code code, const char *format, ...)
{
	char raw[sizeof l->error];
	struct text t = { 0 };
	va_list ap;

	va_start(ap, format);
	vsnprintf(raw, sizeof raw, format, ap);
	va_end(ap);
	text_safe(&t, raw, strlen(raw));
	snprintf(l->error, sizeof l->error, "%s", t.at && !t.failed ? t.at : "out of memory");
	text_free(&t);
	return code;
}

void link_init(struct link *l, const char *named, double timeout)
{
	*l = (struct link){ .named = named, .timeout = timeout };
}

void link_close(struct link *l)
{
	client_close(l->client);
	l->client = NULL;
}

/* ---- finding and connecting ---- */

static int connect_to(struct link *l, const char *path)
{
	struct client_error error;
	int err;

	ctl_go_behind();		/* what is asked and printed is no server's work */
	err = client_open(path, (unsigned)(l->timeout * 1000 + 0.999), &l->client, &error);

	if (!err)
		snprintf(l->path, sizeof l->path, "%s", path);
	return err;
}

static bool nobody(int err) { return err == -ENOENT || err == -ECONNREFUSED || err == -ENOTDIR; }

static enum exit_code unreachable(struct link *l, const char *path, int err)
{
	const char *why = strerror(-err);

	if (err == -ENAMETOOLONG)
		return fail(l, RC_USAGE, "%s: the path of a socket has at most %d bytes", path, CLIENT_PATH - 1);
	if (err == -EACCES || err == -EPERM)
		return fail(l, RC_DENIED, "%s: %s; control.group in mmd.conf says who may use it", path, why);
	if (err == -ETIMEDOUT)
		return fail(l, RC_TIMEOUT, "%s: mmd took no connection in %g s; -t waits longer", path, l->timeout);
	if (nobody(err))
		return fail(l, RC_NO_DAEMON, "no daemon on %s (%s); start one: mmd --socket %s", path, why, path);
	return fail(l, RC_NO_DAEMON, "no daemon on %s: %s", path, why);
}

/* Nobody named a socket: the user's own daemon, then the system's. */
static enum exit_code open_usual(struct link *l)
{
	char own[CLIENT_PATH];
	bool two = !client_socket_path(NULL, NULL, own) && strcmp(own, system_socket) != 0;
	int err = two ? connect_to(l, own) : -ENOENT;

	if (!err)
		return RC_OK;
	if (!nobody(err))
		return unreachable(l, own, err);
	err = connect_to(l, system_socket);
	if (!err)
		return RC_OK;
	if (!nobody(err))
		return unreachable(l, system_socket, err);
	return fail(l, RC_NO_DAEMON,
		    "no daemon on %s%s%s; start one: `mmd`, or `systemctl start mmd`; elsewhere: -s SOCKET",
		    two ? own : "", two ? " or " : "", system_socket);
}

enum exit_code link_open(struct link *l)
{
	const char *named = l->named ? l->named : getenv("MMD_SOCKET");
	struct conf_error error;
	struct conf conf;
	int err;

	if (l->client)
		return RC_OK;
	if (!named || !*named) {
		/* A broken file is mmd's to complain about; mmctl goes on with the usual places. */
		if (conf_load(NULL, NULL, &conf, &error) || !*conf.socket)
			return open_usual(l);
		named = conf.socket;
	}
	err = connect_to(l, named);
	return err ? unreachable(l, named, err) : RC_OK;
}

/* ---- one call ---- */

static enum exit_code unanswered(struct link *l, const char *method, int err)
{
	link_close(l);
	switch (err) {
	case -ETIMEDOUT:
		return fail(l, RC_TIMEOUT, "%s: no answer from %s in %g s; -t SECONDS waits longer", method, l->path,
			    l->timeout);
	case -EPIPE:
		return fail(l, RC_REFUSED, "%s: mmd on %s closed the connection before it answered", method, l->path);
	case -EPROTO:
		return fail(l, RC_REFUSED, "%s: what came from %s is no answer to this call", method, l->path);
	default:
		return fail(l, RC_REFUSED, "%s: %s: %s", method, l->path, strerror(-err));
	}
}

static enum exit_code refused(struct link *l, const char *method, const struct client_reply *reply)
{
	char text[900];

	client_reply_text(reply, text, sizeof text);
	l->code = reply->code;
	return fail(l, reply->code == RPC_ROLE ? RC_DENIED : RC_REFUSED, "%s: %s (%d)", method, text, reply->code);
}

enum exit_code link_call(struct link *l, const char *method, struct json_object *params,
			 struct json_object **ret_result)
{
	enum exit_code code = link_open(l);
	struct client_error error;
	struct client_reply reply;
	int err;

	if (code)
		return code;
	err = client_call(l->client, method, params, &reply, &error);
	if (err)
		return unanswered(l, method, err);
	if (reply.code)
		code = refused(l, method, &reply);
	else
		*ret_result = json_object_get(reply.result);
	client_reply_clear(&reply);
	return code;
}

bool link_wait_end(struct link *l)
{
	struct client_error error;
	const char *line;
	size_t len;
	int err = 0;

	while (l->client && !err)
		err = client_receive(l->client, &line, &len, &error);
	return err != -ETIMEDOUT;
}
