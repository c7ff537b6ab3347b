/* The writing half of the Kafka bus: two idempotent producers, one that gathers records for a
 * moment and one that does not.
 *
 * Invariants
 *  1. A record queued stays until a broker has acknowledged it: the library keeps a copy, hands it
 *     back in a failed delivery report, and it is sent again from there, in the order of `send`.
 *  2. While records wait to be sent again, no new one is taken (ERR_FULL): order within a partition
 *     is kept.  After a fatal error of the producer a record may be written twice; readers drop
 *     repeats by decision id.
 *  3. Batches are counted in a ring in order of their first record, so the first unacknowledged one
 *     is found in O(1). */
#include "daemon/bus_kafka.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"

#define RESEND_PAUSE_US 500000
#define CLOSE_PATIENCE_MS 300 /* who wants everything acknowledged has waited before */
#define RECORD_OVERHEAD 128   /* a batch's and a record's own fields, generously */

static void batch_done(struct bus_kafka *b, struct bus_slot *slot)
{
    slot->batch->outstanding--;
    while (b->batch_count > 0 && b->batches[b->batch_first].outstanding == 0) {
        b->batch_first = (b->batch_first + 1) % BUS_BATCHES;
        b->batch_count--;
    }
    slot->free_next = b->slot_free;
    b->slot_free = slot;
    b->counters.queued--;
}

/* The ring entry of a batch number, made at its first record; NULL: the ring is full. */
static struct bus_batch *batch_of(struct bus_kafka *b, uint64_t number)
{
    if (b->batch_count > 0) {
        struct bus_batch *last = &b->batches[(b->batch_first + b->batch_count - 1) % BUS_BATCHES];
        if (last->number == number) {
            return last;
        }
    }
    if (b->batch_count == BUS_BATCHES) {
        return NULL;
    }
    struct bus_batch *entry = &b->batches[(b->batch_first + b->batch_count) % BUS_BATCHES];
    *entry = (struct bus_batch){.number = number};
    b->batch_count++;
    return entry;
}

/* Keeps a record that came back, in order of its seq.  They come back nearly in order, so the
 * search from the front is short only for few; this is the exceptional path. */
static bool keep_failed(struct bus_kafka *b, const rd_kafka_message_t *m, struct bus_slot *slot)
{
    struct bus_failed *f = malloc(sizeof *f + m->key_len + m->len);
    if (f == NULL) {
        return false;
    }
    *f = (struct bus_failed){.slot = slot,
                             .key_len = m->key_len,
                             .value_len = m->len,
                             .has_key = m->key != NULL,
                             .has_value = m->payload != NULL};
    if (m->key != NULL && m->key_len > 0) {
        memcpy(f->bytes, m->key, m->key_len);
    }
    if (m->payload != NULL && m->len > 0) {
        memcpy(f->bytes + m->key_len, m->payload, m->len);
    }
    rd_kafka_headers_t *headers = NULL;
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        f->headers = rd_kafka_headers_copy(headers);
    }
    struct bus_failed **at = &b->failed;
    if (b->failed_last != NULL && b->failed_last->slot->seq < slot->seq) {
        at = &b->failed_last->next;
    }
    while (*at != NULL && (*at)->slot->seq < slot->seq) {
        at = &(*at)->next;
    }
    f->next = *at;
    *at = f;
    if (f->next == NULL) {
        b->failed_last = f;
    }
    return true;
}

static void drop_first_failed(struct bus_kafka *b)
{
    struct bus_failed *f = b->failed;
    b->failed = f->next;
    if (b->failed == NULL) {
        b->failed_last = NULL;
    }
    if (f->headers != NULL) {
        rd_kafka_headers_destroy(f->headers);
    }
    free(f);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct bus_kafka *b = opaque;
    struct bus_slot *slot = m->_private;
    (void)rk;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        b->counters.acked++;
        b->answered = true;
        batch_done(b, slot);
        return;
    }
    if (b->abandon) {
        return;
    }
    b->counters.produce_errors++;
    bool hopeless = m->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
                    m->err == RD_KAFKA_RESP_ERR_INVALID_RECORD;
    if (b->failed == NULL || hopeless) {
        bus_kafka_trouble(b, hopeless, "writing to \"%s\": %s; %s", b->names[slot->topic],
                          rd_kafka_err2str(m->err),
                          hopeless ? "raise the topic's max.message.bytes; the record waits"
                                   : "sending again");
    }
    if (!keep_failed(b, m, slot)) {
        bus_kafka_trouble(b, true,
                          "cannot keep an unsent record: no memory; restart from the "
                          "last commit, nothing is lost");
        return; /* its batch stays unacknowledged, so nothing after it is committed */
    }
    b->resend_us = progress_now_us() + RESEND_PAUSE_US;
}

static enum err open_producer(struct bus_kafka *b, enum bus_writer w, struct errmsg *e)
{
    char batch_bytes[24];
    char message_bytes[24];
    size_t least = BUS_MESSAGE_BYTES;
    size_t most = BUS_MESSAGE_BYTES;
    for (int i = 0; i < TOPIC_COUNT; i++) {
        least = b->names[i] != NULL && b->bytes_max[i] < least ? b->bytes_max[i] : least;
        most = b->names[i] != NULL && b->bytes_max[i] > most ? b->bytes_max[i] : most;
    }
    /* a batch above a topic's limit would be refused as a whole: stay below the smallest one */
    snprintf(batch_bytes, sizeof batch_bytes, "%zu", least > 2048 ? least - 1024 : least);
    snprintf(message_bytes, sizeof message_bytes, "%zu", most > 1000000000 ? 1000000000 : most);
    const char *const properties[] = {"enable.idempotence",
                                      "true",
                                      "acks",
                                      "all",
                                      "message.timeout.ms",
                                      "0",
                                      "partitioner",
                                      "murmur2_random",
                                      "batch.size",
                                      batch_bytes,
                                      "message.max.bytes",
                                      message_bytes,
                                      w == WRITER_PROMPT ? "linger.ms" : NULL,
                                      "0",
                                      NULL};
    enum err err = bus_kafka_handle(b, USE_WRITE, properties, &b->producer[w], e);
    for (int i = 0; err == ERR_OK && i < TOPIC_COUNT; i++) {
        if (b->names[i] != NULL && bus_kafka_writer(i) == w) {
            b->topic[i] = rd_kafka_topic_new(b->producer[w], b->names[i], NULL);
            if (b->topic[i] == NULL) {
                err = err_set(e, ERR_INVALID, "cannot write to topic \"%s\": %s", b->names[i],
                              rd_kafka_err2str(rd_kafka_last_error()));
            }
        }
    }
    return err;
}

static enum err open_producers(struct bus_kafka *b, struct errmsg *e)
{
    enum err err = open_producer(b, WRITER_BULK, e);
    return err == ERR_OK && b->names[TOPIC_JOURNAL] != NULL ? open_producer(b, WRITER_PROMPT, e)
                                                            : err;
}

static void close_producers(struct bus_kafka *b)
{
    for (int i = 0; i < TOPIC_COUNT; i++) {
        if (b->topic[i] != NULL) {
            rd_kafka_topic_destroy(b->topic[i]);
            b->topic[i] = NULL;
        }
    }
    for (int w = 0; w < WRITER_COUNT; w++) {
        if (b->producer[w] != NULL) {
            bus_kafka_end(b->producer[w]);
            b->producer[w] = NULL;
        }
    }
}

/* Takes every record out of the producers: they come back through on_delivery. */
static void purge(struct bus_kafka *b)
{
    for (int w = 0; w < WRITER_COUNT; w++) {
        if (b->producer[w] != NULL) {
            rd_kafka_purge(b->producer[w], RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        }
    }
}

/* Takes every record out of the old producers and makes new ones; they are sent again from
 * `failed`. */
static void replace_producers(struct bus_kafka *b)
{
    struct errmsg e;
    purge(b);
    for (int w = 0; w < WRITER_COUNT; w++) {
        while (b->producer[w] != NULL && rd_kafka_outq_len(b->producer[w]) > 0) {
            rd_kafka_poll(b->producer[w], 100);
        }
    }
    close_producers(b);
    if (open_producers(b, &e) == ERR_OK) {
        b->replace = false;
        b->resend_us = 0;
    } else {
        close_producers(b);
        bus_kafka_trouble(b, true, "cannot make a new producer: %s", e.text);
    }
}

enum err bus_kafka_write_open(struct bus_kafka *b, struct errmsg *e)
{
    b->slots = calloc(BUS_SLOTS, sizeof *b->slots);
    b->batches = calloc(BUS_BATCHES, sizeof *b->batches);
    if (b->slots == NULL || b->batches == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold %d records in flight: no memory", BUS_SLOTS);
    }
    for (size_t i = 0; i < BUS_SLOTS; i++) {
        b->slots[i].free_next = b->slot_free;
        b->slot_free = &b->slots[i];
    }
    rd_kafka_conf_set_dr_msg_cb(b->base[USE_WRITE], on_delivery);
    return open_producers(b, e);
}

/* Hands one record to the library, which copies it; takes `headers` on success. */
static rd_kafka_resp_err_t produce(struct bus_kafka *b, struct bus_slot *slot, const void *key,
                                   size_t key_len, const void *value, size_t value_len,
                                   rd_kafka_headers_t *headers)
{
    int32_t partition = slot->partition < 0 ? RD_KAFKA_PARTITION_UA : slot->partition;
    rd_kafka_t *rk = b->producer[bus_kafka_writer(slot->topic)];
    if (headers == NULL && slot->timestamp_ms == 0) {
        /* the library's signature lacks const; with F_COPY it only reads */
        union {
            const void *in;
            void *out;
        } cast = {.in = value};
        int failed = rd_kafka_produce(b->topic[slot->topic], partition, RD_KAFKA_MSG_F_COPY,
                                      cast.out, value_len, key, key_len, slot);
        return failed != 0 ? rd_kafka_last_error() : RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    union {
        const void *in;
        void *out;
    } k = {.in = key}, v = {.in = value};
    if (headers == NULL) {
        return rd_kafka_producev(
            rk, RD_KAFKA_V_RKT(b->topic[slot->topic]), RD_KAFKA_V_PARTITION(partition),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(k.out, key_len),
            RD_KAFKA_V_VALUE(v.out, value_len), RD_KAFKA_V_TIMESTAMP(slot->timestamp_ms),
            RD_KAFKA_V_OPAQUE(slot), RD_KAFKA_V_END);
    }
    return rd_kafka_producev(
        rk, RD_KAFKA_V_RKT(b->topic[slot->topic]), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(k.out, key_len),
        RD_KAFKA_V_VALUE(v.out, value_len), RD_KAFKA_V_TIMESTAMP(slot->timestamp_ms),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(slot), RD_KAFKA_V_END);
}

/* Sends what came back, oldest first, as far as the library takes it. */
static void resend(struct bus_kafka *b)
{
    while (b->failed != NULL) {
        struct bus_failed *f = b->failed;
        rd_kafka_resp_err_t why =
            produce(b, f->slot, f->has_key ? f->bytes : NULL, f->key_len,
                    f->has_value ? f->bytes + f->key_len : NULL, f->value_len, f->headers);
        if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
            b->replace = b->replace || why == RD_KAFKA_RESP_ERR__FATAL;
            b->resend_us = progress_now_us() + RESEND_PAUSE_US;
            return;
        }
        f->headers = NULL; /* the library's now */
        drop_first_failed(b);
    }
}

static void tend(struct bus_kafka *b)
{
    if (b->replace) {
        replace_producers(b);
    }
    if (b->failed != NULL && !b->replace && progress_now_us() >= b->resend_us) {
        resend(b);
    }
}

/* Whether the topic takes the record; *out_len: as much of its value as it takes. */
static enum err check_record(const struct bus_kafka *b, const struct bus_record *r, size_t *out_len,
                             struct errmsg *e)
{
    if (b->slots == NULL || (unsigned)r->topic >= TOPIC_COUNT || b->names[r->topic] == NULL) {
        return err_set(e, ERR_INVALID, "this bus does not write to topic %d", (int)r->topic);
    }
    size_t max = b->bytes_max[r->topic];
    size_t rest = r->key_len + RECORD_OVERHEAD;
    for (size_t i = 0; i < r->header_count; i++) {
        rest += strlen(r->headers[i].name) + r->headers[i].len + 10;
    }
    bool fits = rest + r->value_len <= max;
    if (!fits && (!r->cut || rest > max)) {
        return err_set(e, ERR_INVALID,
                       "a record of %zu bytes is more than topic \"%s\" takes (max.message.bytes = "
                       "%zu)",
                       rest + r->value_len, b->names[r->topic], max);
    }
    *out_len = fits ? r->value_len : max - rest;
    return ERR_OK;
}

static rd_kafka_headers_t *make_headers(const struct bus_record *r)
{
    rd_kafka_headers_t *h = rd_kafka_headers_new(r->header_count);
    for (size_t i = 0; i < r->header_count; i++) {
        rd_kafka_header_add(h, r->headers[i].name, -1, r->headers[i].value,
                            (ssize_t)r->headers[i].len);
    }
    return h;
}

static enum err refused(struct bus_kafka *b, const struct bus_record *r, rd_kafka_resp_err_t why,
                        struct errmsg *e)
{
    const char *name = b->names[r->topic];
    if (why == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        return err_set(e, ERR_FULL, "the client's queue is full");
    }
    if (why == RD_KAFKA_RESP_ERR__FATAL) {
        b->replace = true;
        return err_set(e, ERR_FULL, "the producer is being replaced");
    }
    if (why == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        return err_set(e, ERR_INVALID, "a record of %zu bytes is too large for the client",
                       r->value_len);
    }
    if (why == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
        return err_set(e, ERR_MISMATCH,
                       "topic \"%s\" has no partition %" PRId32 "; `fraudd check` "
                       "compares the topics' partition counts",
                       name, r->partition);
    }
    return err_set(e, ERR_UNAVAILABLE, "cannot write to \"%s\": %s", name, rd_kafka_err2str(why));
}

enum err bus_kafka_send(void *self, const struct bus_record *r, struct errmsg *e)
{
    struct bus_kafka *b = self;
    size_t value_len = 0;
    enum err err = check_record(b, r, &value_len, e);
    if (err != ERR_OK) {
        return err;
    }
    if (b->failed != NULL || b->replace || b->slot_free == NULL) {
        return err_set(e, ERR_FULL, "%" PRIu64 " records wait for the brokers", b->counters.queued);
    }
    struct bus_batch *batch = batch_of(b, r->batch);
    if (batch == NULL) {
        return err_set(e, ERR_FULL, "%d batches wait for the brokers", BUS_BATCHES);
    }
    struct bus_slot *slot = b->slot_free;
    b->slot_free = slot->free_next;
    *slot = (struct bus_slot){.seq = ++b->seq,
                              .batch = batch,
                              .timestamp_ms = r->timestamp_us / 1000,
                              .partition = r->partition,
                              .topic = (uint8_t)r->topic};
    batch->outstanding++;
    b->counters.queued++;
    rd_kafka_headers_t *headers = r->header_count > 0 ? make_headers(r) : NULL;
    rd_kafka_resp_err_t why = produce(b, slot, r->key, r->key_len, r->value, value_len, headers);
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (headers != NULL) {
            rd_kafka_headers_destroy(headers);
        }
        batch_done(b, slot);
        return refused(b, r, why, e);
    }
    b->counters.produced++;
    return ERR_OK;
}

uint64_t bus_kafka_wait(void *self, int timeout_ms)
{
    struct bus_kafka *b = self;
    if (b->slots == NULL) {
        return UINT64_MAX;
    }
    tend(b);
    if (b->producer[WRITER_PROMPT] != NULL) {
        rd_kafka_poll(b->producer[WRITER_PROMPT], 0);
    }
    if (b->producer[WRITER_BULK] != NULL) {
        rd_kafka_poll(b->producer[WRITER_BULK], b->batch_count > 0 ? timeout_ms : 0);
    }
    return b->batch_count > 0 ? b->batches[b->batch_first].number : UINT64_MAX;
}

void bus_kafka_write_close(struct bus_kafka *b)
{
    int64_t until_us = progress_now_us() + (int64_t)CLOSE_PATIENCE_MS * 1000;
    while (b->producer[WRITER_BULK] != NULL && b->events.trouble != NULL &&
           progress_now_us() < until_us && bus_kafka_wait(b, 100) != UINT64_MAX) {
    }
    if (b->batch_count > 0) {
        bus_kafka_trouble(b, false,
                          "closing with %" PRIu64 " records unacknowledged; their input is not "
                          "committed and will be read again",
                          b->counters.queued);
    }
    b->abandon = true;
    purge(b);
    for (int w = 0; w < WRITER_COUNT; w++) {
        if (b->producer[w] != NULL) {
            rd_kafka_flush(b->producer[w], 300);
        }
    }
    close_producers(b);
    while (b->failed != NULL) {
        drop_first_failed(b);
    }
    free(b->slots);
    free(b->batches);
    b->slots = NULL;
    b->batches = NULL;
    b->batch_count = 0;
}
