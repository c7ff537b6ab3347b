/* The audit trail and `fraudd audit` against a real PostgreSQL: what somebody with the owner's
 * rights does to it is found, each where it was done; several write while one chains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "storage/audit.h"
#include "storage/queue.h"
#include "tests/support/capture.h"
#include "tests/support/database.h"

#define ROWS 50

static struct database server;
static struct db *db;
static struct capture said;
static char anchors[64];

static int start(void **state)
{
    (void)state;
    database_start(&server);
    db = server.db;
    setenv("FRAUDD_DATABASE", server.server.conninfo, 1);
    snprintf(anchors, sizeof anchors, "/tmp/fraudd-anchors-%d", (int)getpid());
    return 0;
}

static int stop(void **state)
{
    (void)state;
    unlink(anchors);
    capture_done(&said);
    database_stop(&server);
    return 0;
}

/* ROWS rows, chained in two batches. */
static int fill(void **state)
{
    (void)state;
    unlink(anchors);
    database_empty_audit(db);
    database_run(db, "ALTER SEQUENCE audit_id_seq RESTART");
    for (int half = 0; half < 2; half++) {
        database_run(db,
                     "INSERT INTO audit (who, what, object, detail) SELECT 'who' || i % 3, "
                     "'alert resolve', 'log/0/' || i, jsonb_build_object('verdict', 'fraud', "
                     "'note', E'\"n\\u00f6te\\\\' || i, 'n', 1.50) FROM generate_series(1, 25) i; "
                     "SELECT audit_seal()");
    }
    return 0;
}

/* What an attacker with the owner's rights does: the triggers are not in his way. */
static void attack(const char *sql)
{
    database_run(db, "ALTER TABLE audit DISABLE TRIGGER USER; "
                     "ALTER TABLE audit_chain DISABLE TRIGGER USER");
    database_run(db, sql);
    database_run(db, "ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_grows; "
                     "ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_note_pending; "
                     "ALTER TABLE audit_chain ENABLE ALWAYS TRIGGER audit_grows");
}

static void verify(enum audit_finding finding, int64_t seq, int64_t id)
{
    struct audit_report r;
    struct errmsg e = {""};
    database_must(audit_verify(db, NULL, 0, &r, &e), &e);
    assert_int_equal(r.finding, finding);
    assert_int_equal(r.seq, seq);
    assert_int_equal(r.id, id);
}

static int run(const char *line)
{
    return capture_run(&said, cmd_audit, line);
}

static void test_rows_as_they_were_written_are_intact(void **state)
{
    (void)state;
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit_chain"), ROWS);
    verify(AUDIT_INTACT, 0, 0);
    database_run(db, "SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; "
                     "SET extra_float_digits = 0; SET bytea_output = 'escape'");
    verify(AUDIT_INTACT, 0, 0); /* whatever the session's settings */
    database_run(db, "SET timezone = 'UTC'; SET datestyle = 'ISO'; RESET extra_float_digits; "
                     "RESET bytea_output");
    database_run(db,
                 "INSERT INTO audit (who, what, object) VALUES ('ada', 'x', 'not yet chained')");
    verify(AUDIT_INTACT, 0, 0); /* verify chains it */
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit_chain"), ROWS + 1);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit_pending"), 0);
}

static void test_the_trail_only_grows(void **state)
{
    (void)state;
    static const char *const CHANGES[] = {"UPDATE audit SET who = 'eve'",
                                          "DELETE FROM audit WHERE id = 1",
                                          "TRUNCATE audit",
                                          "UPDATE audit_chain SET hash = sha256('')",
                                          "DELETE FROM audit_chain",
                                          "TRUNCATE audit_chain"};
    struct errmsg e = {""};
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++) {
        assert_int_equal(db_script(db, CHANGES[i], &e), ERR_REFUSED);
        assert_non_null(strstr(e.text, "the audit trail only grows"));
    }
    database_run(db, "SET session_replication_role = replica");
    assert_int_equal(db_script(db, CHANGES[0], &e), ERR_REFUSED);
    database_run(db, "SET session_replication_role = origin");
}

static void test_every_altered_column_is_found(void **state)
{
    (void)state;
    static const char *const CHANGES[] = {
        "who = 'whp1'",           "at = at + interval '1 microsecond'",
        "role = 'Fraudd'",        "what = 'alert resolvf'",
        "object = object || ' '", "detail = detail || '{\"n\": 1.5}'",
        "detail = detail - 'n'",  "who = what, what = who"};
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++) {
        char sql[128];
        fill(NULL);
        snprintf(sql, sizeof sql, "UPDATE audit SET %s WHERE id = 31", CHANGES[i]);
        attack(sql);
        verify(AUDIT_ALTERED, 31, 31);
    }
}

static void test_an_altered_hash_is_found(void **state)
{
    (void)state;
    attack("UPDATE audit_chain SET hash = set_byte(hash, 31, get_byte(hash, 31) # 1) "
           "WHERE seq = 50");
    verify(AUDIT_ALTERED, 50, 50);
}

static void test_a_removed_row_is_found(void **state)
{
    (void)state;
    attack("DELETE FROM audit WHERE id = 17");
    verify(AUDIT_REMOVED, 17, 17);
    attack("DELETE FROM audit_chain WHERE seq = 17");
    verify(AUDIT_GAP, 18, 18);
    /* the gap closed by moving the others down */
    attack("UPDATE audit_chain SET seq = -seq WHERE seq > 17");
    attack("UPDATE audit_chain SET seq = -seq - 1 WHERE seq < 0");
    verify(AUDIT_ALTERED, 17, 18);
    fill(NULL);
    attack("DELETE FROM audit WHERE id = 1; DELETE FROM audit_chain WHERE seq = 1");
    verify(AUDIT_GAP, 2, 2);
}

static void test_a_swapped_pair_is_found(void **state)
{
    (void)state;
    attack("UPDATE audit a SET who = b.who, at = b.at, object = b.object, detail = b.detail "
           "FROM audit b WHERE a.id IN (7, 8) AND b.id = 15 - a.id");
    verify(AUDIT_ALTERED, 7, 7);
    fill(NULL); /* by id */
    attack("ALTER TABLE audit ALTER id SET GENERATED BY DEFAULT; "
           "UPDATE audit SET id = CASE id WHEN 40 THEN -41 ELSE -40 END WHERE id IN (40, 41); "
           "UPDATE audit SET id = -id WHERE id < 0");
    verify(AUDIT_ALTERED, 40, 40);
    fill(NULL); /* and with their hashes, so that each entry has its row */
    attack("UPDATE audit_chain SET seq = CASE seq WHEN 40 THEN -41 ELSE -40 END "
           "WHERE seq IN (40, 41)");
    attack("UPDATE audit_chain SET seq = -seq WHERE seq < 0");
    verify(AUDIT_ALTERED, 40, 41);
}

static void test_a_row_beside_the_chain_is_found(void **state)
{
    (void)state;
    attack("INSERT INTO audit (who, what, object) VALUES ('eve', 'x', 'y')");
    verify(AUDIT_FOREIGN, 0, 51);
}

static void test_a_row_removed_before_it_was_chained_is_found(void **state)
{
    (void)state;
    database_run(db, "INSERT INTO audit (who, what, object) VALUES ('ada', 'x', 'y')");
    attack("DELETE FROM audit WHERE id = 51");
    verify(AUDIT_REMOVED, 51, 51);
}

static void test_a_cut_end_is_found_with_an_anchor_only(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "audit verify --anchors %s", anchors);
    assert_int_equal(run(line), EXIT_OK);
    assert_non_null(strstr(said.out, "50 rows as they were chained\nhead 50 "));
    assert_int_equal(run(line), EXIT_OK); /* nothing new: no second line */
    database_run(db, "INSERT INTO audit (who, what, object) VALUES ('ada', 'x', 'y')");
    assert_int_equal(run(line), EXIT_OK);
    attack("DELETE FROM audit WHERE id > 48; DELETE FROM audit_chain WHERE seq > 48");
    assert_int_equal(run("audit verify"), EXIT_OK);
    assert_int_equal(run(line), EXIT_FAILED);
    assert_string_equal(said.out, "the chain ends at entry 48, an anchor has entry 50: its end was "
                                  "cut off\n");
    /* and grown again */
    database_run(db, "INSERT INTO audit (who, what, object) SELECT 'eve', 'x', 'y' FROM "
                     "generate_series(1, 9)");
    assert_int_equal(run("audit verify"), EXIT_OK);
    assert_int_equal(run(line), EXIT_FAILED);
    assert_string_equal(said.out,
                        "entry 50: another hash than the anchor's; the chain was made anew\n");
    FILE *f = fopen(anchors, "re");
    int lines = 0;
    for (int c = getc(f); c != EOF; c = getc(f)) {
        lines += c == '\n';
    }
    fclose(f);
    assert_int_equal(lines, 2);
}

static void test_a_chain_made_anew_is_found_with_an_anchor(void **state)
{
    (void)state;
    struct audit_report r;
    struct errmsg e = {""};
    database_must(audit_verify(db, NULL, 0, &r, &e), &e);
    struct audit_anchor old = r.head;
    attack("UPDATE audit SET who = 'eve' WHERE id = 20; DELETE FROM audit_chain; "
           "INSERT INTO audit_pending SELECT id FROM audit; SELECT audit_seal()");
    verify(AUDIT_INTACT, 0, 0);
    database_must(audit_verify(db, &old, 1, &r, &e), &e);
    assert_int_equal(r.finding, AUDIT_REWRITTEN);
    assert_int_equal(r.seq, ROWS);
}

static void test_a_bad_anchor_file_is_told(void **state)
{
    (void)state;
    static const char *const LINES[] = {"x", "5 abc", "0 00", "-1 ab"};
    char line[128];
    snprintf(line, sizeof line, "audit verify --anchors %s", anchors);
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        FILE *f = fopen(anchors, "we");
        fprintf(f, "%s\n", LINES[i]);
        fclose(f);
        assert_int_equal(run(line), EXIT_DATA);
        assert_non_null(strstr(said.err, "line 1: "));
    }
}

static void test_list_shows_who_did_what(void **state)
{
    (void)state;
    assert_int_equal(run("audit list --who who2 --limit 2 --object log/0/23"), EXIT_OK);
    assert_non_null(strstr(said.out, "\n48\t48\t20"));
    assert_non_null(strstr(said.out, "\n23\t23\t20"));
    assert_non_null(strstr(said.out, "\twho2\tfraudd\talert resolve\tlog/0/23\t"));
    assert_int_equal(run("audit list --who who1 --object log/0/23 --json"), EXIT_OK);
    assert_string_equal(said.out, "[]\n");
}

#define WRITERS 4
#define EACH 300

static atomic_bool writing;

static void *write_rows(void *arg)
{
    struct db *d = arg;
    for (int i = 0; i < EACH; i++) {
        database_run(d, i % 5 == 0
                            ? "BEGIN; INSERT INTO audit (who, what, object) VALUES ('x', "
                              "'y', 'z'); ROLLBACK"
                            : "INSERT INTO audit (who, what, object) VALUES ('x', 'y', 'z')");
    }
    return NULL;
}

static void *seal(void *arg)
{
    struct db *d = arg;
    int64_t n = 0;
    struct errmsg e = {""};
    while (writing) {
        database_must(audit_seal(d, true, &n, &e), &e);
    }
    return NULL;
}

/* Two chain while four write, some of whose rows never come to be. */
static void test_writers_and_sealers_at_a_time_make_one_chain(void **state)
{
    (void)state;
    pthread_t writer[WRITERS];
    pthread_t sealer[2];
    struct db *d[WRITERS + 2];
    writing = true;
    for (int i = 0; i < WRITERS + 2; i++) {
        d[i] = database_connect(&server);
        assert_int_equal(i < WRITERS ? pthread_create(&writer[i], NULL, write_rows, d[i])
                                     : pthread_create(&sealer[i - WRITERS], NULL, seal, d[i]),
                         0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writer[i], NULL);
    }
    writing = false;
    for (int i = 0; i < 2; i++) {
        pthread_join(sealer[i], NULL);
    }
    for (int i = 0; i < WRITERS + 2; i++) {
        db_close(d[i]);
    }
    verify(AUDIT_INTACT, 0, 0);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit_chain"),
                     ROWS + WRITERS * EACH * 4 / 5);
    assert_int_equal(database_count(db, "SELECT max(seq) FROM audit_chain"),
                     ROWS + WRITERS * EACH * 4 / 5);
}

/* A sink does not wait behind another one that chains. */
static void test_who_does_not_wait_for_a_sealer_chains_none(void **state)
{
    (void)state;
    struct errmsg e = {""};
    int64_t n = -1;
    struct db *other = database_connect(&server);
    database_run(db, "INSERT INTO audit (who, what, object) VALUES ('x', 'y', 'z')");
    database_run(other, "BEGIN; SELECT audit_seal(0)"); /* holds its turn */
    database_run(db, "SET lock_timeout = '300ms'");
    assert_true(audit_seal(db, true, &n, &e) != ERR_OK); /* waits, in vain */
    assert_non_null(strstr(e.text, "lock timeout"));
    database_must(audit_seal(db, false, &n, &e), &e);
    assert_int_equal(n, 0);
    database_run(other, "COMMIT");
    database_must(audit_seal(db, false, &n, &e), &e);
    assert_int_equal(n, 1);
    database_run(db, "RESET lock_timeout");
    db_close(other);
    verify(AUDIT_INTACT, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rows_as_they_were_written_are_intact, fill),
        cmocka_unit_test_setup(test_the_trail_only_grows, fill),
        cmocka_unit_test_setup(test_every_altered_column_is_found, fill),
        cmocka_unit_test_setup(test_an_altered_hash_is_found, fill),
        cmocka_unit_test_setup(test_a_removed_row_is_found, fill),
        cmocka_unit_test_setup(test_a_swapped_pair_is_found, fill),
        cmocka_unit_test_setup(test_a_row_beside_the_chain_is_found, fill),
        cmocka_unit_test_setup(test_a_row_removed_before_it_was_chained_is_found, fill),
        cmocka_unit_test_setup(test_a_cut_end_is_found_with_an_anchor_only, fill),
        cmocka_unit_test_setup(test_a_chain_made_anew_is_found_with_an_anchor, fill),
        cmocka_unit_test_setup(test_a_bad_anchor_file_is_told, fill),
        cmocka_unit_test_setup(test_list_shows_who_did_what, fill),
        cmocka_unit_test_setup(test_writers_and_sealers_at_a_time_make_one_chain, fill),
        cmocka_unit_test_setup(test_who_does_not_wait_for_a_sealer_chains_none, fill),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
