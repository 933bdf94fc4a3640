/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One struct peer a connection; its session has at most one message in work, the others wait in the input buffer.
 *
 *	socket ─> input ─> line ─> rpc session ─> output ─> socket
 *	             ^ high-water mark      │ ^ not before the output is empty
 *	                                    └─ not done in its slice: the server's queue, one slice a turn of the loop
 *
 * States of a peer: open ─(its end of file)─> eof: what came is still answered ─> freed
 *                   open ─(its line is too long)─> closing: told, then read away for LINGER_NS, so that the close
 *                   does not take the answer from it ─> freed
 */
#include "ctl/server.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "ctl/behind.h"
#include "ctl/memory.h"

enum {
	SEND_MAX = 32768,		/* bytes in one go */
	SLICE_NS = 1000000,		/* of a call that waits its turn */
	FIRST_SLICE_NS = 500000,	/* of one that has just come: most are done in it */
	ON_THEIR_WAY = RPC_REPLY_MAX,
	COPY_MAX = 1 << 16,		/* bytes that are copied into the output; longer replies are handed over */
	GROUPS_MAX = 256,
};
#define LINGER_NS 2000000000ull
#define DEAF_NS 100000000ull		/* without reading a byte of what waits for it */

const struct server_limits server_limits_default = {
	.connections = 256, .stall_s = 30, .request_bytes = RPC_REQUEST_MAX, .backlog_bytes = 32 << 20,
};

struct peer {
	struct server *server;
	struct bufferevent *bev;
	struct rpc_peer who;
	struct rpc_session session;
	size_t searched;		/* bytes of input that hold no newline */
	size_t request_bytes; /* of the longest line, as it was when it connected: the input's mark goes by it */
	size_t pending;			/* memory of replies that wait: its part of the server's */
	uint64_t moved;			/* rpc_now() when it last read of that, or got it */
	uint64_t linger_until;
	bool eof, closing, queued;
	TAILQ_ENTRY(peer) all, turn;
};

struct server {
	struct event_base *base;
	struct evconnlistener *listener;
	struct event *work, *again;	/* again: accepting is paused */
	struct server_options opts;
	TAILQ_HEAD(, peer) peers, queue;
	unsigned count;
	size_t pending;
};

size_t server_pending(const struct server *s) { return s->pending; }
void server_pause(struct server *s)
{
	event_del(s->again);
	evconnlistener_disable(s->listener);
}

void server_limit(struct server *s, const struct server_limits *limits) { s->opts.limits = *limits; }
unsigned server_connections(const struct server *s) { return s->count; }

static void peer_free(struct peer *p)
{
	struct server *s = p->server;

	if (p->queued)
		TAILQ_REMOVE(&s->queue, p, turn);
	TAILQ_REMOVE(&s->peers, p, all);
	s->count--;
	s->pending -= p->pending;
	rpc_end(&p->session);
	shutdown(bufferevent_getfd(p->bev), SHUT_RDWR);	/* now: a child of the daemon's may have it, too, for seconds */
	bufferevent_free(p->bev);	/* closes the socket */
	ctl_free(p);
}

static void enqueue(struct peer *p)
{
	static const struct timeval now = { 0, 0 };
	struct server *s = p->server;

	if (p->queued)
		return;
	p->queued = true;
	TAILQ_INSERT_TAIL(&s->queue, p, turn);
	event_add(s->work, &now);	/* a timer: event_active() would not let the loop look at sockets in between */
}

/* ---- output ---- */

static void text_sent(const void *text, size_t len, void *arg)
{
	(void)text, (void)len;
	ctl_free(arg);
}

/*
 * Of those that hold replies, but for `but`: of the deaf who holds the most. Before anybody can be called deaf: who
 * holds much for long, since who reads is not silent for long.
 */
static struct peer *greediest(struct server *s, const struct peer *but, bool deaf)
{
	uint64_t now = rpc_now(), weight, most = 0;
	struct peer *p, *found = NULL;

	TAILQ_FOREACH(p, &s->peers, all) {
		if (p == but || !p->pending || (deaf && now - p->moved < DEAF_NS))
			continue;
		weight = deaf ? p->pending : (p->pending >> 10) * ((now - p->moved) >> 10);
		if (!found || weight > most) {
			found = p;
			most = weight;
		}
	}
	return found;
}

static void cut_off(struct peer *p)
{
	struct server *s = p->server;

	if (s->opts.cut_off)
		s->opts.cut_off(&p->who, evbuffer_get_length(bufferevent_get_output(p->bev)), rpc_now() - p->moved,
				s->opts.arg);
	peer_free(p);
}

/*
 * Too much waits: those go who do not read, and not who asks now. `p` has just got a reply that it could not read yet,
 * which does not count. Replies to those who read are on their way: for these there is more room.
 */
static void make_room(struct server *s, const struct peer *p)
{
	size_t most = s->opts.limits.backlog_bytes;
	struct peer *x;

	while (s->pending - p->pending > most && (x = greediest(s, p, true)))
		cut_off(x);
	while (s->pending - p->pending > most + ON_THEIR_WAY && (x = greediest(s, p, false)))
		cut_off(x);
}

/* Hands the reply over to the output. */
static void send_reply(struct peer *p)
{
	struct json_writer *out = &p->session.out;
	struct evbuffer *output = bufferevent_get_output(p->bev);
	bool whole = out->len > COPY_MAX;
	size_t bytes = whole ? out->size : out->len;

	if (!out->len)
		return;
	p->pending += bytes;
	p->moved = rpc_now();
	p->server->pending += bytes;
	make_room(p->server, p);
	if (whole && !evbuffer_add_reference(output, out->text, out->len, text_sent, out->text))
		*out = (struct json_writer){ 0 };
	else
		evbuffer_add(output, out->text, out->len);
	rpc_sent(&p->session);
}

/* ---- input ---- */

static bool is_blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr(" \t\r", line[i]) || !line[i])
			return false;
	return true;
}

/* The line is too long: say so, and read no more of it. */
static void close_politely(struct peer *p)
{
	struct rpc_error e = { .code = RPC_LIMIT, .reason = "the request is too long", .param = "request" };

	snprintf(e.allowed, sizeof e.allowed, "%zu bytes", p->request_bytes);
	rpc_complain(&p->session.out, &e);
	send_reply(p);
	p->closing = true;
	p->linger_until = rpc_now() + LINGER_NS;
	evbuffer_drain(bufferevent_get_input(p->bev), SIZE_MAX);
}

/* Gives the session `len` bytes of input, and drops `extra` after them. */
static void take(struct peer *p, size_t len, size_t extra)
{
	struct evbuffer *in = bufferevent_get_input(p->bev);
	const char *line = len ? (const char *)evbuffer_pullup(in, (ev_ssize_t)len) : "";

	if (!line)
		close_politely(p);	/* no memory for one more copy */
	else if (!is_blank(line, len))
		rpc_take(&p->session, line, len);
	p->searched = 0;
	evbuffer_drain(in, len + extra);
}

/* The next line that is not blank goes to the session; false: there is none yet. */
static bool next_line(struct peer *p)
{
	struct evbuffer *in = bufferevent_get_input(p->bev);
	size_t most = p->request_bytes;

	while (!p->session.busy && !p->closing) {
		size_t len = evbuffer_get_length(in);
		struct evbuffer_ptr from, end;

		if (evbuffer_ptr_set(in, &from, p->searched < len ? p->searched : len, EVBUFFER_PTR_SET))
			return false;
		end = evbuffer_search_eol(in, &from, NULL, EVBUFFER_EOL_LF);
		if (end.pos > (ev_ssize_t)most || (end.pos < 0 && len > most)) {
			close_politely(p);
		} else if (end.pos >= 0) {
			take(p, (size_t)end.pos, 1);
		} else if (p->eof && len) {
			take(p, len, 0);		/* a last line without its newline */
		} else {
			p->searched = len;
			return false;
		}
	}
	return p->session.busy;
}

/* Answers what has come, for a slice. May free `p`. */
static void serve(struct peer *p, uint64_t slice)
{
	uint64_t deadline = rpc_now() + slice;

	while (p->session.busy || (!p->pending && next_line(p))) {
		if (!rpc_run(&p->session, deadline)) {
			if (!rpc_waiting(&p->session))
				enqueue(p);
			return;
		}
		send_reply(p);
		if (rpc_now() >= deadline) {
			enqueue(p);
			return;
		}
	}
	if (p->eof && !p->pending)
		peer_free(p);
}

/* ---- libevent's callbacks ---- */

static void on_read(struct bufferevent *bev, void *arg)
{
	struct peer *p = arg;

	if (!p->closing) {
		if (!p->queued)
			serve(p, FIRST_SLICE_NS);
		return;
	}
	evbuffer_drain(bufferevent_get_input(bev), SIZE_MAX);
	if (rpc_now() > p->linger_until)
		peer_free(p);
}

/* All output is in the kernel. */
static void on_written(struct bufferevent *bev, void *arg)
{
	struct peer *p = arg;

	p->server->pending -= p->pending;
	p->pending = 0;
	if (p->closing && !p->eof) {
		static const struct timeval soon = { LINGER_NS / 1000000000u, 0 };

		shutdown(bufferevent_getfd(bev), SHUT_WR);
		bufferevent_set_timeouts(bev, &soon, NULL);
	} else if (p->closing) {
		peer_free(p);
	} else if (!p->queued) {
		serve(p, FIRST_SLICE_NS);
	}
}

static void on_timeout(struct peer *p, short what)
{
	if ((what & BEV_EVENT_READING) && !p->closing && (p->session.busy || p->pending || p->queued))
		bufferevent_enable(p->bev, EV_READ);	/* it waits for us */
	else
		peer_free(p);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct peer *p = arg;

	(void)bev;
	if (what & BEV_EVENT_TIMEOUT) {
		on_timeout(p, what);
	} else if (what & BEV_EVENT_EOF) {
		p->eof = true;
		if (p->closing && !p->pending)
			peer_free(p);
		else if (!p->queued && !p->closing)
			serve(p, FIRST_SLICE_NS);
	} else if (what & BEV_EVENT_ERROR) {
		peer_free(p);
	}
}

static void on_woken(void *arg) { enqueue(arg); }

/* One slice for the peer that has waited longest; then the loop looks at its sockets. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval now = { 0, 0 };
	struct server *s = arg;
	struct peer *p = TAILQ_FIRST(&s->queue);

	(void)fd, (void)what;
	if (p) {
		TAILQ_REMOVE(&s->queue, p, turn);
		p->queued = false;
		serve(p, SLICE_NS);
	}
	if (!TAILQ_EMPTY(&s->queue))
		event_add(s->work, &now);
}

/* ---- accepting ---- */

static enum rpc_role role_of(struct server *s, int fd, struct rpc_peer *ret_who)
{
	struct ucred cred;
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof cred, groups_len = sizeof groups;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return ROLE_NONE;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_len))
		groups_len = 0;		/* more than fit: only the peer's gid counts */
	ret_who->pid = cred.pid;
	ret_who->uid = cred.uid;
	return s->opts.role(&(struct server_peer){ cred.pid, cred.uid, cred.gid, groups, groups_len / sizeof *groups },
			    s->opts.arg);
}

static void turn_away(struct server *s, int fd)
{
	struct rpc_error e = { .code = RPC_LIMIT, .reason = "too many connections" };
	struct json_writer out = { 0 };

	snprintf(e.allowed, sizeof e.allowed, "%u connections", s->opts.limits.connections);
	rpc_complain(&out, &e);
	if (!out.failed)
		(void)!send(fd, out.text, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	jw_free(&out);
	close(fd);
}

/* To copy megabytes is work of the kernel's that nobody who waits for this CPU should wait for: after each piece it is
 * offered. */
static void on_sent(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
	(void)output;
	if (!info->n_deleted)
		return;
	((struct peer *)arg)->moved = rpc_now();
	ctl_give_way();
}

static void on_connection(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
	struct server *s = arg;
	const struct server_limits *most = &s->opts.limits;
	struct timeval idle = { .tv_sec = most->idle_s }, stall = { .tv_sec = most->stall_s };
	struct bufferevent *bev;
	struct peer *p;

	(void)l, (void)from, (void)len;
	if (s->count >= most->connections) {
		turn_away(s, fd);
		return;
	}
	p = ctl_zalloc(sizeof *p);
	bev = p ? bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
	if (!bev) {
		ctl_free(p);
		close(fd);
		return;
	}
	*p = (struct peer){ .server = s, .bev = bev, .request_bytes = most->request_bytes };
	p->who.role = role_of(s, fd, &p->who);
	p->session.program = s->opts.program;
	p->session.peer = &p->who;
	p->session.woken = on_woken;
	p->session.arg = p;
	TAILQ_INSERT_TAIL(&s->peers, p, all);
	s->count++;
	bufferevent_setcb(bev, on_read, on_written, on_event, p);
	bufferevent_set_max_single_write(bev, SEND_MAX);
	evbuffer_add_cb(bufferevent_get_output(bev), on_sent, p);
	bufferevent_setwatermark(bev, EV_READ, 0, most->request_bytes + 1);
	bufferevent_set_timeouts(bev, most->idle_s ? &idle : NULL, &stall);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

/* No descriptors, no memory: the listener would spin, since the connection stays in its queue. */
static void on_accept_error(struct evconnlistener *l, void *arg)
{
	static const struct timeval later = { 1, 0 };
	struct server *s = arg;

	evconnlistener_disable(l);
	event_add(s->again, &later);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	evconnlistener_enable(((struct server *)arg)->listener);
}

int server_new(struct event_base *base, int fd, const struct server_options *opts, struct server **ret_server)
{
	struct server *s = ctl_zalloc(sizeof *s);

	if (!s)
		return -ENOMEM;
	s->base = base;
	s->opts = *opts;
	TAILQ_INIT(&s->peers);
	TAILQ_INIT(&s->queue);
	s->work = event_new(base, -1, 0, on_turn, s);
	s->again = event_new(base, -1, 0, on_again, s);
	s->listener = evconnlistener_new(base, on_connection, s, LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!s->work || !s->again || !s->listener) {
		server_free(s);
		return -ENOMEM;
	}
	evconnlistener_set_error_cb(s->listener, on_accept_error);
	*ret_server = s;
	return 0;
}

void server_free(struct server *s)
{
	struct peer *p;

	if (!s)
		return;
	while ((p = TAILQ_FIRST(&s->peers)))
		peer_free(p);
	if (s->listener)
		evconnlistener_free(s->listener);
	if (s->again)
		event_free(s->again);
	if (s->work)
		event_free(s->work);
	ctl_free(s);
}
