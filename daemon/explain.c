#include "daemon/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/bus.h"
#include "daemon/card_guard.h"
#include "daemon/schemas.h"
#include "daemon/score.h"
#include "daemon/score_setup.h"
#include "daemon/settings.h"

#define BEGIN_PATIENCE_US (20 * TIME_S) /* for the brokers to answer at all */
#define POLL_MS 100
#define REGISTRY_TRIES 4

struct again {
    const struct conf *conf;
    const struct decision_id *id;
    struct explanation *out;
    struct score *score;
    struct schemas *schemas; /* NULL: payments are JSON */
    struct bus_events score_events;
    struct bus bus;
    struct bus_message *messages; /* [BUS_POLL_MAX] */
    int64_t journal_high;         /* -1: not begun */
    int64_t first, end;           /* of the transactions partition; -1: not begun */
    int64_t decisions_low, decisions_high;
    bool has_json, found;
    bool failed; /* the bus is of no more use */
    char why[400];
};

bool decision_id_parse(const char *text, struct decision_id *out)
{
    const char *offset = strrchr(text, '/');
    const char *partition = offset;
    char *end = NULL;
    while (partition != NULL && partition > text && *--partition != '/') {
    }
    if (partition == NULL || partition <= text || (size_t)(partition - text) > WIRE_LOG_MAX) {
        return false;
    }
    long p = strtol(partition + 1, &end, 10);
    if (end == partition + 1 || end != offset || p < 0 || p >= SCORE_PARTITIONS_MAX) {
        return false;
    }
    long long o = strtoll(offset + 1, &end, 10);
    if (end == offset + 1 || *end != '\0' || o < 0) {
        return false;
    }
    memcpy(out->log, text, (size_t)(partition - text));
    out->log[partition - text] = '\0';
    out->partition = (int32_t)p;
    out->offset = o;
    return true;
}

/* ---- what the execution sends ---- */

static bool is_wanted(const struct again *a, const struct decision *d)
{
    return d->partition == a->id->partition && d->offset == a->id->offset;
}

static char *keep_slice(char *to, struct slice *s)
{
    memcpy(to, s->len > 0 ? s->at : "", s->len);
    s->at = to;
    return to + s->len;
}

static void on_explained(void *ctx, const struct explained *e)
{
    struct again *a = ctx;
    struct explanation *out = a->out;
    if (!is_wanted(a, e->decision)) {
        return;
    }
    out->decision = *e->decision;
    char *at = keep_slice(out->text, &out->decision.tx);
    at = keep_slice(at, &out->decision.log);
    at = keep_slice(at, &out->decision.model);
    (void)keep_slice(at, &out->decision.control);
    struct score_stats t;
    score_stats(a->score, &t);
    out->settings_hash = t.settings_hash;
    out->settings_notice = t.settings_notice;
    out->at = e->at;
    out->has_x = e->x != NULL;
    if (out->has_x) {
        memcpy(out->x, e->x, sizeof out->x);
    }
    a->found = a->has_json;
}

static void take_header(const struct bus_header *h, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)h->len, (const char *)h->value);
}

/* Only what lies at the wanted offset or behind it is sent; the first is it. */
static void on_record(void *ctx, const struct bus_record *r)
{
    struct again *a = ctx;
    struct explanation *out = a->out;
    char id[ENCODE_ID_MAX];
    char start[ENCODE_ID_MAX + 8];
    if (a->found) {
        return;
    }
    const struct slice log = {a->id->log, strlen(a->id->log)};
    size_t len = encode_id(log, a->id->partition, a->id->offset, id, sizeof id);
    if (r->topic == TOPIC_DECISIONS) {
        int n = snprintf(start, sizeof start, "{\"id\":\"%s\"", id);
        a->has_json = r->value_len >= (size_t)n && r->value_len <= sizeof out->json &&
                      memcmp(r->value, start, (size_t)n) == 0;
        if (a->has_json) {
            memcpy(out->json, r->value, r->value_len);
            out->json_len = r->value_len;
        }
    } else if (r->topic == TOPIC_DEAD_LETTERS && r->header_count == DEAD_LETTER_HEADERS &&
               r->headers[2].len == len && memcmp(r->headers[2].value, id, len) == 0) {
        take_header(&r->headers[0], out->reason, sizeof out->reason);
        take_header(&r->headers[1], out->detail, sizeof out->detail);
        out->dead = a->found = true;
    }
}

/* ---- the logs ---- */

static int64_t on_assigned(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    struct again *a = ctx;
    const bool ours = partition == a->id->partition;
    if (topic == TOPIC_DECISIONS && ours) {
        a->decisions_low = low;
        a->decisions_high = high;
    } else if (topic == TOPIC_TRANSACTIONS && ours) {
        a->first = low;
        a->end = high;
        if (a->id->offset >= low && a->id->offset < high) {
            /* as a member of the group that has everything before it decided */
            return a->score_events.assigned(a->score_events.ctx, topic, partition, a->id->offset,
                                            low, high);
        }
    } else if (topic != TOPIC_DECISIONS && topic != TOPIC_TRANSACTIONS) {
        a->journal_high = topic == TOPIC_JOURNAL ? high : a->journal_high;
        return a->score_events.assigned(a->score_events.ctx, topic, partition, committed, low,
                                        high);
    }
    a->bus.pause(a->bus.self, topic, partition, true);
    return high;
}

static void on_trouble(void *ctx, bool fatal, const char *text)
{
    struct again *a = ctx;
    snprintf(a->why, sizeof a->why, "%s", text);
    a->failed = a->failed || fatal;
}

static enum err no_commit(void *self, enum bus_topic topic, int32_t partition, int64_t next_offset,
                          bool sync, struct errmsg *e)
{
    (void)self;
    (void)topic;
    (void)partition;
    (void)next_offset;
    (void)sync;
    (void)e;
    return ERR_OK;
}

static enum err open_logs(struct again *a, struct errmsg *e)
{
    struct bus_plan plan = {.client = "fraudd-explain",
                            .whole_topic = {[TOPIC_TRANSACTIONS] = true,
                                            [TOPIC_DECISIONS] = true,
                                            [TOPIC_LABELS] = true,
                                            [TOPIC_NOTICES] = true,
                                            [TOPIC_JOURNAL] = true}};
    for (int i = 0; i < TOPIC_COUNT; i++) {
        plan.topic_name[i] = settings_topic(a->conf, (enum bus_topic)i);
    }
    const struct bus_events events = {.ctx = a, .assigned = on_assigned, .trouble = on_trouble};
    a->score_events = score_events(a->score);
    enum err err = bus_kafka_open(a->conf, &plan, &events, &a->bus, e);
    if (err == ERR_OK) {
        a->bus.commit = no_commit;
        score_attach(a->score, a->bus);
    }
    return err;
}

/* Why there is no more to be had; ERR_OK: there is. */
static enum err look(const struct again *a, int64_t began_us, struct errmsg *e)
{
    struct score_stats t;
    if (a->failed) {
        return err_set(e, ERR_UNAVAILABLE, "%s", a->why);
    }
    if (a->first < 0 || a->journal_high < 0) {
        return progress_now_us() - began_us < BEGIN_PATIENCE_US
                   ? ERR_OK
                   : err_set(e, ERR_UNAVAILABLE,
                             "the logs of partition %" PRId32 " cannot be read: %s",
                             a->id->partition,
                             a->why[0] != '\0' ? a->why : "no broker answers, or there is none");
    }
    if (a->id->offset < a->first || a->id->offset >= a->end) {
        return err_set(e, ERR_NOTFOUND,
                       "partition %" PRId32 " of the transactions topic holds offsets %" PRId64
                       " to %" PRId64,
                       a->id->partition, a->first, a->end - 1);
    }
    if (score_failed(a->score)) {
        return err_set(e, ERR_NOTFOUND, "the journal does not reach back to it");
    }
    score_stats(a->score, &t);
    return t.rebuilds == 0 || t.journal_next < a->journal_high
               ? ERR_OK
               : err_set(e, ERR_NOTFOUND, "the journal has no entry with it");
}

/* Executes until the decision is there. */
/* Somebody waits for the explanation: not for ever. */
static enum err look_at_registry(const struct again *a, struct errmsg *e)
{
    struct schemas_stats t = {0};
    struct score_stats now = {.schema_waits = false};
    if (a->schemas != NULL) {
        schemas_stats(a->schemas, &t);
        score_stats(a->score, &now);
    }
    return t.failures < REGISTRY_TRIES || !now.schema_waits
               ? ERR_OK
               : err_set(e, ERR_UNAVAILABLE,
                         "the schema registry at %s does not say how payments are to be read; "
                         "`fraudd check` tells more",
                         conf_text(a->conf, "registry.url"));
}

static enum err execute(struct again *a, struct errmsg *e)
{
    const int64_t began_us = progress_now_us();
    enum err err = ERR_OK;
    while (err == ERR_OK && !a->found) {
        (void)score_turn(a->score);
        err = a->found ? ERR_OK : look(a, began_us, e);
        err = err == ERR_OK ? look_at_registry(a, e) : err;
    }
    return err;
}

/* ---- what was sent ---- */

static bool is_sent(const struct again *a, const struct bus_message *m)
{
    const struct explanation *out = a->out;
    /* {"id":"log/partition/offset", */
    const char *end = memchr(out->json, ',', out->json_len);
    size_t len = end != NULL ? (size_t)(end - out->json) + 1 : out->json_len;
    return m->topic == TOPIC_DECISIONS && m->partition == a->id->partition && m->value_len >= len &&
           memcmp(m->value, out->json, len) == 0;
}

static void compare(struct explanation *out, const struct bus_message *m)
{
    out->emitted_len =
        m->value_len < sizeof out->emitted_json ? m->value_len : sizeof out->emitted_json;
    memcpy(out->emitted_json, m->value, out->emitted_len);
    out->emitted = m->value_len == out->json_len && memcmp(m->value, out->json, m->value_len) == 0
                       ? EMITTED_SAME
                       : EMITTED_OTHER;
}

/* Reads the decisions topic from the time on at which the decision can have been sent. */
static enum err find_sent(struct again *a, struct errmsg *e)
{
    const int32_t p = a->id->partition;
    const int64_t from_us = a->out->decision.event_us - 2 * TIME_DAY;
    int64_t next = a->bus.offset_at(a->bus.self, TOPIC_DECISIONS, p, from_us);
    next = next > a->decisions_low ? next : a->decisions_low;
    a->bus.pause(a->bus.self, TOPIC_DECISIONS, p, false);
    a->bus.seek(a->bus.self, TOPIC_DECISIONS, p, next);
    int64_t heard_us = progress_now_us();
    while (next < a->decisions_high && a->out->emitted == EMITTED_NOTHING) {
        size_t n = a->bus.poll(a->bus.self, a->messages, BUS_POLL_MAX, POLL_MS);
        for (size_t i = 0; i < n && a->out->emitted == EMITTED_NOTHING; i++) {
            if (is_sent(a, &a->messages[i])) {
                compare(a->out, &a->messages[i]);
            } else if (a->messages[i].topic == TOPIC_DECISIONS && a->messages[i].partition == p) {
                next = a->messages[i].offset + 1;
                heard_us = progress_now_us();
            }
        }
        a->bus.release(a->bus.self);
        if (a->failed || progress_now_us() - heard_us > BEGIN_PATIENCE_US) {
            return err_set(e, ERR_UNAVAILABLE, "the decisions topic cannot be read: %s", a->why);
        }
    }
    return ERR_OK;
}

static int64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * TIME_S + t.tv_nsec / 1000;
}

enum err explain_again(const struct conf *c, const struct decision_id *id, struct explanation *out,
                       struct errmsg *e)
{
    struct again a = {.conf = c, .id = id, .out = out, .journal_high = -1, .first = -1};
    struct rates *rates = NULL;
    struct model *model = NULL;
    struct card_rules cards = {.key = NULL};
    struct state_folder folder;
    const struct pipeline_out to = {.ctx = &a, .explained = on_explained, .record = on_record};
    memset(out, 0, sizeof *out);
    log_set_level(FD_LOG_ERROR + 1); /* what `score` would say of it is of no help here */
    a.messages = calloc(BUS_POLL_MAX, sizeof *a.messages);
    enum err err = a.messages == NULL ? err_set(e, ERR_NOMEM, "cannot read the logs: no memory")
                                      : rates_create_default(&rates, e);
    if (err == ERR_OK) {
        err = score_setup_model(c, &model, e);
    }
    if (err == ERR_OK) {
        err = card_rules_read(c, &cards, e);
    }
    if (err == ERR_OK) {
        err = schemas_create(c, progress_now_us, &a.schemas, e);
    }
    if (err == ERR_OK) {
        struct score_conf sc = score_setup_conf(c, model, rates, &cards, wall_us);
        sc.schemas = a.schemas;
        sc.pipeline.schemas = a.schemas;
        sc.warm_us = 0; /* from the journal's beginning, where no state is to be had */
        sc.watch = &to;
        err = score_create(&sc, NULL, &a.score, e);
    }
    const char *dir = err == ERR_OK ? conf_text(c, "state.dir") : "";
    if (dir[0] != '\0') {
        err = state_folder_read(&folder, dir, e);
        err = err == ERR_OK ? score_keep_open(a.score, &folder, 0, e) : err;
    }
    if (err == ERR_OK) {
        err = open_logs(&a, e);
    }
    if (err == ERR_OK) {
        err = execute(&a, e);
        struct score_stats t;
        score_stats(a.score, &t);
        out->state_from = t.state_from;
        if (err == ERR_OK && !out->dead) {
            err = find_sent(&a, e);
        }
        a.bus.close(a.bus.self);
    }
    score_free(a.score);
    schemas_free(a.schemas);
    card_rules_done(&cards);
    model_free(model);
    rates_free(rates);
    free(a.messages);
    return err;
}
