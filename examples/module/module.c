/* SPDX-License-Identifier: BSD-2-Clause */
/* What makes a module of stack.c: its three builds, and the one symbol that libmemapi looks for. */
#include <memapi/module.h>

extern const struct mem_manager_ops stack_pkg_ops, stack_shm_ops, stack_view_ops;

MEM_MODULE(.name = "stack", .summary = "a stack: for programs that free in the reverse order of allocation",
	   .domains = MEM_PKG | MEM_SHM, .flags = MEM_ALIGN16,
	   .pkg = &stack_pkg_ops, .shm = &stack_shm_ops, .view = &stack_view_ops);
