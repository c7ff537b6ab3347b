/* fraudd score: the scoring daemon. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/score.h"
#include "daemon/settings.h"

#define MODEL_MAX_BYTES ((size_t)256 << 20)
#define STATUS_EVERY_US (10 * TIME_S)
#define FINISH_MS 4000

static const struct conf_option OWN[] = {
    {"partitions", CONF_INT, 0, "1", 1, 1024,
     "partitions of the transactions topic: each gets its share of the alert budget"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {SETTINGS_FILE, OWN, SETTINGS, NULL};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void print_help(void)
{
    puts("usage: fraudd score [--config FILE] [OPTIONS]\n\n"
         "Reads transactions from Kafka, scores each and writes a decision for each, alerts for "
         "the\n"
         "suspicious ones and dead letters for what cannot be read.  SIGTERM finishes the batch,\n"
         "commits and ends within 5 s.\n\noptions:");
    conf_print_help(stdout, TABLES);
    puts("\nexample:\n  fraudd score --brokers localhost:9092 --model model.fraudd --partitions 8");
}

static enum err load_model(const struct conf *c, struct model **out, struct errmsg *e)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    const char *path = conf_text(c, "model");
    if (path == NULL) {
        return err_set(e, ERR_INVALID, "--model is needed: train one with `fraudd train`");
    }
    enum err err = file_read(path, MODEL_MAX_BYTES, &bytes, &len, e);
    if (err == ERR_OK) {
        err = model_load(bytes, len, out, e);
    }
    free(bytes);
    return err;
}

static struct score_conf make_conf(const struct conf *c, const struct model *m,
                                   const struct rates *rates)
{
    struct score_conf s = {.batch_max = (size_t)conf_int(c, "score.batch"),
                           .poll_ms = (int)(conf_duration_us(c, "score.linger") / 1000)};
    const struct model_lineage *l = model_lineage(m);
    double partitions = (double)conf_int(c, "partitions");
    s.pipeline = (struct pipeline_conf){
        .model = m,
        .rates = rates,
        .params = {l->maturity_us, l->blame_ratio, l->blame_tail, rates_version(rates)},
        .threshold = {.budget = (double)conf_int(c, "alert.budget") / partitions,
                      .burst = 1.5,
                      .day_offset_us = conf_duration_us(c, "alert.day-offset"),
                      .floor = 0.995,
                      .decline = conf_real(c, "decline.probability") >= 1
                                     ? 2
                                     : conf_real(c, "decline.probability"),
                      .decline_cost = conf_real(c, "decline.cost")},
        .log = {conf_text(c, "log"), strlen(conf_text(c, "log"))},
        .max_future_us = conf_duration_us(c, "max-future"),
        .message_max = WIRE_MESSAGE_MAX};
    feat_limits_default(&s.pipeline.limits);
    s.pipeline.limits.card_max = (size_t)conf_int(c, "state.cards");
    s.pipeline.limits.place_max = 4 * (size_t)conf_int(c, "state.terminals");
    return s;
}

static void log_status(const struct score *s)
{
    struct score_stats t;
    score_stats(s, &t);
    log_line(FD_LOG_INFO, "status",
             "partitions=%d lag=%" PRId64 " received=%" PRIu64 " decided=%" PRIu64
             " repeats=%" PRIu64 " dead_letters=%" PRIu64 " alerts=%" PRIu64 " labels=%" PRIu64
             " warmed=%" PRIu64 " unacknowledged=%" PRIu64 " cards=%" PRId64
             " state_bytes=%" PRId64,
             t.partitions, t.bus.lag, t.pipeline.received, t.pipeline.decided, t.pipeline.repeats,
             t.pipeline.dead_letters, t.pipeline.alerts, t.pipeline.labels, t.warmed, t.bus.queued,
             t.cards, t.state_bytes);
}

static enum err serve(struct score *s, struct errmsg *e)
{
    int64_t shown = progress_now_us();
    bool told = false;
    while (!stopping && !score_failed(s)) {
        (void)score_turn(s);
        int64_t now = progress_now_us();
        if (now - shown >= STATUS_EVERY_US) {
            log_status(s);
            shown = now;
        }
        if (!told) {
            struct score_stats t;
            score_stats(s, &t);
            told = t.ready;
            if (told) {
                sd_notify(0, "READY=1");
            }
        }
    }
    sd_notify(0, "STOPPING=1");
    enum err err = score_finish(s, FINISH_MS, e);
    log_status(s);
    if (score_failed(s)) {
        return err_set(e, ERR_UNAVAILABLE, "Kafka failed for good; the lines before say why");
    }
    return err;
}

static enum err run(const struct conf *c, struct errmsg *e)
{
    struct model *model = NULL;
    struct rates *rates = NULL;
    struct score *score = NULL;
    struct bus bus = {0};
    enum err err = load_model(c, &model, e);
    if (err == ERR_OK) {
        err = rates_create_default(&rates, e);
    }
    if (err == ERR_OK) {
        const struct score_conf sc = make_conf(c, model, rates);
        err = score_create(&sc, clock_ns, &score, e);
    }
    if (err == ERR_OK) {
        struct bus_plan plan = {.client = "fraudd-score",
                                .group = conf_text(c, "group"),
                                .group_topic = {[TOPIC_TRANSACTIONS] = true},
                                .whole_topic = {[TOPIC_LABELS] = true, [TOPIC_NOTICES] = true},
                                .produces = true};
        for (int i = 0; i < TOPIC_COUNT; i++) {
            plan.topic_name[i] = settings_topic(c, (enum bus_topic)i);
        }
        const struct bus_events events = score_events(score);
        err = bus_kafka_open(c, &plan, &events, &bus, e);
    }
    if (err == ERR_OK) {
        score_attach(score, bus);
        log_line(FD_LOG_INFO, "started", "model=%s kernel=%s brokers=%s",
                 model_lineage(model)->version, model_kernel_name(), conf_text(c, "brokers"));
        err = serve(score, e);
        bus.close(bus.self);
    }
    score_free(score);
    rates_free(rates);
    model_free(model);
    return err;
}

int cmd_score(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    enum err err = settings_load(TABLES, argc, argv, &c, &e);
    if (err == ERR_END) {
        print_help();
        return EXIT_OK;
    }
    if (err == ERR_OK) {
        struct sigaction action = {.sa_handler = on_signal};
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGINT, &action, NULL);
        log_set_level((enum log_level)log_level_find(conf_text(c, "log-level")));
        err = run(c, &e);
    }
    conf_free(c);
    return err == ERR_OK ? EXIT_OK : cmd_fail("score", err, &e);
}
