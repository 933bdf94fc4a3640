/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replies: status line, the copied headers, where they go.
 *
 * The topmost Via gets `received` (and the value of `rport`) from the socket, never from the sender's own claim. maddr
 * is left alone on purpose: a reply goes to the host that asked, or a forged Via could aim it at anybody.
 */
#include "sip.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#include "memapi/memapi.h"

enum { SIP_PORT = 5060, OUT_START = 1024 };

static bool make_room(struct sip_out *out, size_t more)
{
	size_t room = out->room ? out->room : OUT_START;
	char *p;

	if (out->failed)
		return false;
	if (more <= out->room - out->len)
		return true;
	while (room - out->len < more)
		room *= 2;
	p = pkg_realloc(out->at, room);
	if (!p) {
		out->failed = true;
		return false;
	}
	out->at = p;
	out->room = room;
	return true;
}

void sip_out(struct sip_out *out, struct text t)
{
	if (!t.len || !make_room(out, t.len))
		return;
	memcpy(out->at + out->len, t.at, t.len);
	out->len += t.len;
}

void sip_outf(struct sip_out *out, const char *format, ...)
{
	char line[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof line)
		out->failed = true;
	else
		sip_out(out, (struct text){ line, (size_t)n });
}

static unsigned peer_port(const struct sockaddr_storage *a)
{
	return ntohs(a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port :
						((const struct sockaddr_in *)a)->sin_port);
}

static void peer_host(const struct sockaddr_storage *a, char *buf, socklen_t bytes)
{
	const void *address = a->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr :
							 (const void *)&((const struct sockaddr_in *)a)->sin_addr;

	if (!inet_ntop(a->ss_family, address, buf, bytes))
		buf[0] = '\0';
}

/* The sender's Via without what only we may say, then what we say. */
static void out_top_via(struct sip_out *out, const struct sip_via *v, const struct sockaddr_storage *from)
{
	struct text params, name, value, head = text_cut(v->value, ";", &params, NULL), host = v->host;
	char peer[INET6_ADDRSTRLEN] = "";

	peer_host(from, peer, sizeof peer);
	if (host.len > 1 && host.at[0] == '[')
		host = (struct text){ host.at + 1, host.len - 2 };
	sip_out(out, TEXT("Via: "));
	sip_out(out, head);
	while (sip_param_next(&params, &name, &value)) {
		if (text_same_nocase(name, TEXT("received")) || text_same_nocase(name, TEXT("rport")))
			continue;
		sip_out(out, TEXT(";"));
		sip_out(out, name);
		if (value.len) {
			sip_out(out, TEXT("="));
			sip_out(out, value);
		}
	}
	if (v->rport || !text_same_nocase(host, (struct text){ peer, strlen(peer) }))
		sip_outf(out, ";received=%s", peer);
	if (v->rport)
		sip_outf(out, ";rport=%u", peer_port(from));
	if (v->more.len) {
		sip_out(out, TEXT(", "));
		sip_out(out, text_trim(v->more));
	}
	sip_out(out, TEXT("\r\n"));
}

static void out_header(struct sip_out *out, struct text name, struct text value)
{
	sip_out(out, name);
	sip_out(out, TEXT(": "));
	sip_out(out, value);
	sip_out(out, TEXT("\r\n"));
}

static void out_to(struct sip_out *out, const struct sip_request *r, uint64_t secret)
{
	uint64_t tag = text_hash(text_hash(text_hash(secret, r->call_id), r->via.branch), r->from);

	if (!r->to.len)
		return;
	sip_out(out, TEXT("To: "));
	sip_out(out, r->to);
	if (!r->to_tag.len)
		sip_outf(out, ";tag=%016llx", (unsigned long long)tag);
	sip_out(out, TEXT("\r\n"));
}

void sip_reply_begin(struct sip_out *out, const struct sip_request *r, unsigned status, const char *reason,
		     const struct sockaddr_storage *from, uint64_t tag_secret)
{
	const struct sip_header *h;
	size_t at = 0;

	sip_outf(out, "SIP/2.0 %u %s\r\n", status, reason);
	for (unsigned n = 0; (h = sip_header_next(r, SIP_VIA, &at)); n++) {
		if (n)
			out_header(out, TEXT("Via"), h->value);
		else
			out_top_via(out, &r->via, from);
	}
	if (r->from.len)
		out_header(out, TEXT("From"), r->from);
	out_to(out, r, tag_secret);
	if (r->call_id.len)
		out_header(out, TEXT("Call-ID"), r->call_id);
	at = 0;
	h = sip_header_next(r, SIP_CSEQ, &at);
	if (h)
		out_header(out, TEXT("CSeq"), h->value);
}

void sip_reply_end(struct sip_out *out)
{
	sip_out(out, TEXT("Server: memapi-registrar\r\nContent-Length: 0\r\n\r\n"));
}

void sip_reply_to(const struct sip_request *r, const struct sockaddr_storage *from, struct sockaddr_storage *ret_to)
{
	in_port_t port = htons((in_port_t)(r->via.port ? r->via.port : SIP_PORT));

	*ret_to = *from;
	if (r->via.rport)
		return;
	if (from->ss_family == AF_INET6)
		((struct sockaddr_in6 *)ret_to)->sin6_port = port;
	else
		((struct sockaddr_in *)ret_to)->sin_port = port;
}
