/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_BEHIND_H
#define CTL_BEHIND_H

/**
 * The calling thread, and threads and programs that it starts, let those go first that have just woken up: it does not
 * preempt them, and they preempt it at once instead of waiting for the end of its slice. It still gets its share of a
 * busy CPU. Of the default policy only; needs no privilege. Kernels before 6.12 know the first half.
 */
void ctl_go_behind(void);

#endif /* CTL_BEHIND_H */
