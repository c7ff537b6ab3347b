/* Constants and bins against plain twins and known splits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/bins.h"

#define MOST 200000

struct table {
    struct train_rows rows;
    float *x;
    int64_t *event_us;
    uint32_t *card;
    uint8_t *label;
    float *weight;
};

static void table_init(struct table *t, size_t n, size_t columns)
{
    t->x = calloc(n * columns, sizeof *t->x);
    t->event_us = calloc(n, sizeof *t->event_us);
    t->card = calloc(n, sizeof *t->card);
    t->label = calloc(n, 1);
    t->weight = calloc(n, sizeof *t->weight);
    for (size_t i = 0; i < n; i++) {
        t->weight[i] = 1;
    }
    t->rows = (struct train_rows){n, columns, t->x, t->event_us, t->card, t->label, t->weight};
}

static void table_done(struct table *t)
{
    free(t->x);
    free(t->event_us);
    free(t->card);
    free(t->label);
    free(t->weight);
}

static enum err fit(const struct table *t, uint32_t leaves, uint32_t quantiles, uint32_t threads,
                    struct net_encoding *out, struct errmsg *e)
{
    struct pool *pool = NULL;
    assert_int_equal(pool_create(threads, &pool, e), ERR_OK);
    enum err rc = bins_fit(&t->rows, 1000, leaves, quantiles, 1, pool, out, e);
    pool_free(pool);
    return rc;
}

static struct net_encoding fitted(const struct table *t, uint32_t leaves, uint32_t quantiles)
{
    struct net_encoding enc;
    struct errmsg e = {""};
    enum err rc = fit(t, leaves, quantiles, 2, &enc, &e);
    assert_string_equal(e.text, "");
    assert_int_equal(rc, ERR_OK);
    return enc;
}

static uint32_t edges_of(const struct net_encoding *enc, uint32_t c, const float **out)
{
    *out = bins_edges(enc, c);
    return bins_edge_count(enc, c);
}

static void test_fit_finds_the_thresholds_that_decide(void **state)
{
    (void)state;
    struct table t;
    table_init(&t, 1000, 2);
    for (size_t i = 0; i < 1000; i++) {
        t.x[2 * i] = (float)(i * 7 % 1000);
        t.x[2 * i + 1] = 5;
        t.label[i] = t.x[2 * i] >= 900 || (t.x[2 * i] >= 100 && t.x[2 * i] < 200);
    }
    struct net_encoding enc = fitted(&t, 16, 0);
    const float *edge;
    assert_int_equal(edges_of(&enc, 0, &edge), 3); /* pure leaves are not split */
    const float wanted[] = {99.5F, 199.5F, 899.5F};
    assert_memory_equal(edge, wanted, sizeof wanted);
    assert_int_equal(edges_of(&enc, 1, &edge), 0); /* constant: one bin */
    assert_int_equal(enc.first_row[2], 5);
    bins_done(&enc);
    table_done(&t);
}

/* The plain twin: best-first growth by trying every threshold of every leaf on the raw rows. */
struct range {
    float low, high; /* rows with low < x <= high */
    float at;
    double gain;
};

static void sums(const struct table *t, float low, float high, double *out_fraud, double *out_all,
                 size_t *out_n)
{
    *out_fraud = *out_all = 0;
    *out_n = 0;
    for (size_t i = 0; i < t->rows.n; i++) {
        if (t->weight[i] > 0 && t->event_us[i] < 1000 && t->x[i] > low && t->x[i] <= high) {
            *out_fraud += t->label[i] ? (double)t->weight[i] : 0;
            *out_all += (double)t->weight[i];
            ++*out_n;
        }
    }
}

static double gini(double fraud, double all)
{
    return all > 0 ? 2 * fraud / all * (1 - fraud / all) * all : 0;
}

/* Pearson's statistic of frauds f of a below, the rest above. */
static double chi_squared(double f, double a, double fraud, double all)
{
    double seen[4] = {f, a - f, fraud - f, all - a - (fraud - f)};
    double side[2] = {a, all - a};
    double kind[2] = {fraud, all - fraud};
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        double expected = side[i / 2] * kind[i % 2] / all;
        sum += expected > 0 ? (seen[i] - expected) * (seen[i] - expected) / expected : 0;
    }
    return sum;
}

static void try_all(const struct table *t, struct range *r)
{
    double fraud;
    double all;
    size_t n;
    sums(t, r->low, r->high, &fraud, &all, &n);
    r->gain = 1e-6;
    r->at = NAN;
    for (size_t i = 0; i < t->rows.n; i++) {
        float v = t->x[i];
        bool in_fit = t->weight[i] > 0 && t->event_us[i] < 1000;
        if (!in_fit || !(v > r->low && v < r->high)) {
            continue;
        }
        double f;
        double a;
        size_t below;
        sums(t, r->low, v, &f, &a, &below);
        double gain = gini(fraud, all) - gini(f, a) - gini(fraud - f, all - a);
        bool better = gain > r->gain + 1e-9 || (isnan(r->at) && gain > r->gain);
        if (below >= BINS_LEAF_ROWS && n - below >= BINS_LEAF_ROWS && better &&
            chi_squared(f, a, fraud, all) > BINS_SPLIT_CHI2) {
            r->gain = gain;
            r->at = v;
        }
    }
}

static size_t plain_tree(const struct table *t, size_t leaves, float *out)
{
    struct range leaf[32] = {{.low = -INFINITY, .high = INFINITY}};
    size_t count = 1;
    try_all(t, &leaf[0]);
    while (count < leaves) {
        size_t best = 0;
        for (size_t i = 1; i < count; i++) {
            if (!isnan(leaf[i].at) && (isnan(leaf[best].at) || leaf[i].gain > leaf[best].gain)) {
                best = i;
            }
        }
        if (isnan(leaf[best].at)) {
            break;
        }
        out[count - 1] = leaf[best].at;
        leaf[count] = (struct range){.low = leaf[best].at, .high = leaf[best].high};
        leaf[best].high = leaf[best].at;
        try_all(t, &leaf[best]);
        try_all(t, &leaf[count++]);
    }
    return count - 1;
}

/* Largest value of the fit at or below an edge: where the twin puts its threshold. */
static float value_below(const struct table *t, float edge)
{
    float most = -INFINITY;
    for (size_t i = 0; i < t->rows.n; i++) {
        bool in_fit = t->weight[i] > 0 && t->event_us[i] < 1000;
        most = in_fit && t->x[i] <= edge && t->x[i] > most ? t->x[i] : most;
    }
    return most;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void test_fit_grows_the_tree_of_the_plain_twin(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct table t;
        struct rng rng;
        rng_init(&rng, seed);
        table_init(&t, 3000, 1);
        for (size_t i = 0; i < 3000; i++) {
            /* ties, negative values and both zeros */
            t.x[i] = (float)rng_below(&rng, 150) - 40.0F;
            t.x[i] *= i % 3 == 0 ? -1.0F : 1.0F;
            double rate = t.x[i] < -60 ? 0.6 : t.x[i] < -20 ? 0.3 : t.x[i] > 60 ? 0.3 : 0.05;
            t.label[i] = rng_uniform(&rng) < rate;
            t.weight[i] = rng_below(&rng, 4) == 0 ? 0 : 0.5F + (float)rng_uniform(&rng);
            t.event_us[i] = rng_below(&rng, 10) == 0 ? 1000 : 999;
        }
        float wanted[32];
        size_t n = plain_tree(&t, 9, wanted);
        qsort(wanted, n, sizeof *wanted, ascending);
        struct net_encoding enc = fitted(&t, 9, 0);
        const float *edge;
        assert_int_equal(edges_of(&enc, 0, &edge), n);
        assert_true(n >= 3);
        for (size_t i = 0; i < n; i++) {
            float below = value_below(&t, edge[i]);
            assert_false(below < wanted[i] || below > wanted[i]);
        }
        bins_done(&enc);
        table_done(&t);
    }
}

static void test_fit_takes_constants_of_its_rows_only(void **state)
{
    (void)state;
    struct table t;
    struct rng rng;
    rng_init(&rng, 9);
    table_init(&t, 500, 20);
    double sum = 0;
    double square = 0;
    double total = 0;
    for (size_t i = 0; i < 500; i++) {
        for (size_t c = 0; c < 20; c++) {
            t.x[i * 20 + c] = 1e4F + (float)rng_normal(&rng);
        }
        t.label[i] = i % 5 == 0;
        t.weight[i] = i % 7 == 0 ? 0 : 1 + (float)(i % 3);
        t.event_us[i] = i % 11 == 0 ? 1000 : (int64_t)i;
        if (t.weight[i] > 0 && t.event_us[i] < 1000) {
            double w = (double)t.weight[i];
            double v = (double)t.x[i * 20 + 17];
            total += w;
            sum += w * v;
            square += w * v * v;
        } else {
            t.x[i * 20 + 17] = 1e6F; /* would move everything */
        }
    }
    struct net_encoding enc = fitted(&t, 4, 2);
    double mean = sum / total;
    double sd = sqrt(square / total - mean * mean);
    assert_true(fabs((double)enc.mean[17] - mean) < 1e-3); /* a float's step at 1e4 */
    assert_true(fabs((double)enc.inv_sd[17] * sd - 1) < 1e-5);
    bins_done(&enc);
    table_done(&t);
}

static void test_fit_puts_quantiles_between_the_splits(void **state)
{
    (void)state;
    struct table t;
    table_init(&t, 1001, 1);
    for (size_t i = 0; i < 1001; i++) {
        t.x[i] = (float)i;
        t.label[i] = i >= 995; /* too few beside a split: no tree edge */
    }
    struct net_encoding enc = fitted(&t, 2, 5);
    const float *edge;
    uint32_t n = edges_of(&enc, 0, &edge);
    const float wanted[] = {100, 300, 500, 700, 900};
    size_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        found += fabsf(edge[i] - wanted[found < 5 ? found : 4]) <= 1;
        assert_true(i == 0 || edge[i] > edge[i - 1]);
    }
    assert_int_equal(found, 5);
    bins_done(&enc);
    table_done(&t);
}

static void assert_same_encoding(const struct net_encoding *a, const struct net_encoding *b)
{
    size_t d = a->columns;
    assert_memory_equal(a->first_row, b->first_row, (d + 1) * sizeof(uint32_t));
    assert_memory_equal(a->edges, b->edges, (a->first_row[d] - d) * sizeof(float));
    assert_memory_equal(a->mean, b->mean, d * sizeof(float));
    assert_memory_equal(a->inv_sd, b->inv_sd, d * sizeof(float));
}

static struct net_encoding finer(const struct table *t, const struct net_encoding *old)
{
    struct pool *pool = NULL;
    struct net_encoding enc;
    struct errmsg e = {""};
    assert_int_equal(pool_create(2, &pool, &e), ERR_OK);
    assert_int_equal(bins_finer(&t->rows, 1000, old, 1, pool, &enc, &e), ERR_OK);
    pool_free(pool);
    return enc;
}

/* A pattern that begins after the bins were made: its threshold becomes an edge, once. */
static void test_finer_bins_have_what_is_new(void **state)
{
    (void)state;
    struct table t;
    struct rng rng;
    rng_init(&rng, 21);
    table_init(&t, 4000, 1);
    for (size_t i = 0; i < t.rows.n; i++) {
        t.x[i] = (float)rng_uniform(&rng);
        t.label[i] = t.x[i] > 0.9F && rng_below(&rng, 4) != 0;
    }
    struct net_encoding coarse = fitted(&t, 1, 3);
    struct net_encoding once = finer(&t, &coarse);
    struct net_encoding twice = finer(&t, &once);
    const float *edge;
    assert_int_equal(edges_of(&coarse, 0, &edge), 3);
    assert_int_equal(edges_of(&once, 0, &edge), 4);
    assert_true(fabsf(edge[3] - 0.9F) < 0.002F);
    assert_memory_equal(edge, coarse.edges, 3 * sizeof *edge);
    assert_memory_equal(once.mean, coarse.mean, sizeof *once.mean);
    assert_memory_equal(once.inv_sd, coarse.inv_sd, sizeof *once.inv_sd);
    assert_same_encoding(&once, &twice);
    bins_done(&coarse);
    bins_done(&once);
    bins_done(&twice);
    table_done(&t);
}

/* However many splits would be worth it. */
static void test_finer_bins_are_bounded(void **state)
{
    (void)state;
    struct table t;
    table_init(&t, 20000, 1);
    for (size_t i = 0; i < t.rows.n; i++) {
        t.x[i] = (float)i;
        t.label[i] = i / 250 % 2 == 0;
    }
    struct net_encoding enc = fitted(&t, 1, 5);
    const float *edge;
    for (uint32_t want = 5; want < BINS_FINER_EDGES_MAX;) {
        struct net_encoding next = finer(&t, &enc);
        want = want + BINS_FINER_MOST < BINS_FINER_EDGES_MAX ? want + BINS_FINER_MOST
                                                             : BINS_FINER_EDGES_MAX;
        assert_int_equal(edges_of(&next, 0, &edge), want);
        bins_done(&enc);
        enc = next;
    }
    struct net_encoding same = finer(&t, &enc);
    assert_same_encoding(&enc, &same);
    bins_done(&enc);
    bins_done(&same);
    table_done(&t);
}

/* More legitimate rows than the trees see: a sample, of the same rows for every thread count. */
static void test_fit_samples_many_rows_repeatably(void **state)
{
    (void)state;
    struct table t;
    struct rng rng;
    rng_init(&rng, 3);
    table_init(&t, MOST, 2);
    for (size_t i = 0; i < MOST; i++) {
        t.x[2 * i] = (float)rng_uniform(&rng);
        t.x[2 * i + 1] = (float)rng_normal(&rng);
        t.label[i] = t.x[2 * i] > 0.75F && rng_below(&rng, 10) == 0;
    }
    struct net_encoding one;
    struct net_encoding three;
    struct errmsg e;
    assert_int_equal(fit(&t, 8, 3, 1, &one, &e), ERR_OK);
    assert_int_equal(fit(&t, 8, 3, 3, &three, &e), ERR_OK);
    assert_same_encoding(&one, &three);
    const float *edge;
    uint32_t n = edges_of(&one, 0, &edge);
    float nearest = 1;
    for (uint32_t i = 0; i < n; i++) {
        nearest = fminf(nearest, fabsf(edge[i] - 0.75F));
    }
    assert_true(nearest < 1e-3F);
    bins_done(&one);
    bins_done(&three);
    table_done(&t);
}

/* More frauds than the trees see: those drawn stand for all of them. */
static void test_fit_weighs_the_frauds_it_draws(void **state)
{
    (void)state;
    const size_t n = (size_t)5 * BINS_FRAUDS_MAX / 2;
    const float threshold = 0.2F; /* above it all are frauds: 2 of every 2.5 */
    struct table t;
    struct rng rng;
    struct net_encoding enc;
    struct errmsg e;
    const float *edge;
    rng_init(&rng, 4);
    table_init(&t, n, 1);
    for (size_t i = 0; i < n; i++) {
        t.x[i] = (float)rng_uniform(&rng);
        t.label[i] = t.x[i] > threshold;
    }
    assert_int_equal(fit(&t, 2, 1, 2, &enc, &e), ERR_OK);
    assert_int_equal(edges_of(&enc, 0, &edge), 2);
    assert_float_equal(edge[0], threshold, 1e-4);
    assert_float_equal(edge[1], 0.5F, 5e-3); /* the median: five deviations of such a sample's */
    bins_done(&enc);
    table_done(&t);
}

static void test_fit_refuses_what_it_cannot_learn_from(void **state)
{
    (void)state;
    struct table t;
    struct net_encoding enc = {.columns = 77};
    struct errmsg e;
    table_init(&t, 100, 3);
    assert_int_equal(fit(&t, 4, 2, 1, &enc, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "0 frauds among 100 rows"));
    memset(t.label, 1, 100);
    assert_int_equal(fit(&t, 4, 2, 1, &enc, &e), ERR_INVALID);
    t.label[3] = 0;
    assert_int_equal(fit(&t, 0, 2, 1, &enc, &e), ERR_INVALID);
    assert_int_equal(fit(&t, 250, 7, 1, &enc, &e), ERR_INVALID);
    t.x[3 * 50 + 2] = NAN;
    assert_int_equal(fit(&t, 4, 2, 1, &enc, &e), ERR_NUMERIC);
    assert_non_null(strstr(e.text, "column 2"));
    t.x[3 * 50 + 2] = INFINITY;
    assert_int_equal(fit(&t, 4, 2, 1, &enc, &e), ERR_NUMERIC);
    assert_int_equal(enc.columns, 77);
    t.x[3 * 50 + 2] = FLT_MAX;
    assert_int_equal(fit(&t, 4, 2, 1, &enc, &e), ERR_OK);
    bins_done(&enc);
    table_done(&t);
}

static void test_find_counts_the_edges_below(void **state)
{
    (void)state;
    float edges[] = {1, 2, 3, -5, 10, 20};
    uint32_t first_row[] = {0, 4, 5, 7, 9};
    float mean[] = {0, 0, 0, 2};
    float inv_sd[] = {1, 1, 1, 0.5F};
    const struct net_encoding enc = {4, mean, inv_sd, first_row, edges};
    struct bins_finder f;
    struct errmsg e;
    assert_int_equal(bins_finder_init(&f, &enc, &e), ERR_OK);
    assert_int_equal(bins_find(&enc, 0, 0.5F), 0);
    assert_int_equal(bins_find(&enc, 0, 1), 0); /* at an edge: below it */
    assert_int_equal(bins_find(&enc, 0, 1.5F), 1);
    assert_int_equal(bins_find(&enc, 0, 1e30F), 3);
    assert_int_equal(bins_find(&enc, 1, 1e30F), 0); /* a single bin */
    assert_int_equal(bins_find(&enc, 2, -5), 0);
    for (int i = -40; i <= 120; i++) {
        float v = (float)i / 4;
        const float x[] = {v, v, v, v};
        uint32_t bin[4];
        bins_find_row(&f, x, bin);
        for (uint32_t c = 0; c < 4; c++) {
            assert_int_equal(bin[c], bins_find(&enc, c, v));
        }
    }
    assert_true(fabsf(bins_standardise(&enc, 3, 6) - 2) < 1e-6F);
    assert_true(fabsf(bins_standardise(&enc, 3, 1e9F) - NET_INPUT_CLIP) < 1e-6F);
    assert_true(fabsf(bins_standardise(&enc, 3, -1e9F) + NET_INPUT_CLIP) < 1e-6F);
    bins_finder_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit_finds_the_thresholds_that_decide),
        cmocka_unit_test(test_fit_grows_the_tree_of_the_plain_twin),
        cmocka_unit_test(test_fit_takes_constants_of_its_rows_only),
        cmocka_unit_test(test_fit_puts_quantiles_between_the_splits),
        cmocka_unit_test(test_finer_bins_have_what_is_new),
        cmocka_unit_test(test_finer_bins_are_bounded),
        cmocka_unit_test(test_fit_samples_many_rows_repeatably),
        cmocka_unit_test(test_fit_weighs_the_frauds_it_draws),
        cmocka_unit_test(test_fit_refuses_what_it_cannot_learn_from),
        cmocka_unit_test(test_find_counts_the_edges_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
