/* hash: published vectors, and the two promises of the contract. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* Vectors of Kafka's own UtilsTest.testMurmur2, after Utils.toPositive. */
static void test_hash_murmur2_equals_java(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int32_t java;
    } v[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        uint32_t want = (uint32_t)v[i].java & 0x7fffffffU;
        assert_int_equal(hash_murmur2(v[i].key, strlen(v[i].key)), want);
    }
}

static void test_hash_murmur2_takes_empty_keys(void **state)
{
    (void)state;
    assert_int_equal(hash_murmur2("", 0), 275646681); /* Utils.murmur2(new byte[0]) */
}

/* XXH3's own sanity vectors: empty input, seed 0. */
static void test_hash_bytes_is_xxh3(void **state)
{
    (void)state;
    assert_true(hash_bytes("", 0, 0) == 0x2d06800538d394c2U);
    assert_true(hash_id("", 0) == 0x2d06800538d394c2U);
}

static void test_hash_bytes_depends_on_seed_and_content(void **state)
{
    (void)state;
    assert_true(hash_bytes("abc", 3, 1) != hash_bytes("abc", 3, 2));
    assert_true(hash_bytes("abc", 3, 1) != hash_bytes("abd", 3, 1));
    assert_true(hash_bytes("abc", 2, 1) != hash_bytes("abc", 3, 1));
}

static void test_hash_pair_depends_on_order(void **state)
{
    (void)state;
    assert_true(hash_pair(1, 2) != hash_pair(2, 1));
    assert_true(hash_pair(0, 0) != hash_pair(0, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_murmur2_equals_java),
        cmocka_unit_test(test_hash_murmur2_takes_empty_keys),
        cmocka_unit_test(test_hash_bytes_is_xxh3),
        cmocka_unit_test(test_hash_bytes_depends_on_seed_and_content),
        cmocka_unit_test(test_hash_pair_depends_on_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
