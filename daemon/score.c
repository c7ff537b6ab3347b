#include "daemon/score.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "base/progress.h"
#include "base/region.h"
#include "daemon/score_private.h"

static bool go_on(const struct score *s)
{
    return s->conf.go_on == NULL || s->conf.go_on(s->conf.ctx);
}

/* Queues a record, waiting for room however long the broker takes: never dropped. */
static enum err queue_record(struct score *s, const struct bus_record *r, struct errmsg *e)
{
    enum err err = s->bus.send(s->bus.self, r, e);
    while (err == ERR_FULL && go_on(s)) {
        (void)s->bus.wait(s->bus.self, 50);
        err = s->bus.send(s->bus.self, r, e);
    }
    return err;
}

static void on_record(void *ctx, const struct bus_record *r)
{
    struct score *s = ctx;
    struct errmsg e = {""};
    struct bus_record record = *r;
    if (s->unsent != UINT64_MAX) {
        return; /* stopping: what comes after a record that is missing is decided again later */
    }
    record.batch = s->batch;
    enum err err = queue_record(s, &record, &e);
    if (err == ERR_OK) {
        return;
    }
    s->unsent = s->batch;
    if (err != ERR_FULL) {
        char quoted[600];
        s->failed = true;
        log_line(FD_LOG_ERROR, "send_failed", "error=%s detail=%s", err_name(err),
                 log_quote(quoted, sizeof quoted, e.text));
    }
}

enum err score_create(const struct score_conf *c, uint64_t (*clock_ns)(void), struct score **out,
                      struct errmsg *e)
{
    struct score *s = calloc(1, sizeof *s);
    if (s == NULL || (s->messages = calloc(c->batch_max, sizeof *s->messages)) == NULL ||
        (s->label = region_array(c->world.label_queue_max, sizeof *s->label)) == NULL) {
        score_free(s);
        return err_set(e, ERR_NOMEM, "cannot start scoring: no memory");
    }
    s->conf = *c;
    s->label_max = c->world.label_queue_max;
    s->unsent = UINT64_MAX;
    s->quiet = (struct log_limit)LOG_LIMIT_INIT;
    const struct pipeline_out to = {.ctx = s, .record = on_record};
    enum err err = pipeline_create(&c->pipeline, &to, clock_ns, &s->pipeline, e);
    if (err != ERR_OK) {
        score_free(s);
        return err;
    }
    *out = s;
    return ERR_OK;
}

static bool caught_up(const struct score *s)
{
    return followed(&s->labels) && followed(&s->notices);
}

/* Where to begin to learn a partition that is decided from `emit_from` on. */
static int64_t learn_from(const struct score *s, int32_t partition, int64_t low, int64_t emit_from)
{
    if (s->conf.warm_us <= 0 || s->conf.wall_us == NULL || s->bus.offset_at == NULL) {
        return low;
    }
    int64_t from = s->bus.offset_at(s->bus.self, TOPIC_TRANSACTIONS, partition,
                                    s->conf.wall_us() - s->conf.warm_us);
    if (from < 0) {
        log_line(FD_LOG_WARN, "warm_unknown",
                 "partition=%" PRId32 " detail=\"the broker did not say which offset is "
                 "warm.days old; learning from the log's beginning\"",
                 partition);
        return low;
    }
    from = from < emit_from ? from : emit_from;
    return from > low ? from : low;
}

static int64_t on_followed(struct score *s, enum bus_topic topic, int32_t partition, int64_t low,
                           int64_t high)
{
    struct follow *f = topic == TOPIC_LABELS ? &s->labels : &s->notices;
    if (partition != 0) { /* the order between partitions is not recorded anywhere */
        s->failed = true;
        log_line(FD_LOG_ERROR, "topic_refused",
                 "topic=%s partition=%" PRId32
                 " detail=\"it must have one partition; `fraudd check` prints how to make it\"",
                 topic == TOPIC_LABELS ? "labels" : "notices", partition);
        return high;
    }
    *f = (struct follow){.begun = true, .next = low, .high = high};
    return low;
}

static void free_owned(struct owned *o)
{
    lane_free(o->lane);
    feat_world_free(o->world);
}

static void drop_lane(struct score *s, int32_t partition)
{
    score_count_owned(&s->owned[partition], &s->stats); /* what it counted stays counted */
    free_owned(&s->owned[partition]);
    s->owned[partition] = (struct owned){0};
    s->stats.partitions--;
}

/* The state of a partition that comes to us: it knows every label read so far. */
static enum err open_lane(struct score *s, int32_t partition, struct errmsg *e)
{
    struct owned o = {.lane = NULL};
    if (partition < 0 || partition >= SCORE_PARTITIONS_MAX) {
        return err_set(e, ERR_INVALID, "at most %d partitions can be scored", SCORE_PARTITIONS_MAX);
    }
    enum err err = feat_world_create(&s->conf.pipeline.params, &s->conf.world, &o.world, e);
    for (size_t i = 0; err == ERR_OK && i < s->label_count; i++) {
        err = feat_label(o.world, &s->label[i]);
    }
    if (err == ERR_OK) {
        err = lane_create(s->pipeline, o.world, partition, &o.lane, e);
    }
    if (err != ERR_OK) {
        free_owned(&o);
        return err;
    }
    s->owned[partition] = o;
    return ERR_OK;
}

static int64_t on_assigned(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    struct score *s = ctx;
    struct errmsg e = {""};
    if (topic == TOPIC_LABELS || topic == TOPIC_NOTICES) {
        return on_followed(s, topic, partition, low, high);
    }
    if (topic != TOPIC_TRANSACTIONS) {
        return low;
    }
    if (committed >= 0 && (committed < low || committed > high)) {
        return committed; /* outside the log: the bus refuses it, with words */
    }
    if (partition >= 0 && partition < SCORE_PARTITIONS_MAX && s->owned[partition].lane != NULL) {
        drop_lane(s, partition); /* never told that it went away */
    }
    if (open_lane(s, partition, &e) != ERR_OK) {
        char quoted[600];
        s->failed = true;
        log_line(FD_LOG_ERROR, "partition_refused", "partition=%" PRId32 " detail=%s", partition,
                 log_quote(quoted, sizeof quoted, e.text));
        return high;
    }
    struct owned *o = &s->owned[partition];
    o->emit_from = committed >= 0 ? committed : low;
    o->next = learn_from(s, partition, low, o->emit_from);
    o->committed = committed;
    if (partition >= s->partition_top) {
        s->partition_top = partition + 1;
    }
    s->stats.partitions++;
    if (!caught_up(s)) {
        o->paused = true;
        s->bus.pause(s->bus.self, TOPIC_TRANSACTIONS, partition, true);
    }
    log_line(FD_LOG_INFO, "partition_assigned",
             "partition=%" PRId32 " learn_from=%" PRId64 " decide_from=%" PRId64 " end=%" PRId64,
             partition, o->next, o->emit_from, high);
    return o->next;
}

/* Commits what is acknowledged: batches before first_open. */
static void commit_acknowledged(struct score *s, uint64_t first_open, bool sync)
{
    int64_t next[SCORE_PARTITIONS_MAX];
    struct errmsg e;
    first_open = first_open < s->unsent ? first_open : s->unsent;
    for (int32_t p = 0; p < s->partition_top; p++) {
        next[p] = -1;
    }
    while (s->flight_count > 0) {
        const struct flight *f = &s->flight[s->flight_first % FLIGHT_MAX];
        if (f->batch >= first_open) {
            break;
        }
        next[f->partition] = f->next;
        s->flight_first++;
        s->flight_count--;
    }
    int32_t last = -1;
    for (int32_t p = 0; p < s->partition_top; p++) {
        const struct owned *o = &s->owned[p];
        if (next[p] <= o->committed || next[p] <= o->emit_from || o->lane == NULL) {
            next[p] = -1;
        } else {
            last = p;
        }
    }
    for (int32_t p = 0; p <= last; p++) {
        /* the last one waits for the broker, and with it all before: one request */
        if (next[p] >= 0 && s->bus.commit(s->bus.self, TOPIC_TRANSACTIONS, p, next[p],
                                          sync && p == last, &e) == ERR_OK) {
            s->owned[p].committed = next[p];
        } else if (next[p] >= 0) {
            log_line(FD_LOG_WARN, "commit_failed", "partition=%" PRId32 " offset=%" PRId64, p,
                     next[p]);
        }
    }
}

static void on_revoked(void *ctx, enum bus_topic topic, int32_t partition, bool lost)
{
    struct score *s = ctx;
    if (topic != TOPIC_TRANSACTIONS || partition < 0 || partition >= SCORE_PARTITIONS_MAX ||
        s->owned[partition].lane == NULL) {
        return;
    }
    if (!lost) {
        for (int i = 0; i < 100 && s->bus.wait(s->bus.self, 50) <= s->batch && go_on(s); i++) {
        }
        commit_acknowledged(s, s->bus.wait(s->bus.self, 0), true);
    }
    drop_lane(s, partition);
    log_line(FD_LOG_INFO, "partition_revoked", "partition=%" PRId32 " lost=%d", partition, lost);
}

static void on_trouble(void *ctx, bool fatal, const char *text)
{
    struct score *s = ctx;
    char quoted[600];
    uint64_t held = 0;
    s->failed |= fatal;
    if (fatal || log_limit_pass(&s->quiet, text, progress_now_us(), &held)) {
        log_line(fatal ? FD_LOG_ERROR : FD_LOG_WARN, "kafka_trouble",
                 "fatal=%d not_shown=%" PRIu64 " detail=%s", fatal, held,
                 log_quote(quoted, sizeof quoted, text));
    }
}

struct bus_events score_events(struct score *s)
{
    return (struct bus_events){s, on_assigned, on_revoked, on_trouble};
}

void score_attach(struct score *s, struct bus bus)
{
    s->bus = bus;
    s->attached = true;
}

enum err score_use_model(struct score *s, const uint8_t *bytes, size_t len, struct errmsg *e)
{
    struct model *m = NULL;
    enum err err = model_load(bytes, len, &m, e);
    if (err == ERR_OK) {
        err = pipeline_set_model(s->pipeline, m, e);
    }
    if (err != ERR_OK) {
        model_free(m);
        return err;
    }
    model_free(s->noticed);
    s->noticed = m;
    s->stats.model_switches++;
    log_line(FD_LOG_INFO, "model_switched", "version=%s", model_lineage(m)->version);
    return ERR_OK;
}

static void handle_notice(struct score *s, const struct bus_message *m)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    struct errmsg e;
    enum err err = notice_take(&s->notice, m, &bytes, &len, &e);
    if (err == ERR_END) {
        err = score_use_model(s, bytes, len, &e);
    }
    if (err != ERR_OK) {
        char quoted[600];
        s->stats.notices_refused++;
        log_line(FD_LOG_ERROR, "notice_refused", "offset=%" PRId64 " error=%s detail=%s", m->offset,
                 err_name(err), log_quote(quoted, sizeof quoted, e.text));
    }
    s->notices.next = m->offset + 1;
}

/* The lanes of the partitions owned now: out [SCORE_PARTITIONS_MAX]. */
static size_t lanes_of(const struct score *s, struct lane **out)
{
    size_t n = 0;
    for (int32_t p = 0; p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            out[n++] = s->owned[p].lane;
        }
    }
    return n;
}

enum err score_set_rules(struct score *s, const struct threshold_conf *c, int64_t max_future_us,
                         struct errmsg *e)
{
    struct lane *lanes[SCORE_PARTITIONS_MAX];
    size_t n = lanes_of(s, lanes);
    enum err err = pipeline_set_rules(s->pipeline, lanes, n, c, max_future_us, e);
    for (int32_t p = 0; err == ERR_OK && p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) { /* what a decision came from can be told afterwards */
            log_line(FD_LOG_INFO, "rules_changed", "partition=%" PRId32 " from_offset=%" PRId64, p,
                     s->owned[p].next);
        }
    }
    return err;
}

static void tell_labels_full(struct score *s)
{
    uint64_t held = 0;
    if (log_limit_pass(&s->quiet, "labels_full", progress_now_us(), &held)) {
        log_line(
            FD_LOG_ERROR, "labels_full",
            "room=%zu detail=\"a label was lost: too many wait for the time they became known, "
            "or are remembered for partitions that come later; shorten the labels topic's "
            "retention\"",
            s->label_max);
    }
}

static void handle_label(struct score *s, const struct bus_message *m)
{
    struct feat_world *worlds[SCORE_PARTITIONS_MAX];
    size_t n = 0;
    for (int32_t p = 0; p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            worlds[n++] = s->owned[p].world;
        }
    }
    /* one instance writes dead letters for labels: the one that owns partition 0 */
    bool emit = s->owned[0].lane != NULL && m->offset >= s->labels.high;
    uint64_t lost = pipeline_counters(s->pipeline)->labels_lost;
    struct label label;
    bool known = pipeline_label_message(s->pipeline, worlds, n, m, emit, &label);
    bool full = pipeline_counters(s->pipeline)->labels_lost > lost;
    if (known && s->label_count < s->label_max) {
        s->label[s->label_count++] = label;
    } else if (known) {
        s->stats.labels_forgotten++;
        full = true;
    }
    if (full) {
        tell_labels_full(s);
    }
    s->labels.next = m->offset + 1;
}

/* From the log's timestamps of messages just decided to now. */
static void time_messages(struct score *s, const struct owned *o, const struct bus_message *m,
                          size_t n)
{
    if (s->conf.wall_us == NULL) {
        return;
    }
    int64_t now_us = s->conf.wall_us();
    for (size_t i = 0; i < n; i++) {
        if (m[i].offset >= o->emit_from && m[i].timestamp_us > 0) {
            int64_t took_us = now_us - m[i].timestamp_us;
            latency_add(&s->message_time, took_us > 0 ? (uint64_t)took_us * 1000 : 0);
        }
    }
}

static void handle_transactions(struct score *s, const struct bus_message *m, size_t n)
{
    struct owned *o = m->partition < SCORE_PARTITIONS_MAX ? &s->owned[m->partition] : NULL;
    if (o == NULL || o->lane == NULL) {
        return; /* revoked while its messages lay in the queue: the new owner decides them */
    }
    pipeline_messages(s->pipeline, o->lane, m, n, o->emit_from);
    for (size_t i = 0; i < n; i++) {
        s->stats.warmed += m[i].offset < o->emit_from;
    }
    time_messages(s, o, m, n);
    o->next = m[n - 1].offset + 1;
    while (s->flight_count == FLIGHT_MAX) {
        if (!go_on(s)) {
            s->unsent = s->unsent < s->batch ? s->unsent : s->batch;
            return;
        }
        commit_acknowledged(s, s->bus.wait(s->bus.self, 50), false);
    }
    s->flight[(s->flight_first + s->flight_count) % FLIGHT_MAX] =
        (struct flight){s->batch, m->partition, o->next};
    s->flight_count++;
}

/* Holds transactions back until the labels and notices of the start are read. */
static void pause_or_resume(struct score *s)
{
    bool wait = !caught_up(s);
    for (int32_t p = 0; p < s->partition_top; p++) {
        struct owned *o = &s->owned[p];
        if (o->lane != NULL && o->paused != wait) {
            s->bus.pause(s->bus.self, TOPIC_TRANSACTIONS, p, wait);
            o->paused = wait;
        }
    }
}

size_t score_turn(struct score *s)
{
    size_t n = s->bus.poll(s->bus.self, s->messages, s->conf.batch_max, s->conf.poll_ms);
    if (n > 0) {
        s->batch++;
        s->stats.batches++;
    }
    for (size_t i = 0; i < n;) {
        const struct bus_message *m = &s->messages[i];
        size_t k = i + 1;
        if (m->topic == TOPIC_TRANSACTIONS) {
            while (k < n && s->messages[k].topic == m->topic &&
                   s->messages[k].partition == m->partition) {
                k++;
            }
            handle_transactions(s, m, k - i);
        } else if (m->topic == TOPIC_LABELS) {
            handle_label(s, m);
        } else if (m->topic == TOPIC_NOTICES) {
            handle_notice(s, m);
        }
        i = k;
    }
    s->bus.release(s->bus.self);
    pause_or_resume(s);
    commit_acknowledged(s, s->bus.wait(s->bus.self, 0), false);
    return n;
}

enum err score_finish(struct score *s, int timeout_ms, struct errmsg *e)
{
    uint64_t open = s->bus.wait(s->bus.self, 0);
    for (int waited = 0; open != UINT64_MAX && open < s->unsent && waited < timeout_ms;
         waited += 50) {
        open = s->bus.wait(s->bus.self, 50);
    }
    commit_acknowledged(s, open, true);
    if (open != UINT64_MAX || s->unsent != UINT64_MAX) {
        struct bus_counters c;
        s->bus.counters(s->bus.self, &c);
        return err_set(e, ERR_UNAVAILABLE,
                       "%" PRIu64
                       " records were not acknowledged within %d ms; their messages will "
                       "be decided again at the next start",
                       c.queued, timeout_ms);
    }
    return ERR_OK;
}

void score_free(struct score *s)
{
    if (s == NULL) {
        return;
    }
    for (int32_t p = 0; p < s->partition_top; p++) {
        free_owned(&s->owned[p]);
    }
    region_array_free(s->label, s->label_max, sizeof *s->label);
    notice_done(&s->notice);
    pipeline_free(s->pipeline);
    model_free(s->noticed);
    free(s->messages);
    free(s);
}
