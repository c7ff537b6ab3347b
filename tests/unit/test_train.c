/* Training as a whole: it learns, it repeats, it keeps the held-out rows out, it refuses bad rows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/calibrate.h"
#include "model/metrics.h"
#include "model/train.h"
#include "tests/support/toy_rows.h"

#define COLUMNS 6

static void train(const struct train_conf *c, const struct train_rows *rows,
                  struct train_result *out)
{
    struct errmsg e = {""};
    enum err rc = train_run(c, rows, NULL, NULL, out, &e);
    assert_string_equal(e.text, "");
    assert_int_equal(rc, ERR_OK);
}

static size_t total_of(const struct net_shape *s)
{
    struct net_layout l;
    struct errmsg e;
    assert_int_equal(net_layout_init(&l, s, &e), ERR_OK);
    return l.total;
}

static void assert_same_result(const struct train_result *a, const struct train_result *b)
{
    size_t d = a->shape.columns;
    assert_memory_equal(&a->shape, &b->shape, sizeof a->shape);
    assert_memory_equal(a->params, b->params, total_of(&a->shape) * sizeof *a->params);
    assert_memory_equal(a->raw_params, b->raw_params, total_of(&a->shape) * sizeof *a->params);
    assert_memory_equal(a->balance, b->balance,
                        (size_t)a->shape.layers * a->shape.experts * sizeof *a->balance);
    assert_memory_equal(a->calibration, b->calibration, sizeof a->calibration);
    assert_memory_equal(a->encoding.mean, b->encoding.mean, d * sizeof(float));
    assert_memory_equal(a->encoding.inv_sd, b->encoding.inv_sd, d * sizeof(float));
    assert_memory_equal(a->encoding.first_row, b->encoding.first_row, (d + 1) * sizeof(uint32_t));
    assert_memory_equal(a->encoding.edges, b->encoding.edges,
                        (a->encoding.first_row[d] - d) * sizeof(float));
    assert_true(a->rows_hash == b->rows_hash);
    assert_memory_equal(&a->holdout_ap, &b->holdout_ap, sizeof a->holdout_ap);
    assert_int_equal(a->epochs_done, b->epochs_done);
    assert_memory_equal(a->share_low, b->share_low, sizeof a->share_low);
    assert_memory_equal(a->share_high, b->share_high, sizeof a->share_high);
}

static void assert_shares_are_of_experts(const struct train_result *r)
{
    for (uint32_t i = 0; i < r->shape.layers; i++) {
        assert_true(r->share_low[i] >= 0 && r->share_low[i] <= 1);
        assert_true(r->share_high[i] >= 1 &&
                    r->share_high[i] <= (double)r->shape.experts / r->shape.top);
        assert_true(r->share_low[i] < r->share_high[i]);
    }
}

/* The planted rules are found: well above the share of frauds (about .09), on rows held out. */
static void test_run_learns_thresholds_and_order(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result r;
    toy_rows_init(&t, 1, 150, 40, COLUMNS);
    toy_conf(&c);
    c.epochs = 25;
    c.final_fit = false;
    c.learning_rate = 5e-3F;
    train(&c, &t.rows, &r);
    assert_true(r.holdout_ap > 0.8);
    assert_true(r.holdout_auc > 0.9);
    assert_true(r.holdout_brier < 0.05);
    double shares = 0;
    for (size_t i = 0; i < SCORE_BANDS; i++) {
        shares += (double)r.score_share[i];
    }
    assert_true(fabs(shares - 1) < 1e-5);
    assert_true(r.epochs_done >= 1 && r.epochs_done <= 25);
    assert_shares_are_of_experts(&r);
    train_result_done(&r);
    toy_rows_done(&t);
}

/* Equal loads under dropout are not equal loads without it: seen by the bound on the shares. */
static void test_run_evens_the_experts_out_without_dropout(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result r;
    toy_rows_init(&t, 7, 150, 40, COLUMNS);
    toy_conf(&c);
    c.shape.experts = 16;
    c.epochs = 12;
    c.dropout = 0.6F;
    c.input_dropout = 0.4F;
    c.learning_rate = 1e-2F;
    train(&c, &t.rows, &r);
    for (uint32_t i = 0; i < r.shape.layers; i++) {
        assert_true(r.share_low[i] > 0.25);
        assert_true(r.share_high[i] < 4);
    }
    train_result_done(&r);
    toy_rows_done(&t);
}

static void test_run_gives_the_same_bytes_for_any_threads(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result one;
    toy_rows_init(&t, 2, 60, 30, COLUMNS);
    toy_conf(&c);
    train(&c, &t.rows, &one);
    for (uint32_t threads = 2; threads <= 3; threads++) {
        struct train_result more;
        c.threads = threads;
        train(&c, &t.rows, &more);
        assert_same_result(&one, &more);
        train_result_done(&more);
    }
    train_result_done(&one);
    toy_rows_done(&t);
}

static void test_run_differs_by_seed(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result a;
    struct train_result b;
    toy_rows_init(&t, 3, 60, 30, COLUMNS);
    toy_conf(&c);
    train(&c, &t.rows, &a);
    c.seed = 2;
    train(&c, &t.rows, &b);
    assert_true(a.rows_hash == b.rows_hash);
    assert_memory_not_equal(a.params, b.params, total_of(&a.shape) * sizeof *a.params);
    train_result_done(&a);
    train_result_done(&b);
    toy_rows_done(&t);
}

static void test_run_keeps_held_out_rows_out_of_the_first_fit(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result before;
    struct train_result after;
    toy_rows_init(&t, 4, 60, 30, COLUMNS);
    toy_conf(&c);
    c.final_fit = false;
    c.epochs = 1;
    train(&c, &t.rows, &before);
    for (size_t i = 0; i < t.rows.n; i++) {
        if (t.event_us[i] >= c.holdout_from_us) {
            t.label[i] = !t.label[i];
            t.x[i * COLUMNS + 1] += 100;
        }
    }
    train(&c, &t.rows, &after);
    assert_memory_equal(before.params, after.params, total_of(&before.shape) * sizeof(float));
    assert_memory_equal(before.encoding.mean, after.encoding.mean, COLUMNS * sizeof(float));
    assert_memory_equal(before.encoding.first_row, after.encoding.first_row,
                        (COLUMNS + 1) * sizeof(uint32_t));
    assert_false(before.rows_hash == after.rows_hash);
    assert_memory_not_equal(before.calibration, after.calibration, sizeof before.calibration);
    train_result_done(&before);
    train_result_done(&after);
    toy_rows_done(&t);
}

/* Its opinion counts, and the labels' share with it. */
static void test_run_learns_from_a_teacher(void **state)
{
    (void)state;
    const float share[] = {0, 0.3F, 0.7F};
    struct toy_rows t;
    struct train_conf c;
    struct train_result r[3];
    toy_rows_init(&t, 6, 60, 30, COLUMNS);
    toy_conf(&c);
    for (int i = 0; i < 3; i++) {
        c.distillation = share[i];
        train(&c, &t.rows, &r[i]);
    }
    size_t bytes = total_of(&r[0].shape) * sizeof(float);
    assert_memory_not_equal(r[0].params, r[1].params, bytes);
    assert_memory_not_equal(r[1].params, r[2].params, bytes);
    c.distillation = 0; /* then its settings mean nothing */
    c.teacher_trees = 9;
    struct train_result again;
    train(&c, &t.rows, &again);
    assert_same_result(&again, &r[0]);
    train_result_done(&again);
    for (int i = 0; i < 3; i++) {
        train_result_done(&r[i]);
    }
    toy_rows_done(&t);
}

static void test_run_fits_all_rows_in_the_end(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result part;
    struct train_result whole;
    toy_rows_init(&t, 5, 60, 30, COLUMNS);
    toy_conf(&c);
    c.final_fit = false;
    train(&c, &t.rows, &part);
    c.final_fit = true;
    train(&c, &t.rows, &whole);
    assert_true(whole.rows_fit == 60 * 28); /* two of each card's rows have no weight */
    assert_true(part.rows_fit < whole.rows_fit);
    assert_true(part.frauds_fit < whole.frauds_fit);
    assert_memory_equal(part.calibration, whole.calibration, sizeof part.calibration);
    assert_memory_not_equal(part.encoding.mean, whole.encoding.mean, sizeof(float));
    assert_false(part.encoding.inv_sd[COLUMNS - 1] > 0); /* the constant column */
    assert_true(part.encoding.inv_sd[0] > 0);
    train_result_done(&part);
    train_result_done(&whole);
    toy_rows_done(&t);
}

static void test_run_without_held_out_fraud_is_the_identity(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result r;
    toy_rows_init(&t, 6, 40, 30, COLUMNS);
    toy_conf(&c);
    c.holdout_from_us = TOY_DAYS * TOY_DAY_US * 2;
    train(&c, &t.rows, &r);
    assert_true(isnan(r.holdout_ap) && isnan(r.holdout_auc) && isnan(r.holdout_brier));
    const double identity[3] = {1, 1, 0};
    assert_memory_equal(r.calibration, identity, sizeof identity);
    assert_int_equal(r.epochs_done, c.epochs);
    train_result_done(&r);
    toy_rows_done(&t);
}

static void test_run_refuses_bad_rows(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result r;
    struct errmsg e;
    toy_rows_init(&t, 7, 20, 30, COLUMNS);
    toy_conf(&c);
    memset(&r, 0x5a, sizeof r);
    struct train_result untouched = r;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        float kept = t.x[17 * COLUMNS + 2];
        t.x[17 * COLUMNS + 2] = bad[i];
        assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_NUMERIC);
        assert_non_null(strstr(e.text, "row 17, column 2"));
        t.x[17 * COLUMNS + 2] = kept;
    }
    t.weight[5] = -1;
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "row 5"));
    t.weight[5] = NAN;
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_NUMERIC);
    t.weight[5] = 1;
    t.label[9] = 2;
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "row 9: label 2"));
    t.label[9] = 0;
    int64_t at = t.event_us[31];
    t.event_us[31] = t.event_us[30] - 1; /* rows 30, 31 are of card 1 */
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "row 31"));
    t.event_us[31] = at;
    memset(t.label, 0, t.rows.n);
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "0 frauds"));
    memset(t.label, 1, t.rows.n);
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_INVALID);
    t.rows.n = 0;
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_INVALID);
    assert_memory_equal(&r, &untouched, sizeof r);
    toy_rows_done(&t);
}

static void test_run_names_the_bad_setting(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf good;
    struct train_result r;
    struct errmsg e;
    toy_rows_init(&t, 8, 4, 4, COLUMNS);
    toy_conf(&good);
    struct train_conf c = good;
    c.shards = 0;
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "shards"));
    c = good;
    c.dropout = NAN;
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "dropout"));
    c = good;
    c.threads = 0;
    assert_int_equal(train_run(&c, &t.rows, NULL, NULL, &r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "threads"));
    toy_rows_done(&t);
}

struct seen {
    uint64_t calls, stop_at;
    int stages; /* of them so far */
    struct train_progress last;
};

static int on_progress(void *ctx, const struct train_progress *p)
{
    struct seen *s = ctx;
    assert_true(p->step == s->calls + 1);
    assert_true(p->step <= p->steps);
    assert_true(p->epoch >= 1 && p->epoch <= p->epochs);
    assert_true(isfinite(p->loss) || p->stage == TRAIN_TEACHER);
    s->stages += s->calls == 0 || p->stage != s->last.stage;
    s->last = *p;
    return ++s->calls == s->stop_at;
}

static void test_run_shows_progress_and_stops_when_asked(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result r;
    struct errmsg e;
    struct seen s = {.stop_at = 0};
    toy_rows_init(&t, 9, 40, 30, COLUMNS);
    toy_conf(&c);
    assert_int_equal(train_run(&c, &t.rows, on_progress, &s, &r, &e), ERR_OK);
    train_result_done(&r);
    assert_int_equal(s.last.stage, TRAIN_ALL_ROWS);
    assert_true(s.last.step == s.last.steps);
    assert_int_equal(s.stages, 4); /* each of two fits has its teacher */
    assert_true(s.last.events > 2 * t.rows.n);
    assert_true(s.last.holdout_ap > 0);
    s = (struct seen){.stop_at = 3};
    assert_int_equal(train_run(&c, &t.rows, on_progress, &s, &r, &e), ERR_REFUSED);
    assert_int_equal(s.calls, 3);
    toy_rows_done(&t);
}

static void test_run_ends_epochs_when_asked(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result whole;
    struct train_result r;
    struct errmsg e;
    struct seen s = {.stop_at = 0};
    toy_rows_init(&t, 9, 40, 30, COLUMNS);
    toy_conf(&c);
    c.batch = 4;
    c.epochs = 3;
    c.final_fit = false;
    c.distillation = 0;
    train(&c, &t.rows, &whole);
    c.epoch_steps = 1U << 20; /* more than there are */
    train(&c, &t.rows, &r);
    assert_memory_equal(&r.holdout_ap, &whole.holdout_ap, sizeof r.holdout_ap);
    train_result_done(&r);
    c.epoch_steps = 2;
    assert_int_equal(train_run(&c, &t.rows, on_progress, &s, &r, &e), ERR_OK);
    assert_int_equal(s.last.steps, 6);
    assert_int_equal(s.calls, s.last.epoch * 2);
    assert_true(s.last.events < 3 * t.rows.n);
    assert_true(r.rows_fit == whole.rows_fit); /* bins and constants come from all of them */
    train_result_done(&r);
    train_result_done(&whole);
    toy_rows_done(&t);
}

/* What train_run measured on the held-out rows comes out of train_forward again. */
static void test_forward_agrees_with_the_held_out_measures(void **state)
{
    (void)state;
    struct toy_rows t;
    struct train_conf c;
    struct train_result r;
    struct errmsg e;
    toy_rows_init(&t, 10, 60, 30, COLUMNS);
    toy_conf(&c);
    c.final_fit = false;
    train(&c, &t.rows, &r);
    float *logit = calloc(t.rows.n, sizeof *logit);
    float *other = calloc(t.rows.n, sizeof *other);
    assert_int_equal(train_forward(&r, &t.rows, 1, logit, &e), ERR_OK);
    assert_int_equal(train_forward(&r, &t.rows, 3, other, &e), ERR_OK);
    assert_memory_equal(logit, other, t.rows.n * sizeof *logit);
    for (size_t i = 0; i < t.rows.n; i++) {
        t.weight[i] = t.event_us[i] >= c.holdout_from_us ? t.weight[i] : 0;
    }
    double auc;
    double ap;
    assert_int_equal(metrics_rank(logit, t.label, t.weight, t.rows.n, &auc, &ap, &e), ERR_OK);
    /* other pieces, so other matrix sizes and other last digits: a few ranks may swap */
    assert_true(fabs(auc - r.holdout_auc) < 1e-3);
    assert_true(fabs(ap - r.holdout_ap) < 1e-2);
    t.rows.columns = COLUMNS - 1;
    assert_int_equal(train_forward(&r, &t.rows, 1, logit, &e), ERR_MISMATCH);
    free(logit);
    free(other);
    train_result_done(&r);
    toy_rows_done(&t);
}

/* The documented rule, and that 0 takes it: toy rows are few. */
static void test_epochs_fall_with_the_rows(void **state)
{
    (void)state;
    assert_int_equal(train_epochs(0), 10);
    assert_int_equal(train_epochs(300000), 10);
    assert_int_equal(train_epochs(500000), 8);
    assert_int_equal(train_epochs(800000), 5);
    assert_int_equal(train_epochs(UINT64_C(1) << 40), 5);
    struct toy_rows t;
    struct train_conf c;
    struct train_result by_rule;
    struct train_result ten;
    toy_rows_init(&t, 2, 60, 30, COLUMNS);
    toy_conf(&c);
    c.epochs = 0;
    train(&c, &t.rows, &by_rule);
    c.epochs = 10;
    train(&c, &t.rows, &ten);
    assert_same_result(&by_rule, &ten);
    train_result_done(&ten);
    train_result_done(&by_rule);
    toy_rows_done(&t);
}

static void test_an_unknown_processor_is_no_prescott(void **state)
{
    (void)state;
    assert_string_equal(train_blas_better("Prescott", true, true), "SkylakeX");
    assert_string_equal(train_blas_better("Prescott", true, false), "Haswell");
    assert_null(train_blas_better("Prescott", false, false)); /* it may well be one */
    assert_null(train_blas_better("Cooperlake", true, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unknown_processor_is_no_prescott),
        cmocka_unit_test(test_run_learns_thresholds_and_order),
        cmocka_unit_test(test_epochs_fall_with_the_rows),
        cmocka_unit_test(test_run_evens_the_experts_out_without_dropout),
        cmocka_unit_test(test_run_gives_the_same_bytes_for_any_threads),
        cmocka_unit_test(test_run_differs_by_seed),
        cmocka_unit_test(test_run_keeps_held_out_rows_out_of_the_first_fit),
        cmocka_unit_test(test_run_learns_from_a_teacher),
        cmocka_unit_test(test_run_fits_all_rows_in_the_end),
        cmocka_unit_test(test_run_without_held_out_fraud_is_the_identity),
        cmocka_unit_test(test_run_refuses_bad_rows),
        cmocka_unit_test(test_run_names_the_bad_setting),
        cmocka_unit_test(test_run_shows_progress_and_stops_when_asked),
        cmocka_unit_test(test_run_ends_epochs_when_asked),
        cmocka_unit_test(test_forward_agrees_with_the_held_out_measures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
