/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmd: what its files share. One struct daemon, touched by none but the loop. Beside it work threads with observers of
 * their own: one for reports that take long (aside.h), one or two for each check of heaps (job.h), one for samples
 * (round.h).
 *
 *	main.c		options, start, signals, end, restart		listen.c notify.c log.c roles.c
 *	h_*.c		one family of methods each			pick.c visit.c rows.c tally.c page.c: theirs
 *	aside.c job.c	reports and checks beside the loop		costs.c		what watching costs here
 *	sample.c	live bytes by call site over time		round.c		one sample, in its thread
 *	hosted.c	pools that live while mmd does
 *	watch.c		recoveries, and who holds a lock for how long
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include "conf/conf.h"
#include "ctl/rpc.h"
#include "ctl/server.h"
#include "daemon/listen.h"
#include "daemon/roles.h"
#include "daemon/rows.h"
#include "memapi/observe.h"

struct daemon;
struct mem_host;
struct costs;
struct sampler;
struct watch;

/** What a handler looks through, of one thread: the loop's, or that of aside.h. */
struct view {
	struct daemon *d;		/* for the loop alone */
	struct obs *obs;
	struct places places;		/* of the handler that runs */
};

struct daemon {
	struct conf_options opts;	/* of the command line */
	struct conf conf;		/* since the start, or the last SIGHUP */
	struct conf_manager now[2];	/* managers that mmd runs with: those of its start */
	struct roles roles;
	struct listen_place place;
	struct event_base *base;
	struct rpc_program program;
	struct server *server;
	struct view view;
	struct mem_host *host;		/* mem/host.h */
	struct event *reap, *child;	/* once a second; SIGCHLD */
	bool pool_failed[CONF_POOLS];
	struct sampler *sampler;
	struct costs *costs;		/* costs.h; NULL: none */
	struct watch *watch;		/* watch.h; NULL: none */
	uint64_t started;		/* rpc_now() */
	struct event *leave;		/* the restart, when the answer is out */
	uint64_t leave_by;
	bool restart;
};

/** The handlers, in the order of methods.def. */
#define METHOD(id, ...) rpc_handler rpc_##id;
#include "ctl/methods.def"
#undef METHOD

static inline struct view *view_of(const struct rpc_call *call) { return call->context; }
static inline struct daemon *daemon_of(const struct rpc_call *call) { return view_of(call)->d; }

/** conf_load() with mmd's options and managers: what the next start would get. 0, or -errno with the text. */
int daemon_next_conf(const struct daemon *d, struct conf *ret_conf, struct conf_error *ret_error);

/** Ends the loop when what was answered has been read, and executes mmd anew. */
void daemon_restart(struct daemon *d);

#endif /* DAEMON_DAEMON_H */
