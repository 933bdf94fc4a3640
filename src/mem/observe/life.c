/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which owners live, and what state a pool is in because of it.
 *
 * Two proofs of death, as everywhere: the life mutex of a slot, which the kernel marks when its owner ends; and pid
 * with start time, within one pid namespace. A foreign namespace's pids mean nothing here and are never judged by
 * ESRCH.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/observe/peek.h"

#define LIFE_DIED 0x40000000u		/* FUTEX_OWNER_DIED */
#define LIFE_TID 0x3fffffffu		/* FUTEX_TID_MASK */

/** Contents of /proc/PID/NAME, ended with 0; false: not there, or not for us. */
static bool proc_file(int64_t pid, const char *name, char *buf, size_t room)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%lld/%s", (long long)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	n = read(fd, buf, room - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/** Field `want` of a stat line, counted as proc(5) does; the command in field 2 may hold anything, also ") ". */
static uint64_t stat_field(const char *stat, unsigned want)
{
	const char *s = strrchr(stat, ')');

	for (unsigned field = 2; s && field < want; field++) {
		s = strchr(s, ' ');
		s = s ? s + 1 : NULL;
	}
	return s ? strtoull(s, NULL, 10) : 0;
}

bool peek_process_lives(int64_t pid, uint64_t start_time)
{
	char stat[1024];
	const char *paren;
	uint64_t started;

	if (pid < 1 || pid > INT32_MAX)
		return false;
	if (kill((pid_t)pid, 0) == -1 && errno == ESRCH)
		return false;
	if (!proc_file(pid, "stat", stat, sizeof stat))
		return kill((pid_t)pid, 0) == 0 || errno == EPERM;	/* hidden from us */
	paren = strrchr(stat, ')');
	/* A dead process whose parent did not ask yet; but a leader that ended before its threads lives on in them. */
	if (paren && (paren[1] == ' ' && (paren[2] == 'Z' || paren[2] == 'X')) && stat_field(stat, 20) <= 1)
		return false;
	started = stat_field(stat, 22);
	return !start_time || !started || started == start_time;
}

/**
 * A pool's file names any pid it likes, and who made it need not have the right to look into that process: one of the
 * process's user ids must be the file's owner, unless root made the file.
 */
static bool same_user(const struct obs_pool *p)
{
	char status[4096];
	const char *s;
	unsigned long long id[3];

	if (p->owner == 0)
		return true;
	if (!proc_file(p->id.pid, "status", status, sizeof status) || !(s = strstr(status, "\nUid:")))
		return false;
	if (sscanf(s + 5, "%llu %llu %llu", &id[0], &id[1], &id[2]) != 3)
		return false;
	return id[0] == p->owner || id[1] == p->owner || id[2] == p->owner;
}

bool peek_slot(struct obs_pool *p, uint32_t i, struct meta_slot *ret_slot)
{
	return p->key.domain == OBS_SHM && i < SLOTS_MAX &&
	       peek_meta(p, META_SLOTS + (uint64_t)i * SLOT_BYTES, ret_slot, offsetof(struct meta_slot, log)) == 0;
}

bool peek_slot_lives(struct obs_pool *p, const struct meta_slot *slot)
{
	uint64_t word = slot->state;
	int32_t pid = SLOT_PID(word);
	uint32_t life;

	if (SLOT_STATE(word) == SLOT_CLAIMING)		/* its owner has told no more than this word */
		return SLOT_SPACE(word) != (p->o->pid_namespace & 0x3ff) || (pid > 0 && peek_process_lives(pid, 0));
	if (SLOT_STATE(word) != SLOT_LIVE)
		return false;
	memcpy(&life, &slot->life, sizeof life);
	if (!slot->observer && (life & LIFE_DIED))
		return false;
	if (slot->pid_namespace != p->o->pid_namespace)
		return true;
	if (pid <= 0 || (kill(pid, 0) == -1 && errno == ESRCH))
		return false;
	/* Held and not marked: the kernel would have marked it, whoever has the pid now. */
	return (!slot->observer && (life & LIFE_TID)) || peek_process_lives(pid, slot->start_time);
}

void peek_crowd(struct obs_pool *p, uint64_t slots_used, struct peek_crowd *ret_crowd)
{
	struct peek_crowd c = { 0 };
	struct meta_slot slot;

	for (uint32_t i = 0; i < slots_used && peek_slot(p, i, &slot); i++) {
		if (slot.observer && SLOT_STATE(slot.state) != SLOT_CLAIMING)
			continue;		/* a daemon: reading is not using, and it leaves nothing */
		if (peek_slot_lives(p, &slot))
			c.living++;
		else if (SLOT_STATE(slot.state) == SLOT_LIVE || SLOT_STATE(slot.state) == SLOT_DEAD) {
			c.dead++;
			c.maker_died |= SLOT_PID(slot.state) == p->id.pid && slot.start_time == p->id.start_time;
		}
	}
	*ret_crowd = c;
}

/** An exec left the process but took its heap. Where we may not look, the heap is taken to be there. */
static bool pkg_heap_there(struct obs_pool *p)
{
	uint64_t at = p->id.size ? p->id.base : p->id.roots, word;

	return !at || !same_user(p) || peek_bytes(p, at, &word, sizeof word) != -EFAULT;
}

/** The process went on without it, by an exec: it made a heap again. */
static bool pkg_made_another(const struct obs_pool *p)
{
	const struct obs *o = p->o;

	for (size_t i = 0; i < o->pools; i++) {
		const struct obs_pool *q = o->pool[i];

		if (q->key.domain == OBS_PKG && q->id.pid == p->id.pid && q->id.start_time == p->id.start_time &&
		    q->id.pid_namespace == p->id.pid_namespace && q->key.incarnation > p->key.incarnation)
			return true;
	}
	return false;
}

static enum obs_state pkg_state(struct obs_pool *p)
{
	if (p->info.foreign)
		return OBS_LIVE;
	if (!peek_process_lives(p->id.pid, p->id.start_time))
		return p->id.start_time && pkg_made_another(p) ? OBS_EXITED : OBS_CRASHED;
	return pkg_heap_there(p) ? OBS_LIVE : OBS_EXITED;
}

static enum obs_state shm_state(struct obs_pool *p, uint64_t state, const struct peek_crowd *crowd)
{
	if (!p->info.hosted && !crowd->living && !p->info.foreign &&
	    (crowd->maker_died || !peek_process_lives(p->id.pid, p->id.start_time)))
		return crowd->dead ? OBS_CRASHED : OBS_EXITED;
	return state == POOL_DRAINING ? OBS_DRAINING : OBS_LIVE;
}

enum obs_state peek_state(struct obs_pool *p, const struct meta_live *live, const struct peek_crowd *crowd)
{
	uint64_t state = live->state;

	if (state == POOL_DAMAGED)
		return OBS_DAMAGED;
	if (state == POOL_EXITED)
		return OBS_EXITED;
	return p->key.domain == OBS_PKG ? pkg_state(p) : shm_state(p, state, crowd);
}

int peek_heap_there(struct obs_pool *p)
{
	struct meta_live live;
	int e;

	if (p->key.domain == OBS_SHM)
		return 0;
	e = peek_live(p, &live);
	if (e)
		return e == -ENODATA ? -EUCLEAN : e;
	if (p->info.foreign)
		return -EACCES;
	if (live.state == POOL_EXITED || !peek_process_lives(p->id.pid, p->id.start_time))
		return -ESRCH;
	if (!same_user(p))
		return -EACCES;
	return pkg_heap_there(p) ? 0 : -ESRCH;
}
