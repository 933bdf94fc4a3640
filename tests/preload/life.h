/* SPDX-License-Identifier: BSD-2-Clause */
/* What life.c and its library share: memory from moments at which other programs have none. */
#ifndef PRELOAD_LIFE_H
#define PRELOAD_LIFE_H

enum { MOMENTS = 4 };
/** From an IRELATIVE resolver, a constructor, a thread-local's first use; the program adds its own. */
extern char *moments[MOMENTS];
int resolved(void);
int *local(void);

#endif
