/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A message is a call or a batch of calls; each goes through
 *
 *	members -> id -> method -> role -> parameters -> handler -> reply
 *
 * and may stop at each arrow with an error. The reply is written in place: {"jsonrpc":"2.0","id":…,"result": comes
 * before the handler runs, and is cut off again when it fails, or when the call was a notification.
 * Invariant: between calls s->out ends after a whole reply; in_call says that a handler has not finished.
 */
#include "ctl/rpc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/behind.h"

uint64_t rpc_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool rpc_late(const struct rpc_call *call)
{
	ctl_give_way();
	return rpc_now() >= call->deadline;
}

void rpc_fail(struct rpc_call *call, int code, const char *param, const char *reason, ...)
{
	va_list args;

	call->error = (struct rpc_error){ .code = code };
	snprintf(call->error.param, sizeof call->error.param, "%s", param ? param : "");
	va_start(args, reason);
	vsnprintf(call->error.reason, sizeof call->error.reason, reason, args);
	va_end(args);
}

void rpc_allowed(struct rpc_call *call, const char *text)
{
	snprintf(call->error.allowed, sizeof call->error.allowed, "%s", text);
	call->error.list = false;
}

void rpc_allowed_words(struct rpc_call *call, const char *words)
{
	rpc_allowed(call, words);
	call->error.list = true;
}

void rpc_later(struct rpc_call *call, rpc_handler *step, void *state, rpc_drop_fn *drop)
{
	call->step = step;
	call->state = state;
	call->drop = drop;
}

void rpc_wait(struct rpc_call *call) { call->waiting = true; }
bool rpc_waiting(const struct rpc_session *s) { return s->in_call && s->call.waiting; }

void rpc_wake(struct rpc_call *call)
{
	struct rpc_session *s = (struct rpc_session *)(void *)((char *)call - offsetof(struct rpc_session, call));

	call->waiting = false;
	if (s->woken)
		s->woken(s->arg);
}

void rpc_done(struct rpc_call *call) { call->step = NULL; }

const char *rpc_text(const struct rpc_call *call, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(call->params, name, &value) ? json_object_get_string(value) : NULL;
}

uint64_t rpc_uint(const struct rpc_call *call, const char *name, uint64_t otherwise)
{
	struct json_object *value;

	return json_object_object_get_ex(call->params, name, &value) ? json_object_get_uint64(value) : otherwise;
}

double rpc_seconds(const struct rpc_call *call, const char *name, double otherwise)
{
	struct json_object *value;

	return json_object_object_get_ex(call->params, name, &value) ? json_object_get_double(value) : otherwise;
}

/* ---- replies ---- */

static void write_words(struct json_writer *out, const char *words)
{
	jw_open(out, '[');
	while (*words) {
		size_t len = strcspn(words, " ");

		if (len)
			jw_bytes(out, words, len);
		words += len + strspn(words + len, " ");
	}
	jw_close(out, ']');
}

static void write_got(struct json_writer *out, const struct rpc_error *e, struct json_object *params)
{
	struct json_object *value;

	if (*e->got) {
		jw_key(out, "got");
		if (e->got_is_json)
			jw_raw(out, e->got, strlen(e->got));
		else
			jw_string(out, e->got);
	} else if (json_object_is_type(params, json_type_object) &&
		   json_object_object_get_ex(params, e->param, &value)) {
		const char *text = json_object_get_string(value);

		jw_key(out, "got");
		if (json_object_is_type(value, json_type_string))
			jw_string(out, text);
		else
			jw_raw(out, text, strlen(text));
	}
}

static void write_error(struct json_writer *out, const struct rpc_error *e, struct json_object *params)
{
	jw_key(out, "error");
	jw_open(out, '{');
	jw_key(out, "code"), jw_int(out, e->code);
	jw_key(out, "message"), jw_string(out, rpc_code_message(e->code));
	if (*e->param || *e->reason || *e->allowed || e->list) {
		jw_key(out, "data");
		jw_open(out, '{');
		if (*e->param) {
			jw_key(out, "param"), jw_string(out, e->param);
			write_got(out, e, params);
		}
		if (*e->allowed || e->list) {
			jw_key(out, "allowed");
			e->list ? write_words(out, e->allowed) : jw_string(out, e->allowed);
		}
		if (*e->reason)
			jw_key(out, "reason"), jw_string(out, e->reason);
		jw_close(out, '}');
	}
	jw_close(out, '}');
}

static void open_reply(struct json_writer *out, struct json_span id)
{
	static const struct json_span null = { "null", 4 };

	if (!id.at)
		id = null;
	jw_open(out, '{');
	jw_key(out, "jsonrpc"), jw_string(out, "2.0");
	jw_key(out, "id"), jw_raw(out, id.at, id.len);
}

static void write_failure(struct json_writer *out, struct json_span id, const struct rpc_error *e,
			  struct json_object *params)
{
	open_reply(out, id);
	write_error(out, e, params);
	jw_close(out, '}');
}

void rpc_complain(struct json_writer *out, const struct rpc_error *error)
{
	write_failure(out, (struct json_span){ NULL, 0 }, error, NULL);
	jw_plain(out, "\n", 1);
	out->comma = false;
}

/* ---- one call ---- */

static void end_call(struct rpc_session *s)
{
	struct rpc_call *call = &s->call;

	if (call->drop)
		call->drop(call->state);
	json_object_put(call->params);
	*call = (struct rpc_call){ 0 };
	s->in_call = false;
}

/* Who changes something, or may have, is told of. */
static void audit(const struct rpc_session *s)
{
	const struct rpc_call *call = &s->call;

	if (call->method && call->method->role > ROLE_READ && s->program->audit)
		s->program->audit(call);
}

/* The handler is done, or was never asked: the reply is finished, or taken back. s->id without text: a notification. */
static void answer(struct rpc_session *s)
{
	struct rpc_call *call = &s->call;

	audit(s);
	if (!s->id.at) {
		jw_cut(&s->out, s->reply_at, !s->first);
	} else {
		if (call->error.code) {
			jw_cut(&s->out, s->reply_at, !s->first);
			write_failure(&s->out, s->id, &call->error, call->params);
		} else {
			jw_close(&s->out, '}');
		}
		s->first = false;
	}
	end_call(s);
}

/* A request that is none gets its answer even without an id: nobody can tell whether it was a notification. */
static void refuse(struct rpc_session *s, const char *param, const char *reason)
{
	static const struct json_span null = { "null", 4 };

	if (!s->id.at)
		s->id = null;
	rpc_fail(&s->call, RPC_REQUEST, param, "%s", reason);
	answer(s);
}

struct members { struct json_span version, method, params, id; };

static bool is_id(struct json_span v) { return strchr("\"-0123456789n", *v.at) != NULL; }

static void split(struct json_span request, struct members *m)
{
	struct json_span key, value;

	for (size_t at = 0; json_member(request, &at, &key, &value);) {
		if (json_is(key, "jsonrpc"))
			m->version = value;
		else if (json_is(key, "method"))
			m->method = value;
		else if (json_is(key, "params"))
			m->params = value;
		else if (json_is(key, "id"))
			m->id = value;
	}
}

/* Index, or methods_count. */
static size_t find_method(const struct rpc_program *program, struct json_span name)
{
	size_t i = 0;

	while (i < program->methods_count && !json_is(name, program->methods[i].name))
		i++;
	return i;
}

static void unknown_method(struct rpc_session *s, struct json_span name)
{
	char words[512];
	size_t at = 0;

	for (size_t i = 0; i < s->program->methods_count && at < sizeof words; i++)
		at += (size_t)snprintf(words + at, sizeof words - at, "%s%s", i ? " " : "", s->program->methods[i].name);
	rpc_fail(&s->call, RPC_METHOD, NULL, "no method %.*s", (int)(name.len < 100 ? name.len : 100), name.at);
	rpc_allowed_words(&s->call, words);
	answer(s);
}

/* The reply is open, the call has a method: role, parameters, handler. */
static void dispatch(struct rpc_session *s, size_t index, struct json_span params)
{
	struct rpc_call *call = &s->call;

	call->method = &s->program->methods[index];
	if (s->peer->role < call->method->role) {
		rpc_fail(call, RPC_ROLE, NULL, "%s needs the role %s, this peer has %s", call->method->name,
			 rpc_role_name(call->method->role), rpc_role_name(s->peer->role));
		rpc_allowed(call, rpc_role_name(call->method->role));
	} else if (s->reply_at > RPC_REPLY_MAX) {
		rpc_fail(call, RPC_LIMIT, NULL, "the replies of this batch are longer than %d bytes", RPC_REPLY_MAX);
	} else {
		rpc_params(call, params);
	}
	if (!call->error.code) {
		open_reply(&s->out, s->id);
		jw_key(&s->out, "result");
		s->program->handlers[index](call);
	}
	if (call->step && !call->error.code)
		s->in_call = true;
	else
		answer(s);
}

static void begin_call(struct rpc_session *s, struct json_span request, uint64_t deadline)
{
	struct members m = { 0 };
	size_t index;

	s->id = (struct json_span){ 0 };
	s->reply_at = s->out.len;
	s->call = (struct rpc_call){
		.peer = s->peer, .out = &s->out, .context = s->program->context, .deadline = deadline
	};
	if (*request.at != '{') {
		refuse(s, NULL, "a request is an object");
		return;
	}
	split(request, &m);
	if (m.id.at && !is_id(m.id)) {
		refuse(s, NULL, "id: string, number or null expected");
		return;
	}
	s->id = m.id;
	if (!m.version.at || !json_is(m.version, "2.0"))
		refuse(s, NULL, "jsonrpc: \"2.0\" expected");
	else if (!m.method.at || *m.method.at != '"')
		refuse(s, NULL, "method: string expected");
	else if (m.params.at && *m.params.at != '{' && *m.params.at != '[')
		refuse(s, NULL, "params: object or array expected");
	else if ((index = find_method(s->program, m.method)) == s->program->methods_count)
		unknown_method(s, m.method);
	else
		dispatch(s, index, m.params);
}

static void step_call(struct rpc_session *s, uint64_t deadline)
{
	s->call.deadline = deadline;
	s->call.step(&s->call);
	if (!s->call.step || s->call.error.code)
		answer(s);
}

/* ---- one message ---- */

static bool count_within(struct json_span array, size_t most)
{
	struct json_span value;
	size_t at = 0, n = 0;

	while (n <= most && json_element(array, &at, &value))
		n++;
	return n <= most;
}

/* The whole message gets one error, with id null. */
static void reject(struct rpc_session *s, const struct rpc_error *error)
{
	rpc_complain(&s->out, error);
	s->batch = (struct json_span){ 0 };
}

static unsigned depth_of(const struct rpc_session *s) { return s->program->depth ? s->program->depth : RPC_DEPTH_MAX; }

static void reject_text(struct rpc_session *s, const struct json_fault *fault)
{
	struct rpc_error e = { .code = RPC_PARSE };

	snprintf(e.reason, sizeof e.reason, "byte %zu: %s", fault->offset + 1, fault->why);
	if (!strcmp(fault->why, "nested too deep"))
		snprintf(e.allowed, sizeof e.allowed, "%u levels", depth_of(s));
	reject(s, &e);
}

void rpc_take(struct rpc_session *s, const char *line, size_t len)
{
	struct json_fault fault;

	s->busy = s->first = true;
	s->at = 0;
	s->out.comma = s->is_batch = false;
	jw_cut(&s->text, 0, false);
	jw_plain(&s->text, line, len);
	if (s->text.failed) {
		reject(s, &(struct rpc_error){ .code = RPC_INTERNAL, .reason = "out of memory" });
		return;
	}
	s->batch = (struct json_span){ s->text.text, len };
	if (!json_check(s->batch, depth_of(s), &fault)) {
		reject_text(s, &fault);
		return;
	}
	s->batch = json_trim(s->batch);
	s->is_batch = *s->batch.at == '[';
	if (!s->is_batch)
		return;
	if (count_within(s->batch, 0))
		reject(s, &(struct rpc_error){ .code = RPC_REQUEST, .reason = "an empty batch" });
	else if (!count_within(s->batch, RPC_BATCH_MAX))
		reject(s, &(struct rpc_error){ .code = RPC_LIMIT, .reason = "too many calls in a batch" });
	else
		jw_plain(&s->out, "[", 1);
}

static void finish(struct rpc_session *s)
{
	if (s->is_batch && s->first)
		jw_cut(&s->out, 0, false);	/* only notifications: nothing at all is said */
	else if (s->is_batch)
		jw_plain(&s->out, "]", 1);
	if (s->out.len)
		jw_plain(&s->out, "\n", 1);
	s->batch = (struct json_span){ 0 };
}

bool rpc_run(struct rpc_session *s, uint64_t deadline)
{
	struct json_span request;

	while (s->batch.at) {
		if (rpc_waiting(s))
			return false;
		if (s->in_call) {
			step_call(s, deadline);
		} else if (!s->is_batch && !s->at) {
			s->at = 1;
			begin_call(s, s->batch, deadline);
		} else if (s->is_batch && json_element(s->batch, &s->at, &request)) {
			begin_call(s, request, deadline);
		} else {
			finish(s);
			break;
		}
		if (rpc_now() >= deadline && s->batch.at)
			return false;
	}
	if (s->out.failed) {
		rpc_sent(s);
		rpc_complain(&s->out, &(struct rpc_error){ .code = RPC_INTERNAL, .reason = "out of memory" });
	}
	s->busy = false;
	return true;
}

void rpc_sent(struct rpc_session *s)
{
	if (s->out.failed || s->out.size > RPC_REQUEST_MAX)
		jw_free(&s->out);		/* a big reply's memory is not kept for the next ping */
	jw_cut(&s->out, 0, false);
}

void rpc_end(struct rpc_session *s)
{
	if (s->in_call) {
		rpc_fail(&s->call, RPC_INTERNAL, NULL, "its client was gone before it was answered: what it began may be done");
		audit(s);
		end_call(s);
	}
	jw_free(&s->out);
	jw_free(&s->text);
	s->batch = (struct json_span){ 0 };
	s->busy = false;
}
