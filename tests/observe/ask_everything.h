/* SPDX-License-Identifier: BSD-2-Clause */
/* Every question of observe.h to every pool that is believed, in bounded number. */
#ifndef TESTS_OBSERVE_ASK_EVERYTHING_H
#define TESTS_OBSERVE_ASK_EVERYTHING_H

#include "memapi/observe.h"

/** NULL, or what is wrong with an answer: a text that does not end, a sum that does not hold, a list without end. */
const char *ask_everything(struct obs *o);

#endif
