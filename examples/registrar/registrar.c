/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * REGISTER: RFC 3261 section 10.3, step by step.
 *
 * An update is made on a draft in private memory and put into the table by one store at the end, so that it is made
 * wholly or not at all, whether it fails by its own rules, for want of memory, or by SIGKILL. A retransmission is known
 * by its branch, Call-ID and CSeq and gets the reply that was given before.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "server.h"

enum { SECOND = 1000, ONE_HOUR = 3600 };

/* All that one REGISTER is about while its bucket is locked. */
struct update {
	struct server *s;
	const struct sip_request *r;
	struct verdict *v;
	struct bindings *b;
	int64_t now;
	uint64_t expires;	/* of contacts that say nothing themselves, s */
	bool has_expires;
};

static void refuse(struct update *u, unsigned status, const char *reason)
{
	u->v->status = status;
	u->v->reason = reason;
}

static void expires_header(struct update *u)
{
	size_t at = 0;
	const struct sip_header *h = sip_header_next(u->r, SIP_EXPIRES, &at);

	u->has_expires = h != NULL;
	u->expires = u->s->opt.default_expires;
	if (h && !text_number(h->value, UINT32_MAX, &u->expires))	/* 20.19: malformed is 3600 */
		u->expires = ONE_HOUR;
}

/* Higher CSeq of the same Call-ID, or another Call-ID (10.3 step 7). */
static bool in_order(const struct update *u, const struct contact *c)
{
	return c->touched || !text_same(c->call_id, u->r->call_id) || u->r->cseq > c->cseq;
}

static void touch(const struct update *u, struct contact *c)
{
	c->call_id = u->r->call_id;
	c->cseq = u->r->cseq;
	c->touched = true;
}

static void take_out(const struct update *u, struct contact *c)
{
	c->until = 0;
	c->forget = u->now + (int64_t)u->s->opt.remember * SECOND;
	touch(u, c);
}

static bool remove_all(struct update *u)
{
	for (size_t i = 0; i < u->b->contacts; i++) {
		if (!in_order(u, &u->b->contact[i])) {
			refuse(u, 500, "Request Out of Order");
			return false;
		}
		take_out(u, &u->b->contact[i]);
	}
	return true;
}

static struct contact *contact_find(struct bindings *b, const struct sip_uri *uri)
{
	struct sip_uri other;

	for (size_t i = 0; i < b->contacts; i++)
		if (sip_uri_parse(b->contact[i].uri, &other) && sip_uri_same(&other, uri))
			return &b->contact[i];
	return NULL;
}

static size_t registered(const struct update *u)
{
	size_t n = 0;

	for (size_t i = 0; i < u->b->contacts; i++)
		n += u->b->contact[i].until > u->now;
	return n;
}

/* Room for one more: when the draft is full, a removed one that is only remembered gives way. */
static struct contact *contact_add(struct update *u)
{
	struct bindings *b = u->b;

	if (registered(u) >= u->s->opt.max_contacts)
		return NULL;
	if (b->contacts < CONTACTS_MAX)
		return &b->contact[b->contacts++];
	for (size_t i = 0; i < b->contacts; i++)
		if (b->contact[i].until <= u->now && !b->contact[i].touched)
			return &b->contact[i];
	return NULL;
}

/* One of the Contact header's values, parsed. `text` is what the reply will list. */
struct wish { struct sip_uri uri; struct text text, uri_text; uint64_t expires; };

/* 0..1 with at most three decimals */
static bool q_valid(struct text q)
{
	if (!q.len || q.len > 5 || (q.at[0] != '0' && q.at[0] != '1') || (q.len > 1 && q.at[1] != '.'))
		return false;
	for (size_t i = 2; i < q.len; i++)
		if (!ascii_digit(q.at[i]) || (q.at[0] == '1' && q.at[i] != '0'))
			return false;
	return true;
}

/* Takes the value apart, and puts it together again without name and `expires`, in memory that `pool` collects. */
static bool wish_parse(struct update *u, struct text value, struct sip_out *pool, struct wish *w)
{
	struct text params, name, v;
	size_t start = pool->len, uri_len;

	if (!sip_address_parse(value, &w->uri_text, &params) || !sip_uri_parse(w->uri_text, &w->uri))
		return false;
	w->expires = u->expires;
	uri_len = w->uri_text.len;
	sip_out(pool, TEXT("<"));
	sip_out(pool, w->uri_text);
	sip_out(pool, TEXT(">"));
	while (sip_param_next(&params, &name, &v)) {
		if (text_same_nocase(name, TEXT("expires"))) {
			if (!text_number(v, UINT32_MAX, &w->expires))	/* 20.10: malformed is 3600 */
				w->expires = ONE_HOUR;
			continue;
		}
		if (text_same_nocase(name, TEXT("q")) && !q_valid(v))
			return false;
		sip_out(pool, TEXT(";"));
		sip_out(pool, name);
		sip_out(pool, v.len ? TEXT("=") : v);
		sip_out(pool, v);
	}
	if (pool->failed || pool->len - start > CONTACT_TEXT_MAX)
		return false;
	w->text = (struct text){ pool->at + start, pool->len - start };
	w->uri_text = (struct text){ w->text.at + 1, uri_len };
	return true;
}

static bool too_brief(const struct update *u, uint64_t expires)
{
	return expires && expires < u->s->opt.min_expires && expires < ONE_HOUR;
}

/* 10.3 step 7 for one contact. */
static bool wish_apply(struct update *u, const struct wish *w)
{
	struct contact *c = contact_find(u->b, &w->uri);
	uint64_t expires = w->expires < u->s->opt.max_expires ? w->expires : u->s->opt.max_expires;

	if (c && !in_order(u, c)) {
		refuse(u, 500, "Request Out of Order");
		return false;
	}
	if (!expires) {
		if (c)
			take_out(u, c);
		return true;
	}
	if (too_brief(u, w->expires)) {
		refuse(u, 423, "Interval Too Brief");
		sip_outf(&u->v->headers, "Min-Expires: %u\r\n", u->s->opt.min_expires);
		return false;
	}
	if (!c || c->until <= u->now) {
		struct contact *old = c;

		c = registered(u) < u->s->opt.max_contacts && old ? old : contact_add(u);
		if (!c) {
			refuse(u, 503, "Too Many Contacts");
			return false;
		}
	}
	*c = (struct contact){ .text = w->text, .uri = w->uri_text, .until = u->now + (int64_t)expires * SECOND };
	touch(u, c);
	return true;
}

/* Room for every contact of the request once and for all, so that slices into it stay where they are. */
static bool reserve(struct update *u, struct sip_out *pool)
{
	const struct sip_header *h;
	size_t at = 0, bytes = 16;

	while ((h = sip_header_next(u->r, SIP_CONTACT, &at)))
		bytes += 3 * h->value.len + 16;		/* `a,b` grows to `<a>,<b>` */
	pool->at = pkg_malloc(bytes);
	pool->room = bytes;
	return pool->at != NULL;
}

/* All values of all Contact headers. `*` is handled by the caller. */
static bool apply_contacts(struct update *u, struct sip_out *pool)
{
	const struct sip_header *h;
	size_t at = 0;

	while ((h = sip_header_next(u->r, SIP_CONTACT, &at))) {
		struct text rest = h->value;

		do {
			struct text one = text_cut(rest, ",", &rest, NULL);
			struct wish w;

			if (!wish_parse(u, one, pool, &w)) {
				refuse(u, 400, "Bad Contact");
				return false;
			}
			if (!wish_apply(u, &w))
				return false;
		} while (text_trim(rest).len);
	}
	return true;
}

/* Is there a Contact, is one of them `*`, and how many header values are there. */
static void contact_kinds(const struct sip_request *r, size_t *ret_values, bool *ret_star)
{
	const struct sip_header *h;
	size_t at = 0;

	*ret_values = 0;
	*ret_star = false;
	while ((h = sip_header_next(r, SIP_CONTACT, &at))) {
		struct text rest = h->value;

		do {
			*ret_star |= text_same(text_cut(rest, ",", &rest, NULL), TEXT("*"));
			++*ret_values;
		} while (text_trim(rest).len);
	}
}

static void list_contacts(struct update *u)
{
	struct sip_out *out = &u->v->headers;
	char date[64];
	time_t t = time(NULL);
	struct tm tm;

	for (size_t i = 0; i < u->b->contacts; i++) {
		const struct contact *c = &u->b->contact[i];

		if (c->until <= u->now)
			continue;
		sip_out(out, TEXT("Contact: "));
		sip_out(out, c->text);
		sip_outf(out, ";expires=%" PRId64 "\r\n", (c->until - u->now + SECOND - 1) / SECOND);
	}
	if (gmtime_r(&t, &tm) && strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
		sip_outf(out, "Date: %s\r\n", date);
}

static uint64_t request_key(const struct server *s, const struct sip_request *r)
{
	uint64_t h = text_hash(s->table->secret, r->via.branch);

	h = text_hash(text_hash(text_hash(h, r->via.host), r->call_id), r->from);
	return text_hash(h ^ r->cseq, (struct text){ r->copy, 0 });
}

static const struct past *past_find(const struct bindings *b, uint64_t key)
{
	for (size_t i = 0; i < b->pasts; i++)
		if (b->past[i].key == key)
			return &b->past[i];
	return NULL;
}

static void past_add(struct update *u, uint64_t key)
{
	struct bindings *b = u->b;

	if (b->pasts == PASTS_MAX)
		memmove(b->past, b->past + 1, --b->pasts * sizeof b->past[0]);
	b->past[b->pasts++] = (struct past){ key, u->now + (int64_t)u->s->opt.remember * SECOND,
					     { u->v->headers.at, u->v->headers.len } };
}

/*
 * The draft into the table: one store, or a refusal. When there is no memory, an address that is left without a contact
 * is taken out instead: who gives something up must not be refused for that, and what is not remembered then is little.
 */
static void publish(struct update *u, struct bucket *bucket, _Atomic(struct record *) *link, struct text key,
		    uint64_t hash)
{
	size_t bytes = record_bytes(u->b, key);
	struct record *rec = bucket_make(bucket, bytes);

	if (!rec && !registered(u) && atomic_load_explicit(link, memory_order_relaxed)) {
		bucket_remove(bucket, link);
		return;
	}
	if (!rec) {
		u->v->headers.len = 0;
		refuse(u, 500, "Out of Shared Memory");
		return;
	}
	record_write(rec, bytes, u->b, key, hash);
	bucket_link(bucket, link, rec);
}

/* Under the bucket's lock: read, update, list, publish. */
static void update_locked(struct update *u, struct bucket *bucket, struct text key, uint64_t hash, struct sip_out *pool)
{
	_Atomic(struct record *) *link = bucket_find(bucket, hash, key);
	const struct record *rec = atomic_load_explicit(link, memory_order_relaxed);	/* the lock orders it */
	uint64_t request = request_key(u->s, u->r);
	const struct past *past;
	size_t values;
	bool star;

	u->b->contacts = u->b->pasts = 0;
	if (rec && !bindings_read(rec, u->now, u->b)) {
		refuse(u, 500, "Damaged Record");
		return;
	}
	past = past_find(u->b, request);
	if (past) {
		sip_out(&u->v->headers, past->reply);
		return;
	}
	contact_kinds(u->r, &values, &star);
	if (star && (values > 1 || !u->has_expires || u->expires)) {
		refuse(u, 400, "* Is Alone and Has Expires: 0");
		return;
	}
	if (star ? !remove_all(u) : !apply_contacts(u, pool))
		return;
	list_contacts(u);
	if (!values || u->v->headers.failed)
		return;
	if (!u->b->contacts)			/* nothing was there to be removed, nothing is to be remembered */
		return;
	past_add(u, request);
	publish(u, bucket, link, key, hash);
}

static void update_run(struct update *u, const struct sip_uri *aor)
{
	struct sip_out pool = { 0 };
	char *key = pkg_malloc(u->r->to_uri.len + 8);
	struct bucket *bucket;
	struct text k;
	uint64_t hash;

	u->b = pkg_malloc(sizeof *u->b);
	if (!key || !u->b || !reserve(u, &pool)) {
		refuse(u, 500, "Out of Memory");
		goto out;
	}
	k = (struct text){ key, sip_uri_key(aor, key) };
	hash = text_hash(u->s->table->secret, k);
	bucket = table_lock(u->s->table, hash);
	if (!bucket) {
		refuse(u, 500, "No Lock");
		goto out;
	}
	update_locked(u, bucket, k, hash, &pool);
	table_unlock(bucket);
out:
	pkg_free(pool.at);
	pkg_free(u->b);
	pkg_free(key);
}

void registrar_handle(struct server *s, const struct sip_request *r, struct verdict *v)
{
	struct update u = { .s = s, .r = r, .v = v, .now = now_ms() };
	struct sip_uri aor;

	v->status = 200;
	v->reason = "OK";
	if (!sip_uri_parse(r->to_uri, &aor)) {
		refuse(&u, 400, "To Is No SIP Address");
		return;
	}
	expires_header(&u);
	update_run(&u, &aor);
}
