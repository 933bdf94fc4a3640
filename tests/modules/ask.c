/* SPDX-License-Identifier: BSD-2-Clause */
/* ask pkg|shm|any [MANAGER] - allocate; on stdout the manager that serves, or why it does not. "any": no name is given. */
#include <memapi/memapi.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	bool shm = argc > 1 && !strcmp(argv[1], "shm");
	const char *name = argc > 2 ? argv[2] : NULL;
	void *p;

	if (name && (shm ? shm_init_manager(name) : pkg_init_manager(name))) {
		printf("%s\n", memapi_error());
		return 1;
	}
	p = shm ? shm_malloc(100) : pkg_malloc(100);
	if (!p) {
		printf("%s\n", memapi_error());
		return 1;
	}
	printf("%s\n", shm ? shm_api()->mname : pkg_api()->mname);
	shm ? shm_free(p) : pkg_free(p);
	return 0;
}
