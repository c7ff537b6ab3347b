/* Every setting of training by name arrives where it belongs; what is not given stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/train_settings.h"

static struct conf *conf_of(const char *name, const char *value)
{
    static const struct conf_option *const tables[] = {TRAIN_SETTINGS, NULL};
    struct conf *c = NULL;
    struct errmsg e = {""};
    assert_int_equal(conf_create(tables, NULL, &c, &e), ERR_OK);
    if (name != NULL && conf_set(c, name, value, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return c;
}

static void test_apply_changes_what_was_given_only(void **state)
{
    (void)state;
    struct train_conf wanted;
    struct train_conf got;
    train_conf_default(&wanted);
    got = wanted;
    struct conf *c = conf_of(NULL, NULL);
    train_settings_apply(c, &got);
    assert_memory_equal(&got, &wanted, sizeof got);
    conf_free(c);
    c = conf_of("net.window", "64");
    train_settings_apply(c, &got);
    wanted.shape.window = 64;
    assert_memory_equal(&got, &wanted, sizeof got);
    conf_free(c);
    c = conf_of("fit.table-decay", "2.5");
    train_settings_apply(c, &got);
    wanted.table_decay = 2.5F;
    assert_memory_equal(&got, &wanted, sizeof got);
    conf_free(c);
    c = conf_of("fit.all-rows", "false");
    train_settings_apply(c, &got);
    wanted.final_fit = false;
    assert_memory_equal(&got, &wanted, sizeof got);
    conf_free(c);
}

/* A row of the table without a place in train_conf would be accepted and ignored. */
static void test_apply_knows_every_option(void **state)
{
    (void)state;
    for (const struct conf_option *o = TRAIN_SETTINGS; o->name != NULL; o++) {
        struct train_conf before;
        struct train_conf after;
        const char *value = o->type == CONF_BOOL ? "false" : o->type == CONF_INT ? "7" : "0.0625";
        train_conf_default(&before);
        after = before;
        struct conf *c = conf_of(o->name, value);
        train_settings_apply(c, &after);
        if (memcmp(&before, &after, sizeof before) == 0) {
            fail_msg("%s changes nothing", o->name);
        }
        conf_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apply_changes_what_was_given_only),
        cmocka_unit_test(test_apply_knows_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
