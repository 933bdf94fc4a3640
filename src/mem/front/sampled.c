/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Draws, and what follows from them. Cold: once in memory.sample bytes, and once in some hundred takes.
 *
 * Logarithm and exponential function are our own, to 1e-11: the library is linked with none that has them.
 */
#include "mem/front/sampled.h"

#include "mem/front/inside.h"

_Thread_local struct sampling mem_pkg_sampling;

static double interval = 512 << 10;	/* bytes */
static uint64_t seed;			/* of all; 0: the heap's generation */
static _Atomic uint64_t threads;	/* that have drawn */

enum { TAKE_MOST = 16 * (MAGAZINE_SIZES - 1) + 8 };	/* bytes of the largest fragment in a magazine */

void pkg_sample_every(uint64_t bytes) { interval = (double)bytes; }
void pkg_sample_seed(uint64_t number) { seed = number; }

/* ---- numbers ---- */

static uint64_t mixed(uint64_t x)	/* splitmix64, Steele et al., 2014 */
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static void begin(const struct pool *p)
{
	uint64_t number = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed); /* a number */

	mem_pkg_sampling.random = mixed((seed ? seed : p->id->generation) + number * 0x9e3779b97f4a7c15ull) | 1;
}

/* In (0, 1]. */
static double draw(void)
{
	uint64_t next = mem_pkg_sampling.random += 0x9e3779b97f4a7c15ull;

	return (double)((mixed(next) >> 11) + 1) * 0x1p-53;
}

/* Of x in (0, 1]: by the series of 2 artanh((x - 1) / (x + 1)), from where that is at most 1/3. */
static double minus_ln(double x)
{
	double sum = 0, t, square, power;

	for (; x < 0.5; x *= 2)
		sum += 0.69314718055994530942;
	t = (1 - x) / (1 + x);
	square = t * t;
	power = 2 * t;
	for (unsigned k = 1; k < 24; k += 2, power *= square)
		sum += power / k;
	return sum;
}

/* 1 - e^-x: of a part of it by its series, doubled as often. */
static double one_minus_exp(double x)
{
	unsigned doubled = 0;
	double p;

	if (x > 40)
		return 1;
	for (; x > 1.0 / 64; x /= 2)
		doubled++;
	p = x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5))));
	while (doubled--)
		p *= 2 - p;
	return p;
}

static double probability(uint64_t bytes) { return one_minus_exp((double)bytes / interval); }

uint32_t pkg_sample_weight(uint64_t bytes) { return weight_code(1 / probability(bytes)); }

static uint64_t draw_bytes(void) { return (uint64_t)(minus_ln(draw()) * interval); }

/* How many takes there are before the one that is looked at. */
static uint64_t draw_takes(void) { return (uint64_t)(minus_ln(draw()) * interval / TAKE_MOST); }

/* ---- takes ---- */

/* The short way is closed: as many as it is to 0 go by it; the last of them closes it. */
static void set_taken(struct magazines *m, uint64_t taken)
{
	struct meta_thread *told = magazine_told(m);
	uint64_t more = taken - told->taken;

	OWN_SET(told->taken, taken);
	signal_add64(&told->start, more);	/* a handler's shelf changes it, too */
}

void pkg_sample_follow(const struct pool *p, struct magazines *m, bool sampled)
{
	m->sampled = sampled && m->owned && !m->recorded;
	if (m->sampled) {
		if (!mem_pkg_sampling.random)
			begin(p), mem_pkg_sampling.left = draw_bytes();
		set_taken(m, -draw_takes());
	} else if (m->owned) {
		set_taken(m, m->recorded ? TAKEN_RECORDED : TAKEN_FIRST);
	}
}

void pkg_sample_forget(void) { mem_pkg_sampling.random = 0; }

/* `more`: takes. The lock is for observers, who would find `taken` without its `start`. */
static void go_on(struct pool *p, struct magazines *m, uint64_t more)
{
	uint64_t takes = draw_takes() + more;

	enter(p, NULL, 0);
	set_taken(m, -takes);
	pkg_magazines_sampled(m);
	leave(p, NULL, 0);
}

/* ---- the question ---- */

COLD uint32_t pkg_sample(const struct front_call *call, size_t size, uint64_t need)
{
	struct magazines *m = mem_pkg_self.own;
	struct sampling *s = &mem_pkg_sampling;
	uint32_t carried = s->carried, weight;
	double looked;

	if (s->busy || call->flags & FRONT_PASSED)
		return 0;
	if (UNLIKELY(!s->random))
		begin(call->p->home), s->left = draw_bytes();
	if (call->flags & FRONT_MISSED && magazine_trapped(m) && sample_is_take(m, size)) {
		looked = draw() * probability(TAKE_MOST);
		s->missed = looked > probability(need);
		go_on(call->p->home, m, s->missed);
		return s->missed ? 0 : pkg_sample_weight(need);
	}
	if (need <= s->left && !(call->flags & FRONT_SAMPLED)) {
		s->left -= need;
		return 0;
	}
	weight = pkg_sample_weight(need);
	s->carried = 0;
	if (carried && call->flags & FRONT_SAMPLED)	/* it was one before */
		return carried < weight ? carried : weight;
	s->left = draw_bytes();
	return weight;
}

void *pkg_sample_take(size_t size)
{
	struct magazines *m = mem_pkg_self.own;

	if (!mem_pkg_sampling.missed)
		return NULL;
	mem_pkg_sampling.missed = false;
	return magazine_take_given(m, size);
}
