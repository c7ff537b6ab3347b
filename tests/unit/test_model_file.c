/* Model files and training states: what was written comes back, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"
#include "model/model_format.h"
#include "model/train.h"
#include "tests/support/net_twin.h"

/* Small, so that every byte can be spoilt in turn. */
static struct net_shape small_shape(void)
{
    return (struct net_shape){.columns = 3,
                              .width = 8,
                              .layers = 2,
                              .heads = 2,
                              .head_dim = 4,
                              .rank = 4,
                              .rope = 4,
                              .experts = 3,
                              .top = 2,
                              .expert_hidden = 4,
                              .shared_hidden = 4,
                              .window = 4};
}

static const struct model_lineage LINEAGE = {.parent = "20260401-00000000",
                                             .data_from_us = -5,
                                             .data_until_us = INT64_C(1775001600000000),
                                             .rows_hash = 0x123456789abcdef0,
                                             .rows = 1000,
                                             .frauds = 7,
                                             .seed = 42,
                                             .schema_hash = 0xfedcba9876543210,
                                             .maturity_us = 604800000000,
                                             .blame_ratio = 3,
                                             .blame_tail = 2.7F,
                                             .rates_version = 9,
                                             .code_version = "abcdef123456",
                                             .blas_core = "Zen",
                                             .holdout_auc = 0.87,
                                             .holdout_ap = NAN,
                                             .holdout_brier = 0.01,
                                             .score_share = {.75F, .25F}};

struct file {
    struct train_result *r;
    uint8_t *bytes;
    size_t len;
};

static struct file pack(const struct net_shape *shape, uint64_t seed)
{
    struct file f = {.r = twin_random(shape, shape->columns, 0, seed)};
    struct errmsg e = {""};
    assert_int_equal(model_pack(f.r, &LINEAGE, &f.bytes, &f.len, &e), ERR_OK);
    return f;
}

static void done(struct file *f)
{
    twin_free(f->r);
    free(f->bytes);
}

/* A checksum that fits, as someone who wants to do harm would write it. */
static void sign(uint8_t *bytes, size_t len)
{
    hash_128(bytes, len - 16, bytes + len - 16);
}

static void test_load_gives_back_what_was_packed(void **state)
{
    (void)state;
    struct net_shape shape = small_shape();
    struct file f = pack(&shape, 1);
    struct model *m = NULL;
    struct errmsg e = {""};
    assert_int_equal(model_load(f.bytes, f.len, &m, &e), ERR_OK);
    assert_memory_equal(model_shape(m), &f.r->shape, sizeof f.r->shape);
    const struct model_lineage *l = model_lineage(m);
    assert_int_equal(strncmp(l->version, "20260401-", 9), 0);
    assert_int_equal(strlen(l->version), 17);
    assert_string_equal(l->parent, LINEAGE.parent);
    assert_string_equal(l->code_version, LINEAGE.code_version);
    assert_string_equal(l->blas_core, LINEAGE.blas_core);
    assert_true(l->data_from_us == -5 && l->data_until_us == LINEAGE.data_until_us);
    assert_true(l->rows_hash == LINEAGE.rows_hash && l->schema_hash == LINEAGE.schema_hash);
    assert_true(l->rows == 1000 && l->frauds == 7 && l->seed == 42 && l->rates_version == 9);
    assert_true(l->maturity_us == LINEAGE.maturity_us);
    assert_memory_equal(&l->blame_ratio, &LINEAGE.blame_ratio, sizeof l->blame_ratio);
    assert_memory_equal(&l->blame_tail, &LINEAGE.blame_tail, sizeof l->blame_tail);
    assert_memory_equal(&l->holdout_auc, &LINEAGE.holdout_auc, sizeof l->holdout_auc);
    assert_memory_equal(&l->holdout_brier, &LINEAGE.holdout_brier, sizeof l->holdout_brier);
    assert_true(isnan(l->holdout_ap));
    assert_memory_equal(l->score_share, LINEAGE.score_share, sizeof l->score_share);
    const struct net_encoding *enc = model_encoding(m);
    assert_memory_equal(enc->mean, f.r->encoding.mean, shape.columns * sizeof *enc->mean);
    assert_memory_equal(enc->first_row, f.r->encoding.first_row,
                        (shape.columns + 1) * sizeof *enc->first_row);
    model_free(m);
    done(&f);
}

/* A file from before the shares by score were kept: the last section ends earlier. */
static void test_load_takes_a_file_without_shares(void **state)
{
    (void)state;
    struct net_shape shape = small_shape();
    struct file f = pack(&shape, 1);
    struct model *m = NULL;
    struct errmsg e = {""};
    size_t shares = sizeof LINEAGE.score_share;
    uint8_t *line = memmem(f.bytes, f.len, "LINE", 4);
    uint64_t length;
    assert_non_null(line);
    memcpy(&length, line + 4, sizeof length);
    length -= shares;
    memcpy(line + 4, &length, sizeof length);
    sign(f.bytes, f.len - shares);
    assert_int_equal(model_load(f.bytes, f.len - shares, &m, &e), ERR_OK);
    for (size_t i = 0; i < SCORE_BANDS; i++) {
        assert_false(model_lineage(m)->score_share[i] > 0);
    }
    assert_true(model_lineage(m)->rates_version == 9);
    model_free(m);
    done(&f);
}

static void test_pack_is_a_function_of_its_input(void **state)
{
    (void)state;
    struct net_shape shape = small_shape();
    struct file a = pack(&shape, 1);
    struct file b = pack(&shape, 1);
    struct file c = pack(&shape, 2);
    struct model *m = NULL;
    struct model *n = NULL;
    struct errmsg e;
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.bytes, b.bytes, a.len);
    assert_int_equal(model_load(a.bytes, a.len, &m, &e), ERR_OK);
    assert_int_equal(model_load(c.bytes, c.len, &n, &e), ERR_OK);
    assert_true(model_hash(m) != model_hash(n) && model_hash(m) != 0);
    assert_string_not_equal(model_lineage(m)->version, model_lineage(n)->version);
    model_free(m);
    model_free(n);
    done(&a);
    done(&b);
    done(&c);
}

static void test_load_detects_every_spoilt_byte(void **state)
{
    (void)state;
    struct net_shape shape = small_shape();
    struct file f = pack(&shape, 3);
    struct errmsg e;
    for (size_t i = 0; i < f.len; i++) {
        static const uint8_t flips[] = {0x01, 0x80, 0xff};
        for (size_t k = 0; k < sizeof flips; k++) {
            struct model *m = NULL;
            f.bytes[i] ^= flips[k];
            assert_int_not_equal(model_load(f.bytes, f.len, &m, &e), ERR_OK);
            assert_null(m);
            f.bytes[i] ^= flips[k];
        }
    }
    done(&f);
}

static void test_load_detects_every_truncation(void **state)
{
    (void)state;
    struct net_shape shape = small_shape();
    struct file f = pack(&shape, 4);
    struct errmsg e;
    for (size_t len = 0; len < f.len; len++) {
        struct model *m = NULL;
        uint8_t *copy = malloc(len + 1); /* its own block, so that a read past it is seen */
        assert_non_null(copy);
        memcpy(copy, f.bytes, len);
        assert_int_equal(model_load(copy, len, &m, &e), ERR_CORRUPT);
        if (len >= 16) {
            sign(copy, len);
            assert_int_not_equal(model_load(copy, len, &m, &e), ERR_OK);
        }
        free(copy);
    }
    done(&f);
}

/* Random damage with a checksum that fits: it is refused, or the model still gives finite logits.
 */
static void test_load_survives_signed_damage(void **state)
{
    (void)state;
    struct net_shape shape = small_shape();
    struct file f = pack(&shape, 5);
    uint8_t *copy = malloc(f.len);
    struct errmsg e;
    struct rng rng;
    size_t loaded = 0;
    assert_non_null(copy);
    rng_init(&rng, 6);
    for (int round = 0; round < 20000; round++) {
        struct model *m = NULL;
        memcpy(copy, f.bytes, f.len);
        for (uint64_t k = rng_below(&rng, 4) + 1; k > 0; k--) {
            static const uint8_t wild[] = {0, 1, 0x7f, 0x80, 0xff};
            copy[rng_below(&rng, f.len - 16)] = wild[rng_below(&rng, sizeof wild)];
        }
        sign(copy, f.len);
        if (model_load(copy, f.len, &m, &e) != ERR_OK) {
            continue;
        }
        struct model_work *w = NULL;
        assert_int_equal(model_work_create(m, 1, &w, &e), ERR_OK);
        void *cache = aligned_alloc(64, model_cache_bytes(m));
        float *x = calloc(model_shape(m)->columns, sizeof *x);
        assert_true(cache != NULL && x != NULL);
        memset(cache, 0, model_cache_bytes(m));
        for (int64_t t = 0; t < 6; t++) {
            float logit;
            x[0] = t % 2 == 0 ? 1e30F : (float)t;
            model_step(m, w, 1, x, &t, &cache, &logit);
            assert_true(isfinite(logit));
        }
        loaded++;
        free(x);
        free(cache);
        model_work_free(w);
        model_free(m);
    }
    assert_true(loaded > 1000); /* damage to weights alone is not visible */
    free(copy);
    done(&f);
}

static void test_load_refuses_another_format_version(void **state)
{
    (void)state;
    struct net_shape shape = small_shape();
    struct file f = pack(&shape, 7);
    struct model *m = NULL;
    struct errmsg e = {""};
    f.bytes[8] = 99;
    sign(f.bytes, f.len);
    assert_int_equal(model_load(f.bytes, f.len, &m, &e), ERR_MISMATCH);
    assert_non_null(strstr(e.text, "version 99"));
    assert_int_equal(model_load("not a model, but long enough to be one", 38, &m, &e), ERR_CORRUPT);
    assert_int_equal(model_load(NULL, 0, &m, &e), ERR_CORRUPT);
    done(&f);
}

static void test_pack_names_a_bad_parameter(void **state)
{
    (void)state;
    struct net_shape shape = small_shape();
    struct train_result *r = twin_random(&shape, 3, 0, 8);
    struct net_layout l;
    struct errmsg e = {""};
    uint8_t *bytes = NULL;
    size_t len = 0;
    assert_int_equal(net_layout_init(&l, &r->shape, &e), ERR_OK);
    static const float bad[] = {NAN, INFINITY, 1e6F};
    for (int k = 0; k < NET_NEXT; k++) {
        for (size_t i = 0; i < 3; i++) {
            float *p = &r->params[l.offset[k][0] + l.size[k] - 1];
            float before = *p;
            *p = bad[i];
            assert_int_equal(model_pack(r, &LINEAGE, &bytes, &len, &e), ERR_NUMERIC);
            assert_null(bytes);
            *p = before;
        }
    }
    assert_int_equal(model_pack(r, &LINEAGE, &bytes, &len, &e), ERR_OK);
    free(bytes);
    twin_free(r);
}

static void test_file_is_much_smaller_than_floats(void **state)
{
    (void)state;
    struct net_shape shape;
    struct net_layout l;
    struct errmsg e;
    net_shape_default(&shape, 128, 0);
    struct file f = pack(&shape, 9);
    assert_int_equal(net_layout_init(&l, &f.r->shape, &e), ERR_OK);
    assert_true((double)(l.total - l.size[NET_NEXT]) * 4 > 3.5 * (double)f.len);
    done(&f);
}

static void test_state_gives_back_what_was_packed(void **state)
{
    (void)state;
    struct net_shape shape = small_shape();
    struct train_result *r = twin_random(&shape, 3, 0, 10);
    struct train_result back = {0};
    struct net_layout l;
    struct errmsg e = {""};
    uint8_t *bytes = NULL;
    size_t len = 0;
    uint64_t hash = 0;
    r->rows_fit = 5;
    r->frauds_fit = 2;
    r->rows_hash = 77;
    r->epochs_done = 3;
    assert_int_equal(train_state_pack(r, 99, &bytes, &len, &e), ERR_OK);
    assert_int_equal(train_state_load(bytes, len, &back, &hash, &e), ERR_OK);
    assert_int_equal(net_layout_init(&l, &r->shape, &e), ERR_OK);
    assert_int_equal(hash, 99);
    assert_memory_equal(&back.shape, &r->shape, sizeof r->shape);
    assert_memory_equal(back.params, r->params, l.total * sizeof *r->params);
    assert_memory_equal(back.raw_params, r->raw_params, l.total * sizeof *r->params);
    assert_memory_equal(back.balance, r->balance,
                        (size_t)shape.layers * shape.experts * sizeof *r->balance);
    assert_memory_equal(back.calibration, r->calibration, sizeof r->calibration);
    assert_memory_equal(back.encoding.edges, r->encoding.edges,
                        (r->shape.bins - shape.columns) * sizeof *r->encoding.edges);
    assert_true(back.rows_fit == 5 && back.frauds_fit == 2 && back.rows_hash == 77);
    assert_true(back.epochs_done == 3 && isnan(back.holdout_ap));
    assert_memory_equal(&back.holdout_auc, &r->holdout_auc, sizeof r->holdout_auc);
    train_result_done(&back);
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= 0x10;
        assert_int_not_equal(train_state_load(bytes, len, &back, &hash, &e), ERR_OK);
        bytes[i] ^= 0x10;
        if (i % 7 == 0) {
            assert_int_not_equal(train_state_load(bytes, i, &back, &hash, &e), ERR_OK);
        }
    }
    struct model *m = NULL;
    assert_int_equal(model_load(bytes, len, &m, &e), ERR_CORRUPT); /* never loaded by scoring */
    free(bytes);
    twin_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_gives_back_what_was_packed),
        cmocka_unit_test(test_load_takes_a_file_without_shares),
        cmocka_unit_test(test_pack_is_a_function_of_its_input),
        cmocka_unit_test(test_load_detects_every_spoilt_byte),
        cmocka_unit_test(test_load_detects_every_truncation),
        cmocka_unit_test(test_load_survives_signed_damage),
        cmocka_unit_test(test_load_refuses_another_format_version),
        cmocka_unit_test(test_pack_names_a_bad_parameter),
        cmocka_unit_test(test_file_is_much_smaller_than_floats),
        cmocka_unit_test(test_state_gives_back_what_was_packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
