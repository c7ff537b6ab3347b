/* Sets of judged payments: who is in, in which order, under which numbers; the handbook's rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"
#include "daemon/judged.h"
#include "tests/support/judged_twin.h"

#define FIRST 20000 /* a UTC day */
#define ROWS 1500

static void test_set_is_sorted_and_numbered(void **state)
{
    (void)state;
    static struct judged j[ROWS];
    struct judged_set *s = NULL;
    struct errmsg e;
    size_t n = twin_judged(1, FIRST, 9, j, ROWS);
    size_t used[256] = {0};
    size_t frauds = 0;
    double amounts = 0;
    for (size_t i = 0; i < n; i++) {
        frauds += j[i].fraud;
        amounts += j[i].amount;
        used[j[i].card]++;
    }
    assert_int_equal(judged_set_create(j, n, NULL, NULL, &s, &e), ERR_OK);
    assert_int_equal(s->n, n);
    assert_int_equal(s->frauds, frauds);
    assert_int_equal(s->days, 9);
    assert_int_equal(s->date[0], FIRST);
    assert_int_equal(s->date[8], FIRST + 8);
    size_t cards = 0;
    for (size_t c = 0; c < 256; c++) {
        cards += used[c] > 0;
    }
    assert_int_equal(s->cards, cards);
    size_t numbered[256] = {0};
    for (size_t i = 0; i < n; i++) {
        amounts -= s->amount[i];
        frauds -= s->fraud[i];
        numbered[s->card[i]]++;
        assert_true(i == 0 || s->score[i - 1] >= s->score[i]);
        assert_true(s->card[i] < s->cards && s->day[i] < s->days);
    }
    assert_int_equal(frauds, 0);
    assert_true(fabs(amounts) < 1e-6);
    /* numbers follow the first events: card of row 0 is 0, the next new one is 1 .. */
    size_t next = 0;
    bool seen[256] = {false};
    for (size_t i = 0; i < n; i++) {
        if (!seen[j[i].card]) {
            seen[j[i].card] = true;
            assert_int_equal(numbered[next++], used[j[i].card]);
        }
    }
    judged_set_free(s);
}

static bool is_fraud(const struct judged *j, void *ctx)
{
    (*(size_t *)ctx)++;
    return j->fraud;
}

static void test_set_takes_who_is_asked_for(void **state)
{
    (void)state;
    static struct judged j[ROWS];
    struct judged_set *s = NULL;
    struct errmsg e;
    size_t asked = 0;
    size_t n = twin_judged(2, FIRST, 9, j, ROWS);
    assert_int_equal(judged_set_create(j, n, is_fraud, &asked, &s, &e), ERR_OK);
    assert_int_equal(asked, n);
    assert_int_equal(s->n, s->frauds);
    assert_true(s->n > 5 && s->n < n / 2);
    judged_set_free(s);
    assert_int_equal(judged_set_create(j, 0, NULL, NULL, &s, &e), ERR_OK);
    assert_int_equal(s->n + s->cards + s->days + s->frauds, 0);
    judged_set_free(s);
}

static void test_set_refuses_nan(void **state)
{
    (void)state;
    const struct judged j[] = {{.card = 1, .score = 0.5F}, {.card = 2, .score = NAN}};
    struct judged_set *s = NULL;
    struct errmsg e;
    assert_int_equal(judged_set_create(j, 2, NULL, NULL, &s, &e), ERR_NUMERIC);
    assert_null(s);
}

/* One fraud of card 7 on `fraud_day`; is a payment on test_day left out, the test beginning on
 * first_day? */
static bool left_out(int64_t fraud_day, int64_t first_day, int64_t test_day)
{
    struct card_fraud f[] = {{8, first_day * TIME_DAY}, {7, fraud_day * TIME_DAY + TIME_HOUR}};
    struct judged j[] = {{.card = 7, .event_us = test_day * TIME_DAY + 5},
                         {.card = 9, .event_us = test_day * TIME_DAY + 5}};
    judged_mark_known(j, 2, f, 2, first_day * TIME_DAY);
    assert_false(j[1].known_card);
    return j[0].known_card;
}

static void test_mark_known_from_14_days_before_the_first_to_8_before_the_day(void **state)
{
    (void)state;
    assert_false(left_out(100 - 15, 100, 100));
    assert_true(left_out(100 - 14, 100, 100));
    assert_true(left_out(100 - 8, 100, 100));
    assert_false(left_out(100 - 7, 100, 100));
    assert_true(left_out(100 - 7, 100, 101));
    /* the beginning stays where the first test day put it */
    assert_true(left_out(100 - 14, 100, 106));
    assert_false(left_out(100 - 15, 100, 106));
    assert_true(left_out(98, 100, 106));
    assert_false(left_out(99, 100, 106));
}

static void test_mark_known_looks_past_frauds_that_are_too_old(void **state)
{
    (void)state;
    struct card_fraud f[] = {{7, 99 * TIME_DAY}, {7, 80 * TIME_DAY}, {7, 90 * TIME_DAY}};
    struct judged j[] = {{.card = 7, .event_us = 100 * TIME_DAY}};
    judged_mark_known(j, 1, f, 3, 100 * TIME_DAY);
    assert_true(j[0].known_card); /* by the one of day 90 */
    judged_mark_known(j, 1, f, 0, 100 * TIME_DAY);
    assert_false(j[0].known_card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_is_sorted_and_numbered),
        cmocka_unit_test(test_set_takes_who_is_asked_for),
        cmocka_unit_test(test_set_refuses_nan),
        cmocka_unit_test(test_mark_known_from_14_days_before_the_first_to_8_before_the_day),
        cmocka_unit_test(test_mark_known_looks_past_frauds_that_are_too_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
