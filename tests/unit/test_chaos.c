/* The simulation of several processes: seeds pass, and without any one safeguard some seed fails.
 * More seeds: make chaos SEEDS=10000. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/chaos.h"

#define SEEDS 60
#define UNSAFE_SEEDS 600 /* "read" first fails at 376, "between" at 129, the others below 40 */

static void test_seeds_pass(void **state)
{
    (void)state;
    struct chaos_tally tally = {0};
    char why[2000] = "";
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        if (!chaos_run(seed, SAFE_ALL, false, &tally, why, sizeof why)) {
            fail_msg("seed %d: %s", (int)seed, why);
        }
    }
    assert_true(tally.repeated > 100 && tally.deaths > 50 && tally.stops > 50);
    assert_true(tally.not_counted > 10 && tally.damaged > 10 && tally.weak < SEEDS / 2);
}

/* In a process of its own: without a safeguard it may abort, which is noticing, too. */
static bool some_seed_fails(enum safeguard without)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct chaos_tally tally = {0};
        char why[2000] = "";
        for (uint64_t seed = 0; seed < UNSAFE_SEEDS; seed++) {
            if (!chaos_run(seed, without, false, &tally, why, sizeof why)) {
                _exit(1);
            }
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void test_each_safeguard_is_missed(void **state)
{
    (void)state;
    for (int i = SAFE_ALL + 1; i < SAFE_COUNT; i++) {
        if (!some_seed_fails((enum safeguard)i)) {
            fail_msg("nothing fails without: %s", SAFEGUARD_TEXTS[i]);
        }
    }
}

static int setup(void **state)
{
    (void)state;
    chaos_open();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    chaos_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds_pass),
        cmocka_unit_test(test_each_safeguard_is_missed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
