/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses: URIs and how they are compared (RFC 3261 19.1), name-addr, parameters.
 *
 *	"Alice" <sip:alice%40home:secret@Example.com:5060;transport=udp?x=y>;expires=60
 *	          |  user        |password|host       |port|params        |headers
 */
#include "sip.h"

static bool is_host(struct text t)
{
	bool v6 = t.len > 2 && t.at[0] == '[' && t.at[t.len - 1] == ']';

	for (size_t i = 0; i < t.len; i++) {
		char c = t.at[i];

		if (ascii_alpha(c) || ascii_digit(c) || c == '-' || c == '.' || c == '_')
			continue;
		if (!v6 || (c != ':' && !(c == '[' && !i) && !(c == ']' && i == t.len - 1)))
			return false;
	}
	return t.len > 0;
}

/* Every % begins an escape of two digits; no space, no control, no <>" */
static bool is_uri_text(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		unsigned char c = (unsigned char)t.at[i];

		if (c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == '"')
			return false;
		if (c == '%' && (t.len - i < 3 || ascii_hex(t.at[i + 1]) < 0 || ascii_hex(t.at[i + 2]) < 0))
			return false;
	}
	return true;
}

static bool host_and_port(struct text t, struct sip_uri *u)
{
	size_t host = t.len && t.at[0] == '[' ? text_find(t, ']') + 1 : text_find(t, ':');
	uint64_t n;

	if (host > t.len)
		return false;
	u->host = (struct text){ t.at, host };
	t = text_skip(t, host);
	if (t.len) {
		if (t.at[0] != ':' || !text_number(text_skip(t, 1), 65536, &n) || !n || n > 65535)
			return false;
		u->port = (unsigned)n;
	}
	return is_host(u->host);
}

bool sip_uri_parse(struct text t, struct sip_uri *ret_uri)
{
	struct sip_uri u = { 0 };
	size_t n = text_find(t, ':');

	u.scheme = (struct text){ t.at, n };
	if (n == t.len || !is_uri_text(t) ||
	    (!text_same_nocase(u.scheme, TEXT("sip")) && !text_same_nocase(u.scheme, TEXT("sips"))))
		return false;
	t = text_skip(t, n + 1);
	n = text_find(t, '@');				/* a user may hold ; and ? and no @ */
	if (n < t.len) {
		u.has_user = true;
		u.user = (struct text){ t.at, n };
		t = text_skip(t, n + 1);
		n = text_find(u.user, ':');
		u.password = n < u.user.len ? text_skip(u.user, n + 1) : TEXT("");
		u.user.len = n;
		if (!u.user.len)
			return false;
	}
	n = text_find(t, '?');
	u.headers = n < t.len ? text_skip(t, n + 1) : TEXT("");
	t.len = n;
	n = text_find(t, ';');
	u.params = n < t.len ? text_skip(t, n + 1) : TEXT("");
	t.len = n;
	if (!host_and_port(t, &u))
		return false;
	*ret_uri = u;
	return true;
}

/* The next character, unescaped; `escaped` tells %3B from ; which are not the same. */
static char uri_char(struct text *t, bool *escaped)
{
	char c = t->at[0];

	*escaped = c == '%' && t->len >= 3;
	if (*escaped) {
		c = (char)(ascii_hex(t->at[1]) * 16 + ascii_hex(t->at[2]));
		*escaped = !ascii_alpha(c) && !ascii_digit(c) && !(c && strchr("-_.!~*'()", c));	/* unreserved */
		*t = text_skip(*t, 3);
	} else {
		*t = text_skip(*t, 1);
	}
	return c;
}

static bool same_escaped(struct text a, struct text b, bool nocase)
{
	bool ea, eb;

	while (a.len && b.len) {
		char ca = uri_char(&a, &ea), cb = uri_char(&b, &eb);

		if (ea != eb || (nocase ? ascii_lower(ca) != ascii_lower(cb) : ca != cb))
			return false;
	}
	return !a.len && !b.len;
}

/* These decide even when only one of the two has them. */
static bool param_counts(struct text name)
{
	return text_same_nocase(name, TEXT("transport")) || text_same_nocase(name, TEXT("user")) ||
	       text_same_nocase(name, TEXT("ttl")) || text_same_nocase(name, TEXT("method")) ||
	       text_same_nocase(name, TEXT("maddr"));
}

static bool params_agree(struct text a, struct text b)
{
	struct text name, value, other;

	while (sip_param_next(&a, &name, &value)) {
		if (sip_param_find(b, name, &other) ? !same_escaped(value, other, true) : param_counts(name))
			return false;
	}
	return true;
}

bool sip_uri_same(const struct sip_uri *a, const struct sip_uri *b)
{
	return text_same_nocase(a->scheme, b->scheme) && a->has_user == b->has_user &&
	       same_escaped(a->user, b->user, false) && same_escaped(a->password, b->password, false) &&
	       text_same_nocase(a->host, b->host) && a->port == b->port &&
	       params_agree(a->params, b->params) && params_agree(b->params, a->params) &&
	       same_escaped(a->headers, b->headers, false);
}

static size_t put_lower(char *to, struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		to[i] = ascii_lower(t.at[i]);
	return t.len;
}

size_t sip_uri_key(const struct sip_uri *uri, char *buf)
{
	size_t n = put_lower(buf, uri->scheme);
	struct text user = uri->user;
	bool escaped;

	buf[n++] = ':';
	while (user.len)
		buf[n++] = uri_char(&user, &escaped);
	if (uri->has_user)
		buf[n++] = '@';
	n += put_lower(buf + n, uri->host);
	if (uri->port) {
		char digits[6];
		unsigned port = uri->port, i = 0;

		buf[n++] = ':';
		for (; port; port /= 10)
			digits[i++] = (char)('0' + port % 10);
		while (i)
			buf[n++] = digits[--i];
	}
	return n;
}

/* Tokens with spaces between them, or one quoted string, or nothing. */
static bool is_display_name(struct text t)
{
	if (!t.len || t.at[0] != '"') {
		for (size_t i = 0; i < t.len; i++)
			if (!ascii_token(t.at[i]) && !ascii_space(t.at[i]))
				return false;
		return true;
	}
	for (size_t i = 1; i < t.len; i++) {
		if (t.at[i] == '\\')
			i++;
		else if (t.at[i] == '"')
			return i == t.len - 1;
	}
	return false;
}

bool sip_address_parse(struct text t, struct text *ret_uri, struct text *ret_params)
{
	struct text rest, whole = text_trim(t), head = text_cut(whole, ";", &rest, NULL);
	size_t open = head.len, close;
	bool quoted = false;

	for (size_t i = 0; i < head.len && open == head.len; i++) {
		if (quoted && head.at[i] == '\\')
			i++;
		else if (head.at[i] == '"')
			quoted = !quoted;
		else if (!quoted && head.at[i] == '<')
			open = i;
	}
	if (quoted && open == head.len)
		return false;
	if (open == head.len) {				/* addr-spec: ; ? and , would need <> */
		if (!is_uri_text(head) || text_find(head, '?') < head.len || text_find(head, ':') == head.len)
			return false;
		*ret_uri = head;
	} else {
		struct text uri = text_skip(head, open + 1);

		close = text_find(uri, '>');
		if (close != uri.len - 1 || !close || !is_uri_text((struct text){ uri.at, close }) ||
		    text_find((struct text){ uri.at, close }, ':') == close ||
		    !is_display_name(text_trim((struct text){ head.at, open })))
			return false;
		*ret_uri = (struct text){ uri.at, close };
	}
	*ret_params = rest;
	return true;
}

bool sip_param_next(struct text *params, struct text *ret_name, struct text *ret_value)
{
	while (params->len) {
		struct text one = text_cut(*params, ";", params, NULL), value;

		if (!one.len)
			continue;
		*ret_name = text_cut(one, "=", &value, NULL);
		*ret_value = text_trim(value);
		return true;
	}
	return false;
}

bool sip_param_find(struct text params, struct text name, struct text *ret_value)
{
	struct text n, v;

	while (sip_param_next(&params, &n, &v)) {
		if (text_same_nocase(n, name)) {
			*ret_value = v;
			return true;
		}
	}
	return false;
}
