/* Histories cut in pieces: every row counted once, context from the same card, mixing repeatable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/pieces.h"

#define ROWS 60

/* Cards of 1, 4, 5, 20 and 30 rows, a row a second. */
static void rows_init(struct train_rows *r, int64_t *event_us, uint32_t *card)
{
    const size_t len[] = {1, 4, 5, 20, 30};
    size_t at = 0;
    for (uint32_t c = 0; c < 5; c++) {
        for (size_t i = 0; i < len[c]; i++, at++) {
            card[at] = c + 10;
            event_us[at] = (int64_t)i;
        }
    }
    *r = (struct train_rows){.n = ROWS, .event_us = event_us, .card = card};
}

static void check(int64_t from, int64_t until, uint32_t piece, uint32_t context)
{
    int64_t event_us[ROWS];
    uint32_t card[ROWS];
    struct train_rows r;
    struct pieces p;
    struct errmsg e;
    int counted[ROWS] = {0};
    rows_init(&r, event_us, card);
    assert_int_equal(pieces_cut(&r, from, until, piece, context, &p, &e), ERR_OK);
    for (size_t i = 0; i < p.count; i++) {
        const struct piece *one = &p.piece[i];
        assert_true(one->context <= context);
        assert_true(one->len > one->context);
        assert_true(one->len - one->context <= piece);
        assert_true(one->first + one->len <= ROWS);
        assert_int_equal(card[one->first], card[one->first + one->len - 1]);
        /* as much context as the card has */
        bool card_begins = one->first == 0 || card[one->first - 1] != card[one->first];
        assert_true(one->context == context || card_begins);
        for (uint32_t k = one->context; k < one->len; k++) {
            counted[one->first + k]++;
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(counted[i], event_us[i] >= from && event_us[i] < until);
    }
    pieces_done(&p);
}

static void test_cut_counts_every_row_once(void **state)
{
    (void)state;
    const uint32_t sizes[] = {1, 3, 5, 20, 96};
    for (size_t a = 0; a < 5; a++) {
        for (uint32_t context = 0; context < 12; context += 5) {
            check(INT64_MIN, INT64_MAX, sizes[a], context);
            check(3, 17, sizes[a], context);
            check(4, 5, sizes[a], context);
            check(100, 200, sizes[a], context);
        }
    }
}

static void test_cut_of_no_rows_is_empty(void **state)
{
    (void)state;
    const struct train_rows none = {0};
    struct pieces p;
    struct errmsg e;
    assert_int_equal(pieces_cut(&none, 0, 1, 4, 2, &p, &e), ERR_OK);
    assert_int_equal(p.count, 0);
    pieces_done(&p);
}

static void test_mix_keeps_every_piece_and_orders_batches_by_length(void **state)
{
    (void)state;
    int64_t event_us[ROWS];
    uint32_t card[ROWS];
    struct train_rows r;
    struct pieces a;
    struct pieces b;
    struct rng rng;
    struct errmsg e;
    rows_init(&r, event_us, card);
    assert_int_equal(pieces_cut(&r, INT64_MIN, INT64_MAX, 3, 2, &a, &e), ERR_OK);
    assert_int_equal(pieces_cut(&r, INT64_MIN, INT64_MAX, 3, 2, &b, &e), ERR_OK);
    assert_true(a.count > 15);
    rng_init(&rng, 4);
    pieces_mix(&a, &rng, 7);
    bool moved = false;
    uint32_t seen[ROWS] = {0};
    for (size_t i = 0; i < a.count; i++) {
        assert_true(i % 7 == 0 || a.piece[i].len <= a.piece[i - 1].len);
        moved = moved || a.piece[i].first != b.piece[i].first;
        seen[a.piece[i].first + a.piece[i].context]++;
    }
    assert_true(moved);
    for (size_t i = 0; i < b.count; i++) {
        assert_int_equal(seen[b.piece[i].first + b.piece[i].context], 1);
    }
    rng_init(&rng, 4);
    pieces_mix(&b, &rng, 7);
    assert_memory_equal(a.piece, b.piece, a.count * sizeof *a.piece);
    pieces_mix(&b, &rng, 7);
    assert_memory_not_equal(a.piece, b.piece, a.count * sizeof *a.piece);
    pieces_done(&a);
    pieces_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_counts_every_row_once),
        cmocka_unit_test(test_cut_of_no_rows_is_empty),
        cmocka_unit_test(test_mix_keeps_every_piece_and_orders_batches_by_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
