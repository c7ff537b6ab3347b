/* The feature table: sound, and its hash notices every change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "features/schema.h"

static uint64_t hash_of(const struct feature_info *columns)
{
    struct feature_params p;
    feature_params_default(&p);
    return feature_table_hash(columns, FEAT_DIM, FEATURE_FORMULA_VERSION, &p);
}

static void copy_table(struct feature_info *out)
{
    for (size_t i = 0; i < FEAT_DIM; i++) {
        out[i] = *feature_info(i);
    }
}

static void test_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < FEAT_DIM; i++) {
        const struct feature_info *c = feature_info(i);
        assert_int_equal(feature_find(c->name), i); /* names differ */
        assert_true(c->low < c->high);
        assert_true(c->missing >= c->low && c->missing <= c->high);
        assert_true(c->group < GROUP_COUNT && strlen(c->formula) > 0);
        assert_true(i == 0 || c->group >= feature_info(i - 1)->group); /* groups lie together */
    }
    assert_int_equal(feature_find("no_such_column"), -1);
    for (int g = 0; g < GROUP_COUNT; g++) {
        assert_true(strlen(feature_group_name((enum feature_group)g)) > 0);
        assert_true(strlen(feature_group_words((enum feature_group)g)) > 0);
    }
}

static void test_schema_hash_changes_with_every_column(void **state)
{
    (void)state;
    struct feature_info t[FEAT_DIM];
    copy_table(t);
    uint64_t now = hash_of(t);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        const struct feature_info was = t[i];
        const struct feature_info changed[] = {
            {"other", was.unit, was.formula, was.group, was.missing, was.low, was.high},
            {was.name, "other", was.formula, was.group, was.missing, was.low, was.high},
            {was.name, was.unit, "other", was.group, was.missing, was.low, was.high},
            {was.name, was.unit, was.formula, (enum feature_group)((was.group + 1) % GROUP_COUNT),
             was.missing, was.low, was.high},
            {was.name, was.unit, was.formula, was.group, was.missing + 1, was.low, was.high},
            {was.name, was.unit, was.formula, was.group, was.missing, was.low - 1, was.high},
            {was.name, was.unit, was.formula, was.group, was.missing, was.low, was.high + 1}};
        for (size_t k = 0; k < sizeof changed / sizeof *changed; k++) {
            t[i] = changed[k];
            assert_true(hash_of(t) != now);
        }
        t[i] = was;
        size_t other = (i + 1) % FEAT_DIM;
        t[i] = t[other];
        t[other] = was;
        assert_true(hash_of(t) != now); /* another order */
        copy_table(t);
    }
    assert_true(hash_of(t) == now);
}

static void test_schema_hash_changes_with_every_parameter(void **state)
{
    (void)state;
    struct feature_params was;
    feature_params_default(&was);
    uint64_t now = feature_schema_hash(&was);
    struct feature_params p[4] = {was, was, was, was};
    p[0].maturity_us++;
    p[1].blame_ratio += 0.5F;
    p[2].blame_tail += 0.5F;
    p[3].rates_version++;
    for (size_t i = 0; i < 4; i++) {
        assert_true(feature_schema_hash(&p[i]) != now);
        for (size_t k = 0; k < i; k++) {
            assert_true(feature_schema_hash(&p[i]) != feature_schema_hash(&p[k]));
        }
    }
    assert_true(feature_schema_hash(&was) == now);
    struct feature_info t[FEAT_DIM];
    copy_table(t);
    assert_true(feature_table_hash(t, FEAT_DIM, FEATURE_FORMULA_VERSION + 1, &was) != now);
    assert_true(feature_table_hash(t, FEAT_DIM - 1, FEATURE_FORMULA_VERSION, &was) != now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_schema_hash_changes_with_every_column),
        cmocka_unit_test(test_schema_hash_changes_with_every_parameter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
