/* Payments and labels to Kafka, and how far they got.
 *
 * 1. What is sent and not yet stored never exceeds a window, because the embedded broker drops what
 *    lies over its 5 MiB a partition without a word.  Should it ever have dropped something unread,
 *    the demo ends with an error.
 * 2. A label is sent when the payments sent so far have reached its time known.
 * 3. The last part is open loop: payments leave by the clock, and a latency counts from the time a
 *    payment was due, so that waiting of the sender is in it. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/demo.h"
#include "daemon/settings.h"

#define CHUNK 256    /* payments between two looks around */
#define GREETING 100 /* payments that wait for the daemons to join their groups */
#define PACED_S 15   /* length of the open loop */
#define REPEATS 3    /* payments sent a second time */
#define ASK_US (20 * 1000)
#define CHECK_US (TIME_S / 2)
#define STALL_US (30 * TIME_S)
#define MESSAGES_MAX 512

static int64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * TIME_S + t.tv_nsec / 1000;
}

static void pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- bus ---- */

static int64_t from_the_first(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                              int64_t low, int64_t high)
{
    (void)ctx, (void)topic, (void)partition, (void)committed, (void)high;
    return low;
}

static int64_t from_now_on(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    int *started = ctx;
    (void)topic, (void)partition, (void)committed, (void)low;
    ++*started;
    return high;
}

static enum err open_bus(const struct demo_servers *servers, enum bus_topic read, bool produces,
                         const struct bus_events *events, struct bus *out, struct errmsg *e)
{
    struct bus_plan plan = {.client = "fraudd-demo", .produces = produces};
    plan.whole_topic[read] = true;
    for (unsigned t = 0; t < TOPIC_COUNT; t++) {
        plan.topic_name[t] = settings_topic(servers->conf, (enum bus_topic)t);
    }
    return bus_kafka_open(servers->conf, &plan, events, out, e);
}

static enum err put_record(struct demo_stream *s, enum bus_topic topic, struct slice key,
                           struct slice value, int64_t due_us, struct errmsg *e)
{
    const struct bus_record r = {.topic = topic,
                                 .partition = -1,
                                 .key = key.at,
                                 .key_len = key.len,
                                 .value = value.at,
                                 .value_len = value.len,
                                 .timestamp_us = due_us,
                                 .batch = (s->sent + s->labels) / CHUNK};
    enum err err = s->bus.send(s->bus.self, &r, e);
    while (err == ERR_FULL && !*s->plan->stop) {
        (void)s->bus.wait(s->bus.self, 20);
        err = s->bus.send(s->bus.self, &r, e);
    }
    return err;
}

static void count_dead(struct demo_stream *s, const struct bus_message *m)
{
    s->dead++;
    for (size_t h = 0; h < m->header_count; h++) {
        if (strcmp(m->headers[h].name, "reason") != 0) {
            continue;
        }
        for (unsigned r = 0; r < DEAD_REASON_COUNT; r++) {
            const char *name = dead_reason_name((enum dead_reason)r);
            s->dead_by_reason[r] += strlen(name) == m->headers[h].len &&
                                    memcmp(name, m->headers[h].value, m->headers[h].len) == 0;
        }
    }
}

static void serve_bus(struct demo_stream *s)
{
    struct bus_message m[64];
    size_t n = s->bus.poll(s->bus.self, m, sizeof m / sizeof m[0], 0);
    for (size_t i = 0; i < n; i++) {
        count_dead(s, &m[i]);
    }
    s->bus.release(s->bus.self);
    (void)s->bus.wait(s->bus.self, 0);
}

/* ---- how far things are ---- */

static int64_t *position_of(struct demo_stream *s, const char *topic)
{
    int64_t *const at[TOPIC_COUNT] = {[TOPIC_TRANSACTIONS] = &s->stored_transactions,
                                      [TOPIC_DECISIONS] = &s->stored_decisions,
                                      [TOPIC_LABELS] = &s->stored_labels,
                                      [TOPIC_ALERTS] = &s->stored_alerts};
    for (unsigned t = 0; t < TOPIC_COUNT; t++) {
        if (at[t] != NULL &&
            strcmp(topic, settings_topic(s->servers->conf, (enum bus_topic)t)) == 0) {
            return at[t];
        }
    }
    return NULL;
}

static enum err ask_positions(struct demo_stream *s, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err =
        db_exec(s->servers->db, "SELECT topic, sum(next_offset) FROM sink_offsets GROUP BY topic",
                0, NULL, &rows, e);
    if (err != ERR_OK) {
        return err;
    }
    s->asked_us = progress_now_us();
    for (int i = 0; i < db_rows_count(rows); i++) {
        int64_t *at = position_of(s, db_rows_text(rows, i, 0));
        int64_t next = strtoll(db_rows_text(rows, i, 1), NULL, 10);
        if (at != NULL && next > *at) {
            *at = next;
            s->changed_us = s->asked_us;
        }
    }
    db_rows_free(rows);
    return ERR_OK;
}

enum err demo_stream_bounds(const struct demo_stream *s, enum bus_topic topic, int64_t *out_low,
                            int64_t *out_high, struct errmsg *e)
{
    const char *name = settings_topic(s->servers->conf, topic);
    rd_kafka_resp_err_t why =
        rd_kafka_query_watermark_offsets(s->servers->broker, name, 0, out_low, out_high, 5000);
    return why == RD_KAFKA_RESP_ERR_NO_ERROR
               ? ERR_OK
               : err_set(e, ERR_UNAVAILABLE,
                         "the embedded broker does not tell how long \"%s\" is: %s", name,
                         rd_kafka_err2str(why));
}

/* Invariant 1: everything that was not stored yet is still in the log. */
static enum err check_kept(struct demo_stream *s, struct errmsg *e)
{
    static const enum bus_topic TOPICS[] = {TOPIC_TRANSACTIONS, TOPIC_DECISIONS, TOPIC_LABELS,
                                            TOPIC_ALERTS};
    for (size_t i = 0; i < sizeof TOPICS / sizeof TOPICS[0]; i++) {
        int64_t low = 0;
        int64_t high = 0;
        const char *name = settings_topic(s->servers->conf, TOPICS[i]);
        enum err err = demo_stream_bounds(s, TOPICS[i], &low, &high, e);
        if (err != ERR_OK) {
            return err;
        }
        if (low > *position_of(s, name)) {
            return err_set(e, ERR_MISMATCH,
                           "the embedded broker dropped messages of \"%s\" below offset %" PRId64
                           " while they were stored up to %" PRId64 " only",
                           name, low, *position_of(s, name));
        }
    }
    return ERR_OK;
}

static enum err stalled(struct demo_stream *s, struct errmsg *e)
{
    return err_set(e, ERR_UNAVAILABLE,
                   "nothing was stored for %d s: %" PRIu64 " payments sent, %" PRId64
                   " of them and %" PRId64 " decisions stored, %" PRIu64
                   " dead letters; --keep leaves the servers running, their logs are %s and %s",
                   (int)(STALL_US / TIME_S), s->sent, s->stored_transactions, s->stored_decisions,
                   s->dead, s->servers->score.log, s->servers->sink.log);
}

/* Looks around: acknowledgements, dead letters, positions, processes.  To be called often. */
static enum err look(struct demo_stream *s, struct errmsg *e)
{
    int64_t now_us = progress_now_us();
    enum err err = ERR_OK;
    serve_bus(s);
    if (*s->plan->stop) {
        return err_set(e, ERR_REFUSED, "stopped by a signal after %" PRIu64 " payments", s->sent);
    }
    if (now_us - s->asked_us >= ASK_US) {
        err = ask_positions(s, e);
    }
    if (err == ERR_OK && now_us - s->checked_us >= CHECK_US) {
        s->checked_us = now_us;
        err = demo_processes_check(s->servers, e);
        if (err == ERR_OK) {
            err = check_kept(s, e);
        }
    }
    if (err == ERR_OK && now_us - s->changed_us > STALL_US) {
        err = stalled(s, e);
    }
    return err;
}

enum err demo_stream_look(struct demo_stream *s, struct errmsg *e)
{
    pause_ms(2);
    return look(s, e);
}

static int64_t unstored(const struct demo_stream *s)
{
    int64_t undecided = (int64_t)(s->sent - s->dead) - s->stored_decisions;
    int64_t unread = (int64_t)s->sent - s->stored_transactions;
    return undecided > unread ? undecided : unread;
}

/* Waits until at most `most` payments are sent and not stored. */
static enum err wait_for(struct demo_stream *s, int64_t most, struct errmsg *e)
{
    enum err err = ERR_OK;
    while (err == ERR_OK && unstored(s) > most) {
        err = demo_stream_look(s, e);
    }
    return err;
}

/* ---- sending ---- */

/* Labels that are known at a time. */
static enum err send_labels(struct demo_stream *s, int64_t until_us, struct errmsg *e)
{
    struct verdict v;
    enum err err = ERR_OK;
    while ((err = verdicts_next(s->verdicts, until_us, &v, e)) == ERR_OK) {
        err = put_record(s, TOPIC_LABELS, v.card, v.json, 0, e);
        if (err != ERR_OK) {
            return err;
        }
        s->labels++;
    }
    return err == ERR_END ? ERR_OK : err;
}

static enum err send_payment(struct demo_stream *s, struct slice card, struct slice json,
                             int64_t due_us, struct errmsg *e)
{
    enum err err = put_record(s, TOPIC_TRANSACTIONS, card, json, due_us, e);
    s->sent += err == ERR_OK;
    return err;
}

static enum err send_hostile(struct demo_stream *s, const char *card, struct errmsg *e)
{
    char key[SIM_ID_MAX];
    size_t len = demo_hostile_make(s->planted, card, wall_us(), s->hostile, key);
    enum err err =
        send_payment(s, (struct slice){key, strlen(key)}, (struct slice){s->hostile, len}, 0, e);
    s->planted += err == ERR_OK;
    return err;
}

/* Whether something goes in between after row i: in the first half of the streamed part, at even
 * distances. */
static bool is_planting(const struct demo_stream *s, size_t i)
{
    const struct demo_data *d = s->data;
    size_t step = (d->n - d->stream_from) / 2 / (demo_hostile_count() + 1) + 1;
    return i > d->stream_from && (i - d->stream_from) % step == 0 &&
           s->planted < demo_hostile_count();
}

/* The next row, with what belongs before and after it: labels, hostile messages, repeats.
 * due_us: wall clock; 0: now. */
static enum err send_next(struct demo_stream *s, int64_t due_us, struct errmsg *e)
{
    char json[SIM_ROW_MAX];
    char card[SIM_ID_MAX];
    size_t len = 0;
    size_t i = s->next;
    const struct sim_tx *row = &s->data->rows[i];
    struct feed_item item;
    demo_data_decode(s->data, i, json, &len, &item.tx, &item.strings);
    item.json = (struct slice){json, len};
    item.fraud = row->pattern != SIM_LEGITIMATE;
    item.known_us = item.fraud ? row->label_us : INT64_MAX;
    sim_card_id(row->card, card);
    const struct slice key = {card, strlen(card)};
    enum err err = send_labels(s, row->event_us, e);
    if (err == ERR_OK) {
        err = verdicts_see(s->verdicts, &item, e);
    }
    if (err == ERR_OK) {
        err = send_payment(s, key, item.json, due_us, e);
    }
    if (err == ERR_OK && is_planting(s, i)) {
        err = send_hostile(s, card, e);
        if (err == ERR_OK && s->repeated < REPEATS) {
            err = send_payment(s, key, item.json, due_us, e);
            s->repeated++;
        }
    }
    s->next++;
    return err;
}

/* Sends rows up to `end` as fast as they are stored. */
static enum err send_fast(struct demo_stream *s, size_t end, const char *job, double *out_per_s,
                          struct errmsg *e)
{
    struct progress p;
    int64_t start_us = progress_now_us();
    int64_t stored = s->stored_decisions;
    size_t first = s->next;
    enum err err = ERR_OK;
    progress_begin(&p, job, (double)(end - first));
    while (err == ERR_OK && s->next < end) {
        for (size_t k = 0; k < CHUNK && s->next < end && err == ERR_OK; k++) {
            err = send_next(s, 0, e);
        }
        while (err == ERR_OK) {
            char detail[96];
            err = look(s, e);
            snprintf(detail, sizeof detail, "stored=%" PRId64 " dead_letters=%" PRIu64,
                     s->stored_decisions, s->dead);
            progress_update(&p, (double)(s->next - first), detail);
            if (unstored(s) <= DEMO_WINDOW) {
                break;
            }
            pause_ms(2);
        }
    }
    progress_end(&p, (double)(s->next - first));
    *out_per_s =
        (double)(s->stored_decisions - stored) * 1e6 / (double)(progress_now_us() - start_us + 1);
    return err;
}

/* ---- the open loop ---- */

static void measure(struct demo_stream *s, struct bus *watcher, int timeout_ms)
{
    struct bus_message m[MESSAGES_MAX];
    struct decision d;
    size_t n = watcher->poll(watcher->self, m, MESSAGES_MAX, timeout_ms);
    for (size_t i = 0; i < n; i++) {
        if (decode_decision(s->data->decoder, m[i].value, m[i].value_len, &d) != DEAD_NONE ||
            d.repeat || d.tx.len < 2) {
            continue;
        }
        char number[SIM_ID_MAX] = "";
        memcpy(number, d.tx.at + 1, d.tx.len - 1 < SIM_ID_MAX - 1 ? d.tx.len - 1 : SIM_ID_MAX - 1);
        uint64_t row = strtoull(number, NULL, 10) - 1;
        if (row < s->data->n && s->due_ms[row] != 0) {
            int64_t ms = m[i].timestamp_us / 1000 - s->due_ms[row];
            latency_add(&s->latency, ms > 0 ? (uint64_t)ms * 1000000 : 1);
        }
    }
    watcher->release(watcher->self);
}

/* Sends the rows that are due.  Holds back (and says so in the end) where the broker could no
 * longer keep what waits. */
static enum err send_due(struct demo_stream *s, size_t first, size_t end, int64_t start_us,
                         int64_t wall_start, struct errmsg *e)
{
    enum err err = ERR_OK;
    double elapsed = (double)(progress_now_us() - start_us) / 1e6;
    size_t due = first + (size_t)(elapsed * s->plan->rate);
    due = due < end ? due : end;
    if (unstored(s) > 2 * (int64_t)DEMO_WINDOW) {
        s->rate_held = false;
        return ERR_OK;
    }
    while (err == ERR_OK && s->next < due) {
        int64_t due_us = wall_start + (int64_t)(s->next - first) * TIME_S / s->plan->rate;
        s->due_ms[s->next] = due_us / 1000;
        err = send_next(s, due_us, e);
    }
    return err;
}

static enum err send_paced(struct demo_stream *s, size_t end, struct errmsg *e)
{
    int started = 0;
    struct bus watcher = {0};
    struct progress p;
    const struct bus_events events = {.ctx = &started, .assigned = from_now_on};
    enum err err = open_bus(s->servers, TOPIC_DECISIONS, false, &events, &watcher, e);
    for (int i = 0; err == ERR_OK && started == 0 && i < 500; i++) {
        measure(s, &watcher, 10);
    }
    size_t first = s->next;
    int64_t start_us = progress_now_us();
    int64_t wall_start = wall_us();
    s->rate_held = true;
    progress_begin(&p, "open loop", (double)(end - first));
    while (err == ERR_OK && s->next < end) {
        err = send_due(s, first, end, start_us, wall_start, e);
        if (err == ERR_OK) {
            err = look(s, e);
        }
        if (err == ERR_OK) {
            measure(s, &watcher, 1);
            progress_update(&p, (double)(s->next - first), NULL);
        }
    }
    s->paced_s = (double)(progress_now_us() - start_us) / 1e6;
    for (int i = 0; err == ERR_OK && s->latency.count < end - first && i < 1000; i++) {
        measure(s, &watcher, 10);
        err = look(s, e);
    }
    progress_end(&p, (double)(s->next - first));
    if (watcher.close != NULL) {
        watcher.close(watcher.self);
    }
    return err;
}

/* ---- all of it ---- */

static enum err begin(struct demo_stream *s, struct errmsg *e)
{
    const struct bus_events events = {.ctx = s, .assigned = from_the_first};
    s->due_ms = calloc(s->data->n, sizeof *s->due_ms);
    s->hostile = malloc(DEMO_HOSTILE_MAX);
    if (s->due_ms == NULL || s->hostile == NULL) {
        return err_set(e, ERR_NOMEM, "cannot stream %zu payments: no memory", s->data->n);
    }
    struct feature_params params;
    demo_data_params(s->data, &params);
    enum err err = verdicts_create(&params, "chargebacks", &s->verdicts, e);
    if (err == ERR_OK) {
        err = open_bus(s->servers, TOPIC_DEAD_LETTERS, true, &events, &s->bus, e);
        s->open = err == ERR_OK;
    }
    s->changed_us = progress_now_us();
    while (err == ERR_OK && s->next < GREETING && s->next < s->data->n) {
        err = send_next(s, 0, e);
    }
    return err == ERR_OK ? wait_for(s, 0, e) : err;
}

/* Sends the labels known by now and waits until the sink has read every topic to its end. */
static enum err drain(struct demo_stream *s, int64_t now_us, struct errmsg *e)
{
    enum err err = send_labels(s, now_us, e);
    if (err == ERR_OK) {
        err = wait_for(s, 0, e);
    }
    int64_t low = 0;
    int64_t alerts = INT64_MAX;
    while (err == ERR_OK && (s->stored_alerts < alerts || s->stored_labels < (int64_t)s->labels)) {
        pause_ms(10);
        err = look(s, e);
        if (err == ERR_OK) {
            err = demo_stream_bounds(s, TOPIC_ALERTS, &low, &alerts, e);
        }
    }
    return err;
}

enum err demo_stream_run(struct demo_stream *s, struct errmsg *e)
{
    size_t end = demo_data_find(s->data, s->plan->update_us);
    size_t streamed = end - s->data->stream_from;
    size_t paced = (size_t)s->plan->rate * PACED_S;
    paced = paced < streamed / 2 ? paced : streamed / 2;
    enum err err = begin(s, e);
    if (err == ERR_OK) {
        err = send_fast(s, s->data->stream_from, "history", &s->history_per_s, e);
    }
    if (err == ERR_OK) {
        err = send_fast(s, end - paced, "stream", &s->fast_per_s, e);
    }
    if (err == ERR_OK) {
        err = wait_for(s, 0, e); /* the open loop begins with nothing on its way */
    }
    if (err == ERR_OK) {
        err = send_paced(s, end, e);
    }
    return err == ERR_OK ? drain(s, s->plan->update_us, e) : err;
}

enum err demo_stream_half(struct demo_stream *s, struct errmsg *e)
{
    double per_s = 0; /* of a moment: not told */
    s->changed_us = progress_now_us();
    enum err err = send_fast(s, s->next + (s->data->n - s->next) / 2, "in shadow", &per_s, e);
    return err == ERR_OK ? wait_for(s, 0, e) : err;
}

enum err demo_stream_rest(struct demo_stream *s, struct errmsg *e)
{
    double per_s = 0; /* of a moment: not told */
    s->changed_us = progress_now_us();
    enum err err = send_fast(s, s->data->n, "after the update", &per_s, e);
    return err == ERR_OK ? drain(s, s->plan->end_us, e) : err;
}

void demo_stream_done(struct demo_stream *s)
{
    if (s->open) {
        s->bus.close(s->bus.self);
        s->open = false;
    }
    free(s->due_ms);
    free(s->hostile);
    verdicts_free(s->verdicts);
    s->due_ms = NULL;
    s->hostile = NULL;
    s->verdicts = NULL;
}
