/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/roles.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static int find_group(const char *place, const char *name, gid_t *ret_gid, char *why, size_t bytes)
{
	const struct group *g;

	if (!*name) {
		*ret_gid = (gid_t)-1;
		return 0;
	}
	g = getgrnam(name);
	if (!g) {
		snprintf(why, bytes, "%s: %s: there is no such group on this system, allowed: a group of /etc/group, or nothing",
			 place, name);
		return -ENOENT;
	}
	*ret_gid = g->gr_gid;
	return 0;
}

int roles_load(const struct conf *conf, struct roles *ret_roles, char *why, size_t bytes)
{
	struct roles roles;
	int error = find_group(conf->group_place, conf->group, &roles.readers, why, bytes);

	if (!error)
		error = find_group(conf->operators_place, conf->operators, &roles.operators, why, bytes);
	if (!error)
		*ret_roles = roles;
	return error;
}

static bool is_member(const struct server_peer *peer, gid_t gid)
{
	if (gid == (gid_t)-1)
		return false;
	for (size_t i = 0; i < peer->groups_count; i++)
		if (peer->groups[i] == gid)
			return true;
	return peer->gid == gid;
}

enum rpc_role roles_of(const struct roles *roles, const struct server_peer *peer)
{
	if (!peer->uid || peer->uid == geteuid())
		return ROLE_ADMIN;
	if (is_member(peer, roles->operators))
		return ROLE_OPERATE;
	return is_member(peer, roles->readers) ? ROLE_READ : ROLE_NONE;
}
