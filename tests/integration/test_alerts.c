/* `fraudd alerts` as an analyst uses it, and how its rows are printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/cmd.h"
#include "daemon/table.h"
#include "tests/support/capture.h"
#include "tests/support/database.h"

static struct database server;
static struct capture said;

static int start(void **state)
{
    (void)state;
    database_start(&server);
    setenv("FRAUDD_DATABASE", server.server.conninfo, 1);
    database_run(
        server.db,
        "INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, amount_minor, "
        "currency, exponent, amount_ref, score, outcome, model, body) "
        "SELECT 'log', 1, i, '2026-04-02', 'tx' || i, 'c' || i, 1000 * i, 'EUR', 2, "
        "1000 * i, .5, 'review', 'm1', jsonb_build_object('card', 'c' || i, 'merchant', "
        "'m1', 'amount', 1000 * i, 'currency', 'EUR', 'exponent', 2, 'reasons', "
        "'[{\"group\": \"usual\", \"weight\": 2.5, \"text\": \"5 times the usual\"}]'"
        "::jsonb) FROM generate_series(1, 3) i");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    capture_done(&said);
    database_stop(&server);
    return 0;
}

static int run(const char *line)
{
    return capture_run(&said, cmd_alerts, line);
}

static void test_list_prints_tab_separated_values_with_names(void **state)
{
    (void)state;
    assert_int_equal(run("alerts list --limit 2"), EXIT_OK);
    assert_non_null(
        strstr(said.out, "id\tcase\tevent_time\tcard\ttx_id\tamount\tscore\texpected_loss"));
    assert_non_null(strstr(said.out,
                           "\nlog/1/3\t3\t2026-04-02T00:00:00.000000Z\tc3\ttx3\t30.00 EUR\t"
                           "0.5000\t15.00\treview\topen\t"));
    assert_null(strstr(said.out, "log/1/1"));
    assert_int_equal(run("alerts list --card c1 --json"), EXIT_OK);
    assert_non_null(strstr(said.out, "\"score\": 0.5000, \"expected_loss\": 5.00"));
    assert_non_null(strstr(said.out, "\"claimed_by\": null"));
}

static void test_an_alert_from_claim_to_verdict(void **state)
{
    (void)state;
    assert_int_equal(run("alerts claim --as ada"), EXIT_OK);
    assert_non_null(strstr(said.out, "\nlog/1/3\t"));
    assert_int_equal(run("alerts claim log/1/3 --as bob"), EXIT_REFUSED);
    assert_non_null(
        strstr(said.err, "fraudd alerts claim: alert log/1/3 is claimed by ada until 20"));
    assert_int_equal(run("alerts release log/1/3 --as ada"), EXIT_OK);
    assert_string_equal(said.out, "alert log/1/3 is open\n");
    assert_int_equal(run("alerts claim log/1/3 --as bob --lease 1h"), EXIT_OK);
    assert_int_equal(run("alerts resolve log/1/3 fraud --note 'she called' --as bob"), EXIT_OK);
    assert_string_equal(said.out, "alert log/1/3 is resolved as fraud\n");
    assert_int_equal(run("alerts resolve log/1/3 legitimate --as ada"), EXIT_REFUSED);
    assert_int_equal(run("alerts resolve log/1/9 legitimate --as ada"), EXIT_NO_INPUT);
    assert_string_equal(said.err, "fraudd alerts resolve: there is no alert log/1/9\n");
    assert_int_equal(database_count(server.db, "SELECT count(*) FROM label_outbox"), 1);
    assert_int_equal(run("alerts show log/1/3"), EXIT_OK);
    assert_non_null(strstr(said.out, "\nverdict\tfraud\n"));
    assert_non_null(strstr(said.out, "\nusual\t2.50\t5 times the usual\n"));
    assert_non_null(strstr(said.out, "\tada\tcase release\t"));
    assert_non_null(strstr(said.out, "she called"));
    assert_int_equal(run("alerts show log/1/3 --json"), EXIT_OK);
    assert_non_null(strstr(said.out, "\"reasons\": [{\"group\": \"usual\", \"weight\": 2.50"));
}

static void test_snooze_and_resolve_of_a_whole_case(void **state)
{
    (void)state;
    assert_int_equal(run("alerts snooze log/1/2 --as ada"), EXIT_USAGE);
    assert_int_equal(run("alerts snooze log/1/2 --until 2020-01-01 --as ada"), EXIT_REFUSED);
    assert_int_equal(run("alerts snooze 2 --until 2096-04-02T10:00:00Z --as ada"), EXIT_OK);
    assert_string_equal(said.out, "case 2 is snoozed until 2096-04-02T10:00:00Z\n");
    assert_int_equal(run("alerts list --state snoozed"), EXIT_OK);
    assert_non_null(strstr(said.out, "\nlog/1/2\t2\t"));
    assert_int_equal(run("alerts resolve 2 legitimate --as ada"), EXIT_OK);
    assert_string_equal(said.out, "case 2 is resolved as legitimate\n");
    assert_int_equal(run("alerts snooze 2 --for 1h --as ada"), EXIT_REFUSED);
    assert_string_equal(said.err, "fraudd alerts snooze: case 2 is closed\n");
    assert_int_equal(run("alerts list --case 2 --state resolved"), EXIT_OK);
    assert_non_null(strstr(said.out, "\nlog/1/2\t2\t"));
    assert_int_equal(run("alerts release 77 --as ada"), EXIT_NO_INPUT);
    assert_string_equal(said.err, "fraudd alerts release: there is no case 77\n");
}

static void test_claim_says_when_the_queue_is_empty(void **state)
{
    (void)state;
    assert_int_equal(run("alerts claim --count 10 --as eve"), EXIT_OK);
    assert_int_equal(run("alerts claim --as eve"), EXIT_FAILED);
    assert_string_equal(said.err, "no alert is open\n");
}

static void test_no_schema_is_told(void **state)
{
    (void)state;
    database_run(server.db, "CREATE DATABASE bare");
    char line[400];
    snprintf(line, sizeof line,
             "alerts list --database 'host=127.0.0.1 port=%d user=fraudd "
             "dbname=bare'",
             server.server.port);
    assert_int_equal(run(line), EXIT_NO_INPUT);
    assert_non_null(strstr(said.err, "run `fraudd migrate` first"));
}

static char *print(const struct db_rows *rows, enum table_form form)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    table_print(f, rows, form);
    fclose(f);
    return text;
}

/* What comes from outside may hold anything. */
static void test_table_disarms_what_it_prints(void **state)
{
    (void)state;
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    database_must(
        db_exec(server.db,
                "SELECT * FROM (VALUES (E'a\\x1b[2J\\tb', 1.5, true, '{\"k\": 1}'::jsonb, "
                "'NaN'::float8), (E'\\u00e4\\u009b\\\\\"', -2, NULL, NULL, 7)) "
                "AS v (name, n, flag, body, r)",
                0, NULL, &rows, &e),
        &e);
    char *aligned = print(rows, TABLE_ALIGNED);
    char *tabs = print(rows, TABLE_TABS);
    char *json = print(rows, TABLE_JSON);
    assert_string_equal(aligned, "name       n  flag  body        r\n"
                                 "a?[2J?b  1.5  t     {\"k\": 1}  NaN\n"
                                 "\xc3\xa4?\\\"      -2                    7\n");
    assert_string_equal(tabs, "name\tn\tflag\tbody\tr\n"
                              "a\x1b[2J\\tb\t1.5\tt\t{\"k\": 1}\tNaN\n"
                              "\xc3\xa4\xc2\x9b\\\\\"\t-2\t\t\t7\n");
    assert_string_equal(json, "[{\"name\": \"a\\u001b[2J\\u0009b\", \"n\": 1.5, \"flag\": true, "
                              "\"body\": {\"k\": 1}, \"r\": \"NaN\"},\n"
                              " {\"name\": \"\xc3\xa4\\u009b\\\\\\\"\", \"n\": -2, \"flag\": null, "
                              "\"body\": null, \"r\": 7}]\n");
    free(aligned);
    free(tabs);
    free(json);
    db_rows_free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_prints_tab_separated_values_with_names),
        cmocka_unit_test(test_an_alert_from_claim_to_verdict),
        cmocka_unit_test(test_snooze_and_resolve_of_a_whole_case),
        cmocka_unit_test(test_claim_says_when_the_queue_is_empty),
        cmocka_unit_test(test_no_schema_is_told),
        cmocka_unit_test(test_table_disarms_what_it_prints),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
