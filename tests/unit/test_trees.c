/* The boosted trees that teach: what they can learn, and that nothing but rows, settings and seed
 * decides it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/trees.h"

#define COLUMNS 6
#define ROWS 6000
#define HALF (ROWS / 2)

/* The first half of the rows is to be learnt.  Fraud is where one of columns 0 and 1 is above its
 * middle and the other is not: neither tells anything alone.  The last column is constant. */
struct world {
    struct train_rows rows;
    float x[ROWS * COLUMNS];
    int64_t event_us[ROWS];
    uint32_t card[ROWS];
    uint8_t label[ROWS];
    float weight[ROWS];
    float odds[ROWS];
};

static struct world *world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    struct rng rng;
    assert_non_null(w);
    rng_init(&rng, seed);
    for (size_t i = 0; i < ROWS; i++) {
        float *x = w->x + i * COLUMNS;
        for (size_t c = 0; c + 1 < COLUMNS; c++) {
            x[c] = (float)rng_normal(&rng);
        }
        w->event_us[i] = (int64_t)i;
        w->card[i] = 1;
        w->label[i] = (x[0] > 0) != (x[1] > 0);
        w->weight[i] = 1;
    }
    w->rows = (struct train_rows){.n = ROWS,
                                  .columns = COLUMNS,
                                  .x = w->x,
                                  .event_us = w->event_us,
                                  .card = w->card,
                                  .label = w->label,
                                  .weight = w->weight};
    return w;
}

static void fit(const struct world *w, uint32_t trees, uint64_t seed, uint32_t threads,
                struct trees *out)
{
    const struct trees_conf conf = {trees, seed};
    struct errmsg e;
    struct pool *pool;
    assert_int_equal(pool_create(threads, &pool, &e), ERR_OK);
    assert_int_equal(trees_fit(&conf, &w->rows, HALF, pool, NULL, NULL, out, &e), ERR_OK);
    pool_free(pool);
}

static void apply(struct world *w, const struct trees *t, int64_t until_us)
{
    struct errmsg e;
    struct pool *pool;
    assert_int_equal(pool_create(2, &pool, &e), ERR_OK);
    assert_int_equal(trees_apply(t, &w->rows, until_us, pool, w->odds, &e), ERR_OK);
    pool_free(pool);
}

/* Mean log loss of rows from .. to - 1. */
static double loss(const struct world *w, size_t from, size_t to)
{
    double sum = 0;
    for (size_t i = from; i < to; i++) {
        double odds = (double)w->odds[i];
        sum += log1p(exp(w->label[i] ? -odds : odds));
    }
    return sum / (double)(to - from);
}

static void assert_same_trees(const struct trees *a, const struct trees *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(&a->base, &b->base, sizeof a->base);
    for (uint32_t i = 0; i < a->n; i++) {
        assert_memory_equal(a->tree[i].column, b->tree[i].column, sizeof a->tree[i].column);
        assert_memory_equal(a->tree[i].bin, b->tree[i].bin, sizeof a->tree[i].bin);
        assert_memory_equal(a->tree[i].leaf, b->tree[i].leaf, sizeof a->tree[i].leaf);
    }
}

static void test_trees_learn_what_two_columns_tell_together(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    const uint32_t trees[] = {0, 20, 200};
    double before = INFINITY;
    for (int k = 0; k < 3; k++) {
        struct trees t;
        fit(w, trees[k], 3, 1, &t);
        assert_int_equal(t.n, trees[k]);
        apply(w, &t, ROWS);
        double now = loss(w, HALF, ROWS); /* of rows that they have not seen */
        assert_true(now < before - 0.05 || k == 0);
        before = now;
        trees_done(&t);
    }
    assert_true(before < 0.2); /* 0.69 knows nothing */
    free(w);
}

static void test_threads_do_not_change_trees_and_the_seed_does(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct trees one;
    struct trees three;
    struct trees other;
    fit(w, 12, 5, 1, &one);
    fit(w, 12, 5, 3, &three);
    fit(w, 12, 6, 1, &other);
    assert_same_trees(&one, &three);
    assert_memory_not_equal(one.tree[0].leaf, other.tree[0].leaf, sizeof one.tree[0].leaf);
    trees_done(&one);
    trees_done(&three);
    trees_done(&other);
    free(w);
}

/* Later rows, and rows without weight, may hold anything. */
static void test_only_rows_that_teach_are_read(void **state)
{
    (void)state;
    struct world *w = world_new(3);
    struct trees plain;
    struct trees spoilt;
    w->weight[7] = 0;
    fit(w, 6, 1, 2, &plain);
    for (size_t i = HALF; i < ROWS; i++) {
        w->x[i * COLUMNS] = NAN;
        w->label[i] = !w->label[i];
    }
    w->label[7] = !w->label[7];
    w->x[7 * COLUMNS] = 1e30F;
    fit(w, 6, 1, 2, &spoilt);
    assert_same_trees(&plain, &spoilt);
    trees_done(&plain);
    trees_done(&spoilt);
    free(w);
}

static void test_weights_count_as_often_as_rows(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    struct trees light;
    struct trees heavy;
    fit(w, 1, 1, 1, &light);
    for (size_t i = 0; i < ROWS; i++) {
        w->weight[i] = w->label[i] ? 3 : 1;
    }
    fit(w, 1, 1, 1, &heavy);
    assert_true(fabs((double)heavy.base - (double)light.base - log(3)) < 1e-5);
    trees_done(&light);
    trees_done(&heavy);
    free(w);
}

static void test_rows_after_the_time_keep_what_they_have(void **state)
{
    (void)state;
    struct world *w = world_new(5);
    struct trees t;
    fit(w, 3, 1, 1, &t);
    for (size_t i = 0; i < ROWS; i++) {
        w->odds[i] = 77;
    }
    apply(w, &t, HALF);
    for (size_t i = 0; i < ROWS; i++) {
        assert_true((w->odds[i] > 76) == (i >= HALF));
    }
    trees_done(&t);
    free(w);
}

static void test_columns_that_tell_nothing_leave_the_base_rate(void **state)
{
    (void)state;
    struct world *w = world_new(6);
    struct trees t;
    memset(w->x, 0, sizeof w->x);
    fit(w, 5, 1, 1, &t);
    assert_int_equal(t.n, 0);
    apply(w, &t, ROWS);
    assert_true(fabs((double)w->odds[0]) < 0.2); /* half are frauds */
    trees_done(&t);
    free(w);
}

static enum err third_is_enough(void *ctx, struct errmsg *e)
{
    int *trees = ctx;
    return ++*trees == 3 ? err_set(e, ERR_REFUSED, "enough") : ERR_OK;
}

static void test_a_fit_can_be_stopped(void **state)
{
    (void)state;
    const struct trees_conf conf = {50, 1};
    struct world *w = world_new(7);
    struct errmsg e;
    struct pool *pool;
    struct trees t;
    int trees = 0;
    assert_int_equal(pool_create(1, &pool, &e), ERR_OK);
    assert_int_equal(trees_fit(&conf, &w->rows, HALF, pool, third_is_enough, &trees, &t, &e),
                     ERR_REFUSED);
    assert_int_equal(trees, 3);
    memset(w->label, 0, sizeof w->label);
    assert_int_equal(trees_fit(&conf, &w->rows, HALF, pool, NULL, NULL, &t, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "0 frauds among 3000 rows"));
    pool_free(pool);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees_learn_what_two_columns_tell_together),
        cmocka_unit_test(test_threads_do_not_change_trees_and_the_seed_does),
        cmocka_unit_test(test_only_rows_that_teach_are_read),
        cmocka_unit_test(test_weights_count_as_often_as_rows),
        cmocka_unit_test(test_rows_after_the_time_keep_what_they_have),
        cmocka_unit_test(test_columns_that_tell_nothing_leave_the_base_rate),
        cmocka_unit_test(test_a_fit_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
