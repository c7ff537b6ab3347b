/* A set of rules: read from text, checked, and found by what a payment is, so that ten thousand of
 * them cost a payment little.
 *
 *   # a comment
 *   new-device-abroad: review
 *       when amount > 500 and device_new = 1 and country != 'DE'
 *       because "a large amount on a new device abroad"
 *       until 2026-12-31
 *
 * A rule begins where a line does and goes on in lines that begin with a blank.  Actions: approve,
 * review, decline.  Of the rules that hold the first decides.
 *
 * How rules are found: of the parts joined by `and` one is chosen that a payment can be looked up
 * by.  A field's text (card first, type last) puts the rule into a hash table; else a column
 * against a constant puts it into a list in order of the constant; else it is run for every
 * payment.  Rules that were found are run whole.
 *
 * Invariants
 *  1. A set is accepted only if no payment can make it cost more than RULES_COST_MAX: the sum over
 *     all rules without a text to be looked up by, and of each field's text with the dearest rules.
 *  2. The answer is that of running all rules in order. */
#ifndef FD_DAEMON_RULE_SET_H
#define FD_DAEMON_RULE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/rule_expr.h"
#include "model/threshold.h"

#define RULES_MAX 20000
#define RULES_TEXT_MAX ((size_t)4 << 20)
#define RULES_COST_MAX 4000 /* of one payment, a unit is about a nanosecond */
#define RULE_NAME_MAX 48
#define RULE_WHY_MAX 100

struct rule {
    char name[RULE_NAME_MAX + 1], why[RULE_WHY_MAX + 1];
    enum outcome action;
    int64_t expires_us; /* by the stream's clock; INT64_MAX: never */
    uint32_t cost;
    uint32_t line;
    struct slice text; /* of the whole rule, in the set's copy */
};

struct rule_set;

/* Reads and checks a set; keeps a copy of the text.  ERR_INVALID names rule and line; of a cost,
 * the cost; ERR_NOMEM. */
FD_MUSTCHECK enum err rule_set_create(const char *text, size_t len, struct rule_set **out,
                                      struct errmsg *e);
void rule_set_free(struct rule_set *s);

size_t rule_set_count(const struct rule_set *s);
const struct rule *rule_set_rule(const struct rule_set *s, size_t i);
/* The most that one payment can cost. */
uint32_t rule_set_cost(const struct rule_set *s);
/* How a rule is found: "card", "amount" or "every payment"; static. */
const char *rule_set_found_by(const struct rule_set *s, size_t i);

/* The first rule that holds, or NULL. */
const struct rule *rule_set_find(const struct rule_set *s, const struct rule_facts *f,
                                 int64_t clock_us);
/* Whether this one holds. */
bool rule_set_holds(const struct rule_set *s, size_t i, const struct rule_facts *f,
                    int64_t clock_us);

/* "approve", "review", "decline"; static. */
const char *rule_action_name(enum outcome action);

#endif
