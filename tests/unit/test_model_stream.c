/* Streaming with a latent cache and absorbed projections equals training's pass over whole
 * histories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/train.h"
#include "tests/support/net_twin.h"

#define CARDS 40U
#define EVENTS 60U /* a card: several windows */
#define ROWS (CARDS * EVENTS)

struct histories {
    float *x;
    int64_t *event_us;
    uint32_t *card;
    uint8_t *label;
    float *weight;
};

static void *must(void *p)
{
    assert_non_null(p);
    return p;
}

static struct histories histories_create(const struct train_result *r, uint64_t seed)
{
    struct histories h = {.x = must(calloc((size_t)ROWS * r->shape.columns, sizeof *h.x)),
                          .event_us = must(calloc(ROWS, sizeof *h.event_us)),
                          .card = must(calloc(ROWS, sizeof *h.card)),
                          .label = must(calloc(ROWS, 1)),
                          .weight = must(calloc(ROWS, sizeof *h.weight))};
    struct rng rng;
    rng_init(&rng, seed);
    twin_rows(r, seed, ROWS, h.x);
    for (uint32_t i = 0; i < ROWS; i++) {
        h.card[i] = i / EVENTS;
        int64_t gap = (int64_t)(rng_exponential(&rng) * 3e10);
        h.event_us[i] = (i % EVENTS == 0 ? INT64_C(1520000000000000) : h.event_us[i - 1]) + gap;
        h.weight[i] = 1;
        h.label[i] = i % 50 == 0;
    }
    return h;
}

static void histories_done(struct histories *h)
{
    free(h->x);
    free(h->event_us);
    free(h->card);
    free(h->label);
    free(h->weight);
}

/* The twin computes in double, training in float: 1e-5 is a few roundings of activations near 1,
 * and of logits near 10.  Where two experts' ranks differ by less than 1e-4 the two may choose
 * differently, here and, through latents, for the card's later events: those rows are counted. */
static void compare(const struct net_shape *shape, uint32_t active, uint64_t seed)
{
    struct train_result *r = twin_random(shape, active, 0, seed);
    struct histories h = histories_create(r, seed + 1);
    const struct train_rows rows = {ROWS,   shape->columns, h.x,     h.event_us,
                                    h.card, h.label,        h.weight};
    float *got = must(calloc(ROWS, sizeof *got));
    double *plain = must(calloc(ROWS, sizeof *plain));
    double *margin = must(calloc(ROWS, sizeof *margin));
    struct errmsg e = {""};
    size_t close = 0;
    double worst = 0;
    assert_int_equal(train_forward(r, &rows, 2, got, &e), ERR_OK);
    for (uint32_t card = 0; card < CARDS; card++) {
        size_t at = (size_t)card * EVENTS;
        const float *x = h.x + at * shape->columns;
        struct twin_stream *t = twin_stream_create(r);
        twin_history(r, EVENTS, x, h.event_us + at, plain + at, margin + at);
        size_t tainted = 0; /* later rows of the card that a close call may reach */
        for (size_t i = 0; i < EVENTS; i++) {
            double streamed = twin_stream_step(t, x + i * shape->columns, h.event_us[at + i]);
            if (margin[at + i] <= 1e-4) {
                close++;
                tainted = (size_t)shape->layers * shape->window;
            }
            if (tainted > 0) {
                tainted--;
                continue;
            }
            double size = 1 + fabs(streamed);
            worst = fmax(worst, fabs((double)got[at + i] - streamed) / size);
            assert_true(fabs(streamed - plain[at + i]) < 1e-10 * size);
        }
        twin_stream_free(t);
    }
    print_message("largest difference %.1e, %zu close calls of %u\n", worst, close, ROWS);
    assert_true(worst < 1e-5);
    assert_true(close < ROWS / 100);
    histories_done(&h);
    free(got);
    free(plain);
    free(margin);
    twin_free(r);
}

static void test_stream_equals_training_at_the_default_shape(void **state)
{
    (void)state;
    struct net_shape shape;
    net_shape_default(&shape, 128, 0);
    compare(&shape, 100, 1);
}

static void test_stream_equals_training_at_another_shape(void **state)
{
    (void)state;
    const struct net_shape shape = {.columns = 19,
                                    .width = 24,
                                    .layers = 3,
                                    .heads = 3,
                                    .head_dim = 8,
                                    .rank = 12,
                                    .rope = 6,
                                    .experts = 5,
                                    .top = 3,
                                    .expert_hidden = 8,
                                    .shared_hidden = 12,
                                    .window = 7};
    compare(&shape, 19, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_equals_training_at_the_default_shape),
        cmocka_unit_test(test_stream_equals_training_at_another_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
