/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The children: workers that answer packets, and the sweeper that forgets what has expired.
 *
 * Workers share one socket; the kernel wakes one of them a packet. A worker that dies takes with it at most the packet
 * it was about: its client sends it again.
 */
#include <errno.h>
#include <time.h>

#include "server.h"

enum { PACKET_MAX = 65535 };

static void count(_Atomic uint64_t *word) { atomic_fetch_add_explicit(word, 1, memory_order_relaxed); }

static socklen_t address_len(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static void answer(struct server *s, const char *packet, size_t len, const struct sockaddr_storage *from)
{
	struct worker_stats *w = &s->stats->worker[s->self];
	struct reply reply;

	count(&w->requests);
	if (!request_handle(s, packet, len, from, &reply)) {
		count(&w->dropped);
	} else {
		if (sendto(s->fd, reply.out.at, reply.out.len, 0, (const struct sockaddr *)&reply.to,
			   address_len(&reply.to)) == -1)
			count(&w->dropped);
		else
			count(&w->replies);
		pkg_free(reply.out.at);
	}
	demo_leak(s, len);
}

void worker_run(struct server *s, const volatile sig_atomic_t *stop)
{
	static char packet[PACKET_MAX];

	while (!*stop) {
		struct sockaddr_storage from = { 0 };
		socklen_t from_len = sizeof from;
		ssize_t n = recvfrom(s->fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &from_len);

		if (n > 0)		/* -1: the socket's timeout or a signal: look at `stop` */
			answer(s, packet, (size_t)n, &from);
	}
}

void sweeper_run(struct server *s, const volatile sig_atomic_t *stop)
{
	struct timespec pause = { s->opt.sweep_ms / 1000, s->opt.sweep_ms % 1000 * 1000000l };
	struct sweep found;

	while (!*stop) {
		table_sweep(s->table, now_ms(), &found);
		/* relaxed: read by humans */
		atomic_store_explicit(&s->stats->contacts, found.contacts, memory_order_relaxed);
		atomic_store_explicit(&s->stats->records, found.records, memory_order_relaxed);
		atomic_store_explicit(&s->stats->repairs, found.repairs, memory_order_relaxed);
		atomic_fetch_add_explicit(&s->stats->removed, found.removed, memory_order_relaxed);
		count(&s->stats->sweeps);
		nanosleep(&pause, NULL);
	}
}
