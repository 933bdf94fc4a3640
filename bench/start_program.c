/* SPDX-License-Identifier: BSD-2-Clause */
/* The program that start.c starts: START_PKG and START_SHM say what it does before it returns, neither: nothing. */
#ifdef START_LIBRARY
#include <memapi/memapi.h>
#endif

int main(void)
{
#ifdef START_PKG
	void *p = pkg_malloc(64);

	pkg_free(p);
	return !p;
#elif defined START_SHM
	void *p = shm_malloc(64);

	shm_free(p);
	return !p;
#else
	return 0;
#endif
}
