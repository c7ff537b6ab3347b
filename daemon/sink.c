#include "daemon/sink.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/timefmt.h"
#include "daemon/decode.h"
#include "daemon/decode_fields.h"
#include "storage/sink_writer.h"

#define PARTITIONS_MAX 1024
/* a COPY line of the largest message, every byte escaped */
#define LINE_MAX_BYTES (2 * WIRE_MESSAGE_MAX + 4096)
#define LINES_BYTES ((size_t)16 << 20)

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
    int64_t next[TOPIC_COUNT][PARTITIONS_MAX];             /* -1: nothing read */
    struct sink_position at[TOPIC_COUNT * PARTITIONS_MAX]; /* of the rows being written */
    struct sink_stats stats;
};

enum err sink_create(const struct sink_conf *c, struct sink **out, struct errmsg *e)
{
    enum err err = ERR_OK;
    struct sink *s = calloc(1, sizeof *s);
    if (s == NULL || (s->messages = calloc(c->batch_max, sizeof *s->messages)) == NULL ||
        (s->rows = calloc(c->batch_max, sizeof *s->rows)) == NULL ||
        (s->lines = malloc(LINES_BYTES)) == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot start the sink: no memory");
        goto out;
    }
    s->conf = *c;
    memset(s->next, 0xff, sizeof s->next);
    err = decoder_create(c->rates, WIRE_MESSAGE_MAX, &s->decoder, e);
    if (err == ERR_OK) {
        err = db_open(c->conninfo, &s->db, e);
    }
    if (err == ERR_OK) {
        int64_t next = 0;
        err = sink_offset(s->db, "", 0, &next, e); /* is the schema there? */
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
        decoder_free(s->decoder);
        db_close(s->db);
        free(s->messages);
        free(s->rows);
        free(s->lines);
        free(s);
    }
}

static void sleep_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Waits until the database answers again. */
static void reconnect(struct sink *s, const volatile int *stop)
{
    long wait_ms = 100;
    struct errmsg e = {""};
    s->stats.outages++;
    db_close(s->db);
    s->db = NULL;
    while (!*stop && db_open(s->conf.conninfo, &s->db, &e) != ERR_OK) {
        char quoted[600];
        log_line(FD_LOG_WARN, "database_away", "retry_ms=%ld detail=%s", wait_ms,
                 log_quote(quoted, sizeof quoted, e.text));
        sleep_ms(wait_ms);
        wait_ms = wait_ms < 5000 ? wait_ms * 2 : 5000;
    }
}

static int64_t on_assigned(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    struct sink *s = ctx;
    struct errmsg e;
    int64_t next = -1;
    int never = 0;
    (void)committed; /* the database knows better than the group */
    while (sink_offset(s->db, s->conf.topic_name[topic], partition, &next, &e) != ERR_OK) {
        reconnect(s, &never);
    }
    if (next < low) {
        if (next >= 0) {
            log_line(FD_LOG_ERROR, "log_gone",
                     "topic=%s partition=%" PRId32 " wanted=%" PRId64 " first=%" PRId64
                     " lost=%" PRId64,
                     s->conf.topic_name[topic], partition, next, low, low - next);
        }
        next = low;
    }
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
    char quoted[512];
    (void)ctx;
    log_line(fatal ? FD_LOG_ERROR : FD_LOG_WARN, "kafka_trouble", "fatal=%d detail=%s", fatal,
             log_quote(quoted, sizeof quoted, text));
}

struct bus_events sink_events(struct sink *s)
{
    return (struct bus_events){s, on_assigned, on_revoked, on_trouble};
}

void sink_attach(struct sink *s, struct bus bus)
{
    s->bus = bus;
}

/* A COPY line that grows in the sink's buffer. */
struct line {
    char *start;
    size_t len;
};

static void put(struct line *l, const char *text, size_t len)
{
    l->len = copy_text(l->start, l->len, text, len);
}

static void put_slice(struct line *l, struct slice s)
{
    put(l, s.len > 0 ? s.at : NULL, s.len);
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

static void put_int(struct line *l, int64_t v)
{
    char text[24];
    put(l, text, (size_t)snprintf(text, sizeof text, "%" PRId64, v));
}

static void put_real(struct line *l, double v)
{
    char text[40];
    int n = snprintf(text, sizeof text, "%.9g", v);
    put(l, isfinite(v) ? text : NULL, (size_t)n);
}

static void put_time(struct line *l, int64_t us)
{
    char text[TIME_TEXT_MAX];
    put(l, text, time_format(text, us));
}

static void put_optional(struct line *l, const char *text)
{
    put(l, text[0] != '\0' ? text : NULL, strlen(text));
}

static void transaction_line(struct line *l, const struct sink *s, const struct bus_message *m,
                             const struct tx *t, const struct tx_strings *n)
{
    const char country[3] = {(char)(t->country >> 8), (char)(t->country & 0xff), '\0'};
    put_time(l, t->event_us);
    put_slice(l, s->conf.log);
    put_int(l, m->partition);
    put_int(l, m->offset);
    put_slice(l, n->id);
    put_slice(l, n->card);
    put_text(l, FIELD_TYPE[t->type]);
    put_int(l, t->amount_minor);
    put_text(l, t->currency);
    put_int(l, n->exponent);
    put_int(l, t->amount_ref);
    put_slice(l, n->merchant);
    put_slice(l, n->terminal);
    if (t->mcc != 0) {
        put_int(l, t->mcc);
    } else {
        put(l, NULL, 0);
    }
    put_optional(l, country);
    put_optional(l, t->channel == CHANNEL_MISSING ? "" : FIELD_CHANNEL[t->channel - 1]);
    put_optional(l, t->entry == ENTRY_MISSING ? "" : FIELD_ENTRY[t->entry - 1]);
    put_slice(l, n->device);
    put_slice(l, n->ip);
    put_real(l, t->has_location ? (double)t->lat : (double)NAN);
    put_real(l, t->has_location ? (double)t->lon : (double)NAN);
}

static void decision_line(struct line *l, const struct decision *d)
{
    char schema[20];
    snprintf(schema, sizeof schema, "%016" PRIx64, d->schema_hash);
    put_time(l, d->event_us);
    put_slice(l, d->log);
    put_int(l, d->partition);
    put_int(l, d->offset);
    put_slice(l, d->tx);
    put_real(l, d->probability);
    put_real(l, d->threshold);
    put_text(l, decision_outcome_name(d->outcome));
    put_slice(l, d->model);
    put_text(l, schema);
    put_int(l, d->revision);
    put_text(l, d->repeat ? "t" : "f");
    put_real(l, (double)d->amount_ratio);
}

static void alert_line(struct line *l, const struct bus_message *m, const struct decision *d,
                       const struct tx *t, const struct tx_strings *n)
{
    put_slice(l, d->log);
    put_int(l, d->partition);
    put_int(l, d->offset);
    put_time(l, d->event_us);
    put_slice(l, d->tx);
    put_slice(l, n->card);
    put_int(l, t->amount_minor);
    put_text(l, t->currency);
    put_int(l, n->exponent);
    put_int(l, t->amount_ref);
    put_real(l, d->probability);
    put_text(l, decision_outcome_name(d->outcome));
    put_slice(l, d->model);
    put(l, m->value, m->value_len);
}

static void label_line(struct line *l, const struct bus_message *m, const struct label *b,
                       const struct label_strings *n)
{
    put_slice(l, n->source);
    put_int(l, (int64_t)b->number);
    put_slice(l, n->tx);
    put_text(l, FIELD_VERDICT[b->verdict]);
    put_time(l, b->event_us);
    put_time(l, b->known_us);
    put_slice(l, n->card);
    put(l, m->value, m->value_len);
}

/* Writes the message's COPY line; false: it is no message of its topic. */
static bool make_line(struct sink *s, const struct bus_message *m, struct line *l,
                      struct sink_row *row)
{
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
        transaction_line(l, s, m, &t, &n);
        return true;
    case TOPIC_DECISIONS:
        row->table = SINK_DECISIONS;
        if (decode_decision(s->decoder, m->value, m->value_len, &d) != DEAD_NONE) {
            return false;
        }
        row->event_us = d.event_us;
        decision_line(l, &d);
        return true;
    case TOPIC_ALERTS:
        row->table = SINK_ALERTS;
        if (decode_alert(s->decoder, m->value, m->value_len, &d, &t, &n) != DEAD_NONE) {
            return false;
        }
        row->event_us = d.event_us;
        alert_line(l, m, &d, &t, &n);
        return true;
    case TOPIC_LABELS:
        row->table = SINK_LABELS;
        if (decode_label(s->decoder, m->value, m->value_len, m->timestamp_us, s->conf.max_future_us,
                         &b, &bn) != DEAD_NONE) {
            return false;
        }
        row->event_us = b.event_us;
        label_line(l, m, &b, &bn);
        return true;
    case TOPIC_NOTICES:
    case TOPIC_DEAD_LETTERS:
    case TOPIC_COUNT:
        break;
    }
    return false;
}

/* Makes rows of messages from `from` on while their lines fit; returns the index after the last
 * one. */
static size_t make_rows(struct sink *s, size_t from, size_t n, size_t *out_rows)
{
    size_t rows = 0;
    size_t i = from;
    s->lines_len = 0;
    for (; i < n && s->lines_len + LINE_MAX_BYTES <= LINES_BYTES; i++) {
        const struct bus_message *m = &s->messages[i];
        struct line l = {s->lines + s->lines_len, 0};
        struct sink_row *row = &s->rows[rows];
        *row = (struct sink_row){.topic = s->conf.topic_name[m->topic],
                                 .partition = m->partition,
                                 .offset = m->offset,
                                 .raw = m->value,
                                 .raw_len = m->value_len};
        if (m->value_len <= WIRE_MESSAGE_MAX && make_line(s, m, &l, row)) {
            row->line = l.start;
            row->line_len = l.len;
            s->lines_len += l.len;
            rows++;
        } else {
            s->stats.undecodable++; /* `score` has put it among the dead letters */
        }
        if (m->partition < PARTITIONS_MAX) {
            s->next[m->topic][m->partition] = m->offset + 1;
        }
    }
    *out_rows = rows;
    return i;
}

static size_t positions(const struct sink *s, struct sink_position *out)
{
    size_t n = 0;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; p < PARTITIONS_MAX; p++) {
            if (s->next[t][p] >= 0) {
                out[n++] = (struct sink_position){s->conf.topic_name[t], p, s->next[t][p]};
            }
        }
    }
    return n;
}

static void write_rows(struct sink *s, size_t rows, const volatile int *stop)
{
    struct errmsg e = {""};
    size_t count = positions(s, s->at);
    size_t rejected = 0;
    enum err err = ERR_UNAVAILABLE;
    while (!*stop) {
        err = s->db != NULL ? sink_write(s->db, s->rows, rows, s->at, count, &rejected, &e)
                            : ERR_UNAVAILABLE;
        if (err == ERR_OK) {
            break;
        }
        char quoted[600];
        log_line(FD_LOG_WARN, "write_failed", "rows=%zu error=%s detail=%s", rows, err_name(err),
                 log_quote(quoted, sizeof quoted, e.text));
        sleep_ms(200);
        reconnect(s, stop);
    }
    if (err == ERR_OK) {
        s->stats.rows += rows;
        s->stats.rejected += rejected;
        s->stats.transactions++;
    }
}

size_t sink_turn(struct sink *s, const volatile int *stop)
{
    size_t n = s->bus.poll(s->bus.self, s->messages, s->conf.batch_max, s->conf.poll_ms);
    uint64_t before = s->stats.rows;
    for (size_t i = 0; i < n;) {
        size_t rows = 0;
        i = make_rows(s, i, n, &rows);
        write_rows(s, rows, stop);
    }
    s->bus.release(s->bus.self);
    (void)s->bus.wait(s->bus.self, 0);
    return (size_t)(s->stats.rows - before);
}

void sink_stats(const struct sink *s, struct sink_stats *out)
{
    *out = s->stats;
    s->bus.counters(s->bus.self, &out->bus);
}
