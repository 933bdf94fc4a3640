/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a packet to a struct sip_request.
 *
 *	REGISTER sip:example.com SIP/2.0 CRLF		request line
 *	v: SIP/2.0/UDP host CRLF SP ;branch=z… CRLF	a header, compact, folded over two lines
 *	CRLF						end; what follows is the body, which nobody reads
 *
 * Lines end with CRLF or LF. A line that begins with a space continues the one before it: the line end is overwritten
 * with spaces in the copy, so that a value is one slice. Two passes: count the lines, then fill an array of that size.
 */
#include "sip.h"

#include <errno.h>

#include "memapi/memapi.h"

static const struct { struct text name, compact; enum sip_header_id id; bool single; } known_headers[] = {
	{ TEXT("Via"), TEXT("v"), SIP_VIA, false },
	{ TEXT("From"), TEXT("f"), SIP_FROM, true },
	{ TEXT("To"), TEXT("t"), SIP_TO, true },
	{ TEXT("Call-ID"), TEXT("i"), SIP_CALL_ID, true },
	{ TEXT("CSeq"), TEXT(""), SIP_CSEQ, true },
	{ TEXT("Contact"), TEXT("m"), SIP_CONTACT, false },
	{ TEXT("Expires"), TEXT(""), SIP_EXPIRES, true },
	{ TEXT("Require"), TEXT(""), SIP_REQUIRE, false },
	{ TEXT("Content-Length"), TEXT("l"), SIP_CONTENT_LENGTH, true },
};

static const struct { struct text name; enum sip_method method; } known_methods[] = {
	{ TEXT("REGISTER"), SIP_REGISTER },	{ TEXT("OPTIONS"), SIP_OPTIONS },
	{ TEXT("ACK"), SIP_ACK },		{ TEXT("CANCEL"), SIP_CANCEL },
	{ TEXT("INVITE"), SIP_NOT_ALLOWED },	{ TEXT("BYE"), SIP_NOT_ALLOWED },
	{ TEXT("PRACK"), SIP_NOT_ALLOWED },	{ TEXT("SUBSCRIBE"), SIP_NOT_ALLOWED },
	{ TEXT("NOTIFY"), SIP_NOT_ALLOWED },	{ TEXT("PUBLISH"), SIP_NOT_ALLOWED },
	{ TEXT("INFO"), SIP_NOT_ALLOWED },	{ TEXT("REFER"), SIP_NOT_ALLOWED },
	{ TEXT("MESSAGE"), SIP_NOT_ALLOWED },	{ TEXT("UPDATE"), SIP_NOT_ALLOWED },
};

/* The first fault is the one that is told. No reason names CSeq: some clients look for it without its colon. */
static void fault(struct sip_request *r, unsigned status, const char *reason)
{
	if (r->status)
		return;
	r->status = status;
	r->reason = reason;
}

static enum sip_header_id header_id(struct text name, bool *ret_single)
{
	for (size_t i = 0; i < sizeof known_headers / sizeof known_headers[0]; i++) {
		if (text_same_nocase(name, known_headers[i].name) ||
		    (name.len == 1 && text_same_nocase(name, known_headers[i].compact))) {
			*ret_single = known_headers[i].single;
			return known_headers[i].id;
		}
	}
	*ret_single = false;
	return SIP_OTHER;
}

/* No control character but TAB: what is copied into a reply must not bring lines of its own. */
static bool clean(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (((unsigned char)t.at[i] < ' ' && t.at[i] != '\t') || t.at[i] == 0x7f)
			return false;
	return true;
}

static bool is_token(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!ascii_token(t.at[i]))
			return false;
	return t.len > 0;
}

/* Offset of the LF that ends the line at `at`, or `len`. */
static size_t line_end(const char *buf, size_t len, size_t at)
{
	const char *lf = memchr(buf + at, '\n', len - at);

	return lf ? (size_t)(lf - buf) : len;
}

/* Joins folded lines of the head in place. Returns where the body begins, *ret_lines as an upper limit. */
static size_t unfold(char *buf, size_t len, size_t *ret_lines, bool *ret_complete)
{
	size_t lines = 0, at = 0;

	*ret_complete = false;
	while (at < len) {
		size_t lf = line_end(buf, len, at), text = lf > at && buf[lf - 1] == '\r' ? lf - 1 : lf;

		if (text == at && lines) {		/* empty: the head ends */
			*ret_complete = lf < len;
			*ret_lines = lines;
			return lf < len ? lf + 1 : len;
		}
		lines++;
		at = lf < len ? lf + 1 : len;
		if (at < len && lines > 1 && (buf[at] == ' ' || buf[at] == '\t')) {
			memset(buf + text, ' ', at - text);
			lines--;
		}
	}
	*ret_lines = lines;
	return len;
}

/* METHOD SP URI SP SIP/2.0 */
static int request_line(struct sip_request *r, struct text line)
{
	size_t sp = text_find(line, ' ');
	struct text version;

	r->method_name = (struct text){ line.at, sp };
	if (!is_token(r->method_name) || sp == line.len)
		return -EBADMSG;
	line = text_skip(line, sp + 1);
	sp = text_find(line, ' ');
	r->uri = (struct text){ line.at, sp };
	version = sp < line.len ? text_skip(line, sp + 1) : TEXT("");
	if (version.len < 5 || !text_same_nocase((struct text){ version.at, 4 }, TEXT("SIP/")))
		return -EBADMSG;
	if (!text_same_nocase(version, TEXT("SIP/2.0")))
		fault(r, 505, "Version Not Supported");
	if (!r->uri.len)
		fault(r, 400, "Bad Request-URI");
	for (size_t i = 0; i < sizeof known_methods / sizeof known_methods[0]; i++)
		if (text_same(r->method_name, known_methods[i].name))
			r->method = known_methods[i].method;
	return 0;
}

/* One header line into the array. What is broken beyond a name is left out and told. */
static void header_line(struct sip_request *r, struct text line, unsigned *seen)
{
	size_t colon = text_find(line, ':');
	struct sip_header h = { .name = text_trim((struct text){ line.at, colon }) };
	bool single;

	if (colon == line.len || !is_token(h.name) || ascii_space(line.at[0])) {
		fault(r, 400, "Bad Header");
		return;
	}
	h.value = text_trim(text_skip(line, colon + 1));
	h.id = header_id(h.name, &single);
	if (!clean(h.value)) {
		fault(r, 400, "Control Character in Header");
		return;
	}
	if (single && *seen & 1u << h.id) {
		fault(r, 400, "Header Given Twice");
		return;
	}
	*seen |= 1u << h.id;
	r->header[r->headers++] = h;
}

static void header_lines(struct sip_request *r, char *head, size_t len)
{
	unsigned seen = 0;

	for (size_t at = 0; at < len;) {
		size_t lf = line_end(head, len, at), text = lf > at && head[lf - 1] == '\r' ? lf - 1 : lf;

		if (text > at)
			header_line(r, text_of(head + at, head + text), &seen);
		at = lf < len ? lf + 1 : len;
	}
}

static struct text single_value(const struct sip_request *r, enum sip_header_id id)
{
	size_t at = 0;
	const struct sip_header *h = sip_header_next(r, id, &at);

	return h ? h->value : TEXT("");
}

/* host[:port], host may be [v6] */
static bool host_port(struct text t, struct text *ret_host, unsigned *ret_port)
{
	size_t host = t.len && t.at[0] == '[' ? text_find(t, ']') + 1 : text_find(t, ':');
	struct text port;
	uint64_t n;

	if (host > t.len || !host)
		return false;
	*ret_host = text_trim((struct text){ t.at, host });
	*ret_port = 0;
	t = text_trim(text_skip(t, host));
	if (!t.len)
		return ret_host->len > 0;
	port = text_trim(text_skip(t, 1));
	if (t.at[0] != ':' || !text_number(port, 65536, &n) || !n || n > 65535)
		return false;
	*ret_port = (unsigned)n;
	return ret_host->len > 0;
}

/* SIP / 2.0 / UDP SP host:port;params, more */
static bool via_parse(struct text value, struct sip_via *v)
{
	struct text rest, element = text_cut(value, ",", &v->more, NULL), t, ignored;
	char stop;

	v->value = element;
	t = text_cut(element, "/", &rest, &stop);
	if (!stop || !text_same_nocase(t, TEXT("SIP")))
		return false;
	t = text_cut(rest, "/", &rest, &stop);
	if (!stop || !text_same(t, TEXT("2.0")))
		return false;
	rest = text_trim(rest);
	for (t = rest; rest.len && ascii_token(rest.at[0]); rest = text_skip(rest, 1))
		;
	if (rest.at == t.at || !rest.len || !ascii_space(rest.at[0]))
		return false;
	t = text_cut(rest, ";", &rest, NULL);
	if (!host_port(t, &v->host, &v->port))
		return false;
	if (!sip_param_find(rest, TEXT("branch"), &v->branch))
		v->branch = TEXT("");
	v->rport = sip_param_find(rest, TEXT("rport"), &ignored);
	return true;
}

static void cseq_check(struct sip_request *r)
{
	struct text value = single_value(r, SIP_CSEQ), method;
	size_t digits = 0;

	for (; digits < value.len && ascii_digit(value.at[digits]); digits++)
		;
	method = text_trim(text_skip(value, digits));
	if (!text_number((struct text){ value.at, digits }, 1ull << 31, &r->cseq) || r->cseq >= 1ull << 31 ||
	    digits == value.len || !ascii_space(value.at[digits]))
		fault(r, 400, "Bad Sequence Number");
	else if (!text_same(method, r->method_name))
		fault(r, 400, "Sequence Number of Another Method");
}

static void length_check(struct sip_request *r, size_t body)
{
	struct text value = single_value(r, SIP_CONTENT_LENGTH);
	size_t at = 0;
	uint64_t n = 0;

	if (!sip_header_next(r, SIP_CONTENT_LENGTH, &at))
		return;
	if (!text_number(value, 1ull << 32, &n))
		fault(r, 400, "Bad Content-Length");
	else if (n > body)
		fault(r, 400, "Body Shorter than Content-Length");
}

static void mandatory_check(struct sip_request *r)
{
	struct text uri, params;

	r->from = single_value(r, SIP_FROM);
	r->to = single_value(r, SIP_TO);
	r->call_id = single_value(r, SIP_CALL_ID);
	if (!r->call_id.len)
		fault(r, 400, "No Call-ID");
	if (!r->from.len)
		fault(r, 400, "No From");
	else if (!sip_address_parse(r->from, &uri, &params))
		fault(r, 400, "Bad From");
	if (!r->to.len)
		fault(r, 400, "No To");
	else if (!sip_address_parse(r->to, &r->to_uri, &params))
		fault(r, 400, "Bad To");
	else if (!sip_param_find(params, TEXT("tag"), &r->to_tag))
		r->to_tag = TEXT("");
	cseq_check(r);
}

int sip_parse(const char *packet, size_t len, struct sip_request *ret_request)
{
	struct sip_request r = { 0 };
	size_t lines, head, first;
	bool complete;
	int err = -ENOMEM;

	for (; len && (*packet == '\r' || *packet == '\n'); packet++, len--)	/* 7.5: keep-alives before it */
		;
	if (!len)
		return -EBADMSG;
	r.copy = pkg_malloc(len);
	if (!r.copy)
		return -ENOMEM;
	memcpy(r.copy, packet, len);
	head = unfold(r.copy, len, &lines, &complete);
	r.header = pkg_malloc(lines * sizeof *r.header);
	if (!r.header)
		goto fail;
	first = line_end(r.copy, head, 0);
	err = request_line(&r, text_trim((struct text){ r.copy, first }));
	if (err)
		goto fail;
	if (!clean(r.uri))
		fault(&r, 400, "Bad Request-URI");
	if (first < head)
		header_lines(&r, r.copy + first + 1, head - first - 1);
	err = via_parse(single_value(&r, SIP_VIA), &r.via) ? 0 : -EBADMSG;
	if (err)
		goto fail;
	if (!complete)
		fault(&r, 400, "Head Does Not End");
	mandatory_check(&r);
	length_check(&r, len - head);
	*ret_request = r;
	return 0;
fail:
	sip_free(&r);
	return err;
}

void sip_free(struct sip_request *r)
{
	pkg_free(r->header);
	pkg_free(r->copy);
}

const struct sip_header *sip_header_next(const struct sip_request *r, enum sip_header_id id, size_t *at)
{
	while (*at < r->headers) {
		const struct sip_header *h = &r->header[(*at)++];

		if (h->id == id)
			return h;
	}
	return NULL;
}
