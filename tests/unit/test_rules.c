/* Rules: what expressions mean, what is refused and with which words, costs, and that the index
 * finds what running all rules in order finds. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"
#include "base/timefmt.h"
#include "daemon/rule_set.h"
#include "features/schema.h"

static float x[FEAT_DIM];

static struct tx payment(void)
{
    return (struct tx){.id = 1,
                       .card = hash_id("c1", 2),
                       .merchant = hash_id("m1", 2),
                       .event_us = INT64_C(1775046605) * TIME_S, /* Wednesday 12:30 */
                       .amount_minor = 5716,
                       .amount_ref = 6250,
                       .currency = "EUR",
                       .mcc = 5411,
                       .country = 'D' * 256 + 'E',
                       .type = TX_PURCHASE,
                       .channel = CHANNEL_ECOMMERCE};
}

static enum err compile(const char *text, struct rule_program *p, struct errmsg *e)
{
    struct slice at = {text, strlen(text)};
    enum err err = rule_compile(&at, p, e);
    if (err == ERR_OK && at.len > 0) {
        return err_set(e, ERR_INVALID, "more follows: %.*s", (int)at.len, at.at);
    }
    return err;
}

static bool holds(const char *text)
{
    struct rule_program p;
    struct rule_facts f;
    struct errmsg e = {""};
    const struct tx t = payment();
    x[FEAT_card_age] = 2.5F;
    if (compile(text, &p, &e) != ERR_OK) {
        fail_msg("%s: %s", text, e.text);
    }
    rule_facts_fill(&f, &t, x, .25);
    return rule_run(p.op, p.count, &f);
}

static void test_expressions_mean_what_they_say(void **state)
{
    (void)state;
    static const char *const TRUE[] = {
        "amount = 62.5",
        "amount > 62 and amount < 63",
        "amount > 100 or card = 'c1'",
        "not amount > 100",
        "not (amount > 100 or amount < 1)",
        "amount > 1 + 2 * 30",
        "amount > (1 + 2) * 20",
        "amount - -1 > 63",
        "-amount < -62",
        "amount / 2 - 1 = 30.25",
        "amount_minor = 5716",
        "card = \"c1\"",
        "card != 'c2'",
        "merchant in ('m0', 'm1', 'm2')",
        "not merchant in ('m0', 'm2')",
        "country = 'DE' and currency = 'EUR' and type = 'purchase'",
        "channel in ('ecommerce', 'moto')",
        "mcc = 5411",
        "mcc in (1, 5411)",
        "mcc >= 5400 and mcc < 5500",
        "mcc + 1 = 5412",
        "mcc != 5412",
        "has(merchant) and not has(device) and not has(entry)",
        "hour = 12 and weekday = 2",
        "score = 0.25",
        "card_age >= 2.5 and card_age <= 2.5",
        "ln(1 + 0) = 0",
        "ln(amount) > 4",
        "ln(1 + 2 * 3) - ln(7) = 0 and 2 - 3 - 4 = -5 and -(2 - 3) = 1 and 8 / 2 / 2 = 2",
        "amount > 100 and amount > 1 or amount > 60",
        "amount > 60 or amount > 100 and amount > 1000",
        "# a comment\n amount > 60 # and more\n and amount < 100",
        "((((amount > 60))))",
        ".5 = 0.5",
    };
    static const char *const FALSE[] = {
        "amount = 62",
        "amount > 100 and card = 'c1'",
        "device = 'd1'",
        "card in ('c2', 'c3')",
        "terminal != 't' and amount < 1",
        "not card = 'c1'",
        "amount / 0 < 1", /* infinite */
        "0 / 0 = 0 / 0",  /* no number */
        "0 / 0 < 1 or 0 / 0 >= 1",
        "ln(0 - 1) <= 0",
        "foreign_currency = 1 or has_location = 1",
    };
    for (size_t i = 0; i < sizeof TRUE / sizeof *TRUE; i++) {
        if (!holds(TRUE[i])) {
            fail_msg("does not hold: %s", TRUE[i]);
        }
    }
    for (size_t i = 0; i < sizeof FALSE / sizeof *FALSE; i++) {
        if (holds(FALSE[i])) {
            fail_msg("holds: %s", FALSE[i]);
        }
    }
}

static void refused(const char *text, const char *words)
{
    struct rule_program p;
    struct errmsg e = {""};
    assert_int_equal(compile(text, &p, &e), ERR_INVALID);
    if (strstr(e.text, words) == NULL) {
        fail_msg("%s: \"%s\" is not in \"%s\"", text, words, e.text);
    }
}

static void test_what_is_no_expression_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[][2] = {
        {"", "a number, field or column is missing"},
        {"amount", "a comparison is missing"},
        {"amount > ", "a number, field or column is missing"},
        {"amount > 5 and", "a number, field or column is missing"},
        {"amount > 5 and merchant", "=, != or in is missing"},
        {"amount and card = 'c'", "and is of comparisons before \"and card"},
        {"amount > 5 or 3", "or is of comparisons"},
        {"not 5", "not is of a comparison"},
        {"amont > 5", "no such field or column"},
        {"card > 'c'", "=, != or in is missing"},
        {"card = 5", "not what the field can be before \"5\""},
        {"card = c1", "not what the field can be"},
        {"country = 'de'", "not what the field can be"},
        {"channel = 'fax'", "not what the field can be"},
        {"mcc = 5411.5", "not what the field can be"},
        {"card in 'c'", "in needs a list"},
        {"card in ('c'", "a parenthesis is missing"},
        {"card in ()", "not what the field can be"},
        {"(amount > 5", "a parenthesis is missing"},
        {"amount > 5)", "more follows: )"},
        {"amount > 5 5", "more follows: 5"},
        {"amount = 'x", "a number, field or column is missing"},
        {"amount ! 5", "a comparison is missing"},
        {"card + 1 > 5", "a number is wanted"},
        {"(amount > 5) + 1 > 2", "a number is wanted"},
        {"ln amount > 5", "ln needs a parenthesis"},
        {"ln(card = 'c') > 5", "ln is of a number"},
        {"has(amount)", "has is of a field"},
        {"amount > 1234567890123456", "a number, field or column is missing"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        refused(BAD[i][0], BAD[i][1]);
    }
}

/* head, n times middle, tail. */
static void repeated(char *out, size_t size, const char *head, const char *middle, int n,
                     const char *tail)
{
    size_t len = (size_t)snprintf(out, size, "%s", head);
    for (int i = 0; i < n; i++) {
        len += (size_t)snprintf(out + len, size - len, "%s", middle);
    }
    assert_true(len + strlen(tail) < size);
    memcpy(out + len, tail, strlen(tail) + 1);
}

static void test_bounds_of_an_expression(void **state)
{
    (void)state;
    char text[4000];
    repeated(text, sizeof text, "", "(", RULE_NESTING_MAX - 1, "amount > 5");
    for (int i = 0; i < RULE_NESTING_MAX - 1; i++) {
        memcpy(text + strlen(text), ")", 2);
    }
    assert_true(holds(text));
    repeated(text, sizeof text, "", "(", 200, "amount > 5");
    refused(text, "nested more than 24 deep");
    repeated(text, sizeof text, "", "not ", 200, "amount > 5");
    refused(text, "nested more than 24 deep");
    repeated(text, sizeof text, "amount > ", "- ", 200, "5");
    refused(text, "nested more than 24 deep");
    repeated(text, sizeof text, "amount > 1", " and amount > 1", 40, "");
    refused(text, "more than 128 operations");
    repeated(text, sizeof text, "amount > ", "mcc + (", 20, "1");
    refused(text, "more than 16 values wait");
    repeated(text, sizeof text, "amount > 1", " and ln(amount) > 1", 6, "");
    assert_true(holds(text));
    repeated(text, sizeof text, "amount > 1", " and ln(amount) > 1", 7, "");
    refused(text, "it costs 214, at most 200 is allowed");
}

/* ---- sets ---- */

static struct rule_set *make(const char *text)
{
    struct rule_set *s = NULL;
    struct errmsg e = {""};
    if (rule_set_create(text, strlen(text), &s, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return s;
}

static void test_a_set_is_read(void **state)
{
    (void)state;
    struct rule_set *s = make("# rules of the test\n\n"
                              "first: review\n    when amount > 50\n\n    because \"much\"\n"
                              "    until 2026-05-01 # a while\n"
                              "2nd.rule-b: decline when card = 'c1' because 'known, \"bad\"'\n"
                              "  # not indented is fine, too\n");
    struct rule_facts f;
    const struct tx t = payment();
    rule_facts_fill(&f, &t, x, 0);
    assert_int_equal(rule_set_count(s), 2);
    const struct rule *r = rule_set_rule(s, 0);
    assert_string_equal(r->name, "first");
    assert_string_equal(r->why, "much");
    assert_int_equal(r->action, OUTCOME_REVIEW);
    assert_int_equal(r->line, 3);
    assert_int_equal(r->expires_us, INT64_C(1777593600) * TIME_S);
    assert_string_equal(rule_set_found_by(s, 0), "amount");
    assert_string_equal(rule_set_found_by(s, 1), "card");
    assert_string_equal(rule_set_rule(s, 1)->why, "known, \"bad\"");
    assert_ptr_equal(rule_set_find(s, &f, r->expires_us - 1), r);
    assert_ptr_equal(rule_set_find(s, &f, r->expires_us), rule_set_rule(s, 1));
    rule_set_free(s);
    s = make("# nothing\n");
    assert_null(rule_set_find(s, &f, 0));
    rule_set_free(s);
}

static void set_refused(const char *text, const char *words)
{
    struct rule_set *s = NULL;
    struct errmsg e = {""};
    assert_int_equal(rule_set_create(text, strlen(text), &s, &e), ERR_INVALID);
    if (strstr(e.text, words) == NULL) {
        fail_msg("%.200s: \"%s\" is not in \"%s\"", text, words, e.text);
    }
}

static void test_what_is_no_set_is_refused(void **state)
{
    (void)state;
    set_refused("  review when amount > 5 because 'x'\n", "line 1: no rule goes on here");
    set_refused("review when amount > 5\n", "line 1: rule : a rule begins with its name");
    set_refused("\na: block when amount > 5 because 'x'\n", "line 2: rule a: an action is missing");
    set_refused("a: review amount > 5 because 'x'\n", "the word when is missing");
    set_refused("a: review when amount > 5\n", "because \"..\" is missing");
    set_refused("a: review when amount > because 'x'\n", "no such field or column");
    set_refused("a: review when amount > 5 because x\n", "because needs a text");
    set_refused("a: review when amount > 5 because ''\n", "because needs a text");
    set_refused("a: review when amount > 5 because 'x\n y'\n", "because needs a text");
    set_refused("a: review when amount > 5 because 'x' until soon\n", "until \"soon\" is no time");
    set_refused("a: review when amount > 5 because 'x' b: review\n", "nothing but until");
    set_refused("a: review when amount > 5 because 'x'\na: decline when amount > 6 because 'y'\n",
                "two rules are called a (lines ");
}

static char *many(const char *fmt, int n)
{
    const size_t size = 200 * (size_t)n;
    char *text = malloc(size);
    size_t len = 0;
    assert_non_null(text);
    for (int i = 0; i < n; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        len += (size_t)snprintf(text + len, size - len, fmt, i, i);
#pragma GCC diagnostic pop
    }
    return text;
}

static void test_a_set_that_would_cost_too_much_is_refused_with_its_cost(void **state)
{
    (void)state;
    char *text = many("r%d: review when amount > %d because 'x'\n", 600);
    struct rule_set *s = make(text);
    assert_int_equal(rule_set_cost(s), 5 + 600 * (2 + 1 + 1 + 1));
    rule_set_free(s);
    free(text);
    text = many("r%d: review when amount > %d because 'x'\n", 800);
    set_refused(text, "line 800: rule r799, of cost 4, lets one payment cost 4005 where 4000 are "
                      "allowed; join it by `and` with one card");
    free(text);
    text = many("r%d: review when card = 'c%d' because 'x'\n", 20000);
    s = make(text); /* one of them a payment */
    assert_int_equal(rule_set_cost(s), 5 + 2);
    rule_set_free(s);
    free(text);
    text = many("r%d: review when card = 'c1' and amount > %d because 'x'\n", 700);
    set_refused(text, "lets one payment cost 4905 where 4000 are allowed");
    free(text);
}

/* ---- the index beside running all ---- */

static void random_term(struct rng *r, char *out, size_t size)
{
    static const char *const SIGNS[] = {">", ">=", "<", "<=", "=", "!="};
    const int n = (int)rng_below(r, 8);
    switch (rng_below(r, 7)) {
    case 0:
        snprintf(out, size, "card = 'c%d'", n);
        break;
    case 1:
        snprintf(out, size, "merchant in ('m%d', 'm%d')", n, n + 1);
        break;
    case 2:
        snprintf(out, size, "mcc %s %d", SIGNS[rng_below(r, 6)], 1 + n);
        break;
    case 3:
        snprintf(out, size, "amount %s %d", SIGNS[rng_below(r, 6)], n);
        break;
    case 4:
        snprintf(out, size, "card_age %s %d", SIGNS[rng_below(r, 6)], n);
        break;
    case 5:
        snprintf(out, size, "country != '%cE'", (char)('A' + n));
        break;
    default:
        snprintf(out, size, "has(device)");
        break;
    }
}

static size_t random_rule(struct rng *r, int number, char *out, size_t size)
{
    char a[60];
    char b[60];
    char c[60];
    static const char *const FORMS[] = {"%s and %s and %s", "%s and %s or %s", "%s or %s and %s",
                                        "%s and (%s or %s)", "not %s and %s and %s"};
    random_term(r, a, sizeof a);
    random_term(r, b, sizeof b);
    random_term(r, c, sizeof c);
    size_t n = (size_t)snprintf(out, size, "r%d: review when ", number);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    n += (size_t)snprintf(out + n, size - n, FORMS[rng_below(r, 5)], a, b, c);
#pragma GCC diagnostic pop
    n += (size_t)snprintf(out + n, size - n, " because 'x'%s\n",
                          rng_below(r, 4) == 0 ? " until 2026-04-01" : "");
    return n;
}

static struct tx random_payment(struct rng *r)
{
    char name[8];
    struct tx t = {.id = 1};
    snprintf(name, sizeof name, "c%d", (int)rng_below(r, 8));
    t.card = hash_id(name, strlen(name));
    snprintf(name, sizeof name, "m%d", (int)rng_below(r, 9));
    t.merchant = rng_below(r, 5) == 0 ? 0 : hash_id(name, strlen(name));
    t.device = rng_below(r, 2);
    t.amount_ref = (uint32_t)rng_below(r, 900);
    t.mcc = (uint16_t)rng_below(r, 9);
    t.country = (uint16_t)(rng_below(r, 5) == 0 ? 0 : ('A' + rng_below(r, 8)) * 256 + 'E');
    return t;
}

static void test_the_index_finds_what_running_all_in_order_finds(void **state)
{
    (void)state;
    static char text[64 * 300];
    struct rng r;
    size_t found = 0;
    size_t none = 0;
    rng_init(&r, 5);
    for (int round = 0; round < 300; round++) {
        const int rules = 1 + (int)rng_below(&r, 10);
        size_t len = 0;
        for (int i = 0; i < rules; i++) {
            len += random_rule(&r, i, text + len, sizeof text - len);
        }
        struct rule_set *s = make(text);
        for (int i = 0; i < 100; i++) {
            const struct tx t = random_payment(&r);
            const int64_t clock_us = rng_below(&r, 2) == 0 ? 0 : INT64_MAX - 1;
            const struct rule *naive = NULL;
            struct rule_facts f;
            x[FEAT_card_age] = rng_below(&r, 20) == 0 ? NAN : (float)rng_below(&r, 9);
            rule_facts_fill(&f, &t, x, 0);
            for (size_t k = 0; k < rule_set_count(s) && naive == NULL; k++) {
                naive = rule_set_holds(s, k, &f, clock_us) ? rule_set_rule(s, k) : NULL;
            }
            assert_ptr_equal(rule_set_find(s, &f, clock_us), naive);
            found += naive != NULL;
            none += naive == NULL;
        }
        rule_set_free(s);
    }
    assert_true(found > 5000 && none > 2000);
}

/* ---- nonsense ---- */

static void test_words_in_any_order_are_refused_or_run(void **state)
{
    (void)state;
    static const char *const WORDS[] = {
        "amount",   "card", "mcc",     "5",     "1.5", "'c1'", "\"x\"", "and",  "or",
        "not",      "in",   "(",       ")",     ",",   "=",    "!=",    "<",    ">=",
        "+",        "-",    "*",       "/",     "ln",  "has",  "hour",  "'DE'", "country",
        "card_age", "#",    "because", "until", "\n",  "\"",   "."};
    const size_t words = sizeof WORDS / sizeof *WORDS;
    struct rng r;
    struct rule_facts f;
    const struct tx t = payment();
    size_t good = 0;
    rng_init(&r, 9);
    rule_facts_fill(&f, &t, x, .5);
    for (int i = 0; i < 300000; i++) {
        char text[400] = "";
        struct rule_program p;
        struct errmsg e = {""};
        size_t len = 0;
        const int n = 1 + (int)rng_below(&r, rng_below(&r, 20) == 0 ? 40 : 7);
        for (int k = 0; k < n; k++) {
            len +=
                (size_t)snprintf(text + len, sizeof text - len, "%s ", WORDS[rng_below(&r, words)]);
        }
        const enum err err = compile(text, &p, &e);
        assert_true(err == ERR_OK || (err == ERR_INVALID && e.text[0] != '\0'));
        if (err == ERR_OK) {
            (void)rule_run(p.op, p.count, &f);
            good++;
        }
    }
    print_message("%zu were expressions\n", good);
    assert_true(good > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expressions_mean_what_they_say),
        cmocka_unit_test(test_what_is_no_expression_is_refused),
        cmocka_unit_test(test_bounds_of_an_expression),
        cmocka_unit_test(test_a_set_is_read),
        cmocka_unit_test(test_what_is_no_set_is_refused),
        cmocka_unit_test(test_a_set_that_would_cost_too_much_is_refused_with_its_cost),
        cmocka_unit_test(test_words_in_any_order_are_refused_or_run),
        cmocka_unit_test(test_the_index_finds_what_running_all_in_order_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
