/* What the Kafka bus writes to a real broker: order, sizes, partitions by key, and a broker that is
 * paused, stopped and killed meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>

#include "daemon/bus_kafka.h"
#include "tests/support/bus_user.h"
#include "tests/support/cluster.h"
#include "tests/support/until.h"

#define PARTITIONS USER_PARTITIONS

static struct cluster cluster;

static int start(void **state)
{
    (void)state;
    cluster_start(&cluster);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    cluster_stop(&cluster);
    return 0;
}

/* What lies in a topic. */
struct content {
    uint32_t count[USER_IDS_MAX];
    uint32_t last[USER_PARTS_MAX];
    bool disorder;
    size_t n;
};

static void on_content(void *ctx, const struct rd_kafka_message_s *m)
{
    struct content *c = ctx;
    uint32_t n = user_number(m->payload, m->len);
    if (c->count[n]++ == 0) {
        c->disorder |= c->last[m->partition] > n;
        c->last[m->partition] = n;
    }
    c->n++;
}

static void test_send_keeps_order_and_counts_batches(void **state)
{
    char topic[96];
    uint64_t first = 0;
    struct bus_counters n;
    (void)state;
    struct content *c = calloc(1, sizeof *c);
    assert_non_null(c);
    cluster_topic(&cluster, cluster_name(topic, "order"), PARTITIONS, NULL);
    struct user *w = user_writer(&cluster, topic);
    assert_int_equal(w->bus.wait(w->bus.self, 0), UINT64_MAX);
    for (uint32_t i = 0; i < 20000; i++) {
        user_write(w, i, (int32_t)(i / 7 % PARTITIONS));
        if (i % 100 == 0) { /* the first unacknowledged batch only rises */
            uint64_t open = w->bus.wait(w->bus.self, 0);
            assert_true(open >= first && (open <= i / 10 || open == UINT64_MAX));
            first = open == UINT64_MAX ? i / 10 : open;
        }
    }
    user_drain(w);
    w->bus.counters(w->bus.self, &n);
    assert_int_equal(n.produced, 20000);
    assert_int_equal(n.acked, 20000);
    assert_int_equal(n.queued, 0);
    assert_int_equal(cluster_read(&cluster, topic, on_content, c), 20000);
    assert_false(c->disorder);
    for (uint32_t i = 0; i < 20000; i++) {
        assert_int_equal(c->count[i], 1);
    }
    user_close(w);
    free(c);
}

/* What on_details saw last. */
struct details {
    int32_t partition;
    int64_t timestamp_ms;
    size_t len;
    char header[32], key[32];
    char first, last;
};

static void on_details(void *ctx, const struct rd_kafka_message_s *m)
{
    struct details *d = ctx;
    rd_kafka_timestamp_type_t type;
    rd_kafka_headers_t *h = NULL;
    *d = (struct details){.partition = m->partition,
                          .timestamp_ms = rd_kafka_message_timestamp(m, &type),
                          .len = m->len,
                          .first = m->len > 0 ? ((const char *)m->payload)[0] : '\0',
                          .last = m->len > 0 ? ((const char *)m->payload)[m->len - 1] : '\0'};
    if (m->key != NULL && m->key_len < sizeof d->key) {
        memcpy(d->key, m->key, m->key_len);
    }
    if (rd_kafka_message_headers(m, &h) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char *name = NULL;
        const void *value = NULL;
        size_t len = 0;
        assert_int_equal(rd_kafka_header_get_all(h, 0, &name, &value, &len), 0);
        snprintf(d->header, sizeof d->header, "%s=%.*s", name, (int)len, (const char *)value);
    }
}

static void test_send_partition_timestamp_headers(void **state)
{
    /* Kafka's own test vectors of murmur2 */
    static const struct {
        const char *key;
        int32_t hash;
    } KEYS[] = {
        {"21", -973932308}, {"foobar", -790332482}, {"a-little-bit-long-string", -985981536}};
    char topic[96];
    struct errmsg e;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char name[16];
        struct details d = {0};
        snprintf(name, sizeof name, "details%zu", i);
        cluster_topic(&cluster, cluster_name(topic, name), USER_PARTS_MAX, NULL);
        struct user *w = user_writer(&cluster, topic);
        const struct bus_header header = {"reason", "none", 4};
        const struct bus_record r = {.topic = TOPIC_TRANSACTIONS,
                                     .partition = -1,
                                     .key = KEYS[i].key,
                                     .key_len = strlen(KEYS[i].key),
                                     .value = "x",
                                     .value_len = 1,
                                     .headers = i == 1 ? &header : NULL,
                                     .header_count = i == 1 ? 1 : 0,
                                     .timestamp_us = i < 2 ? INT64_C(1700000000123456) : 0};
        assert_int_equal(w->bus.send(w->bus.self, &r, &e), ERR_OK);
        user_drain(w);
        user_close(w);
        assert_int_equal(cluster_read(&cluster, topic, on_details, &d), 1);
        assert_int_equal(d.partition, (KEYS[i].hash & 0x7fffffff) % USER_PARTS_MAX);
        assert_string_equal(d.key, KEYS[i].key);
        assert_string_equal(d.header, i == 1 ? "reason=none" : "");
        if (i < 2) {
            assert_int_equal(d.timestamp_ms, INT64_C(1700000000123));
        } else {
            assert_true(d.timestamp_ms > INT64_C(1700000000123));
        }
    }
}

static void test_send_refuses_or_cuts_what_is_too_large(void **state)
{
    static const char *const SMALL[] = {"max.message.bytes", "10000", NULL};
    static char value[30000];
    char topic[96];
    struct errmsg e;
    struct details d;
    (void)state;
    memset(value, 'b', sizeof value);
    value[0] = 'a';
    value[8999] = 'c';
    cluster_topic(&cluster, cluster_name(topic, "large"), 1, SMALL);
    struct user *w = user_writer(&cluster, topic);
    struct bus_record r = {
        .topic = TOPIC_TRANSACTIONS, .partition = 0, .value = value, .value_len = 20000};
    assert_int_equal(w->bus.send(w->bus.self, &r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "max.message.bytes = 10000"));
    assert_int_equal(w->bus.wait(w->bus.self, 0), UINT64_MAX); /* nothing was queued */
    r.value_len = 9000;
    assert_int_equal(w->bus.send(w->bus.self, &r, &e), ERR_OK);
    user_drain(w);
    assert_int_equal(cluster_read(&cluster, topic, on_details, &d), 1);
    assert_int_equal(d.len, 9000);
    assert_int_equal(d.last, 'c');

    r.value_len = sizeof value;
    r.cut = true;
    assert_int_equal(w->bus.send(w->bus.self, &r, &e), ERR_OK);
    user_drain(w);
    assert_int_equal(cluster_read(&cluster, topic, on_details, &d), 2);
    assert_in_range(d.len, 9500, 10000);
    assert_int_equal(d.first, 'a');
    r.topic = TOPIC_ALERTS; /* not in the plan */
    assert_int_equal(w->bus.send(w->bus.self, &r, &e), ERR_INVALID);
    user_close(w);
}

/* Writes [from, to) at 2,000 a second while `disturb` does its work at half time; a reader follows.
 */
static void write_through(const char *topic, uint32_t to, void (*disturb)(void))
{
    char group[96];
    struct bus_counters n;
    struct content *c = calloc(1, sizeof *c);
    assert_non_null(c);
    struct user *w = user_writer(&cluster, topic);
    struct user *u = user_member(&cluster, topic, cluster_name(group, topic));
    USER_UNTIL(u, USER_NOBODY, user_owns(u) == PARTITIONS);
    for (uint32_t i = 0; i < to; i++) {
        user_write(w, i, (int32_t)(i % PARTITIONS));
        if (i % 20 == 0) {
            w->bus.wait(w->bus.self, 0);
            user_turn(u, 0);
            nap_ms(10);
        }
        if (i == to / 2) {
            disturb();
        }
    }
    user_drain(w);
    w->bus.counters(w->bus.self, &n);
    assert_int_equal(n.acked, to);
    assert_int_equal(n.produced, to);
    assert_int_equal(w->fatal, 0);
    cluster_read(&cluster, topic, on_content, c);
    for (uint32_t i = 0; i < to; i++) {
        if (c->count[i] == 0) {
            fail_msg("record %u was acknowledged and is not in the topic", i);
        }
    }
    assert_false(c->disorder);
    print_message("%s: %u written, %zu in the topic, %llu unsent for a while\n", topic, to, c->n,
                  (unsigned long long)n.produce_errors);
    /* a broker away for longer than the session ends the membership: the reader, which commits
     * nothing here, then starts again from the beginning */
    USER_UNTIL(u, USER_NOBODY, u->different == to);
    assert_true(u->lost > 0 || u->taken == c->n);
    assert_int_equal(u->fatal, 0);
    user_close(u);
    user_close(w);
    free(c);
}

static void pause_broker(void)
{
    cluster_signal(&cluster, SIGSTOP);
    nap_ms(4000);
    cluster_signal(&cluster, SIGCONT);
}

static void restart_broker(void)
{
    cluster_down(&cluster, false);
    cluster_up(&cluster);
}

static void kill_broker(void)
{
    cluster_down(&cluster, true);
    nap_ms(1000);
    cluster_up(&cluster);
}

static void test_broker_paused_while_writing(void **state)
{
    char topic[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "paused"), PARTITIONS, NULL);
    write_through(topic, 4000, pause_broker);
}

static void test_broker_restarted_while_writing(void **state)
{
    char topic[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "restarted"), PARTITIONS, NULL);
    write_through(topic, 4000, restart_broker);
}

static void test_broker_killed_while_writing(void **state)
{
    char topic[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "killed"), PARTITIONS, NULL);
    write_through(topic, 4000, kill_broker);
}

static void test_fatal_producer_is_replaced(void **state)
{
    char topic[96];
    struct bus_counters n;
    (void)state;
    struct content *c = calloc(1, sizeof *c);
    assert_non_null(c);
    cluster_topic(&cluster, cluster_name(topic, "fatal"), PARTITIONS, NULL);
    struct user *w = user_writer(&cluster, topic);
    for (uint32_t i = 0; i < 6000; i++) {
        user_write(w, i, (int32_t)(i % PARTITIONS));
        if (i == 2000 || i == 4000) {
            struct bus_kafka *b = w->bus.self;
            assert_int_equal(
                rd_kafka_test_fatal_error(b->producer[WRITER_BULK],
                                          RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "test"),
                RD_KAFKA_RESP_ERR_NO_ERROR);
        }
    }
    user_drain(w);
    w->bus.counters(w->bus.self, &n);
    assert_int_equal(n.acked, 6000);
    assert_true(n.produce_errors > 0);
    assert_int_equal(w->fatal, 0);
    assert_true(w->troubles > 0);
    cluster_read(&cluster, topic, on_content, c);
    for (uint32_t i = 0; i < 6000; i++) {
        assert_true(c->count[i] >= 1);
    }
    assert_false(c->disorder);
    print_message("fatal: %zu in the topic\n", c->n);
    user_close(w);
    free(c);
}

static void test_open_without_broker_tells_and_goes_on(void **state)
{
    static const char *const NOWHERE[] = {"brokers", "127.0.0.1:1", NULL};
    (void)state;
    struct user *u = user_make();
    const struct bus_plan plan = {.client = "test",
                                  .group = "nobody",
                                  .group_topic = {[TOPIC_TRANSACTIONS] = true},
                                  .topic_name = {[TOPIC_TRANSACTIONS] = "nothing"},
                                  .produces = true};
    user_open(&cluster, u, &plan, NOWHERE);
    USER_UNTIL(u, USER_NOBODY, u->troubles > 0);
    assert_int_equal(u->fatal, 0);
    assert_int_equal(u->taken, 0);
    user_close(u);
}

static void test_open_refuses_what_guarantees_rest_on(void **state)
{
    static const char *const CASES[][3] = {{"kafka.acks", "1", NULL},
                                           {"kafka.enable.idempotence", "false", NULL},
                                           {"kafka.enable.auto.commit", "true", NULL},
                                           {"kafka.no.such.thing", "1", NULL},
                                           {"kafka.linger.ms", "many", NULL}};
    struct errmsg e;
    struct bus bus;
    const struct bus_events events = {.ctx = NULL};
    const struct bus_plan plan = {.topic_name = {[TOPIC_ALERTS] = "x"}, .produces = true};
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct conf *c = cluster_conf(&cluster, CASES[i]);
        assert_int_equal(bus_kafka_open(c, &plan, &events, &bus, &e), ERR_INVALID);
        assert_non_null(strstr(e.text, CASES[i][0]));
        conf_free(c);
    }
    struct conf *c = cluster_conf(&cluster, NULL);
    assert_int_equal(bus_kafka_open(c, &plan, &events, &bus, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "\"x\" does not exist"));
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_send_keeps_order_and_counts_batches),
        cmocka_unit_test(test_send_partition_timestamp_headers),
        cmocka_unit_test(test_send_refuses_or_cuts_what_is_too_large),
        cmocka_unit_test(test_broker_paused_while_writing),
        cmocka_unit_test(test_broker_restarted_while_writing),
        cmocka_unit_test(test_broker_killed_while_writing),
        cmocka_unit_test(test_fatal_producer_is_replaced),
        cmocka_unit_test(test_open_without_broker_tells_and_goes_on),
        cmocka_unit_test(test_open_refuses_what_guarantees_rest_on),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
