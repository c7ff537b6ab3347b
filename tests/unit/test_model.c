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
#include "model/kernel_math.h"
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
    struct served s = {.r = twin_random(shape, active, 0, seed)};
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
    assert_true(errors < 0.08 * 0.08 * spread);
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

/* Neighbours in a batch are other cards' business. */
static void test_step_does_not_see_its_neighbours(void **state)
{
    (void)state;
    enum { N = 64, D = 128 };
    struct net_shape shape = default_shape();
    struct served s = serve(&shape, D, 31);
    float *x = float_array(N * D);
    int64_t t[N];
    void *cache[N];
    float alone[N];
    float together[N];
    random_stream(&s, 32, N, x, t);
    for (size_t i = 0; i < N; i++) {
        cache[i] = cache_create(s.m);
        model_step(s.m, s.w, 1, x + i * D, &t[i], &cache[i], &alone[i]);
        memset(cache[i], 0, model_cache_bytes(s.m));
    }
    for (size_t i = 1; i < N; i += 2) { /* extreme neighbours */
        for (size_t c = 0; c < D; c++) {
            x[i * D + c] = c % 2 == 0 ? 1e30F : -1e30F;
        }
    }
    model_step(s.m, s.w, N, x, t, cache, together);
    for (size_t i = 0; i < N; i++) {
        if (i % 2 == 0) {
            assert_memory_equal(&alone[i], &together[i], sizeof alone[i]);
        }
        free(cache[i]);
    }
    free(x);
    done(&s);
}

/* Events in order of (time, arrival) whatever the order in which they arrive: a late event changes
 * nothing for those before it, and what comes afterwards sees all of them.  The reference is the
 * twin over the sorted history, which late events' neighbours in time do not know yet: so only the
 * last event, which comes when all are there, is compared, on a network of one layer, where latents
 * do not depend on other events. */
static void test_step_puts_late_events_in_their_place(void **state)
{
    (void)state;
    enum { D = 24 };
    const struct net_shape shape = {.columns = D,
                                    .width = 32,
                                    .layers = 1,
                                    .heads = 2,
                                    .head_dim = 8,
                                    .rank = 8,
                                    .rope = 8,
                                    .experts = 2,
                                    .top = 2,
                                    .expert_hidden = 8,
                                    .shared_hidden = 16,
                                    .window = 5};
    /* time of each event in order of arrival; ties at 3; 1 is late, 0 older than all of a full one
     */
    static const int times[] = {2, 3, 5, 3, 1, 4, 6, 0, 3, 7};
    enum { N = sizeof times / sizeof times[0] };
    struct served s = serve(&shape, D, 41);
    float *x = float_array((size_t)N * D);
    float *sorted = float_array((size_t)N * D);
    int64_t t[N];
    double want[N];
    size_t at = 0;
    twin_rows(s.r, 42, N, x);
    for (int time = 0; time <= 7; time++) {
        for (size_t i = 0; i < N; i++) {
            if (times[i] == time) {
                memcpy(sorted + at * D, x + i * D, D * sizeof *x);
                t[at++] = BASE_US + time * DAY_US;
            }
        }
    }
    twin_history(s.r, N, sorted, t, want, NULL);
    void *cache = cache_create(s.m);
    float logit = 0;
    for (size_t i = 0; i < N; i++) {
        int64_t time = BASE_US + times[i] * DAY_US;
        char *before = malloc(model_cache_bytes(s.m));
        assert_non_null(before);
        memcpy(before, cache, model_cache_bytes(s.m));
        model_step(s.m, s.w, 1, x + i * D, &time, &cache, &logit);
        bool kept = memcmp(before, cache, model_cache_bytes(s.m)) != 0;
        assert_int_equal(kept, times[i] != 0); /* older than all of a full cache: not kept */
        assert_true(isfinite(logit));
        free(before);
    }
    assert_true(fabs((double)logit - want[N - 1]) < 0.05);
    free(cache);
    free(x);
    free(sorted);
    done(&s);
}

/* The order in which a card's events arrive does not matter to a one-layer network's last event. */
static void test_step_forgets_the_order_of_arrival(void **state)
{
    (void)state;
    enum { D = 24, N = 9 };
    const struct net_shape shape = {.columns = D,
                                    .width = 32,
                                    .layers = 1,
                                    .heads = 2,
                                    .head_dim = 8,
                                    .rank = 8,
                                    .rope = 8,
                                    .experts = 2,
                                    .top = 1,
                                    .expert_hidden = 8,
                                    .shared_hidden = 16,
                                    .window = 20};
    struct served s = serve(&shape, D, 51);
    float *x = float_array((size_t)N * D);
    float want = 0;
    struct rng rng;
    rng_init(&rng, 52);
    twin_rows(s.r, 53, N, x);
    void *cache = cache_create(s.m);
    for (int round = 0; round < 20; round++) {
        size_t order[N];
        float logit = 0;
        for (size_t i = 0; i < N; i++) {
            order[i] = i;
        }
        for (size_t i = 0; round > 0 && i + 2 < N; i++) { /* the last stays last */
            size_t k = i + rng_below(&rng, N - 1 - i);
            size_t swap = order[i];
            order[i] = order[k];
            order[k] = swap;
        }
        memset(cache, 0, model_cache_bytes(s.m));
        for (size_t i = 0; i < N; i++) {
            int64_t t = BASE_US + (int64_t)order[i] * DAY_US;
            model_step(s.m, s.w, 1, x + order[i] * D, &t, &cache, &logit);
        }
        want = round == 0 ? logit : want;
        assert_memory_equal(&logit, &want, sizeof want);
    }
    free(cache);
    free(x);
    done(&s);
}

static void test_step_starts_another_models_cache_afresh(void **state)
{
    (void)state;
    enum { D = 128 };
    struct net_shape shape = default_shape();
    struct served a = serve(&shape, D, 61);
    struct served b = serve(&shape, D, 62);
    float *x = float_array(3 * D);
    int64_t t[3];
    float fresh;
    float used;
    float own;
    random_stream(&a, 63, 3, x, t);
    void *cache = cache_create(a.m);
    void *other = cache_create(b.m);
    for (size_t i = 0; i < 3; i++) {
        model_step(a.m, a.w, 1, x + i * D, &t[i], &cache, &own);
    }
    model_step(b.m, b.w, 1, x, t, &other, &fresh);
    model_step(b.m, b.w, 1, x, t, &cache, &used);
    assert_memory_equal(&fresh, &used, sizeof used);
    assert_memory_equal(cache, other, model_cache_bytes(b.m));
    free(cache);
    free(other);
    free(x);
    done(&a);
    done(&b);
}

/* Whatever a row holds, its logit is finite and its probability in (0, 1); what is not a number
 * counts as the column's mean. */
static void test_step_is_finite_for_hostile_rows(void **state)
{
    (void)state;
    enum { D = 128 };
    static const float evil[] = {NAN,           INFINITY,       -INFINITY, 1e30F, -1e30F,
                                 3.4028235e38F, -3.4028235e38F, 1e-45F,    0.0F,  -0.0F};
    struct net_shape shape = default_shape();
    struct served s = serve(&shape, D, 71);
    struct rng rng;
    rng_init(&rng, 72);
    void *cache = cache_create(s.m);
    float x[D];
    float mean[D];
    float logit;
    float as_mean;
    int64_t t = BASE_US;
    memcpy(mean, model_encoding(s.m)->mean, sizeof mean);
    for (int round = 0; round < 2000; round++) {
        for (size_t c = 0; c < D; c++) {
            uint64_t which = round < 10 ? (uint64_t)round : rng_below(&rng, 12);
            x[c] = which < 10 ? evil[which] : (float)rng_normal(&rng);
        }
        t = rng_below(&rng, 50) == 0 ? (int64_t)rng_next(&rng) : t + 1;
        model_step(s.m, s.w, 1, x, &t, &cache, &logit);
        assert_true(isfinite(logit));
        double p = model_probability(s.m, (double)logit);
        assert_true(p > 0 && p < 1);
    }
    for (size_t c = 0; c < D; c++) {
        x[c] = evil[c % 3];
    }
    memset(cache, 0, model_cache_bytes(s.m));
    model_step(s.m, s.w, 1, x, &t, &cache, &logit);
    memset(cache, 0, model_cache_bytes(s.m));
    model_step(s.m, s.w, 1, mean, &t, &cache, &as_mean);
    assert_memory_equal(&logit, &as_mean, sizeof logit);
    free(cache);
    done(&s);
}

static void test_attribute_is_the_change_of_the_logit(void **state)
{
    (void)state;
    enum { D = 128, GROUPS = 40, N = 30 };
    struct net_shape shape = default_shape();
    struct served s = serve(&shape, D, 81);
    float *x = float_array(N * D);
    float changed[D];
    int64_t t[N];
    uint8_t of[D];
    float out[GROUPS];
    const float zero = 0;
    struct model_groups g = {of, GROUPS, NULL};
    void *cache = cache_create(s.m);
    char *before = malloc(model_cache_bytes(s.m));
    char *after = malloc(model_cache_bytes(s.m));
    assert_true(before != NULL && after != NULL);
    random_stream(&s, 82, N, x, t);
    for (size_t c = 0; c < D; c++) {
        of[c] = (uint8_t)(c % (GROUPS - 1)); /* the last group has no column */
    }
    for (size_t i = 0; i < N; i++) {
        const float *row = x + i * D;
        float logit;
        float without;
        memcpy(before, cache, model_cache_bytes(s.m));
        model_step(s.m, s.w, 1, row, &t[i], &cache, &logit);
        memcpy(after, cache, model_cache_bytes(s.m));
        model_attribute(s.m, s.w, row, t[i], cache, &g, out);
        assert_memory_equal(after, cache, model_cache_bytes(s.m));
        for (size_t k = 0; k < GROUPS; k += 13) {
            for (size_t c = 0; c < D; c++) {
                changed[c] = of[c] == k ? model_encoding(s.m)->mean[c] : row[c];
            }
            memcpy(cache, before, model_cache_bytes(s.m));
            model_step(s.m, s.w, 1, changed, &t[i], &cache, &without);
            without = logit - without;
            assert_memory_equal(&out[k], &without, sizeof without);
        }
        assert_memory_equal(&out[GROUPS - 1], &zero, sizeof zero);
        memcpy(cache, after, model_cache_bytes(s.m));
        g.normal = row; /* all groups are at normal */
        model_attribute(s.m, s.w, row, t[i], cache, &g, out);
        for (size_t k = 0; k < GROUPS; k++) {
            assert_memory_equal(&out[k], &zero, sizeof zero);
        }
        g.normal = NULL;
    }
    free(before);
    free(after);
    free(cache);
    free(x);
    done(&s);
}

static void test_probability_rises_with_the_logit(void **state)
{
    (void)state;
    struct net_shape shape = default_shape();
    struct served s = serve(&shape, 53, 91);
    double before = 0;
    for (double logit = -20; logit <= 20; logit += 0.125) {
        double p = model_probability(s.m, logit);
        assert_true(p > before && p < 1);
        before = p;
    }
    done(&s);
}

/* The loops that are compiled for the usual sizes are those of the product's own network. */
static void test_default_shape_is_the_usual_one(void **state)
{
    (void)state;
    struct net_shape shape = default_shape();
    struct served s = serve(&shape, 128, 95);
    const struct dims usual = DIMS_USUAL;
    const struct dims own = dims_of(s.m);
    assert_true(dims_equal(&own, &usual));
    done(&s);
}

static void test_cache_of_the_default_shape_is_small(void **state)
{
    (void)state;
    struct net_shape shape;
    net_shape_default(&shape, 128, 2048);
    assert_true(model_cache_bytes_for(&shape) <= 1536);
    shape.window = 32;
    assert_true(model_cache_bytes_for(&shape) <= 3072);
    shape.window = 1024;
    shape.rank = shape.rope = 128;
    shape.layers = 8;
    assert_int_equal(model_cache_bytes_for(&shape), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_agrees_with_the_formulas),
        cmocka_unit_test(test_step_is_bit_equal_in_kernels_and_batches),
        cmocka_unit_test(test_step_does_not_see_its_neighbours),
        cmocka_unit_test(test_step_puts_late_events_in_their_place),
        cmocka_unit_test(test_step_forgets_the_order_of_arrival),
        cmocka_unit_test(test_step_starts_another_models_cache_afresh),
        cmocka_unit_test(test_step_is_finite_for_hostile_rows),
        cmocka_unit_test(test_attribute_is_the_change_of_the_logit),
        cmocka_unit_test(test_probability_rises_with_the_logit),
        cmocka_unit_test(test_default_shape_is_the_usual_one),
        cmocka_unit_test(test_cache_of_the_default_shape_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
