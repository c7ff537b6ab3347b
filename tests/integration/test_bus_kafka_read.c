/* What the Kafka bus reads from a real broker: groups, commits, offsets that jump, a start outside
 * the log, whole topics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/bus_kafka.h"
#include "tests/support/bus_user.h"
#include "tests/support/cluster.h"

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

static void test_group_shares_and_hands_over(void **state)
{
    /* twice the patience: one that is closed leaves the group, it is not waited for */
    static const char *const LONG[] = {"kafka.session.timeout.ms", "120000", NULL};
    char topic[96];
    char group[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "group"), PARTITIONS, NULL);
    cluster_name(group, "group-g");
    user_fill(&cluster, topic, 0, 400);
    struct user *a = user_member_set(&cluster, topic, group, LONG);
    a->commit_on_revoke = true;
    USER_UNTIL(a, USER_NOBODY, a->taken == 400);
    assert_int_equal(user_owns(a), PARTITIONS);
    assert_int_equal(a->committed[0], -1);
    assert_int_equal(a->high[0], 100);

    struct user *b = user_member_set(&cluster, topic, group, LONG);
    b->commit_on_revoke = true;
    USER_UNTIL(a, b, user_owns(a) == 2 && user_owns(b) == 2);
    for (int p = 0; p < PARTITIONS; p++) { /* they go on where the other committed */
        assert_int_equal(b->owns[p] ? b->committed[p] : 100, 100);
        assert_int_equal(a->owns[p] + b->owns[p], 1);
    }
    user_fill(&cluster, topic, 400, 800);
    USER_UNTIL(a, b, a->taken + b->taken == 800);
    user_each_once(a, b, 0, 800);
    assert_true(b->taken == 200);

    /* b leaves: its partitions come to a, at b's commits */
    user_close(b);
    USER_UNTIL(a, USER_NOBODY, user_owns(a) == PARTITIONS);
    user_fill(&cluster, topic, 800, 1000);
    USER_UNTIL(a, USER_NOBODY, a->taken == 800);
    user_each_once(a, NULL, 800, 1000);
    struct bus_counters c;
    a->bus.counters(a->bus.self, &c);
    assert_int_equal(c.lag, 0);
    assert_int_equal(c.gaps, 0);
    assert_true(c.rebalances >= 3);
    user_close(a);
}

static void test_commit_only_what_is_asked(void **state)
{
    char topic[96];
    char group[96];
    struct errmsg e;
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "commit"), PARTITIONS, NULL);
    cluster_name(group, "commit-g");
    user_fill(&cluster, topic, 0, 400);
    struct user *u = user_member(&cluster, topic, group);
    USER_UNTIL(u, USER_NOBODY, u->taken == 400);
    assert_int_equal(u->bus.commit(u->bus.self, TOPIC_TRANSACTIONS, 1, 40, true, &e), ERR_OK);
    assert_int_equal(u->bus.commit(u->bus.self, TOPIC_TRANSACTIONS, 2, 7, false, &e), ERR_OK);
    assert_int_equal(u->bus.commit(u->bus.self, TOPIC_LABELS, 0, 7, true, &e), ERR_INVALID);
    assert_int_equal(u->bus.commit(u->bus.self, TOPIC_TRANSACTIONS, 7, 7, true, &e), ERR_INVALID);
    for (int i = 0; i < 50; i++) { /* the second one is sent soon, from inside poll */
        user_turn(u, 20);
    }
    user_close(u);

    u = user_member(&cluster, topic, group);
    USER_UNTIL(u, USER_NOBODY, user_owns(u) == PARTITIONS);
    assert_int_equal(u->committed[0], -1);
    assert_int_equal(u->committed[1], 40);
    assert_int_equal(u->committed[2], 7);
    assert_int_equal(u->committed[3], -1);
    USER_UNTIL(u, USER_NOBODY, u->taken == 400 - 47);
    user_close(u);
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
    struct user *w = user_writer(&cluster, topic);
    for (uint32_t n = 0; n < 1000; n++) {
        user_write(w, n, 0);
    }
    user_drain(w);
    struct user *u = user_member(&cluster, topic, cluster_name(group, "jump-g"));
    USER_UNTIL(u, USER_NOBODY, u->taken == 1000);
    seek_behind(u, topic, 0, 900); /* back: 100 repeats, none handed out */
    for (int i = 0; i < 50; i++) {
        user_turn(u, 20);
    }
    u->bus.counters(u->bus.self, &c);
    assert_int_equal(c.repeats, 100);
    assert_int_equal(u->taken, 1000);

    for (uint32_t n = 1000; n < 1200; n++) {
        user_write(w, n, 0);
    }
    user_drain(w);
    seek_behind(u, topic, 0, 1060); /* forward, over 60 not read yet: sought back */
    USER_UNTIL(u, USER_NOBODY, u->taken == 1200);
    user_each_once(u, NULL, 0, 1200);
    u->bus.counters(u->bus.self, &c);
    assert_int_equal(c.gaps, 0);
    user_close(u);
    user_close(w);
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
    struct user *u = user_member(&cluster, topic, cluster_name(group, "gap-g"));
    USER_UNTIL(u, USER_NOBODY, u->taken == 30);
    user_each_once(u, NULL, 0, 30);
    assert_int_equal(u->next[0], 32); /* 30 messages, two ends between them */
    u->bus.counters(u->bus.self, &c);
    assert_int_equal(c.gaps, 2);
    assert_int_equal(u->fatal, 0);
    user_close(u);
}

static void test_start_outside_the_log_is_refused(void **state)
{
    char topic[96];
    char group[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "outside"), 1, NULL);
    user_fill(&cluster, topic, 0, 0);
    struct user *w = user_writer(&cluster, topic);
    for (uint32_t n = 0; n < 10; n++) {
        user_write(w, n, 0);
    }
    user_drain(w);
    struct user *u = user_make();
    u->start = 25;
    const struct bus_plan plan = {.client = "test",
                                  .group = cluster_name(group, "outside-g"),
                                  .group_topic = {[TOPIC_TRANSACTIONS] = true},
                                  .topic_name = {[TOPIC_TRANSACTIONS] = topic}};
    user_open(&cluster, u, &plan, NULL);
    USER_UNTIL(u, USER_NOBODY, u->fatal > 0);
    assert_non_null(strstr(u->told, "offset 25"));
    assert_non_null(strstr(u->told, "holds 0 to 10"));
    assert_non_null(strstr(u->told, "15 messages are gone"));
    assert_int_equal(u->taken, 0);
    user_close(u);
    user_close(w);
}

static void test_whole_topics_are_read_by_everybody(void **state)
{
    char topic[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "whole"), PARTITIONS, NULL);
    user_fill(&cluster, topic, 0, 400);
    const struct bus_plan plan = {.client = "test",
                                  .whole_topic = {[TOPIC_LABELS] = true},
                                  .topic_name = {[TOPIC_LABELS] = topic}};
    struct user *a = user_make();
    struct user *b = user_make();
    b->start = 50;
    user_open(&cluster, a, &plan, NULL);
    user_open(&cluster, b, &plan, NULL);
    USER_UNTIL(a, b, a->taken == 400 && b->taken == 200);
    assert_int_equal(user_owns(b), PARTITIONS);
    user_fill(&cluster, topic, 400, 500);
    USER_UNTIL(a, b, a->taken == 500 && b->taken == 300);
    user_each_once(a, NULL, 0, 500);
    user_each_once(b, NULL, 200, 500);
    struct errmsg e;
    assert_int_equal(a->bus.commit(a->bus.self, TOPIC_LABELS, 0, 5, true, &e), ERR_INVALID);
    user_close(a);
    user_close(b);
}

static void test_pause_holds_a_partition_back(void **state)
{
    char topic[96];
    char group[96];
    (void)state;
    cluster_topic(&cluster, cluster_name(topic, "pause"), PARTITIONS, NULL);
    struct user *u = user_member(&cluster, topic, cluster_name(group, "pause-g"));
    USER_UNTIL(u, USER_NOBODY, user_owns(u) == PARTITIONS);
    u->bus.pause(u->bus.self, TOPIC_TRANSACTIONS, 2, true);
    user_fill(&cluster, topic, 0, 400);
    USER_UNTIL(u, USER_NOBODY, u->taken == 300);
    for (int i = 0; i < 25; i++) {
        user_turn(u, 20);
    }
    assert_int_equal(u->taken, 300);
    assert_int_equal(u->next[2], 0);
    u->bus.pause(u->bus.self, TOPIC_TRANSACTIONS, 2, false);
    USER_UNTIL(u, USER_NOBODY, u->taken == 400);
    user_each_once(u, NULL, 0, 400);
    user_close(u);
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
    };
    return cmocka_run_group_tests(tests, start, stop);
}
