/* What a fit learns: labels and a teacher's opinion, mixed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/train_score.h"
#include "model/train_teacher.h"
#include "tests/support/toy_rows.h"

#define COLUMNS 6

struct bench {
    struct toy_rows toy;
    struct train_conf conf;
    struct pool *pool;
    struct fit fit;
    float *logit; /* [rows] by the fit */
};

static enum err go_on(void *ctx, struct errmsg *e)
{
    (void)ctx;
    (void)e;
    return ERR_OK;
}

static void bench_init(struct bench *b)
{
    struct errmsg e;
    memset(b, 0, sizeof *b);
    toy_rows_init(&b->toy, 31, 40, 30, COLUMNS);
    toy_conf(&b->conf);
    const struct train_rows *rows = &b->toy.rows;
    assert_int_equal(pool_create(2, &b->pool, &e), ERR_OK);
    assert_int_equal(fit_init(&b->fit, &b->conf, rows, b->conf.holdout_from_us, b->pool, &e),
                     ERR_OK);
    assert_int_equal(fit_epoch(&b->fit, go_on, NULL, &e), ERR_OK);
    assert_int_equal(fit_even_out(&b->fit, &e), ERR_OK);
    b->logit = calloc(rows->n, sizeof *b->logit);
    const struct tape_net net = fit_averaged(&b->fit);
    const struct tape_data data = fit_data(&b->fit);
    const struct score_span all = {INT64_MIN, INT64_MAX, NULL};
    assert_int_equal(
        train_score(&net, &data, &all, b->pool, &(struct score_out){.logit = b->logit}, &e),
        ERR_OK);
}

static void bench_done(struct bench *b)
{
    free(b->logit);
    fit_done(&b->fit);
    pool_free(b->pool);
    toy_rows_done(&b->toy);
}

/* Rows before and after the time lie mixed, card by card: the places must fit. */
static void test_targets_are_labels_and_opinions_mixed(void **state)
{
    (void)state;
    const float shares[] = {0, 0.7F, 1};
    struct bench b;
    struct errmsg e;
    bench_init(&b);
    for (int k = 0; k < 3; k++) {
        double share = (double)shares[k];
        size_t opinions = 0;
        float *target = NULL;
        assert_int_equal(teacher_network(&b.fit, b.conf.holdout_from_us, shares[k], &target, &e),
                         ERR_OK);
        for (size_t i = 0; i < b.toy.rows.n; i++) {
            double wanted = b.toy.label[i];
            if (b.toy.event_us[i] < b.conf.holdout_from_us) {
                double opinion = 1 / (1 + exp(-(double)b.logit[i]));
                wanted = (1 - share) * wanted + share * opinion;
                opinions++;
            }
            /* other pieces, so other last digits of a logit */
            assert_true(fabs((double)target[i] - wanted) < 1e-5);
        }
        assert_true(opinions > 0 && opinions < b.toy.rows.n);
        free(target);
    }
    bench_done(&b);
}

static void test_targets_of_rows_not_learnt_are_their_labels(void **state)
{
    (void)state;
    struct bench b;
    struct errmsg e;
    float *target = NULL;
    bench_init(&b);
    assert_int_equal(teacher_network(&b.fit, INT64_MIN, 1, &target, &e), ERR_OK);
    for (size_t i = 0; i < b.toy.rows.n; i++) {
        assert_true(fabs((double)target[i] - b.toy.label[i]) < 1e-9);
    }
    free(target);
    bench_done(&b);
}

static void test_targets_by_trees_are_mixed_too(void **state)
{
    (void)state;
    const struct trees_conf conf = {20, 7};
    struct bench b;
    struct errmsg e;
    struct trees trees;
    float *target = NULL;
    bench_init(&b);
    const struct train_rows *rows = &b.toy.rows;
    int64_t until_us = b.conf.holdout_from_us;
    assert_int_equal(trees_fit(&conf, rows, until_us, b.pool, NULL, NULL, &trees, &e), ERR_OK);
    assert_int_equal(trees_apply(&trees, rows, until_us, b.pool, b.logit, &e), ERR_OK);
    assert_int_equal(teacher_trees(&trees, rows, until_us, 0.25F, b.pool, &target, &e), ERR_OK);
    for (size_t i = 0; i < rows->n; i++) {
        double wanted = b.toy.label[i];
        if (b.toy.event_us[i] < until_us) {
            wanted = 0.75 * wanted + 0.25 / (1 + exp(-(double)b.logit[i]));
        }
        assert_true(fabs((double)target[i] - wanted) < 1e-6);
    }
    free(target);
    trees_done(&trees);
    bench_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets_by_trees_are_mixed_too),
        cmocka_unit_test(test_targets_are_labels_and_opinions_mixed),
        cmocka_unit_test(test_targets_of_rows_not_learnt_are_their_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
