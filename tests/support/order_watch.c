#include "tests/support/order_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>

#include "base/progress.h"
#include "daemon/journal_order.h"

#define WAIT_MS 20000

struct order_watch {
    rd_kafka_t *rk;
    char journal[96], decisions[96];
    int partitions, uncounted;
    struct order_turn turn[ORDER_WATCH_PARTITIONS];
    int64_t decisions_read[ORDER_WATCH_PARTITIONS]; /* next offset of the decisions topic */
    struct journal_order order;
    struct journal_entry entry;
    enum journal_verdict verdict[JOURNAL_PARTS_MAX];
};

static rd_kafka_t *open_reader(const struct cluster *c)
{
    const char *const settings[] = {
        "bootstrap.servers",  c->brokers, "group.id",          "order-watch", "log_level", "2",
        "enable.auto.commit", "false",    "fetch.wait.max.ms", "20",          NULL};
    char text[256] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; settings[i] != NULL; i += 2) {
        assert_int_equal(rd_kafka_conf_set(conf, settings[i], settings[i + 1], text, sizeof text),
                         RD_KAFKA_CONF_OK);
    }
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (rk == NULL) {
        fail_msg("%s", text);
    }
    rd_kafka_poll_set_consumer(rk);
    return rk;
}

struct order_watch *order_watch_open(const struct cluster *c, const char *journal,
                                     const char *decisions, int partitions)
{
    struct order_watch *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_in_range(partitions, 1, ORDER_WATCH_PARTITIONS);
    w->rk = open_reader(c);
    w->partitions = partitions;
    snprintf(w->journal, sizeof w->journal, "%s", journal);
    snprintf(w->decisions, sizeof w->decisions, "%s", decisions);
    journal_order_init(&w->order, 0);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions + 1);
    rd_kafka_topic_partition_list_add(list, journal, 0)->offset = 0;
    for (int p = 0; p < partitions; p++) {
        w->turn[p].claim = w->turn[p].batch = -1;
        rd_kafka_topic_partition_list_add(list, decisions, p)->offset = 0;
    }
    assert_int_equal(rd_kafka_assign(w->rk, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    return w;
}

void order_watch_close(struct order_watch *w)
{
    if (w != NULL) {
        rd_kafka_consumer_close(w->rk);
        rd_kafka_destroy(w->rk);
        free(w);
    }
}

static void take_batch(struct order_watch *w, const rd_kafka_message_t *m)
{
    for (size_t i = 0; i < w->entry.part_count; i++) {
        const struct journal_part *part = &w->entry.parts[i];
        if (w->verdict[i] != JOURNAL_COUNTS) {
            w->uncounted++;
        } else {
            assert_in_range(part->partition, 0, w->partitions - 1);
            struct order_turn *t = &w->turn[part->partition];
            t->journalled_next = part->last + 1;
            t->batch = m->offset;
            t->batch_ms = rd_kafka_message_timestamp(m, NULL);
        }
    }
}

static void take_entry(struct order_watch *w, const rd_kafka_message_t *m)
{
    struct errmsg e = {""};
    if (journal_decode(m->payload, m->len, &w->entry, &e) != ERR_OK) {
        fail_msg("journal offset %lld: %s", (long long)m->offset, e.text);
    }
    journal_order_apply(&w->order, m->offset, &w->entry, w->verdict);
    if (w->entry.kind == JOURNAL_CLAIM) {
        assert_in_range(w->entry.partition, 0, w->partitions - 1);
        w->turn[w->entry.partition].claim = m->offset;
    } else {
        take_batch(w, m);
    }
}

/* The id begins a decision: {"id":"log/partition/offset", ... */
static void take_decision(struct order_watch *w, const rd_kafka_message_t *m)
{
    char text[200];
    snprintf(text, sizeof text, "%.*s", (int)(m->len < 190 ? m->len : 190), (char *)m->payload);
    const char *slash = strchr(text, '/');
    char *end = NULL;
    assert_non_null(slash);
    assert_int_equal(strtol(slash + 1, &end, 10), m->partition);
    assert_int_equal(*end, '/');
    int64_t next = strtoll(end + 1, NULL, 10) + 1;
    struct order_turn *t = &w->turn[m->partition];
    t->decided_next = next > t->decided_next ? next : t->decided_next;
    w->decisions_read[m->partition] = m->offset + 1;
}

/* Whether there was a message. */
static bool take_one(struct order_watch *w, int timeout_ms)
{
    rd_kafka_message_t *m = rd_kafka_consumer_poll(w->rk, timeout_ms);
    if (m == NULL) {
        return false;
    }
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (strcmp(rd_kafka_topic_name(m->rkt), w->journal) == 0) {
            take_entry(w, m);
        } else {
            take_decision(w, m);
        }
    }
    rd_kafka_message_destroy(m);
    return true;
}

void order_watch_poll(struct order_watch *w)
{
    while (take_one(w, 0)) {
    }
}

static void read_up_to(struct order_watch *w, const char *topic, int32_t partition,
                       const int64_t *position)
{
    int64_t low = 0;
    int64_t high = 0;
    const int64_t until_us = progress_now_us() + (int64_t)WAIT_MS * 1000;
    assert_int_equal(
        rd_kafka_query_watermark_offsets(w->rk, topic, partition, &low, &high, WAIT_MS),
        RD_KAFKA_RESP_ERR_NO_ERROR);
    while (*position < high) {
        (void)take_one(w, 20);
        if (progress_now_us() > until_us) {
            fail_msg("%s partition %d gave nothing for %d ms", topic, (int)partition, WAIT_MS);
        }
    }
}

void order_watch_settle(struct order_watch *w)
{
    read_up_to(w, w->journal, 0, &w->order.position);
    for (int p = 0; p < w->partitions; p++) {
        read_up_to(w, w->decisions, p, &w->decisions_read[p]);
    }
}

const struct order_turn *order_watch_turns(const struct order_watch *w)
{
    return w->turn;
}

int order_watch_uncounted(const struct order_watch *w)
{
    return w->uncounted;
}
