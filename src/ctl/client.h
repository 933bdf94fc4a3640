/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A blocking client of the control socket: one connection, one call at a time, a deadline for each.
 *
 * Library code: never prints, never exits. Functions return 0 or -errno and say in struct client_error what they tried.
 * What comes from the daemon is checked as any other input: a reply is one line of valid JSON with this call's id.
 */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <json-c/json.h>

struct client;

/** One line, ready for a person. */
struct client_error { char text[512]; };

/** What a call brought: a result, or an error object's members. Free with client_reply_clear(). */
struct client_reply {
	struct json_object *whole;	/* the reply object; owns the rest */
	struct json_object *result;	/* NULL when the call failed, or when the result is null */
	int code;			/* 0: no error */
	const char *message;
	struct json_object *data;	/* of the error; may be NULL */
};

enum { CLIENT_PATH = 108 };		/* bytes of a UNIX socket's path, its 0 included */

/**
 * client_socket_path - where the daemon listens
 * @given: --socket, or NULL; @configured: control.socket, or NULL or ""
 *
 * The first of: given, configured, $XDG_RUNTIME_DIR/mmd.sock, /run/mmd/mmd.sock. Returns 0, or -ENAMETOOLONG.
 * MMD_SOCKET is the caller's to look at: a client honours it, the daemon does not.
 */
int client_socket_path(const char *given, const char *configured, char ret_path[CLIENT_PATH]);

/**
 * client_open - connect
 * @timeout_ms: for each call, from its first byte out to its last byte in; 0: 10 s
 *
 * -ENOENT, -ECONNREFUSED: no daemon; -EACCES: the socket may not be used by this user.
 */
int client_open(const char *path, unsigned timeout_ms, struct client **ret_client, struct client_error *ret_error);
void client_close(struct client *c);

/**
 * client_call - one call
 * @params: object or array, or NULL; stays the caller's
 *
 * Returns 0 when there is a reply, also one that tells an error. -ETIMEDOUT; -EPIPE: the daemon closed the connection;
 * -EPROTO: what came is no reply to this call. After a failure the connection is of no more use.
 */
int client_call(struct client *c, const char *method, struct json_object *params, struct client_reply *ret_reply,
		struct client_error *ret_error);
void client_reply_clear(struct client_reply *reply);

/** The text of an error for a person: "Invalid params: limit is 0, allowed: whole number, 1 to 10000". */
void client_reply_text(const struct client_reply *reply, char *buf, size_t bytes);

/* Below the calls: lines as they are. */
int client_send(struct client *c, const char *bytes, size_t len, struct client_error *ret_error);
/** A line without its newline; lives until the next one. */
int client_receive(struct client *c, const char **ret_line, size_t *ret_len, struct client_error *ret_error);

#endif /* CTL_CLIENT_H */
