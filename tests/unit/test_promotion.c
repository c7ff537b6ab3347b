/* When a model in shadow may become champion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/promotion.h"

#define PAGE(partitions, version, complete, incomplete)                                            \
    "fraudd_partitions " partitions "\nfraudd_shadow_info{version=\"" version                      \
    "\",hash=\"ab\"} 1\nfraudd_shadow_cards{cache=\"complete\"} " complete                         \
    "\nfraudd_shadow_cards{cache=\"incomplete\"} " incomplete "\n"

static void refused(const char *text, int pages, const char *why)
{
    struct errmsg e = {""};
    assert_int_equal(promotion_judge(text, pages, 8, "v2", .999, &e), ERR_REFUSED);
    if (strstr(e.text, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
    }
}

static void test_promotion_judge_wants_enough_cards_of_all_processes(void **state)
{
    (void)state;
    struct errmsg e = {""};
    static const char GOOD[] = PAGE("5", "v2", "999", "0") PAGE("3", "v2", "8991", "10");
    assert_int_equal(promotion_judge(GOOD, 2, 8, "v2", .999, &e), ERR_OK);
    refused(PAGE("5", "v2", "999", "0") PAGE("3", "v2", "8990", "11"), 2, "99.89 %");
    refused(PAGE("5", "v2", "999", "0"), 1, "5 of 8 partitions");
    refused(PAGE("5", "v2", "999", "0") PAGE("3", "v1", "999", "0"), 2, "in 1 of 2");
    refused("fraudd_partitions 8\n", 1, "`fraudd model shadow v2`");
    refused(PAGE("5", "v2", "999", "0") PAGE("3", "v2", "NaN", "NaN"), 2, "looked at all");
    refused(PAGE("5", "v2", "NaN", "NaN") PAGE("3", "v2", "999", "0"), 2, "looked at all");
    refused("", 1, "0 of 8");
}

static void test_promotion_judge_takes_a_shadow_without_cards(void **state)
{
    (void)state;
    struct errmsg e = {""};
    assert_int_equal(promotion_judge(PAGE("8", "v2", "0", "0"), 1, 8, "v2", .999, &e), ERR_OK);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promotion_judge_wants_enough_cards_of_all_processes),
        cmocka_unit_test(test_promotion_judge_takes_a_shadow_without_cards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
