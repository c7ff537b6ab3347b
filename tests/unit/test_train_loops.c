/* Loops that no pass of test_tape.c goes through: the optimiser's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/train_loops.h"

#define N 61 /* three vectors and thirteen floats */

static const struct train_loops *const KINDS[] = {
    &TRAIN_LOOPS_SCALAR,
#if defined(__x86_64__)
    &TRAIN_LOOPS_AVX2,
    &TRAIN_LOOPS_AVX512,
#endif
};
#define KIND_COUNT (sizeof KINDS / sizeof *KINDS)

struct weights {
    float g[N], m[N], v[N], w[N], ema[N];
};

static void weights_init(struct weights *x)
{
    struct rng rng;
    rng_init(&rng, 8);
    for (int i = 0; i < N; i++) {
        x->g[i] = (float)rng_normal(&rng);
        x->m[i] = (float)rng_normal(&rng);
        x->v[i] = fabsf((float)rng_normal(&rng));
        x->w[i] = (float)rng_normal(&rng);
        x->ema[i] = (float)rng_normal(&rng);
    }
}

static const struct adam_rates RATES = {.beta1 = 0.9F,
                                        .beta2 = 0.98F,
                                        .rate = 0.01F,
                                        .root = 1.5F,
                                        .keep = 0.999F,
                                        .stay = 0.95F,
                                        .epsilon = 1e-8F};

static void assert_step(const struct weights *before, const struct weights *after)
{
    const struct adam_rates *r = &RATES;
    for (int i = 0; i < N; i++) {
        double g = (double)before->g[i];
        double m = (double)r->beta1 * (double)before->m[i] + (1 - (double)r->beta1) * g;
        double v = (double)r->beta2 * (double)before->v[i] + (1 - (double)r->beta2) * g * g;
        double w = (double)before->w[i] * (double)r->keep -
                   (double)r->rate * m / (sqrt(v) * (double)r->root + (double)r->epsilon);
        double ema = (double)r->stay * (double)before->ema[i] + (1 - (double)r->stay) * w;
        assert_true(fabs((double)after->m[i] - m) < 1e-6);
        assert_true(fabs((double)after->v[i] - v) < 1e-6);
        assert_true(fabs((double)after->w[i] - w) < 1e-6);
        assert_true(fabs((double)after->ema[i] - ema) < 1e-6);
    }
}

static void test_adam_steps_as_its_formulas_on_every_processor(void **state)
{
    (void)state;
    struct weights first;
    for (size_t k = 0; k < KIND_COUNT; k++) {
        if (!KINDS[k]->usable()) {
            continue;
        }
        struct weights before;
        weights_init(&before);
        struct weights x = before;
        KINDS[k]->adam(&RATES, N, x.g, x.m, x.v, x.w, x.ema);
        assert_step(&before, &x);
        if (k == 0) {
            first = x;
        }
        assert_memory_equal(&x, &first, sizeof x);
    }
}

static void test_squares_are_summed_alike_on_every_processor(void **state)
{
    (void)state;
    struct weights x;
    weights_init(&x);
    for (size_t n = 0; n <= N; n++) {
        double exact = 0;
        for (size_t i = 0; i < n; i++) {
            exact += (double)x.g[i] * (double)x.g[i];
        }
        float first = TRAIN_LOOPS_SCALAR.squares(x.g, n);
        assert_true(fabs((double)first - exact) <= 1e-6 * exact);
        for (size_t k = 1; k < KIND_COUNT; k++) {
            float same = KINDS[k]->usable() ? KINDS[k]->squares(x.g, n) : first;
            assert_memory_equal(&same, &first, sizeof same);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adam_steps_as_its_formulas_on_every_processor),
        cmocka_unit_test(test_squares_are_summed_alike_on_every_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
