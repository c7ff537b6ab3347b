/* Against a real, throwaway PostgreSQL: migrations, the sink's transaction, and a row it refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"
#include "storage/migrate.h"
#include "storage/sink_writer.h"
#include "storage/throwaway.h"

#define DAY0 (INT64_C(17622) * TIME_DAY)

static struct throwaway server;
static struct db *db;

static void must(enum err err, const struct errmsg *e)
{
    if (err != ERR_OK) {
        print_message("%s: %s\n", err_name(err), e->text);
    }
    assert_int_equal(err, ERR_OK);
}

static long count(const char *sql)
{
    struct db_rows *rows = NULL;
    struct errmsg e;
    must(db_exec(db, sql, 0, NULL, &rows, &e), &e);
    long n = strtol(db_rows_text(rows, 0, 0), NULL, 10);
    db_rows_free(rows);
    return n;
}

static int start(void **state)
{
    (void)state;
    struct errmsg e = {""};
    int applied = 0;
    enum err err = throwaway_start(&server, "/tmp", &e);
    if (err == ERR_OK) {
        err = db_open(server.conninfo, &db, &e);
    }
    if (err == ERR_OK) {
        err = migrate(db, &applied, &e);
    }
    if (err != ERR_OK) {
        print_message("%s\n", e.text);
    }
    return err == ERR_OK && applied >= 1 ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    db_close(db);
    throwaway_stop(&server);
    return 0;
}

/* A transactions row whose card is `card`. */
static struct sink_row make_row(char *line, size_t size, int64_t offset, const char *card)
{
    char when[TIME_TEXT_MAX];
    int64_t at = DAY0 + offset * TIME_HOUR;
    time_format(when, at);
    int n =
        snprintf(line, size,
                 "%s\tlog-1\t0\t%lld\ttx%lld\t%s\tpurchase\t100\tEUR\t2\t100\t\\N\tT1\t\\N\t\\N\t"
                 "\\N\t\\N\t\\N\t\\N\t\\N\t\\N",
                 when, (long long)offset, (long long)offset, card);
    return (struct sink_row){
        SINK_TRANSACTIONS, line, (size_t)n, "transactions", 0, offset, at, "raw", 3};
}

static void test_migrate_twice_does_nothing(void **state)
{
    (void)state;
    int applied = -1;
    struct errmsg e;
    must(migrate(db, &applied, &e), &e);
    assert_int_equal(applied, 0);
}

static void test_migrate_refuses_a_changed_file(void **state)
{
    (void)state;
    int applied = -1;
    struct errmsg e;
    must(db_script(db, "UPDATE migrations SET checksum = 'x' || checksum", &e), &e);
    assert_int_equal(migrate(db, &applied, &e), ERR_MISMATCH);
    must(db_script(db, "UPDATE migrations SET checksum = substr(checksum, 2)", &e), &e);
}

static void test_sink_repeats_change_nothing(void **state)
{
    (void)state;
    static char lines[100][256];
    struct sink_row rows[100];
    struct errmsg e;
    size_t rejected = 9;
    for (int i = 0; i < 100; i++) {
        rows[i] = make_row(lines[i], sizeof lines[i], i, "c1");
    }
    const struct sink_position p = {"transactions", 0, 100, -1};
    must(sink_write(db, rows, 100, &p, 1, &rejected, &e), &e);
    must(sink_write(db, rows + 50, 50, &p, 1, &rejected, &e), &e);
    assert_int_equal(rejected, 0);
    assert_int_equal(count("SELECT count(*) FROM transactions"), 100);
    assert_int_equal(count("SELECT count(*) FROM transactions_default"), 0);
    int64_t next = 0;
    must(sink_offset(db, "transactions", 0, &next, &e), &e);
    assert_int_equal(next, 100);
    must(sink_offset(db, "transactions", 1, &next, &e), &e);
    assert_int_equal(next, -1);
}

/* A standby that lagged has become the database: nothing is written over the hole. */
static void test_sink_write_refuses_where_the_database_has_less(void **state)
{
    (void)state;
    char line[256];
    struct errmsg e = {""};
    size_t rejected = 0;
    int64_t next = 0;
    const struct sink_row row = make_row(line, sizeof line, 6000, "behind");
    must(sink_write(db, NULL, 0, &(struct sink_position){"behind", 3, 5000, -1}, 1, &rejected, &e),
         &e);
    const struct sink_position over = {"behind", 3, 5001, 5000};
    must(db_script(db, "UPDATE sink_offsets SET next_offset = 4990 WHERE topic = 'behind'", &e),
         &e);
    assert_int_equal(sink_write(db, &row, 1, &over, 1, &rejected, &e), ERR_MISMATCH);
    assert_non_null(strstr(e.text, "\"behind\" partition 3 than offset 5000"));
    assert_int_equal(count("SELECT count(*) FROM transactions WHERE card = 'behind'"), 0);
    must(sink_offset(db, "behind", 3, &next, &e), &e);
    assert_int_equal(next, 4990);
    must(db_script(db, "DELETE FROM sink_offsets WHERE topic = 'behind'", &e), &e);
    assert_int_equal(sink_write(db, &row, 1, &over, 1, &rejected, &e), ERR_MISMATCH);
    /* more than we know of is no hole: another one has written on */
    must(sink_write(db, NULL, 0, &(struct sink_position){"behind", 3, 5007, -1}, 1, &rejected, &e),
         &e);
    must(sink_write(db, &row, 1, &over, 1, &rejected, &e), &e);
    must(sink_offset(db, "behind", 3, &next, &e), &e);
    assert_int_equal(next, 5007);
}

static void test_sink_a_refused_row_costs_that_row_only(void **state)
{
    (void)state;
    static char lines[64][256];
    struct sink_row rows[64];
    struct errmsg e;
    size_t rejected = 0;
    for (int i = 0; i < 64; i++) {
        /* bytes that are not UTF-8: SQLSTATE 22021 */
        rows[i] = make_row(lines[i], sizeof lines[i], 1000 + i, i == 37 ? "c\xff" : "c2");
    }
    const struct sink_position p = {"transactions", 0, 1064, 100};
    must(sink_write(db, rows, 64, &p, 1, &rejected, &e), &e);
    assert_int_equal(rejected, 1);
    assert_int_equal(count("SELECT count(*) FROM transactions WHERE card = 'c2'"), 63);
    assert_int_equal(count("SELECT count(*) FROM rejects WHERE log_offset = 1037 AND "
                           "sqlstate = '22021' AND raw = 'raw'::bytea"),
                     1);
}

static void test_sink_survives_an_outage(void **state)
{
    (void)state;
    char line[256];
    struct sink_row row = make_row(line, sizeof line, 5000, "c3");
    struct errmsg e;
    size_t rejected = 0;
    must(throwaway_pause(&server, &e), &e);
    assert_int_equal(sink_write(db, &row, 1, NULL, 0, &rejected, &e), ERR_UNAVAILABLE);
    must(throwaway_resume(&server, &e), &e);
    db_close(db);
    db = NULL;
    must(db_open(server.conninfo, &db, &e), &e);
    must(sink_write(db, &row, 1, NULL, 0, &rejected, &e), &e);
    assert_int_equal(count("SELECT count(*) FROM transactions WHERE card = 'c3'"), 1);
}

static void test_db_errors_say_what_to_do(void **state)
{
    (void)state;
    struct db *d = NULL;
    struct errmsg e;
    char info[300];
    assert_int_equal(db_open("host=127.0.0.1 port=1 connect_timeout=2", &d, &e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "is it running?"));
    snprintf(info, sizeof info, "host=127.0.0.1 port=%d user=fraudd dbname=nothere", server.port);
    assert_int_equal(db_open(info, &d, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "nothere"));
    assert_int_equal(db_script(db, "SELECT * FROM nothere", &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "fraudd migrate"));
}

/* A row far from the others goes to the default partition; its month comes later. */
static void test_sink_a_month_in_the_default_partition_stays_there(void **state)
{
    (void)state;
    char line[2][256];
    struct errmsg e;
    size_t rejected = 0;
    struct sink_row rows[2] = {make_row(line[0], sizeof line[0], 20 * 8766, "c4"),
                               make_row(line[1], sizeof line[1], 20, "c4")};
    must(sink_write(db, rows, 2, NULL, 0, &rejected, &e), &e);
    assert_int_equal(count("SELECT count(*) FROM transactions_default"), 1);
    rows[1] = make_row(line[1], sizeof line[1], 20 * 8766 + 1, "c4");
    must(sink_write(db, rows + 1, 1, NULL, 0, &rejected, &e), &e);
    assert_int_equal(count("SELECT count(*) FROM transactions_default"), 2);
    assert_int_equal(rejected, 0);
    must(db_script(db, "TRUNCATE transactions_default", &e), &e);
}

static void test_partitions_of_old_months_are_dropped(void **state)
{
    (void)state;
    assert_true(count("SELECT drop_partitions_before('2030-01-01')") >= 2);
    assert_int_equal(count("SELECT count(*) FROM transactions"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migrate_twice_does_nothing),
        cmocka_unit_test(test_migrate_refuses_a_changed_file),
        cmocka_unit_test(test_sink_repeats_change_nothing),
        cmocka_unit_test(test_sink_write_refuses_where_the_database_has_less),
        cmocka_unit_test(test_sink_a_refused_row_costs_that_row_only),
        cmocka_unit_test(test_sink_survives_an_outage),
        cmocka_unit_test(test_db_errors_say_what_to_do),
        cmocka_unit_test(test_sink_a_month_in_the_default_partition_stays_there),
        cmocka_unit_test(test_partitions_of_old_months_are_dropped),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
