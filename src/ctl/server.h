/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: JSON-RPC lines over a UNIX stream socket, on libevent's loop.
 *
 * No peer can hold up the loop: a call runs in slices, and between two slices everybody else gets a turn. No peer
 * can make the daemon grow without bound: lines, connections, waiting output and idle time have limits. A peer that
 * does not read its replies is not served until it does, and is dropped when it never does, or when too much waits in
 * all: who holds the most of it goes first.
 */
#ifndef CTL_SERVER_H
#define CTL_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/event.h>

#include "ctl/rpc.h"

struct server;

struct server_limits {
	unsigned connections;
	unsigned idle_s;		/* without a byte from the peer; 0: no limit */
	unsigned stall_s;		/* without reading what it was sent */
	size_t request_bytes;		/* of a line */
	size_t backlog_bytes;		/* replies that wait, over all; above it who does not read is cut off */
};
/** For whoever has no other wish; mmd's are those of keys.def, but for stall_s. */
extern const struct server_limits server_limits_default;

/** Who connected, as the kernel says, at the time of connect(). */
struct server_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	const gid_t *groups;		/* supplementary */
	size_t groups_count;
};

struct server_options {
	struct server_limits limits;
	const struct rpc_program *program;	/* must outlive the server */
	enum rpc_role (*role)(const struct server_peer *peer, void *arg);	/* asked once a connection */
	/* Told who is cut off, with how many bytes that it has not read for how long; or NULL. */
	void (*cut_off)(const struct rpc_peer *peer, size_t bytes, uint64_t ns, void *arg);
	void *arg;
};

/**
 * server_new - answer on a listening socket
 * @fd: listening, non-blocking; stays the caller's
 *
 * Returns 0 or -errno.
 */
int server_new(struct event_base *base, int fd, const struct server_options *opts, struct server **ret_server);

/** Drops every connection. */
void server_free(struct server *s);

/** Newcomers wait in the socket's queue from now on, for whoever listens there next. */
void server_pause(struct server *s);

/** For connections that come after this. */
void server_limit(struct server *s, const struct server_limits *limits);

/** Bytes of replies that are still on their way to peers. */
size_t server_pending(const struct server *s);
unsigned server_connections(const struct server *s);

#endif /* CTL_SERVER_H */
