#include "daemon/score.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/notice.h"

#define PARTITIONS_MAX 1024
/* batches whose records may be on their way at once */
#define FLIGHT_MAX 4096

struct owned {
    struct lane *lane;
    int64_t emit_from; /* offsets below are learnt from only */
    int64_t next;      /* after the last message handled */
    int64_t committed; /* next offset as committed by us; -1 nothing yet */
    bool paused;
};

/* After this batch the partition's next offset is `next`. */
struct flight {
    uint64_t batch;
    int32_t partition;
    int64_t next;
};

struct score {
    struct score_conf conf;
    struct bus bus;
    bool attached;
    struct pipeline *pipeline;
    struct owned owned[PARTITIONS_MAX];
    int32_t partition_top; /* after the highest owned */
    struct flight flight[FLIGHT_MAX];
    size_t flight_first, flight_count;
    uint64_t batch;
    struct bus_message *messages;
    int64_t labels_next, labels_high; /* read up to; end of the log at the start */
    struct notice_reader notice;
    struct model *noticed; /* the model that came last by notice, owned */
    bool failed;
    struct score_stats stats;
};

static void on_record(void *ctx, const struct bus_record *r)
{
    struct score *s = ctx;
    struct errmsg e;
    struct bus_record record = *r;
    record.batch = s->batch;
    enum err err = s->bus.send(s->bus.self, &record, &e);
    while (err == ERR_FULL) {
        /* never dropped: wait for room, however long the broker takes */
        (void)s->bus.wait(s->bus.self, 50);
        err = s->bus.send(s->bus.self, &record, &e);
    }
    if (err != ERR_OK) {
        char quoted[256];
        s->failed = true;
        log_line(FD_LOG_ERROR, "send_failed", "error=%s detail=%s", err_name(err),
                 log_quote(quoted, sizeof quoted, e.text));
    }
}

enum err score_create(const struct score_conf *c, uint64_t (*clock_ns)(void), struct score **out,
                      struct errmsg *e)
{
    struct score *s = calloc(1, sizeof *s);
    if (s == NULL || (s->messages = calloc(c->batch_max, sizeof *s->messages)) == NULL) {
        score_free(s);
        return err_set(e, ERR_NOMEM, "cannot start scoring: no memory");
    }
    s->conf = *c;
    const struct pipeline_out to = {.ctx = s, .record = on_record};
    enum err err = pipeline_create(&c->pipeline, &to, clock_ns, &s->pipeline, e);
    if (err != ERR_OK) {
        score_free(s);
        return err;
    }
    *out = s;
    return ERR_OK;
}

static bool labels_read(const struct score *s)
{
    return s->labels_next >= s->labels_high;
}

static int64_t on_assigned(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    struct score *s = ctx;
    struct errmsg e;
    if (topic == TOPIC_LABELS) {
        s->labels_next = low;
        s->labels_high = high;
        return low;
    }
    if (topic != TOPIC_TRANSACTIONS) {
        return low;
    }
    if (partition < 0 || partition >= PARTITIONS_MAX ||
        lane_create(s->pipeline, partition, &s->owned[partition].lane, &e) != ERR_OK) {
        s->failed = true;
        log_line(FD_LOG_ERROR, "partition_refused", "partition=%" PRId32 " max=%d", partition,
                 PARTITIONS_MAX);
        return high;
    }
    struct owned *o = &s->owned[partition];
    o->emit_from = committed >= 0 ? committed : low;
    o->next = low;
    o->committed = committed;
    if (partition >= s->partition_top) {
        s->partition_top = partition + 1;
    }
    s->stats.partitions++;
    log_line(FD_LOG_INFO, "partition_assigned",
             "partition=%" PRId32 " learn_from=%" PRId64 " decide_from=%" PRId64 " end=%" PRId64,
             partition, low, o->emit_from, high);
    return low;
}

/* Commits what is acknowledged: batches before first_open. */
static void commit_acknowledged(struct score *s, uint64_t first_open, bool sync)
{
    int64_t next[PARTITIONS_MAX];
    struct errmsg e;
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
    for (int32_t p = 0; p < s->partition_top; p++) {
        struct owned *o = &s->owned[p];
        if (next[p] > o->committed && next[p] > o->emit_from && o->lane != NULL) {
            enum err err = s->bus.commit(s->bus.self, TOPIC_TRANSACTIONS, p, next[p], sync, &e);
            if (err == ERR_OK) {
                o->committed = next[p];
            } else {
                log_line(FD_LOG_WARN, "commit_failed", "partition=%" PRId32 " offset=%" PRId64, p,
                         next[p]);
            }
        }
    }
}

static void on_revoked(void *ctx, enum bus_topic topic, int32_t partition, bool lost)
{
    struct score *s = ctx;
    if (topic != TOPIC_TRANSACTIONS || partition < 0 || partition >= PARTITIONS_MAX ||
        s->owned[partition].lane == NULL) {
        return;
    }
    if (!lost) {
        for (int i = 0; i < 100 && s->bus.wait(s->bus.self, 50) <= s->batch; i++) {
        }
        commit_acknowledged(s, s->bus.wait(s->bus.self, 0), true);
    }
    lane_free(s->owned[partition].lane);
    s->owned[partition] = (struct owned){0};
    s->stats.partitions--;
    log_line(FD_LOG_INFO, "partition_revoked", "partition=%" PRId32 " lost=%d", partition, lost);
}

static void on_trouble(void *ctx, bool fatal, const char *text)
{
    struct score *s = ctx;
    char quoted[512];
    s->failed |= fatal;
    log_line(fatal ? FD_LOG_ERROR : FD_LOG_WARN, "kafka_trouble", "fatal=%d detail=%s", fatal,
             log_quote(quoted, sizeof quoted, text));
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

static void take_model(struct score *s, const uint8_t *bytes, size_t len)
{
    struct model *m = NULL;
    struct errmsg e;
    char quoted[512];
    enum err err = model_load(bytes, len, &m, &e);
    if (err == ERR_OK) {
        err = pipeline_set_model(s->pipeline, m, &e);
    }
    if (err != ERR_OK) {
        model_free(m);
        s->stats.notices_refused++;
        log_line(FD_LOG_ERROR, "model_refused", "detail=%s",
                 log_quote(quoted, sizeof quoted, e.text));
        return;
    }
    model_free(s->noticed);
    s->noticed = m;
    s->stats.model_switches++;
    log_line(FD_LOG_INFO, "model_switched", "version=%s", model_lineage(m)->version);
}

static void handle_notice(struct score *s, const struct bus_message *m)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    struct errmsg e;
    enum err err = notice_take(&s->notice, m, &bytes, &len, &e);
    if (err == ERR_END) {
        take_model(s, bytes, len);
    } else if (err != ERR_OK) {
        s->stats.notices_refused++;
        log_line(FD_LOG_WARN, "notice_refused", "offset=%" PRId64 " error=%s", m->offset,
                 err_name(err));
    }
}

static void handle_label(struct score *s, const struct bus_message *m)
{
    struct lane *lanes[PARTITIONS_MAX];
    size_t n = 0;
    for (int32_t p = 0; p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            lanes[n++] = s->owned[p].lane;
        }
    }
    /* one instance writes dead letters for labels: the one that owns partition 0 */
    bool emit = s->owned[0].lane != NULL && m->offset >= s->labels_high;
    pipeline_label_message(s->pipeline, lanes, n, m, emit);
    s->labels_next = m->offset + 1;
}

static void handle_transactions(struct score *s, const struct bus_message *m, size_t n)
{
    struct owned *o = m->partition < PARTITIONS_MAX ? &s->owned[m->partition] : NULL;
    if (o == NULL || o->lane == NULL) {
        return; /* revoked while its messages lay in the queue: the new owner decides them */
    }
    pipeline_messages(s->pipeline, o->lane, m, n, o->emit_from);
    for (size_t i = 0; i < n; i++) {
        s->stats.warmed += m[i].offset < o->emit_from;
    }
    o->next = m[n - 1].offset + 1;
    while (s->flight_count == FLIGHT_MAX) {
        commit_acknowledged(s, s->bus.wait(s->bus.self, 50), false);
    }
    s->flight[(s->flight_first + s->flight_count) % FLIGHT_MAX] =
        (struct flight){s->batch, m->partition, o->next};
    s->flight_count++;
}

/* Holds transactions back until the labels of the start are read. */
static void pause_or_resume(struct score *s)
{
    bool wait = !labels_read(s);
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
    pause_or_resume(s);
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
    commit_acknowledged(s, s->bus.wait(s->bus.self, 0), false);
    return n;
}

enum err score_finish(struct score *s, int timeout_ms, struct errmsg *e)
{
    uint64_t open = s->bus.wait(s->bus.self, 0);
    for (int waited = 0; open != UINT64_MAX && waited < timeout_ms; waited += 50) {
        open = s->bus.wait(s->bus.self, 50);
    }
    commit_acknowledged(s, open, true);
    if (open != UINT64_MAX) {
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

void score_stats(const struct score *s, struct score_stats *out)
{
    *out = s->stats;
    out->pipeline = *pipeline_counters(s->pipeline);
    s->bus.counters(s->bus.self, &out->bus);
    out->ready = labels_read(s) && s->stats.partitions > 0;
    for (int32_t p = 0; p < s->partition_top; p++) {
        const struct owned *o = &s->owned[p];
        struct feat_counters c;
        if (o->lane == NULL) {
            continue;
        }
        feat_counters(lane_features(o->lane), &c);
        out->cards += (int64_t)c.cards;
        out->places += (int64_t)c.places;
        out->state_bytes += (int64_t)c.bytes;
        out->ready &= o->next >= o->emit_from;
    }
}

const struct pipeline *score_pipeline(const struct score *s)
{
    return s->pipeline;
}

bool score_failed(const struct score *s)
{
    return s->failed;
}

void score_free(struct score *s)
{
    if (s == NULL) {
        return;
    }
    for (int32_t p = 0; p < s->partition_top; p++) {
        lane_free(s->owned[p].lane);
    }
    notice_done(&s->notice);
    pipeline_free(s->pipeline);
    model_free(s->noticed);
    free(s->messages);
    free(s);
}
