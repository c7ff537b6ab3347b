#include "daemon/score.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "base/progress.h"
#include "base/region.h"
#include "daemon/bus_trouble.h"
#include "daemon/score_private.h"

#define INBOX_MESSAGES 16384            /* of a partition; beyond it the log waits */
#define INBOX_BYTES ((size_t)128 << 20) /* of all partitions, in equal shares */
#define JOURNAL_BYTES ((size_t)32 << 20)
/* Batches of transactions read ahead; more would only be copied about while an entry comes back. */
#define BATCHES_AHEAD 2
#define LOOK_BUSY 32 /* cards of a partition, in a turn */
#define LOOK_IDLE 2048
#define HOLD_US 500000 /* then the group's news must be heard */

bool score_go_on(const struct score *s)
{
    return s->conf.go_on == NULL || s->conf.go_on(s->conf.ctx);
}

void score_fail(struct score *s, const char *event, const char *fmt, ...)
{
    char text[500];
    char quoted[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    s->failed = true;
    log_line(FD_LOG_ERROR, event, "detail=%s", log_quote(quoted, sizeof quoted, text));
}

/* Queues a record, waiting for room however long the broker takes: never dropped. */
static enum err queue_record(struct score *s, const struct bus_record *r, struct errmsg *e)
{
    enum err err = s->bus.send(s->bus.self, r, e);
    while (err == ERR_FULL && score_go_on(s)) {
        (void)s->bus.wait(s->bus.self, 50);
        err = s->bus.send(s->bus.self, r, e);
    }
    return err;
}

bool score_send(struct score *s, const struct bus_record *r)
{
    struct errmsg e = {""};
    struct bus_record record = *r;
    if (s->unsent != UINT64_MAX) {
        return false; /* stopping: what comes after a missing record is decided again later */
    }
    record.batch = s->batch;
    enum err err = queue_record(s, &record, &e);
    if (err == ERR_OK) {
        return true;
    }
    s->unsent = s->batch;
    if (err != ERR_FULL) {
        score_fail(s, "send_failed", "%s: %s", err_name(err), e.text);
    }
    return false;
}

enum err score_send_waiting(void *self, const struct bus_record *r, struct errmsg *e)
{
    return score_send(self, r)
               ? ERR_OK
               : err_set(e, ERR_UNAVAILABLE, "a notice was not sent: the process is ending");
}

static void on_record(void *ctx, const struct bus_record *r)
{
    (void)score_send(ctx, r);
}

static enum err make_journal(struct score *s, struct errmsg *e)
{
    static const struct journal_writer NOBODY;
    s->order = malloc(sizeof *s->order);
    s->entry = malloc(sizeof *s->entry);
    s->writing = malloc(sizeof *s->writing);
    s->bytes = malloc(JOURNAL_BYTES_MAX);
    if (s->order == NULL || s->entry == NULL || s->writing == NULL || s->bytes == NULL) {
        return err_set(e, ERR_NOMEM, "cannot start scoring: no memory");
    }
    journal_order_init(s->order, 0);
    s->writer = s->conf.writer;
    if (memcmp(&s->writer, &NOBODY, sizeof NOBODY) == 0 &&
        getrandom(&s->writer, sizeof s->writer, 0) != (ssize_t)sizeof s->writer) {
        return err_set(e, ERR_IO, "cannot draw a name for this process: getrandom fails");
    }
    return ERR_OK;
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
    s->conf.now_us = c->now_us != NULL ? c->now_us : progress_now_us;
    s->hand = c->hand != NULL ? c->hand : &s->own_hand;
    s->clock_ns = clock_ns;
    s->begun = s->models = (struct models){.at = {c->pipeline.model, NULL}};
    s->end_told = -1;
    s->own = (struct bounds){c->pipeline.threshold, c->pipeline.max_future_us};
    s->stats.settings_hash = bounds_hash(&s->own);
    s->stats.settings_notice = -1;
    s->label_max = c->world.label_queue_max;
    s->unsent = UINT64_MAX;
    s->quiet = (struct log_limit)LOG_LIMIT_INIT;
    recovery_begin(&s->recovery, s->conf.now_us());
    const struct pipeline_out to =
        c->watch != NULL ? *c->watch : (struct pipeline_out){.ctx = s, .record = on_record};
    enum err err = controls_create(false, &s->controls, e);
    if (err == ERR_OK) {
        s->conf.pipeline.controls = s->controls;
        err = pipeline_create(&s->conf.pipeline, &to, clock_ns, &s->pipeline, e);
    }
    if (err == ERR_OK) {
        err = make_journal(s, e);
    }
    if (err != ERR_OK) {
        score_free(s);
        return err;
    }
    *out = s;
    return ERR_OK;
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
    static const char *const NAMES[TOPIC_COUNT] = {
        [TOPIC_LABELS] = "labels", [TOPIC_NOTICES] = "notices", [TOPIC_JOURNAL] = "journal"};
    if (partition != 0) { /* the order between partitions is not recorded anywhere */
        s->failed = true;
        log_line(FD_LOG_ERROR, "topic_refused",
                 "topic=%s partition=%" PRId32
                 " detail=\"it must have one partition; `fraudd check` prints how to make it\"",
                 NAMES[topic], partition);
        return high;
    }
    if (topic == TOPIC_JOURNAL) {
        s->journal_begun = true;
        s->journal_low = low;
        s->journal_high = high;
        return low;
    }
    struct follow *f = topic == TOPIC_LABELS ? &s->labels : &s->notices;
    *f = (struct follow){.begun = true, .next = low, .high = high};
    if (topic == TOPIC_LABELS) { /* which of them are passed the notices say */
        s->labels_paused = true;
        s->bus.pause(s->bus.self, topic, partition, true);
    }
    return low;
}

static void drop_lane(struct score *s, int32_t partition)
{
    struct owned *o = &s->owned[partition];
    score_count_owned(o, &s->stats); /* what it counted stays counted */
    lane_free(o->lane);
    inbox_clear(&o->inbox);
    *o = (struct owned){0};
    s->stats.partitions--;
}

/* An empty lane marks the partition as ours; the rebuild makes those that learn. */
static enum err open_lane(struct score *s, int32_t partition, struct errmsg *e)
{
    if (partition < 0 || partition >= SCORE_PARTITIONS_MAX) {
        return err_set(e, ERR_INVALID, "at most %d partitions can be scored", SCORE_PARTITIONS_MAX);
    }
    enum err err = ERR_OK;
    if (s->world == NULL) {
        err = feat_world_create(&s->conf.pipeline.params, &s->conf.world, &s->world, e);
    }
    return err == ERR_OK
               ? lane_create(s->pipeline, s->world, partition, &s->owned[partition].lane, e)
               : err;
}

static int64_t on_assigned(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    struct score *s = ctx;
    struct errmsg e = {""};
    if (topic == TOPIC_LABELS || topic == TOPIC_NOTICES || topic == TOPIC_JOURNAL) {
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
        score_fail(s, "partition_refused", "partition %" PRId32 ": %s", partition, e.text);
        return high;
    }
    struct owned *o = &s->owned[partition];
    o->low = low;
    o->fresh = true;
    o->emit_from = committed >= 0 ? committed : low;
    o->learn = learn_from(s, partition, low, o->emit_from);
    o->from = -1;
    o->committed = o->acknowledged = committed;
    o->paused = true;
    s->bus.pause(s->bus.self, TOPIC_TRANSACTIONS, partition, true);
    if (partition >= s->partition_top) {
        s->partition_top = partition + 1;
    }
    s->stats.partitions++;
    s->rebuild = true;
    recovery_begin(&s->recovery, s->conf.now_us());
    recovery_reach(&s->recovery, RECOVERY_ASSIGNED, s->conf.now_us());
    log_line(FD_LOG_INFO, "partition_assigned",
             "partition=%" PRId32 " learn_from=%" PRId64 " decide_from=%" PRId64 " end=%" PRId64,
             partition, o->learn, o->emit_from, high);
    return o->learn;
}

/* Commits what is acknowledged: batches before first_open.  What fails is tried again the next
 * time. */
static void commit_acknowledged(struct score *s, uint64_t first_open, bool sync)
{
    struct errmsg e;
    first_open = first_open < s->unsent ? first_open : s->unsent;
    while (s->flight_count > 0) {
        const struct flight *f = &s->flight[s->flight_first % FLIGHT_MAX];
        if (f->batch >= first_open) {
            break;
        }
        s->owned[f->partition].acknowledged = f->next;
        s->flight_first++;
        s->flight_count--;
    }
    int32_t last = -1;
    for (int32_t p = 0; p < s->partition_top; p++) {
        const struct owned *o = &s->owned[p];
        last = o->lane != NULL && o->acknowledged > o->committed ? p : last;
    }
    for (int32_t p = 0; p <= last; p++) {
        struct owned *o = &s->owned[p];
        if (o->lane == NULL || o->acknowledged <= o->committed) {
            continue;
        }
        /* the last one waits for the broker, and with it all before: one request */
        if (s->bus.commit(s->bus.self, TOPIC_TRANSACTIONS, p, o->acknowledged, sync && p == last,
                          &e) == ERR_OK) {
            o->committed = o->acknowledged;
        } else {
            log_line(FD_LOG_WARN, "commit_failed", "partition=%" PRId32 " offset=%" PRId64, p,
                     o->acknowledged);
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
        for (int i = 0; i < 100 && s->bus.wait(s->bus.self, 50) <= s->batch && score_go_on(s);
             i++) {
        }
        commit_acknowledged(s, s->bus.wait(s->bus.self, 0), true);
    }
    drop_lane(s, partition);
    log_line(FD_LOG_INFO, "partition_revoked", "partition=%" PRId32 " lost=%d", partition, lost);
}

static void on_trouble(void *ctx, bool fatal, const char *text)
{
    struct score *s = ctx;
    s->failed |= fatal;
    bus_trouble_log(&s->quiet, fatal, text);
}

static void on_refused(void *ctx, const char *text)
{
    struct score *s = ctx;
    s->failed = true;
    (void)err_set(&s->refused, ERR_REFUSED, "%s", text);
}

struct bus_events score_events(struct score *s)
{
    return (struct bus_events){s, on_assigned, on_revoked, on_trouble, on_refused};
}

void score_attach(struct score *s, struct bus bus)
{
    s->bus = bus;
}

void score_note_flight(struct score *s, int32_t partition, int64_t next)
{
    if (next <= s->owned[partition].emit_from) {
        return; /* learnt */
    }
    while (s->flight_count == FLIGHT_MAX) {
        if (!score_go_on(s)) {
            s->unsent = s->unsent < s->batch ? s->unsent : s->batch;
            return;
        }
        commit_acknowledged(s, s->bus.wait(s->bus.self, 50), false);
    }
    s->flight[(s->flight_first + s->flight_count) % FLIGHT_MAX] =
        (struct flight){s->batch, partition, next};
    s->flight_count++;
}

static void keep(struct score *s, struct inbox *to, const struct bus_message *m, size_t n)
{
    if (!inbox_put(to, m, n)) {
        score_fail(s, "no_memory", "cannot keep %zu messages: no memory", n);
    }
}

static void take_transactions(struct score *s, const struct bus_message *m, size_t n)
{
    struct owned *o = m->partition < SCORE_PARTITIONS_MAX ? &s->owned[m->partition] : NULL;
    if (o == NULL || o->lane == NULL || o->from < 0) {
        return; /* revoked while its messages lay in the queue, or not asked for yet */
    }
    keep(s, &o->inbox, m, n);
    o->read = m[n - 1].offset + 1;
}

static void take(struct score *s, const struct bus_message *m, size_t n)
{
    switch (m->topic) {
    case TOPIC_TRANSACTIONS:
        take_transactions(s, m, n);
        break;
    case TOPIC_JOURNAL:
        if (s->stats.rebuilds > 0 && !s->rebuild) {
            keep(s, &s->journal, m, n);
        }
        break;
    case TOPIC_LABELS:
    case TOPIC_NOTICES:
        for (size_t i = 0; i < n; i++) {
            if (m->topic == TOPIC_LABELS) {
                score_take_label(s, &m[i]);
            } else {
                score_take_notice(s, &m[i]);
            }
        }
        break;
    default:
        break;
    }
}

static void pause_one(struct score *s, enum bus_topic topic, int32_t partition, bool *paused,
                      bool want)
{
    if (*paused != want) {
        s->bus.pause(s->bus.self, topic, partition, want);
        *paused = want;
    }
}

/* Lets transactions wait in the bus while enough of them wait here. */
static void hold_or_not(struct score *s)
{
    size_t waiting = 0;
    bool needed = false;
    for (int32_t p = 0; p < s->partition_top; p++) {
        waiting += s->owned[p].inbox.count;
        needed = needed || score_waits_for(s, p);
    }
    const int64_t now_us = s->conf.now_us();
    bool hold = waiting >= BATCHES_AHEAD * s->conf.batch_max && !needed;
    s->held_us = !hold ? 0 : s->held_us == 0 ? now_us : s->held_us;
    s->bus.hold(s->bus.self, hold && now_us - s->held_us < HOLD_US);
}

/* Lets logs wait whose messages pile up here. */
static void pause_or_resume(struct score *s)
{
    size_t share = INBOX_BYTES / (size_t)(s->stats.partitions > 0 ? s->stats.partitions : 1);
    for (int32_t p = 0; p < s->partition_top; p++) {
        struct owned *o = &s->owned[p];
        if (o->lane != NULL) {
            bool full = o->inbox.count >= INBOX_MESSAGES || o->inbox.bytes >= share;
            pause_one(s, TOPIC_TRANSACTIONS, p, &o->paused,
                      o->from < 0 || (full && !score_waits_for(s, p)));
        }
    }
    if (s->labels.begun) {
        pause_one(s, TOPIC_LABELS, 0, &s->labels_paused,
                  !followed(&s->notices) || s->hand->condemned != 0);
    }
    if (s->journal_begun) {
        pause_one(s, TOPIC_JOURNAL, 0, &s->journal_paused, s->journal.bytes >= JOURNAL_BYTES);
    }
}

/* Some cards a turn: what a turn has time for beside messages, or without. */
static void look_at_caches(struct score *s, bool idle)
{
    for (int32_t p = 0; s->models.at.shadow != NULL && p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            lane_look(s->owned[p].lane, s->pipeline, idle ? LOOK_IDLE : LOOK_BUSY);
        }
    }
}

size_t score_turn(struct score *s)
{
    size_t n = s->bus.poll(s->bus.self, s->messages, s->conf.batch_max, s->conf.poll_ms);
    for (size_t i = 0; i < n;) {
        const struct bus_message *m = &s->messages[i];
        size_t k = i + 1;
        while (k < n && s->messages[k].topic == m->topic &&
               s->messages[k].partition == m->partition) {
            k++;
        }
        take(s, m, k - i);
        i = k;
    }
    s->bus.release(s->bus.self);
    if (s->rebuild && s->journal_begun && followed(&s->labels) && followed(&s->notices) &&
        !s->failed) {
        score_rebuild(s);
    }
    if (!score_crash_waits(s) && !s->rebuild) {
        s->batch += s->journal.count > 0;
        score_apply(s);
        score_admit(s);
    }
    pause_or_resume(s);
    hold_or_not(s);
    commit_acknowledged(s, s->bus.wait(s->bus.self, 0), false);
    score_keep_turn(s);
    score_end_former(s);
    look_at_caches(s, n == 0);
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
    score_keep_close(s);
    for (int32_t p = 0; p < s->partition_top; p++) {
        lane_free(s->owned[p].lane);
        inbox_clear(&s->owned[p].inbox);
    }
    inbox_clear(&s->journal);
    feat_world_free(s->world);
    region_array_free(s->label, s->label_max, sizeof *s->label);
    notice_done(&s->notice);
    notice_done(&s->shadow_notice);
    notice_done(&s->rules_notice);
    pipeline_free(s->pipeline);
    controls_free(s->controls);
    for (size_t i = 0; i < s->noticed_count; i++) {
        model_free(s->noticed[i].model);
    }
    model_free(s->forgotten[0]);
    model_free(s->forgotten[1]);
    free(s->told);
    free(s->crash);
    free(s->order);
    free(s->entry);
    free(s->writing);
    free(s->bytes);
    free(s->messages);
    free(s);
}
