/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmd: options, start, signals, end.
 *
 *	options ─> configuration (exit 2 when it is wrong) ─> the socket's lock (exit 1 when taken)
 *	─> own heap ─> registry, hosted pools, listens ─> READY=1 ─> loop ─> SIGTERM, SIGINT: in order, exit 0
 *	                                                                 └> restart: exec of itself, same socket
 *
 * Nothing is created before the configuration was found good.
 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ctl/behind.h"
#include "ctl/client.h"
#include "ctl/memory.h"
#include "daemon/aside.h"
#include "daemon/choice.h"
#include "daemon/commit.h"
#include "daemon/costs.h"
#include "daemon/daemon.h"
#include "daemon/hosted.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/sample.h"
#include "daemon/watch.h"
#include "memapi/memapi.h"
#include "memapi/memcore.h"

enum { EXIT_BAD_CONF = 2, LEAVE_MS = 1000 };
enum { KEY_SOCKET = 256, KEY_CHECK, KEY_COSTS };

/* argp looks for this name. */
__attribute__((visibility("default"))) const char *argp_program_version = "mmd " MMD_VERSION;

static const struct argp_option options[] = {
	{ "config", 'c', "FILE", 0, "read FILE instead of the user's or system's mmd.conf", 0 },
	{ "socket", KEY_SOCKET, "PATH", 0, "listen at PATH", 0 },
	{ NULL, 'x', "SHM_MANAGER", 0, "manager of shared memory; alone for both domains", 0 },
	{ NULL, 'X', "PKG_MANAGER", 0, "manager of private memory", 0 },
	{ NULL, 'm', "SHM_MB", 0, "megabytes that a shared pool may grow to", 0 },
	{ NULL, 'M', "PKG_MB", 0, "megabytes that a private heap may grow to", 0 },
	{ "check-config", KEY_CHECK, NULL, 0, "say whether the configuration is good, and exit", 0 },
	{ "costs", KEY_COSTS, NULL, 0, "measure what each way of watching costs on this machine, and exit", 0 },
	{ 0 },
};

struct arguments { struct conf_options conf; bool check, costs; };

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;

	switch (key) {
	case 'c':
		a->conf.file = arg;
		return 0;
	case KEY_SOCKET:
		a->conf.socket = arg;
		return 0;
	case 'x':
		a->conf.shm_manager = arg;
		return 0;
	case 'X':
		a->conf.pkg_manager = arg;
		return 0;
	case 'm':
		a->conf.shm_mb = arg;
		return 0;
	case 'M':
		a->conf.pkg_mb = arg;
		return 0;
	case KEY_CHECK:
		a->check = true;
		return 0;
	case KEY_COSTS:
		a->costs = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp parser = {
	.options = options, .parser = parse_option,
	.doc = "Hosts shared memory pools and answers for every memapi heap that it may see, in the foreground."
	       "\vmmctl is its client. Exit codes: 0 ended in order, 1 the socket is in use or something failed, "
	       "2 the command line or the configuration is wrong.",
};

/* ---- memory: the daemon's own heap is one that it shows ---- */

static void *pkg_resize(void *p, size_t size)
{
	if (size)
		return mem_pkg_realloc(p, size, MEM_SITE);
	mem_pkg_free(p, MEM_SITE);
	return NULL;
}

static void *loop_malloc(size_t size) { return mem_pkg_malloc(size, MEM_SITE); }
static void *loop_realloc(void *p, size_t size) { return mem_pkg_realloc(p, size, MEM_SITE); }
static void loop_free(void *p) { mem_pkg_free(p, MEM_SITE); }

/* The library reads the same sources as we did; from the command line it gets what concerns memory. */
static int own_heap(const struct conf_options *o)
{
	char name[] = "mmd", shm[64], pkg[64], shm_mb[64], pkg_mb[64], *argv[6] = { name };
	int argc = 1;

	if (o->file && setenv("MEMAPI_CONFIG", o->file, 1))
		return -ENOMEM;
	if (o->shm_manager && snprintf(shm, sizeof shm, "-x%s", o->shm_manager) > 0)
		argv[argc++] = shm;
	if (o->pkg_manager && snprintf(pkg, sizeof pkg, "-X%s", o->pkg_manager) > 0)
		argv[argc++] = pkg;
	if (o->shm_mb && snprintf(shm_mb, sizeof shm_mb, "-m%s", o->shm_mb) > 0)
		argv[argc++] = shm_mb;
	if (o->pkg_mb && snprintf(pkg_mb, sizeof pkg_mb, "-M%s", o->pkg_mb) > 0)
		argv[argc++] = pkg_mb;
	if (memapi_init(&argc, argv) || !pkg_api())
		return -EINVAL;
	ctl_set_realloc(pkg_resize);
	event_set_mem_functions(loop_malloc, loop_realloc, loop_free);
	return 0;
}

/* ---- configuration ---- */

int daemon_next_conf(const struct daemon *d, struct conf *ret_conf, struct conf_error *ret_error)
{
	return conf_load(&d->opts, choice_is_manager, ret_conf, ret_error);
}

static struct server_limits limits_of(const struct conf *c)
{
	struct server_limits limits = server_limits_default;

	limits.connections = c->max_connections;
	limits.idle_s = c->idle_timeout;
	limits.request_bytes = c->max_request;
	limits.backlog_bytes = c->max_backlog;
	return limits;
}

static gid_t group_of(const struct roles *roles)
{
	return roles->readers != (gid_t)-1 ? roles->readers : roles->operators;
}

static void reload(struct daemon *d)
{
	struct conf_error error;
	struct conf conf;
	struct roles roles;
	struct server_limits limits;

	notify_reloading();
	if (daemon_next_conf(d, &conf, &error) || roles_load(&conf, &roles, error.text, sizeof error.text) ||
	    (group_of(&roles) != group_of(&d->roles) &&
	     listen_give(&d->place, group_of(&roles), error.text, sizeof error.text))) {
		log_line(LOG_ERR, "%s; the configuration stays as it was", error.text);
	} else {
		if (*error.text)
			log_line(LOG_WARNING, "%s", error.text);
		d->conf = conf;
		d->roles = roles;
		limits = limits_of(&conf);
		log_to(!strcmp(conf.log, "syslog"));
		server_limit(d->server, &limits);
		d->program.depth = conf.max_depth;
		sampler_configure(d->sampler);
		hosted_configure(d);
		log_line(LOG_NOTICE, "configuration read again%s%s", *conf.file ? ": " : "", conf.file);
	}
	notify("READY=1");
}

/* ---- signals, restart ---- */

static void on_end(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	(void)what;
	log_line(LOG_NOTICE, "%s: ends", sig == SIGINT ? "SIGINT" : "SIGTERM");
	event_base_loopbreak(d->base);
}

static void on_hangup(evutil_socket_t sig, short what, void *arg)
{
	(void)sig, (void)what;
	reload(arg);
}

static void on_leave(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval soon = { 0, 5000 };
	struct daemon *d = arg;

	(void)fd, (void)what;
	if (server_pending(d->server) && rpc_now() < d->leave_by) {
		event_add(d->leave, &soon);
		return;
	}
	d->restart = true;
	event_base_loopbreak(d->base);
}

void daemon_restart(struct daemon *d)
{
	static const struct timeval soon = { 0, 5000 };

	server_pause(d->server);
	d->leave_by = rpc_now() + LEAVE_MS * 1000000ull;
	event_add(d->leave, &soon);
}

static void on_audit(const struct rpc_call *call)
{
	log_line(LOG_NOTICE, "%s by uid %u pid %jd: %.300s: %s%s%.200s", call->method->name, call->peer->uid,
		 (intmax_t)call->peer->pid, json_object_to_json_string_ext(call->params, JSON_C_TO_STRING_PLAIN),
		 call->error.code ? rpc_code_message(call->error.code) : "done", *call->error.reason ? ": " : "",
		 call->error.reason);
}

/* ---- start ---- */

static rpc_handler *const handlers[] = {
#define METHOD(id, ...) rpc_##id,
#include "ctl/methods.def"
#undef METHOD
};

static enum rpc_role role_of(const struct server_peer *peer, void *arg)
{
	return roles_of(&((struct daemon *)arg)->roles, peer);
}

static void on_cut_off(const struct rpc_peer *peer, size_t bytes, uint64_t ns, void *arg)
{
	(void)arg;
	log_line(LOG_WARNING, "control.max_backlog: uid %u pid %jd is cut off: for %.1f s it has read nothing of %zu bytes", peer->uid,
		 (intmax_t)peer->pid, (double)ns / 1e9, bytes);
}

static bool add_signal(struct daemon *d, struct event **ret, int sig, event_callback_fn fn)
{
	*ret = evsignal_new(d->base, sig, fn, d);
	return *ret && !event_add(*ret, NULL);
}

/* Outside of the loop signals wait: one that comes before its handler is there, or during an exec, would be the end. */
static void hold_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(how, &set, NULL);
}

static void raise_descriptors(void)
{
	struct rlimit r;

	if (!getrlimit(RLIMIT_NOFILE, &r) && r.rlim_cur < r.rlim_max && r.rlim_cur < 4096) {
		r.rlim_cur = r.rlim_max < 4096 ? r.rlim_max : 4096;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* The socket's path, absolute: what status says must be good for others. */
static int socket_path(const struct daemon *d, char ret_path[CLIENT_PATH])
{
	char path[CLIENT_PATH], cwd[CLIENT_PATH];
	int error = client_socket_path(d->opts.socket, d->conf.socket, path);

	if (error)
		return error;
	if (*path == '/' || !getcwd(cwd, sizeof cwd)) {
		memcpy(ret_path, path, sizeof path);
		return 0;
	}
	return snprintf(ret_path, CLIENT_PATH, "%s/%s", cwd, path) < CLIENT_PATH ? 0 : -ENAMETOOLONG;
}

static int own_socket(struct daemon *d)
{
	char path[CLIENT_PATH], why[512];

	if (socket_path(d, path)) {
		log_line(LOG_ERR, "the path of the socket is longer than %d bytes", CLIENT_PATH - 1);
		return -ENAMETOOLONG;
	}
	if (listen_open(path, group_of(&d->roles), &d->place, why, sizeof why)) {
		log_line(LOG_ERR, "%s", why);
		return -EADDRINUSE;
	}
	return 0;
}

static int make_parts(struct daemon *d, struct event *signals[3])
{
	struct server_options server = {
		.limits = limits_of(&d->conf), .program = &d->program, .role = role_of, .cut_off = on_cut_off, .arg = d
	};
	char why[512];
	int error;

	d->base = event_base_new();
	d->leave = d->base ? event_new(d->base, -1, 0, on_leave, d) : NULL;
	if (!d->leave)
		return -ENOMEM;
	if ((error = obs_open(NULL, &d->view.obs)) || (error = jobs_open(d->base)) || (error = aside_open(d)) ||
	    (error = sampler_new(d, &d->sampler)) || (error = watch_open(d)) || (error = hosted_open(d)))
		return error;
	if (!add_signal(d, &signals[0], SIGTERM, on_end) || !add_signal(d, &signals[1], SIGINT, on_end) ||
	    !add_signal(d, &signals[2], SIGHUP, on_hangup))
		return -ENOMEM;
	/* not before: who finds the socket finds the pools */
	error = listen_start(&d->place, group_of(&d->roles), why, sizeof why);
	if (error) {
		log_line(LOG_ERR, "%s", why);
		return error;
	}
	if (group_of(&d->roles) != (gid_t)-1 && listen_give(&d->place, group_of(&d->roles), why, sizeof why))
		log_line(LOG_WARNING, "%s", why);	/* one that was taken over: better to go on than to go */
	return server_new(d->base, d->place.fd, &server, &d->server);
}

static void drop_parts(struct daemon *d, struct event *signals[3])
{
	server_free(d->server);
	jobs_close();
	aside_close();
	costs_free(d->costs);
	sampler_free(d->sampler);
	hosted_close(d);
	watch_close(d);
	obs_close(d->view.obs);
	for (unsigned i = 0; i < 3; i++)
		if (signals[i])
			event_free(signals[i]);
	if (d->leave)
		event_free(d->leave);
	if (d->base)
		event_base_free(d->base);
}

static int serve(struct daemon *d, const char *self)
{
	struct event *signals[3] = { NULL };
	int error;

	d->program = (struct rpc_program){ rpc_methods, RPC_METHODS, handlers, &d->view, d->conf.max_depth, on_audit };
	d->view.d = d;
	d->started = rpc_now();
	error = make_parts(d, signals);
	if (error) {
		log_line(LOG_ERR, "cannot start: %s", strerror(-error));
	} else {
		log_line(LOG_NOTICE, "listens at %s%s%s", d->place.path, *d->conf.file ? ", configured by " : "", d->conf.file);
		notify("READY=1\nSTATUS=ready");
		hold_signals(SIG_UNBLOCK);
		d->costs = costs_start(d->base, self, &d->conf);
		event_base_dispatch(d->base);
		hold_signals(SIG_BLOCK);
		if (d->restart)
			notify_reloading();
		else
			notify("STOPPING=1");
	}
	drop_parts(d, signals);
	return error;
}

/* The program as it was started: after an upgrade that is the new one. */
static void execute_again(struct daemon *d, char **argv, const char *self)
{
	log_line(LOG_NOTICE, "restarts");
	listen_hand_over(&d->place);
	execv(self, argv);
	execv("/proc/self/exe", argv);
	log_line(LOG_ERR, "cannot restart: %s: %s", self, strerror(errno));
	listen_take_back(&d->place);
}

/*
 * Modules are loaded once now, so that `manager list` has no surprises. The loader keeps little room for the
 * thread-local storage of libraries that were made for a program's start; more is asked for by the environment of one.
 */
static void make_room_for_modules(const struct conf *conf, char **argv, const char *self)
{
	mem_modules_load(conf->module_path, NULL, NULL);
	if (mem_modules_make_room())
		execv(self, argv);
}

int main(int argc, char **argv)
{
	static struct daemon d;
	struct arguments args = { .check = false };
	struct conf_error error;
	char self[512] = "";
	bool bad;

	argp_err_exit_status = EXIT_BAD_CONF;
	if (argp_parse(&parser, argc, argv, ARGP_NO_ARGS, NULL, &args))
		return EXIT_BAD_CONF;
	d.opts = args.conf;
	if (readlink("/proc/self/exe", self, sizeof self - 1) == -1)
		snprintf(self, sizeof self, "/proc/self/exe");
	bad = daemon_next_conf(&d, &d.conf, &error);
	make_room_for_modules(&d.conf, argv, self);
	if (bad || roles_load(&d.conf, &d.roles, error.text, sizeof error.text)) {
		log_line(LOG_ERR, "%s", error.text);
		return EXIT_BAD_CONF;
	}
	if (args.check) {
		printf("%s%sgood\n", *d.conf.file ? d.conf.file : "built-in configuration", ": ");
		return 0;
	}
	if (args.costs)
		return costs_measure(&d.conf);
	if (*error.text)
		log_line(LOG_WARNING, "%s", error.text);	/* a stored choice that does not count */
	memcpy(d.now, d.conf.manager, sizeof d.now);
	log_to(!strcmp(d.conf.log, "syslog"));
	ctl_go_behind();
	signal(SIGPIPE, SIG_IGN);
	hold_signals(SIG_BLOCK);
	raise_descriptors();
	if (own_socket(&d))
		return EXIT_FAILURE;
	if (own_heap(&d.opts)) {
		log_line(LOG_ERR, "%s", memapi_error());
		listen_close(&d.place);
		return EXIT_FAILURE;
	}
	if (serve(&d, self)) {
		listen_close(&d.place);
		return EXIT_FAILURE;
	}
	if (d.restart)
		execute_again(&d, argv, self);
	listen_close(&d.place);
	return d.restart ? EXIT_FAILURE : EXIT_SUCCESS;
}
