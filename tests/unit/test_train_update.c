/* An update of a network: it repeats, keeps or splits bins, leaves what is sealed, learns the news,
 * is held back by decay and consolidation, and lets the Fisher information decay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/bins.h"
#include "model/train.h"
#include "model/train_finer.h"
#include "model/train_fisher.h"
#include "model/train_update.h"
#include "tests/support/edges.h"
#include "tests/support/toy_rows.h"

#define COLUMNS 6
#define CARDS 150
#define PER_CARD 30
#define LEARNT_DAY 20
#define SEALED_DAY 30

static struct toy_rows toy;
static struct train_result base;
static float *judge;
static size_t total;

static int begin(void **state)
{
    (void)state;
    struct train_conf c;
    struct net_layout l;
    struct errmsg e = {""};
    toy_rows_init(&toy, 5, CARDS, PER_CARD, COLUMNS);
    toy_conf(&c);
    c.holdout_from_us = LEARNT_DAY * TOY_DAY_US;
    c.final_fit = false;
    judge = calloc(toy.rows.n, sizeof *judge);
    for (size_t i = 0; judge != NULL && i < toy.rows.n; i++) {
        judge[i] = toy.event_us[i] >= SEALED_DAY * TOY_DAY_US && toy.card[i] % 2 == 0 ? 1 : 0;
    }
    if (judge == NULL || train_run(&c, &toy.rows, NULL, NULL, &base, &e) != ERR_OK ||
        net_layout_init(&l, &base.shape, &e) != ERR_OK) {
        return -1;
    }
    total = l.total;
    return 0;
}

static int end(void **state)
{
    (void)state;
    train_result_done(&base);
    toy_rows_done(&toy);
    free(judge);
    return 0;
}

static void update_conf(struct train_conf *c, struct train_update *u)
{
    toy_conf(c);
    c->holdout_from_us = SEALED_DAY * TOY_DAY_US;
    c->learning_rate = 1e-3F;
    *u = (struct train_update){.conf = c,
                               .from = &base,
                               .judge = judge,
                               .new_from_us = LEARNT_DAY * TOY_DAY_US,
                               .young_from_us = LEARNT_DAY * TOY_DAY_US,
                               .consolidation = 1,
                               .decay = 0.05F,
                               .fisher_stays = 0.9F};
}

static void run(const struct train_update *u, struct train_result *out)
{
    struct errmsg e = {""};
    enum err err = train_update_run(u, &toy.rows, NULL, NULL, out, &e);
    assert_string_equal(e.text, "");
    assert_int_equal(err, ERR_OK);
}

static void test_update_gives_the_same_bytes_for_any_threads(void **state)
{
    (void)state;
    struct train_result first;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        struct train_conf c;
        struct train_update u;
        struct train_result r;
        update_conf(&c, &u);
        c.threads = threads;
        run(&u, threads == 1 ? &first : &r);
        if (threads == 1) {
            assert_true(memcmp(first.params, base.params, total * sizeof(float)) != 0);
            continue;
        }
        assert_memory_equal(r.params, first.params, total * sizeof(float));
        assert_memory_equal(r.raw_params, first.raw_params, total * sizeof(float));
        assert_memory_equal(r.fisher, first.fisher, total * sizeof(float));
        assert_memory_equal(r.calibration, first.calibration, sizeof r.calibration);
        assert_memory_equal(&r.fisher_rows, &first.fisher_rows, sizeof r.fisher_rows);
        assert_true(r.rows_hash == first.rows_hash);
        train_result_done(&r);
    }
    train_result_done(&first);
}

static void test_update_leaves_bins_and_constants(void **state)
{
    (void)state;
    struct train_conf c;
    struct train_update u;
    struct train_result r;
    update_conf(&c, &u);
    run(&u, &r);
    const struct net_encoding *a = &r.encoding;
    const struct net_encoding *b = &base.encoding;
    assert_int_equal(a->columns, b->columns);
    assert_memory_equal(a->mean, b->mean, COLUMNS * sizeof *a->mean);
    assert_memory_equal(a->inv_sd, b->inv_sd, COLUMNS * sizeof *a->inv_sd);
    assert_memory_equal(a->first_row, b->first_row, (COLUMNS + 1) * sizeof *a->first_row);
    assert_memory_equal(a->edges, b->edges, (b->first_row[COLUMNS] - COLUMNS) * sizeof *a->edges);
    assert_true(base.learnt_until_us <= LEARNT_DAY * TOY_DAY_US);
    assert_true(r.learnt_until_us == SEALED_DAY * TOY_DAY_US);
    train_result_done(&r);
}

/* A pattern that begins with the news, or its end: columns[3] above 4 is fraud. */
static void switch_pattern(void)
{
    for (size_t i = 0; i < toy.rows.n; i++) {
        if (toy.event_us[i] >= LEARNT_DAY * TOY_DAY_US && toy.x[i * COLUMNS + 3] > 4) {
            toy.label[i] ^= 1;
        }
    }
}

/* Edges and constants of before are there still, and more edges; a network of the finer bins scores
 * every row as before. */
static void test_update_splits_bins_of_the_same_network(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct pool *pool = NULL;
    struct net_encoding enc;
    struct train_result fine;
    size_t n = toy.rows.n;
    float *before = malloc(n * sizeof *before);
    float *after = malloc(n * sizeof *after);
    assert_true(before != NULL && after != NULL);
    assert_int_equal(pool_create(2, &pool, &e), ERR_OK);
    switch_pattern();
    assert_int_equal(
        bins_finer(&toy.rows, SEALED_DAY * TOY_DAY_US, &base.encoding, 1, pool, &enc, &e), ERR_OK);
    switch_pattern();
    uint32_t bins = enc.first_row[COLUMNS];
    assert_true(bins > base.shape.bins);
    assert_edges_kept(&base.encoding, &enc);
    assert_int_equal(finer_of(&base, &enc, &fine, &e), ERR_OK);
    assert_true(fine.shape.bins == bins && enc.edges == NULL);
    assert_int_equal(train_forward(&base, &toy.rows, 1, before, &e), ERR_OK);
    assert_int_equal(train_forward(&fine, &toy.rows, 1, after, &e), ERR_OK);
    assert_memory_equal(before, after, n * sizeof *before);
    train_result_done(&fine);
    pool_free(pool);
    free(before);
    free(after);
}

/* The whole of an update with split bins: as many threads, as many bytes. */
static void test_update_with_split_bins_repeats(void **state)
{
    (void)state;
    struct train_result r[2];
    switch_pattern();
    for (uint32_t i = 0; i < 2; i++) {
        struct train_conf c;
        struct train_update u;
        update_conf(&c, &u);
        c.threads = 1 + 2 * i;
        u.finer = true;
        run(&u, &r[i]);
    }
    switch_pattern();
    assert_true(r[0].shape.bins > base.shape.bins && r[0].shape.bins == r[1].shape.bins);
    size_t most = total + (size_t)(r[0].shape.bins - base.shape.bins) * r[0].shape.width;
    assert_memory_equal(r[0].params, r[1].params, most * sizeof(float));
    assert_memory_equal(r[0].fisher, r[1].fisher, most * sizeof(float));
    train_result_done(&r[0]);
    train_result_done(&r[1]);
}

/* Sealed payments of cards that do not judge: whatever they are, nothing of the result changes. */
static void test_update_never_sees_the_gate(void **state)
{
    (void)state;
    struct train_conf c;
    struct train_update u;
    struct train_result r;
    struct train_result other;
    size_t changed = 0;
    update_conf(&c, &u);
    run(&u, &r);
    for (size_t i = 0; i < toy.rows.n; i++) {
        if (toy.event_us[i] >= SEALED_DAY * TOY_DAY_US && toy.card[i] % 2 != 0) {
            toy.label[i] ^= 1;
            toy.x[i * COLUMNS + 1] += 2;
            changed++;
        }
    }
    run(&u, &other);
    for (size_t i = 0; i < toy.rows.n; i++) {
        if (toy.event_us[i] >= SEALED_DAY * TOY_DAY_US && toy.card[i] % 2 != 0) {
            toy.label[i] ^= 1;
            toy.x[i * COLUMNS + 1] -= 2;
        }
    }
    assert_true(changed > 100);
    assert_memory_equal(r.params, other.params, total * sizeof(float));
    assert_memory_equal(r.balance, other.balance,
                        (size_t)r.shape.layers * r.shape.experts * sizeof(float));
    assert_memory_equal(r.fisher, other.fisher, total * sizeof(float));
    assert_memory_equal(r.calibration, other.calibration, sizeof r.calibration);
    train_result_done(&r);
    train_result_done(&other);
}

/* How far the weights moved, in units that `scale` (NULL: ones) gives. */
static double moved(const struct train_result *r, const float *scale)
{
    double sum = 0;
    for (size_t i = 0; i < total; i++) {
        double d = (double)r->raw_params[i] - (double)base.params[i];
        sum += d * d * (scale != NULL ? (double)scale[i] : 1);
    }
    return sum;
}

static double moved_with(float consolidation, float decay, const float *scale)
{
    struct train_conf c;
    struct train_update u;
    struct train_result r;
    update_conf(&c, &u);
    u.consolidation = consolidation;
    u.decay = decay;
    run(&u, &r);
    double far = r.epochs_done > 0 ? moved(&r, scale) : -1;
    train_result_done(&r);
    return far;
}

/* The served network's opinion takes the place of older labels, and of these alone: where none is
 * young, trees, which learn from all labels, teach nothing. */
static void test_older_rows_teach_what_the_served_network_makes_of_them(void **state)
{
    (void)state;
    struct train_conf c;
    struct train_update u;
    struct train_result r[4];
    update_conf(&c, &u);
    u.young_from_us = SEALED_DAY * TOY_DAY_US;
    for (int i = 0; i < 4; i++) {
        c.distillation = i < 2 ? 1 : 0;
        run(&u, &r[i]);
        for (size_t k = 0; k < toy.rows.n; k++) {
            if (toy.event_us[k] < u.new_from_us) {
                toy.label[k] = !toy.label[k];
            }
        }
    }
    assert_memory_equal(r[0].params, r[1].params, total * sizeof(float));
    assert_memory_not_equal(r[0].params, base.params, total * sizeof(float));
    assert_memory_not_equal(r[2].params, r[3].params, total * sizeof(float));
    assert_memory_not_equal(r[0].params, r[2].params, total * sizeof(float));
    for (int i = 0; i < 4; i++) {
        train_result_done(&r[i]);
    }
}

/* From where on rows are young says who teaches them. */
static void test_trees_teach_the_young(void **state)
{
    (void)state;
    struct train_result r[3];
    for (int i = 0; i < 3; i++) {
        struct train_conf c;
        struct train_update u;
        update_conf(&c, &u);
        c.distillation = 1;
        u.young_from_us = (i == 1 ? 0 : LEARNT_DAY) * TOY_DAY_US;
        c.teacher_trees = i == 2 ? 1 : c.teacher_trees;
        run(&u, &r[i]);
    }
    assert_memory_not_equal(r[0].params, r[1].params, total * sizeof(float));
    assert_memory_not_equal(r[0].params, r[2].params, total * sizeof(float));
    for (int i = 0; i < 3; i++) {
        train_result_done(&r[i]);
    }
}

static void test_decay_and_consolidation_hold_the_weights(void **state)
{
    (void)state;
    double free_run = moved_with(0, 0, base.fisher);
    double held = moved_with(1000, 0, base.fisher);
    assert_true(free_run > 0 && held > 0);
    assert_true(held < 0.5 * free_run); /* what matters to the old rows moves less */
    assert_true(moved_with(0, 50, NULL) < 0.9 * moved_with(0, 0, NULL));
}

static void test_fisher_information_decays(void **state)
{
    (void)state;
    struct train_conf c;
    struct train_update u;
    struct train_result kept;
    struct train_result fresh;
    update_conf(&c, &u);
    u.fisher_stays = 0.5F;
    run(&u, &kept);
    u.fisher_stays = 0;
    run(&u, &fresh);
    assert_memory_equal(kept.params, fresh.params, total * sizeof(float));
    assert_true(fabs(kept.fisher_rows - 0.5 * base.fisher_rows - fresh.fisher_rows) < 1e-6);
    for (size_t i = 0; i < total; i++) {
        double want = 0.5 * (double)base.fisher[i] + (double)fresh.fisher[i];
        /* sums of some hundred floats in another order */
        assert_true(fabs((double)kept.fisher[i] - want) <= 1e-4 * want + 1e-12);
    }
    train_result_done(&kept);
    train_result_done(&fresh);
}

/* The head's bias adds to every logit, so its information is known: the sum of p (1 - p). */
static void test_fisher_of_the_bias_is_the_variance_of_the_labels(void **state)
{
    (void)state;
    struct net_layout l;
    struct errmsg e;
    float *logit = calloc(toy.rows.n, sizeof *logit);
    double want = 0;
    double rows = 0;
    assert_non_null(logit);
    assert_int_equal(net_layout_init(&l, &base.shape, &e), ERR_OK);
    assert_int_equal(train_forward(&base, &toy.rows, 1, logit, &e), ERR_OK);
    for (size_t i = 0; i < toy.rows.n; i++) {
        if (toy.weight[i] > 0 && toy.event_us[i] < LEARNT_DAY * TOY_DAY_US) {
            double p = 1 / (1 + exp(-(double)logit[i]));
            want += p * (1 - p);
            rows++;
        }
    }
    double have = (double)base.fisher[l.offset[NET_HEAD_B][0]];
    /* one draw of labels for some 300 pieces: a deviation of a tenth */
    assert_true(fabs(have / want - 1) < 0.4);
    assert_true(fabs(base.fisher_rows - rows) < 0.5);
    free(logit);
}

static void assert_refused(const struct train_update *u, enum err want, const char *text)
{
    struct train_result r;
    struct errmsg e = {""};
    assert_int_equal(train_update_run(u, &toy.rows, NULL, NULL, &r, &e), want);
    assert_non_null(strstr(e.text, text));
}

static void test_update_says_what_is_missing(void **state)
{
    (void)state;
    struct train_conf c;
    struct train_update u;
    float *none = calloc(toy.rows.n, sizeof *none);
    assert_non_null(none);
    update_conf(&c, &u);
    u.new_from_us = SEALED_DAY * TOY_DAY_US;
    assert_refused(&u, ERR_INVALID, "nothing new to learn");
    update_conf(&c, &u);
    u.judge = none;
    assert_refused(&u, ERR_INVALID, "to judge an update by");
    update_conf(&c, &u);
    u.fisher_stays = 1.5F;
    assert_refused(&u, ERR_INVALID, "fisher_stays");
    update_conf(&c, &u);
    u.finer = true;
    toy.rows.columns--;
    assert_refused(&u, ERR_MISMATCH, "rows of 5 columns for a network of 6");
    toy.rows.columns++;
    free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_gives_the_same_bytes_for_any_threads),
        cmocka_unit_test(test_update_leaves_bins_and_constants),
        cmocka_unit_test(test_update_splits_bins_of_the_same_network),
        cmocka_unit_test(test_update_with_split_bins_repeats),
        cmocka_unit_test(test_update_never_sees_the_gate),
        cmocka_unit_test(test_older_rows_teach_what_the_served_network_makes_of_them),
        cmocka_unit_test(test_trees_teach_the_young),
        cmocka_unit_test(test_decay_and_consolidation_hold_the_weights),
        cmocka_unit_test(test_fisher_information_decays),
        cmocka_unit_test(test_fisher_of_the_bias_is_the_variance_of_the_labels),
        cmocka_unit_test(test_update_says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
