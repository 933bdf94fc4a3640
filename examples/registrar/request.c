/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One packet in, one reply out: which method it is, and what is said to all of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "server.h"

int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t load(const _Atomic uint64_t *word) { return atomic_load_explicit(word, memory_order_relaxed); }

/* Counts, for tests and for whoever pings the server. relaxed: read by humans. */
static void options_handle(const struct server *s, struct verdict *v)
{
	const struct worker_stats *w = &s->stats->worker[s->self];

	v->status = 200;
	v->reason = "OK";
	sip_outf(&v->headers, "Allow: REGISTER, OPTIONS\r\nAccept: \r\nSupported: \r\n");
	sip_outf(&v->headers, "X-Registrar: worker=%u;pid=%" PRId64 ";requests=%" PRIu64 ";restarts=%" PRIu64
		 ";contacts=%" PRIu64 ";records=%" PRIu64 ";sweeps=%" PRIu64 ";repairs=%" PRIu64 "\r\n", s->self,
		 atomic_load_explicit(&w->pid, memory_order_relaxed), load(&w->requests), load(&w->restarts),
		 load(&s->stats->contacts), load(&s->stats->records), load(&s->stats->sweeps),
		 load(&s->stats->repairs));
}

/* 8.2.2.3: no extension is supported. */
static bool requires_something(const struct sip_request *r, struct verdict *v)
{
	const struct sip_header *h;
	size_t at = 0;
	bool any = false;

	while ((h = sip_header_next(r, SIP_REQUIRE, &at))) {
		if (!h->value.len)
			continue;
		sip_out(&v->headers, TEXT("Unsupported: "));
		sip_out(&v->headers, h->value);
		sip_out(&v->headers, TEXT("\r\n"));
		any = true;
	}
	if (any)
		*v = (struct verdict){ 420, "Bad Extension", v->headers };
	return any;
}

static void method_handle(struct server *s, const struct sip_request *r, struct verdict *v)
{
	switch (r->method) {
	case SIP_CANCEL:
		*v = (struct verdict){ .status = 481, .reason = "Call/Transaction Does Not Exist" };
		return;
	case SIP_NOT_ALLOWED:
		*v = (struct verdict){ .status = 405, .reason = "Method Not Allowed" };
		sip_out(&v->headers, TEXT("Allow: REGISTER, OPTIONS\r\n"));
		return;
	case SIP_REGISTER:
		if (!requires_something(r, v))
			registrar_handle(s, r, v);
		return;
	case SIP_OPTIONS:
		if (!requires_something(r, v))
			options_handle(s, v);
		return;
	case SIP_ACK:
	case SIP_UNKNOWN:
	default:
		*v = (struct verdict){ .status = 501, .reason = "Not Implemented" };
	}
}

bool request_handle(struct server *s, const char *packet, size_t len, const struct sockaddr_storage *from,
		    struct reply *ret_reply)
{
	struct sip_request r;
	struct verdict v = { 0 };
	struct sip_out out = { 0 };

	if (sip_parse(packet, len, &r))
		return false;
	if (r.method == SIP_ACK) {		/* 17.1.1.3: never answered */
		sip_free(&r);
		return false;
	}
	if (r.status)
		v = (struct verdict){ .status = r.status, .reason = r.reason };
	else
		method_handle(s, &r, &v);
	if (v.headers.failed)
		v = (struct verdict){ 500, "Out of Memory", { v.headers.at, 0, v.headers.room, false } };
	sip_reply_begin(&out, &r, v.status, v.reason, from, s->table->secret);
	sip_out(&out, (struct text){ v.headers.at, v.headers.len });
	sip_reply_end(&out);
	sip_reply_to(&r, from, &ret_reply->to);
	pkg_free(v.headers.at);
	sip_free(&r);
	if (out.failed) {
		pkg_free(out.at);
		return false;
	}
	ret_reply->out = out;
	return true;
}
