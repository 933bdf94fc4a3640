/* SPDX-License-Identifier: BSD-2-Clause */
/* What the examples of the public headers speak of without declaring it. */
#ifndef TESTS_CONTEXT_H
#define TESTS_CONTEXT_H

#include <memapi/memapi.h>
#include <stdio.h>

static inline void write_to_my_log(const struct mem_fault_report *report) { fprintf(stderr, "%s\n", report->text); }

#endif
