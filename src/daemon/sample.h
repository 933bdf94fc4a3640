/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Live bytes by call site over time: the figures behind the evidence `growing`.
 *
 * Every leaks.interval seconds the ledgers of all shared pools and of live private heaps that are tracked are summed by
 * call site, in a thread of idle priority (round.h). Of each site the last leaks.samples + 1 sums are kept, so that N
 * rises can be seen. Memory: ROUND_SITES sites of all pools at most, the rest is not sampled, which is told.
 */
#ifndef DAEMON_SAMPLE_H
#define DAEMON_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daemon;
struct sampler;

int sampler_new(struct daemon *d, struct sampler **ret_sampler);
void sampler_free(struct sampler *s);
/** After the configuration changed: what was kept is forgotten when its number or interval changed. */
void sampler_configure(struct sampler *s);

/** row: in figures. */
struct growing { uint64_t pool; uint32_t site, row; };

/** What is known of all sites at one moment: a copy, for who looks at it beside the loop. */
struct growth {
	unsigned samples, interval;	/* N, and the seconds between two */
	bool full;			/* in the last round there were more sites than are sampled */
	size_t count;			/* sites whose memory rose in each of the last N samples */
	struct growing *site;		/* sorted */
	uint64_t *figures;		/* N + 1 sums for each, the oldest first */
};

/** Returns false: no memory. Else free it by growth_free(). */
bool sampler_growth(const struct sampler *s, struct growth *ret_growth);
/** The N + 1 sums of a site that grows; NULL: it does not. */
const uint64_t *growth_of(const struct growth *g, const char *pool, uint32_t site);
void growth_free(struct growth *g);

#endif /* DAEMON_SAMPLE_H */
