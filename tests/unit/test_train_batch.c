/* A batch in shards is the batch in one piece: sums, gradient, loads.  First weights, rows' checks
 * and their hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/train_batch.h"
#include "model/train_init.h"
#include "model/train_rows.h"
#include "tests/support/toy_rows.h"

#define COLUMNS 6

#define NEXT_WEIGHT 0.3

struct bench {
    struct toy_rows toy;
    struct pool *pool;
    struct net_encoding encoding;
    struct bins_finder finder;
    struct tape_net net;
    struct tape_data data;
    struct pieces pieces;
    float *params, *balance;
};

static void bench_init(struct bench *b)
{
    struct train_conf c;
    struct errmsg e;
    memset(b, 0, sizeof *b);
    toy_rows_init(&b->toy, 21, 70, 20, COLUMNS);
    toy_conf(&c);
    assert_int_equal(pool_create(2, &b->pool, &e), ERR_OK);
    assert_int_equal(bins_fit(&b->toy.rows, INT64_MAX, 8, 3, 1, b->pool, &b->encoding, &e), ERR_OK);
    assert_int_equal(bins_finder_init(&b->finder, &b->encoding, &e), ERR_OK);
    b->net.shape = c.shape;
    b->net.shape.columns = COLUMNS;
    b->net.shape.bins = b->encoding.first_row[COLUMNS];
    assert_int_equal(net_layout_init(&b->net.layout, &b->net.shape, &e), ERR_OK);
    b->params = calloc(b->net.layout.total, sizeof *b->params);
    b->balance = calloc((size_t)c.shape.layers * c.shape.experts, sizeof *b->balance);
    train_init(&b->net.shape, &b->net.layout, 4, 0.1, b->params);
    b->net.params = b->params;
    b->net.balance = b->balance;
    b->data = (struct tape_data){&b->toy.rows, &b->encoding, &b->finder, NULL};
    assert_int_equal(pieces_cut(&b->toy.rows, INT64_MIN, INT64_MAX, 9, 4, &b->pieces, &e), ERR_OK);
}

static void bench_done(struct bench *b)
{
    pieces_done(&b->pieces);
    free(b->params);
    free(b->balance);
    bins_finder_done(&b->finder);
    bins_done(&b->encoding);
    pool_free(b->pool);
    toy_rows_done(&b->toy);
}

/* Loss, gradient (shards added) and loads of all pieces. */
static struct batch_loss run(struct bench *b, uint32_t shards, float *grad, uint64_t *load)
{
    struct batch *batch = NULL;
    struct batch_loss loss;
    struct errmsg e;
    const struct tape_drop drop = {.key = 5, .residual = 0.2F, .input = 0.1F};
    size_t loads = (size_t)b->net.shape.layers * b->net.shape.experts;
    assert_int_equal(batch_create(&b->net.shape, shards, b->pieces.count, 13, b->pool, &batch, &e),
                     ERR_OK);
    batch_run(batch, &b->net, &b->data, b->pieces.piece, b->pieces.count, &drop, NEXT_WEIGHT,
              &loss);
    for (uint32_t s = 0; s < shards; s++) {
        for (size_t i = 0; i < b->net.layout.total; i++) {
            grad[i] += batch_grads(batch)[s][i];
        }
    }
    memcpy(load, batch_load(batch), loads * sizeof *load);
    batch_free(batch);
    return loss;
}

static void test_run_in_shards_is_the_whole(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    size_t total = b.net.layout.total;
    float *one = calloc(total, sizeof *one);
    float *many = calloc(total, sizeof *many);
    uint64_t load_one[8];
    uint64_t load_many[8];
    struct batch_loss x = run(&b, 1, one, load_one);
    struct batch_loss y = run(&b, 7, many, load_many);
    assert_int_equal(b.pieces.count, 70 * 3); /* 20 rows in nines */
    assert_true(x.events == 70 * (9 + 13 + 6));
    assert_true(y.events == x.events);
    assert_true(fabs(x.weight_sum - 70 * 18) < 1e-9); /* two of a card's rows weigh nothing */
    assert_true(fabs(x.next_count - 70 * (8 + 12 + 5) * COLUMNS) < 1e-9);
    assert_true(fabs(x.label_sum - y.label_sum) < 1e-5 * x.label_sum);
    assert_true(fabs(x.next_sum - y.next_sum) < 1e-5 * x.next_sum);
    assert_memory_equal(load_one, load_many, sizeof load_one);
    uint64_t chosen = 0;
    for (size_t i = 0; i < 8; i++) {
        chosen += load_one[i];
    }
    assert_true(chosen == 70 * 20 * 2 * b.net.shape.layers); /* every row once, two experts */
    float most = 0;
    for (size_t i = 0; i < total; i++) {
        most = fmaxf(most, fabsf(one[i]));
    }
    for (size_t i = 0; i < total; i++) {
        /* sums of some thousand terms in another order */
        assert_true(fabsf(one[i] - many[i]) <= 1e-5F * most);
    }
    free(one);
    free(many);
    bench_done(&b);
}

/* More shards than pieces leave some empty, with zero gradients. */
static void test_run_of_fewer_pieces_than_shards(void **state)
{
    (void)state;
    struct bench b;
    struct batch *batch = NULL;
    struct batch_loss loss;
    struct errmsg e;
    bench_init(&b);
    assert_int_equal(batch_create(&b.net.shape, 5, 5, 13, b.pool, &batch, &e), ERR_OK);
    batch_run(batch, &b.net, &b.data, b.pieces.piece, 5, NULL, NEXT_WEIGHT, &loss);
    batch_run(batch, &b.net, &b.data, b.pieces.piece, 2, NULL, NEXT_WEIGHT, &loss);
    for (size_t i = 0; i < b.net.layout.total; i++) {
        assert_false(fabsf(batch_grads(batch)[2][i]) > 0);
    }
    batch_run(batch, &b.net, &b.data, b.pieces.piece, 0, NULL, NEXT_WEIGHT, &loss);
    assert_true(loss.events == 0 && !(loss.weight_sum > 0));
    batch_free(batch);
    bench_done(&b);
}

static void test_init_has_the_stated_spreads(void **state)
{
    (void)state;
    struct net_shape s;
    struct net_layout l;
    struct errmsg e;
    net_shape_default(&s, 128, 1500);
    assert_int_equal(net_layout_init(&l, &s, &e), ERR_OK);
    float *w = calloc(l.total, sizeof *w);
    float *again = calloc(l.total, sizeof *again);
    float *other = calloc(l.total, sizeof *other);
    train_init(&s, &l, 1, 0.01, w);
    train_init(&s, &l, 1, 0.01, again);
    train_init(&s, &l, 2, 0.01, other);
    assert_memory_equal(w, again, l.total * sizeof *w);
    assert_memory_not_equal(w, other, l.total * sizeof *w);
    const struct {
        enum net_tensor_kind kind;
        double sd;
    } wanted[] = {
        {NET_INPUT_W, 1 / sqrt(3.0 * 128)}, {NET_Q, 1 / sqrt(3.0 * 96)},
        {NET_UK, 1 / sqrt(3.0 * 16)},       {NET_W1, 1 / sqrt(96.0)},
        {NET_W2, 0.5 / sqrt(16.0)},         {NET_TABLE, 0},
    };
    for (size_t k = 0; k < sizeof wanted / sizeof wanted[0]; k++) {
        double square = 0;
        for (size_t i = 0; i < l.size[wanted[k].kind]; i++) {
            square += pow((double)w[l.offset[wanted[k].kind][0] + i], 2);
        }
        double sd = sqrt(square / (double)l.size[wanted[k].kind]);
        /* at least 1024 draws: deviation of the deviation 2 % */
        assert_true(fabs(sd - wanted[k].sd) <= 0.1 * wanted[k].sd);
    }
    assert_true(fabs((double)w[l.offset[NET_HEAD_B][0]] - log(0.01 / 0.99)) < 1e-6);
    assert_true(fabs((double)w[l.offset[NET_NORM_OUT][0]] - 1) < 1e-9);
    free(w);
    free(again);
    free(other);
}

static uint64_t hash_of(const struct toy_rows *t, uint32_t threads)
{
    struct pool *pool = NULL;
    struct errmsg e;
    uint64_t hash = 0;
    assert_int_equal(pool_create(threads, &pool, &e), ERR_OK);
    assert_int_equal(train_rows_check(&t->rows, pool, &hash, &e), ERR_OK);
    pool_free(pool);
    return hash;
}

static void test_check_hashes_all_that_training_reads(void **state)
{
    (void)state;
    struct toy_rows t;
    toy_rows_init(&t, 6, 500, 40, COLUMNS); /* several blocks */
    uint64_t hash = hash_of(&t, 1);
    assert_true(hash == hash_of(&t, 3));
    size_t last = t.rows.n - 1;
    t.x[last * COLUMNS] += 1;
    assert_false(hash == hash_of(&t, 1));
    t.x[last * COLUMNS] -= 1;
    uint64_t back = hash_of(&t, 1);
    t.event_us[last]++;
    assert_false(back == hash_of(&t, 1));
    t.event_us[last]--;
    t.card[last]++;
    assert_false(back == hash_of(&t, 1));
    t.card[last]--;
    t.label[0] ^= 1;
    assert_false(back == hash_of(&t, 1));
    t.label[0] ^= 1;
    t.weight[10000] += 1;
    assert_false(back == hash_of(&t, 1));
    t.weight[10000] -= 1;
    t.rows.n--;
    assert_false(back == hash_of(&t, 1));
    toy_rows_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_in_shards_is_the_whole),
        cmocka_unit_test(test_run_of_fewer_pieces_than_shards),
        cmocka_unit_test(test_init_has_the_stated_spreads),
        cmocka_unit_test(test_check_hashes_all_that_training_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
