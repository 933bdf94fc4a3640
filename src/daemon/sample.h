/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Live bytes by call site over time: the figures behind the evidence `growing`.
 *
 * Every leaks.interval seconds the ledgers of all shared pools and of live private heaps that are tracked are summed by
 * call site, in slices between the loop's other work. Of each site the last leaks.samples + 1 sums are kept, so that N
 * rises can be seen. Memory: SAMPLE_SITES sites of all pools at most, the rest is not sampled, which is told.
 */
#ifndef DAEMON_SAMPLE_H
#define DAEMON_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

struct daemon;
struct sampler;

enum { SAMPLE_SITES = 8192 };

int sampler_new(struct daemon *d, struct sampler **ret_sampler);
void sampler_free(struct sampler *s);
/** After the configuration changed: what was kept is forgotten when its number or interval changed. */
void sampler_configure(struct sampler *s);

/**
 * sampler_growth - has a site's memory risen in each of the last N samples?
 * @ret_figures: N + 1 sums, the oldest first; room for 65
 */
bool sampler_growth(const struct sampler *s, const char *pool, uint32_t site, uint64_t ret_figures[65]);
/** N, and the seconds between two. */
unsigned sampler_samples(const struct sampler *s);
unsigned sampler_interval(const struct sampler *s);
/** In the last round there were more sites than are sampled. */
bool sampler_full(const struct sampler *s);

#endif /* DAEMON_SAMPLE_H */
