/* SPDX-License-Identifier: BSD-2-Clause */
/* What the programs in here share: the end of a test that failed, also of a child or a thread; single steps. */
#ifndef TESTS_MAGAZINE_CHECK_H
#define TESTS_MAGAZINE_CHECK_H

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) do {									\
	if (!(what)) {									\
		printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #what);		\
		fflush(stdout);								\
		_exit(1);								\
	}										\
} while (0)

static inline int status_of(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return status;
}

#ifdef STEP_BY_STEP	/* SIGTRAP after each instruction */
enum { TRAP_FLAG = 0x100 };

#define STEP_ON() __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp"	\
				   : : "i"(TRAP_FLAG) : "cc", "memory")
#define STEP_OFF() __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp"	\
				    : : "i"(~TRAP_FLAG) : "cc", "memory")
#endif

#endif /* TESTS_MAGAZINE_CHECK_H */
