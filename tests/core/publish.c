/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Publication in one step, whose memory is, and what becomes of it: with one heap and with two, under each on_death.
 * What a kill inside of these calls leaves is tests/crash/kill_front.c's.
 */
#include <memapi/memapi.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

enum { SIZE = 4 << 20, MOST = 1 << 16 };

struct table { struct mem_lock lock; char *row[64]; void *left; };
static struct table *table;

static uint64_t used(void)
{
	struct mem_info info;

	shm_info(&info);
	return info.used_size;
}

static unsigned faults;
static void on_fault(const struct mem_fault_report *report) { (void)report; faults++; }

/* A child that does `what` and is killed, or leaves in order. */
static pid_t child(void (*what)(void), bool killed)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		what();
		if (killed)
			raise(SIGKILL);
		exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && (killed ? WIFSIGNALED(status) : status == 0));
	return pid;
}

/* ---- publication ---- */

static void the_pointer_goes_with_the_fragment(void)
{
	uint64_t before = used();
	char **dst = &table->row[0];
	_Atomic(char *) *atomic = (_Atomic(char *) *)(void *)&table->row[1];

	EXPECT(shm_malloc_to(dst, 100) == *dst && *dst && used() > before);
	memset(*dst, 'x', 100);
	EXPECT(shm_realloc_to(dst, 50000) == *dst && shm_usable(*dst) >= 50000 && (*dst)[0] == 'x' &&
	       (*dst)[99] == 'x');
	EXPECT(shm_realloc_to(dst, 10) == *dst && (*dst)[9] == 'x');
	EXPECT(shm_free_from(dst) && !*dst && used() == before);
	EXPECT(shm_free_from(dst) && !*dst);
	EXPECT(shm_realloc_to(dst, 10) == *dst && *dst);
	EXPECT(!shm_realloc_to(dst, 0) && !*dst && used() == before);
	EXPECT(shm_malloc_to(atomic, 10) && shm_free_from(atomic) && !table->row[1]);
	for (unsigned i = 0; i < 64; i++) {	/* over what was used before */
		EXPECT(shm_malloc_to(&table->row[i], 500));
		memset(table->row[i], 1, 500);
	}
	for (unsigned i = 0; i < 64; i++)
		EXPECT(shm_free_from(&table->row[i]));
	EXPECT(shm_mallocxz_to(dst, 500) == *dst);
	for (unsigned i = 0; i < 500; i++)
		EXPECT(!(*dst)[i]);
	EXPECT(shm_free_from(dst) && used() == before && !faults);
}

static void refused(void *dst)
{
	char **to = dst;
	uint64_t before = used();

	errno = 0;
	EXPECT(!shm_malloc_to(to, 10) && errno == EINVAL && strstr(memapi_error(), "shm_malloc_to"));
	EXPECT(!shm_mallocxz_to(to, 10) && errno == EINVAL && strstr(memapi_error(), "shm_mallocxz_to"));
	EXPECT(!shm_realloc_to(to, 10) && errno == EINVAL && strstr(memapi_error(), "shm_realloc_to"));
	errno = 0;
	EXPECT(!shm_free_from(to) && errno == EINVAL && strstr(memapi_error(), "shm_free_from"));
	EXPECT(used() == before);
}

static void a_bad_place_changes_nothing(void)
{
	char *here = NULL, *data = shm_api()->mem_pool;
	static char *there;

	refused(&here);
	refused(&there);
	refused(NULL);
	refused((char *)table->row + 4);
	refused(data - (8 << 20) + 4096);	/* META, whatever is there */
	refused(data + SIZE - 8);		/* not committed yet */
	EXPECT(!faults);
}

static void a_wrong_pointer_is_told_and_stays(void)
{
	char inside[16], *was;

	EXPECT(shm_malloc_to(&table->row[0], 100));
	was = table->row[0];
	for (unsigned i = 0; i < 2; i++) {
		table->row[1] = i ? inside : was + 16;
		faults = 0;
		EXPECT(!shm_free_from(&table->row[1]) && errno == EINVAL && faults == 1);
		EXPECT(!shm_realloc_to(&table->row[1], 200) && errno == EINVAL && faults == 2);
		EXPECT(table->row[1] == (i ? inside : was + 16));
	}
	table->row[1] = NULL;
	faults = 0;
	*(char **)(void *)was = was;		/* a pointer in the fragment that it names */
	EXPECT(!shm_realloc_to((char **)(void *)was, 100000) && errno == EINVAL && strstr(memapi_error(), "lies in"));
	EXPECT(shm_free_from((char **)(void *)was));
	EXPECT(!faults);
	table->row[0] = NULL;
}

static void without_memory_it_stays(void)
{
	static void *filler[MOST];
	size_t n = 0;
	char *was;

	EXPECT(shm_malloc_to(&table->row[0], 100));
	was = table->row[0];
	while (n < MOST && (filler[n] = shm_malloc(4000)))
		n++;
	errno = 0;
	EXPECT(!shm_realloc_to(&table->row[0], 1 << 20) && errno == ENOMEM && table->row[0] == was);
	EXPECT(!shm_malloc_to(&table->row[0], 1 << 20) && errno == ENOMEM && table->row[0] == was);
	EXPECT(!shm_mallocxz_to(&table->row[0], 1 << 20) && errno == ENOMEM && table->row[0] == was);
	EXPECT(!shm_malloc_to(&table->row[1], (size_t)-100) && errno == ENOMEM && !table->row[1]);
	while (n)
		shm_free(filler[--n]);
	EXPECT(shm_free_from(&table->row[0]));
}

static void under_the_pools_lock(void)
{
	uint64_t before = used();

	shm_lock();
	EXPECT(shm_malloc_to(&table->row[0], 100) && shm_mallocxz_to(&table->row[1], 100));
	EXPECT(shm_realloc_to(&table->row[0], 9000) && shm_free_from(&table->row[0]) && shm_free_from(&table->row[1]));
	EXPECT(!shm_malloc(10) && errno == EDEADLK);
	EXPECT(shm_malloc_to(&table->row[0], 100));
	EXPECT(!shm_resize(table->row[0], 200) && errno == EDEADLK && shm_usable(table->row[0]) >= 100);
	EXPECT(shm_free_from(&table->row[0]));
	shm_unlock();
	EXPECT(used() == before);
	faults = 0;
}

/* With two heaps children prefer one each: what they publish lies in another one than the table. */
static void publish_all(void)
{
	for (unsigned i = 0; i < 64; i++) {
		EXPECT(shm_mallocxz_to(&table->row[i], 100 + i));
		EXPECT(shm_realloc_to(&table->row[i], 1000 + i));
	}
}

static void children_publish(void)
{
	uint64_t before = used();

	for (unsigned k = 0; k < 4; k++) {
		child(publish_all, k % 2);
		shm_reap();		/* what is published is SHARED, whatever becomes of who did it */
		for (unsigned i = 0; i < 64; i++)
			EXPECT(table->row[i] && shm_usable(table->row[i]) >= 1000 + i && shm_free_from(&table->row[i]));
		EXPECT(used() == before);
	}
}

/* ---- ownership ---- */

static void own_some(void)
{
	for (unsigned i = 0; i < 100; i++)
		EXPECT((table->left = shm_malloc_owned(100 + i)));
}

static void own_and_grow(void)
{
	void *p = shm_malloc_owned(100);

	EXPECT(p && shm_realloc(p, 40000));
}

static void share_some(void) { EXPECT((table->left = shm_malloc(100))); }
static void share_owned(void) { EXPECT((table->left = shm_malloc_owned(100)) && shm_share(table->left) == 0); }
static void own_shared(void) { EXPECT((table->left = shm_malloc(100)) && shm_own(table->left) == 0); }
static void take_over(void) { EXPECT(shm_own(table->left) == 0); }

static void owned_goes_and_shared_stays(void)
{
	uint64_t before = used();
	int unused;

	for (unsigned killed = 0; killed < 2; killed++) {
		child(own_some, killed);
		EXPECT(used() > before && shm_reap() == 100 && used() == before);
		child(own_and_grow, killed);
		EXPECT(used() > before && shm_reap() == 1 && used() == before);
		child(own_shared, killed);
		EXPECT(shm_reap() == 1 && used() == before);
		EXPECT((table->left = shm_malloc(100)));
		child(take_over, killed);
		EXPECT(shm_reap() == 1 && used() == before);
	}
	child(share_owned, false);
	EXPECT(shm_reap() == 0 && used() > before);
	shm_free(table->left);
	child(share_some, false);		/* what one leaves in order stays under every policy */
	EXPECT(shm_reap() == 0 && shm_release_dead(0) == 0 && used() > before);
	EXPECT(shm_own(table->left) == 0 && shm_reap() == 0 && used() > before);
	shm_free(table->left);
	EXPECT(used() == before);
	EXPECT(shm_own(&unused) == -EINVAL && shm_share(NULL) == -EINVAL && shm_own((char *)table + 16) == -EINVAL);
}

/* In place, or where the manager moves it: what *dst names is there when its maker is not. */
static void publish_owned(void)
{
	static const size_t sizes[] = { 90, 20, 104, 3000 };

	for (unsigned i = 0; i < 4; i++) {
		EXPECT((table->row[i] = shm_malloc_owned(100)));
		EXPECT(shm_realloc_to(&table->row[i], sizes[i]));
	}
}

static void what_is_published_is_shared(void)
{
	uint64_t before = used();

	child(publish_owned, false);
	EXPECT(shm_reap() == 0);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(shm_usable(table->row[i]) && shm_free_from(&table->row[i]));
	EXPECT(used() == before && !faults);
}

static void fill_owned(void)
{
	while (shm_malloc_owned(4000))
		;
}

static void who_finds_no_memory_reaps(void)
{
	uint64_t before = used();
	void *p;

	child(fill_owned, true);
	EXPECT((p = shm_malloc(200000)));	/* nobody was asked to reap */
	shm_free(p);
	child(fill_owned, true);
	p = shm_malloc(16);
	EXPECT((p = shm_realloc(p, 200000)));
	shm_free(p);
	p = shm_malloc(16);
	child(fill_owned, true);
	EXPECT((p = shm_resize(p, 200000)));
	shm_free(p);
	EXPECT(used() == before);
}

static void die_with_the_lock(void)
{
	own_some();
	shm_lock();
}

static void who_waited_for_the_dead_reaps(void)
{
	uint64_t before = used();

	child(die_with_the_lock, true);
	for (unsigned i = 0; i < 4; i++)	/* takes the locks; its next calls reap */
		shm_free(shm_malloc(10));
	shm_lock();
	shm_unlock();
	shm_free(shm_malloc(10));
	EXPECT(used() == before);
}

/* ---- on_death ---- */

static void kept(void)
{
	uint64_t before = used();
	pid_t pid = child(share_some, true);

	EXPECT(shm_reap() == 0 && used() > before);
	shm_free(table->left);			/* used and freed as before */
	EXPECT(used() == before);
	pid = child(share_some, true);
	EXPECT(shm_release_dead(pid + 1) == 0 && shm_release_dead(pid) == 1 && used() == before);
}

static void reclaimed(void)
{
	uint64_t before = used();

	child(share_some, true);
	EXPECT(shm_reap() == 1 && used() == before);
	child(share_owned, true);
	EXPECT(shm_reap() == 1 && used() == before);
}

static void share_a_row(void)
{
	EXPECT(shm_malloc_to(&table->row[0], 100));
	memset(table->row[0], 'q', 100);
}

static void quarantined(void)
{
	uint64_t before = used(), with;
	char *was, *other;

	child(share_a_row, true);
	was = table->row[0];
	EXPECT(shm_reap() == 0);
	with = used();
	EXPECT(with > before);
	shm_free(was);				/* does nothing, and is no fault */
	shm_free(was);
	EXPECT(shm_free_from(&table->row[0]) && !table->row[0] && used() == with && was[99] == 'q');
	EXPECT((other = shm_realloc(was, 50)) && other != was && other[49] == 'q' && was[99] == 'q');
	shm_free(other);
	EXPECT(used() == with && shm_release_dead(0) == 1 && used() == before);
	child(share_a_row, true);
	EXPECT(shm_reap() == 0 && shm_share(table->row[0]) == 0 && shm_release_dead(0) == 0);
	EXPECT(shm_free_from(&table->row[0]) && used() == before && !faults);
}

/* ---- all of it ---- */

static void with(const char *manager, const char *shards, const char *on_death, void (*policy)(void))
{
	int status;
	pid_t pid = fork();

	if (pid) {
		EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
		return;
	}
	setenv("MEMAPI_MANAGER", manager, 1);
	setenv("MEMAPI_SHARDS", shards, 1);
	setenv("MEMAPI_SHM_ON_DEATH", on_death, 1);
	EXPECT(shm_create("publish-test", SIZE) == 0 && (table = shm_mallocxz(sizeof *table)));
	memapi_on_fault(on_fault);
	the_pointer_goes_with_the_fragment();
	a_bad_place_changes_nothing();
	a_wrong_pointer_is_told_and_stays();
	without_memory_it_stays();
	under_the_pools_lock();
	if (policy == kept)
		children_publish();
	owned_goes_and_shared_stays();
	what_is_published_is_shared();
	who_finds_no_memory_reaps();
	who_waited_for_the_dead_reaps();
	policy();
	exit(0);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	for (unsigned i = 1; i <= 2; i++) {
		const char *shards = i == 1 ? "1" : "2";

		with(argv[1], shards, "keep", kept);
		with(argv[1], shards, "reclaim", reclaimed);
		with(argv[1], shards, "quarantine", quarantined);
	}
	puts("publish: pointers and fragments came and went together, and what the dead had went where it should");
	return 0;
}
