/* Backtest: what is judged, sides that are compared, segments, and both ways of printing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"
#include "daemon/backtest.h"
#include "tests/support/random_model.h"
#include "tests/support/toy_past.h"

static struct past past;
static struct model *model[2];

static int begin(void **state)
{
    (void)state;
    toy_past(&past);
    model[0] = random_model(1);
    model[1] = random_model(2);
    return 0;
}

static int end(void **state)
{
    (void)state;
    model_free(model[0]);
    model_free(model[1]);
    past_done(&past);
    return 0;
}

static struct backtest_conf plain_conf(void)
{
    return (struct backtest_conf){.past = &past,
                                  .from_us = TOY_PAST_FIRST_US + 15 * TIME_DAY,
                                  .to_us = TOY_PAST_FIRST_US + 30 * TIME_DAY,
                                  .input = "history \"one\".csv",
                                  .rates_version = random_model_params().rates_version,
                                  .budget = 10,
                                  .segment = -1,
                                  .evaluate = {.top_cards = 5, .resamples = 20, .seed = 1}};
}

static void replay(struct backtest *b, size_t side, backtest_visit visit, void *ctx)
{
    struct errmsg e = {""};
    if (backtest_replay(b, model[side], side == 0 ? "a.fraudd" : "b.fraudd", visit, ctx, &e) !=
        ERR_OK) {
        fail_msg("%s", e.text);
    }
}

static void count_visit(void *ctx, const struct past_row *row, const char *id,
                        const struct scored *s)
{
    size_t *n = ctx;
    char want[16];
    snprintf(want, sizeof want, "t%zu", (size_t)(row - past.rows));
    assert_int_equal(row->id_len, strlen(want));
    assert_memory_equal(id, want, row->id_len);
    assert_true(s->probability > 0 && s->probability < 1);
    (*n)++;
}

static void test_replay_judges_payments_of_the_stretch(void **state)
{
    (void)state;
    struct backtest_conf c = plain_conf();
    struct backtest b;
    size_t visited = 0;
    size_t in = 0;
    size_t judged = 0;
    size_t unlabelled = 0;
    backtest_init(&b, &c);
    replay(&b, 0, count_visit, &visited);
    for (size_t i = 0; i < past.n; i++) {
        const struct past_row *r = &past.rows[i];
        if (r->tx.event_us < c.from_us) {
            continue;
        }
        in++;
        if (r->tx.type == TX_REFUND) {
            continue;
        }
        const struct judged *j = &b.judged[0][judged++];
        unlabelled += r->known_us == INT64_MAX;
        assert_true(j->card == r->tx.card && j->event_us == r->tx.event_us);
        assert_int_equal(j->fraud, r->fraud);
        assert_true(fabs(j->amount * 100 - r->tx.amount_ref) < 1e-6);
    }
    assert_int_equal(visited, in);
    assert_int_equal(b.n, judged);
    assert_int_equal(b.unlabelled, unlabelled);
    assert_true(unlabelled > 10 && in > judged + 10);
    backtest_done(&b);
}

static void test_measure_gives_both_populations(void **state)
{
    (void)state;
    struct backtest_conf c = plain_conf();
    struct backtest b;
    struct errmsg e;
    c.leave_out_known = true;
    backtest_init(&b, &c);
    replay(&b, 0, NULL, NULL);
    replay(&b, 1, NULL, NULL);
    assert_int_equal(backtest_measure(&b, &e), ERR_OK);
    assert_int_equal(b.populations, 2);
    const struct figures *all = b.population[0].figures;
    const struct figures *rest = b.population[1].figures;
    assert_int_equal(all[0].payments, b.n);
    assert_int_equal(all[1].payments, b.n);
    assert_int_equal(rest[0].payments, rest[1].payments);
    assert_true(rest->payments > 0 && rest->payments < all->payments);
    /* other weights, other figures */
    assert_true(fabs(all[0].value[FIGURE_AUC] - all[1].value[FIGURE_AUC]) > 1e-6);
    size_t alerts = 0;
    for (size_t i = 0; i < b.n; i++) {
        alerts += b.judged[1][i].alert;
    }
    assert_int_equal(all[1].alerts, alerts);
    backtest_done(&b);
}

static void test_segments_beyond_the_most_used_are_others(void **state)
{
    (void)state;
    struct backtest_conf c = plain_conf();
    struct backtest b;
    struct errmsg e;
    size_t payments = 0;
    size_t smallest = SIZE_MAX;
    c.segment = SEGMENT_MCC;
    c.evaluate.resamples = 0;
    backtest_init(&b, &c);
    replay(&b, 0, NULL, NULL);
    size_t by_mcc[TOY_PAST_MCCS] = {0};
    for (size_t i = 0; i < b.n; i++) {
        by_mcc[b.judged[0][i].segment - TOY_PAST_MCC]++;
    }
    assert_int_equal(backtest_measure(&b, &e), ERR_OK);
    assert_int_equal(b.segments, BACKTEST_SEGMENTS);
    for (size_t i = 0; i + 1 < b.segments; i++) {
        unsigned long mcc = strtoul(b.segment[i].name, NULL, 10) - TOY_PAST_MCC;
        assert_int_equal(b.segment[i].figures[0].payments, by_mcc[mcc]);
        smallest = by_mcc[mcc] < smallest ? by_mcc[mcc] : smallest;
        payments += by_mcc[mcc];
        by_mcc[mcc] = 0;
    }
    assert_string_equal(b.segment[b.segments - 1].name, "other");
    assert_int_equal(payments + b.segment[b.segments - 1].figures[0].payments, b.n);
    for (size_t i = 0; i < TOY_PAST_MCCS; i++) {
        assert_true(by_mcc[i] <= smallest);
    }
    backtest_done(&b);
}

static void test_few_segments_are_all_shown(void **state)
{
    (void)state;
    struct backtest_conf c = plain_conf();
    struct backtest b;
    struct errmsg e;
    c.segment = SEGMENT_TYPE;
    backtest_init(&b, &c);
    replay(&b, 0, NULL, NULL);
    assert_int_equal(backtest_measure(&b, &e), ERR_OK);
    assert_int_equal(b.segments, 2);
    assert_string_equal(b.segment[0].name, "purchase");
    assert_string_equal(b.segment[1].name, "check");
    assert_int_equal(b.segment[0].figures[0].payments + b.segment[1].figures[0].payments, b.n);
    backtest_done(&b);
}

static void test_replay_refuses_other_columns(void **state)
{
    (void)state;
    struct backtest_conf c = plain_conf();
    struct backtest b;
    struct errmsg e;
    c.rates_version++;
    backtest_init(&b, &c);
    assert_int_equal(backtest_replay(&b, model[0], "a", NULL, NULL, &e), ERR_MISMATCH);
    assert_int_equal(b.sides, 0);
    backtest_done(&b);
}

static char *printed(const struct backtest *b, void (*print)(const struct backtest *b, FILE *f))
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    print(b, f);
    fclose(f);
    return text;
}

/* Checks one JSON value and returns what follows; small on purpose. */
static const char *json_value(const char *p);

static const char *json_text(const char *p)
{
    assert_int_equal(*p, '"');
    for (p++; *p != '"'; p++) {
        assert_true((unsigned char)*p >= 0x20);
        p += *p == '\\';
    }
    return p + 1;
}

static const char *json_list(const char *p, char close)
{
    p++;
    while (*p != close) {
        if (close == '}') {
            p = json_text(p);
            assert_int_equal(*p++, ':');
        }
        p = json_value(p);
        assert_true(*p == close || (*p == ',' && p[1] != close));
        p += *p == ',';
    }
    return p + 1;
}

static const char *json_value(const char *p)
{
    if (*p == '{' || *p == '[') {
        return json_list(p, *p == '{' ? '}' : ']');
    }
    if (*p == '"') {
        return json_text(p);
    }
    if (strncmp(p, "null", 4) == 0) {
        return p + 4;
    }
    char *after = NULL;
    assert_true(*p == '-' || (*p >= '0' && *p <= '9'));
    (void)strtod(p, &after);
    return after;
}

static void test_print_tells_of_two_sides(void **state)
{
    (void)state;
    struct backtest_conf c = plain_conf();
    struct backtest b;
    struct errmsg e;
    c.leave_out_known = true;
    c.segment = SEGMENT_AMOUNT;
    backtest_init(&b, &c);
    replay(&b, 0, NULL, NULL);
    replay(&b, 1, NULL, NULL);
    assert_int_equal(backtest_measure(&b, &e), ERR_OK);
    char *json = printed(&b, backtest_print_json);
    assert_string_equal(json_value(json), "\n");
    static const char *const MEMBERS[] = {
        "{\"input\":\"history \\\"one\\\".csv\"",
        "\"against\":{\"version\":",
        "\"name\":\"all\"",
        "\"name\":\"not_known\"",
        "\"difference\":{\"auc\":{\"value\":",
        "\"in_favour\":",
        "\"calibration_slope\":{\"value\":",
        "\"segment\":\"amount\",\"segments\":[{\"name\":\"below 3\"",
        "\"unit\":\"card\""};
    for (size_t i = 0; i < sizeof MEMBERS / sizeof *MEMBERS; i++) {
        if (strstr(json, MEMBERS[i]) == NULL) {
            fail_msg("no %s in %s", MEMBERS[i], json);
        }
    }
    char *text = printed(&b, backtest_print);
    static const char *const LINES[] = {"\n  AUC ",
                                        "\n  CP@5 ",
                                        "all payments: ",
                                        "without cards known to be defrauded: ",
                                        "calibration slope by amount",
                                        " have no verdict",
                                        "in favour"};
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        if (strstr(text, LINES[i]) == NULL) {
            fail_msg("no %s in %s", LINES[i], text);
        }
    }
    free(json);
    free(text);
    backtest_done(&b);
}

static void test_print_without_frauds_has_no_nan(void **state)
{
    (void)state;
    struct backtest_conf c = plain_conf();
    struct backtest b;
    struct errmsg e;
    c.from_us = past.rows[past.n - 1].tx.event_us + 1; /* nothing at all */
    backtest_init(&b, &c);
    replay(&b, 0, NULL, NULL);
    assert_int_equal(backtest_measure(&b, &e), ERR_OK);
    char *json = printed(&b, backtest_print_json);
    char *text = printed(&b, backtest_print);
    assert_string_equal(json_value(json), "\n");
    assert_null(strstr(json, "nan"));
    assert_non_null(strstr(json, "\"auc\":{\"value\":null,\"low\":null,\"high\":null}"));
    assert_null(strstr(text, "nan"));
    free(json);
    free(text);
    backtest_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_judges_payments_of_the_stretch),
        cmocka_unit_test(test_measure_gives_both_populations),
        cmocka_unit_test(test_segments_beyond_the_most_used_are_others),
        cmocka_unit_test(test_few_segments_are_all_shown),
        cmocka_unit_test(test_replay_refuses_other_columns),
        cmocka_unit_test(test_print_tells_of_two_sides),
        cmocka_unit_test(test_print_without_frauds_has_no_nan),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
