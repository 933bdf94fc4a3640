/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIP messages (RFC 3261), as much as a registrar needs: requests in, replies out.
 *
 *	packet --sip_parse()--> struct sip_request, slices into one copy of the packet in private memory
 *	sip_reply_begin(), sip_out…() --> struct sip_out, bytes in private memory
 *
 * Everything that comes in is hostile: nothing is believed about lengths, nesting, characters or order. A request that
 * can be answered is always parsed, and what is wrong with it stands in `status` and `reason`. Cost: linear in
 * the packet, two allocations a request.
 */
#ifndef REGISTRAR_SIP_H
#define REGISTRAR_SIP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "text.h"

enum sip_header_id {
	SIP_OTHER, SIP_VIA, SIP_FROM, SIP_TO, SIP_CALL_ID, SIP_CSEQ, SIP_CONTACT, SIP_EXPIRES, SIP_REQUIRE,
	SIP_CONTENT_LENGTH, SIP_HEADER_IDS
};

enum sip_method { SIP_UNKNOWN, SIP_REGISTER, SIP_OPTIONS, SIP_ACK, SIP_CANCEL, SIP_NOT_ALLOWED };

struct sip_header { enum sip_header_id id; struct text name, value; };	/* value: unfolded and trimmed */

/** The topmost Via. */
struct sip_via {
	struct text value, more;	/* the whole element; what follows it after a comma */
	struct text host, branch;	/* "" when there is none */
	unsigned port;			/* 0: none */
	bool rport;			/* RFC 3581 */
};

struct sip_request {
	unsigned status;		/* 0: fine; else what to answer, with `reason` */
	const char *reason;
	enum sip_method method;
	struct text method_name, uri;
	struct sip_via via;
	struct text from, to, call_id;
	struct text to_uri, to_tag;
	uint64_t cseq;
	struct sip_header *header;
	size_t headers;
	char *copy;			/* of the packet; all slices point into it */
};

/**
 * sip_parse - make sense of a packet
 * @ret_request: for sip_free()
 *
 * Returns 0: it can be answered; -EBADMSG: it cannot (a response, no request line, no usable Via); -ENOMEM.
 */
int sip_parse(const char *packet, size_t len, struct sip_request *ret_request);
void sip_free(struct sip_request *r);

/** The next header of this kind from *at on, or NULL. Start with *at = 0. */
const struct sip_header *sip_header_next(const struct sip_request *r, enum sip_header_id id, size_t *at);

/* ---- addresses (sip_uri.c) ---- */

/** sip:user:password@host:port;params?headers */
struct sip_uri { struct text scheme, user, password, host, params, headers; unsigned port; bool has_user; };

/** false: not a SIP or SIPS URI, or malformed. */
bool sip_uri_parse(struct text t, struct sip_uri *ret_uri);
/** RFC 3261 19.1.4 */
bool sip_uri_same(const struct sip_uri *a, const struct sip_uri *b);
/**
 * sip_uri_key - canonical form of an address of record: no parameters, no password, unescaped, host in lower case
 * @buf: at least as long as all of the URI's text and 8 more
 */
size_t sip_uri_key(const struct sip_uri *uri, char *buf);

/**
 * sip_address_parse - `"name" <uri>;params` or `uri;params`
 *
 * false: malformed. *ret_params is what follows the first ; or is empty.
 */
bool sip_address_parse(struct text t, struct text *ret_uri, struct text *ret_params);
/** Takes the next `name[=value]` off *params; false: there is none left. A quoted value keeps its quotes. */
bool sip_param_next(struct text *params, struct text *ret_name, struct text *ret_value);
/** The value of a parameter, names compared without case; false: not there. */
bool sip_param_find(struct text params, struct text name, struct text *ret_value);

/* ---- replies (sip_reply.c) ---- */

/** Text that grows in private memory. After a failed allocation it stays as it is and says so. */
struct sip_out { char *at; size_t len, room; bool failed; };

void sip_out(struct sip_out *out, struct text t);
__attribute__((format(printf, 2, 3))) void sip_outf(struct sip_out *out, const char *format, ...);

/**
 * sip_reply_begin - status line and the headers that every reply copies from its request
 * @from: where the request came from, for received and rport
 * @tag_secret: To gets a tag made of it and the request: a retransmission gets the same one
 */
void sip_reply_begin(struct sip_out *out, const struct sip_request *r, unsigned status, const char *reason,
		     const struct sockaddr_storage *from, uint64_t tag_secret);
void sip_reply_end(struct sip_out *out);
/** Where the reply goes (RFC 3261 18.2.2 and RFC 3581): always to the host that sent the request. */
void sip_reply_to(const struct sip_request *r, const struct sockaddr_storage *from, struct sockaddr_storage *ret_to);

#endif /* REGISTRAR_SIP_H */
