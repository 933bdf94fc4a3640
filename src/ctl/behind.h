/* SPDX-License-Identifier: BSD-2-Clause */
/* Who observes goes behind those whom it observes: how a thread of mmd or mmctl stays off the CPU that others want. */
#ifndef CTL_BEHIND_H
#define CTL_BEHIND_H

/**
 * The calling thread, and threads and programs that it starts, let those go first that have just woken up: it does not
 * preempt them, and they preempt it at once instead of waiting for the end of its slice. It still gets its share of a
 * busy CPU. Of the default policy only; needs no privilege. Kernels before 6.12 know the first half.
 */
void ctl_go_behind(void);

/**
 * The calling thread offers its CPU, if it has not done so for 50 us: called between small steps of long work. A task
 * that was not preempted at the right moment, or that the kernel picked though others wait, ends its turn here and not
 * at the next tick; that goes for idle priority, too, which gets its 0.3 % of a busy CPU in one piece. Beside who
 * computes all the time it is offered rarer, so that a tenth is lost by it.
 */
void ctl_give_way(void);

#endif /* CTL_BEHIND_H */
