/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chaos: eight attached processes and their forked ones play on one hosted pool while everything happens to them.
 *
 *	SIGKILL, SIGSTOP and SIGCONT at random; fork inside traffic; descriptors closed; mmd killed and started again;
 *	the pool full; no room on its file system (a small tmpfs of our own where that is permitted, and a fallocate()
 *	that refuses); mmctl looking on.
 *
 * In rounds. At the end of each all players stand still or are dead, and the referee compares what they hold with the
 * ledger, walks and checks each heap: no block is lost or held twice, each has its bytes, and what nobody holds was in
 * the hands of one who died: at most one block a kill. It frees these. After the last round everybody is killed and
 * everything is freed: used is what the board uses, all slots are free, and the largest free block is what it was.
 *
 * Usage: chaos MANAGER SECONDS [SEED] [MMD MMCTL], or chaos play HAND SEED. Prints the seed first; exit status 0 or 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "board.h"
#include "mem/front/front.h"
#include "mem/meta/process.h"
#include "mem/meta/slot.h"

enum { ROUND_MS = 1500, POOL_MB = 16, TMPFS_MB = 64, LEDGER_MOST = 1 << 20 };

static char dir[64], registry[96], conf[96], sock[96];
static const char *self, *mmd_path, *mmctl_path;
static uint64_t dice;
static struct board *board;
static pid_t player[ATTACHED], mmd, mmctl;
static int64_t stopped_until[HANDS], mmd_at, mmctl_at, room_at;
static bool own_tmpfs, checking;
static struct { unsigned long kills, stops, mmd_kills, looks, orphans, doubts, rounds, full; } count;

static uint32_t roll(uint32_t n)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 33) % n;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void nap_us(long us) { nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL); }

static void kill_all(void)
{
	int status;

	for (unsigned i = 0; i < ATTACHED; i++)
		if (player[i] > 0)
			kill(player[i], SIGKILL);
	for (unsigned i = ATTACHED; board && i < HANDS; i++)
		if (board->hand[i].pid > 0)
			kill((pid_t)board->hand[i].pid, SIGKILL);
	if (mmd > 0)
		kill(mmd, SIGKILL);
	if (mmctl > 0)
		kill(mmctl, SIGKILL);
	while (wait(&status) > 0 || errno == EINTR)
		;
	mmd = mmctl = 0;
}

static void clean_up(void)
{
	char command[160];

	if (own_tmpfs)
		umount2(registry, MNT_DETACH);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	if (system(command))
		fprintf(stderr, "chaos: %s stays\n", dir);
}

static void lost(const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "chaos: NOT TRUE: %s (%#lx, %#lx); round %lu, kills %lu\n", what, (unsigned long)a, (unsigned long)b,
		count.rounds, count.kills);
	kill_all();
	if (!getenv("CHAOS_KEEP"))
		clean_up();
	_exit(1);
}

#define MUST(x, a, b)								\
	do {									\
		if (!(x))							\
			lost(#x, (uint64_t)(a), (uint64_t)(b));		\
	} while (0)

/* ---- a place ---- */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	bool done = fd != -1 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd != -1)
		close(fd);
	return done;
}

/* A mount namespace, of a user namespace unless we are root; false: not here. */
static bool mount_tmpfs(void)
{
	char map[64], size[64];
	unsigned uid = geteuid(), gid = getegid();

	if (unshare(uid ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS) == -1)
		return false;
	if (uid) {
		snprintf(map, sizeof map, "%u %u 1", uid, uid);
		if (!write_file("/proc/self/uid_map", map))
			return false;
		write_file("/proc/self/setgroups", "deny");
		snprintf(map, sizeof map, "%u %u 1", gid, gid);
		write_file("/proc/self/gid_map", map);
	}
	snprintf(size, sizeof size, "size=%um,mode=0700", TMPFS_MB);
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("chaos", registry, "tmpfs", MS_NOSUID | MS_NODEV, size) == 0;
}

static void make_place(const char *manager)
{
	char text[200];

	snprintf(dir, sizeof dir, "/tmp/chaos-XXXXXX");
	MUST(mkdtemp(dir), errno, 0);
	snprintf(registry, sizeof registry, "%s/registry", dir);
	snprintf(conf, sizeof conf, "%s/mmd.conf", dir);
	snprintf(sock, sizeof sock, "%s/sock", dir);
	MUST(mkdir(registry, 0700) == 0, errno, 0);
	own_tmpfs = mount_tmpfs();
	snprintf(text, sizeof text, "memory.shm.manager = %s\n[pool.chaos]\nsize = %uM\nkeep = yes\n", manager, POOL_MB);
	MUST(write_file(conf, text), errno, 0);
	setenv("MEMAPI_REGISTRY", registry, 1);
	setenv("MEMAPI_CONFIG", conf, 1);
	setenv("XDG_STATE_HOME", dir, 1);
	setenv("MEMAPI_SHM_MANAGER", manager, 1);
}

/* ---- processes ---- */

static pid_t start(const char *const argv[], bool quiet)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (quiet) {
			int null = open("/dev/null", O_WRONLY);

			dup2(null, 1), dup2(null, 2);
		}
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	MUST(pid > 0, errno, 0);
	return pid;
}

static void start_mmd(void)
{
	const char *argv[] = { mmd_path, "-c", conf, "--socket", sock, NULL };

	if (mmd_path)
		mmd = start(argv, !getenv("CHAOS_LOUD"));
}

static void start_player(unsigned i)
{
	char hand[8], seed[24];
	const char *argv[] = { self, "play", hand, seed, NULL };

	snprintf(hand, sizeof hand, "%u", i);
	snprintf(seed, sizeof seed, "%lu", (unsigned long)(dice ^ i) >> 8);
	roll(2);
	player[i] = start(argv, false);
}

static void player_ended(pid_t pid, int status)
{
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

	if (board->faulted)
		fprintf(stderr, "chaos: %s\n", board->fault);
	MUST(!board->faulted, pid, status);
	for (unsigned i = 0; i < ATTACHED; i++)
		if (player[i] == pid) {
			/* 3: no room for a slot of its own; it will be started again */
			MUST(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 3), pid, status);
			player[i] = 0;
		}
	for (unsigned i = 0; i < HANDS; i++)
		if (board->hand[i].pid == pid) {
			MUST(killed || status == 0 || i < ATTACHED, pid, status);
			stopped_until[i] = 0;
			atomic_store(&board->hand[i].pid, 0);
		}
	MUST(killed || WIFEXITED(status), pid, status);	/* also those without a hand: nobody ends by another signal */
}

static void bury(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == mmd) {
			MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, pid, status);
			mmd = 0;
		} else if (pid == mmctl) {
			/* 10 of check is damage; 3 and 5 are a daemon that is not there */
			MUST(WIFEXITED(status) && !(checking && WEXITSTATUS(status) == 10), pid, status);
			mmctl = 0;
		} else {
			player_ended(pid, status);
		}
	}
}

static pid_t pid_of_hand(unsigned i) { return (pid_t)atomic_load(&board->hand[i].pid); }

static void go_on(unsigned i)
{
	pid_t pid = pid_of_hand(i);

	if (stopped_until[i] && pid > 0)
		kill(pid, SIGCONT);
	stopped_until[i] = 0;
}

/* ---- what happens to them ---- */

static void room(bool some)
{
	char path[128];
	struct statvfs fs;
	int fd;

	atomic_store(&board->no_room, !some && roll(2));
	if (!own_tmpfs)
		return;
	snprintf(path, sizeof path, "%s/balloon", registry);
	unlink(path);
	if (some || statvfs(registry, &fs) || (fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) == -1)
		return;
	(void)!fallocate(fd, 0, 0, (off_t)(fs.f_bavail * fs.f_bsize - (roll(3) * 65536)) + 1);
	close(fd);
}

static void look_on(void)
{
	static const char *const verbs[][2] = { { "status", NULL }, { "stats", "shm" }, { "check", "shm" },
						{ "leaks", "shm" }, { "summary", "shm" }, { "failures", NULL } };
	unsigned k = roll(sizeof verbs / sizeof verbs[0]);
	const char *argv[] = { mmctl_path, "-s", sock, "-o", "json", verbs[k][0], verbs[k][1], NULL };

	if (!mmctl_path || mmctl)
		return;
	mmctl = start(argv, !getenv("CHAOS_LOUD"));
	checking = verbs[k][0][0] == 'c';
	count.looks++;
}

static void strike(int64_t now)
{
	unsigned i = roll(HANDS);
	pid_t pid;

	while (i < HANDS - 1 && pid_of_hand(i) <= 0)
		i++;
	pid = pid_of_hand(i);
	if (pid > 0 && roll(100) < 45) {
		kill(pid, SIGKILL);
		count.kills++;
	} else if (pid > 0 && !stopped_until[i] && roll(2)) {
		stopped_until[i] = now + 1 + roll(40);
		kill(pid, SIGSTOP);
		count.stops++;
	}
	for (i = 0; i < HANDS; i++)
		if (stopped_until[i] && stopped_until[i] <= now)
			go_on(i);
	for (i = 0; i < ATTACHED; i++)
		if (!player[i])
			start_player(i);
	if (now >= mmd_at) {
		if (mmd > 0) {
			kill(mmd, SIGKILL);
			count.mmd_kills++;
		} else {
			start_mmd();
		}
		mmd_at = now + 50 + roll(mmd > 0 ? 600 : 300);
	}
	if (now >= mmctl_at) {
		look_on();
		mmctl_at = now + 50 + roll(100);
	}
	if (now >= room_at) {
		room(board->no_room || roll(3));
		room_at = now + 20 + roll(200);
	}
}

/* Everybody stands still, or is dead. */
static void stand_still(void)
{
	int64_t end = now_ms() + 20000;
	bool still;

	atomic_store(&board->pause, 1);
	do {
		still = true;
		bury();
		for (unsigned i = 0; i < HANDS; i++) {
			pid_t pid = pid_of_hand(i);

			go_on(i);
			still &= pid <= 0 || atomic_load(&board->hand[i].parked);
		}
		/* those who have no hand yet are on their way to it; who has died is waited for first */
		for (unsigned i = 0; i < ATTACHED; i++)
			still &= player[i] <= 0 || pid_of_hand(i) == player[i];
		MUST(now_ms() < end, board->hand[0].pid, board->hand[0].parked);
		nap_us(500);
	} while (!still);
}

/* ---- the referee ---- */

struct sums { uint64_t used, fragments, free, free_fragments, largest; };

static bool add(const struct mem_frag *f, void *arg)
{
	struct sums *s = arg;

	*(f->used ? &s->used : &s->free) += f->size;
	++*(f->used ? &s->fragments : &s->free_fragments);
	if (!f->used && f->size > s->largest)
		s->largest = f->size;
	return true;
}

static const char *wrong;
static void on_fault(const struct mem_fault *f, void *arg) { (void)arg; wrong = f->what; }

static void check_heap(struct pool *p, struct sums *ret_sums)
{
	const struct meta_counters *c = &p->live->counters;
	struct sums s = { 0 };

	p->heap.len = c->committed;
	wrong = NULL;
	MUST(p->live->state != POOL_DAMAGED, 0, 0);
	MUST(p->ops->walk(&p->heap, 0, UINT32_MAX, add, &s) == 0, 0, 0);
	p->ops->check(&p->heap, on_fault, NULL);
	if (wrong)
		fprintf(stderr, "chaos: %s\n", wrong);
	MUST(!wrong, 0, 0);
	MUST(s.used == c->used, s.used, c->used);
	MUST(s.fragments == c->fragments, s.fragments, c->fragments);
	MUST(s.free == c->tally.free_bytes, s.free, c->tally.free_bytes);
	MUST(s.free_fragments == c->tally.free_fragments, s.free_fragments, c->tally.free_fragments);
	*ret_sums = s;
}

static struct entry { uint64_t address, usable; uint32_t shard, slot; unsigned held; } ledger[LEDGER_MOST];
static size_t entries;

static int by_address(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

/*
 * Fragments that a killed call had out of its chain, or not yet in it, as long as nobody has buried it: their records
 * say CACHED, and no chain counts them. At most one a slot.
 */
static uint64_t on_the_way(const struct pool *p)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < p->live->slots_used; i++) {
		const struct meta_magazines *m = slot_magazines(p, i);
		const struct meta_record *r = &p->records[OP_RECORD(m->op)];
		const uint64_t *pair, class = RECORD_USABLE(r->sizes) / 16 - 1;

		if (OP_KIND(m->op) != OP_ALLOC && OP_KIND(m->op) != OP_FREE)
			continue;
		if (r->address & RECORD_FREE || !(r->owner >> 48 & RECORD_CACHED))
			continue;
		/* of a free that has come to nothing it may lie in the magazine of another */
		if (OP_KIND(m->op) == OP_FREE && (r->owner >> 32 & 0xffff) != i)
			continue;
		pair = m->of[class < MAGAZINE_CLASSES ? class : 0];	/* else it is in none, whichever */
		n += !(MAGAZINE_COUNT(pair[0]) && MAGAZINE_HEAD(pair[0]) == OP_RECORD(m->op)) &&
		     !(MAGAZINE_COUNT(pair[1]) && MAGAZINE_HEAD(pair[1]) == OP_RECORD(m->op));
	}
	return n;
}

static void read_ledger(struct pool *p, uint32_t shard)
{
	const struct meta_counters *c = &p->live->counters;
	uint64_t live = 0, free_ones = 0;

	for (uint64_t i = 0; i < c->records_used; i++) {
		const struct meta_record *r = &p->records[i];

		if (r->address & RECORD_FREE || !r->address || r->owner >> 48 & RECORD_CACHED)
			continue;
		live++;
		MUST(entries < LEDGER_MOST, 0, 0);
		ledger[entries++] =
			(struct entry){ r->address, RECORD_USABLE(r->sizes), shard, r->owner >> 32 & 0xffff, 0 };
	}
	for (uint64_t i = c->records_free; i; i = p->records[i - 1].sizes)
		MUST(++free_ones <= c->records_used && p->records[i - 1].address & RECORD_FREE, i, free_ones);
	MUST(live + CACHED_COUNT(slot_cached(p)) + on_the_way(p) == c->fragments,
	     live + CACHED_COUNT(slot_cached(p)), c->fragments - on_the_way(p));
}

static struct entry *find(uint64_t address)
{
	return bsearch(&(struct entry){ .address = address }, ledger, entries, sizeof *ledger, by_address);
}

/* Of one word of the board. */
static void account_held(uint64_t word)
{
	struct entry *e = find((uintptr_t)CELL_AT(word));
	const struct block *b = CELL_AT(word);
	const char *what;

	MUST(e, word, 0);		/* else it is lost: held, and not in the ledger */
	MUST(!e->held++, word, b->serial);	/* else two hold it */
	what = block_wrong(b, UINT64_MAX);
	if (what)
		fprintf(stderr, "chaos: %s\n", what);
	MUST(!what && b->size + TAIL_BYTES <= e->usable, word, b->size);
}

static bool doubted(uint64_t address)
{
	for (unsigned i = 0; i < HANDS; i++)
		for (unsigned k = 0; k < CELLS; k++) {
			uint64_t word = board->hand[i].cell[k];

			if (CELL_STATE(word) != HELD && (uintptr_t)CELL_AT(word) == address)
				return true;
		}
	return false;
}

/* What nobody holds, though its owner lives. */
static void tell(const struct entry *e)
{
	const struct block *b = (const void *)(uintptr_t)e->address;
	uint64_t state = pool_slot(&mem_shm_pools[e->shard], e->slot)->state;

	fprintf(stderr, "chaos: %#lx, %lu bytes, serial %#lx, size %lu, of slot %u, state %u generation %u pid %d\n",
		(unsigned long)e->address, (unsigned long)e->usable, (unsigned long)b->serial, (unsigned long)b->size,
		e->slot, SLOT_STATE(state), SLOT_GEN(state), SLOT_PID(state));
	for (unsigned i = 0; i < HANDS; i++)
		fprintf(stderr, " %u:%ld/%u/%lu", i, (long)board->hand[i].pid, board->hand[i].parked,
			(unsigned long)board->hand[i].serial);
	fputc('\n', stderr);
}

/* Nobody moves, and we have the lock: what is held, what is in doubt, and what the dead had in their hands. */
static void referee(void)
{
	unsigned long orphans = 0, doubts = 0;
	struct sums sums;

	shm_lock();
	entries = 0;
	for (unsigned k = 0; k < mem_shm_shards; k++) {
		check_heap(&mem_shm_pools[k], &sums);
		read_ledger(&mem_shm_pools[k], k);
	}
	qsort(ledger, entries, sizeof *ledger, by_address);
	for (size_t i = 1; i < entries; i++)		/* no two of them share a byte */
		MUST(ledger[i - 1].address + ledger[i - 1].usable <= ledger[i].address, ledger[i - 1].address,
		     ledger[i].address);
	for (unsigned i = 0; i < HANDS; i++)
		for (unsigned k = 0; k < CELLS; k++) {
			uint64_t word = board->hand[i].cell[k];

			if (CELL_STATE(word) == HELD)
				account_held(word);
			else
				doubts += CELL_STATE(word) != EMPTY;
		}
	for (unsigned i = 0; i < MAILS; i++)
		if (board->mail[i] != EMPTY)
			account_held(board->mail[i]);
	find((uintptr_t)board)->held = 1;
	for (size_t i = 0; i < entries; i++) {
		const struct entry *e = &ledger[i];

		if (e->held)
			continue;
		if (!slot_gone(&mem_shm_pools[e->shard], e->slot) && !doubted(e->address))
			tell(e);
		MUST(slot_gone(&mem_shm_pools[e->shard], e->slot) || doubted(e->address), e->address, e->slot);
		shm_free_unsafe((void *)(uintptr_t)e->address);
		orphans++;
	}
	for (unsigned i = 0; i < HANDS; i++)
		for (unsigned k = 0; k < CELLS; k++)
			if (CELL_STATE(board->hand[i].cell[k]) != HELD)
				board->hand[i].cell[k] = EMPTY;
	for (unsigned k = 0; k < mem_shm_shards; k++)
		check_heap(&mem_shm_pools[k], &sums);
	shm_unlock();
	count.orphans += orphans;
	count.doubts += doubts;
	/* a killed process had one call under way, which had at most one new block and one old */
	MUST(count.orphans <= 2 * (count.kills + board->forks + ATTACHED), count.orphans, count.kills);
}

/* Everything that the pool may have is committed, and free but for the board. */
static uint64_t largest_when_empty(void)
{
	uint64_t largest = 0;
	void *last = NULL, *p;
	struct sums s;

	while ((p = shm_malloc(65000))) {
		*(void **)p = last;
		last = p;
	}
	for (; last; last = p) {
		p = *(void **)last;
		shm_free(last);
	}
	shm_lock();
	for (unsigned k = 0; k < mem_shm_shards; k++) {
		check_heap(&mem_shm_pools[k], &s);
		largest += s.largest;
	}
	shm_unlock();
	return largest;
}

static void begin(void)
{
	int64_t end = now_ms() + 10000;
	int rc;

	if (mmd_path) {
		start_mmd();
		while ((rc = shm_attach("chaos")) == -ENOENT && now_ms() < end)
			nap_us(5000);
	} else {
		rc = shm_create("chaos", POOL_MB << 20);
	}
	if (rc)
		fprintf(stderr, "chaos: %s\n", memapi_error());
	MUST(rc == 0, rc, 0);
	board = shm_mallocxz(sizeof *board);
	MUST(board && shm_root_set("board", board) == 0, 0, 0);
}

static void end(uint64_t largest)
{
	struct owner *own;
	struct sums s = { 0 };
	uint64_t used = 0, now;
	int status;

	room(true);
	atomic_store(&board->pause, 0);
	kill_all();
	for (unsigned i = 0; i < HANDS; i++)
		atomic_store(&board->hand[i].pid, 0);
	referee();
	for (unsigned i = 0; i < HANDS; i++)
		for (unsigned k = 0; k < CELLS; k++)
			if (board->hand[i].cell[k] != EMPTY)
				shm_free(CELL_AT(board->hand[i].cell[k]));
	for (unsigned i = 0; i < MAILS; i++)
		if (board->mail[i] != EMPTY)
			shm_free(CELL_AT(board->mail[i]));
	now = largest_when_empty();
	MUST(mem_shm_ready(&own), 0, 0);
	for (unsigned k = 0; k < mem_shm_shards; k++) {
		struct pool *p = &mem_shm_pools[k];

		check_heap(p, &s);
		used += s.fragments;
		slot_reap(p, own);
		for (uint32_t i = 0; i < p->live->slots_used; i++) {
			unsigned state = SLOT_STATE(atomic_load(&pool_slot(p, i)->state));

			MUST(state == SLOT_FREE || slot_is_ours(p, i), i, state);
		}
	}
	MUST(used == 1, used, 0);		/* the board */
	MUST(now >= largest, now, largest);
	MUST(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD, 0, 0);
}

static void rounds(int64_t until)
{
	while (now_ms() < until) {
		int64_t next = now_ms() + ROUND_MS, now;

		while ((now = now_ms()) < next) {
			bury();
			strike(now);
			nap_us(200 + roll(1500));
		}
		room(true);
		stand_still();
		referee();
		count.rounds++;
		atomic_store(&board->pause, 0);
	}
}

static int usage(void)
{
	fputs("usage: chaos MANAGER SECONDS [SEED] [MMD MMCTL] | chaos play HAND SEED\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t seed, largest;
	struct timespec ts;

	if (argc < 3)
		return usage();
	if (strcmp(argv[1], "play") == 0)
		return argc < 4 ? usage() : play((unsigned)atoi(argv[2]), strtoull(argv[3], NULL, 10));
	self = argv[0];
	clock_gettime(CLOCK_REALTIME, &ts);
	seed = argc > 3 && atoll(argv[3]) ? strtoull(argv[3], NULL, 10) : (uint64_t)ts.tv_nsec;
	mmd_path = argc > 5 ? argv[4] : NULL;
	mmctl_path = argc > 5 ? argv[5] : NULL;
	dice = seed * 2 + 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	make_place(argv[1]);
	printf("chaos %s: seed %lu, %s s, %s\n", argv[1], (unsigned long)seed, argv[2],
	       own_tmpfs ? "tmpfs of its own" : "no tmpfs of its own: fallocate() refuses");
	begin();
	largest = largest_when_empty();
	rounds(now_ms() + atoll(argv[2]) * 1000);
	end(largest);
	printf("chaos %s: %lu rounds, %lu kills, %lu stops, %lu forked, mmd killed %lu times, %lu looks; %lu allocations, "
	       "%lu frees, %lu reallocs, %lu mails, %lu without memory, %lu closed all; %lu doubts, %lu orphans, %lu takeovers, "
	       "%lu rollbacks: all accounted for\n",
	       argv[1], count.rounds, count.kills, count.stops, (unsigned long)board->forks, count.mmd_kills,
	       count.looks, (unsigned long)board->allocs, (unsigned long)board->frees, (unsigned long)board->moves,
	       (unsigned long)board->mails, (unsigned long)board->nulls, (unsigned long)board->closed, count.doubts,
	       count.orphans, (unsigned long)mem_shm_pool.live->takeovers, (unsigned long)mem_shm_pool.live->rollbacks);
	clean_up();
	return 0;
}
