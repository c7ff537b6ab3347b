/* Calibration measures: groups against rows laid out one by one, the line against the equations
 * that define it. */
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
#include "model/reliability.h"

#define ROWS 4000

struct sample {
    float p[ROWS]; /* descending */
    float logit[ROWS];
    uint8_t label[ROWS];
    float weight[ROWS];
};

static int down(const void *a, const void *b)
{
    const float *x = a;
    const float *y = b;
    return *x > *y ? -1 : *x < *y;
}

/* Frauds come by shift + slope * logit. */
static void draw(struct sample *s, uint64_t seed, double shift, double slope)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < ROWS; i++) {
        s->p[i] = (float)(1 / (1 + exp(3 - 2 * rng_normal(&rng))));
    }
    qsort(s->p, ROWS, sizeof *s->p, down);
    for (size_t i = 0; i < ROWS; i++) {
        s->logit[i] = reliability_logit(s->p[i]);
        double z = shift + slope * (double)s->logit[i];
        s->label[i] = rng_uniform(&rng) < 1 / (1 + exp(-z));
        s->weight[i] = (float)rng_below(&rng, 4);
    }
}

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) {
        fail_msg("%.17g and %.17g differ by more than %g", a, b, tolerance);
    }
}

/* Every unit of weight cut in `count` pieces, so that each group takes whole pieces. */
static void plain_groups(const struct sample *s, const float *weight, size_t n, size_t count,
                         struct reliability_group *out)
{
    size_t pieces = 0;
    for (size_t i = 0; i < n; i++) {
        pieces += (weight == NULL ? 1 : (size_t)weight[i]) * count;
    }
    memset(out, 0, count * sizeof *out);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t mine = (weight == NULL ? 1 : (size_t)weight[i]) * count;
        for (size_t k = 0; k < mine; k++, at++) {
            struct reliability_group *g = &out[at / (pieces / count)];
            g->weight += 1.0 / (double)count;
            g->expected += (double)s->p[i] / (double)count;
            g->seen += s->label[i] ? 1.0 / (double)count : 0;
        }
    }
}

static void test_groups_agree_with_single_pieces(void **state)
{
    (void)state;
    static struct sample s;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        draw(&s, seed, 0, 1);
        const float *const weights[] = {NULL, s.weight};
        for (size_t w = 0; w < 2; w++) {
            for (size_t count = 1; count <= 13; count += 3) {
                for (size_t n = 1; n < ROWS; n = n * 5 + 2) {
                    struct reliability_group got[13];
                    struct reliability_group want[13];
                    reliability_groups(s.p, s.label, weights[w], n, RELIABILITY_PAYMENTS, count,
                                       got);
                    plain_groups(&s, weights[w], n, count, want);
                    for (size_t g = 0; g < count; g++) {
                        /* sums of some thousand terms of size 1 */
                        assert_near(got[g].weight, want[g].weight, 1e-8);
                        assert_near(got[g].expected, want[g].expected, 1e-8);
                        assert_near(got[g].seen, want[g].seen, 1e-8);
                    }
                }
            }
        }
    }
}

static void test_groups_by_expected_expect_the_same(void **state)
{
    (void)state;
    static struct sample s;
    struct reliability_group g[20];
    double expected = 0;
    double weight = 0;
    double seen = 0;
    draw(&s, 3, 0, 1);
    reliability_groups(s.p, s.label, NULL, ROWS, RELIABILITY_EXPECTED, 20, g);
    for (size_t i = 0; i < 20; i++) {
        assert_near(g[i].expected, g[0].expected, 1e-8);
        expected += g[i].expected;
        weight += g[i].weight;
        seen += g[i].seen;
    }
    double sum = 0;
    double frauds = 0;
    for (size_t i = 0; i < ROWS; i++) {
        sum += (double)s.p[i];
        frauds += s.label[i];
    }
    assert_near(expected, sum, 1e-8);
    assert_near(weight, ROWS, 1e-8);
    assert_near(seen, frauds, 1e-8);
    assert_true(g[0].weight < g[19].weight / 10); /* few payments hold the first twentieth */
}

static void test_error_of_known_cases(void **state)
{
    (void)state;
    const float half[] = {0.5F, 0.5F, 0.5F, 0.5F};
    const uint8_t right[] = {1, 0, 0, 1};
    const uint8_t wrong[] = {1, 1, 1, 1};
    const float zero[] = {0, 0, 0, 0};
    struct reliability_group g[2];
    reliability_groups(half, right, NULL, 4, RELIABILITY_PAYMENTS, 2, g);
    assert_near(reliability_error(g, 2), 0, 1e-15);
    reliability_groups(half, wrong, NULL, 4, RELIABILITY_PAYMENTS, 2, g);
    assert_near(reliability_error(g, 2), 0.5, 1e-15);
    reliability_groups(half, wrong, zero, 4, RELIABILITY_PAYMENTS, 2, g);
    assert_true(isnan(reliability_error(g, 2)));
    reliability_groups(half, wrong, NULL, 0, RELIABILITY_PAYMENTS, 2, g);
    assert_true(isnan(reliability_error(g, 2)));
    reliability_groups(zero, wrong, NULL, 4, RELIABILITY_EXPECTED, 2, g);
    assert_near(g[0].weight + g[1].weight, 4, 1e-12);
}

static void test_logit_is_finite_and_rises(void **state)
{
    (void)state;
    assert_near((double)reliability_logit(0.5F), 0, 1e-7);
    assert_near((double)reliability_logit(0.1F), -2.1972246, 1e-6);
    assert_near((double)reliability_logit(0), log(1e-9), 1e-5);
    assert_true(reliability_logit(1) > 16 && reliability_logit(1) < 17);
    assert_true(reliability_logit(0.99999994F) <= reliability_logit(1));
    assert_true(reliability_logit(0.2F) < reliability_logit(0.2000001F));
}

static void test_line_solves_its_equations(void **state)
{
    (void)state;
    static struct sample s;
    static const double TRUE_LINE[][2] = {{0, 1}, {1, 0.5}, {-2, 2}, {0.3, -0.4}, {4, 1}};
    for (size_t k = 0; k < sizeof TRUE_LINE / sizeof *TRUE_LINE; k++) {
        draw(&s, k + 1, TRUE_LINE[k][0], TRUE_LINE[k][1]);
        const float *const weights[] = {NULL, s.weight};
        for (size_t w = 0; w < 2; w++) {
            double at[2] = {0, 1};
            double again[2] = {TRUE_LINE[k][0], TRUE_LINE[k][1]};
            double shift = 0;
            double slope = 0;
            assert_true(reliability_line(s.logit, s.label, weights[w], ROWS, at));
            assert_true(reliability_line(s.logit, s.label, weights[w], ROWS, again));
            for (size_t i = 0; i < ROWS; i++) {
                double q = 1 / (1 + exp(-(at[0] + at[1] * (double)s.logit[i])));
                double miss = (w == 0 ? 1 : (double)s.weight[i]) * (s.label[i] - q);
                shift += miss;
                slope += miss * (double)s.logit[i];
            }
            /* rows' errors of 1e-6 of q <= 1, in both directions */
            assert_near(shift, 0, 0.01);
            assert_near(slope, 0, 0.05);
            assert_near(at[0], again[0], 1e-5); /* wherever it starts */
            assert_near(at[1], again[1], 1e-5);
            if (w == 0) { /* four standard errors of 4,000 rows */
                assert_near(at[1], TRUE_LINE[k][1], 0.35);
            }
        }
    }
}

static void test_line_that_is_not_there(void **state)
{
    (void)state;
    const float logit[] = {-3, -2, 1, 2};
    const float flat[] = {-1, -1, -1, -1};
    const uint8_t parted[] = {0, 0, 1, 1};
    const uint8_t none[] = {0, 0, 0, 0};
    const uint8_t all[] = {1, 1, 1, 1};
    const float some[] = {1, 1, 0, 0};
    double at[2] = {0.25, 0.75};
    assert_false(reliability_line(logit, parted, NULL, 4, at));
    assert_false(reliability_line(logit, none, NULL, 4, at));
    assert_false(reliability_line(logit, all, NULL, 4, at));
    assert_false(reliability_line(logit, parted, some, 4, at));
    assert_false(reliability_line(flat, parted, NULL, 4, at));
    assert_false(reliability_line(logit, parted, NULL, 0, at));
    assert_near(at[0], 0.25, 0);
    assert_near(at[1], 0.75, 0);
    const uint8_t mixed[] = {0, 1, 0, 1};
    assert_true(reliability_line(logit, mixed, NULL, 4, at));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_agree_with_single_pieces),
        cmocka_unit_test(test_groups_by_expected_expect_the_same),
        cmocka_unit_test(test_error_of_known_cases),
        cmocka_unit_test(test_logit_is_finite_and_rises),
        cmocka_unit_test(test_line_solves_its_equations),
        cmocka_unit_test(test_line_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
