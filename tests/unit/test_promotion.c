/* When a model in shadow may become champion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

/* ---- by rule ---- */

static const struct promotion_rule RULE = {.agree = true,
                                           .complete = .999,
                                           .shadow_s = 3 * 86400,
                                           .payments = 10000,
                                           .alike = .5,
                                           .shift = .01,
                                           .alerts = .25};

/* A page of a process with these numbers of payments by who raises an alert, and this shift. */
static const char *page(int both, int champion, int challenger, int neither, const char *shift)
{
    static char text[1024];
    snprintf(
        text, sizeof text,
        PAGE("8", "v2", "1000", "0") "fraudd_shadow_decisions_total{alerts=\"both\"} %d\n"
                                     "fraudd_shadow_decisions_total{alerts=\"champion\"} %d\n"
                                     "fraudd_shadow_decisions_total{alerts=\"challenger\"} %d\n"
                                     "fraudd_shadow_decisions_total{alerts=\"neither\"} %d\n"
                                     "fraudd_shadow_score_shift %s\n",
        both, champion, challenger, neither, shift);
    return text;
}

static struct promotion_case case_of(const char *text)
{
    return (struct promotion_case){
        .version = "v2", .shadow_s = 4 * 86400, .text = text, .pages = 1, .partitions = 8};
}

/* Exactly one bound is missed, and the sentence says so. */
static void misses_one(const struct promotion_rule *r, const struct promotion_case *c,
                       const char *why)
{
    char text[PROMOTION_TEXT_MAX];
    assert_int_equal(promotion_misses(r, c, text), 1);
    if (strstr(text, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", text, why);
    }
}

static void test_a_rule_says_yes_where_every_bound_is_kept(void **state)
{
    (void)state;
    char text[PROMOTION_TEXT_MAX];
    const struct promotion_case good = case_of(page(80, 20, 20, 9880, "-0.01"));
    assert_int_equal(promotion_misses(&RULE, &good, text), 0);
    assert_string_equal(text, "");
    /* nobody raises an alert, so there is none to differ about */
    const struct promotion_case quiet = case_of(page(0, 0, 0, 10000, "0"));
    assert_int_equal(promotion_misses(&RULE, &quiet, text), 0);
}

static void test_a_rule_names_each_missed_bound(void **state)
{
    (void)state;
    struct promotion_case c = case_of(page(80, 20, 20, 9880, "0"));
    c.shadow_s = 2.5 * 86400;
    misses_one(&RULE, &c, "in shadow for 2.5 days, promote.shadow-time asks for 3.0");
    c = case_of(page(80, 20, 20, 9880, "0"));
    c.missed = "v1: precision .1";
    misses_one(&RULE, &c, "(v1: precision .1)");
    c = case_of(page(80, 20, 20, 9879, "0"));
    misses_one(&RULE, &c, "9999 payments are compared, promote.payments asks for 10000");
    c = case_of(page(49, 25, 25, 9901, "0"));
    misses_one(&RULE, &c, "49.5 % of the alerts of either");
    c = case_of(page(80, 20, 20, 9880, "-0.0101"));
    misses_one(&RULE, &c, "differ by -0.0101, promote.shift allows 0.01");
    c = case_of(page(80, 0, 21, 9899, "0"));
    misses_one(&RULE, &c, "raise 101 alerts where the champion raises 80");
    c = case_of(page(80, 20, 20, 9880, "0"));
    c.version = "v3";
    misses_one(&RULE, &c, "model v3 is in shadow in 0 of 1");
}

static void test_a_rule_is_not_content_with_what_is_not_known(void **state)
{
    (void)state;
    char text[PROMOTION_TEXT_MAX];
    const struct promotion_case none = case_of(PAGE("8", "v2", "1000", "0"));
    assert_int_equal(promotion_misses(&RULE, &none, text), 2); /* payments and shift */
    const struct promotion_case nan = case_of(page(80, 20, 20, 9880, "NaN"));
    misses_one(&RULE, &nan, "promote.shift");
}

static void test_without_a_rule_nothing_is_promoted(void **state)
{
    (void)state;
    struct promotion_rule never = RULE;
    never.agree = false;
    const struct promotion_case good = case_of(page(80, 20, 20, 9880, "0"));
    misses_one(&never, &good, "promote.rule is never");
}

static void test_figures_add_up_all_processes(void **state)
{
    (void)state;
    char two[2048];
    char text[PROMOTION_TEXT_MAX];
    struct promotion_figures f;
    snprintf(two, sizeof two, "%s", page(3, 1, 0, 96, "0.001"));
    const size_t len = strlen(two);
    snprintf(two + len, sizeof two - len, "%s", page(5, 0, 1, 94, "-0.002"));
    promotion_figures(two, &f);
    assert_float_equal(f.payments, 200, 0);
    assert_float_equal(f.champion, 9, 0);
    assert_float_equal(f.challenger, 9, 0);
    assert_float_equal(f.alike, .8, 1e-12);
    assert_float_equal(f.shift, -.002, 1e-12);
    assert_string_equal(promotion_figures_text(&f, text),
                        "100.00 % of the active cards complete; 200 payments compared, 9 alerts "
                        "where the champion has 9, 80 % alike, mean score -0.0020");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promotion_judge_wants_enough_cards_of_all_processes),
        cmocka_unit_test(test_promotion_judge_takes_a_shadow_without_cards),
        cmocka_unit_test(test_a_rule_says_yes_where_every_bound_is_kept),
        cmocka_unit_test(test_a_rule_names_each_missed_bound),
        cmocka_unit_test(test_a_rule_is_not_content_with_what_is_not_known),
        cmocka_unit_test(test_without_a_rule_nothing_is_promoted),
        cmocka_unit_test(test_figures_add_up_all_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
