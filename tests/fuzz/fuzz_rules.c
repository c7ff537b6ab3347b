/* Any bytes as rules and as control notices: refused with words, or a set of bounded cost whose
 * index finds what running all its rules in order finds. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control.h"
#include "features/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void try_rules(const char *text, size_t len)
{
    static const float x[FEAT_DIM] = {[FEAT_amount] = 62.5F};
    struct rule_set *s = NULL;
    struct rule_facts f;
    struct errmsg e = {""};
    const struct tx t = {.id = 1,
                         .card = 2,
                         .amount_ref = 6250,
                         .amount_minor = 6250,
                         .mcc = 5411,
                         .currency = "EUR",
                         .country = 'D' * 256 + 'E',
                         .event_us = INT64_C(1775046605000000)};
    const enum err err = rule_set_create(text, len, &s, &e);
    if (err != ERR_OK) {
        assert(err == ERR_INVALID && e.text[0] != '\0');
        return;
    }
    assert(rule_set_cost(s) <= RULES_COST_MAX);
    rule_facts_fill(&f, &t, x, .5);
    const struct rule *first = NULL;
    for (size_t i = 0; i < rule_set_count(s) && first == NULL; i++) {
        first = rule_set_holds(s, i, &f, t.event_us) ? rule_set_rule(s, i) : NULL;
    }
    assert(rule_set_find(s, &f, t.event_us) == first);
    rule_set_free(s);
}

static void try_notice(const char *text, size_t len)
{
    static const char HEAD[] = "fraudd-control 1\nby\ta\nwhy\tb\n";
    struct controls *c = NULL;
    struct errmsg e = {""};
    char *whole = malloc(sizeof HEAD + len);
    assert(whole != NULL && controls_create(true, &c, &e) == ERR_OK);
    memcpy(whole, HEAD, sizeof HEAD - 1);
    memcpy(whole + sizeof HEAD - 1, text, len);
    if (controls_take(c, 1, whole, sizeof HEAD - 1 + len, &e) != ERR_OK) {
        assert(e.text[0] != '\0' && control_lists_count(controls_lists(c)) == 0);
    }
    assert(controls_at(c, 2, &e) == ERR_OK);
    (void)controls_take_rules(c, 3, text, len, &e);
    assert(controls_at(c, 4, &e) == ERR_OK);
    controls_free(c);
    free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1); /* from malloc: a read beyond is seen */
    assert(copy != NULL);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    try_rules(copy, len);
    try_notice(copy, len);
    free(copy);
    return 0;
}
