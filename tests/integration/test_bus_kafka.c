/* The Kafka bus against a real broker: groups, commits, offsets that jump, whole topics, sizes,
 * partitions by key, and a broker that is paused, stopped and killed while records are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <time.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/bus_kafka.h"
#include "tests/support/cluster.h"
#include "tests/support/until.h"

#define PARTITIONS 4
#define PARTS_MAX 8
#define IDS_MAX 40000
#define PATIENCE_US (180 * TIME_S)

static struct cluster cluster;

/* ---- a bus and what it told ---- */

struct user {
    struct bus bus;
    bool open, answers_acks;
    enum bus_topic topic;
    int64_t start; /* what `assigned` answers; -1: committed or low */
    bool owns[PARTS_MAX];
    int64_t committed[PARTS_MAX], low[PARTS_MAX], high[PARTS_MAX], next[PARTS_MAX];
    int assigned, revoked, lost;
    bool commit_on_revoke;
    uint32_t count[IDS_MAX]; /* messages read, by the number that is their value */
    size_t taken, different;
    int troubles, fatal;
    char told[512]; /* the last fatal trouble, or the last one */
};

static int64_t on_assigned(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    struct user *u = ctx;
    assert_in_range(partition, 0, PARTS_MAX - 1);
    assert_int_equal(topic, u->topic);
    assert_false(u->owns[partition]);
    u->owns[partition] = true;
    u->assigned++;
    u->committed[partition] = committed;
    u->low[partition] = low;
    u->high[partition] = high;
    u->next[partition] = u->start >= 0 ? u->start : committed >= 0 ? committed : low;
    return u->next[partition];
}

static void on_revoked(void *ctx, enum bus_topic topic, int32_t partition, bool lost)
{
    struct user *u = ctx;
    struct errmsg e;
    assert_true(u->owns[partition]);
    if (u->commit_on_revoke && !lost) {
        assert_int_equal(u->bus.commit(u->bus.self, topic, partition, u->next[partition], true, &e),
                         ERR_OK);
    }
    u->owns[partition] = false;
    u->revoked++;
    u->lost += lost;
}

static void on_trouble(void *ctx, bool fatal, const char *text)
{
    struct user *u = ctx;
    u->troubles++;
    if (fatal || u->fatal == 0) {
        snprintf(u->told, sizeof u->told, "%s", text);
    }
    u->fatal += fatal;
}

static void open_bus(struct user *u, const struct bus_plan *plan, const char *const *settings)
{
    struct errmsg e;
    const struct bus_events events = {
        .ctx = u, .assigned = on_assigned, .revoked = on_revoked, .trouble = on_trouble};
    struct conf *c = cluster_conf(&cluster, settings);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        u->topic = plan->group_topic[t] || plan->whole_topic[t] ? (enum bus_topic)t : u->topic;
    }
    if (bus_kafka_open(c, plan, &events, &u->bus, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    u->open = true;
    conf_free(c);
}

static struct user *make_user(void)
{
    struct user *u = calloc(1, sizeof *u);
    assert_non_null(u);
    u->start = -1;
    return u;
}

/* A member of a group that shares `topic`.  settings: {name, value, .., NULL} or NULL. */
static struct user *member_set(const char *topic, const char *group, const char *const *settings)
{
    struct user *u = make_user();
    const struct bus_plan plan = {.client = "test",
                                  .group = group,
                                  .group_topic = {[TOPIC_TRANSACTIONS] = true},
                                  .topic_name = {[TOPIC_TRANSACTIONS] = topic}};
    open_bus(u, &plan, settings);
    return u;
}

static struct user *member(const char *topic, const char *group)
{
    return member_set(topic, group, NULL);
}

static struct user *writer(const char *topic)
{
    struct user *u = make_user();
    const struct bus_plan plan = {
        .client = "test", .topic_name = {[TOPIC_TRANSACTIONS] = topic}, .produces = true};
    open_bus(u, &plan, NULL);
    return u;
}

static void close_user(struct user *u)
{
    if (u->open) {
        u->bus.close(u->bus.self);
    }
    free(u);
}

static uint32_t number_of(const void *value, size_t len)
{
    char text[16] = "";
    assert_in_range(len, 1, sizeof text - 1);
    memcpy(text, value, len);
    unsigned long n = strtoul(text, NULL, 10);
    assert_true(n < IDS_MAX);
    return (uint32_t)n;
}

/* One poll; every message must be the next one of a partition that is ours. */
static size_t turn(struct user *u, int timeout_ms)
{
    struct bus_message m[500];
    size_t n = u->bus.poll(u->bus.self, m, 500, timeout_ms);
    for (size_t i = 0; i < n; i++) {
        assert_true(u->owns[m[i].partition]);
        assert_int_equal(m[i].topic, u->topic);
        assert_true(m[i].offset >= u->next[m[i].partition]);
        u->next[m[i].partition] = m[i].offset + 1;
        u->different += u->count[number_of(m[i].value, m[i].value_len)]++ == 0;
    }
    u->taken += n;
    u->bus.release(u->bus.self);
    return n;
}

/* Polls both (or one) until the condition holds. */
#define UNTIL(u, v, condition)                                                                     \
    do {                                                                                           \
        int64_t until_us_ = progress_now_us() + PATIENCE_US;                                       \
        while (!(condition)) {                                                                     \
            if (progress_now_us() > until_us_) {                                                   \
                fail_msg("never: %s (last trouble: %s)", #condition, (u)->told);                   \
            }                                                                                      \
            turn(u, 20);                                                                           \
            if ((v) != NULL) {                                                                     \
                turn(v, 20);                                                                       \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static struct user *const NOBODY = NULL;

static int owned(const struct user *u)
{
    int n = 0;
    for (int p = 0; p < PARTS_MAX; p++) {
        n += u->owns[p];
    }
    return n;
}

/* Queues number `n` as a value; waits for room. */
static void write_one(struct user *u, uint32_t n, int32_t partition)
{
    char value[16];
    struct errmsg e;
    int len = snprintf(value, sizeof value, "%u", n);
    const struct bus_record r = {.topic = TOPIC_TRANSACTIONS,
                                 .partition = partition,
                                 .value = value,
                                 .value_len = (size_t)len,
                                 .batch = n / 10};
    enum err err = u->bus.send(u->bus.self, &r, &e);
    while (err == ERR_FULL) {
        u->bus.wait(u->bus.self, 20);
        err = u->bus.send(u->bus.self, &r, &e);
    }
    assert_int_equal(err, ERR_OK);
}

static void drain(struct user *u)
{
    int64_t until_us = progress_now_us() + PATIENCE_US;
    while (u->bus.wait(u->bus.self, 100) != UINT64_MAX) {
        assert_true(progress_now_us() < until_us);
    }
}

/* Numbers [from, to) over the partitions in turn, acknowledged. */
static void fill(const char *topic, uint32_t from, uint32_t to)
{
    struct user *w = writer(topic);
    for (uint32_t n = from; n < to; n++) {
        write_one(w, n, (int32_t)(n % PARTITIONS));
    }
    drain(w);
    close_user(w);
}

static void each_once(const struct user *u, const struct user *v, uint32_t from, uint32_t to)
{
    for (uint32_t n = from; n < to; n++) {
        uint32_t count = u->count[n] + (v != NULL ? v->count[n] : 0);
        if (count != 1) {
            fail_msg("message %u was read %u times", n, count);
        }
    }
}

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

/* ---- reading ---- */

static void test_group_shares_and_hands_over(void **state)
{
    /* twice the patience: one that is closed leaves the group, it is not waited for */
    static const char *const LONG[] = {"kafka.session.timeout.ms", "120000", NULL};
    char topic[96];
    char group[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "group"), PARTITIONS, NULL);
    cluster_name(group, "group-g");
    fill(topic, 0, 400);
    struct user *a = member_set(topic, group, LONG);
    a->commit_on_revoke = true;
    UNTIL(a, NOBODY, a->taken == 400);
    assert_int_equal(owned(a), PARTITIONS);
    assert_int_equal(a->committed[0], -1);
    assert_int_equal(a->high[0], 100);

    struct user *b = member_set(topic, group, LONG);
    b->commit_on_revoke = true;
    UNTIL(a, b, owned(a) == 2 && owned(b) == 2);
    for (int p = 0; p < PARTITIONS; p++) { /* they go on where the other committed */
        assert_int_equal(b->owns[p] ? b->committed[p] : 100, 100);
        assert_int_equal(a->owns[p] + b->owns[p], 1);
    }
    fill(topic, 400, 800);
    UNTIL(a, b, a->taken + b->taken == 800);
    each_once(a, b, 0, 800);
    assert_true(b->taken == 200);

    /* b leaves: its partitions come to a, at b's commits */
    close_user(b);
    UNTIL(a, NOBODY, owned(a) == PARTITIONS);
    fill(topic, 800, 1000);
    UNTIL(a, NOBODY, a->taken == 800);
    each_once(a, NULL, 800, 1000);
    struct bus_counters c;
    a->bus.counters(a->bus.self, &c);
    assert_int_equal(c.lag, 0);
    assert_int_equal(c.gaps, 0);
    assert_true(c.rebalances >= 3);
    close_user(a);
}

static void test_commit_only_what_is_asked(void **state)
{
    char topic[96];
    char group[96];
    struct errmsg e;
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "commit"), PARTITIONS, NULL);
    cluster_name(group, "commit-g");
    fill(topic, 0, 400);
    struct user *u = member(topic, group);
    UNTIL(u, NOBODY, u->taken == 400);
    assert_int_equal(u->bus.commit(u->bus.self, TOPIC_TRANSACTIONS, 1, 40, true, &e), ERR_OK);
    assert_int_equal(u->bus.commit(u->bus.self, TOPIC_TRANSACTIONS, 2, 7, false, &e), ERR_OK);
    assert_int_equal(u->bus.commit(u->bus.self, TOPIC_LABELS, 0, 7, true, &e), ERR_INVALID);
    assert_int_equal(u->bus.commit(u->bus.self, TOPIC_TRANSACTIONS, 7, 7, true, &e), ERR_INVALID);
    for (int i = 0; i < 50; i++) { /* the second one is sent soon, from inside poll */
        turn(u, 20);
    }
    close_user(u);

    u = member(topic, group);
    UNTIL(u, NOBODY, owned(u) == PARTITIONS);
    assert_int_equal(u->committed[0], -1);
    assert_int_equal(u->committed[1], 40);
    assert_int_equal(u->committed[2], 7);
    assert_int_equal(u->committed[3], -1);
    UNTIL(u, NOBODY, u->taken == 400 - 47);
    close_user(u);
}

/* Moves the library's position behind the bus' back, as its faults do. */
static void seek_behind(struct user *u, const char *topic, int32_t partition, int64_t offset)
{
    struct bus_kafka *b = u->bus.self;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    rd_kafka_error_t *error = rd_kafka_seek_partitions(b->group, list, 10000);
    assert_null(error);
    assert_int_equal(list->elems[0].err, RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
}

static void test_jumps_of_the_library_do_not_show(void **state)
{
    char topic[96];
    char group[96];
    struct bus_counters c;
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "jump"), 1, NULL);
    struct user *w = writer(topic);
    for (uint32_t n = 0; n < 1000; n++) {
        write_one(w, n, 0);
    }
    drain(w);
    struct user *u = member(topic, cluster_name(group, "jump-g"));
    UNTIL(u, NOBODY, u->taken == 1000);
    seek_behind(u, topic, 0, 900); /* back: 100 repeats, none handed out */
    for (int i = 0; i < 50; i++) {
        turn(u, 20);
    }
    u->bus.counters(u->bus.self, &c);
    assert_int_equal(c.repeats, 100);
    assert_int_equal(u->taken, 1000);

    for (uint32_t n = 1000; n < 1200; n++) {
        write_one(w, n, 0);
    }
    drain(w);
    seek_behind(u, topic, 0, 1060); /* forward, over 60 not read yet: sought back */
    UNTIL(u, NOBODY, u->taken == 1200);
    each_once(u, NULL, 0, 1200);
    u->bus.counters(u->bus.self, &c);
    assert_int_equal(c.gaps, 0);
    close_user(u);
    close_user(w);
}

static void test_real_gaps_are_counted_and_passed(void **state)
{
    char topic[96];
    char group[96];
    char text[256];
    struct bus_counters c;
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "gap"), 1, NULL);
    /* a transaction's end is a record that no reader sees */
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(
        rd_kafka_conf_set(conf, "bootstrap.servers", cluster.brokers, text, sizeof text), 0);
    assert_int_equal(rd_kafka_conf_set(conf, "transactional.id", topic, text, sizeof text), 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(rk);
    assert_null(rd_kafka_init_transactions(rk, 30000));
    for (uint32_t n = 0; n < 30; n++) {
        char value[16];
        int len = snprintf(value, sizeof value, "%u", n);
        if (n % 10 == 0) {
            assert_null(rd_kafka_begin_transaction(rk));
        }
        assert_int_equal(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
                                           RD_KAFKA_V_VALUE(value, (size_t)len),
                                           RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                           RD_KAFKA_V_END),
                         0);
        if (n % 10 == 9) {
            assert_null(rd_kafka_commit_transaction(rk, 30000));
        }
    }
    rd_kafka_destroy(rk);
    struct user *u = member(topic, cluster_name(group, "gap-g"));
    UNTIL(u, NOBODY, u->taken == 30);
    each_once(u, NULL, 0, 30);
    assert_int_equal(u->next[0], 32); /* 30 messages, two ends between them */
    u->bus.counters(u->bus.self, &c);
    assert_int_equal(c.gaps, 2);
    assert_int_equal(u->fatal, 0);
    close_user(u);
}

static void test_start_outside_the_log_is_refused(void **state)
{
    char topic[96];
    char group[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "outside"), 1, NULL);
    fill(topic, 0, 0);
    struct user *w = writer(topic);
    for (uint32_t n = 0; n < 10; n++) {
        write_one(w, n, 0);
    }
    drain(w);
    struct user *u = make_user();
    u->start = 25;
    const struct bus_plan plan = {.client = "test",
                                  .group = cluster_name(group, "outside-g"),
                                  .group_topic = {[TOPIC_TRANSACTIONS] = true},
                                  .topic_name = {[TOPIC_TRANSACTIONS] = topic}};
    open_bus(u, &plan, NULL);
    UNTIL(u, NOBODY, u->fatal > 0);
    assert_non_null(strstr(u->told, "offset 25"));
    assert_non_null(strstr(u->told, "holds 0 to 10"));
    assert_non_null(strstr(u->told, "15 messages are gone"));
    assert_int_equal(u->taken, 0);
    close_user(u);
    close_user(w);
}

static void test_whole_topics_are_read_by_everybody(void **state)
{
    char topic[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "whole"), PARTITIONS, NULL);
    fill(topic, 0, 400);
    const struct bus_plan plan = {.client = "test",
                                  .whole_topic = {[TOPIC_LABELS] = true},
                                  .topic_name = {[TOPIC_LABELS] = topic}};
    struct user *a = make_user();
    struct user *b = make_user();
    b->start = 50;
    open_bus(a, &plan, NULL);
    open_bus(b, &plan, NULL);
    UNTIL(a, b, a->taken == 400 && b->taken == 200);
    assert_int_equal(owned(b), PARTITIONS);
    fill(topic, 400, 500);
    UNTIL(a, b, a->taken == 500 && b->taken == 300);
    each_once(a, NULL, 0, 500);
    each_once(b, NULL, 200, 500);
    struct errmsg e;
    assert_int_equal(a->bus.commit(a->bus.self, TOPIC_LABELS, 0, 5, true, &e), ERR_INVALID);
    close_user(a);
    close_user(b);
}

static void test_pause_holds_a_partition_back(void **state)
{
    char topic[96];
    char group[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "pause"), PARTITIONS, NULL);
    struct user *u = member(topic, cluster_name(group, "pause-g"));
    UNTIL(u, NOBODY, owned(u) == PARTITIONS);
    u->bus.pause(u->bus.self, TOPIC_TRANSACTIONS, 2, true);
    fill(topic, 0, 400);
    UNTIL(u, NOBODY, u->taken == 300);
    for (int i = 0; i < 25; i++) {
        turn(u, 20);
    }
    assert_int_equal(u->taken, 300);
    assert_int_equal(u->next[2], 0);
    u->bus.pause(u->bus.self, TOPIC_TRANSACTIONS, 2, false);
    UNTIL(u, NOBODY, u->taken == 400);
    each_once(u, NULL, 0, 400);
    close_user(u);
}

/* ---- writing ---- */

/* What lies in a topic. */
struct content {
    uint32_t count[IDS_MAX];
    uint32_t first[IDS_MAX]; /* place of the first copy in its partition */
    uint32_t last[PARTS_MAX];
    bool disorder;
    size_t n;
};

static void on_content(void *ctx, const struct rd_kafka_message_s *m)
{
    struct content *c = ctx;
    uint32_t n = number_of(m->payload, m->len);
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
    struct user *w = writer(topic);
    assert_int_equal(w->bus.wait(w->bus.self, 0), UINT64_MAX);
    for (uint32_t i = 0; i < 20000; i++) {
        write_one(w, i, (int32_t)(i / 7 % PARTITIONS));
        if (i % 100 == 0) { /* the first unacknowledged batch only rises */
            uint64_t open = w->bus.wait(w->bus.self, 0);
            assert_true(open >= first && (open <= i / 10 || open == UINT64_MAX));
            first = open == UINT64_MAX ? i / 10 : open;
        }
    }
    drain(w);
    w->bus.counters(w->bus.self, &n);
    assert_int_equal(n.produced, 20000);
    assert_int_equal(n.acked, 20000);
    assert_int_equal(n.queued, 0);
    assert_int_equal(cluster_read(&cluster, topic, on_content, c), 20000);
    assert_false(c->disorder);
    for (uint32_t i = 0; i < 20000; i++) {
        assert_int_equal(c->count[i], 1);
    }
    close_user(w);
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
        cluster_topic(&cluster, cluster_name(topic, name), PARTS_MAX, NULL);
        struct user *w = writer(topic);
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
        drain(w);
        close_user(w);
        assert_int_equal(cluster_read(&cluster, topic, on_details, &d), 1);
        assert_int_equal(d.partition, (KEYS[i].hash & 0x7fffffff) % PARTS_MAX);
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
    struct user *w = writer(topic);
    struct bus_record r = {
        .topic = TOPIC_TRANSACTIONS, .partition = 0, .value = value, .value_len = 20000};
    assert_int_equal(w->bus.send(w->bus.self, &r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "max.message.bytes = 10000"));
    assert_int_equal(w->bus.wait(w->bus.self, 0), UINT64_MAX); /* nothing was queued */
    r.value_len = 9000;
    assert_int_equal(w->bus.send(w->bus.self, &r, &e), ERR_OK);
    drain(w);
    assert_int_equal(cluster_read(&cluster, topic, on_details, &d), 1);
    assert_int_equal(d.len, 9000);
    assert_int_equal(d.last, 'c');

    r.value_len = sizeof value;
    r.cut = true;
    assert_int_equal(w->bus.send(w->bus.self, &r, &e), ERR_OK);
    drain(w);
    assert_int_equal(cluster_read(&cluster, topic, on_details, &d), 2);
    assert_in_range(d.len, 9500, 10000);
    assert_int_equal(d.first, 'a');
    r.topic = TOPIC_ALERTS; /* not in the plan */
    assert_int_equal(w->bus.send(w->bus.self, &r, &e), ERR_INVALID);
    close_user(w);
}

/* Writes [from, to) at 2,000 a second while `disturb` does its work at half time; a reader follows.
 */
static void write_through(const char *topic, uint32_t to, void (*disturb)(void))
{
    char group[96];
    struct bus_counters n;
    struct content *c = calloc(1, sizeof *c);
    assert_non_null(c);
    struct user *w = writer(topic);
    struct user *u = member(topic, cluster_name(group, topic));
    UNTIL(u, NOBODY, owned(u) == PARTITIONS);
    for (uint32_t i = 0; i < to; i++) {
        write_one(w, i, (int32_t)(i % PARTITIONS));
        if (i % 20 == 0) {
            w->bus.wait(w->bus.self, 0);
            turn(u, 0);
            nap_ms(10);
        }
        if (i == to / 2) {
            disturb();
        }
    }
    drain(w);
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
    UNTIL(u, NOBODY, u->different == to);
    assert_true(u->lost > 0 || u->taken == c->n);
    assert_int_equal(u->fatal, 0);
    close_user(u);
    close_user(w);
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
    struct user *w = writer(topic);
    for (uint32_t i = 0; i < 6000; i++) {
        write_one(w, i, (int32_t)(i % PARTITIONS));
        if (i == 2000 || i == 4000) {
            struct bus_kafka *b = w->bus.self;
            assert_int_equal(
                rd_kafka_test_fatal_error(b->producer[WRITER_BULK],
                                          RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "test"),
                RD_KAFKA_RESP_ERR_NO_ERROR);
        }
    }
    drain(w);
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
    close_user(w);
    free(c);
}

static void test_open_without_broker_tells_and_goes_on(void **state)
{
    static const char *const NOWHERE[] = {"brokers", "127.0.0.1:1", NULL};
    (void)state;
    struct user *u = make_user();
    const struct bus_plan plan = {.client = "test",
                                  .group = "nobody",
                                  .group_topic = {[TOPIC_TRANSACTIONS] = true},
                                  .topic_name = {[TOPIC_TRANSACTIONS] = "nothing"},
                                  .produces = true};
    open_bus(u, &plan, NOWHERE);
    UNTIL(u, NOBODY, u->troubles > 0);
    assert_int_equal(u->fatal, 0);
    assert_int_equal(u->taken, 0);
    close_user(u);
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
        cmocka_unit_test(test_group_shares_and_hands_over),
        cmocka_unit_test(test_commit_only_what_is_asked),
        cmocka_unit_test(test_jumps_of_the_library_do_not_show),
        cmocka_unit_test(test_real_gaps_are_counted_and_passed),
        cmocka_unit_test(test_start_outside_the_log_is_refused),
        cmocka_unit_test(test_whole_topics_are_read_by_everybody),
        cmocka_unit_test(test_pause_holds_a_partition_back),
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
