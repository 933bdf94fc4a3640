/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection to mmd: find the socket, call methods, check what comes back.
 *
 * Every failure becomes one line of text and an exit code, so that verbs only pass them on. Nothing is printed here.
 */
#ifndef MMCTL_LINK_H
#define MMCTL_LINK_H

#include <json-c/json.h>
#include <stdbool.h>

#include "ctl/client.h"
#include "verbs.h"

struct link {
	const char *named;		/* -s, or NULL: look where mmd would put it */
	double timeout;			/* s, of connecting and of each answer */
	struct client *client;		/* NULL: not connected */
	int code;			/* of the daemon's last refusal, 0: none */
	char path[CLIENT_PATH];		/* of the socket; "": none found yet */
	char error[1024];		/* safe for a terminal */
};

void link_init(struct link *l, const char *named, double timeout);
void link_close(struct link *l);

/**
 * link_open - connect, unless that is done
 *
 * The first that is given: -s, MMD_SOCKET, control.socket of the configuration; where none is,
 * $XDG_RUNTIME_DIR/mmd.sock and then /run/mmd/mmd.sock.
 *
 * Returns RC_OK, or RC_NO_DAEMON, RC_DENIED, RC_TIMEOUT with l->error.
 */
enum exit_code link_open(struct link *l);

/**
 * link_call - one request, one answer
 * @params: an object or array, or NULL; stays the caller's
 *
 * Connects on first use. RC_OK with *ret_result (the caller puts it; NULL is JSON's null), or the exit code with
 * l->error. Where there was no answer the connection is closed; the next call opens a new one.
 */
enum exit_code link_call(struct link *l, const char *method, struct json_object *params,
			 struct json_object **ret_result);

/** Wait until the daemon has closed the connection. False: it has not in time. */
bool link_wait_end(struct link *l);

#endif /* MMCTL_LINK_H */
