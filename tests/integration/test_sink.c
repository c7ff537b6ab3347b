/* The sink over a log in memory and a real PostgreSQL: how it gathers rows. */
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
#include "tests/support/database.h"

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

static struct sink *open_sink(struct log_in_memory *l, size_t batch_max, int *asked)
{
    struct sink *s = NULL;
    struct errmsg e = {""};
    struct sink_conf c = {.conninfo = database.server.conninfo,
                          .log = {"log", 3},
                          .batch_max = batch_max,
                          .linger_us = 2 * TIME_S,
                          .go_on = count_waiting,
                          .ctx = asked};
    for (int t = 0; t < TOPIC_COUNT; t++) {
        c.topic_name[t] = "topic";
    }
    c.topic_name[TOPIC_DECISIONS] = "decisions";
    c.rates = rates;
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
    };
    return cmocka_run_group_tests(tests, start, stop);
}
