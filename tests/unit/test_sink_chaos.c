/* The simulation of `sink`: seeds pass, and without any one safeguard some seed fails.  More seeds:
 * make chaos SEEDS=10000. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/scorer.h"
#include "tests/support/sink_chaos.h"

#define SEEDS 30
#define UNSAFE_SEEDS 50 /* the last one fails first at 5 */

static int setup(void **state)
{
    scorer_setup(state);
    sink_chaos_open();
    return 0;
}

static int teardown(void **state)
{
    sink_chaos_close();
    return scorer_teardown(state);
}

static void test_seeds_pass(void **state)
{
    struct sink_chaos_tally tally = {0};
    char why[300] = "";
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        if (!sink_chaos_run(seed, SINK_SAFE_ALL, &tally, why, sizeof why)) {
            fail_msg("seed %d: %s", (int)seed, why);
        }
    }
    assert_true(tally.lost > SEEDS && tally.failovers > SEEDS && tally.deaths > SEEDS);
    assert_true(tally.moves > SEEDS && tally.taken_back > 10 && tally.rejected > SEEDS);
}

static bool some_seed_fails(enum sink_safeguard without)
{
    struct sink_chaos_tally tally = {0};
    char why[300] = "";
    bool good = true;
    for (uint64_t seed = 0; good && seed < UNSAFE_SEEDS; seed++) {
        good = sink_chaos_run(seed, without, &tally, why, sizeof why);
    }
    if (!good) {
        print_message("without %s: seed %d: %s\n", SINK_SAFEGUARD_NAMES[without],
                      (int)tally.seeds - 1, why);
    }
    return !good;
}

static void test_each_safeguard_is_missed(void **state)
{
    (void)state;
    for (int i = SINK_SAFE_ALL + 1; i < SINK_SAFE_COUNT; i++) {
        if (!some_seed_fails((enum sink_safeguard)i)) {
            fail_msg("nothing fails without: %s", SINK_SAFEGUARD_TEXTS[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds_pass),
        cmocka_unit_test(test_each_safeguard_is_missed),
    };
    return cmocka_run_group_tests_name("sink_chaos", tests, setup, teardown);
}
