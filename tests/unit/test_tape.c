/* The training network's passes: forward against the plain twin in double precision, every gradient
 * against finite differences of the twin, and what the passes promise about order and dropout.
 *
 * Differences are taken of the twin and not of the pass itself, because in single precision the
 * rounding of the loss (1e-7) over the step would drown small gradients.  With a step of 1e-5 the
 * twin's own error is about 1e-10 (third derivative times step squared, rounding 1e-16 / 1e-5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/bins.h"
#include "model/tape.h"
#include "model/tape_math.h"
#include "model/train_init.h"
#include "model/train_loops.h"
#include "tests/support/tape_twin.h"
#include "tests/support/toy_rows.h"

#define COLUMNS 6
#define ROWS 60
#define STEP 1e-5
/* Single precision: each gradient is a sum of some hundred products of magnitude up to the
 * tensor's largest gradient, each off by some 6e-8 and, behind the softmax, by the exponential's
 * 1e-6 before the mean is taken off. */
#define GRAD_ATOL 3e-5 /* times the tensor's largest gradient */
#define LOGIT_TOL 1e-5

struct bench {
    struct toy_rows toy;
    struct pool *pool;
    struct net_encoding encoding;
    struct tape_net net;
    struct tape_data data;
    float target[ROWS];
    struct tape_twin twin;
    struct bins_finder finder;
    float *params, *balance;
    double *exact; /* the same parameters in double */
    struct tape *tape;
};

static const struct piece PIECES[] = {
    {.first = 0, .context = 0, .len = 7},
    {.first = 14, .context = 3, .len = 5},
    {.first = 20, .context = 0, .len = 1},
    {.first = 33, .context = 2, .len = 8},
};
#define PIECE_COUNT (sizeof PIECES / sizeof PIECES[0])
#define TOKENS 21

static struct net_shape shape_small(void)
{
    return (struct net_shape){.width = 8,
                              .layers = 2,
                              .heads = 2,
                              .head_dim = 4,
                              .rank = 4,
                              .rope = 4,
                              .experts = 4,
                              .top = 2,
                              .expert_hidden = 4,
                              .shared_hidden = 4,
                              .window = 3};
}

/* Weights large enough that every tensor matters: tables and norms are moved from their start. */
static void shake(struct bench *b, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < b->net.layout.total; i++) {
        b->params[i] += 0.3F * (float)rng_normal(&rng);
        b->exact[i] = (double)b->params[i];
    }
    for (size_t i = 0; i < (size_t)b->net.shape.layers * b->net.shape.experts; i++) {
        b->balance[i] = 0.2F * (float)rng_normal(&rng);
    }
}

static void bench_init(struct bench *b, struct net_shape shape)
{
    struct errmsg e;
    memset(b, 0, sizeof *b);
    toy_rows_init(&b->toy, 11, ROWS / 10, 10, COLUMNS);
    b->toy.weight[35] = 2.5F;
    assert_int_equal(pool_create(1, &b->pool, &e), ERR_OK);
    assert_int_equal(bins_fit(&b->toy.rows, INT64_MAX, 4, 2, 1, b->pool, &b->encoding, &e), ERR_OK);
    assert_int_equal(bins_finder_init(&b->finder, &b->encoding, &e), ERR_OK);
    shape.columns = COLUMNS;
    shape.bins = b->encoding.first_row[COLUMNS];
    b->net.shape = shape;
    assert_int_equal(net_layout_init(&b->net.layout, &shape, &e), ERR_OK);
    size_t total = b->net.layout.total;
    b->params = calloc(total, sizeof *b->params);
    b->exact = calloc(total, sizeof *b->exact);
    b->balance = calloc((size_t)shape.layers * shape.experts, sizeof *b->balance);
    train_init(&shape, &b->net.layout, 3, 0.1, b->params);
    shake(b, 5);
    b->net.params = b->params;
    b->net.balance = b->balance;
    for (size_t i = 0; i < ROWS; i++) {
        b->target[i] = (float)(i * 7 % ROWS) / ROWS; /* certain and doubtful, whatever the label */
    }
    b->data = (struct tape_data){&b->toy.rows, &b->encoding, &b->finder, b->target};
    b->twin = (struct tape_twin){shape, b->net.layout, b->exact, b->balance};
    assert_int_equal(tape_create(&shape, TOKENS + 10, &b->tape, &e), ERR_OK);
}

static void bench_done(struct bench *b)
{
    tape_free(b->tape);
    free(b->params);
    free(b->exact);
    free(b->balance);
    bins_finder_done(&b->finder);
    bins_done(&b->encoding);
    pool_free(b->pool);
    toy_rows_done(&b->toy);
}

static void assert_forward_is_the_twin(struct bench *b, const struct tape_drop *drop)
{
    double logit[TOKENS];
    double margin;
    const struct tape_loss once = {.label_scale = 1, .next_scale = 1};
    tape_twin_loss(&b->twin, &b->data, PIECES, PIECE_COUNT, drop, &once, logit, &margin);
    assert_true(margin > 1e-5); /* else rounding decides which expert answers */
    tape_forward(b->tape, &b->net, &b->data, PIECES, PIECE_COUNT, drop, true);
    assert_int_equal(b->tape->tokens, TOKENS);
    for (size_t i = 0; i < TOKENS; i++) {
        assert_true(fabs((double)b->tape->logit[i] - logit[i]) <= LOGIT_TOL * (1 + fabs(logit[i])));
    }
}

/* Gradient of every parameter by central differences of the twin's loss. */
static double *differences(struct bench *b, const struct tape_drop *drop,
                           const struct tape_loss *scale)
{
    double *out = calloc(b->net.layout.total, sizeof *out);
    for (size_t i = 0; i < b->net.layout.total; i++) {
        double loss[2];
        double kept = b->exact[i];
        for (int side = 0; side < 2; side++) {
            b->exact[i] = kept + (side == 0 ? -STEP : STEP);
            loss[side] =
                tape_twin_loss(&b->twin, &b->data, PIECES, PIECE_COUNT, drop, scale, NULL, NULL);
        }
        b->exact[i] = kept;
        out[i] = (loss[1] - loss[0]) / (2 * STEP);
    }
    return out;
}

static void assert_tensor(const struct bench *b, enum net_tensor_kind kind, uint32_t layer,
                          const float *grad, const double *wanted)
{
    size_t first = b->net.layout.offset[kind][layer];
    size_t n = b->net.layout.size[kind];
    double most = 0;
    for (size_t i = first; i < first + n; i++) {
        most = fmax(most, fabs(wanted[i]));
    }
    assert_true(most > 0); /* a tensor without influence would prove nothing */
    for (size_t i = first; i < first + n; i++) {
        if (!(fabs((double)grad[i] - wanted[i]) <= GRAD_ATOL * most + 1e-8)) {
            fail_msg("%s layer %u [%zu]: gradient %.9g, by differences %.9g", net_tensor_name(kind),
                     layer, i - first, (double)grad[i], wanted[i]);
        }
    }
}

static void assert_gradients(struct net_shape shape, const struct tape_drop *drop)
{
    struct bench b;
    bench_init(&b, shape);
    assert_forward_is_the_twin(&b, drop);
    struct tape_loss loss = {.label_scale = 0.21, .next_scale = 0.013};
    const struct tape_loss scale = loss;
    float *grad = calloc(b.net.layout.total, sizeof *grad);
    tape_backward(b.tape, &b.net, &b.data, drop, &loss, grad);
    double exact = tape_twin_loss(&b.twin, &b.data, PIECES, PIECE_COUNT, drop, &scale, NULL, NULL);
    double got = loss.label_scale * loss.label_sum + loss.next_scale * loss.next_sum;
    assert_true(fabs(got - exact) <= 1e-5 * exact);
    double *wanted = differences(&b, drop, &scale);
    for (int k = 0; k < NET_KIND_COUNT; k++) {
        enum net_tensor_kind kind = (enum net_tensor_kind)k;
        uint32_t copies = kind >= NET_NORM1 && kind <= NET_W2 ? shape.layers : 1;
        for (uint32_t layer = 0; layer < copies; layer++) {
            assert_tensor(&b, kind, layer, grad, wanted);
        }
    }
    free(wanted);
    free(grad);
    bench_done(&b);
}

static void test_backward_is_the_gradient(void **state)
{
    (void)state;
    assert_gradients(shape_small(), NULL);
}

static void test_backward_is_the_gradient_with_dropout(void **state)
{
    (void)state;
    const struct tape_drop drop = {.key = 77, .residual = 0.3F, .input = 0.2F};
    assert_gradients(shape_small(), &drop);
}

/* Other ratios of sizes: an index that is right by equality of two sizes would fail here. */
static void test_backward_is_the_gradient_of_another_shape(void **state)
{
    (void)state;
    struct net_shape s = {.width = 12,
                          .layers = 1,
                          .heads = 3,
                          .head_dim = 8,
                          .rank = 4,
                          .rope = 2,
                          .experts = 5,
                          .top = 3,
                          .expert_hidden = 8,
                          .shared_hidden = 4,
                          .window = 16};
    assert_gradients(s, NULL);
}

/* Heads of sixteen floats take another way (train_loops.h); windows below and above its sixteen. */
static void test_backward_is_the_gradient_in_lanes(void **state)
{
    (void)state;
    struct net_shape s = {.width = 20,
                          .layers = 1,
                          .heads = 2,
                          .head_dim = 16,
                          .rank = 4,
                          .rope = 16,
                          .experts = 3,
                          .top = 2,
                          .expert_hidden = 4,
                          .shared_hidden = 4,
                          .window = 5};
    assert_gradients(s, NULL);
}

/* Gradients [total] of one shape through the loops of one kind of processor; free them. */
static float *gradients_by(const struct train_loops *loops, struct net_shape s, float *logit,
                           size_t *total)
{
    const struct tape_drop drop = {.key = 77, .residual = 0.3F, .input = 0.2F};
    struct tape_loss loss = {.label_scale = 0.21, .next_scale = 0.013};
    struct bench b;
    bench_init(&b, s);
    float *grad = calloc(b.net.layout.total, sizeof *grad);
    b.tape->loops = loops;
    tape_forward(b.tape, &b.net, &b.data, PIECES, PIECE_COUNT, &drop, true);
    tape_backward(b.tape, &b.net, &b.data, &drop, &loss, grad);
    memcpy(logit, b.tape->logit, TOKENS * sizeof *logit);
    *total = b.net.layout.total;
    bench_done(&b);
    return grad;
}

/* 6, 4 and 1 vectors of the width and 8 floats behind them; hidden floats of 2 vectors and 4 more.
 */
static void test_passes_give_the_same_bytes_on_every_processor(void **state)
{
    (void)state;
    const struct train_loops *const kinds[] = {
#if defined(__x86_64__)
        &TRAIN_LOOPS_AVX2,
        &TRAIN_LOOPS_AVX512,
#endif
        train_loops_best()
    };
    struct net_shape s = shape_small();
    s.width = 16 * (6 + 4 + 1) + 8;
    s.head_dim = s.rope = 16;
    s.expert_hidden = s.shared_hidden = 36;
    float logit[TOKENS];
    size_t total;
    float *wanted = gradients_by(&TRAIN_LOOPS_SCALAR, s, logit, &total);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (kinds[k]->usable()) {
            float same[TOKENS];
            float *grad = gradients_by(kinds[k], s, same, &total);
            assert_memory_equal(same, logit, sizeof logit);
            assert_memory_equal(grad, wanted, total * sizeof *grad);
            free(grad);
        }
    }
    free(wanted);
}

static void test_backward_is_the_gradient_of_one_expert_and_a_window_of_one(void **state)
{
    (void)state;
    struct net_shape s = shape_small();
    s.layers = 1;
    s.top = s.experts = 1;
    struct bench b;
    bench_init(&b, s);
    struct tape_loss loss = {.label_scale = 1, .next_scale = 0.1};
    float *grad = calloc(b.net.layout.total, sizeof *grad);
    tape_forward(b.tape, &b.net, &b.data, PIECES, PIECE_COUNT, NULL, true);
    tape_backward(b.tape, &b.net, &b.data, NULL, &loss, grad);
    double *wanted = differences(&b, NULL, &loss);
    assert_tensor(&b, NET_W1, 0, grad, wanted);
    assert_tensor(&b, NET_Q, 0, grad, wanted);
    /* the only expert's weight is 1 whatever its gate says */
    for (size_t i = 0; i < b.net.layout.size[NET_GATE]; i++) {
        assert_true(fabs((double)grad[b.net.layout.offset[NET_GATE][0] + i]) < 1e-6);
    }
    free(wanted);
    free(grad);
    bench_done(&b);
}

static void test_backward_adds_to_what_is_there(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, shape_small());
    size_t total = b.net.layout.total;
    float *once = calloc(total, sizeof *once);
    float *twice = calloc(total, sizeof *twice);
    struct tape_loss loss = {.label_scale = 1, .next_scale = 1};
    tape_forward(b.tape, &b.net, &b.data, PIECES, PIECE_COUNT, NULL, true);
    tape_backward(b.tape, &b.net, &b.data, NULL, &loss, once);
    double sum = loss.label_sum;
    for (int i = 0; i < 2; i++) {
        tape_forward(b.tape, &b.net, &b.data, PIECES, PIECE_COUNT, NULL, true);
        tape_backward(b.tape, &b.net, &b.data, NULL, &loss, twice);
    }
    assert_true(fabs(loss.label_sum - 3 * sum) < 1e-9 * sum);
    for (size_t i = 0; i < total; i++) {
        assert_true(fabs((double)twice[i] - 2 * (double)once[i]) <=
                    1e-5 * (1 + fabs((double)once[i])));
    }
    free(once);
    free(twice);
    bench_done(&b);
}

/* Changes a row and asserts which logits change by more than `least`. */
static void assert_windows(struct net_shape shape, double least)
{
    struct bench b;
    bench_init(&b, shape);
    const struct piece whole = {.first = 0, .context = 0, .len = 10};
    float before[10];
    tape_forward(b.tape, &b.net, &b.data, &whole, 1, NULL, false);
    memcpy(before, b.tape->logit, sizeof before);
    b.toy.x[3 * COLUMNS] += 5;
    tape_forward(b.tape, &b.net, &b.data, &whole, 1, NULL, false);
    for (size_t i = 0; i < 10; i++) {
        /* two layers of window 3 reach back four rows */
        bool same = fabs((double)before[i] - (double)b.tape->logit[i]) <= least;
        assert_true(same == (i < 3 || i > 7));
    }
    bench_done(&b);
}

/* A row's logit depends on its card's rows inside the layers' windows and on no later one: to the
 * bit where a layer is dense.  Where rows choose experts, other rows may come to lie beside it, and
 * its last digits change. */
static void test_forward_sees_the_past_within_its_windows_only(void **state)
{
    (void)state;
    struct net_shape dense = shape_small();
    dense.experts = dense.top = 1;
    assert_windows(dense, 0);
    assert_windows(shape_small(), 5e-6);
}

static void test_draw_keeps_its_rate_and_mean(void **state)
{
    (void)state;
    const float rates[] = {0.05F, 0.3F, 0.9F};
    for (size_t r = 0; r < 3; r++) {
        double kept = 0;
        double sum = 0;
        for (size_t row = 0; row < 2000; row++) {
            float draw[50];
            float again[50];
            tape_draw(9, row, 3, rates[r], draw, 50);
            tape_draw(9, row, 3, rates[r], again, 50);
            assert_memory_equal(draw, again, sizeof draw);
            for (size_t i = 0; i < 50; i++) {
                kept += draw[i] > 0;
                sum += (double)draw[i];
            }
        }
        /* 100,000 draws: five deviations of at most .0016 */
        assert_true(fabs(kept / 1e5 - (1 - (double)rates[r])) < 0.008);
        assert_true(fabs(sum / 1e5 - 1) < 0.05);
    }
    float a[16];
    float b[16];
    float c[16];
    tape_draw(9, 1, 3, 0.5F, a, 16);
    tape_draw(9, 1, 4, 0.5F, b, 16);
    tape_draw(10, 1, 3, 0.5F, c, 16);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
}

static void test_create_refuses_a_shard_without_bound(void **state)
{
    (void)state;
    struct net_shape s = shape_small();
    struct tape *t = NULL;
    struct errmsg e;
    s.columns = 4;
    s.bins = 8;
    assert_int_equal(tape_create(&s, 0, &t, &e), ERR_INVALID);
    assert_int_equal(tape_create(&s, ((size_t)1 << 24) + 1, &t, &e), ERR_INVALID);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backward_is_the_gradient),
        cmocka_unit_test(test_backward_is_the_gradient_with_dropout),
        cmocka_unit_test(test_backward_is_the_gradient_of_another_shape),
        cmocka_unit_test(test_backward_is_the_gradient_in_lanes),
        cmocka_unit_test(test_passes_give_the_same_bytes_on_every_processor),
        cmocka_unit_test(test_backward_is_the_gradient_of_one_expert_and_a_window_of_one),
        cmocka_unit_test(test_backward_adds_to_what_is_there),
        cmocka_unit_test(test_forward_sees_the_past_within_its_windows_only),
        cmocka_unit_test(test_draw_keeps_its_rate_and_mean),
        cmocka_unit_test(test_create_refuses_a_shard_without_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
