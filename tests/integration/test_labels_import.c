/* `fraudd labels import`: chargebacks are completed from stored payments and decisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/decode.h"
#include "tests/support/capture.h"
#include "tests/support/database.h"

static struct database server;
static struct db *db;
static struct capture said;
static char path[] = "/tmp/test_labels_XXXXXX";
static char left_over[] = "/tmp/test_labels_XXXXXX";

/* Payments p1..p9 of card c<i> at day i, p1 sent twice; decisions of all but p9.  "shared" belongs
 * to two cards. */
static int start(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    int fd2 = mkstemp(left_over);
    if (fd < 0 || fd2 < 0) {
        return -1;
    }
    close(fd);
    close(fd2);
    database_start(&server);
    db = server.db;
    setenv("FRAUDD_DATABASE", server.server.conninfo, 1);
    database_run(
        db,
        "SELECT ensure_partitions('2026-01-01', '2026-01-31');"
        "INSERT INTO transactions (event_time, log, part, log_offset, tx_id, card, type, "
        "amount_minor, currency, exponent, amount_ref, merchant, terminal, mcc, country, device, "
        "ip) SELECT timestamptz '2026-01-01 12:00:00.25' + i * interval '1 day', 'log', 0, i, "
        "'p' || i, 'c' || i, 'purchase', 1000 + i, 'USD', 2, 900, 'm' || i, 't' || i, 742, 'DE', "
        "CASE WHEN i < 5 THEN 'dev' || i END, '203.0.113.9' FROM generate_series(1, 9) i;"
        "INSERT INTO transactions (event_time, log, part, log_offset, tx_id, card, type, "
        "amount_minor, currency, exponent, amount_ref) VALUES "
        "('2026-01-02 12:00:00.25', 'log', 0, 20, 'p1', 'c1', 'purchase', 1001, 'USD', 2, 900), "
        "('2026-01-03', 'log', 0, 21, 'shared', 'c1', 'purchase', 1, 'EUR', 2, 1), "
        "('2026-01-04', 'log', 0, 22, 'shared', 'c2', 'purchase', 1, 'EUR', 2, 1);"
        "INSERT INTO decisions SELECT event_time, log, part, log_offset, tx_id, .5, .4, 'approve', "
        "'m', 's', 1, log_offset = 20, log_offset + .25 FROM transactions WHERE tx_id <> 'p9'");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    capture_done(&said);
    database_stop(&server);
    return unlink(path) | unlink(left_over);
}

static int empty(void **state)
{
    (void)state;
    database_run(db, "TRUNCATE verdicts, label_outbox, label_sources, labels");
    database_empty_audit(db);
    return 0;
}

static int import(const char *text, const char *options)
{
    char line[300];
    struct errmsg e = {""};
    database_must(file_write(path, text, strlen(text), &e), &e);
    snprintf(line, sizeof line, "labels import %s --as ada %s", path, options);
    return capture_run(&said, cmd_labels, line);
}

/* The label of a payment, decoded; the slices hold until the next call. */
static void decode(const char *tx, struct label *l, struct label_strings *s)
{
    static struct rates *rates;
    static struct decoder *decoder;
    char sql[120];
    struct errmsg e = {""};
    if (decoder == NULL) {
        database_must(rates_create_default(&rates, &e), &e);
        database_must(decoder_create(rates, WIRE_MESSAGE_MAX, &decoder, &e), &e);
    }
    snprintf(sql, sizeof sql, "SELECT body FROM label_outbox WHERE tx_id = '%s'", tx);
    char *body = database_text(db, sql);
    if (decode_label(decoder, body, strlen(body), 0, -1, l, s) != DEAD_NONE) {
        fail_msg("%s: %s", decode_detail(decoder), body);
    }
    free(body);
}

static bool same(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

static int64_t at(const char *text)
{
    int64_t us = 0;
    assert_int_equal(time_parse(text, strlen(text), &us), ERR_OK);
    return us;
}

static void test_a_chargeback_becomes_a_complete_label(void **state)
{
    (void)state;
    struct label l;
    struct label_strings s;
    assert_int_equal(import("tx_id,verdict,known\np3,fraud,2026-03-01T08:00:00Z\n"
                            "p9,legitimate,2026-03-02T08:00:00Z\n",
                            "--source visa"),
                     EXIT_OK);
    assert_string_equal(said.out, "2 lines: 2 labels on their way as source visa, 0 known already, "
                                  "0 match no payment\n");
    decode("p3", &l, &s);
    assert_true(same(s.source, "visa") && same(s.tx, "p3") && same(s.card, "c3"));
    assert_true(same(s.merchant, "m3") && same(s.terminal, "t3") && same(s.device, "dev3"));
    assert_true(same(s.ip, "203.0.113.9"));
    assert_int_equal(l.verdict, LABEL_FRAUD);
    assert_true(l.event_us == at("2026-01-04T12:00:00.25Z"));
    assert_true(l.known_us == at("2026-03-01T08:00:00Z"));
    assert_int_equal(l.mcc, 742);
    assert_int_equal(l.country, 'D' * 256 + 'E');
    assert_true(s.amount_minor == 1003 && s.exponent == 2);
    assert_string_equal(s.currency, "USD");
    assert_float_equal(l.usual_ratio, 3.25F, 0);
    uint64_t first = l.number;
    decode("p9", &l, &s); /* no decision: the ratio is unknown; no device */
    assert_float_equal(l.usual_ratio, 0, 0);
    assert_int_equal(s.device.len, 0);
    assert_int_equal(l.verdict, LABEL_LEGITIMATE);
    assert_true(l.number == first + 1);
}

static void test_the_same_file_again_adds_nothing(void **state)
{
    (void)state;
    static const char FILE_TEXT[] = "tx_id,verdict,known\np1,fraud,2026-03-01\n"
                                    "p1,withdrawn,2026-03-05\np1,fraud,2026-03-09\n"
                                    "p2,fraud,2026-03-01\np2,fraud,2026-03-01\n";
    assert_int_equal(import(FILE_TEXT, ""), EXIT_OK);
    assert_string_equal(said.out, "5 lines: 4 labels on their way as source chargebacks, 1 known "
                                  "already, 0 match no payment\n");
    database_run(db, "TRUNCATE label_outbox"); /* published in between */
    assert_int_equal(import(FILE_TEXT, ""), EXIT_OK);
    assert_string_equal(said.out, "5 lines: 0 labels on their way as source chargebacks, 5 known "
                                  "already, 0 match no payment\n");
    assert_int_equal(database_count(db, "SELECT count(*) FROM label_outbox"), 0);
    assert_int_equal(import(FILE_TEXT, "--source visa"), EXIT_OK); /* somebody else says so too */
    assert_int_equal(database_count(db, "SELECT count(*) FROM label_outbox"), 4);
    char *order =
        database_text(db, "SELECT string_agg(body ->> 'verdict', ' ' ORDER BY id) = "
                          "string_agg(body ->> 'verdict', ' ' ORDER BY number) FROM label_outbox");
    assert_string_equal(order, "t");
    free(order);
}

static void test_a_payment_sent_twice_is_the_first_one(void **state)
{
    (void)state;
    struct label l;
    struct label_strings s;
    assert_int_equal(import("tx_id,verdict,known\np1,fraud,2026-03-01\n", ""), EXIT_OK);
    decode("p1", &l, &s);
    assert_float_equal(l.usual_ratio, 1.25F, 0);
    assert_true(same(s.merchant, "m1"));
}

static void test_a_day_counts_to_its_end(void **state)
{
    (void)state;
    struct label l;
    struct label_strings s;
    assert_int_equal(import("tx_id,verdict,date\np4,fraud,2026-01-05\n", ""), EXIT_OK);
    decode("p4", &l, &s); /* the payment was at noon of that day */
    assert_true(l.known_us == at("2026-01-05T12:00:00.25Z"));
    assert_true(l.known_us == l.event_us);
}

static void test_what_matches_nothing_is_told_and_kept(void **state)
{
    (void)state;
    uint8_t *text = NULL;
    size_t len = 0;
    char options[80];
    snprintf(options, sizeof options, "--unmatched %s", left_over);
    assert_int_equal(import("tx_id,verdict,known,card_id\n"
                            "p5,fraud,2026-03-01,\n"
                            "\"no,\"\"ne\",fraud,2026-03-01,\n"
                            "p6,fraud,2026-03-01,c7\n"
                            "shared,fraud,2026-03-01,\n"
                            "p7,fraud,2026-01-07,\n"
                            "p8,fraud,2099-01-01,\n"
                            "shared,fraud,2026-03-01,c2\n",
                            options),
                     EXIT_OK);
    assert_string_equal(said.out, "7 lines: 2 labels on their way as source chargebacks, 0 known "
                                  "already, 5 match no payment\n");
    assert_non_null(strstr(said.err, "line 3: tx_id no,\"ne: no such payment\n"));
    assert_int_equal(file_read(left_over, 10000, &text, &len, NULL), ERR_OK);
    assert_string_equal(
        (char *)text,
        "line,tx_id,card_id,verdict,known,reason\n"
        "3,\"no,\"\"ne\",,fraud,2026-03-01T00:00:00.000000Z,no such payment\n"
        "4,p6,c7,fraud,2026-03-01T00:00:00.000000Z,no such payment of this card\n"
        "5,shared,,fraud,2026-03-01T00:00:00.000000Z,2 cards have a payment of this id: add a "
        "column card_id\n"
        "6,p7,c7,fraud,2026-01-07T00:00:00.000000Z,known before the payment\n"
        "7,p8,c8,fraud,2099-01-01T00:00:00.000000Z,known in the future\n");
    free(text);
}

static void test_a_bad_line_refuses_the_whole_file(void **state)
{
    (void)state;
    assert_int_equal(import("tx_id,verdict,known\np1,fraud,2026-03-01\np2,maybe,2026-03-01\n", ""),
                     EXIT_DATA);
    assert_string_equal(said.err, "fraudd labels import: line 3: verdict \"maybe\" is not fraud, "
                                  "legitimate or withdrawn\n");
    assert_int_equal(database_count(db, "SELECT count(*) FROM verdicts"), 0);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit"), 0);
    assert_int_equal(import("tx_id,verdict,known\np1,fraud,2026-03-01\n", ""), EXIT_OK);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit WHERE what = 'labels import' "
                                        "AND who = 'ada' AND object = 'chargebacks'"),
                     1);
}

static void test_list_says_where_a_label_is(void **state)
{
    (void)state;
    assert_int_equal(import("tx_id,verdict,known\np1,fraud,2026-03-01\np2,fraud,2026-03-02\n"
                            "p3,fraud,2026-03-03\n",
                            ""),
                     EXIT_OK);
    database_run(db, "INSERT INTO labels SELECT source, number, tx_id, body ->> 'verdict', "
                     "(body ->> 'ts')::timestamptz, (body ->> 'known')::timestamptz, "
                     "body ->> 'card', body FROM label_outbox WHERE tx_id = 'p1';"
                     "DELETE FROM label_outbox WHERE tx_id IN ('p1', 'p2')");
    assert_int_equal(capture_run(&said, cmd_labels, "labels list"), EXIT_OK);
    const char *p3 = strstr(said.out, "\tp3\tc3\tfraud\t2026-03-03T00:00:00.000000Z\twaiting\n");
    const char *p2 = strstr(said.out, "\tp2\tc2\tfraud\t2026-03-02T00:00:00.000000Z\tsent\n");
    const char *p1 = strstr(said.out, "\tp1\tc1\tfraud\t2026-03-01T00:00:00.000000Z\tstored\n");
    assert_true(p3 != NULL && p2 > p3 && p1 > p2);
    assert_int_equal(capture_run(&said, cmd_labels, "labels list --tx p2 --json"), EXIT_OK);
    assert_non_null(strstr(said.out, "\"state\": \"sent\"}]\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_chargeback_becomes_a_complete_label, empty),
        cmocka_unit_test_setup(test_the_same_file_again_adds_nothing, empty),
        cmocka_unit_test_setup(test_a_payment_sent_twice_is_the_first_one, empty),
        cmocka_unit_test_setup(test_a_day_counts_to_its_end, empty),
        cmocka_unit_test_setup(test_what_matches_nothing_is_told_and_kept, empty),
        cmocka_unit_test_setup(test_a_bad_line_refuses_the_whole_file, empty),
        cmocka_unit_test_setup(test_list_says_where_a_label_is, empty),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
