/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rpc.c alone, without sockets: the examples of the JSON-RPC 2.0 text to the letter, then what it leaves to us.
 * The methods are those of the examples, and a few that fail, take their time, or echo.
 */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "ctl/rpc.h"

static unsigned audited, dropped;

static void subtract(struct rpc_call *call)
{
	jw_int(call->out, (int64_t)rpc_uint(call, "minuend", 0) - (int64_t)rpc_uint(call, "subtrahend", 0));
}

static void sum(struct rpc_call *call)
{
	jw_uint(call->out, rpc_uint(call, "a", 0) + rpc_uint(call, "b", 0) + rpc_uint(call, "c", 0));
}

static void get_data(struct rpc_call *call)
{
	jw_open(call->out, '[');
	jw_string(call->out, "hello");
	jw_uint(call->out, 5);
	jw_close(call->out, ']');
}

static void notify(struct rpc_call *call) { jw_string(call->out, "nobody reads this"); }

static void fail(struct rpc_call *call)
{
	jw_open(call->out, '{');		/* half a result, which must not be seen */
	jw_key(call->out, "half");
	rpc_fail(call, RPC_NO_MANAGER, "name", "not in this build");
	rpc_allowed_words(call, "qm fm");
}

static void drop(void *state)
{
	(void)state;
	dropped++;
}

static void count_down(struct rpc_call *call)
{
	unsigned *left = call->state;

	jw_uint(call->out, *left);
	if (!--*left) {
		jw_close(call->out, ']');
		rpc_done(call);
	}
}

static void slow(struct rpc_call *call)
{
	static unsigned left;

	left = 3;
	jw_open(call->out, '[');
	rpc_later(call, count_down, &left, drop);
}

static void echo(struct rpc_call *call)
{
	const char *text = rpc_text(call, "name");

	jw_open(call->out, '[');
	text ? jw_string(call->out, text) : jw_null(call->out);
	jw_uint(call->out, rpc_uint(call, "limit", 7));
	jw_real(call->out, rpc_seconds(call, "age", 0));
	jw_close(call->out, ']');
}

static const char *const colours[] = { "red", "green", NULL };
#define UINT(name, required) &(const struct rpc_param){ name, "N", RPC_UINT, required, "", NULL, 0, 1000 }
#define PARAMS(...) (const struct rpc_param *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL }

static const struct rpc_method methods[] = {
	{ "subtract", ROLE_READ, PARAMS(UINT("minuend", true), UINT("subtrahend", true)), "", "", "" },
	{ "sum", ROLE_READ, PARAMS(UINT("a", true), UINT("b", true), UINT("c", true)), "", "", "" },
	{ "get_data", ROLE_READ, PARAMS(), "", "", "" },
	{ "update", ROLE_READ, PARAMS(UINT("a", 0), UINT("b", 0), UINT("c", 0), UINT("d", 0), UINT("e", 0)), "", "", "" },
	{ "notify_hello", ROLE_READ, PARAMS(UINT("a", false)), "", "", "" },
	{ "fail", ROLE_ADMIN, PARAMS(&(const struct rpc_param){ "name", "NAME", RPC_STRING, true, "", NULL, 0, 0 }), "", "", "" },
	{ "slow", ROLE_READ, PARAMS(), "", "", "" },
	{ "echo", ROLE_READ, PARAMS(&(const struct rpc_param){ "name", "NAME", RPC_STRING, false, "", NULL, 0, 0 },
				    UINT("limit", false),
				    &(const struct rpc_param){ "age", "S", RPC_SECONDS, false, "", NULL, 0, 0 },
				    &(const struct rpc_param){ "colour", "C", RPC_ENUM, false, "", colours, 0, 0 }), "", "", "" },
};
static rpc_handler *const handlers[] = { subtract, sum, get_data, notify, notify, fail, slow, echo };

static void audit(const struct rpc_call *call)
{
	(void)call;
	audited++;
}

static const struct rpc_program program = { methods, sizeof methods / sizeof *methods, handlers, NULL, 0, audit };

/* The reply to one message by a peer of this role, without its newline; lives until the next one. */
static const char *ask_len(enum rpc_role role, const char *line, size_t len)
{
	static char reply[1 << 22];
	struct rpc_peer peer = { 1, 0, role };
	struct rpc_session s = { .program = &program, .peer = &peer };

	rpc_take(&s, line, len);
	while (!rpc_run(&s, 0))
		;
	cr_assert_lt(s.out.len, sizeof reply);
	memcpy(reply, s.out.text ? s.out.text : "", s.out.len);
	reply[s.out.len] = 0;
	if (s.out.len) {
		cr_assert_eq(reply[s.out.len - 1], '\n', "%s", reply);
		reply[s.out.len - 1] = 0;
		cr_assert_null(strchr(reply, '\n'), "%s", reply);
	}
	rpc_end(&s);
	return reply;
}

static const char *ask(const char *line) { return ask_len(ROLE_ADMIN, line, strlen(line)); }

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	cr_assert(json_object_object_get_ex(o, name, &v), "no %s in %s", name, json_object_to_json_string(o));
	return v;
}

/* What is expected may leave out the `data` of errors; the rest must be equal, whatever the order of members. */
static bool same(struct json_object *got, struct json_object *want)
{
	if (json_object_is_type(got, json_type_object) && json_object_object_get_ex(got, "error", NULL) &&
	    json_object_object_get_ex(want, "error", NULL) && !json_object_object_get_ex(member(want, "error"), "data", NULL))
		json_object_object_del(member(got, "error"), "data");
	if (json_object_is_type(got, json_type_array) && json_object_is_type(want, json_type_array)) {
		if (json_object_array_length(got) != json_object_array_length(want))
			return false;
		for (size_t i = 0; i < json_object_array_length(got); i++)
			if (!same(json_object_array_get_idx(got, i), json_object_array_get_idx(want, i)))
				return false;
		return true;
	}
	return json_object_equal(got, want);
}

static void expect(const char *line, const char *want)
{
	const char *reply = ask(line);
	struct json_object *g, *w;

	if (!*want) {
		cr_assert_str_eq(reply, "", "%s\n%s", line, reply);
		return;
	}
	g = json_tokener_parse(reply);
	w = json_tokener_parse(want);
	cr_assert(g && w && same(g, w), "%s\ngot  %s\nwant %s", line, reply, want);
	json_object_put(g);
	json_object_put(w);
}

static void expect_code(const char *line, int code)
{
	struct json_object *reply = json_tokener_parse(ask(line));

	cr_assert_eq(json_object_get_int(member(member(reply, "error"), "code")), code, "%s\n%s", line,
		     json_object_to_json_string(reply));
	json_object_put(reply);
}

Test(rpc, every_example_of_the_standard)
{
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [42, 23], \"id\": 1}",
	       "{\"jsonrpc\": \"2.0\", \"result\": 19, \"id\": 1}");
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [23, 42], \"id\": 2}",
	       "{\"jsonrpc\": \"2.0\", \"result\": -19, \"id\": 2}");
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": {\"subtrahend\": 23, \"minuend\": 42}, \"id\": 3}",
	       "{\"jsonrpc\": \"2.0\", \"result\": 19, \"id\": 3}");
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": {\"minuend\": 42, \"subtrahend\": 23}, \"id\": 4}",
	       "{\"jsonrpc\": \"2.0\", \"result\": 19, \"id\": 4}");
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"update\", \"params\": [1,2,3,4,5]}", "");
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"foobar\"}", "");
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"foobar\", \"id\": \"1\"}",
	       "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32601, \"message\": \"Method not found\"}, \"id\": \"1\"}");
	expect("{\"jsonrpc\": \"2.0\", \"method\": \"foobar, \"params\": \"bar\", \"baz]",
	       "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32700, \"message\": \"Parse error\"}, \"id\": null}");
	expect("{\"jsonrpc\": \"2.0\", \"method\": 1, \"params\": \"bar\"}",
	       "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid Request\"}, \"id\": null}");
	expect("[ {\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": \"1\"}, {\"jsonrpc\": \"2.0\", \"method\" ]",
	       "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32700, \"message\": \"Parse error\"}, \"id\": null}");
	expect("[]", "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid Request\"}, \"id\": null}");
	expect("[1]", "[{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid Request\"}, \"id\": null}]");
	expect("[1,2,3]",
	       "[{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid Request\"}, \"id\": null},"
	       "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid Request\"}, \"id\": null},"
	       "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid Request\"}, \"id\": null}]");
	expect("[{\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": \"1\"},"
	       "{\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", \"params\": [7]},"
	       "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [42,23], \"id\": \"2\"},"
	       "{\"foo\": \"boo\"},"
	       "{\"jsonrpc\": \"2.0\", \"method\": \"foo.get\", \"params\": {\"name\": \"myself\"}, \"id\": \"5\"},"
	       "{\"jsonrpc\": \"2.0\", \"method\": \"get_data\", \"id\": \"9\"}]",
	       "[{\"jsonrpc\": \"2.0\", \"result\": 7, \"id\": \"1\"},"
	       "{\"jsonrpc\": \"2.0\", \"result\": 19, \"id\": \"2\"},"
	       "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32600, \"message\": \"Invalid Request\"}, \"id\": null},"
	       "{\"jsonrpc\": \"2.0\", \"error\": {\"code\": -32601, \"message\": \"Method not found\"}, \"id\": \"5\"},"
	       "{\"jsonrpc\": \"2.0\", \"result\": [\"hello\", 5], \"id\": \"9\"}]");
	expect("[{\"jsonrpc\": \"2.0\", \"method\": \"notify_sum\", \"params\": [1,2,4]},"
	       "{\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", \"params\": [7]}]", "");
}

Test(rpc, an_id_comes_back_to_the_letter)
{
	static const char *const ids[] = {
		"0", "-1", "1.50", "1e3", "-0", "1E+2", "123456789012345678901234567890", "0.1000000000000000055511151231257827",
		"18446744073709551616", "\"\"", "\"a\\u0000b\"", "\"\\ud83d\\ude00\"", "\"\\/\"", "\"gr\xc3\xbc\xc3\x9f\"", "null",
	};
	char line[256], want[256];

	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"id\": %s ,\"method\":\"get_data\"}", ids[i]);
		snprintf(want, sizeof want, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":[\"hello\",5]}", ids[i]);
		cr_assert_str_eq(ask(line), want);
	}
	expect_code("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"get_data\"}", RPC_REQUEST);
	expect_code("{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"get_data\"}", RPC_REQUEST);
	expect_code("{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"get_data\"}", RPC_REQUEST);
}

Test(rpc, what_is_no_json_is_a_parse_error)
{
	static const char *const texts[] = {
		"", " ", "{", "}", "{}}", "[1,]", "{\"a\":1,}", "{'a':1}", "nul", "NaN", "-Infinity", "01", "1.", ".5", "+1", "1e", "0x1",
		"\"a", "\"\t\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "{\"a\\u0000b\":1}", "/**/1",
		"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"", "[1 2]", "{\"a\" 1}", "{1:2}", "true false",
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		expect_code(texts[i], RPC_PARSE);
	cr_assert(strstr(ask_len(ROLE_ADMIN, "1\0", 2), "-32700"), "a NUL after the value");
}

Test(rpc, depth_is_bounded)
{
	char line[300] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":";
	size_t head = strlen(line);

	memset(line + head, '[', RPC_DEPTH_MAX - 1);
	memset(line + head + RPC_DEPTH_MAX - 1, ']', RPC_DEPTH_MAX - 1);
	strcpy(line + head + 2 * (RPC_DEPTH_MAX - 1), "}");
	expect_code(line, RPC_PARAMS);			/* as deep as it may be: only not a string */
	memset(line + head, '[', RPC_DEPTH_MAX);
	memset(line + head + RPC_DEPTH_MAX, ']', RPC_DEPTH_MAX);
	strcpy(line + head + 2 * RPC_DEPTH_MAX, "}");
	expect_code(line, RPC_PARSE);
}

Test(rpc, what_is_no_request_is_told_even_without_an_id)
{
	expect_code("1", RPC_REQUEST);
	expect_code("\"ping\"", RPC_REQUEST);
	expect_code("{}", RPC_REQUEST);
	expect_code("{\"method\":\"get_data\",\"id\":1}", RPC_REQUEST);
	expect_code("{\"jsonrpc\":\"1.0\",\"method\":\"get_data\",\"id\":1}", RPC_REQUEST);
	expect_code("{\"jsonrpc\":2.0,\"method\":\"get_data\",\"id\":1}", RPC_REQUEST);
	expect_code("{\"jsonrpc\":\"2.0\",\"method\":\"get_data\",\"params\":null,\"id\":1}", RPC_REQUEST);
	expect_code("[]]", RPC_PARSE);
	expect("{\"jsonrpc\":\"2.0\",\"method\":7,\"id\":\"x\"}",
	       "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"Invalid Request\"},\"id\":\"x\"}");
	expect("[[1]]", "[{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"Invalid Request\"},\"id\":null}]");
}

Test(rpc, escaped_names_are_the_same_names)
{
	expect("{\"json\\u0072pc\":\"2.\\u0030\",\"\\u0069d\":1,\"meth\\u006Fd\":\"get\\u005fdata\"}",
	       "{\"jsonrpc\":\"2.0\",\"result\":[\"hello\",5],\"id\":1}");
}

#define ECHO(params) "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":" params "}"

static void expect_param(const char *line, const char *param, const char *allowed)
{
	struct json_object *reply = json_tokener_parse(ask(line)), *data = member(member(reply, "error"), "data");

	cr_assert_eq(json_object_get_int(member(member(reply, "error"), "code")), RPC_PARAMS, "%s", line);
	if (param)
		cr_assert_str_eq(json_object_get_string(member(data, "param")), param, "%s", line);
	cr_assert(strstr(json_object_to_json_string(member(data, "allowed")), allowed), "%s: %s", line,
		  json_object_to_json_string(data));
	json_object_put(reply);
}

Test(rpc, parameters_fit_their_rows_before_a_handler_runs)
{
	expect(ECHO("{\"name\":\"x\",\"limit\":0,\"age\":1.5,\"colour\":\"red\"}"),
	       "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[\"x\",0,1.500]}");
	expect(ECHO("[]"), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[null,7,0.000]}");
	expect(ECHO("[null,3]"), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[null,3,0.000]}");
	expect_param(ECHO("{\"name\":1}"), "name", "string");
	expect_param(ECHO("{\"name\":\"\"}"), "name", "string");
	expect_param(ECHO("{\"name\":null}"), "name", "string");
	expect_param(ECHO("{\"name\":\"a\\u0000b\"}"), "name", "string");
	expect_param(ECHO("{\"limit\":-1}"), "limit", "0 to 1000");
	expect_param(ECHO("{\"limit\":1001}"), "limit", "0 to 1000");
	expect_param(ECHO("{\"limit\":18446744073709551615}"), "limit", "0 to 1000");
	expect_param(ECHO("{\"limit\":1.0}"), "limit", "whole number");
	expect_param(ECHO("{\"limit\":\"1\"}"), "limit", "whole number");
	expect_param(ECHO("{\"age\":-0.5}"), "age", "0 or more");
	expect_param(ECHO("{\"age\":1e300}"), "age", "0 or more");
	expect_param(ECHO("{\"colour\":\"blue\"}"), "colour", "\"red\", \"green\"");
	expect_param(ECHO("{\"size\":1}"), "size", "\"limit\"");
	expect_param(ECHO("[\"a\",1,2,\"red\",5]"), NULL, "\"colour\"");
	expect_param("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subtract\"}", "minuend", "whole number");
	expect_code(ECHO("{\"limit\":123456789012345678901234567890}"), RPC_PARAMS);
	expect_code(ECHO("{\"limit\":-123456789012345678901234567890}"), RPC_PARAMS);
}

Test(rpc, a_wrong_value_is_shown)
{
	struct json_object *reply = json_tokener_parse(ask(ECHO("{\"colour\":\"blue\"}")));

	cr_assert_str_eq(json_object_get_string(member(member(member(reply, "error"), "data"), "got")), "blue");
	json_object_put(reply);
}

Test(rpc, a_peer_without_the_role_reaches_no_handler)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\",\"params\":[\"x\"]}";

	audited = 0;
	cr_assert(strstr(ask_len(ROLE_OPERATE, line, sizeof line - 1), "-32004"));
	cr_assert_eq(audited, 1, "a refused call is told to the log too");
	cr_assert(strstr(ask_len(ROLE_NONE, ECHO("[]"), strlen(ECHO("[]"))), "-32004"));
	cr_assert(strstr(ask_len(ROLE_ADMIN, line, sizeof line - 1), "-32002"));
}

Test(rpc, a_failed_call_leaves_nothing_of_its_result)
{
	expect("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\",\"params\":[\"x\"]}",
	       "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32002,\"message\":\"No such manager\","
	       "\"data\":{\"param\":\"name\",\"got\":\"x\",\"allowed\":[\"qm\",\"fm\"],\"reason\":\"not in this build\"}}}");
	expect("[{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"params\":[\"x\"]},{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get_data\"}]",
	       "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[\"hello\",5]}]");
}

Test(rpc, a_long_call_runs_in_slices_in_its_place)
{
	dropped = 0;
	expect("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow\"},{\"jsonrpc\":\"2.0\",\"method\":\"slow\"},"
	       "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"get_data\"}]",
	       "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[3,2,1]},{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":[\"hello\",5]}]");
	cr_assert_eq(dropped, 2);
}

Test(rpc, a_peer_that_goes_away_takes_its_call_along)
{
	struct rpc_peer peer = { 1, 0, ROLE_ADMIN };
	struct rpc_session s = { .program = &program, .peer = &peer };
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow\"}";

	dropped = 0;
	rpc_take(&s, line, sizeof line - 1);
	cr_assert_not(rpc_run(&s, 0));
	rpc_end(&s);
	cr_assert_eq(dropped, 1);
}

Test(rpc, a_batch_has_a_bound)
{
	static char line[RPC_BATCH_MAX * 2 + 8];

	line[0] = '[';
	for (unsigned i = 0; i < RPC_BATCH_MAX; i++)
		memcpy(line + 1 + i * 2, "1,", 2);
	line[RPC_BATCH_MAX * 2] = ']';
	cr_assert(strstr(ask(line), "[{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600"));
	strcpy(line + RPC_BATCH_MAX * 2, ",1]");
	expect_code(line, RPC_LIMIT);
}

Test(rpc, the_table_describes_itself)
{
	struct json_writer w = { 0 };
	struct json_object *o;

	rpc_describe(&w);
	jw_plain(&w, "", 1);
	o = json_tokener_parse(w.text);
	cr_assert_eq(json_object_array_length(member(o, "methods")), RPC_METHODS);
	json_object_put(o);
	jw_free(&w);
}

Test(json_write, whatever_goes_in_comes_out_as_json)
{
	struct json_writer w = { 0 };

	jw_open(&w, '{');
	jw_key(&w, "a\"\\\n\x01");
	jw_open(&w, '[');
	jw_uint(&w, UINT64_MAX);
	jw_int(&w, INT64_MIN);
	jw_real(&w, 1.0 / 3);
	jw_real(&w, 1e308 * 10);
	jw_address(&w, 0x350000000000);
	jw_string(&w, "\xff\xc3\xbc\xed\xa0\x80");
	jw_bool(&w, false);
	jw_null(&w);
	jw_close(&w, ']');
	jw_close(&w, '}');
	jw_plain(&w, "", 1);
	cr_assert_str_eq(w.text, "{\"a\\\"\\\\\\n\\u0001\":[18446744073709551615,-9223372036854775808,0.333,null,\"0x350000000000\","
				 "\"\xef\xbf\xbd\xc3\xbc\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",false,null]}");
	jw_free(&w);
}
