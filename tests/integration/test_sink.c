/* The sink over a log in memory and a real PostgreSQL: how it gathers rows,
 * and what it does about a database that has lost some. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"
#include "daemon/sink.h"
#include "tests/support/bus_mem.h"
#include "tests/support/database.h"
#include "tests/support/messages.h"
#include "tests/support/until.h"

static struct database database;
static struct rates *rates;

/* A topic of so many messages that are no decisions: they cost no rows, their positions count. */
struct log_in_memory {
    int64_t next, end;
    size_t per_poll; /* what one poll hands out at most */
};

static size_t poll_log(void *self, struct bus_message *out, size_t max, int timeout_ms)
{
    struct log_in_memory *l = self;
    (void)timeout_ms;
    size_t n = max < l->per_poll ? max : l->per_poll;
    for (size_t i = 0; i < n; i++) {
        if (l->next == l->end) {
            return i;
        }
        out[i] = (struct bus_message){
            .topic = TOPIC_DECISIONS, .offset = l->next++, .value = "none", .value_len = 4};
    }
    return n;
}

static void release(void *self)
{
    (void)self;
}

static uint64_t wait_acks(void *self, int timeout_ms)
{
    (void)self;
    (void)timeout_ms;
    return UINT64_MAX;
}

static void counters(void *self, struct bus_counters *out)
{
    (void)self;
    memset(out, 0, sizeof *out);
}

/* Called only while the sink waits: counts how often it was asked. */
static bool count_waiting(void *ctx)
{
    ++*(int *)ctx;
    return true;
}

static struct sink_conf conf(size_t batch_max, int *asked)
{
    struct sink_conf c = {.conninfo = database.server.conninfo,
                          .log = {"log", 3},
                          .batch_max = batch_max,
                          .max_future_us = TIME_MIN,
                          .linger_us = 2 * TIME_S,
                          .go_on = count_waiting,
                          .ctx = asked,
                          .rates = rates};
    for (int t = 0; t < TOPIC_COUNT; t++) {
        c.topic_name[t] = "topic";
    }
    c.topic_name[TOPIC_DECISIONS] = "decisions";
    c.topic_name[TOPIC_TRANSACTIONS] = "payments";
    return c;
}

static struct sink *open_sink(struct log_in_memory *l, size_t batch_max, int *asked)
{
    struct sink *s = NULL;
    struct errmsg e = {""};
    struct sink_conf c = conf(batch_max, asked);
    database_must(sink_create(&c, &s, &e), &e);
    sink_attach(s, (struct bus){.self = l,
                                .poll = poll_log,
                                .release = release,
                                .wait = wait_acks,
                                .counters = counters});
    return s;
}

/* How often the sink paused in so many turns after the first. */
static int pauses(struct log_in_memory l, size_t batch_max, int turns)
{
    int asked = 0;
    struct sink *s = open_sink(&l, batch_max, &asked);
    (void)sink_turn(s);
    int before = asked;
    for (int i = 0; i < turns; i++) {
        (void)sink_turn(s);
    }
    sink_free(s);
    return asked - before;
}

/* A batch larger than a poll can be: the bus hands out less than asked, and yet there is more. */
static void test_sink_turn_does_not_linger_while_there_is_more(void **state)
{
    (void)state;
    int busy = pauses((struct log_in_memory){0, 100000, 4096}, 5000, 3);
    int quiet = pauses((struct log_in_memory){0, 100000, 10}, 5000, 1);
    /* a turn asks once anyway; while it lingers it asks ten times a second */
    assert_int_equal(busy, 3);
    assert_true(quiet >= 3);
}

static void test_sink_create_takes_batches_above_what_a_poll_gives(void **state)
{
    (void)state;
    int busy = pauses((struct log_in_memory){0, 10 * BUS_POLL_MAX, BUS_POLL_MAX}, 1000000, 3);
    assert_int_equal(busy, 3);
}

/* Payments in two partitions, written up to their ends; the rest comes later. */
struct losing {
    struct messages made;
    struct bus_mem *broker;
    struct bus bus;
    struct sink *sink;
    int asked;
    size_t sent;
};

static void losing_send(struct losing *l, size_t n)
{
    for (; n > 0; n--, l->sent++) {
        struct bus_message m = messages_get(&l->made, l->sent, (int32_t)(l->sent % 2), 0);
        m.topic = TOPIC_TRANSACTIONS;
        (void)bus_mem_append(l->broker, TOPIC_TRANSACTIONS, m.partition, &m);
    }
}

static void losing_turns(struct losing *l, int n)
{
    for (int i = 0; i < n; i++) {
        (void)sink_turn(l->sink);
    }
}

static void losing_start(struct losing *l)
{
    struct errmsg e = {""};
    *l =
        (struct losing){.made = messages_make(7, 200, 5, false, false), .broker = bus_mem_create()};
    database_run(database.db, "TRUNCATE transactions, sink_offsets");
    struct sink_conf c = conf(1000, &l->asked);
    c.linger_us = 0;
    database_must(sink_create(&c, &l->sink, &e), &e);
    const struct bus_events events = sink_events(l->sink);
    struct bus_plan plan = {0};
    plan.group_topic[TOPIC_TRANSACTIONS] = true;
    l->bus = bus_mem_open(l->broker, &plan, &events);
    sink_attach(l->sink, l->bus);
    bus_mem_assign(&l->bus, TOPIC_TRANSACTIONS, 0);
    bus_mem_assign(&l->bus, TOPIC_TRANSACTIONS, 1);
    losing_send(l, 60);
    losing_turns(l, 3);
    assert_int_equal(database_count(database.db, "SELECT count(*) FROM transactions"), 60);
}

static void losing_done(struct losing *l, uint64_t taken_back)
{
    struct sink_stats stats;
    sink_stats(l->sink, &stats);
    assert_int_equal(stats.taken_back, taken_back);
    assert_int_equal(database_count(database.db, "SELECT count(*) FROM transactions"),
                     (long)l->sent);
    assert_int_equal(database_count(database.db, "SELECT sum(next_offset) FROM sink_offsets"),
                     (long)l->sent);
    sink_free(l->sink);
    l->bus.close(l->bus.self);
    bus_mem_free(l->broker);
    messages_done(&l->made);
}

#define LOSE_PARTITION_1_FROM_12                                                                   \
    "BEGIN; DELETE FROM transactions WHERE part = 1 AND log_offset >= 12; "                        \
    "UPDATE sink_offsets SET next_offset = 12 WHERE part = 1; COMMIT"

#define CUT_CONNECTIONS                                                                            \
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "                                \
    "backend_type = 'client backend' AND pid <> pg_backend_pid()"

/* The connection goes by way of something that hides the failover: the next rows tell. */
static void test_sink_writes_again_what_the_database_lost(void **state)
{
    (void)state;
    struct losing l;
    losing_start(&l);
    database_run(database.db, LOSE_PARTITION_1_FROM_12);
    losing_send(&l, 10);
    losing_turns(&l, 5);
    losing_done(&l, 1);
}

/* Nothing new comes: what was lost is found because the connection was. */
static void test_sink_looks_after_a_lost_connection_at_what_was_kept(void **state)
{
    (void)state;
    struct losing l;
    losing_start(&l);
    database_run(database.db, LOSE_PARTITION_1_FROM_12);
    database_run(database.db, CUT_CONNECTIONS);
    struct sink_stats stats = {0};
    for (int i = 0; i < 1000 && stats.taken_back == 0; i++) { /* asks twice a second */
        nap_ms(10);
        losing_turns(&l, 1);
        sink_stats(l.sink, &stats);
    }
    losing_turns(&l, 3);
    losing_done(&l, 1);
}

static void test_sink_fills_a_database_that_was_emptied(void **state)
{
    (void)state;
    struct losing l;
    losing_start(&l);
    database_run(database.db, "TRUNCATE transactions, sink_offsets");
    losing_send(&l, 1);
    losing_turns(&l, 5);
    losing_done(&l, 1);
}

/* A connection that was lost and nothing with it. */
static void test_sink_takes_nothing_back_where_nothing_was_lost(void **state)
{
    (void)state;
    struct losing l;
    losing_start(&l);
    database_run(database.db, CUT_CONNECTIONS);
    losing_send(&l, 9);
    losing_turns(&l, 5);
    losing_done(&l, 0);
}

static int start(void **state)
{
    (void)state;
    struct errmsg e = {""};
    database_start(&database);
    database_must(rates_create_default(&rates, &e), &e);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rates_free(rates);
    database_stop(&database);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sink_turn_does_not_linger_while_there_is_more),
        cmocka_unit_test(test_sink_create_takes_batches_above_what_a_poll_gives),
        cmocka_unit_test(test_sink_writes_again_what_the_database_lost),
        cmocka_unit_test(test_sink_looks_after_a_lost_connection_at_what_was_kept),
        cmocka_unit_test(test_sink_fills_a_database_that_was_emptied),
        cmocka_unit_test(test_sink_takes_nothing_back_where_nothing_was_lost),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
