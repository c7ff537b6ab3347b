/* The reading half of the Kafka bus.
 *
 * Invariants
 *  1. A message is handed out only if its partition is ours and its offset is the one expected; a
 *     smaller one is dropped as a repeat.  A larger one is sought back once: what the log really
 *     lacks there (compaction, control records) is then counted as a gap and passed over.
 *  2. Nothing commits but `commit` (bus_kafka_commit.c).
 *
 * Group topics (bus_kafka_group.c) and whole topics (bus_kafka_whole.c) have a queue each, so that
 * what is read whole never waits behind thousands of fetched messages of the group; both write
 * to one eventfd, which is what an empty poll waits for. */
#include "daemon/bus_kafka.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/progress.h"

/* Has the arrival of the first message in a queue told through the eventfd. */
static enum err open_events(struct bus_kafka *b, struct errmsg *e)
{
    static const uint64_t ONE = 1;
    b->ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->ready < 0) {
        return err_set(e, ERR_IO, "cannot make an eventfd to wait for Kafka with");
    }
    rd_kafka_queue_io_event_enable(b->whole_queue, b->ready, &ONE, sizeof ONE);
    if (b->group_queue != NULL) {
        rd_kafka_queue_io_event_enable(b->group_queue, b->ready, &ONE, sizeof ONE);
    }
    return ERR_OK;
}

enum err bus_kafka_read_open(struct bus_kafka *b, struct errmsg *e)
{
    static const char *const WHOLE[] = {"auto.offset.reset",
                                        "error",
                                        "enable.auto.commit",
                                        "false",
                                        "enable.auto.offset.store",
                                        "false",
                                        NULL};
    bool groups = false;
    bool wholes = false;
    for (int i = 0; i < TOPIC_COUNT; i++) {
        groups = groups || b->plan.group_topic[i];
        wholes = wholes || b->plan.whole_topic[i];
    }
    if (groups && b->plan.group == NULL) {
        return err_set(e, ERR_INVALID, "a shared topic needs a group; set `group`");
    }
    if (!groups && !wholes) {
        return ERR_OK;
    }
    enum err err = bus_kafka_handle(b, USE_WHOLE, WHOLE, &b->whole, e);
    if (err == ERR_OK && groups) {
        err = bus_kafka_group_open(b, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    b->whole_queue = rd_kafka_queue_new(b->whole);
    err = open_events(b, e);
    if (err != ERR_OK) {
        return err;
    }
    for (int i = 0; i < TOPIC_COUNT; i++) {
        if (b->plan.whole_topic[i]) {
            b->whole_topic[i] = rd_kafka_topic_new(b->whole, b->names[i], NULL);
        }
    }
    return ERR_OK;
}

/* Goes back to the expected offset of every partition that jumped. */
static void seek_back(struct bus_kafka *b, int topic, int32_t partition, struct bus_part *p)
{
    if (progress_now_us() < p->seek_after) {
        return;
    }
    rd_kafka_t *rk = b->plan.group_topic[topic] ? b->group : b->whole;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, b->names[topic], partition)->offset = p->next;
    rd_kafka_error_t *error = rd_kafka_seek_partitions(rk, list, BUS_ASK_MS);
    bool done = error == NULL && list->elems[0].err == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (done) {
        p->seek_wanted = false;
        p->sought = p->moved ? -1 : p->next;
        p->moved = false;
    } else {
        p->seek_after = progress_now_us() + BUS_RETRY_US;
        bus_kafka_trouble(
            b, false, "cannot go back to offset %" PRId64 " of \"%s\" %" PRId32 ": %s", p->next,
            b->names[topic], partition,
            error != NULL ? rd_kafka_error_string(error) : rd_kafka_err2str(list->elems[0].err));
    }
    if (error != NULL) {
        rd_kafka_error_destroy(error);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

void bus_kafka_seek(void *self, enum bus_topic topic, int32_t partition, int64_t offset)
{
    struct bus_part *p = bus_kafka_part(self, topic, partition);
    if (p != NULL && p->ours && !p->refused) {
        p->next = offset;
        p->seek_wanted = p->moved = true;
        p->seek_after = 0;
    }
}

static void tend_seeks(struct bus_kafka *b)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; p < b->parts[t].count; p++) {
            if (b->parts[t].part[p].seek_wanted && b->parts[t].part[p].ours) {
                seek_back(b, t, p, &b->parts[t].part[p]);
            }
        }
    }
}

/* Whether a message is the next one of its partition (invariant 1). */
static bool is_next(struct bus_kafka *b, int topic, const rd_kafka_message_t *m)
{
    struct bus_part *p = topic >= 0 ? bus_kafka_part(b, topic, m->partition) : NULL;
    if (p == NULL || !p->ours || p->refused) {
        return false;
    }
    if (p->moved) {
        return false; /* read before the seek */
    }
    if (m->offset < p->next) {
        b->counters.repeats++;
        return false;
    }
    if (m->offset > p->next) {
        if (p->seek_wanted) {
            return false;
        }
        if (p->sought != p->next) {
            p->seek_wanted = true;
            p->seek_after = 0;
            return false;
        }
        b->counters.gaps += (uint64_t)(m->offset - p->next);
    }
    p->next = m->offset + 1;
    return true;
}

static void take_headers(const rd_kafka_message_t *m, struct bus_message *out)
{
    rd_kafka_headers_t *h = NULL;
    if (rd_kafka_message_headers(m, &h) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return;
    }
    while (out->header_count < BUS_HEADERS_MAX) {
        struct bus_header *to = &out->headers[out->header_count];
        if (rd_kafka_header_get_all(h, out->header_count, &to->name, &to->value, &to->len) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            break;
        }
        out->header_count++;
    }
}

static void fill(struct bus_message *out, int topic, const rd_kafka_message_t *m)
{
    out->topic = (enum bus_topic)topic;
    out->partition = m->partition;
    out->offset = m->offset;
    rd_kafka_timestamp_type_t type;
    int64_t ms = rd_kafka_message_timestamp(m, &type);
    out->timestamp_us = ms > 0 ? ms * 1000 : 0;
    out->key = m->key;
    out->key_len = m->key_len;
    out->value = m->payload;
    out->value_len = m->len;
    out->header_count = 0;
    if (topic == TOPIC_DEAD_LETTERS || topic == TOPIC_NOTICES || topic == TOPIC_DECISIONS) {
        take_headers(m, out);
    }
}

static void tell_error(struct bus_kafka *b, const rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        return;
    }
    b->counters.broker_errors++;
    int topic = m->rkt != NULL ? bus_kafka_topic_of(b, rd_kafka_topic_name(m->rkt)) : -1;
    struct bus_part *p = topic >= 0 ? bus_kafka_part(b, topic, m->partition) : NULL;
    if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET && p != NULL) {
        p->refused = true;
        bus_kafka_trouble(b, true,
                          "offset %" PRId64 " of \"%s\" %" PRId32
                          " is no longer in the log (%s): messages were deleted before they were "
                          "read; raise the topic's retention and see the manual for how to go on",
                          p->next, b->names[topic], m->partition, rd_kafka_message_errstr(m));
        return;
    }
    bus_kafka_trouble(b, false, "reading%s%s: %s", m->rkt != NULL ? " " : "",
                      m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "",
                      rd_kafka_message_errstr(m));
}

static void tend(struct bus_kafka *b)
{
    struct errmsg e;
    bus_kafka_whole_tend(b);
    tend_seeks(b);
    bus_kafka_tend_commits(b);
    rd_kafka_poll(b->whole, 0);
    for (int w = 0; w < WRITER_COUNT; w++) {
        if (b->producer[w] != NULL) {
            rd_kafka_poll(b->producer[w], 0);
        }
    }
    if (b->rejoin) {
        b->rejoin = false;
        rd_kafka_unsubscribe(b->group);
        if (bus_kafka_group_join(b, &e) != ERR_OK) {
            bus_kafka_trouble(b, true, "%s", e.text);
        }
    }
}

void bus_kafka_hold(void *self, bool held)
{
    struct bus_kafka *b = self;
    b->group_held = held;
}

/* What has come already, into held[n..max). */
static size_t consume(struct bus_kafka *b, size_t n, size_t max)
{
    rd_kafka_queue_t *const from[] = {b->whole_queue, b->group_held ? NULL : b->group_queue};
    for (size_t i = 0; i < 2; i++) {
        ssize_t more = from[i] != NULL && n < max
                           ? rd_kafka_consume_batch_queue(from[i], 0, b->held + n, max - n)
                           : 0;
        n += more > 0 ? (size_t)more : 0;
    }
    return n;
}

/* The eventfd tells of an empty queue that is so no longer; so it is waited for only after the
 * queues were found empty, and emptied before. */
static size_t wait_and_consume(struct bus_kafka *b, size_t max, int timeout_ms)
{
    uint64_t times = 0;
    struct pollfd p = {.fd = b->ready, .events = POLLIN};
    if (read(b->ready, &times, sizeof times) < 0) {
        times = 0;
    }
    size_t n = consume(b, 0, max);
    if (n == 0 && timeout_ms > 0 && poll(&p, 1, timeout_ms) > 0) {
        n = consume(b, 0, max);
    }
    return n;
}

size_t bus_kafka_poll(void *self, struct bus_message *out, size_t max, int timeout_ms)
{
    struct bus_kafka *b = self;
    bus_kafka_release(b);
    if (b->whole_queue == NULL) {
        return 0;
    }
    tend(b);
    max = max < BUS_POLL_MAX ? max : BUS_POLL_MAX;
    size_t n = max > 0 ? wait_and_consume(b, max, timeout_ms) : 0;
    const rd_kafka_topic_t *known = NULL;
    int topic = -1;
    size_t taken = 0;
    for (size_t i = 0; i < n; i++) {
        rd_kafka_message_t *m = b->held[i];
        if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            tell_error(b, m);
        } else {
            topic = m->rkt == known ? topic : bus_kafka_topic_of(b, rd_kafka_topic_name(m->rkt));
            known = m->rkt;
            if (is_next(b, topic, m)) {
                fill(&out[taken++], topic, m);
            }
        }
    }
    b->held_count = n;
    b->counters.consumed += taken;
    return taken;
}

void bus_kafka_release(void *self)
{
    struct bus_kafka *b = self;
    for (size_t i = 0; i < b->held_count; i++) {
        rd_kafka_message_destroy(b->held[i]);
    }
    b->held_count = 0;
}

void bus_kafka_pause(void *self, enum bus_topic topic, int32_t partition, bool paused)
{
    struct bus_kafka *b = self;
    rd_kafka_t *rk = b->plan.group_topic[topic] ? b->group : b->whole;
    struct bus_part *p = bus_kafka_part(b, topic, partition);
    if (rk == NULL || p == NULL) {
        return;
    }
    p->paused = paused;
    if (!p->ours) {
        return; /* being assigned: assign() does it */
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, b->names[topic], partition);
    rd_kafka_resp_err_t why =
        paused ? rd_kafka_pause_partitions(rk, list) : rd_kafka_resume_partitions(rk, list);
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
        bus_kafka_trouble(b, false, "cannot %s \"%s\" %" PRId32 ": %s", paused ? "pause" : "resume",
                          b->names[topic], partition, rd_kafka_err2str(why));
    }
    rd_kafka_topic_partition_list_destroy(list);
}

int64_t bus_kafka_lag(const struct bus_kafka *b)
{
    int64_t lag = 0;
    bool known = b->group != NULL;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; b->plan.group_topic[t] && p < b->parts[t].count; p++) {
            int64_t low = 0;
            int64_t high = 0;
            if (!b->parts[t].part[p].ours) {
                continue;
            }
            known = known &&
                    rd_kafka_get_watermark_offsets(b->group, b->names[t], p, &low, &high) ==
                        RD_KAFKA_RESP_ERR_NO_ERROR &&
                    high >= 0;
            lag += high > b->parts[t].part[p].next ? high - b->parts[t].part[p].next : 0;
        }
    }
    return known ? lag : -1;
}
