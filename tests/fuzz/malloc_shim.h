/* SPDX-License-Identifier: BSD-2-Clause */
/* What the shim counts, and how it is made to fail. */
#ifndef FUZZ_MALLOC_SHIM_H
#define FUZZ_MALLOC_SHIM_H

#include <stddef.h>

extern size_t shim_pkg_live, shim_shm_live;	/* fragments that were not given back */
extern size_t shim_fail_in;			/* n: the n-th allocation from now fails; 0: none does */

#endif /* FUZZ_MALLOC_SHIM_H */
