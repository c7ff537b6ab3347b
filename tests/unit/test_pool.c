/* The worker pool: every item once, scratch by worker, jobs one after another (also run under the
 * thread sanitizer). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"

#define ITEMS 1000

struct job {
    uint32_t done[ITEMS];
    uint64_t sum[POOL_THREADS_MAX]; /* a worker's own */
    uint32_t threads;
};

static void work(void *ctx, uint32_t worker, uint32_t item)
{
    struct job *j = ctx;
    j->done[item] += worker < j->threads ? 1 : 1000; /* cmocka cannot fail in another thread */
    j->sum[worker] += item;
}

static void test_run_does_every_item_once(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 5; threads++) {
        struct pool *p = NULL;
        struct errmsg e;
        assert_int_equal(pool_create(threads, &p, &e), ERR_OK);
        assert_int_equal(pool_threads(p), threads);
        for (uint32_t items = 0; items <= ITEMS; items += 125) {
            struct job j = {.threads = threads};
            uint64_t sum = 0;
            pool_run(p, items, work, &j);
            for (uint32_t i = 0; i < ITEMS; i++) {
                assert_int_equal(j.done[i], i < items);
            }
            for (uint32_t i = 0; i < threads; i++) {
                sum += j.sum[i];
            }
            assert_true(sum == (uint64_t)items * (items > 0 ? items - 1 : 0) / 2);
        }
        pool_free(p);
    }
}

/* Short jobs in a row: a worker that wakes late must not touch the next job's items twice. */
static void test_run_of_many_short_jobs(void **state)
{
    (void)state;
    struct pool *p = NULL;
    struct errmsg e;
    struct job j = {.threads = 4};
    assert_int_equal(pool_create(4, &p, &e), ERR_OK);
    for (uint32_t round = 0; round < 3000; round++) {
        pool_run(p, 3, work, &j);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(j.done[i], 3000);
    }
    pool_free(p);
}

static void test_create_names_its_bounds(void **state)
{
    (void)state;
    struct pool *p = NULL;
    struct errmsg e;
    assert_int_equal(pool_create(0, &p, &e), ERR_INVALID);
    assert_int_equal(pool_create(POOL_THREADS_MAX + 1, &p, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "65"));
    assert_null(p);
    pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_does_every_item_once),
        cmocka_unit_test(test_run_of_many_short_jobs),
        cmocka_unit_test(test_create_names_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
