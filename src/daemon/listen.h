/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The place where the daemon listens: one live daemon a path, whatever was killed before.
 *
 *	DIR (0750, made on demand)/mmd.sock (0660)   mmd.sock.lock (0600, flock held for life)
 *
 * The lock decides who owns the path; only its holder unlinks and binds. It ends with its holder, so a socket that was
 * left by a dead daemon is taken over, and one of a live daemon never is.
 */
#ifndef DAEMON_LISTEN_H
#define DAEMON_LISTEN_H

#include <stddef.h>
#include <sys/types.h>

struct listen_place {
	char path[108];
	int fd, lock;			/* -1: none */
};

/**
 * listen_open - own the path
 * @group: of a directory that is made, or -1
 *
 * Nobody can connect before listen_start(). After listen_hand_over() and exec, the same sockets are found again and not
 * a connection is refused in between. Returns 0; -EADDRINUSE: a live daemon is there; or another -errno. `why` gets a
 * line for a person.
 */
int listen_open(const char *path, gid_t group, struct listen_place *ret_place, char *why, size_t bytes);

/** Makes the socket, for `group` or -1, and listens, unless that was handed over. 0, or -errno with a line in `why`. */
int listen_start(struct listen_place *place, gid_t group, char *why, size_t bytes);

/**
 * listen_give - the socket of a place that listens goes to another group; (gid_t)-1: to mmd's own
 *
 * So does its directory, if that is as mmd or systemd makes it, mmd's own and 0750, and nothing but the socket and its
 * lock is in it. 0, or -errno with a line in `why`.
 */
int listen_give(const struct listen_place *place, gid_t group, char *why, size_t bytes);

/** Both descriptors survive exec, and the program that follows in this process finds them. */
void listen_hand_over(const struct listen_place *place);

/** exec failed: as if listen_hand_over() had not been called. */
void listen_take_back(const struct listen_place *place);

/** Unlinks the socket and the lock, closes both. */
void listen_close(struct listen_place *place);

#endif /* DAEMON_LISTEN_H */
