/* Features against their slow twin. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"
#include "tests/support/feature_fixture.h"
#include "tests/support/naive_features.h"

/* Both sides compute in double from the same whole numbers and round to float once (6e-8); the
 * twin's trigonometry takes another way, whose angle loses digits near 0 and near the antipode. */
static bool is_close(size_t column, float a, float b)
{
    bool geography = feature_info(column)->group == GROUP_GEOGRAPHY;
    double tolerance = geography ? 1e-4 : 1e-6;
    return fabs((double)a - (double)b) <= tolerance + 1e-6 * fabs((double)b);
}

static void assert_rows_close(const float *x, const float *want, size_t event, uint64_t seed,
                              bool (*leave_out)(size_t column))
{
    for (size_t i = 0; i < FEAT_DIM; i++) {
        if ((leave_out == NULL || !leave_out(i)) && !is_close(i, x[i], want[i])) {
            fail_msg("seed %llu, event %zu: %s is %.9g, the twin says %.9g",
                     (unsigned long long)seed, event, feature_info(i)->name, (double)x[i],
                     (double)want[i]);
        }
    }
}

static void compare_with_twin(const struct stream_conf *c, size_t history_max,
                              bool (*leave_out)(size_t column))
{
    struct feature_params p;
    feature_params_default(&p);
    p.maturity_us = c->maturity_us;
    p.blame_tail = 2; /* 1 % instead of .2 %: some of a short stream */
    struct fixture_limits l = fixture_limits();
    l.cards.history_max = l.world.history_max = history_max;
    const struct naive_limits nl = {history_max, history_max < 256 ? history_max : 256};
    struct fixture f = fixture_create(&p, &l);
    struct naive *n = naive_create(&p, &nl);
    struct stream stream;
    stream_create(&stream, c);
    for (size_t i = 0; i < c->events; i++) {
        float x[FEAT_DIM];
        float want[FEAT_DIM];
        struct feat_facts facts;
        struct naive_facts naive_facts;
        struct label label;
        feat_extract(f.s, &stream.tx[i], x, &facts);
        naive_extract(n, &stream.tx[i], want, &naive_facts);
        assert_rows_close(x, want, i, c->seed, leave_out);
        assert_int_equal(facts.late, naive_facts.late);
        assert_int_equal(facts.dropped_late, naive_facts.dropped_late);
        assert_int_equal(facts.card_events, naive_facts.card_events);
        stream.usual_ratio[i] = facts.usual_ratio;
        while (stream_label(&stream, i, &label)) {
            assert_int_equal(feat_label(f.w, &label), ERR_OK);
            naive_label(n, &label);
        }
    }
    stream_done(&stream);
    naive_free(n);
    fixture_free(&f);
}

static void test_columns_equal_the_twin(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct stream_conf c = fixture_stream(seed);
        compare_with_twin(&c, 4096, NULL);
    }
}

/* Half a year with long gaps: events are forgotten, late ones come too late. */
static void test_columns_equal_the_twin_over_months(void **state)
{
    (void)state;
    for (uint64_t seed = 11; seed <= 14; seed++) {
        struct stream_conf c = fixture_stream(seed);
        c.events = 600;
        c.cards = 25;
        c.mean_step_us = 12 * TIME_HOUR;
        c.late_max_us = 130 * TIME_DAY;
        c.label_max_us = 120 * TIME_DAY;
        compare_with_twin(&c, 4096, NULL);
    }
}

/* Card, terminal, time, amount: nothing else. */
static void test_columns_equal_the_twin_with_few_fields(void **state)
{
    (void)state;
    struct stream_conf c = fixture_stream(21);
    c.merchants = c.devices = c.ips = 0;
    c.missing_share = 0;
    compare_with_twin(&c, 4096, NULL);
    c.seed = 22;
    c.missing_share = 1; /* not even terminals */
    compare_with_twin(&c, 4096, NULL);
}

/* One card and terminal with many frauds: more than are kept as known. */
static void test_columns_equal_the_twin_with_many_frauds(void **state)
{
    (void)state;
    for (uint64_t seed = 31; seed <= 33; seed++) {
        struct stream_conf c = fixture_stream(seed);
        c.cards = 3;
        c.terminals = 2;
        c.merchants = 2;
        c.events = 420;
        c.label_share = 0.6;
        c.mean_step_us = TIME_HOUR;
        c.label_max_us = 10 * TIME_DAY;
        compare_with_twin(&c, 4096, NULL);
    }
}

static void test_columns_equal_the_twin_for_other_maturities(void **state)
{
    (void)state;
    static const int64_t MATURITY[] = {0, 1, 36 * TIME_HOUR, 30 * TIME_DAY, 95 * TIME_DAY};
    for (size_t i = 0; i < sizeof MATURITY / sizeof *MATURITY; i++) {
        struct stream_conf c = fixture_stream(41 + i);
        c.events = 350;
        c.maturity_us = MATURITY[i];
        c.mean_step_us = 6 * TIME_HOUR;
        compare_with_twin(&c, 4096, NULL);
    }
}

/* Columns that sums of panes reach: test_history.c holds those to their bound. */
static bool sees_panes(size_t column)
{
    static const char *const PARTS[] = {"_count_", "_mean", "_ratio", "_z",      "usual",
                                        "_small",  "_risk", "_legit", "_streak", "_last_label"};
    const char *name = feature_info(column)->name;
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++) {
        if (strstr(name, PARTS[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static void test_columns_equal_the_twin_beside_panes(void **state)
{
    (void)state;
    for (uint64_t seed = 51; seed <= 54; seed++) {
        struct stream_conf c = fixture_stream(seed);
        c.cards = 4;
        compare_with_twin(&c, 16 + seed % 3 * 20, sees_panes);
    }
}

/* Below a tenth of the mean, not at it: 1900 and 100 have the mean 1000. */
static void test_small_payments_are_below_a_tenth(void **state)
{
    (void)state;
    struct feature_params p;
    feature_params_default(&p);
    struct fixture_limits l = fixture_limits();
    for (uint32_t amount = 99; amount <= 100; amount++) {
        struct fixture f = fixture_create(&p, &l);
        struct feat_facts facts;
        float x[FEAT_DIM];
        struct tx first = fixture_payment(1, 1, 1, TIME_DAY, 1900);
        struct tx second = fixture_payment(2, 1, 1, TIME_DAY + TIME_HOUR, amount);
        feat_extract(f.s, &first, x, &facts);
        feat_extract(f.s, &second, x, &facts);
        assert_true(
            is_close(FEAT_card_small_1d, x[FEAT_card_small_1d], amount < 100 ? (float)log(2) : 0));
        fixture_free(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_equal_the_twin),
        cmocka_unit_test(test_columns_equal_the_twin_over_months),
        cmocka_unit_test(test_columns_equal_the_twin_with_few_fields),
        cmocka_unit_test(test_columns_equal_the_twin_with_many_frauds),
        cmocka_unit_test(test_columns_equal_the_twin_for_other_maturities),
        cmocka_unit_test(test_columns_equal_the_twin_beside_panes),
        cmocka_unit_test(test_small_payments_are_below_a_tenth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
