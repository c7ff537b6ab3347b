/* The served step: against an FP32 twin, between kernels, whatever the batch and the neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/model_format.h"
#include "tests/support/net_twin.h"

#define DAY_US (INT64_C(86400) * 1000000)
#define BASE_US (INT64_C(17600) * DAY_US)

struct served {
    struct train_result *r;
    struct model *m;
    struct model_work *w;
};

static const char *const KERNELS[] = {"scalar", "avx2", "avx512vnni"};

static struct served serve(const struct net_shape *shape, uint32_t active, uint64_t seed)
{
    struct served s = {.r = twin_random(shape, active, seed)};
    struct model_lineage l = {.data_until_us = BASE_US};
    struct errmsg e = {""};
    uint8_t *bytes = NULL;
    size_t len = 0;
    assert_int_equal(model_pack(s.r, &l, &bytes, &len, &e), ERR_OK);
    assert_int_equal(model_load(bytes, len, &s.m, &e), ERR_OK);
    assert_int_equal(model_work_create(s.m, 100, &s.w, &e), ERR_OK);
    free(bytes);
    return s;
}

static void done(struct served *s)
{
    twin_free(s->r);
    model_work_free(s->w);
    model_free(s->m);
}

static void *cache_create(const struct model *m)
{
    void *c = aligned_alloc(64, model_cache_bytes(m));
    assert_non_null(c);
    memset(c, 0, model_cache_bytes(m));
    return c;
}

static struct net_shape default_shape(void)
{
    struct net_shape s;
    net_shape_default(&s, 128, 0);
    return s;
}

/* Sizes that are not whole vectors, more groups of slots, one of everything. */
static size_t odd_shapes(struct net_shape *out)
{
    const struct net_shape odd[] = {
        {.columns = 37,
         .width = 36,
         .layers = 3,
         .heads = 3,
         .head_dim = 12,
         .rank = 20,
         .rope = 6,
         .experts = 5,
         .top = 3,
         .expert_hidden = 12,
         .shared_hidden = 20,
         .window = 37},
        {.columns = 1,
         .width = 4,
         .layers = 1,
         .heads = 1,
         .head_dim = 4,
         .rank = 4,
         .rope = 2,
         .experts = 1,
         .top = 1,
         .expert_hidden = 4,
         .shared_hidden = 4,
         .window = 1},
        {.columns = 130,
         .width = 100,
         .layers = 2,
         .heads = 5,
         .head_dim = 8,
         .rank = 36,
         .rope = 34,
         .experts = 33,
         .top = 4,
         .expert_hidden = 36,
         .shared_hidden = 68,
         .window = 16},
    };
    memcpy(out, odd, sizeof odd);
    return sizeof odd / sizeof odd[0];
}

/* n events of `cards` cards in turn, each card's at rising times. */
static void random_stream(const struct served *s, uint64_t seed, size_t n, float *x, int64_t *t)
{
    struct rng rng;
    int64_t at = BASE_US;
    twin_rows(s->r, seed, n, x);
    rng_init(&rng, seed + 1);
    for (size_t i = 0; i < n; i++) {
        at += (int64_t)(rng_exponential(&rng) * 0.3 * (double)DAY_US);
        t[i] = at;
    }
}

static float *float_array(size_t n)
{
    float *p = calloc(n, sizeof *p);
    assert_non_null(p);
    return p;
}

/* Quantisation moves a random network's logit by some hundredths of its spread; a rotation, a head
 * or an expert in the wrong place moves it by about its spread.  Rows whose routing is a close call
 * may take another expert: left out here and counted. */
static void compare_with_twin(const struct net_shape *shape, uint32_t active, uint64_t seed)
{
    enum { N = 200 };
    struct served s = serve(shape, active, seed);
    float *x = float_array(N * shape->columns);
    int64_t t[N];
    double want[N];
    double margin[N];
    double errors = 0;
    double spread = 0;
    size_t close = 0;
    void *cache = cache_create(s.m);
    random_stream(&s, seed + 9, N, x, t);
    twin_history(s.r, N, x, t, want, margin);
    for (size_t i = 0; i < N; i++) {
        float logit;
        model_step(s.m, s.w, 1, x + i * shape->columns, &t[i], &cache, &logit);
        if (shape->experts > shape->top && margin[i] < 0.01) {
            close++;
            continue;
        }
        errors += ((double)logit - want[i]) * ((double)logit - want[i]);
        spread += want[i] * want[i];
    }
    print_message("width %u: error %.4f of the spread, %zu close calls of %d\n", shape->width,
                  sqrt(errors / spread), close, N);
    assert_true(errors < 0.05 * 0.05 * spread);
    assert_true(close <= N * 3 / 4);
    free(cache);
    free(x);
    done(&s);
}

static void test_step_agrees_with_the_formulas(void **state)
{
    (void)state;
    struct net_shape shape = default_shape();
    struct net_shape odd[4];
    size_t n = odd_shapes(odd);
    compare_with_twin(&shape, 128, 1);
    compare_with_twin(&shape, 53, 2);
    for (size_t i = 0; i < n; i++) {
        compare_with_twin(&odd[i], odd[i].columns, 3 + i);
    }
}

/* Logits and caches of a stream that visits `cards` cards, `batch` events at a time. */
static void run_stream(struct served *s, const float *x, const int64_t *t, size_t n, size_t cards,
                       size_t batch, float *logit, char *caches)
{
    size_t bytes = model_cache_bytes(s->m);
    memset(caches, 0, cards * bytes);
    for (size_t at = 0; at < n; at += batch) {
        void *cache[100];
        size_t rows = n - at < batch ? n - at : batch;
        for (size_t i = 0; i < rows; i++) {
            cache[i] = caches + (at + i) % cards * bytes;
        }
        model_step(s->m, s->w, rows, x + at * model_shape(s->m)->columns, t + at, cache,
                   logit + at);
    }
}

static void compare_kernels(const struct net_shape *shape, uint64_t seed)
{
    enum { N = 1200, CARDS = 100 };
    struct served s = serve(shape, shape->columns, seed);
    size_t bytes = model_cache_bytes(s.m) * CARDS;
    float *x = float_array(N * shape->columns);
    float *want = float_array(N);
    float *got = float_array(N);
    int64_t *t = calloc(N, sizeof *t);
    char *want_cache = aligned_alloc(64, bytes);
    char *got_cache = aligned_alloc(64, bytes);
    assert_true(t != NULL && want_cache != NULL && got_cache != NULL);
    random_stream(&s, seed, N, x, t);
    assert_int_equal(model_use_kernel("scalar"), ERR_OK);
    run_stream(&s, x, t, N, CARDS, 64, want, want_cache);
    for (size_t k = 0; k < 3; k++) {
        static const size_t batches[] = {1, 7, 64, 100};
        if (model_use_kernel(KERNELS[k]) != ERR_OK) {
            print_message("this CPU has no %s\n", KERNELS[k]);
            continue;
        }
        assert_string_equal(model_kernel_name(), KERNELS[k]);
        for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++) {
            run_stream(&s, x, t, N, CARDS, batches[b], got, got_cache);
            assert_memory_equal(got, want, N * sizeof *got);
            assert_memory_equal(got_cache, want_cache, bytes);
        }
    }
    free(x);
    free(want);
    free(got);
    free(t);
    free(want_cache);
    free(got_cache);
    done(&s);
}

static void test_step_is_bit_equal_in_kernels_and_batches(void **state)
{
    (void)state;
    struct net_shape shape = default_shape();
    struct net_shape odd[4];
    size_t n = odd_shapes(odd);
    compare_kernels(&shape, 21);
    for (size_t i = 0; i < n; i++) {
        compare_kernels(&odd[i], 22 + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_agrees_with_the_formulas),
        cmocka_unit_test(test_step_is_bit_equal_in_kernels_and_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
