/* SPDX-License-Identifier: BSD-2-Clause */
/* Which pools nobody uses any more, by what is in their files. Exit status 0, or 1 with the line. */
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"
#include "mem/meta/layout.h"
#include "mem/meta/process.h"
#include "mem/meta/slot.h"
#include "mem/reap/reap.h"

static void write_slot(int fd, const struct meta_slot *s)
{
	struct meta_live live = { .slots_used = 1 };

	EXPECT(pwrite(fd, &live, sizeof live, META_LIVE) == sizeof live);
	EXPECT(pwrite(fd, s, sizeof *s, META_SLOTS) == sizeof *s);
}

static uint64_t word(unsigned state, pid_t pid)
{
	return state | (uint64_t)(uint32_t)pid << 32 | (process_self()->pid_namespace & 0x3ff) << 54;
}

static pid_t a_dead_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	EXPECT(waitpid(pid, NULL, 0) == pid);
	return pid;
}

/* Between the claim and LIVE the slot has the start time of its owner before, or none. */
static void who_is_claiming_uses_the_pool(int fd)
{
	struct meta_slot s = { .pid_namespace = process_self()->pid_namespace,
			       .start_time = process_self()->start_time + 1 };

	s.state = word(SLOT_CLAIMING, getpid());
	write_slot(fd, &s);
	EXPECT(!reap_slots_gone(fd));
	s.state = word(SLOT_LIVE, getpid());
	write_slot(fd, &s);
	EXPECT(reap_slots_gone(fd));			/* another process has that pid now */
	s.start_time--;
	write_slot(fd, &s);
	EXPECT(!reap_slots_gone(fd));
	s.state = word(SLOT_CLAIMING, a_dead_pid());
	write_slot(fd, &s);
	EXPECT(reap_slots_gone(fd));
}

int main(void)
{
	int fd = memfd_create("left", MFD_CLOEXEC);

	EXPECT(fd != -1);
	who_is_claiming_uses_the_pool(fd);
	close(fd);
	puts("left: pools of the living are in use");
	return 0;
}
