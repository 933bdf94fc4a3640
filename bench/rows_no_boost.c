/* SPDX-License-Identifier: BSD-2-Clause */
/* In the place of rows_boost.cc where Boost's headers are not installed: the row stays, and says so. */
#include "rows.h"

static const char *not_built(const struct row *row, size_t bytes)
{
	(void)row, (void)bytes;
	return "not built: Boost's headers are not installed (libboost-dev)";
}

void row_boost(struct row *row) { *row = (struct row){ "Boost rbtree_best_fit", .setup = not_built, .shared = true }; }
