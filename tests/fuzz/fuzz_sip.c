/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets against the whole registrar: parser, section 10, table, replies.
 *
 * An input is a few packets with "\n%%\n" between them, sent to one server in turn; its first byte makes one allocation
 * fail. What must hold: no sanitizer complains; every reply is a reply, with no line in it that is not a header; all
 * private memory is given back after each packet; all of the table's after everything has expired.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "malloc_shim.h"
#include "server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(what) do { \
	if (!(what)) { \
		fprintf(stderr, "fuzz_sip: not true: %s\n", #what); \
		abort(); \
	} \
} while (0)

static void reply_check(struct text reply)
{
	MUST(reply.len > 12 && !memcmp(reply.at, "SIP/2.0 ", 8));
	MUST(!memcmp(text_end(reply) - 4, "\r\n\r\n", 4));
	reply.len -= 4;
	for (bool first = true; reply.len; first = false) {
		size_t lf = text_find(reply, '\n');
		struct text line = { reply.at, lf < reply.len ? lf - 1 : lf };

		MUST(lf == reply.len || (lf && reply.at[lf - 1] == '\r'));
		MUST(line.len && text_find(line, '\r') == line.len && text_find(line, '\0') == line.len);
		MUST(first || (text_find(line, ':') < line.len && text_find(line, ':') > 0));
		MUST(!ascii_space(line.at[0]));
		reply = lf < reply.len ? text_skip(reply, lf + 1) : text_skip(reply, reply.len);
	}
}

static void one_packet(struct server *s, struct text packet)
{
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(5071) };
	struct sockaddr_storage from = { 0 };
	struct reply reply;
	char *exact = malloc(packet.len + !packet.len);		/* nothing behind it, for AddressSanitizer */

	MUST(exact);
	memcpy(&from, &peer, sizeof peer);
	if (packet.len)
		memcpy(exact, packet.at, packet.len);
	if (request_handle(s, exact, packet.len, &from, &reply)) {
		reply_check((struct text){ reply.out.at, reply.out.len });
		pkg_free(reply.out.at);
	}
	MUST(!shim_pkg_live);
	free(exact);
}

static struct text next_packet(struct text *rest)
{
	static const struct text mark = TEXT("\n%%\n");
	const char *at = rest->len ? memmem(rest->at, rest->len, mark.at, mark.len) : NULL;
	struct text packet = { rest->at, at ? (size_t)(at - rest->at) : rest->len };

	*rest = at ? text_of(at + mark.len, text_end(*rest)) : text_of(text_end(*rest), text_end(*rest));
	return packet;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct stats stats;
	static struct server s = { .opt = { .workers = 1, .max_contacts = 4, .min_expires = 60, .default_expires = 3600,
					    .max_expires = 7200, .remember = 32 }, .stats = &stats };
	struct text rest = { (const char *)data, size };
	struct sweep found;

	if (!s.table)
		MUST(!table_open(4, &s.table));
	if (!size)
		return 0;
	shim_fail_in = data[0] >= 0x80 ? data[0] & 0x3fu : 0;
	for (rest = text_skip(rest, 1); rest.len;)
		one_packet(&s, next_packet(&rest));
	shim_fail_in = 0;
	table_sweep(s.table, INT64_MAX, &found);
	MUST(shim_shm_live == 1);		/* the table */
	return 0;
}
