#include "daemon/service.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/monitor.h"
#include "daemon/settings.h"
#include "daemon/version.h"

#define STATUS_EVERY_US (10 * TIME_S)
#define PUBLISH_EVERY_US (TIME_S / 2)

static volatile sig_atomic_t stop_asked;
static volatile sig_atomic_t reload_asked;

struct service {
    struct conf *conf;
    const struct conf_option *const *tables;
    int argc;
    char **argv;
    struct service_hooks hooks;
    struct monitor *monitor;
    bool ready;
    int64_t status_us, published_us, watchdog_us;
    int64_t watchdog_every_us; /* 0: systemd does not watch */
    uint64_t reloads, reloads_refused;
};

static void on_signal(int number)
{
    if (number == SIGHUP) {
        reload_asked = 1;
    } else {
        stop_asked = 1;
    }
}

static void install_handlers(void)
{
    const struct sigaction ours = {.sa_handler = on_signal};
    const struct sigaction ignored = {.sa_handler = SIG_IGN};
    stop_asked = 0;
    reload_asked = 0;
    sigaction(SIGTERM, &ours, NULL);
    sigaction(SIGINT, &ours, NULL);
    sigaction(SIGHUP, &ours, NULL);
    sigaction(SIGPIPE, &ignored, NULL);
}

static void set_log_level(const struct conf *c)
{
    log_set_level((enum log_level)log_level_find(conf_text(c, "log-level")));
}

enum err service_create(struct conf *c, const struct conf_option *const *tables, int argc,
                        char **argv, const char *listen_option, const struct service_hooks *hooks,
                        struct service **out, struct errmsg *e)
{
    struct service *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "cannot start: no memory");
    }
    s->conf = c;
    s->tables = tables;
    s->argc = argc;
    s->argv = argv;
    s->hooks = *hooks;
    install_handlers();
    set_log_level(c);
    uint64_t watchdog_us = 0;
    if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
        s->watchdog_every_us = (int64_t)(watchdog_us / 3);
    }
    const char *address = conf_text(c, listen_option);
    enum err err =
        monitor_create(address, conf_duration_us(c, "http.stall"), progress_now_us, &s->monitor, e);
    if (err != ERR_OK) {
        service_free(s);
        return err_prefix(e, err, "%s", listen_option);
    }
    if (address[0] != '\0') {
        log_line(FD_LOG_INFO, "serving", "%s=%s port=%u", listen_option, address,
                 monitor_port(s->monitor));
    }
    s->status_us = progress_now_us();
    *out = s;
    return ERR_OK;
}

void service_free(struct service *s)
{
    if (s != NULL) {
        monitor_free(s->monitor);
        free(s);
    }
}

static void publish(struct service *s)
{
    char revision[16];
    struct metrics_page *p = monitor_page(s->monitor);
    s->hooks.fill(s->hooks.ctx, p);
    snprintf(revision, sizeof revision, "%d", FD_DECISION_REVISION);
    metrics_put(p, METRIC_BUILD, 1, version_revision(), revision);
    metrics_put(p, METRIC_READY, p->ready);
    metrics_put(p, METRIC_RELOADS, (double)s->reloads, "done");
    metrics_put(p, METRIC_RELOADS, (double)s->reloads_refused, "refused");
    monitor_publish(s->monitor);
}

static void log_status(struct service *s)
{
    char line[1024] = "";
    s->hooks.status(s->hooks.ctx, line, sizeof line);
    log_line(FD_LOG_INFO, "status", "%s", line);
    sd_notifyf(0, "STATUS=%s", line);
}

/* What every turn and every wait does. */
static void tend(struct service *s)
{
    int64_t now_us = progress_now_us();
    monitor_alive(s->monitor);
    if (s->watchdog_every_us > 0 && now_us - s->watchdog_us >= s->watchdog_every_us) {
        sd_notify(0, "WATCHDOG=1");
        s->watchdog_us = now_us;
    }
    if (!s->ready) {
        return;
    }
    if (now_us - s->published_us >= PUBLISH_EVERY_US) {
        publish(s);
        s->published_us = now_us;
    }
    if (now_us - s->status_us >= STATUS_EVERY_US) {
        log_status(s);
        s->status_us = now_us;
    }
}

/* A value for a log line. */
static const char *shown(const struct conf_change *c, const char *text, char *out, size_t size)
{
    if (text == NULL) {
        return "none";
    }
    return (c->flags & CONF_SECRET) != 0 ? "(hidden)" : log_quote(out, size, text);
}

static void log_change(void *ctx, const struct conf_change *c)
{
    char was[256];
    char is[256];
    int *restarts = ctx;
    bool reloaded = (c->flags & CONF_RELOAD) != 0;
    *restarts += !reloaded;
    log_line(reloaded ? FD_LOG_INFO : FD_LOG_WARN, reloaded ? "setting_changed" : "setting_waits",
             "name=%s was=%s is=%s%s", c->name, shown(c, c->was, was, sizeof was),
             shown(c, c->is, is, sizeof is),
             reloaded ? "" : " detail=\"in force after a restart only\"");
}

static void reload(struct service *s)
{
    struct conf *fresh = NULL;
    struct errmsg e = {""};
    char quoted[600];
    int restarts = 0;
    sd_notify(0, "RELOADING=1");
    enum err err = settings_load(s->tables, s->argc, s->argv, &fresh, NULL, &e);
    if (err == ERR_OK) {
        conf_adopt(s->conf, fresh, CONF_RELOAD);
        err = s->hooks.apply(s->hooks.ctx, s->conf, &e);
        conf_adopt(s->conf, fresh, CONF_RELOAD); /* back: to compare, or for good */
    }
    if (err == ERR_OK) {
        conf_compare(s->conf, fresh, log_change, &restarts);
        conf_adopt(s->conf, fresh, CONF_RELOAD);
        set_log_level(s->conf);
        s->reloads++;
        log_line(FD_LOG_INFO, "reloaded", "need_restart=%d", restarts);
    } else {
        s->reloads_refused++;
        log_line(FD_LOG_ERROR, "reload_refused", "detail=%s",
                 log_quote(quoted, sizeof quoted, e.text));
    }
    conf_free(fresh);
    sd_notify(0, "READY=1");
}

void service_ready(struct service *s)
{
    s->ready = true;
    sd_notify(0, "READY=1");
}

void service_turn(struct service *s)
{
    tend(s);
    if (reload_asked && s->ready) {
        reload_asked = 0;
        reload(s);
    }
}

bool service_wait(struct service *s)
{
    tend(s);
    return !stop_asked;
}

bool service_stopping(const struct service *s)
{
    (void)s;
    return stop_asked != 0;
}

void service_stopped(struct service *s)
{
    sd_notify(0, "STOPPING=1");
    if (s->ready) {
        log_status(s);
    }
}

int service_exit_code(enum err code)
{
    return code == ERR_INVALID ? EXIT_CONFIG : cmd_exit_code(code);
}
