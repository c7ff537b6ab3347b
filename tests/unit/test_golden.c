/* The C passes and optimiser against PyTorch's (tests/golden/make_golden.py wrote the file).
 *
 * Tolerance 1e-5: the file's numbers come from double precision; ours are in single, where a logit
 * or gradient of this network is a chain of some hundred operations of 6e-8 each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "model/tape.h"
#include "model/train_adam.h"

#define PATH "tests/golden/net.bin"
#define TOL 1e-5

struct golden {
    uint8_t *bytes;
    size_t len;
    struct net_shape shape;
    struct net_layout layout;
    struct net_encoding encoding;
    struct bins_finder finder;
    struct train_rows rows;
    struct tape_net net;
    uint8_t *label;
    uint32_t *card;
};

/* Values of a record, at an address of their own; *out_n: how many. */
static void *record(const struct golden *g, const char *name, char kind, size_t *out_n)
{
    size_t at = 0;
    while (at < g->len) {
        char got[32];
        char type;
        unsigned long n;
        int used = 0;
        assert_int_equal(
            sscanf((const char *)g->bytes + at, "%31s %c %lu%n", got, &type, &n, &used), 3);
        at += (size_t)used + 1;
        size_t size = type == 'q' ? 8 : 4;
        assert_true(at + n * size <= g->len);
        if (strcmp(got, name) == 0) {
            assert_int_equal(type, kind);
            void *copy = malloc(n * size);
            assert_non_null(copy);
            memcpy(copy, g->bytes + at, n * size);
            *out_n = n;
            return copy;
        }
        at += n * size;
    }
    fail_msg("%s has no record %s", PATH, name);
    return NULL;
}

static float *floats(const struct golden *g, const char *name, size_t wanted)
{
    size_t n;
    float *x = record(g, name, 'f', &n);
    assert_int_equal(n, wanted);
    return x;
}

static void read_shape(struct golden *g)
{
    size_t n;
    struct errmsg e;
    uint32_t *s = record(g, "shape", 'u', &n);
    assert_int_equal(n * sizeof *s, sizeof g->shape);
    memcpy(&g->shape, s, sizeof g->shape);
    free(s);
    assert_int_equal(net_layout_init(&g->layout, &g->shape, &e), ERR_OK);
}

static void read_rows(struct golden *g)
{
    size_t n;
    size_t d = g->shape.columns;
    int64_t *event_us = record(g, "event_us", 'q', &n);
    uint32_t *label = record(g, "label", 'u', &n);
    g->label = calloc(n, 1);
    g->card = calloc(n, sizeof *g->card);
    for (size_t i = 0; i < n; i++) {
        g->label[i] = (uint8_t)label[i];
    }
    free(label);
    g->rows = (struct train_rows){.n = n,
                                  .columns = d,
                                  .x = floats(g, "x", n * d),
                                  .event_us = event_us,
                                  .card = g->card,
                                  .label = g->label,
                                  .weight = floats(g, "weight", n)};
}

static void golden_read(struct golden *g)
{
    size_t n;
    struct errmsg e;
    memset(g, 0, sizeof *g);
    assert_int_equal(file_read(PATH, 1 << 20, &g->bytes, &g->len, &e), ERR_OK);
    read_shape(g);
    size_t d = g->shape.columns;
    read_rows(g);
    g->encoding.columns = g->shape.columns;
    g->encoding.mean = floats(g, "mean", d);
    g->encoding.inv_sd = floats(g, "inv_sd", d);
    g->encoding.first_row = record(g, "first_row", 'u', &n);
    assert_int_equal(n, d + 1);
    g->encoding.edges = floats(g, "edges", g->shape.bins - d);
    assert_int_equal(bins_finder_init(&g->finder, &g->encoding, &e), ERR_OK);
    g->net = (struct tape_net){
        .shape = g->shape,
        .layout = g->layout,
        .params = floats(g, "params", g->layout.total),
        .balance = floats(g, "balance", (size_t)g->shape.layers * g->shape.experts)};
}

static void give_back(const void *p)
{
    free((void *)(uintptr_t)p);
}

static void golden_done(struct golden *g)
{
    give_back(g->rows.x);
    give_back(g->rows.event_us);
    give_back(g->rows.weight);
    give_back(g->net.params);
    give_back(g->net.balance);
    free(g->label);
    free(g->card);
    bins_finder_done(&g->finder);
    bins_done(&g->encoding);
    free(g->bytes);
}

static void assert_close(const char *what, const float *got, const float *wanted, size_t n,
                         double tol)
{
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)got[i] - (double)wanted[i]);
        if (!(off <= tol * (1 + fabs((double)wanted[i])))) {
            fail_msg("%s [%zu]: %.9g, PyTorch %.9g", what, i, (double)got[i], (double)wanted[i]);
        }
    }
}

static void test_passes_agree_with_pytorch(void **state)
{
    (void)state;
    struct golden g;
    struct errmsg e;
    struct tape *t = NULL;
    golden_read(&g);
    size_t n;
    uint32_t *p = record(&g, "pieces", 'u', &n);
    assert_int_equal(n, 6);
    const struct piece piece[2] = {{p[0], p[1], p[2]}, {p[3], p[4], p[5]}};
    const struct tape_data data = {&g.rows, &g.encoding, &g.finder, NULL};
    assert_int_equal(tape_create(&g.shape, g.rows.n, &t, &e), ERR_OK);
    tape_forward(t, &g.net, &data, piece, 2, NULL, true);
    float *logit = floats(&g, "logit", g.rows.n);
    assert_close("logit", t->logit, logit, g.rows.n, TOL);

    float *scales = floats(&g, "scales", 2);
    float *loss = floats(&g, "loss", 1);
    float *wanted = floats(&g, "grad", g.layout.total);
    float *grad = calloc(g.layout.total, sizeof *grad);
    struct tape_loss l = {.label_scale = (double)scales[0], .next_scale = (double)scales[1]};
    tape_backward(t, &g.net, &data, NULL, &l, grad);
    float got = (float)(l.label_scale * l.label_sum + l.next_scale * l.next_sum);
    assert_close("loss", &got, loss, 1, TOL);
    assert_close("gradient", grad, wanted, g.layout.total, TOL);
    tape_free(t);
    free(p);
    free(logit);
    free(scales);
    free(loss);
    free(wanted);
    free(grad);
    golden_done(&g);
}

/* The gradient is given in three parts, as three shards would. */
static void run_steps(const struct golden *g, const float *step, double clip, float *params,
                      float *ema)
{
    struct adam *adam = NULL;
    struct pool *pool = NULL;
    struct errmsg e;
    size_t total = g->layout.total;
    float *given = floats(g, "grad", total);
    float *part = calloc(3 * total, sizeof *part);
    const float *parts[3] = {part, part + total, part + 2 * total};
    assert_int_equal(pool_create(2, &pool, &e), ERR_OK);
    assert_int_equal(adam_create(&g->shape, &g->layout, &adam, &e), ERR_OK);
    memcpy(params, g->net.params, total * sizeof *params);
    memcpy(ema, params, total * sizeof *ema);
    for (int k = 0; k < (int)step[0]; k++) {
        const struct adam_step s = {.learning_rate = (double)step[1],
                                    .weight_decay = (double)step[2],
                                    .table_decay = (double)step[7],
                                    .input_decay = (double)step[2],
                                    .beta1 = (double)step[3],
                                    .beta2 = (double)step[4],
                                    .ema = (double)step[5],
                                    .clip = clip};
        for (size_t i = 0; i < total; i++) {
            float whole = given[i] * (1 - (float)k / 2);
            part[i] = whole / 4;
            part[total + i] = whole / 4;
            part[2 * total + i] = whole / 2;
        }
        adam_run(adam, pool, &s, parts, 3, params, ema);
    }
    adam_free(adam);
    pool_free(pool);
    free(part);
    free(given);
}

static void assert_steps(const char *name, bool clips)
{
    struct golden g;
    golden_read(&g);
    size_t total = g.layout.total;
    char average[32];
    snprintf(average, sizeof average, "%s_ema", name);
    float *step = floats(&g, "step", 8);
    float *params = calloc(total, sizeof *params);
    float *ema = calloc(total, sizeof *ema);
    float *wanted = floats(&g, name, total);
    float *wanted_ema = floats(&g, average, total);
    run_steps(&g, step, clips ? (double)step[6] : 0, params, ema);
    /* three steps of 2e-3: a wrong one would be off by far more than 1e-6 */
    assert_close(name, params, wanted, total, 1e-6);
    assert_close(average, ema, wanted_ema, total, 1e-6);
    free(step);
    free(params);
    free(ema);
    free(wanted);
    free(wanted_ema);
    golden_done(&g);
}

static void test_steps_agree_with_pytorch(void **state)
{
    (void)state;
    assert_steps("plain", false);
}

static void test_clipped_steps_agree_with_pytorch(void **state)
{
    (void)state;
    assert_steps("clipped", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes_agree_with_pytorch),
        cmocka_unit_test(test_steps_agree_with_pytorch),
        cmocka_unit_test(test_clipped_steps_agree_with_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
