#include "daemon/sink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/bus_trouble.h"
#include "daemon/card_number.h"
#include "daemon/decode.h"
#include "daemon/encode.h"
#include "daemon/outbox.h"
#include "daemon/schemas.h"
#include "daemon/sink_lines.h"
#include "daemon/upkeep.h"
#include "storage/migrate.h"
#include "storage/sink_writer.h"

#define PARTITIONS_MAX 1024
/* a COPY line of the largest message, every byte escaped, and the message without card numbers */
#define LINE_MAX_BYTES (3 * WIRE_MESSAGE_MAX + 4096)
#define LINES_BYTES ((size_t)16 << 20)
#define RETRY_MS_MAX 1600 /* between attempts: rows are written again soon after the return */

struct sink {
    struct sink_conf conf;
    struct bus bus;
    struct db *db;
    struct decoder *decoder;
    struct bus_message *messages;
    struct sink_row *rows;
    char *lines; /* [LINES_BYTES] */
    size_t lines_len;
    char id[512];
    char json[ENCODE_MAX];
    int64_t next[TOPIC_COUNT][PARTITIONS_MAX];  /* to be read; -1: not ours */
    int64_t known[TOPIC_COUNT][PARTITIONS_MAX]; /* what PostgreSQL has; -1: nothing */
    int64_t low[TOPIC_COUNT][PARTITIONS_MAX];   /* the log's first offset, at the start */
    bool doubted; /* the connection was lost: what PostgreSQL has may be less than it was */
    struct sink_position at[TOPIC_COUNT * PARTITIONS_MAX]; /* of the rows being written */
    int64_t written_us;               /* monotonic; of the latest SQL transaction */
    struct hand_page *hand, own_hand; /* the caller's, or our own */
    bool passes;           /* a message that ended us is passed with the rows being written */
    bool failed;           /* the bus told of a fatal trouble */
    struct errmsg refused; /* the brokers' refusal, "" none */
    bool drained;          /* the latest poll took all there was */
    struct latency write_time;
    struct log_limit quiet;
    struct outbox outbox;
    struct upkeep upkeep;
    struct sink_stats stats;
};

enum err sink_create(const struct sink_conf *c, struct sink **out, struct errmsg *e)
{
    enum err err = ERR_OK;
    size_t batch_max = c->batch_max < BUS_POLL_MAX ? c->batch_max : BUS_POLL_MAX;
    struct sink *s = calloc(1, sizeof *s);
    if (s == NULL || (s->messages = calloc(batch_max, sizeof *s->messages)) == NULL ||
        (s->rows = calloc(batch_max, sizeof *s->rows)) == NULL ||
        (s->lines = malloc(LINES_BYTES)) == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot start the sink: no memory");
        goto out;
    }
    s->conf = *c;
    s->hand = c->hand != NULL ? c->hand : &s->own_hand;
    s->conf.batch_max = batch_max;
    memset(s->next, 0xff, sizeof s->next);
    memset(s->known, 0xff, sizeof s->known);
    s->quiet = (struct log_limit)LOG_LIMIT_INIT;
    err = decoder_create(c->rates, WIRE_MESSAGE_MAX, &s->decoder, e);
    if (err == ERR_OK && c->cards != NULL) {
        err = decode_guard(s->decoder, c->cards, e);
    }
    if (err == ERR_OK) {
        decode_schemas(s->decoder, c->schemas);
    }
    if (err == ERR_OK) {
        err = db_open(c->conninfo, &s->db, e);
    }
    if (err == ERR_OK) {
        err = migrate_check(s->db, e);
    }
    if (err == ERR_OK) {
        *out = s;
        s = NULL;
    }
out:
    sink_free(s);
    return err;
}

void sink_free(struct sink *s)
{
    if (s != NULL) {
        outbox_forget(&s->outbox);
        decoder_free(s->decoder);
        db_close(s->db);
        free(s->messages);
        free(s->rows);
        free(s->lines);
        free(s);
    }
}

static bool go_on(const struct sink *s)
{
    return s->conf.go_on == NULL || s->conf.go_on(s->conf.ctx);
}

/* Sleeps in short pieces; false: told to give up. */
static bool pause_ms(const struct sink *s, long ms)
{
    for (; ms > 0 && go_on(s); ms -= 100) {
        const struct timespec t = {0, (ms < 100 ? ms : 100) * 1000000};
        nanosleep(&t, NULL);
    }
    return go_on(s);
}

/* A line for the first failure of a kind, then at doubling intervals, however many attempts. */
static void log_retry(struct sink *s, const char *event, const char *text)
{
    char quoted[600];
    uint64_t held = 0;
    if (log_limit_pass(&s->quiet, text, progress_now_us(), &held)) {
        log_line(FD_LOG_WARN, event, "retries=%" PRIu64 " not_shown=%" PRIu64 " detail=%s",
                 s->stats.retries, held, log_quote(quoted, sizeof quoted, text));
    }
}

/* Waits until the database answers again. */
static void reconnect(struct sink *s)
{
    long wait_ms = 100;
    struct errmsg e = {""};
    outbox_forget(&s->outbox);
    db_close(s->db);
    s->db = NULL;
    s->doubted = true;
    while (go_on(s) && db_open(s->conf.conninfo, &s->db, &e) != ERR_OK) {
        s->stats.retries++;
        log_retry(s, "database_away", e.text);
        if (!pause_ms(s, wait_ms)) {
            return;
        }
        wait_ms = wait_ms < RETRY_MS_MAX ? wait_ms * 2 : RETRY_MS_MAX;
    }
}

/* Where reading begins by what the database has: it knows better than the group. */
static int64_t begin_at(struct sink *s, enum bus_topic topic, int32_t partition, int64_t low)
{
    struct errmsg e;
    int64_t has = -1;
    while (s->db == NULL ||
           sink_offset(s->db, s->conf.topic_name[topic], partition, &has, &e) != ERR_OK) {
        s->stats.outages += s->db != NULL;
        reconnect(s);
        if (s->db == NULL) {
            return low; /* stopping: nothing is written any more */
        }
    }
    if (has >= 0 && has < low) {
        log_line(FD_LOG_ERROR, "log_gone",
                 "topic=%s partition=%" PRId32 " wanted=%" PRId64 " first=%" PRId64
                 " lost=%" PRId64,
                 s->conf.topic_name[topic], partition, has, low, low - has);
    }
    int64_t next = has < low ? low : has;
    if (partition >= 0 && partition < PARTITIONS_MAX) {
        s->next[topic][partition] = next;
        s->known[topic][partition] = has;
        s->low[topic][partition] = low;
    }
    return next;
}

static int64_t on_assigned(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    struct sink *s = ctx;
    (void)committed;
    int64_t next = begin_at(s, topic, partition, low);
    log_line(FD_LOG_INFO, "partition_assigned",
             "topic=%s partition=%" PRId32 " from=%" PRId64 " end=%" PRId64,
             s->conf.topic_name[topic], partition, next, high);
    return next;
}

static void on_revoked(void *ctx, enum bus_topic topic, int32_t partition, bool lost)
{
    struct sink *s = ctx;
    (void)lost; /* everything read was written before the next poll */
    if (partition >= 0 && partition < PARTITIONS_MAX) {
        s->next[topic][partition] = -1;
    }
}

static void on_trouble(void *ctx, bool fatal, const char *text)
{
    struct sink *s = ctx;
    s->failed |= fatal;
    bus_trouble_log(&s->quiet, fatal, text);
}

static void on_refused(void *ctx, const char *text)
{
    struct sink *s = ctx;
    s->failed = true;
    (void)err_set(&s->refused, ERR_REFUSED, "%s", text);
}

struct bus_events sink_events(struct sink *s)
{
    return (struct bus_events){s, on_assigned, on_revoked, on_trouble, on_refused};
}

void sink_attach(struct sink *s, struct bus bus)
{
    s->bus = bus;
}

/* Writes the message's COPY line; false: it is no message of its topic.  numbers: the message has
 * card numbers in it, so what is kept of it is written anew, without the members that its format
 * does not name. */
static bool make_line(struct sink *s, const struct bus_message *m, bool numbers,
                      struct sink_line *l, struct sink_row *row)
{
    struct slice body = {m->value, m->value_len};
    struct tx t;
    struct tx_strings n;
    struct decision d;
    struct label b;
    struct label_strings bn;
    switch (m->topic) {
    case TOPIC_TRANSACTIONS:
        row->table = SINK_TRANSACTIONS;
        if (decode_tx(s->decoder, m->value, m->value_len, m->key != NULL ? m->key : "", m->key_len,
                      m->timestamp_us, s->conf.max_future_us, &t, &n) != DEAD_NONE) {
            return false;
        }
        row->event_us = t.event_us;
        sink_transaction_line(l, s->conf.log, m, &t, &n);
        return true;
    case TOPIC_DECISIONS:
        row->table = SINK_DECISIONS;
        if (decode_decision(s->decoder, m->value, m->value_len, &d) != DEAD_NONE) {
            return false;
        }
        row->event_us = d.event_us;
        sink_decision_line(l, m, &d);
        return true;
    case TOPIC_ALERTS:
        row->table = SINK_ALERTS;
        if (decode_alert(s->decoder, m->value, m->value_len, &d, &t, &n) != DEAD_NONE) {
            return false;
        }
        row->event_us = d.event_us;
        if (numbers) {
            body.at = s->json;
            if (encode_alert(&d, &t, &n, s->json, sizeof s->json, &body.len) != ERR_OK) {
                return false;
            }
        }
        sink_alert_line(l, body, &d, &t, &n);
        return true;
    case TOPIC_LABELS:
        row->table = SINK_LABELS;
        if (decode_label(s->decoder, m->value, m->value_len, m->timestamp_us, s->conf.max_future_us,
                         &b, &bn) != DEAD_NONE) {
            return false;
        }
        row->event_us = b.event_us;
        if (numbers) {
            body.at = s->json;
            if (encode_label(&b, &bn, s->json, sizeof s->json, &body.len) != ERR_OK) {
                return false;
            }
        }
        sink_label_line(l, body, &b, &bn);
        return true;
    case TOPIC_NOTICES:
    case TOPIC_DEAD_LETTERS:
    case TOPIC_JOURNAL:
    case TOPIC_COUNT:
        break;
    }
    return false;
}

/* Whether a message has ended us twice.  `score` makes a dead letter of it, or it is no payment. */
static bool pass_condemned(struct sink *s, const struct bus_message *m)
{
    if (s->hand->condemned == 0 ||
        !hand_suspects(s->hand, m->topic, m->partition, m->offset, m->offset)) {
        return false;
    }
    log_line(FD_LOG_ERROR, "message_passed",
             "topic=%s partition=%" PRId32 " offset=%" PRId64
             " detail=\"it has ended this process twice: no row is made of it\"",
             s->conf.topic_name[m->topic], m->partition, m->offset);
    s->stats.undecodable++;
    s->passes = true;
    return true;
}

/* Whether a payment can be read; `wait`: until it can or we are told to give up. */
static bool readable(struct sink *s, const struct bus_message *m, bool wait)
{
    while (s->conf.schemas != NULL && m->topic == TOPIC_TRANSACTIONS &&
           !schemas_ready(s->conf.schemas, m->value, m->value_len, false)) {
        if (!wait || !pause_ms(s, 50)) {
            return false;
        }
    }
    return true;
}

static void note_next(struct sink *s, const struct bus_message *m)
{
    if (m->partition < PARTITIONS_MAX) {
        s->next[m->topic][m->partition] = m->offset + 1;
    }
}

/* How much of a message that the database refuses is kept: of one that is not text its schema's id
 * only, because no search finds every card number there. */
static size_t raw_len(const struct sink *s, const struct bus_message *m)
{
    const bool framed = s->conf.schemas != NULL && m->topic == TOPIC_TRANSACTIONS;
    return framed && m->value_len > SCHEMAS_HEADER ? SCHEMAS_HEADER : m->value_len;
}

/* Makes rows of messages from `from` on while their lines fit, up to one that is passed: its
 * position is written before another one may end us.  Returns the index after the last one. */
static size_t make_rows(struct sink *s, size_t from, size_t n, size_t *out_rows)
{
    size_t rows = 0;
    size_t i = from;
    s->lines_len = 0;
    for (; i < n && s->lines_len + LINE_MAX_BYTES <= LINES_BYTES; i++) {
        const struct bus_message *m = &s->messages[i];
        if (!readable(s, m, i == from)) {
            break; /* what was made so far is written meanwhile */
        }
        note_next(s, m);
        if (pass_condemned(s, m)) {
            i++;
            break;
        }
        hand_take(s->hand, HAND_LOOK, m->topic, m->partition, m->offset, m->offset);
        char *masked = s->lines + s->lines_len;
        bool fits = m->value_len <= WIRE_MESSAGE_MAX;
        bool numbers = fits && card_number_mask(m->value, m->value_len, masked);
        struct sink_line l = {masked + (numbers ? m->value_len : 0), 0};
        struct sink_row *row = &s->rows[rows];
        *row = (struct sink_row){.topic = s->conf.topic_name[m->topic],
                                 .partition = m->partition,
                                 .offset = m->offset,
                                 .raw = numbers ? masked : m->value,
                                 .raw_len = raw_len(s, m)};
        if (fits && make_line(s, m, numbers, &l, row)) {
            row->line = l.start;
            row->line_len = l.len;
            s->lines_len += (size_t)(l.start - masked) + l.len;
            rows++;
        } else {
            s->stats.undecodable++; /* `score` has put it among the dead letters */
        }
        hand_done(s->hand);
    }
    *out_rows = rows;
    return i;
}

/* The positions that change; all: the others besides, to be compared only. */
static size_t positions(const struct sink *s, bool all, struct sink_position *out)
{
    size_t n = 0;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; p < PARTITIONS_MAX; p++) {
            int64_t next = s->next[t][p];
            if (next >= 0 && (all || next != s->known[t][p])) {
                out[n++] = (struct sink_position){s->conf.topic_name[t], p, next, s->known[t][p]};
            }
        }
    }
    return n;
}

/* PostgreSQL has less than it had: all partitions are read again from where it says. */
static void take_back(struct sink *s, const char *why)
{
    char quoted[600];
    s->stats.taken_back++;
    log_line(FD_LOG_ERROR, "database_behind", "detail=%s", log_quote(quoted, sizeof quoted, why));
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; p < PARTITIONS_MAX && go_on(s); p++) {
            if (s->next[t][p] < 0) {
                continue;
            }
            int64_t had = s->known[t][p];
            int64_t next = begin_at(s, (enum bus_topic)t, p, s->low[t][p]);
            s->bus.seek(s->bus.self, (enum bus_topic)t, p, next);
            if (s->known[t][p] < had) {
                log_line(FD_LOG_ERROR, "read_again",
                         "topic=%s partition=%" PRId32 " written=%" PRId64 " has=%" PRId64
                         " from=%" PRId64,
                         s->conf.topic_name[t], p, had, s->known[t][p], next);
            }
        }
    }
}

/* What was made of the messages is in the database. */
static void note_written(struct sink *s, size_t rows, size_t rejected)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; p < PARTITIONS_MAX; p++) {
            if (s->next[t][p] > s->known[t][p]) {
                s->known[t][p] = s->next[t][p];
            }
        }
    }
    if (s->passes) {
        hand_clear(s->hand);
        s->passes = false;
    }
    s->stats.rows += rows;
    s->stats.rejected += rejected;
    s->stats.transactions++;
}

/* Writes rows and positions, for as long as it takes; false: we are to stop, or what the database
 * lost is read again: nothing was written and what was read with these rows is void. */
static bool write_rows(struct sink *s, size_t rows)
{
    struct errmsg e = {""};
    size_t rejected = 0;
    long wait_ms = 200;
    enum err err = ERR_UNAVAILABLE;
    for (;;) {
        int64_t start_us = progress_now_us();
        if (s->db != NULL) {
            size_t count = positions(s, s->doubted, s->at);
            err = sink_write(s->db, s->rows, rows, s->at, count, &rejected, &e);
        }
        s->written_us = progress_now_us();
        if (err == ERR_OK) {
            latency_add(&s->write_time, (uint64_t)(s->written_us - start_us) * 1000);
            break;
        }
        if (err == ERR_MISMATCH) {
            s->doubted = false;
            s->passes = false;
            take_back(s, e.text);
            return false;
        }
        if (s->db != NULL) {
            s->stats.outages++;
            log_retry(s, "write_failed", e.text);
        }
        if (!pause_ms(s, wait_ms)) {
            return false;
        }
        wait_ms = wait_ms < RETRY_MS_MAX ? wait_ms * 2 : RETRY_MS_MAX;
        reconnect(s);
    }
    s->doubted = false;
    note_written(s, rows, rejected);
    return true;
}

/* Gives rows the time to gather: many small SQL transactions cost more than few large ones.  Not
 * while there is a good part of a batch at a time: then more waits than one transaction takes. */
static void gather(struct sink *s)
{
    int64_t wait_us = s->written_us + s->conf.linger_us - progress_now_us();
    if (s->drained && wait_us > 0 && s->outbox.rows == NULL) {
        (void)pause_ms(s, (long)(wait_us / 1000));
    }
}

/* What the database wants from us besides: labels of verdicts given there on their way to Kafka,
 * and its upkeep. */
static void serve_database(struct sink *s)
{
    struct errmsg e = {""};
    if (s->db == NULL) {
        return; /* stopping */
    }
    enum err err = outbox_turn(&s->outbox, s->db, &s->bus, progress_now_us(), &e);
    if (err != ERR_OK) {
        log_retry(s, "publish_failed", e.text);
    } else {
        err = upkeep_turn(&s->upkeep, s->db, progress_now_us(), &e);
        if (err != ERR_OK) {
            log_retry(s, "upkeep_failed", e.text);
        }
    }
    if (err == ERR_UNAVAILABLE) {
        s->stats.outages++;
        reconnect(s);
    }
}

size_t sink_turn(struct sink *s)
{
    gather(s);
    size_t n = s->bus.poll(s->bus.self, s->messages, s->conf.batch_max, s->conf.poll_ms);
    uint64_t before = s->stats.rows;
    s->drained = n < (s->conf.batch_max + 3) / 4;
    for (size_t i = 0; i < n && go_on(s);) {
        size_t rows = 0;
        i = make_rows(s, i, n, &rows);
        if (!write_rows(s, rows)) {
            break;
        }
    }
    s->bus.release(s->bus.self);
    serve_database(s);
    if (s->doubted && s->db != NULL && go_on(s)) {
        (void)write_rows(s, 0); /* compares, also where nothing new comes */
    }
    return (size_t)(s->stats.rows - before);
}

bool sink_failed(const struct sink *s)
{
    return s->failed;
}

enum err sink_failure(const struct sink *s, struct errmsg *e)
{
    return s->refused.text[0] != '\0'
               ? err_set(e, ERR_REFUSED, "%s", s->refused.text)
               : err_set(e, ERR_UNAVAILABLE, "Kafka failed for good; the lines before say why");
}

void sink_set(struct sink *s, int64_t linger_us, int64_t max_future_us)
{
    s->conf.linger_us = linger_us;
    s->conf.max_future_us = max_future_us;
}

const struct latency *sink_write_times(const struct sink *s)
{
    return &s->write_time;
}

void sink_stats(const struct sink *s, struct sink_stats *out)
{
    *out = s->stats;
    out->database_up = s->db != NULL;
    out->published = s->outbox.published;
    s->bus.counters(s->bus.self, &out->bus);
}
