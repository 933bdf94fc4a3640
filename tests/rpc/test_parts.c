/* SPDX-License-Identifier: BSD-2-Clause */
/* Parts of mmd that need no daemon: sums over fragments, cursors, roles. */
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "daemon/page.h"
#include "daemon/roles.h"
#include "daemon/tally.h"

static struct obs_fragment fragment(uint64_t address, uint64_t size, uint64_t time)
{
	return (struct obs_fragment){ .address = address, .size = size, .time = time };
}

Test(tally, sums_are_told_the_biggest_first)
{
	struct tally t = { 0 };
	struct obs_fragment f;
	uint64_t n = 0, last = UINT64_MAX;

	for (uint64_t i = 1; i <= 1000; i++)
		for (uint64_t k = 0; k < i % 7 + 1; k++) {
			f = fragment(i * 100 + k, i, 5000 - k);
			tally_add(&t, i, &f);
		}
	cr_assert_eq(t.count, 1000);
	while (!tally_order(&t))
		;
	for (const struct tally_row *row; (row = tally_pop(&t)); n++) {
		cr_assert_eq(row->count, row->key % 7 + 1);
		cr_assert_eq(row->bytes, row->count * row->key);
		cr_assert_eq(row->largest, row->key);
		cr_assert_eq(row->oldest, 5000 - row->count + 1);
		cr_assert_eq(row->example[0], row->key * 100);
		cr_assert(row->bytes <= last);
		last = row->bytes;
	}
	cr_assert_eq(n, 1000);
	tally_free(&t);
}

Test(tally, what_comes_after_the_last_row_is_summed_in_row_0)
{
	struct tally t = { 0 };
	struct obs_fragment f = fragment(16, 10, 1);

	for (uint64_t key = 1; key <= TALLY_MAX + 500; key++)
		tally_add(&t, key, &f);
	cr_assert_eq(t.count, TALLY_MAX + 1);
	cr_assert_eq(tally_at(&t, 0)->count, 500);
	cr_assert_eq(tally_at(&t, 1)->count, 1);
	tally_free(&t);
}

Test(tally, merged_rows_are_one)
{
	struct tally_row a = { .count = 2, .bytes = 20, .largest = 15, .oldest = 7, .example = { 1, 2 } };
	struct tally_row b = { .count = 3, .bytes = 9, .largest = 3, .oldest = 5, .example = { 3, 4, 5 } };

	tally_merge(&a, &b);
	cr_assert(a.count == 5 && a.bytes == 29 && a.largest == 15 && a.oldest == 5);
	cr_assert(a.example[0] == 1 && a.example[1] == 2 && a.example[2] == 3);
}

/* A cursor that was written for `params` at (at, phase, pool), read for `asked`: does it pass? */
static bool passes(const char *params, const char *asked, const char *change)
{
	struct json_writer w = { 0 };
	struct rpc_call call = { .method = &rpc_methods[RPC_METHOD_dump], .out = &w };
	struct page page = { 77, 2, "shm:default:3" }, got = { 0 };
	struct json_object *text;
	char cursor[300];
	bool good;

	call.params = json_tokener_parse(params);
	page_write(&call, &page);
	snprintf(cursor, sizeof cursor, "%.*s", (int)w.len - 9, w.text + 8);	/* "next":"…" */
	json_object_put(call.params);
	jw_free(&w);
	if (change && strstr(cursor, change))
		*strstr(cursor, change) ^= 1;
	call.params = json_tokener_parse(asked);
	text = json_object_new_string(cursor);
	json_object_object_add(call.params, "cursor", text);
	good = page_read(&call, &got);
	json_object_put(call.params);
	cr_assert(good || call.error.code == RPC_PARAMS);
	return good && got.at == 77 && got.phase == 2 && !strcmp(got.pool, "shm:default:3");
}

Test(page, a_cursor_is_good_for_its_question_only)
{
	cr_assert(passes("{\"domain\":\"shm\"}", "{\"domain\":\"shm\"}", NULL));
	cr_assert(passes("{\"domain\":\"shm\",\"limit\":5}", "{\"domain\":\"shm\",\"limit\":9}", NULL));
	cr_assert_not(passes("{\"domain\":\"shm\"}", "{\"domain\":\"pkg\"}", NULL));
	cr_assert_not(passes("{\"domain\":\"shm\"}", "{\"domain\":\"shm\",\"min_size\":0}", NULL));
	cr_assert_not(passes("{\"domain\":\"shm\"}", "{\"domain\":\"shm\"}", "4d"));
	cr_assert_not(passes("{\"domain\":\"shm\"}", "{\"domain\":\"shm\"}", "default"));
	cr_assert_not(passes("{\"domain\":\"shm\"}", "{\"domain\":\"shm\"}", "-"));
}

Test(roles, the_strongest_group_counts)
{
	struct roles roles = { .readers = 100, .operators = 200 }, nobody = { (gid_t)-1, (gid_t)-1 };
	gid_t both[] = { 100, 200 }, other[] = { 300 };

	cr_assert_eq(roles_of(&roles, &(struct server_peer){ 1, 0, 0, NULL, 0 }), ROLE_ADMIN);
	cr_assert_eq(roles_of(&roles, &(struct server_peer){ 1, geteuid(), 1, NULL, 0 }), ROLE_ADMIN);
	cr_assert_eq(roles_of(&roles, &(struct server_peer){ 1, 4242, 1, both, 2 }), ROLE_OPERATE);
	cr_assert_eq(roles_of(&roles, &(struct server_peer){ 1, 4242, 1, both, 1 }), ROLE_READ);
	cr_assert_eq(roles_of(&roles, &(struct server_peer){ 1, 4242, 200, other, 1 }), ROLE_OPERATE);
	cr_assert_eq(roles_of(&roles, &(struct server_peer){ 1, 4242, 1, other, 1 }), ROLE_NONE);
	cr_assert_eq(roles_of(&nobody, &(struct server_peer){ 1, 4242, (gid_t)-1, other, 1 }), ROLE_NONE);
}
