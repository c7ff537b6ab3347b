/* fraudd sink: Kafka to PostgreSQL. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/progress.h"
#include "daemon/bus_metrics.h"
#include "daemon/card_guard.h"
#include "daemon/cmd.h"
#include "daemon/hand.h"
#include "daemon/schemas.h"
#include "daemon/service.h"
#include "daemon/settings.h"
#include "daemon/sink.h"
#include "daemon/wire.h"

#define POLL_MS 100

static const struct conf_option OWN[] = {
    {"until-idle", CONF_DURATION, 0, "0", 0, 86400,
     "end after nothing came for so long; 0: run until stopped"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {SETTINGS_FILE, OWN, SETTINGS, NULL};

static const struct verb VERB = {
    "sink", "fraudd sink [--config FILE] [OPTIONS]",
    "Reads transactions, decisions, alerts and labels from Kafka and writes them to PostgreSQL,\n"
    "rows and positions in one SQL transaction; publishes the labels of verdicts given in\n"
    "PostgreSQL.  A database that goes away is waited for.  SIGTERM ends it, SIGHUP reads the\n"
    "settings again.",
    "fraudd sink --brokers localhost:9092 --database 'host=localhost dbname=fraudd'"};

struct running {
    struct conf *conf;
    struct service *service;
    struct sink *sink;
    struct schemas *schemas; /* NULL: payments are JSON */
    struct hand hand;
};

static bool wait_on(void *ctx)
{
    struct running *r = ctx;
    return service_wait(r->service);
}

static void fill(void *ctx, struct metrics_page *page)
{
    const struct running *r = ctx;
    struct sink_stats t;
    sink_stats(r->sink, &t);
    page->ready = t.database_up;
    snprintf(page->why, sizeof page->why, "%s",
             t.database_up ? "" : "PostgreSQL is away; waiting for it");
    bus_metrics_fill(&t.bus, true, page);
    bus_metrics_schemas(r->schemas, page);
    metrics_put(page, METRIC_ROWS, (double)t.rows);
    metrics_put(page, METRIC_REJECTED, (double)t.rejected);
    metrics_put(page, METRIC_UNDECODABLE, (double)t.undecodable);
    metrics_put(page, METRIC_SQL_TRANSACTIONS, (double)t.transactions);
    metrics_put_latency(page, METRIC_WRITE_SECONDS, sink_write_times(r->sink));
    metrics_put(page, METRIC_DATABASE_UP, t.database_up);
    metrics_put(page, METRIC_OUTAGES, (double)t.outages);
    metrics_put(page, METRIC_DATABASE_BEHIND, (double)t.taken_back);
    metrics_put(page, METRIC_RETRIES, (double)t.retries);
    metrics_put(page, METRIC_PUBLISHED, (double)t.published);
}

static void status(void *ctx, char *out, size_t size)
{
    const struct running *r = ctx;
    struct sink_stats t;
    sink_stats(r->sink, &t);
    snprintf(out, size,
             "rows=%" PRIu64 " rejected=%" PRIu64 " undecodable=%" PRIu64 " transactions=%" PRIu64
             " outages=%" PRIu64 " published=%" PRIu64 " lag=%" PRId64,
             t.rows, t.rejected, t.undecodable, t.transactions, t.outages, t.published, t.bus.lag);
}

static enum err apply(void *ctx, const struct conf *c, struct errmsg *e)
{
    struct running *r = ctx;
    (void)e;
    sink_set(r->sink, conf_duration_us(c, "sink.linger"), conf_duration_us(c, "max-future"));
    return ERR_OK;
}

static enum err serve(struct running *r, struct errmsg *e)
{
    const int64_t idle_us = conf_duration_us(r->conf, "until-idle");
    int64_t busy_us = progress_now_us();
    service_ready(r->service);
    while (!service_stopping(r->service) && !sink_failed(r->sink)) {
        size_t rows = sink_turn(r->sink);
        service_turn(r->service);
        int64_t now_us = progress_now_us();
        busy_us = rows > 0 ? now_us : busy_us;
        if (idle_us > 0 && now_us - busy_us > idle_us) {
            break;
        }
    }
    service_stopped(r->service);
    if (sink_failed(r->sink)) {
        return sink_failure(r->sink, e);
    }
    return ERR_OK;
}

static enum err open_bus(struct running *r, const struct sink_conf *sc, struct bus *out,
                         struct errmsg *e)
{
    struct bus_plan plan = {.client = "fraudd-sink",
                            .group = conf_text(r->conf, "sink-group"),
                            .patient = true,
                            .group_topic = {[TOPIC_TRANSACTIONS] = true,
                                            [TOPIC_LABELS] = true,
                                            [TOPIC_DECISIONS] = true,
                                            [TOPIC_ALERTS] = true},
                            .produces = true};
    for (int i = 0; i < TOPIC_COUNT; i++) {
        plan.topic_name[i] = sc->topic_name[i];
    }
    const struct bus_events events = sink_events(r->sink);
    return bus_kafka_open(r->conf, &plan, &events, out, e);
}

static enum err run(struct conf *c, int argc, char **argv, struct errmsg *e)
{
    struct running r = {.conf = c};
    struct rates *rates = NULL;
    struct bus bus = {0};
    struct card_rules cards = {.key = NULL};
    char card_text[128];
    struct sink_conf sc = {.conninfo = conf_text(c, "database"),
                           .log = {conf_text(c, "log"), strlen(conf_text(c, "log"))},
                           .max_future_us = conf_duration_us(c, "max-future"),
                           .cards = &cards,
                           .batch_max = (size_t)conf_int(c, "sink.batch"),
                           .poll_ms = POLL_MS,
                           .linger_us = conf_duration_us(c, "sink.linger"),
                           .go_on = wait_on,
                           .ctx = &r};
    for (int i = 0; i < TOPIC_COUNT; i++) {
        sc.topic_name[i] = settings_topic(c, (enum bus_topic)i);
    }
    const struct service_hooks hooks = {&r, fill, status, apply};
    enum err err = service_create(c, TABLES, argc, argv, "http.sink-listen", &hooks, &r.service, e);
    if (err == ERR_OK) {
        err = rates_create_default(&rates, e);
    }
    if (err == ERR_OK) {
        err = card_rules_read(c, &cards, e);
    }
    if (err == ERR_OK) {
        const char *const which[] = {sc.conninfo, sc.topic_name[TOPIC_TRANSACTIONS],
                                     conf_text(c, "sink-group"), NULL};
        hand_open_for(&r.hand, conf_text(c, "state.dir"), "sink", which);
        hand_watch(&r.hand);
        sc.hand = r.hand.page;
        sc.rates = rates;
        err = schemas_create(c, progress_now_us, &r.schemas, e);
    }
    if (err == ERR_OK) {
        sc.schemas = r.schemas;
        err = sink_create(&sc, &r.sink, e);
    }
    if (err == ERR_OK) {
        err = open_bus(&r, &sc, &bus, e);
    }
    if (err == ERR_OK) {
        sink_attach(r.sink, bus);
        card_rules_tell(&cards, card_text, sizeof card_text);
        log_line(FD_LOG_INFO, "started", "brokers=%s card_numbers=\"%s\"", conf_text(c, "brokers"),
                 card_text);
        err = serve(&r, e);
        bus.close(bus.self);
    }
    service_free(r.service);
    sink_free(r.sink);
    schemas_free(r.schemas);
    hand_close(&r.hand);
    card_rules_done(&cards);
    rates_free(rates);
    return err;
}

int cmd_sink(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    int code = settings_begin(&VERB, TABLES, TABLES, argc, argv, &c);
    if (code >= 0) {
        return code;
    }
    enum err err = run(c, argc, argv, &e);
    conf_free(c);
    if (err != ERR_OK) {
        (void)cmd_fail(VERB.name, err, &e);
        return service_exit_code(err);
    }
    return EXIT_OK;
}
