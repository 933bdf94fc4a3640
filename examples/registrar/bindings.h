/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the registrar knows of one address of record: who may be reached where, until when, what was answered lately.
 *
 * struct bindings is a draft in private memory whose slices point into a record of the table and into the request. The
 * record is one fragment of shared memory that never changes once it is linked: an update makes another one.
 *
 *	| struct record | key | contact: fixed part, text, Call-ID | ... | past reply: fixed part, text | ... |
 */
#ifndef REGISTRAR_BINDINGS_H
#define REGISTRAR_BINDINGS_H

#include <stdatomic.h>

#include "text.h"

enum {
	CONTACTS_MAX = 64,	/* of one address, those included that are removed and remembered */
	PASTS_MAX = 4,		/* replies kept for retransmissions of one address's requests, the newest */
	CONTACT_TEXT_MAX = 2048,
};

/** A place where somebody may be reached. Times are CLOCK_MONOTONIC, ms. */
struct contact {
	struct text text;	/* `<uri>;q=0.5;+other`, as the reply lists it but for `expires` */
	struct text uri;	/* in text */
	struct text call_id;
	uint64_t cseq;
	int64_t until;		/* registered until then; earlier than now: expired or removed */
	int64_t forget;		/* removed ones are remembered until then, so that a late older request is refused */
	bool touched;		/* by this request; not stored */
};

/** An answered request, so that its retransmission gets the same answer (RFC 3261 17.2.2: 32 s). */
struct past { uint64_t key; int64_t forget; struct text reply; };

struct bindings {
	size_t contacts, pasts;
	struct contact contact[CONTACTS_MAX];
	struct past past[PASTS_MAX];	/* the oldest first */
};

/** One address of record in shared memory. */
struct record {
	_Atomic(struct record *) next;
	uint64_t magic, hash;
	int64_t until;		/* nothing in it counts any more from then on */
	uint32_t bytes;		/* with this head */
	uint32_t key_len, contacts, pasts;
	char data[];
};

/** Slices of `rec` into `b`; what is over at `now` is left out. false: the record is damaged. */
bool bindings_read(const struct record *rec, int64_t now, struct bindings *b);
/** Bytes of the record that holds `b`. */
size_t record_bytes(const struct bindings *b, struct text key);
/** Writes all of a record but `next`. `rec` has record_bytes() bytes. */
void record_write(struct record *rec, size_t bytes, const struct bindings *b, struct text key, uint64_t hash);
/** Contacts of a record that are registered at `now`. */
unsigned record_contacts(const struct record *rec, int64_t now);
/** Is it a whole record? */
bool record_sound(const struct record *rec);

#endif /* REGISTRAR_BINDINGS_H */
