/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the processes of one registrar share, and how a request goes through them.
 *
 *	parent --fork--> worker 0 .. N-1: recvfrom() on one UDP socket -> request_handle() -> sendto()
 *	       --fork--> sweeper: table_sweep() now and then
 *
 * struct stats lies in a mapping that parent and children share; each row has one writer. struct table is in the pool.
 */
#ifndef REGISTRAR_SERVER_H
#define REGISTRAR_SERVER_H

#include <signal.h>
#include <sys/types.h>

#include "sip.h"
#include "table.h"

enum { WORKERS_MAX = 64 };

struct options {
	const char *listen, *pool;
	unsigned workers, buckets, max_contacts;
	unsigned min_expires, default_expires, max_expires, remember;	/* s */
	unsigned sweep_ms;
	unsigned leak_pkg, leak_shm;					/* percent of requests */
};

/** A row of one worker; the last one is the sweeper's. */
struct worker_stats {
	_Alignas(64) _Atomic int64_t pid;
	_Atomic uint64_t requests, replies, dropped;	/* of all processes that were this worker */
	_Atomic uint64_t restarts;			/* the parent's */
};

struct stats {
	_Atomic uint64_t contacts, records, removed, repairs, sweeps;	/* the sweeper's */
	struct worker_stats worker[WORKERS_MAX + 1];
};

struct server {
	struct options opt;
	struct table *table;
	struct stats *stats;
	int fd;
	unsigned self;		/* row in stats */
	uint64_t leak_turn;
};

/** CLOCK_MONOTONIC, ms: the clock of everything in the table. */
int64_t now_ms(void);

/** A reply: text in private memory, and where it goes. */
struct reply { struct sip_out out; struct sockaddr_storage to; };

/**
 * request_handle - answer one packet
 *
 * Returns true: *ret_reply is to be sent, and out.at to be freed with pkg_free(). false: nothing is to be said.
 */
bool request_handle(struct server *s, const char *packet, size_t len, const struct sockaddr_storage *from,
		    struct reply *ret_reply);

/** What a REGISTER comes to: a status, and the headers that are its own. */
struct verdict { unsigned status; const char *reason; struct sip_out headers; };

/** RFC 3261 section 10.3. The caller frees v->headers.at. */
void registrar_handle(struct server *s, const struct sip_request *r, struct verdict *v);

/** The deliberate leaks of --leak-pkg and --leak-shm, for demonstration only. */
void demo_leak(struct server *s, size_t bytes);

/** Bodies of the children; they return when `stop` is set by a signal. */
void worker_run(struct server *s, const volatile sig_atomic_t *stop);
void sweeper_run(struct server *s, const volatile sig_atomic_t *stop);

#endif /* REGISTRAR_SERVER_H */
