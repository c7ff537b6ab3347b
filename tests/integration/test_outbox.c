/* The outbox of labels with a real PostgreSQL and a bus in memory that takes, refuses and
 * acknowledges when told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"
#include "daemon/outbox.h"
#include "tests/support/database.h"

#define SENT_MAX 3000

static struct database server;
static struct db *db;

/* What was sent, and how much of it the broker has acknowledged. */
struct memory {
    char value[SENT_MAX][256];
    char key[SENT_MAX][32];
    uint64_t batch[SENT_MAX];
    int sent, room, acknowledged;
};

static enum err take(void *self, const struct bus_record *r, struct errmsg *e)
{
    struct memory *m = self;
    assert_int_equal(r->topic, TOPIC_LABELS);
    assert_int_equal(r->partition, 0);
    if (m->sent == m->room) {
        return err_set(e, ERR_FULL, "full");
    }
    assert_true(r->value_len < sizeof m->value[0] && r->key_len < sizeof m->key[0]);
    memcpy(m->value[m->sent], r->value, r->value_len);
    m->value[m->sent][r->value_len] = '\0';
    memcpy(m->key[m->sent], r->key, r->key_len);
    m->key[m->sent][r->key_len] = '\0';
    m->batch[m->sent++] = r->batch;
    return ERR_OK;
}

static uint64_t wait_first(void *self, int timeout_ms)
{
    struct memory *m = self;
    (void)timeout_ms;
    return m->acknowledged < m->sent ? m->batch[m->acknowledged] : UINT64_MAX;
}

static struct memory memory;
static const struct bus bus = {.self = &memory, .send = take, .wait = wait_first};

static int start(void **state)
{
    (void)state;
    database_start(&server);
    db = server.db;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    database_stop(&server);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    memset(&memory, 0, sizeof memory);
    memory.room = SENT_MAX;
    database_run(db, "TRUNCATE label_outbox RESTART IDENTITY; SELECT pg_advisory_unlock_all()");
    return 0;
}

static void add(int first, int last)
{
    char sql[300];
    snprintf(sql, sizeof sql,
             "INSERT INTO label_outbox (source, number, tx_id, body) SELECT 's', i, 'tx' || i, "
             "jsonb_build_object('source', 's', 'number', i, 'card', 'c' || i) "
             "FROM generate_series(%d, %d) i",
             first, last);
    database_run(db, sql);
}

static long left(void)
{
    return database_count(db, "SELECT count(*) FROM label_outbox");
}

/* Turns whose clock runs a second each. */
static void turn(struct outbox *o, struct db *d, int times)
{
    struct errmsg e = {""};
    for (int i = 0; i < times; i++) {
        static int64_t now_us;
        now_us += TIME_S;
        database_must(outbox_turn(o, d, &bus, now_us, &e), &e);
    }
}

static void test_rows_are_removed_after_acknowledgement_only(void **state)
{
    (void)state;
    struct outbox o = {0};
    add(1, 3);
    turn(&o, db, 5);
    assert_int_equal(memory.sent, 3);
    assert_string_equal(memory.value[2], "{\"card\": \"c3\", \"number\": 3, \"source\": \"s\"}");
    assert_string_equal(memory.key[2], "c3");
    assert_int_equal(left(), 3);
    memory.acknowledged = 2;
    turn(&o, db, 2);
    assert_int_equal(left(), 3);
    memory.acknowledged = 3;
    turn(&o, db, 1);
    assert_int_equal(left(), 0);
    assert_int_equal(o.published, 3);
    assert_int_equal(memory.sent, 3);
    outbox_forget(&o);
}

static void test_a_row_that_appears_late_is_not_lost(void **state)
{
    (void)state;
    struct outbox o = {0};
    add(1, 3);
    database_run(db, "INSERT INTO label_outbox (id, source, number, tx_id, body) OVERRIDING SYSTEM "
                     "VALUE VALUES (9, 't', 1, 'tx', '{\"card\": \"c\"}')");
    turn(&o, db, 2);
    add(4, 4); /* its id, 4, is below the 9 that is being published */
    memory.acknowledged = 4;
    turn(&o, db, 1);
    assert_int_equal(left(), 1);
    turn(&o, db, 2);
    assert_string_equal(memory.value[4], "{\"card\": \"c4\", \"number\": 4, \"source\": \"s\"}");
    outbox_forget(&o);
}

static void test_a_full_bus_goes_on_where_it_stopped(void **state)
{
    (void)state;
    struct outbox o = {0};
    add(1, 2700);
    memory.room = 100;
    turn(&o, db, 3);
    assert_int_equal(memory.sent, 100);
    memory.room = SENT_MAX;
    for (int i = 0; i < 10; i++) {
        turn(&o, db, 1);
        memory.acknowledged = memory.sent;
    }
    assert_int_equal(memory.sent, 2700);
    assert_int_equal(left(), 0);
    for (int i = 0; i < 2700; i++) {
        char number[40];
        snprintf(number, sizeof number, "\"number\": %d,", i + 1);
        assert_non_null(strstr(memory.value[i], number));
    }
    outbox_forget(&o);
}

static void test_a_crash_before_removal_repeats_the_same_numbers(void **state)
{
    (void)state;
    struct outbox o = {0};
    struct db *first = database_connect(&server);
    add(1, 3);
    turn(&o, first, 2);
    memory.acknowledged = 3;
    db_close(first); /* acknowledged, not removed */
    outbox_forget(&o);
    struct outbox next = {0};
    for (int i = 0; i < 10000 && memory.sent < 6; i++) { /* the server sees the end a bit later */
        turn(&next, db, 1);
    }
    assert_int_equal(memory.sent, 6);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(memory.value[i], memory.value[i + 3]);
    }
    outbox_forget(&next);
}

static void test_one_session_publishes_at_a_time(void **state)
{
    (void)state;
    struct outbox o = {0};
    struct outbox second = {0};
    struct db *other = database_connect(&server);
    turn(&o, db, 1); /* takes the lock */
    add(1, 3);
    turn(&second, other, 3);
    assert_int_equal(memory.sent, 0);
    turn(&o, db, 2);
    assert_int_equal(memory.sent, 3);
    outbox_forget(&o);
    outbox_forget(&second);
    db_close(other);
}

static void test_a_lost_connection_is_told(void **state)
{
    (void)state;
    struct outbox o = {0};
    struct errmsg e = {""};
    struct db *victim = database_connect(&server);
    char *pid = NULL;
    turn(&o, victim, 1);
    pid = database_text(db, "SELECT pg_terminate_backend(pid), pid FROM pg_stat_activity WHERE "
                            "backend_type = 'client backend' AND pid <> pg_backend_pid()");
    assert_string_equal(pid, "t");
    assert_int_equal(outbox_turn(&o, victim, &bus, INT64_MAX / 2, &e), ERR_UNAVAILABLE);
    outbox_forget(&o);
    db_close(victim);
    free(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rows_are_removed_after_acknowledgement_only, empty),
        cmocka_unit_test_setup(test_a_row_that_appears_late_is_not_lost, empty),
        cmocka_unit_test_setup(test_a_full_bus_goes_on_where_it_stopped, empty),
        cmocka_unit_test_setup(test_a_crash_before_removal_repeats_the_same_numbers, empty),
        cmocka_unit_test_setup(test_one_session_publishes_at_a_time, empty),
        cmocka_unit_test_setup(test_a_lost_connection_is_told, empty),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
