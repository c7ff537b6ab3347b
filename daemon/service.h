/* What `score` and `sink` have in common as daemons: signals, reload, status pages, status lines,
 * systemd.
 *
 * SIGTERM and SIGINT ask to stop.  SIGHUP reads file, environment and command line again: when all
 * of it is good, the options marked CONF_RELOAD are taken over together, and what else differs is
 * named as needing a restart; otherwise nothing changes and one line says what is wrong and where.
 *
 * One service a process (signals are the process's); one thread. */
#ifndef FD_DAEMON_SERVICE_H
#define FD_DAEMON_SERVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/conf.h"
#include "base/err.h"
#include "daemon/metrics.h"
#include "daemon/options.h"

struct service;

struct service_hooks {
    void *ctx;
    /* Adds the daemon's numbers and sets `ready` and `why`. */
    void (*fill)(void *ctx, struct metrics_page *page);
    /* Writes the status line's key=value pairs. */
    void (*status)(void *ctx, char *out, size_t size);
    /* Takes over the CONF_RELOAD options of c, all of them or (with an error) none. */
    enum err (*apply)(void *ctx, const struct conf *c, struct errmsg *e);
};

/* Installs the signal handlers, sets the log level and serves the pages at the address that option
 * `listen_option` of c names.  c is changed by reloads; tables, argc and argv are what it was made
 * from (all borrowed).  The hooks are called from service_turn and service_wait only, after
 * service_ready.  ERR_REFUSED the address is taken; as monitor_create. */
FD_MUSTCHECK enum err service_create(struct conf *c, const struct conf_option *const *tables,
                                     int argc, char **argv, const char *listen_option,
                                     const struct service_hooks *hooks, struct service **out,
                                     struct errmsg *e);
void service_free(struct service *s);

/* The daemon is built: hooks may be called, systemd is told. */
void service_ready(struct service *s);
/* Call once a turn of the loop: proves life, publishes numbers, logs status, reloads. */
void service_turn(struct service *s);
/* Call every 100 ms or so while waiting inside a turn: all of the above but the reload.  Returns
 * whether to go on waiting: false once a stop is asked for. */
bool service_wait(struct service *s);
bool service_stopping(const struct service *s);
/* The loop has ended: a last status line, systemd is told. */
void service_stopped(struct service *s);

/* The exit code of a daemon's failure: what cmd_exit_code says, but a value that is not allowed
 * came from the configuration by now (EXIT_CONFIG). */
int service_exit_code(enum err code);

#endif
