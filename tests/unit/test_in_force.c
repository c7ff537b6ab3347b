/* Fraud verdicts in force: against a plain list, with few payments and little room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "features/in_force.h"

#define ROOM 40
#define PAYMENTS 64
#define STEPS 20000

/* The same, slowly: the latest ROOM added, of them those not ended. */
struct plain {
    struct in_force_verdict all[STEPS];
    size_t n;
};

static struct in_force_verdict *find(struct plain *p, uint64_t tx)
{
    for (size_t i = p->n; i-- > 0 && i + ROOM >= p->n;) {
        if (p->all[i].tx == tx && p->all[i].known_us != IN_FORCE_ENDED) {
            return &p->all[i];
        }
    }
    return NULL;
}

static void expect_same(const struct in_force *f, struct plain *p)
{
    for (uint64_t tx = 0; tx < PAYMENTS; tx++) {
        assert_int_equal(in_force_has(f, tx << 7), find(p, tx << 7) != NULL);
    }
}

static void test_it_equals_a_list(void **state)
{
    (void)state;
    static struct plain plain;
    struct in_force f;
    struct errmsg e;
    struct rng g;
    uint64_t added = 0;
    rng_init(&g, 1);
    assert_int_equal(in_force_init(&f, ROOM, &added, &e), ERR_OK);
    for (int64_t step = 0; step < STEPS; step++) {
        uint64_t tx = rng_below(&g, PAYMENTS) << 7; /* they share their place in the index */
        struct in_force_verdict *known = find(&plain, tx);
        int64_t since_us = -1;
        assert_int_equal(in_force_has(&f, tx), known != NULL);
        if (rng_below(&g, 3) == 0) {
            assert_int_equal(in_force_end(&f, tx, &since_us), known != NULL);
            if (known != NULL) {
                assert_int_equal(since_us, known->known_us);
                known->known_us = IN_FORCE_ENDED;
            }
        } else if (known == NULL) {
            in_force_add(&f, tx, step);
            plain.all[plain.n++] = (struct in_force_verdict){tx, step};
        }
        if (step % 50 == 0) {
            expect_same(&f, &plain);
        }
    }
    assert_int_equal(added, plain.n);
    assert_true(plain.n > 10 * ROOM); /* the ring went round */
    assert_int_equal(in_force_count(&f), ROOM);
    in_force_done(&f);
}

static void test_the_index_is_made_again(void **state)
{
    (void)state;
    struct in_force f;
    struct errmsg e;
    uint64_t added = 0;
    int64_t since_us = 0;
    assert_int_equal(in_force_init(&f, ROOM, &added, &e), ERR_OK);
    added = ROOM + 3; /* read back: full, with one that was taken back */
    for (uint64_t i = 0; i < ROOM; i++) {
        f.ring[i] = (struct in_force_verdict){i << 7, i == 9 ? IN_FORCE_ENDED : (int64_t)i};
    }
    assert_true(in_force_index(&f));
    for (uint64_t i = 0; i < ROOM; i++) {
        assert_int_equal(in_force_has(&f, i << 7), i != 9);
    }
    in_force_add(&f, 9 << 7, 77); /* over number 3 */
    assert_false(in_force_has(&f, 3 << 7));
    assert_true(in_force_end(&f, 9 << 7, &since_us));
    assert_int_equal(since_us, 77);
    assert_false(in_force_index(&f)); /* all are in the index already */
    in_force_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_equals_a_list),
        cmocka_unit_test(test_the_index_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
