/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the draft and the record. Fixed parts are copied with memcpy: nothing in a record is aligned but its head.
 * Cost: one copy of the record's bytes each way.
 */
#include "bindings.h"

#define RECORD_MAGIC 0x64636552726f4121ull	/* "!AorRecd" */

struct stored_contact {
	int64_t until, forget;
	uint32_t cseq;
	uint16_t text_len, uri_at, uri_len, call_id_len;
};
struct stored_past {
	uint64_t key;
	int64_t forget;
	uint32_t len;
};

/* Reads forward through a record, and never beyond it. */
struct reader { const char *at; size_t left; bool failed; };

static struct text take(struct reader *r, size_t len)
{
	struct text t = { r->at, len };

	if (r->failed || len > r->left) {
		r->failed = true;
		return (struct text){ r->at, 0 };
	}
	r->at += len;
	r->left -= len;
	return t;
}

static void take_fixed(struct reader *r, void *to, size_t len)
{
	struct text t = take(r, len);

	memset(to, 0, len);
	if (t.len)
		memcpy(to, t.at, t.len);
}

static bool take_contact(struct reader *r, struct contact *c)
{
	struct stored_contact s;

	take_fixed(r, &s, sizeof s);
	c->text = take(r, s.text_len);
	c->call_id = take(r, s.call_id_len);
	if (r->failed || s.uri_at > s.text_len || s.uri_len > s.text_len - s.uri_at)
		return false;
	c->uri = (struct text){ c->text.at + s.uri_at, s.uri_len };
	c->cseq = s.cseq;
	c->until = s.until;
	c->forget = s.forget;
	c->touched = false;
	return true;
}

static bool take_past(struct reader *r, struct past *p)
{
	struct stored_past s;

	take_fixed(r, &s, sizeof s);
	*p = (struct past){ .key = s.key, .forget = s.forget, .reply = take(r, s.len) };
	return !r->failed;
}

static struct reader reader_of(const struct record *rec)
{
	struct reader r = { rec->data, rec->bytes - sizeof *rec, false };

	take(&r, rec->key_len);
	return r;
}

bool record_sound(const struct record *rec)
{
	return rec->magic == RECORD_MAGIC && rec->bytes >= sizeof *rec &&
	       rec->key_len <= rec->bytes - sizeof *rec && rec->contacts <= CONTACTS_MAX && rec->pasts <= PASTS_MAX;
}

bool bindings_read(const struct record *rec, int64_t now, struct bindings *b)
{
	struct reader r = reader_of(rec);
	struct contact c;
	struct past p;

	b->contacts = b->pasts = 0;
	if (!record_sound(rec))
		return false;
	for (uint32_t i = 0; i < rec->contacts; i++) {
		if (!take_contact(&r, &c))
			return false;
		if (c.until > now || c.forget > now)
			b->contact[b->contacts++] = c;
	}
	for (uint32_t i = 0; i < rec->pasts; i++) {
		if (!take_past(&r, &p))
			return false;
		if (p.forget > now)
			b->past[b->pasts++] = p;
	}
	return true;
}

unsigned record_contacts(const struct record *rec, int64_t now)
{
	struct reader r = reader_of(rec);
	struct contact c;
	unsigned n = 0;

	for (uint32_t i = 0; i < rec->contacts && take_contact(&r, &c); i++)
		n += c.until > now;
	return n;
}

size_t record_bytes(const struct bindings *b, struct text key)
{
	size_t n = sizeof(struct record) + key.len;

	for (size_t i = 0; i < b->contacts; i++)
		n += sizeof(struct stored_contact) + b->contact[i].text.len + b->contact[i].call_id.len;
	for (size_t i = 0; i < b->pasts; i++)
		n += sizeof(struct stored_past) + b->past[i].reply.len;
	return n;
}

static char *put(char *at, const void *from, size_t len)
{
	if (len)
		memcpy(at, from, len);
	return at + len;
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

void record_write(struct record *rec, size_t bytes, const struct bindings *b, struct text key, uint64_t hash)
{
	char *at = put(rec->data, key.at, key.len);
	int64_t until = 0;

	for (size_t i = 0; i < b->contacts; i++) {
		const struct contact *c = &b->contact[i];
		struct stored_contact s = {
			.until = c->until, .forget = c->forget, .cseq = (uint32_t)c->cseq,
			.text_len = (uint16_t)c->text.len, .uri_at = (uint16_t)(c->uri.at - c->text.at),
			.uri_len = (uint16_t)c->uri.len, .call_id_len = (uint16_t)c->call_id.len,
		};

		at = put(at, &s, sizeof s);
		at = put(at, c->text.at, c->text.len);
		at = put(at, c->call_id.at, c->call_id.len);
		until = later(until, later(c->until, c->forget));
	}
	for (size_t i = 0; i < b->pasts; i++) {
		const struct past *p = &b->past[i];
		struct stored_past s = { .key = p->key, .forget = p->forget, .len = (uint32_t)p->reply.len };

		at = put(at, &s, sizeof s);
		at = put(at, p->reply.at, p->reply.len);
		until = later(until, p->forget);
	}
	rec->magic = RECORD_MAGIC;
	rec->hash = hash;
	rec->until = until;
	rec->bytes = (uint32_t)bytes;
	rec->key_len = (uint32_t)key.len;
	rec->contacts = (uint32_t)b->contacts;
	rec->pasts = (uint32_t)b->pasts;
}
