/* The population stability index of columns and score: by hand, by weight, and which is named. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/drift.h"

#define OLD 200
#define FRESH 100
#define ROWS (OLD + FRESH + 1) /* and one of context */

static float x[ROWS][FEAT_DIM];
static uint8_t use[ROWS];
static float weight[ROWS], served[ROWS];
static uint32_t first_row[FEAT_DIM + 1];
static float edges[FEAT_DIM], constant[FEAT_DIM];
static struct net_encoding enc = {FEAT_DIM, constant, constant, first_row, edges};
static struct update_rows rows = {.n = ROWS, .use = use, .weight = weight};

/* One edge at 0 for every column but the calendar's, which have one bin; half of the rows of either
 * side are above it; the score is .3 for one in ten. */
static int begin(void **state)
{
    (void)state;
    size_t edge = 0;
    for (size_t k = 0; k < FEAT_DIM; k++) {
        bool one_bin = feature_info(k)->group == GROUP_CALENDAR;
        first_row[k + 1] = first_row[k] + (one_bin ? 1 : 2);
        if (!one_bin) {
            edges[edge++] = 0;
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        use[i] = i < OLD ? USE_REPLAY : i < OLD + FRESH ? (uint8_t)(USE_NEWS + i % 3) : USE_CONTEXT;
        weight[i] = i < OLD ? 1 : 0;
        served[i] = i % 10 == 0 ? .3F : .0001F;
        for (size_t k = 0; k < FEAT_DIM; k++) {
            x[i][k] = i % 2 == 0 ? 1 : -1;
        }
    }
    rows.columns.base = x;
    return 0;
}

static struct drift measure(void)
{
    struct drift d;
    struct errmsg e = {""};
    if (drift_measure(&rows, &enc, served, &d, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return d;
}

/* Shares of two bins, old and new. */
static double by_hand(double old, double fresh)
{
    old = (old + .5) / (OLD + 1);
    fresh = (fresh + .5) / (FRESH + 1);
    return (fresh - old) * log(fresh / old) + (old - fresh) * log((1 - fresh) / (1 - old));
}

static void test_drift_is_nothing_where_nothing_moved(void **state)
{
    (void)state;
    struct drift d = measure();
    assert_int_equal(d.old, OLD);
    assert_int_equal(d.fresh, FRESH);
    for (size_t k = 0; k < FEAT_DIM; k++) {
        assert_true(d.column[k] >= 0 && d.column[k] < 1e-4);
    }
    assert_true(isnan(d.group[GROUP_CALENDAR]) && d.group[GROUP_AMOUNT] < 1e-4 && d.score < .03);
    assert_int_equal(drift_count_above(&d, 1e-3), 0);
}

static void test_drift_names_the_column_that_moved(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    for (size_t i = OLD; i < OLD + FRESH; i++) {
        x[i][FEAT_card_age] = 1;
        x[i][FEAT_terminal_gap] = i % 10 < 7 ? 1 : -1;
    }
    struct drift d = measure();
    double age = by_hand(OLD / 2, FRESH);
    double gap = by_hand(OLD / 2, .7 * FRESH);
    assert_true(fabs(d.column[FEAT_card_age] - age) < 1e-9);
    assert_true(fabs(d.column[FEAT_terminal_gap] - gap) < 1e-9);
    assert_true(d.top[0] == FEAT_card_age && d.top[1] == FEAT_terminal_gap);
    assert_true(fabs(d.group[GROUP_INTERVAL] * 8 - age - gap) < 1e-3); /* of eight columns */
    assert_int_equal(drift_count_above(&d, .25), 1);

    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    drift_print(&d, .25, f);
    assert_int_equal(fclose(f), 0);
    assert_non_null(strstr(text, "columns that moved most: card_age 2."));
    assert_non_null(strstr(text, ", terminal_gap 0.1"));
    assert_non_null(strstr(text, "1 columns have moved further than 0.25 (update.drift)"));
    free(text);
    text = NULL;
    f = open_memstream(&text, &len);
    assert_non_null(f);
    drift_print(&d, 99, f);
    assert_int_equal(fclose(f), 0);
    assert_null(strstr(text, "update.drift"));
    free(text);
}

/* A sampled payment stands for many. */
static void test_drift_counts_older_payments_by_weight(void **state)
{
    (void)state;
    for (size_t i = 0; i < OLD; i++) {
        weight[i] = i % 2 == 0 ? 3 : 1; /* three quarters of the weight above the edge */
    }
    struct drift d = measure();
    assert_true(fabs(d.column[FEAT_amount] - by_hand(.75 * OLD, FRESH / 2)) < 1e-9);
}

static void test_drift_of_the_score_needs_no_label(void **state)
{
    (void)state;
    for (size_t i = OLD; i < OLD + FRESH; i++) {
        served[i] = i % 2 == 0 ? .3F : .0001F; /* one in two instead of one in ten */
    }
    struct drift d = measure();
    assert_true(d.score > .8 && d.column[FEAT_card_age] < 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_drift_is_nothing_where_nothing_moved, begin),
        cmocka_unit_test_setup(test_drift_names_the_column_that_moved, begin),
        cmocka_unit_test_setup(test_drift_counts_older_payments_by_weight, begin),
        cmocka_unit_test_setup(test_drift_of_the_score_needs_no_label, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
