/* SPDX-License-Identifier: BSD-2-Clause */
/* The one thing that an observer writes: the word by which an operator asks an owner for other features. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/observe/peek.h"

static uint64_t wish(uint64_t wanted, enum obs_tracking mode)
{
	static const uint64_t of_mode[] = {
		[OBS_OFF] = 0,
		[OBS_SITES] = FEATURE_SITES,
		[OBS_STACKS] = FEATURE_SITES | FEATURE_STACKS,
		[OBS_SAMPLED] = FEATURE_SAMPLED,
	};

	return (wanted & ~(uint64_t)FEATURES_TRACK) | of_mode[mode];
}

static int ask(struct obs_pool *p, enum obs_tracking mode)
{
	const off_t at = META_LIVE + offsetof(struct meta_live, wanted);
	struct stat st;
	uint64_t word;
	int fd, e;

	fd = peek_open(p->dir, p->file, O_RDWR, &st);
	if (fd < 0)
		return fd;
	/* Never make a truncated file longer, never write into another one of this name. */
	if (st.st_dev != p->dev || st.st_ino != p->ino || st.st_size < META_PKG_START)
		e = -ESTALE;
	else if (pread(fd, &word, sizeof word, at) != (ssize_t)sizeof word)
		e = -EIO;
	else {
		word = wish(word, mode);
		e = pwrite(fd, &word, sizeof word, at) == (ssize_t)sizeof word ? 0 : -EIO;
	}
	close(fd);
	return e;
}

int obs_track(struct obs_pool *p, enum obs_tracking mode)
{
	struct obs_stats s;
	int e = obs_counts(p, &s), one;

	if (p->key.domain == OBS_SHM && (mode == OBS_OFF || mode == OBS_SAMPLED))
		return -ENOTSUP;
	if (e)
		return e;
	if (s.state != OBS_LIVE && s.state != OBS_DRAINING)
		return s.state == OBS_DAMAGED ? -EUCLEAN : -ESRCH;
	for (unsigned k = 0; k < p->id.shards; k++) {	/* the others too, when one cannot be asked */
		one = p->shard[k] ? ask(p->shard[k], mode) : -ENOENT;
		e = e ? e : one;
	}
	return e;
}
