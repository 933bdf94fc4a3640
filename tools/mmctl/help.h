/* SPDX-License-Identifier: BSD-2-Clause */
/* Help texts for --help, wherever it stands. */
#ifndef MMCTL_HELP_H
#define MMCTL_HELP_H

#include "mmctl.h"

void help_all(FILE *out);
void help_verb(FILE *out, const struct verb *v);

#endif /* MMCTL_HELP_H */
