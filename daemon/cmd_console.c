/* fraudd console: the analysts' page. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/console.h"
#include "daemon/console_auth.h"
#include "daemon/service.h"
#include "daemon/settings.h"

static const struct conf_option OWN[] = {
    {"grant", CONF_TEXT, 0, NULL, 0, 0,
     "make a token for this analyst, add it to console.tokens, print it and end"},
    {"role", CONF_TEXT, 0, "analyst", 0, 0, "of the new token: analyst, or viewer who only looks"},
    {"valid", CONF_DURATION, 0, "90d", 60, 31622400, "time after which the new token expires"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {SETTINGS_FILE, OWN, SETTINGS, NULL};

static const struct verb VERB = {
    "console", "fraudd console [--config FILE] [OPTIONS]",
    "Serves the analysts' page over the queue in PostgreSQL: the most urgent alerts with their\n"
    "reasons and the card's history, verdicts by key, the day's budget and precision.  Whoever\n"
    "opens it needs a token.  It listens on this machine only unless told otherwise; for others "
    "put\n"
    "an HTTPS proxy before it and name it in console.name.  SIGTERM ends it.",
    "fraudd console --grant ada --console.tokens tokens && \\\n"
    "  fraudd console --console.tokens tokens --database 'host=localhost dbname=fraudd'"};

struct running {
    struct conf *conf;
    struct service *service;
    struct console *console;
};

static void fill(void *ctx, struct metrics_page *page)
{
    const struct running *r = ctx;
    struct console_stats t;
    console_stats(r->console, &t);
    page->ready = true;
    metrics_put(page, METRIC_CONSOLE_REQUESTS, (double)(t.requests - t.refused - t.failed), "ok");
    metrics_put(page, METRIC_CONSOLE_REQUESTS, (double)t.refused, "refused");
    metrics_put(page, METRIC_CONSOLE_REQUESTS, (double)t.failed, "failed");
    metrics_put(page, METRIC_CONSOLE_LOGINS, (double)t.logins, "done");
    metrics_put(page, METRIC_CONSOLE_LOGINS, (double)t.logins_refused, "refused");
    metrics_put(page, METRIC_CONSOLE_CHANGES, (double)t.changes);
}

static void status(void *ctx, char *out, size_t size)
{
    const struct running *r = ctx;
    struct console_stats t;
    console_stats(r->console, &t);
    snprintf(out, size,
             "requests=%" PRIu64 " refused=%" PRIu64 " failed=%" PRIu64 " logins=%" PRIu64
             " logins_refused=%" PRIu64 " changes=%" PRIu64,
             t.requests, t.refused, t.failed, t.logins, t.logins_refused, t.changes);
}

static enum err apply(void *ctx, const struct conf *c, struct errmsg *e)
{
    (void)ctx;
    (void)c;
    (void)e;
    return ERR_OK; /* but the log level, nothing of ours changes without a restart */
}

static enum err run(struct conf *c, int argc, char **argv, struct errmsg *e)
{
    static const struct timespec TURN = {.tv_nsec = 100000000};
    struct running r = {.conf = c};
    const struct service_hooks hooks = {&r, fill, status, apply};
    const struct console_conf cc = {.listen = conf_text(c, "console.listen"),
                                    .name = conf_text(c, "console.name"),
                                    .conninfo = conf_text(c, "database"),
                                    .tokens = conf_text(c, "console.tokens"),
                                    .session_us = conf_duration_us(c, "console.session"),
                                    .lease_us = conf_duration_us(c, "console.lease"),
                                    .budget = conf_int(c, "alert.budget"),
                                    .day_offset_us = conf_duration_us(c, "alert.day-offset")};
    setenv("PGCONNECT_TIMEOUT", "5", 0); /* a page is not kept waiting for a host that is silent */
    enum err err =
        service_create(c, TABLES, argc, argv, "http.console-listen", &hooks, &r.service, e);
    if (err == ERR_OK) {
        err = console_start(&cc, &r.console, e);
        if (err == ERR_NOTFOUND) {
            err = err_prefix(e, err, "`fraudd console --grant NAME` makes it");
        }
    }
    if (err == ERR_OK) {
        log_line(FD_LOG_INFO, "started", "address=%s port=%u", cc.listen, console_port(r.console));
        service_ready(r.service);
        while (!service_stopping(r.service)) {
            nanosleep(&TURN, NULL);
            console_tend(r.console);
            service_turn(r.service);
        }
        service_stopped(r.service);
    }
    console_stop(r.console);
    service_free(r.service);
    return err;
}

static enum err grant(const struct conf *c, struct errmsg *e)
{
    char token[CONSOLE_SECRET_TEXT];
    char until[TIME_TEXT_MAX];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t until_us = (int64_t)now.tv_sec * TIME_S + conf_duration_us(c, "valid");
    enum err err = console_grant(conf_text(c, "console.tokens"), conf_text(c, "grant"),
                                 conf_text(c, "role"), until_us, token, e);
    if (err == ERR_OK) {
        time_format(until, until_us);
        printf("%s\n", token);
        fprintf(stderr, "the token of %s, valid until %s; it is shown this once\n",
                conf_text(c, "grant"), until);
    }
    return err;
}

int cmd_console(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    int code = settings_begin(&VERB, TABLES, TABLES, argc, argv, &c);
    if (code >= 0) {
        return code;
    }
    const bool grants = conf_given(c, "grant");
    enum err err = grants ? grant(c, &e) : run(c, argc, argv, &e);
    conf_free(c);
    if (err != ERR_OK) {
        (void)cmd_fail(VERB.name, err, &e);
        return grants ? cmd_exit_code(err) : service_exit_code(err);
    }
    return EXIT_OK;
}
