/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fragments and who made them: dump, summary, leaks.
 *
 * `dump --leaks` is a dump of what leaks suspects: the daemon knows of each fragment whether it does, in one pass.
 */
#include "mmctl.h"

#include <string.h>

#include "ctl/method.h"

/* Only private fragments are sampled. */
#define FRAGMENT_COLUMNS(of_shm) \
	{ .head = "POOL", .member = "pool", .kind = TEXT_OF, .elastic = 12, .spare = 3 }, \
	{ .head = "ADDRESS", .member = "address", .kind = TEXT_OF }, \
	{ .head = "SIZE", .member = "size", .kind = BYTES_OF }, \
	{ .head = "REQUESTED", .member = "requested", .kind = BYTES_OF, .spare = 1 }, \
	{ .head = "WEIGHT", .member = "weight", .kind = NUMBER_OF, .may_lack = true, .spare = 1, .hidden = (of_shm) }, \
	{ .head = "STATE", .member = "state", .kind = TEXT_OF, .spare = 2 }, \
	{ .head = "AGE", .member = "age", .kind = SECONDS_OF }, \
	{ .head = "STAMP", .member = "stamp", .kind = COUNT_OF, .may_lack = true, .hidden = true }, \
	{ .head = "OWNER", .member = "owner", .kind = OWNER_OF, .elastic = 10, .spare = 4 }, \
	{ .head = "SITE", .member = "site", .kind = SITE_OF, .elastic = 24 }, \
	{ 0 }

#define ESTIMATE_COLUMNS \
	{ .head = "ESTIMATED", .member = "estimated", .kind = TRUTH_OF, .may_lack = true, .hidden = true }, \
	{ .head = "SAMPLED", .member = "sampled", .kind = COUNT_OF, .may_lack = true, .hidden = true }

#define SUSPECTED_COLUMNS(of_shm) { .head = "EVIDENCE", .member = "evidence", .kind = WORDS_OF }, FRAGMENT_COLUMNS(of_shm)

static const struct column fragment_columns[][11] = { { FRAGMENT_COLUMNS(false) }, { FRAGMENT_COLUMNS(true) } };
static const struct column suspected_columns[][12] = { { SUSPECTED_COLUMNS(false) }, { SUSPECTED_COLUMNS(true) } };

static const struct column suspect_columns[] = {
	{ .head = "EVIDENCE", .member = "evidence", .kind = TEXT_OF },
	{ .head = "POOL", .member = "pool", .kind = TEXT_OF, .elastic = 12 },
	{ .head = "COUNT", .member = "count", .kind = COUNT_OF, .estimates = true },
	{ .head = "BYTES", .member = "bytes", .kind = BYTES_OF, .estimates = true },
	{ .head = "OLDEST", .member = "oldest", .kind = SECONDS_OF, .spare = 2 },
	{ .head = "RATE", .member = "rate", .kind = RATE_OF, .may_lack = true, .spare = 1 },
	{ .head = "OWNER", .member = "owner", .kind = OWNER_OF, .elastic = 10, .spare = 3 },
	{ .head = "SITE", .member = "site", .kind = SITE_OF, .elastic = 24 },
	{ .head = "SAMPLES", .member = "samples", .kind = COUNT_OF, .may_lack = true, .hidden = true },
	{ .head = "INTERVAL", .member = "interval", .kind = SECONDS_OF, .may_lack = true, .hidden = true },
	{ .head = "FIGURES", .member = "figures", .kind = SERIES_OF, .may_lack = true, .hidden = true },
	ESTIMATE_COLUMNS,
	{ 0 },
};

/* What the evidence `growing` rests on: a second table. */
static const struct column growing_columns[] = {
	{ .head = "GROWING", .member = "pool", .kind = TEXT_OF, .elastic = 12, .spare = 1 },
	{ .head = "RISES", .member = "samples", .kind = COUNT_OF, .may_lack = true },
	{ .head = "EVERY", .member = "interval", .kind = SECONDS_OF, .may_lack = true },
	{ .head = "SITE", .member = "site", .kind = SITE_OF, .elastic = 24 },
	{ .head = "BYTES OVER TIME", .member = "figures", .kind = SERIES_OF, .may_lack = true, .elastic = 10 },
	{ 0 },
};

#define SUMMARY_COLUMNS(key_head) \
	{ \
		{ .head = "BYTES", .member = "bytes", .kind = BYTES_OF, .estimates = true }, \
		{ .head = "COUNT", .member = "count", .kind = COUNT_OF, .estimates = true }, \
		{ .head = "LARGEST", .member = "largest", .kind = BYTES_OF, .may_lack = true }, \
		{ .head = "OLDEST", .member = "oldest", .kind = SECONDS_OF, .may_lack = true }, \
		{ .head = (key_head), .member = "key", .kind = ANY_OF, .elastic = 24 }, \
		ESTIMATE_COLUMNS, \
		{ 0 }, \
	}

static const struct { const char *by; struct column columns[8]; } summaries[] = {
	{ "module", SUMMARY_COLUMNS("MODULE") },
	{ "size", SUMMARY_COLUMNS("SIZE") },
	{ "owner", SUMMARY_COLUMNS("OWNER") },
};

static const struct column site_columns[] = {
	{ .head = "BYTES", .member = "bytes", .kind = BYTES_OF, .estimates = true },
	{ .head = "COUNT", .member = "count", .kind = COUNT_OF, .estimates = true },
	{ .head = "LARGEST", .member = "largest", .kind = BYTES_OF, .may_lack = true },
	{ .head = "OLDEST", .member = "oldest", .kind = SECONDS_OF, .may_lack = true },
	{ .head = "KEY", .member = "key", .kind = ANY_OF, .hidden = true },
	{ .head = "SITE", .member = "site", .kind = SITE_OF, .other = "key", .may_lack = true, .elastic = 24 },
	ESTIMATE_COLUMNS,
	{ 0 },
};

static struct json_object *get(struct json_object *object, const char *path)
{
	struct json_object *value = NULL;

	return json_at(object, path, &value) ? value : NULL;
}

static uint64_t limit_of(const struct mmctl *m) { return m->cmd.limit ? m->cmd.limit : UINT64_MAX; }

static struct json_object *copy_params(const struct mmctl *m)
{
	struct json_object *copy = json_object_new_object();

	json_object_object_foreach(m->cmd.params, name, value)
		json_object_object_add(copy, name, json_object_get(value));
	return copy;
}

static void narrow(struct json_object *params, const char *name, struct json_object *value)
{
	if (value && !get(params, name))
		json_object_object_add(params, name, json_object_get(value));
}

/* Does this domain have live heaps of which nothing is noted? Then an empty answer is no good news. */
static bool untracked(struct mmctl *m, const char *domain)
{
	struct json_object *params = json_object_new_object(), *result = NULL, *pools = NULL, *mode = NULL;
	bool found = false;

	json_object_object_add(params, "domain", json_object_new_string(domain));
	if (!link_call(&m->link, "stats", params, &result) && json_at(result, "pools", &pools) &&
	    json_object_is_type(pools, json_type_array))
		for (size_t i = 0; !found && i < json_object_array_length(pools); i++)
			found = json_at(json_object_array_get_idx(pools, i), "tracking", &mode) && mode &&
				!strcmp(json_object_get_string(mode), "off");
	json_object_put(result);
	json_object_put(params);
	return found;
}

/* Nothing was found: say whether that means anything. Only where a person reads. */
static void say_nothing(struct mmctl *m, const char *what)
{
	struct json_object *domain = get(m->cmd.params, "domain");

	if (m->style.format != TABLE)
		return;
	if ((!domain || !strcmp(json_object_get_string(domain), "pkg")) && untracked(m, "pkg"))
		say("%s; some private heaps are not tracked, which `mmctl track on pkg` changes", what);
	else
		say("%s", what);
}

/* ---- leaks ---- */

enum { GROWING_MAX = 1000 };

/* Of the rows that went by: those that the second table is made of, and whether there is anything to explain. */
struct seen { struct json_object *growing; bool dead, estimated; };

/* A page_fn: prints all. */
static bool look_at(struct json_object *row, void *arg)
{
	struct json_object *evidence = get(row, "evidence");
	struct seen *seen = arg;

	seen->estimated |= json_object_get_boolean(get(row, "estimated"));
	if (!json_object_is_type(evidence, json_type_string))
		return true;
	seen->dead |= !strcmp(json_object_get_string(evidence), "owner_dead");
	if (!strcmp(json_object_get_string(evidence), "growing") && json_object_array_length(seen->growing) < GROWING_MAX)
		json_object_array_add(seen->growing, json_object_get(row));
	return true;
}

static enum exit_code show_growing(struct mmctl *m, struct json_object *growing)
{
	struct render r;

	if (m->style.format != TABLE || !json_object_array_length(growing))
		return RC_OK;
	fputc('\n', m->style.out);
	render_open(&r, &m->style, "suspects", growing_columns);
	for (size_t i = 0; i < json_object_array_length(growing); i++)
		render_row(&r, json_object_array_get_idx(growing, i));
	return finish(m, &r, RC_OK, NULL);
}

/* Whether --pool or --pid name something in this domain. */
static bool names_some(struct mmctl *m, const char *domain)
{
	static const char *const names[] = { "pid", "pool" };
	struct json_object *params = json_object_new_object(), *result = NULL;
	bool none;

	json_object_object_add(params, "domain", json_object_new_string(domain));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		narrow(params, names[i], get(m->cmd.params, names[i]));
	none = link_call(&m->link, "stats", params, &result) && m->link.code == RPC_NO_POOL;
	json_object_put(result);
	json_object_put(params);
	return !none;
}

/*
 * leaks has one domain a call. Without one on the command line both are asked, but for the one that has nothing of what
 * was named; when neither has, the daemon says so.
 */
static enum exit_code each_domain(struct mmctl *m, struct render *r, struct seen *seen,
				  struct json_object *tail)
{
	static const char *const domains[] = { "pkg", "shm" };
	struct json_object *given = get(m->cmd.params, "domain"), *params;
	bool named = !given && (get(m->cmd.params, "pid") || get(m->cmd.params, "pool")), any = false;
	enum exit_code code = RC_OK;
	uint64_t left = limit_of(m);

	for (size_t i = 0; !code && i < 2; i++) {
		if (given && strcmp(json_object_get_string(given), domains[i]))
			continue;
		if (named && (i == 0 || any) && !names_some(m, domains[i]))
			continue;
		any = true;
		params = copy_params(m);
		json_object_object_add(params, "domain", json_object_new_string(domains[i]));
		code = pages(m, r, "leaks", params, &left, look_at, seen, tail);
		json_object_put(params);
	}
	return code;
}

enum exit_code verb_leaks(struct mmctl *m)
{
	struct seen seen = { .growing = json_object_new_array() };
	struct json_object *tail = json_object_new_object();
	enum exit_code code;
	struct render r;

	render_open(&r, &m->style, "suspects", suspect_columns);
	code = finish(m, &r, each_domain(m, &r, &seen, tail), tail);
	if (!code)
		code = show_growing(m, seen.growing);
	if (!code && seen.estimated)
		say_estimated(m);
	if (!code && seen.dead && m->style.format == TABLE)
		say("owner_dead is memory whose owner is dead, which may be meant to stay; ON DEATH of `mmctl pool list` "
		    "says what becomes of it");
	if (!code && m->style.format == TABLE && json_object_get_boolean(get(tail, "unsampled")))
		say("more call sites are in use than mmd samples: not all that grow are seen");
	json_object_put(seen.growing);
	json_object_put(tail);
	if (!code && !r.rows)
		say_nothing(m, "nothing is suspected");
	return !code && r.rows ? RC_FOUND : code;
}

/* ---- dump ---- */

static bool of_shm(const struct mmctl *m)
{
	struct json_object *domain = get(m->cmd.params, "domain");

	return domain && !strcmp(json_object_get_string(domain), "shm");
}

/* What is suspected, and why. */
static enum exit_code dump_leaks(struct mmctl *m)
{
	struct json_object *state = get(m->cmd.params, "state"), *params, *tail;
	struct render r;
	enum exit_code code;
	uint64_t left = limit_of(m);

	if (state && strcmp(json_object_get_string(state), "used")) {
		say("dump: --leaks is about used fragments, not about %s ones", json_object_get_string(state));
		return RC_USAGE;
	}
	params = copy_params(m);
	tail = json_object_new_object();
	if (!get(params, "evidence"))
		json_object_object_add(params, "evidence", json_object_new_string("any"));
	render_open(&r, &m->style, "fragments", suspected_columns[of_shm(m)]);
	code = finish(m, &r, pages(m, &r, "dump", params, &left, NULL, NULL, tail), tail);
	say_errors(get(tail, "errors"));
	json_object_put(params);
	json_object_put(tail);
	if (!code && !r.rows)
		say_nothing(m, "no fragment is suspected");
	return !code && r.rows ? RC_FOUND : code;
}

enum exit_code verb_dump(struct mmctl *m)
{
	struct json_object *tail, *params;
	enum exit_code code;
	struct render r;
	uint64_t left = limit_of(m);

	if (m->cmd.given[O_LEAKS] || m->cmd.given[O_EVIDENCE])
		return dump_leaks(m);
	tail = json_object_new_object();
	params = copy_params(m);
	render_open(&r, &m->style, "fragments", fragment_columns[of_shm(m)]);
	code = finish(m, &r, pages(m, &r, "dump", params, &left, NULL, NULL, tail), tail);
	say_errors(get(tail, "errors"));
	json_object_put(params);
	json_object_put(tail);
	if (!code && !r.rows)
		say_nothing(m, "no such fragment");
	return code;
}

/* ---- summary ---- */

/* One answer holds 10,000 rows at most; -n asks for fewer. */
enum exit_code verb_summary(struct mmctl *m)
{
	struct json_object *by = get(m->cmd.params, "by");
	const struct column *columns = site_columns;
	uint64_t limit = m->cmd.limit && m->cmd.limit < 10000 ? m->cmd.limit : 10000;

	json_object_object_add(m->cmd.params, "limit", json_object_new_int64((int64_t)limit));
	for (size_t i = 0; by && i < sizeof summaries / sizeof summaries[0]; i++)
		if (!strcmp(json_object_get_string(by), summaries[i].by))
			columns = summaries[i].columns;
	return show(m, "rows", columns, "total", "nothing is in use there");
}
