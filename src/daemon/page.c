/* SPDX-License-Identifier: BSD-2-Clause */
/* AT-PHASE-SUM-POOL, numbers in hex. The sum is no secret: it guards against mistakes, what it seals is checked too. */
#include "daemon/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fnv.h"

static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
	hash = fnv_bytes(hash, bytes, len);
	return hash ^ hash >> 29;
}

/* Over the method and its parameters but for `cursor` and `limit`, in the order of the row. */
static uint64_t question(const struct rpc_call *call, const struct page *page)
{
	uint64_t hash = mix(FNV_START, call->method->name, strlen(call->method->name));

	for (const struct rpc_param *const *p = call->method->params; *p; p++) {
		struct json_object *value;
		const char *text;

		if (!strcmp((*p)->name, "cursor") || !strcmp((*p)->name, "limit") ||
		    !json_object_object_get_ex(call->params, (*p)->name, &value))
			continue;
		text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
		hash = mix(mix(hash, (*p)->name, strlen((*p)->name) + 1), text, strlen(text) + 1);
	}
	hash = mix(hash, &page->at, sizeof page->at);
	hash = mix(hash, &page->phase, sizeof page->phase);
	return mix(hash, page->pool, strlen(page->pool)) & UINT32_MAX;
}

void page_stale(struct rpc_call *call)
{
	rpc_fail(call, RPC_PARAMS, "cursor", "stale or garbled");
	rpc_allowed(call, "`next` of the page before, with the same parameters, while the pool is there");
}

bool page_read(struct rpc_call *call, struct page *ret_page)
{
	const char *text = rpc_text(call, "cursor");
	struct page page = { 0 };
	uint64_t sum;
	int end = 0;

	if (text) {
		if (sscanf(text, "%16" SCNx64 "-%2x-%8" SCNx64 "-%n", &page.at, &page.phase, &sum, &end) != 3 || !end ||
		    strlen(text + end) >= sizeof page.pool) {
			page_stale(call);
			return false;
		}
		memcpy(page.pool, text + end, strlen(text + end) + 1);
		if (question(call, &page) != sum) {
			page_stale(call);
			return false;
		}
	}
	*ret_page = page;
	return true;
}

void page_write(struct rpc_call *call, const struct page *page)
{
	jw_key(call->out, "next");
	jw_format(call->out, "%" PRIx64 "-%x-%08" PRIx64 "-%s", page->at, page->phase, question(call, page), page->pool);
}
