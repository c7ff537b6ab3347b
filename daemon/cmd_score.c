/* fraudd score: the scoring daemon. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/bus_metrics.h"
#include "daemon/card_guard.h"
#include "daemon/cmd.h"
#include "daemon/hand.h"
#include "daemon/schemas.h"
#include "daemon/score.h"
#include "daemon/score_metrics.h"
#include "daemon/score_setup.h"
#include "daemon/service.h"
#include "daemon/settings.h"

#define FINISH_MS 1500
#define KEEP_MS 1500

static const struct conf_option *const TABLES[] = {SETTINGS_FILE, SETTINGS, NULL};

static const struct verb VERB = {
    "score", "fraudd score [--config FILE] [OPTIONS]",
    "Reads transactions from Kafka, scores each and writes a decision for each, alerts for the\n"
    "suspicious ones and dead letters for what cannot be read.  SIGTERM finishes the batch, "
    "commits\n"
    "and ends within 5 s.  SIGHUP reads the settings again: those that change decisions go to all\n"
    "processes by the notices topic.",
    "fraudd score --brokers localhost:9092 --model model.fraudd --partitions 8"};

struct running {
    struct conf *conf;
    struct service *service;
    struct score *score;
    struct model *model; /* of the file; a notice may have put another in its place */
    uint8_t *model_bytes;
    size_t model_len;
    uint64_t model_seen; /* hash of the file's bytes at the last look */
    struct card_rules cards;
    struct schemas *schemas; /* NULL: payments are JSON */
    struct hand hand;
    struct state_folder folder;
};

static uint64_t mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static int64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * TIME_S + t.tv_nsec / 1000;
}

static enum err load_model(struct running *r, struct errmsg *e)
{
    enum err err = score_setup_model_bytes(r->conf, &r->model_bytes, &r->model_len, e);
    if (err != ERR_OK) {
        return err;
    }
    r->model_seen = hash_id(r->model_bytes, r->model_len);
    err = model_load(r->model_bytes, r->model_len, &r->model, e);
    return err == ERR_OK ? err : err_prefix(e, err, "model %s", conf_text(r->conf, "model"));
}

static bool wait_on(void *ctx)
{
    struct running *r = ctx;
    return service_wait(r->service);
}

static struct score_conf make_conf(struct running *r, const struct rates *rates)
{
    struct score_conf s = score_setup_conf(r->conf, r->model, rates, &r->cards, wall_us);
    s.hand = r->hand.page;
    s.schemas = r->schemas;
    s.pipeline.schemas = r->schemas;
    s.model_bytes = r->model_bytes;
    s.model_len = r->model_len;
    s.go_on = wait_on;
    s.ctx = r;
    return s;
}

static void fill(void *ctx, struct metrics_page *page)
{
    const struct running *r = ctx;
    score_metrics_fill(r->score, page);
    bus_metrics_schemas(r->schemas, page);
}

static void status(void *ctx, char *out, size_t size)
{
    const struct running *r = ctx;
    struct score_stats t;
    score_stats(r->score, &t);
    snprintf(out, size,
             "ready=%d partitions=%d lag=%" PRId64 " received=%" PRIu64 " decided=%" PRIu64
             " repeats=%" PRIu64 " dead_letters=%" PRIu64 " alerts=%" PRIu64 " labels=%" PRIu64
             " warmed=%" PRIu64 " followed=%" PRIu64 " journal=%" PRId64 " unacknowledged=%" PRIu64
             " cards=%" PRId64 " state_bytes=%" PRId64,
             t.ready, t.partitions, t.bus.lag, t.pipeline.received, t.pipeline.decided,
             t.pipeline.repeats, t.pipeline.dead_letters, t.pipeline.alerts, t.pipeline.labels,
             t.warmed, t.followed, t.journal_next, t.bus.queued, t.cards, t.state_bytes);
}

/* SIGHUP: what decisions depend on is told to all processes and comes back by the notices; the
 * model's file only where its bytes are others than at the last look, so that a reload for another
 * reason does not take a promoted model back. */
static enum err apply(void *ctx, const struct conf *c, struct errmsg *e)
{
    struct running *r = ctx;
    uint8_t *bytes = NULL;
    size_t len = 0;
    const struct bounds b = score_setup_bounds(c);
    enum err err = score_setup_model_bytes(c, &bytes, &len, e);
    if (err != ERR_OK) {
        return err;
    }
    const uint64_t hash = hash_id(bytes, len);
    err = score_tell(r->score, &b, hash != r->model_seen ? bytes : NULL, len, e);
    r->model_seen = err == ERR_OK ? hash : r->model_seen;
    free(bytes);
    return err;
}

static enum err serve(struct running *r, struct errmsg *e)
{
    service_ready(r->service);
    while (!service_stopping(r->service) && !score_failed(r->score)) {
        (void)score_turn(r->score);
        service_turn(r->service);
    }
    enum err err = score_finish(r->score, FINISH_MS, e);
    if (err == ERR_OK) {
        score_keep_end(r->score, KEEP_MS);
    }
    service_stopped(r->service);
    if (score_failed(r->score)) {
        return score_failure(r->score, e);
    }
    return err;
}

static enum err open_bus(struct running *r, struct bus *out, struct errmsg *e)
{
    const struct conf *c = r->conf;
    struct bus_plan plan = {
        .client = "fraudd-score",
        .group = conf_text(c, "group"),
        .member = r->folder.member,
        .group_topic = {[TOPIC_TRANSACTIONS] = true},
        .whole_topic = {[TOPIC_LABELS] = true, [TOPIC_NOTICES] = true, [TOPIC_JOURNAL] = true},
        .produces = true};
    for (int i = 0; i < TOPIC_COUNT; i++) {
        plan.topic_name[i] = settings_topic(c, (enum bus_topic)i);
    }
    const struct bus_events events = score_events(r->score);
    return bus_kafka_open(c, &plan, &events, out, e);
}

static enum err run(struct conf *c, int argc, char **argv, struct errmsg *e)
{
    struct running r = {.conf = c, .folder = {.lock = -1}};
    struct rates *rates = NULL;
    struct bus bus = {0};
    char card_text[128];
    const struct service_hooks hooks = {&r, fill, status, apply};
    enum err err = service_create(c, TABLES, argc, argv, "http.listen", &hooks, &r.service, e);
    if (err == ERR_OK) {
        err = load_model(&r, e);
    }
    if (err == ERR_OK) {
        err = rates_create_default(&rates, e);
    }
    if (err == ERR_OK) {
        err = card_rules_read(c, &r.cards, e);
    }
    if (err == ERR_OK) {
        const char *const which[] = {conf_text(c, "brokers"), conf_text(c, "group"),
                                     conf_text(c, "log"), NULL};
        hand_open_for(&r.hand, conf_text(c, "state.dir"), "score", which);
        hand_watch(&r.hand);
        err = schemas_create(c, progress_now_us, &r.schemas, e);
    }
    if (err == ERR_OK) {
        const struct score_conf sc = make_conf(&r, rates);
        err = score_create(&sc, mono_ns, &r.score, e);
    }
    const char *dir = err == ERR_OK ? conf_text(c, "state.dir") : NULL;
    if (dir != NULL && dir[0] != '\0') {
        err = state_folder_take(&r.folder, dir, e);
        err = err == ERR_OK
                  ? score_keep_open(r.score, &r.folder, conf_duration_us(c, "state.every"), e)
                  : err;
    }
    if (err == ERR_OK) {
        err = open_bus(&r, &bus, e);
    }
    if (err == ERR_OK) {
        score_attach(r.score, bus);
        card_rules_tell(&r.cards, card_text, sizeof card_text);
        log_line(FD_LOG_INFO, "started", "model=%s kernel=%s brokers=%s card_numbers=\"%s\"",
                 model_lineage(r.model)->version, model_kernel_name(), conf_text(c, "brokers"),
                 card_text);
        err = serve(&r, e);
        bus.close(bus.self);
    }
    service_free(r.service);
    score_free(r.score);
    schemas_free(r.schemas);
    hand_close(&r.hand);
    state_folder_leave(&r.folder);
    card_rules_done(&r.cards);
    rates_free(rates);
    model_free(r.model);
    free(r.model_bytes);
    return err;
}

int cmd_score(int argc, char **argv)
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
