/* Rows in training's order, in memory and in files, against a plain sort. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "daemon/learn_rows.h"
#include "features/schema.h"

#define WEIGHT_FROM 300

/* n payments of `cards` cards, several at a time; ids are not kept. */
static void fill(struct past *past, size_t n, uint32_t cards)
{
    struct rng rng;
    struct errmsg e = {""};
    rng_init(&rng, 7);
    *past = (struct past){.without_ids = true};
    for (size_t i = 0; i < n; i++) {
        struct tx t = {.id = i + 1,
                       .card = (rng_below(&rng, cards) + 1) * 0x9e3779b97f4a7c15U,
                       .event_us = (int64_t)(i / 3),
                       .type = (uint8_t)rng_below(&rng, TX_CHECK + 1)};
        assert_int_equal(past_add(past, &t, (struct slice){"id", 2}, i % 7 != 0, i % 11 == 0,
                                  t.event_us + 5, &e),
                         ERR_OK);
    }
    past_sort(past);
}

static const struct past *sorting;

static int by_card(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a;
    uint32_t k = *(const uint32_t *)b;
    uint64_t x = sorting->rows[i].tx.card;
    uint64_t y = sorting->rows[k].tx.card;
    return x != y ? (x < y ? -1 : 1) : (i < k ? -1 : i > k);
}

/* What stands for the columns of past's row i: [FEAT_DIM]. */
static void columns_of(uint32_t i, float *x)
{
    for (size_t c = 0; c < FEAT_DIM; c++) {
        x[c] = (float)i + (float)c / 256;
    }
}

static void check_row(const struct train_rows *rows, size_t k, const struct past_row *p,
                      uint32_t card, uint32_t i)
{
    bool counts = p->tx.type != TX_REFUND && p->tx.type != TX_REVERSAL &&
                  p->known_us != INT64_MAX && p->tx.event_us >= WEIGHT_FROM;
    assert_int_equal(rows->event_us[k], p->tx.event_us);
    assert_int_equal(rows->card[k], card);
    assert_int_equal(rows->label[k], p->fraud);
    assert_float_equal(rows->weight[k], counts ? 1 : 0, 0);
    float x[FEAT_DIM];
    columns_of(i, x);
    assert_memory_equal(rows->x + k * FEAT_DIM, x, sizeof x);
}

static void check_order(size_t n, uint32_t cards, struct scratch *scratch, size_t range_rows)
{
    struct past past;
    struct learn_rows r;
    struct errmsg e = {""};
    fill(&past, n, cards);
    uint32_t *order = malloc(n * sizeof *order);
    assert_non_null(order);
    enum err err = learn_rows_init(&r, &past, WEIGHT_FROM, scratch, range_rows, &e);
    assert_string_equal(e.text, "");
    assert_int_equal(err, ERR_OK);
    assert_int_equal(r.x.file != 0, scratch != NULL);
    for (uint32_t i = 0; i < n; i++) {
        float x[FEAT_DIM];
        columns_of(i, x);
        learn_rows_put(&r, i, x);
        order[i] = i;
    }
    assert_int_equal(learn_rows_finish(&r, &e), ERR_OK);
    sorting = &past;
    qsort(order, n, sizeof *order, by_card);
    struct train_rows rows = learn_rows_view(&r);
    assert_int_equal(rows.n, n);
    assert_int_equal(rows.columns, FEAT_DIM);
    uint32_t card = 0;
    for (size_t k = 0; k < n; k++) {
        const struct past_row *p = &past.rows[order[k]];
        card += k > 0 && p->tx.card != past.rows[order[k - 1]].tx.card;
        check_row(&rows, k, p, card, order[k]);
    }
    free(order);
    learn_rows_done(&r);
    past_done(&past);
}

static void test_rows_stand_by_card_and_time(void **state)
{
    (void)state;
    check_order(1, 1, NULL, LEARN_RANGE_ROWS);
    check_order(3000, 37, NULL, LEARN_RANGE_ROWS);
    check_order(9000, 8000, NULL, LEARN_RANGE_ROWS); /* the table of cards grows */
}

static void test_rows_in_files_are_the_same(void **state)
{
    (void)state;
    struct scratch s = {.folder = "/var/tmp"};
    check_order(1, 1, &s, LEARN_RANGE_ROWS);
    check_order(3000, 37, &s, LEARN_RANGE_ROWS);
    check_order(3000, 37, &s, 7); /* 428 whole ranges and a part of one */
    check_order(3000, 37, &s, 3000);
    check_order(3000, 37, &s, 1);
    assert_int_equal(s.memory_used_bytes, 0);
}

static void test_init_says_what_it_was_for(void **state)
{
    (void)state;
    struct scratch s = {.folder = "/nonexistent"};
    struct past past;
    struct learn_rows r;
    struct errmsg e = {""};
    fill(&past, 20, 3);
    assert_int_equal(learn_rows_init(&r, &past, 0, &s, LEARN_RANGE_ROWS, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "cannot train on 20 payments"));
    assert_non_null(strstr(e.text, "/nonexistent"));
    learn_rows_done(&r);
    past_done(&past);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_stand_by_card_and_time),
        cmocka_unit_test(test_rows_in_files_are_the_same),
        cmocka_unit_test(test_init_says_what_it_was_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
