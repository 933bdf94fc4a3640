/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/host.h"

#include "ctl/memory.h"
struct host { struct daemon *d; };
int host_new(struct daemon *d, struct host **ret_host)
{
	struct host *h = ctl_zalloc(sizeof *h);
	h->d = d;
	*ret_host = h;
	return 0;
}
void host_free(struct host *h, bool restart) { (void)restart; ctl_free(h); }
void host_configure(struct host *h) { (void)h; }
void host_held_back(const struct daemon *d, const struct obs_info *info, char *text, size_t bytes) { (void)d; (void)info; (void)bytes; *text = 0; }
void host_holders(const struct daemon *d, const struct conf *next, char *text, size_t bytes) { (void)d; (void)next; (void)bytes; (void)text; }
