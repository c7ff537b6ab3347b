/* The inside of a set of rules: rule_set.c reads it, rule_index.c finds what holds.  Private to
 * them. */
#ifndef FD_DAEMON_RULE_SET_PRIVATE_H
#define FD_DAEMON_RULE_SET_PRIVATE_H

#include "daemon/rule_set.h"

/* A rule under a text it wants. */
struct wanted {
    uint64_t id;
    uint32_t rule, cost;
    uint8_t field;
};

struct slot {
    uint64_t id;
    uint32_t first; /* of `tries` */
    uint16_t count; /* 0: free */
    uint8_t field;  /* enum rule_id */
};

/* A rule under a bound of a number: holds at most where the number is below or above it. */
struct bound {
    double value;
    uint32_t rule;
    uint8_t code, arg; /* RULE_COLUMN or RULE_NUMBER, and which */
    bool above;        /* else below; the bound itself is left to the rule */
    uint8_t slot;      /* the rule's next value and its bounds, seen before the rule is looked at */
    double low, high;
};

/* Bounds of one number and side, [first, first + count): those first that most numbers pass. */
struct ladder {
    uint8_t code, arg;
    bool above;
    uint32_t first, count;
    uint32_t tries; /* of the first */
};

#define VALUES_MAX                                                                                 \
    64 /* different columns and numbers in filters; others are left to the programs */

/* One part of a rule that must hold, to be seen without running it: a value within bounds (slot:
 * of the set's values), or an id. */
struct filter {
    bool is_id;
    uint8_t slot; /* or enum rule_id */
    union {
        struct {
            double low, high;
        };
        uint64_t id;
    };
};

/* What trying a rule reads of it.  A rule stands wherever it can be found, with its filters behind
 * those of the one before, so that a walk along them is one along memory. */
struct hot {
    int64_t expires_us;
    uint32_t rule, op, filter;
    uint16_t op_count;
    uint8_t filter_count;
    bool exact; /* the filters say it all */
};

/* What rules are tried on. */
struct trial {
    const struct rule_facts *facts;
    int64_t clock_us;
    double value[VALUES_MAX];
};

struct rule_set {
    char *text;
    struct rule *rules;
    struct hot *hot;   /* [count] as they were read */
    struct hot *tries; /* as they are found: by texts, by bounds, always */
    struct filter *try_filters;
    size_t try_count, try_filter_count;
    uint32_t always_tries;
    size_t count;
    struct rule_op *ops;
    size_t op_count, op_room;
    struct filter *filters;
    size_t filter_count, filter_room;
    struct rule_op values[VALUES_MAX]; /* what filters look at */
    size_t value_count;
    uint8_t *found_by; /* [count] 0: every payment; 1 + id; 64 + number; 128 + column */
    struct wanted *wanted;
    size_t wanted_count, wanted_room;
    struct bound *bounds;
    size_t bound_count;
    struct ladder *ladders; /* [bound_count] at most */
    size_t ladder_count;
    uint32_t *always;
    size_t always_count;
    struct slot *slots; /* [mask + 1] */
    size_t mask;
    uint64_t *words; /* [mask / 16 + 1] a filter before the table, as in control_lists.c */
    bool has_id[RULE_IDS];
    uint32_t cost;
};

/* Room for so many of an array that grows; false: no memory. */
bool rule_set_room(void **array, size_t *room, size_t need, size_t size);
enum err rule_set_no_memory(struct errmsg *e);

/* rule_index.c: notes under what rule `number`, the next one, is found, and its quick parts; then,
 * of all rules, makes the table and the lists and holds the cost against its bound. */
FD_MUSTCHECK enum err rule_index_add(struct rule_set *s, uint32_t number,
                                     const struct rule_program *p, struct errmsg *e);
FD_MUSTCHECK enum err rule_index_make(struct rule_set *s, struct errmsg *e);

#endif
