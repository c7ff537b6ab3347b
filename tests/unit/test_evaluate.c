/* Figures: known cases, the handbook's protocol by a naive twin, the bootstrap against samples laid
 * out row by row, differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/timefmt.h"
#include "daemon/evaluate.h"
#include "tests/support/judged_twin.h"

#define FIRST 20000 /* a UTC day */
#define ROWS 2500

static const struct evaluate_conf PLAIN = {.top_cards = 10};

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance) && !(isnan(a) && isnan(b))) {
        fail_msg("%.17g and %.17g differ by more than %g", a, b, tolerance);
    }
}

static struct figures figures_of(const struct judged *j, size_t n, judged_with with,
                                 const struct evaluate_conf *c)
{
    struct judged_set *s = NULL;
    struct figures g;
    struct errmsg e;
    assert_int_equal(judged_set_create(j, n, with, NULL, &s, &e), ERR_OK);
    assert_int_equal(evaluate(s, c, &g, &e), ERR_OK);
    judged_set_free(s);
    return g;
}

static void test_evaluate_a_case_worked_out_by_hand(void **state)
{
    (void)state;
    const int64_t noon = FIRST * TIME_DAY + 12 * TIME_HOUR;
    /* by score: F .9 alert, L .8 alert, F .8, L .1, L .1 */
    const struct judged j[] = {
        {.card = 1, .event_us = noon, .amount = 30, .score = .9F, .fraud = true, .alert = true},
        {.card = 2, .event_us = noon + 1, .amount = 99, .score = .8F, .alert = true},
        {.card = 3, .event_us = noon + 2, .amount = 10, .score = .8F, .fraud = true},
        {.card = 1, .event_us = noon + TIME_DAY, .amount = 5, .score = .1F},
        {.card = 4, .event_us = noon + TIME_DAY, .amount = 7, .score = .1F},
    };
    const struct evaluate_conf c = {.top_cards = 2};
    struct figures g = figures_of(j, 5, NULL, &c);
    assert_int_equal(g.payments, 5);
    assert_int_equal(g.frauds, 2);
    assert_int_equal(g.cards, 4);
    assert_int_equal(g.days, 2);
    assert_int_equal(g.alerts, 2);
    assert_int_equal(g.caught, 1);
    assert_near(g.expected, 2.7, 1e-6);
    assert_near(g.value[FIGURE_AUC], (3 + 2.5) / 6, 1e-12);
    assert_near(g.value[FIGURE_AP], (1.0 + 2.0 / 3) / 2, 1e-12);
    /* day 1: cards 1 and 2 (card 2 came before 3); day 2: card 1 was found, nobody is a fraud */
    assert_near(g.value[FIGURE_CARD_PRECISION], (0.5 + 0) / 2, 1e-12);
    assert_near(g.value[FIGURE_RECALL], 0.5, 1e-12);
    assert_near(g.value[FIGURE_PRECISION], 0.5, 1e-12);
    assert_near(g.value[FIGURE_VALUE], 30.0 / 40, 1e-12);
    assert_near(g.value[FIGURE_EXPECTED], 2.7 / 2, 1e-6);
    /* ten groups of half a payment */
    assert_near(g.value[FIGURE_ERROR], (.1 + .8 + .2 + .1 + .1) / 5, 1e-6);
    assert_null(g.resampled);
    figures_done(&g);
}

/* The rule and the measures of the handbook, on histories small enough to work out slowly. */
static void test_evaluate_follows_the_handbook(void **state)
{
    (void)state;
    static struct judged j[ROWS];
    size_t known = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        int64_t first = FIRST + 16;
        size_t n = twin_judged(seed, FIRST, 23, j, ROWS);
        struct card_fraud *f = malloc(n * sizeof *f);
        size_t frauds = 0;
        size_t from = 0;
        for (size_t i = 0; i < n; i++) {
            from += time_day(j[i].event_us) < first;
            if (j[i].fraud) {
                f[frauds++] = (struct card_fraud){j[i].card, j[i].event_us};
            }
        }
        judged_mark_known(j + from, n - from, f, frauds, first * TIME_DAY);
        free(f);
        for (int leave_out = 0; leave_out < 2; leave_out++) {
            struct twin_figures want = twin_handbook(j, n, first, leave_out, PLAIN.top_cards);
            struct figures g =
                figures_of(j + from, n - from, leave_out ? judged_not_known : NULL, &PLAIN);
            assert_int_equal(g.payments, want.payments);
            assert_int_equal(g.frauds, want.frauds);
            assert_near(g.value[FIGURE_AUC], want.auc, 1e-12);
            assert_near(g.value[FIGURE_AP], want.ap, 1e-12);
            assert_near(g.value[FIGURE_CARD_PRECISION], want.card_precision, 1e-12);
            known += n - from - g.payments;
            figures_done(&g);
        }
    }
    assert_true(known > 500); /* the rule had something to do */
}

static void test_evaluate_of_nothing_is_nan(void **state)
{
    (void)state;
    const struct evaluate_conf c = {.top_cards = 10, .resamples = 5, .seed = 1};
    const struct judged legitimate[] = {{.card = 1, .score = .1F, .amount = 5},
                                        {.card = 2, .score = .2F, .amount = 5}};
    struct figures g = figures_of(NULL, 0, NULL, &c);
    for (int k = 0; k < FIGURE_COUNT; k++) {
        assert_true(isnan(g.value[k]));
        assert_true(isnan(figures_interval(&g, (enum figure)k).low));
    }
    figures_done(&g);
    g = figures_of(legitimate, 2, NULL, &c);
    assert_true(isnan(g.value[FIGURE_AUC]) && isnan(g.value[FIGURE_AP]));
    assert_true(isnan(g.value[FIGURE_RECALL]) && isnan(g.value[FIGURE_PRECISION]));
    assert_true(isnan(g.value[FIGURE_EXPECTED]) && isnan(g.value[FIGURE_SLOPE]));
    assert_near(g.value[FIGURE_CARD_PRECISION], 0, 0);
    assert_near(g.value[FIGURE_ERROR], 0.15, 1e-6);
    figures_done(&g);
}

/* A resample's figures are those of the sample laid out: every card as often as it was drawn. */
static void test_evaluate_resamples_whole_cards(void **state)
{
    (void)state;
    static struct judged j[ROWS];
    static struct judged sample[20 * ROWS];
    const struct evaluate_conf c = {.top_cards = 10, .resamples = 10, .seed = 77};
    struct rng rng;
    size_t n = twin_judged(5, FIRST, 9, j, ROWS);
    struct figures g = figures_of(j, n, NULL, &c);
    uint32_t number[256];
    uint32_t next = 0;
    memset(number, 0xff, sizeof number);
    for (size_t i = 0; i < n; i++) {
        number[j[i].card] = number[j[i].card] == UINT32_MAX ? next++ : number[j[i].card];
    }
    assert_int_equal(next, g.cards);
    rng_init(&rng, c.seed);
    for (size_t r = 0; r < c.resamples; r++) {
        uint32_t drawn[256] = {0};
        size_t m = 0;
        for (size_t i = 0; i < g.cards; i++) {
            drawn[rng_below(&rng, g.cards)]++;
        }
        for (size_t i = 0; i < n; i++) {
            for (uint32_t copy = 0; copy < drawn[number[j[i].card]]; copy++) {
                sample[m] = j[i];
                sample[m++].card += 1000 * copy;
            }
        }
        struct figures want = figures_of(sample, m, NULL, &PLAIN);
        for (int k = 0; k < FIGURE_COUNT; k++) {
            /* the line's search stops within 1e-6; the other sums are exact to 1e-9 */
            double tolerance = k == FIGURE_SLOPE ? 1e-5 : 1e-9;
            assert_near(g.resampled[r * FIGURE_COUNT + (size_t)k], want.value[k], tolerance);
        }
        figures_done(&want);
    }
    figures_done(&g);
}

static void test_intervals_are_of_the_seed_and_hold_the_middle(void **state)
{
    (void)state;
    static struct judged j[ROWS];
    struct evaluate_conf c = {.top_cards = 10, .resamples = 200, .seed = 3};
    size_t n = twin_judged(6, FIRST, 9, j, ROWS);
    struct figures a = figures_of(j, n, NULL, &c);
    struct figures b = figures_of(j, n, NULL, &c);
    assert_memory_equal(a.resampled, b.resampled, 200 * FIGURE_COUNT * sizeof(double));
    for (int k = 0; k < FIGURE_COUNT; k++) {
        struct interval i = figures_interval(&a, (enum figure)k);
        size_t inside = 0;
        for (size_t r = 0; r < 200; r++) {
            double v = a.resampled[r * FIGURE_COUNT + (size_t)k];
            inside += v >= i.low && v <= i.high;
        }
        assert_true(i.low < i.high);
        assert_in_range(inside, 188, 194); /* 190, give or take ties */
    }
    struct interval auc = figures_interval(&a, FIGURE_AUC);
    assert_true(auc.low < a.value[FIGURE_AUC] && a.value[FIGURE_AUC] < auc.high);
    figures_done(&b);
    c.seed = 4;
    b = figures_of(j, n, NULL, &c);
    assert_memory_not_equal(a.resampled, b.resampled, 200 * FIGURE_COUNT * sizeof(double));
    figures_done(&a);
    figures_done(&b);
}

static void test_evaluate_refuses_too_many_resamples(void **state)
{
    (void)state;
    struct judged_set *s = NULL;
    struct figures g;
    struct errmsg e;
    const struct evaluate_conf c = {.top_cards = 1, .resamples = EVALUATE_RESAMPLES_MAX + 1};
    assert_int_equal(judged_set_create(NULL, 0, NULL, NULL, &s, &e), ERR_OK);
    assert_int_equal(evaluate(s, &c, &g, &e), ERR_INVALID);
    judged_set_free(s);
}

static void test_difference_is_paired_and_antisymmetric(void **state)
{
    (void)state;
    static struct judged j[ROWS];
    static struct judged worse[ROWS];
    const struct evaluate_conf c = {.top_cards = 10, .resamples = 100, .seed = 9};
    struct rng rng;
    size_t n = twin_judged(7, FIRST, 9, j, ROWS);
    rng_init(&rng, 1);
    memcpy(worse, j, sizeof j);
    for (size_t i = 0; i < n; i++) {
        worse[i].score = (worse[i].score + 2 * (float)rng_uniform(&rng)) / 3;
        worse[i].alert &= rng_below(&rng, 2) == 0;
    }
    struct figures a = figures_of(j, n, NULL, &c);
    struct figures b = figures_of(worse, n, NULL, &c);
    for (int k = 0; k < FIGURE_COUNT; k++) {
        struct difference ab = figures_difference(&a, &b, (enum figure)k);
        struct difference ba = figures_difference(&b, &a, (enum figure)k);
        struct difference aa = figures_difference(&a, &a, (enum figure)k);
        assert_near(ab.value, a.value[k] - b.value[k], 1e-15);
        assert_near(ab.value, -ba.value, 1e-15);
        assert_near(ab.interval.low, -ba.interval.high, 1e-12);
        assert_near(ab.in_favour, 1 - ba.in_favour, 1e-12);
        assert_near(aa.interval.low, 0, 0);
        assert_near(aa.interval.high, 0, 0);
        assert_near(aa.in_favour, 0.5, 0);
    }
    /* noise: worse at ranking, far from the observed frauds, and in error */
    assert_true(figures_difference(&a, &b, FIGURE_AUC).in_favour > 0.95);
    assert_true(figures_difference(&a, &b, FIGURE_RECALL).in_favour > 0.95);
    assert_true(figures_difference(&a, &b, FIGURE_EXPECTED).in_favour > 0.95);
    assert_true(figures_difference(&a, &b, FIGURE_EXPECTED).value < 0);
    assert_true(figures_difference(&a, &b, FIGURE_ERROR).in_favour > 0.95);
    /* paired: the same cards in both, so the difference is surer than two intervals say */
    struct interval wide = figures_interval(&a, FIGURE_AUC);
    const struct evaluate_conf other = {.top_cards = 10, .resamples = 100, .seed = 10};
    struct figures unpaired = figures_of(j, n, NULL, &other);
    struct interval apart = figures_difference(&a, &unpaired, FIGURE_AUC).interval;
    assert_true(apart.high - apart.low > (wide.high - wide.low) / 2);
    figures_done(&unpaired);
    figures_done(&a);
    figures_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate_a_case_worked_out_by_hand),
        cmocka_unit_test(test_evaluate_follows_the_handbook),
        cmocka_unit_test(test_evaluate_of_nothing_is_nan),
        cmocka_unit_test(test_evaluate_resamples_whole_cards),
        cmocka_unit_test(test_intervals_are_of_the_seed_and_hold_the_middle),
        cmocka_unit_test(test_evaluate_refuses_too_many_resamples),
        cmocka_unit_test(test_difference_is_paired_and_antisymmetric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
