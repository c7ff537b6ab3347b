/* Histories: order, what is forgotten, the error of panes, memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/timefmt.h"
#include "features/chunk_kernel.h"
#include "features/history.h"
#include "features/panes.h"

static const int64_t WINDOW[] = {TIME_HOUR, TIME_DAY, 7 * TIME_DAY, 30 * TIME_DAY, 90 * TIME_DAY};
#define WINDOWS (sizeof WINDOW / sizeof *WINDOW)

static struct region make_region(size_t bytes)
{
    struct region r;
    struct errmsg e = {""};
    if (region_init(&r, bytes, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return r;
}

static struct entry payment(int64_t time_us, uint32_t amount)
{
    return (struct entry){time_us, amount, ENTRY_PAYMENT};
}

/* Exact number and sum of payments in (from, to]. */
static void exact(const struct entry *all, size_t n, int64_t from_us, int64_t to_us, double out[2])
{
    out[0] = out[1] = 0;
    for (size_t i = 0; i < n; i++) {
        if (all[i].time_us > from_us && all[i].time_us <= to_us &&
            (all[i].tag & ENTRY_PAYMENT) != 0) {
            out[0] += 1;
            out[1] += (double)all[i].amount;
        }
    }
}

/* The stated bound: between the exact values of windows a sixteenth shorter and longer. */
static void check_windows(const struct region *r, const struct history *h,
                          const struct history_limits *l, const struct entry *all, size_t n)
{
    int64_t at_us = all[n - 1].time_us;
    struct view v = history_view(r, h, l, at_us);
    struct sums s[WINDOWS];
    view_windows(&v, WINDOW, WINDOWS, s);
    for (size_t k = 0; k < WINDOWS; k++) {
        double low[2];
        double high[2];
        int64_t slack = WINDOW[k] / 16 + 1;
        exact(all, n, at_us - WINDOW[k] + slack, at_us, low);
        exact(all, n, at_us - WINDOW[k] - slack, at_us, high);
        double got[2] = {sums_n(&s[k]), (double)s[k].sum + s[k].pane_sum};
        for (int i = 0; i < 2; i++) {
            /* shares of panes are added in double: 1e-9 of the sum */
            if (got[i] < low[i] * (1 - 1e-9) || got[i] > high[i] * (1 + 1e-9)) {
                fail_msg("%zu events, window %zu: %g is not between %g and %g", n, k, got[i],
                         low[i], high[i]);
            }
        }
        assert_true(got[0] <= 0 || fabs(sums_mean(&s[k]) - got[1] / got[0] / 100) < 1e-6);
    }
}

static void check_order(const struct region *r, const struct history *h)
{
    int64_t later = INT64_MAX;
    uint32_t n = 0;
    for (const struct chunk *c = history_chunk(r, h->newest); c != NULL;
         c = history_chunk(r, c->older)) {
        for (uint32_t i = c->n; i-- > 0; n++) {
            assert_true(c->entry[i].time_us <= later);
            later = c->entry[i].time_us;
        }
        struct sums s = {0};
        CHUNK_KERNEL_PORTABLE.window_part(c->entry, c->n, INT64_MIN, &s);
        assert_int_equal(c->payments, s.n);
        assert_int_equal(c->sum, s.sum);
        assert_true(((wide_sum)c->square_high << 64 | c->square_low) == s.square);
    }
    assert_int_equal(n, h->n);
    assert_true(later >= panes_end(r, h));
}

static void fill_and_check(uint64_t seed, uint32_t entries_max, size_t n, double step_us)
{
    struct region r = make_region((size_t)64 << 20);
    struct history h = {0};
    const struct history_limits l = {entries_max, 98 * TIME_DAY};
    struct entry *all = calloc(n, sizeof *all);
    struct rng g;
    size_t kept = 0;
    assert_non_null(all);
    rng_init(&g, seed);
    int64_t now_us = 1000 * TIME_DAY;
    for (size_t i = 0; i < n; i++) {
        /* bursts and pauses; one in twenty comes late */
        double step = rng_exponential(&g) * step_us * (rng_below(&g, 50) == 0 ? 30 : 0.4);
        now_us += (int64_t)step;
        struct entry e = payment(now_us, (uint32_t)rng_below(&g, 100000));
        if (rng_below(&g, 20) == 0) {
            e.time_us -= (int64_t)(rng_uniform(&g) * step_us * 40);
        }
        e.tag = rng_below(&g, 10) == 0 ? ENTRY_IS_REFUND : ENTRY_PAYMENT;
        if (history_add(&r, &h, &l, &e)) {
            all[kept++] = e;
        }
        if (i % 97 == 0 && e.time_us == now_us) {
            check_order(&r, &h);
            check_windows(&r, &h, &l, all, kept);
        }
    }
    assert_true(h.n <= entries_max);
    history_free(&r, &h);
    assert_int_equal(region_head(&r)->bytes_live, 0);
    region_done(&r);
    free(all);
}

static void test_windows_stay_within_the_panes_bound(void **state)
{
    (void)state;
    fill_and_check(1, 16, 3000, 3.0 * (double)TIME_HOUR);
    fill_and_check(2, 64, 6000, 0.5 * (double)TIME_HOUR);
    fill_and_check(3, 256, 20000, 600e6);
    fill_and_check(4, 256, 6000, 2e6);
    fill_and_check(5, 4096, 6000, 0.5 * (double)TIME_HOUR);
}

/* Ages from microseconds to months: as many panes as there can be, each still narrow.  A version
 * that merged all of them when there were many failed here. */
static void test_panes_stay_narrow_however_many(void **state)
{
    (void)state;
    enum { EVENTS = 3500 };
    struct region r = make_region((size_t)16 << 20);
    struct history h = {0};
    const struct history_limits l = {16, 98 * TIME_DAY};
    struct entry all[EVENTS];
    int64_t end_us = 1000 * TIME_DAY;
    for (size_t i = 0; i < EVENTS; i++) {
        double age = 90 * (double)TIME_DAY * pow(1e-13, (double)i / (EVENTS - 1));
        all[i] = payment(end_us - (int64_t)age, 100);
        assert_true(history_add(&r, &h, &l, &all[i]));
    }
    const struct pane *p = region_at(&r, h.panes);
    assert_true(h.pane_count > 100 && h.pane_count < PANES_MAX);
    for (uint32_t i = 0; i < h.pane_count; i++) {
        assert_true((p[i].to_us - p[i].from_us) * 16 <= end_us - p[i].to_us);
    }
    check_windows(&r, &h, &l, all, EVENTS);
    region_done(&r);
}

static void test_history_add_forgets_at_the_horizon(void **state)
{
    (void)state;
    struct region r = make_region((size_t)1 << 20);
    struct history h = {0};
    const struct history_limits l = {64, 10 * TIME_DAY};
    struct entry newest = payment(100 * TIME_DAY, 1);
    struct entry gone = payment(90 * TIME_DAY, 2);
    struct entry late = payment(90 * TIME_DAY + 1, 3);
    assert_true(history_add(&r, &h, &l, &newest));
    assert_false(history_add(&r, &h, &l, &gone));
    assert_true(history_add(&r, &h, &l, &late));
    struct view v = history_view(&r, &h, &l, 100 * TIME_DAY);
    assert_int_equal(view_count_unmarked(&v, 0, 100 * TIME_DAY), 2);
    v = history_view(&r, &h, &l, 100 * TIME_DAY + 1); /* one microsecond on, it is out of sight */
    assert_int_equal(view_count_unmarked(&v, 0, 100 * TIME_DAY), 1);
    assert_true(view_latest_legitimate(&v, 99 * TIME_DAY) == INT64_MIN);
    region_done(&r);
}

static void test_history_add_is_late_behind_panes(void **state)
{
    (void)state;
    struct region r = make_region((size_t)1 << 20);
    struct history h = {0};
    const struct history_limits l = {16, 98 * TIME_DAY};
    for (int i = 0; i < 17; i++) { /* the 17th folds the first four */
        struct entry e = payment(i * TIME_HOUR, 5);
        assert_true(history_add(&r, &h, &l, &e));
    }
    struct entry before = payment(3 * TIME_HOUR - 1, 5);
    struct entry beside = payment(3 * TIME_HOUR, 5);
    assert_false(history_add(&r, &h, &l, &before));
    assert_true(history_add(&r, &h, &l, &beside));
    struct view v = history_view(&r, &h, &l, 16 * TIME_HOUR);
    assert_int_equal(view_count_unmarked(&v, -1, 16 * TIME_HOUR), 18);
    region_done(&r);
}

/* The late event is older than what has to be folded for it: it must not end up behind the panes.
 */
static void test_history_add_is_late_behind_panes_it_made(void **state)
{
    (void)state;
    struct region r = make_region((size_t)1 << 20);
    struct history h = {0};
    const struct history_limits l = {16, 98 * TIME_DAY};
    for (int i = 0; i < 16; i++) {
        struct entry e = payment(i * TIME_HOUR, 5);
        assert_true(history_add(&r, &h, &l, &e));
    }
    struct entry late = payment(TIME_HOUR, 5);
    assert_false(history_add(&r, &h, &l, &late));
    check_order(&r, &h);
    assert_int_equal(h.n, 12);
    region_done(&r);
}

static void test_history_bytes_follow_the_events(void **state)
{
    (void)state;
    struct region r = make_region((size_t)4 << 20);
    struct history h = {0};
    const struct history_limits l = {4096, 98 * TIME_DAY};
    for (uint32_t i = 0; i < 12000; i++) { /* 98 days hold 3,920 of them */
        struct entry e = payment(i * (TIME_DAY / 40), i);
        assert_true(history_add(&r, &h, &l, &e));
        struct view v = history_view(&r, &h, &l, e.time_us);
        double n = view_count_unmarked(&v, INT64_MIN, e.time_us);
        double bytes = (double)history_bytes(&r, &h);
        assert_true(bytes <= (n < 31 ? 32 * n + 64 : 17.1 * n + 1100));
    }
    assert_int_equal(h.pane_count, 0);
    region_done(&r);
}

/* A full region: the newest events stay, in order; nothing is lost but the oldest. */
static void test_history_add_without_memory_keeps_the_newest(void **state)
{
    (void)state;
    for (size_t bytes = 192; bytes <= 4096; bytes += 64) {
        struct region r = make_region(bytes);
        struct history h = {0};
        const struct history_limits l = {4096, 98 * TIME_DAY};
        for (uint32_t i = 0; i < 600; i++) {
            struct entry e = payment(i * TIME_HOUR, i);
            e.time_us -= i % 7 == 0 ? 5 * TIME_HOUR : 0;
            assert_true(history_add(&r, &h, &l, &e));
            check_order(&r, &h);
            assert_true(region_head(&r)->bytes_live <= bytes);
        }
        assert_true(h.n >= 1);
        const struct chunk *c = history_chunk(&r, h.newest);
        assert_int_equal(c->entry[c->n - 1].amount, 599);
        region_done(&r);
    }
    struct region none = make_region(128); /* the bookkeeping only */
    struct history h = {0};
    const struct history_limits l = {4096, 98 * TIME_DAY};
    struct entry e = payment(0, 1);
    assert_false(history_add(&none, &h, &l, &e));
    region_done(&none);
}

/* Flags of the entries, oldest first. */
static void flags_of(const struct region *r, const struct history *h, uint32_t *out)
{
    const struct chunk *c = history_chunk(r, h->newest);
    for (uint32_t i = 0; i < c->n; i++) {
        out[i] = c->entry[i].tag & 0xff;
    }
}

/* Two payments alike, both frauds: each gets a mark of its own. */
static void test_history_mark_marks_each_of_two_alike(void **state)
{
    (void)state;
    struct region r = make_region((size_t)1 << 16);
    struct history h = {0};
    const struct history_limits l = {64, 98 * TIME_DAY};
    struct entry check = {TIME_DAY, 500, ENTRY_IS_CHECK};
    struct entry e = payment(TIME_DAY, 500);
    assert_true(history_add(&r, &h, &l, &e));
    assert_true(history_add(&r, &h, &l, &e));
    assert_true(history_add(&r, &h, &l, &check));
    const struct entry_key key = {TIME_DAY, 500, 0};
    uint32_t f[3];
    history_mark(&r, &h, &key);
    flags_of(&r, &h, f);
    assert_int_equal(f[0], ENTRY_PAYMENT);
    assert_int_equal(f[1], ENTRY_PAYMENT | ENTRY_FRAUD);
    history_mark(&r, &h, &key);
    history_mark(&r, &h, &key); /* none is left */
    flags_of(&r, &h, f);
    assert_int_equal(f[0], ENTRY_PAYMENT | ENTRY_FRAUD);
    assert_int_equal(f[1], ENTRY_PAYMENT | ENTRY_FRAUD);
    assert_int_equal(f[2], ENTRY_IS_CHECK);
    history_unmark(&r, &h, &key);
    flags_of(&r, &h, f);
    assert_int_equal(f[0] + f[1], 2 * ENTRY_PAYMENT + ENTRY_FRAUD);
    region_done(&r);
}

static void test_history_mark_asks_for_time_amount_and_place(void **state)
{
    (void)state;
    struct region r = make_region((size_t)1 << 16);
    struct history h = {0};
    const struct history_limits l = {64, 98 * TIME_DAY};
    struct entry e = {TIME_DAY, 500, 77U << 8 | ENTRY_PAYMENT};
    assert_true(history_add(&r, &h, &l, &e));
    const struct entry_key wrong[] = {
        {TIME_DAY + 1, 500, 77}, {TIME_DAY - 1, 500, 77}, {TIME_DAY, 501, 77}, {TIME_DAY, 500, 78}};
    uint32_t f = 0;
    for (size_t i = 0; i < 4; i++) {
        history_mark(&r, &h, &wrong[i]);
        flags_of(&r, &h, &f);
        assert_int_equal(f, ENTRY_PAYMENT);
    }
    const struct entry_key right = {TIME_DAY, 500, 77};
    history_mark(&r, &h, &right);
    flags_of(&r, &h, &f);
    assert_int_equal(f, ENTRY_PAYMENT | ENTRY_FRAUD);
    region_done(&r);
}

/* Every path, every length, edges on and beside an entry, the largest amounts. */
static void test_chunk_kernels_agree(void **state)
{
    (void)state;
    const struct chunk_kernel *paths[] = {&CHUNK_KERNEL_PORTABLE, chunk_kernel_best(),
                                          chunk_kernel_avx2()};
    struct entry e[30];
    struct rng g;
    rng_init(&g, 9);
    for (int round = 0; round < 3000; round++) {
        int64_t time_us = -40;
        for (size_t i = 0; i < 30; i++) {
            time_us += (int64_t)rng_below(&g, 4);
            e[i].time_us = time_us;
            e[i].amount = rng_below(&g, 3) == 0 ? UINT32_MAX : (uint32_t)rng_next(&g);
            e[i].tag = (uint32_t)rng_next(&g) & (rng_below(&g, 2) == 0 ? UINT32_MAX : 0x3ff);
        }
        uint32_t n = (uint32_t)rng_below(&g, 31);
        int64_t edge_us = round % 50 == 0 ? INT64_MIN : (int64_t)rng_below(&g, 100) - 50;
        uint32_t place = n > 0 && rng_below(&g, 4) != 0 ? e[rng_below(&g, n)].tag >> 8 : 5;
        struct sums want = {.n = 3, .sum = 5, .square = 7};
        uint32_t here = 0;
        for (uint32_t i = 0; i < n; i++) {
            bool payment = (e[i].tag & ENTRY_PAYMENT) != 0;
            here |= payment && e[i].tag >> 8 == place ? 1U << i : 0;
            if (e[i].time_us > edge_us && payment) {
                want.n++;
                want.sum += e[i].amount;
                want.square += (wide_sum)e[i].amount * e[i].amount;
            }
        }
        for (size_t k = 0; k < 3 && paths[k] != NULL; k++) {
            struct sums got = {.n = 3, .sum = 5, .square = 7};
            paths[k]->window_part(e, n, edge_us, &got);
            assert_memory_equal(&got, &want, sizeof got);
            assert_int_equal(paths[k]->at_place(e, n, place), here);
        }
    }
}

/* Whole numbers: the order of addition cannot matter, and no digit is lost to cancellation. */
static void test_sums_deviation_is_exact(void **state)
{
    (void)state;
    const struct sums same = {
        .n = 3, .sum = 3 * (uint64_t)UINT32_MAX, .square = (wide_sum)3 * UINT32_MAX * UINT32_MAX};
    assert_false(sums_deviation(&same) > 0);
    const struct sums apart = {.n = 2,
                               .sum = 2 * (uint64_t)UINT32_MAX - 2,
                               .square = (wide_sum)UINT32_MAX * UINT32_MAX +
                                         (wide_sum)(UINT32_MAX - 2U) * (UINT32_MAX - 2U)};
    assert_true(fabs(sums_deviation(&apart) - 0.01) < 1e-15);
    const struct sums none = {0};
    assert_false(sums_deviation(&none) > 0 || sums_mean(&none) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_stay_within_the_panes_bound),
        cmocka_unit_test(test_panes_stay_narrow_however_many),
        cmocka_unit_test(test_history_add_forgets_at_the_horizon),
        cmocka_unit_test(test_history_add_is_late_behind_panes),
        cmocka_unit_test(test_history_add_is_late_behind_panes_it_made),
        cmocka_unit_test(test_history_bytes_follow_the_events),
        cmocka_unit_test(test_history_add_without_memory_keeps_the_newest),
        cmocka_unit_test(test_history_mark_marks_each_of_two_alike),
        cmocka_unit_test(test_history_mark_asks_for_time_amount_and_place),
        cmocka_unit_test(test_chunk_kernels_agree),
        cmocka_unit_test(test_sums_deviation_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
