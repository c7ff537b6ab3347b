#include "tests/support/bus_user.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/bus_kafka.h"

static int64_t on_assigned(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    struct user *u = ctx;
    assert_in_range(partition, 0, USER_PARTS_MAX - 1);
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

void user_open(const struct cluster *cluster, struct user *u, const struct bus_plan *plan,
               const char *const *settings)
{
    struct errmsg e;
    const struct bus_events events = {
        .ctx = u, .assigned = on_assigned, .revoked = on_revoked, .trouble = on_trouble};
    struct conf *c = cluster_conf(cluster, settings);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        u->topic = plan->group_topic[t] || plan->whole_topic[t] ? (enum bus_topic)t : u->topic;
    }
    if (bus_kafka_open(c, plan, &events, &u->bus, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    u->open = true;
    conf_free(c);
}

struct user *user_make(void)
{
    struct user *u = calloc(1, sizeof *u);
    assert_non_null(u);
    u->start = -1;
    return u;
}

struct user *user_member_set(const struct cluster *cluster, const char *topic, const char *group,
                             const char *const *settings)
{
    struct user *u = user_make();
    const struct bus_plan plan = {.client = "test",
                                  .group = group,
                                  .group_topic = {[TOPIC_TRANSACTIONS] = true},
                                  .topic_name = {[TOPIC_TRANSACTIONS] = topic}};
    user_open(cluster, u, &plan, settings);
    return u;
}

struct user *user_member(const struct cluster *cluster, const char *topic, const char *group)
{
    return user_member_set(cluster, topic, group, NULL);
}

struct user *user_writer(const struct cluster *cluster, const char *topic)
{
    struct user *u = user_make();
    const struct bus_plan plan = {
        .client = "test", .topic_name = {[TOPIC_TRANSACTIONS] = topic}, .produces = true};
    user_open(cluster, u, &plan, NULL);
    return u;
}

void user_close(struct user *u)
{
    if (u->open) {
        u->bus.close(u->bus.self);
    }
    free(u);
}

uint32_t user_number(const void *value, size_t len)
{
    char text[16] = "";
    assert_in_range(len, 1, sizeof text - 1);
    memcpy(text, value, len);
    unsigned long n = strtoul(text, NULL, 10);
    assert_true(n < USER_IDS_MAX);
    return (uint32_t)n;
}

size_t user_turn(struct user *u, int timeout_ms)
{
    struct bus_message m[500];
    size_t n = u->bus.poll(u->bus.self, m, 500, timeout_ms);
    for (size_t i = 0; i < n; i++) {
        assert_true(u->owns[m[i].partition]);
        assert_int_equal(m[i].topic, u->topic);
        assert_true(m[i].offset >= u->next[m[i].partition]);
        u->next[m[i].partition] = m[i].offset + 1;
        u->different += u->count[user_number(m[i].value, m[i].value_len)]++ == 0;
    }
    u->taken += n;
    u->bus.release(u->bus.self);
    return n;
}

int user_owns(const struct user *u)
{
    int n = 0;
    for (int p = 0; p < USER_PARTS_MAX; p++) {
        n += u->owns[p];
    }
    return n;
}

void user_write(struct user *u, uint32_t n, int32_t partition)
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

void user_drain(struct user *u)
{
    int64_t until_us = progress_now_us() + USER_PATIENCE_US;
    while (u->bus.wait(u->bus.self, 100) != UINT64_MAX) {
        assert_true(progress_now_us() < until_us);
    }
}

void user_fill(const struct cluster *cluster, const char *topic, uint32_t from, uint32_t to)
{
    struct user *w = user_writer(cluster, topic);
    for (uint32_t n = from; n < to; n++) {
        user_write(w, n, (int32_t)(n % USER_PARTITIONS));
    }
    user_drain(w);
    user_close(w);
}

void user_each_once(const struct user *u, const struct user *v, uint32_t from, uint32_t to)
{
    for (uint32_t n = from; n < to; n++) {
        uint32_t count = u->count[n] + (v != NULL ? v->count[n] : 0);
        if (count != 1) {
            fail_msg("message %u was read %u times", n, count);
        }
    }
}
