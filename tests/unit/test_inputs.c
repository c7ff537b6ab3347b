/* Columns of a card's latest payments, kept for models that come later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "daemon/inputs.h"

#define EVENTS 5

static void *card;

static int setup(void **state)
{
    (void)state;
    card = calloc(1, inputs_bytes(EVENTS));
    return card == NULL;
}

static int teardown(void **state)
{
    (void)state;
    free(card);
    return 0;
}

static void keep(int64_t number, bool first, bool in_order)
{
    float x[FEAT_DIM];
    const struct inputs_event event = {number, first, in_order};
    for (size_t i = 0; i < FEAT_DIM; i++) {
        x[i] = (float)number;
    }
    inputs_keep(card, EVENTS, x, &event);
}

static void test_what_is_kept_comes_back(void **state)
{
    (void)state;
    struct rng r;
    struct inputs_event got;
    rng_init(&r, 5);
    for (int round = 0; round < 3 * EVENTS; round++) {
        float x[FEAT_DIM];
        const struct inputs_event event = {round, round % 2 == 0, round % 3 == 0};
        for (size_t i = 0; i < FEAT_DIM; i++) {
            x[i] = (float)rng_normal(&r);
        }
        inputs_keep(card, EVENTS, x, &event);
        const float *out = inputs_get(card, EVENTS, inputs_count(card) - 1, &got);
        assert_int_equal(got.event_us, round);
        assert_int_equal(got.first, event.first);
        assert_int_equal(got.in_order, event.in_order);
        assert_memory_equal(out, x, sizeof x);
    }
}

static void test_the_oldest_gives_way(void **state)
{
    (void)state;
    struct inputs_event got;
    for (int64_t n = 1; n <= EVENTS + 3; n++) {
        keep(n, n == 1, true);
        assert_int_equal(inputs_count(card), n < EVENTS ? n : EVENTS);
    }
    for (size_t k = 0; k < EVENTS; k++) {
        const float *x = inputs_get(card, EVENTS, k, &got);
        assert_int_equal(got.event_us, 4 + k);
        assert_float_equal(x[0], 4 + (float)k, 0);
    }
}

static void test_complete_is_what_a_cache_would_call_so(void **state)
{
    (void)state;
    assert_false(inputs_complete(card, EVENTS, 3));
    keep(1, false, true);
    keep(2, false, true);
    assert_false(inputs_complete(card, EVENTS, 3));
    keep(3, false, false); /* late: the count begins anew */
    keep(4, false, true);
    keep(5, false, true);
    assert_false(inputs_complete(card, EVENTS, 3));
    keep(6, false, true);
    assert_true(inputs_complete(card, EVENTS, 3));
    assert_false(inputs_complete(card, EVENTS, EVENTS + 1));
}

static void test_all_of_a_card_is_complete(void **state)
{
    (void)state;
    keep(1, true, true);
    assert_true(inputs_complete(card, EVENTS, 1000));
    for (int n = 0; n < EVENTS; n++) {
        keep(2 + n, false, true);
    }
    assert_false(inputs_complete(card, EVENTS, 1000)); /* the first has given way */
}

static void test_nothing_is_kept_where_nothing_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(inputs_bytes(0), 0);
    assert_int_equal(inputs_count(card), 0);
    assert_false(inputs_complete(card, EVENTS, 0));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_kept_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_oldest_gives_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_complete_is_what_a_cache_would_call_so, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_all_of_a_card_is_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_kept_where_nothing_is_asked_for, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
