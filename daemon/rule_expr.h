/* Expressions of rules: compiled to a flat program with a cost that is known beforehand, run
 * without loops, recursion or memory of its own.
 *
 *   amount > 500 and first_device = 1 and not country in ('DE', 'AT')
 *
 * or, and, not; = != < <= > >=, in (..); + - * /; ln(x); has(field); parentheses.  Numbers are
 * doubles; a comparison with what is no number (x / 0, a score that could not be computed) does not
 * hold.  Texts stand in quotes and are compared with fields of text only, by = != in.
 *
 * Invariants
 *  1. Whatever the text, compiling ends with a program inside the bounds below or with an error
 * that says where.
 *  2. A program's jumps go forward, so it runs at most its operations once each: its cost is their
 *     sum, and no payment can make it cost more.
 *  3. The same payment gives the same answer on every machine (base/detmath). */
#ifndef FD_DAEMON_RULE_EXPR_H
#define FD_DAEMON_RULE_EXPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/wire.h"
#include "features/tx.h"

#define RULE_OPS_MAX 128  /* of one expression */
#define RULE_STACK_MAX 16 /* values that wait */
#define RULE_NESTING_MAX 24
#define RULE_FILTERS_MAX 8
#define RULE_COST_MAX 200 /* of one expression; a unit is about a nanosecond */

/* What is compared with texts.  MCC is both: a number, and something to be equal to. */
enum rule_id {
    RULE_CARD = 0,
    RULE_MERCHANT,
    RULE_TERMINAL,
    RULE_DEVICE,
    RULE_IP,
    RULE_COUNTRY,
    RULE_CURRENCY,
    RULE_MCC,
    RULE_CHANNEL,
    RULE_ENTRY,
    RULE_TYPE,
    RULE_IDS
};

enum rule_code {
    RULE_CONST = 0, /* number */
    RULE_COLUMN,    /* arg: of features/columns.def */
    RULE_NUMBER,    /* arg: enum rule_number */
    RULE_IS,        /* arg: enum rule_id; id: what it must be */
    RULE_HAS,       /* arg: enum rule_id */
    RULE_NOT,
    RULE_NEGATE,
    RULE_LN,
    RULE_ADD,
    RULE_SUBTRACT,
    RULE_MULTIPLY,
    RULE_DIVIDE,
    RULE_EQUAL,
    RULE_UNEQUAL,
    RULE_LESS,
    RULE_AT_MOST,
    RULE_ABOVE,
    RULE_AT_LEAST,
    RULE_AND, /* false on top: on with operation `to`; else the value goes */
    RULE_OR   /* true on top: likewise */
};

/* Numbers of a payment that are no column. */
enum rule_number {
    RULE_AMOUNT = 0,   /* in the reference currency's units */
    RULE_AMOUNT_MINOR, /* as sent */
    RULE_MCC_NUMBER,
    RULE_HOUR,    /* of the UTC day */
    RULE_WEEKDAY, /* Monday 0 */
    RULE_SCORE,   /* the model's probability */
    RULE_FOREIGN, /* another currency than the reference */
    RULE_LOCATED, /* has lat and lon */
    RULE_NUMBERS
};

struct rule_op {
    uint8_t code;
    uint8_t arg;
    uint16_t to;
    union {
        double number;
        uint64_t id;
    };
};

/* Something that a payment must be for the expression to hold: one of the parts that are joined by
 * `and`. */
enum rule_guard_kind {
    GUARD_NONE = 0,
    GUARD_EQUAL, /* operations first (a column or number), first + 1 (a constant), `=` */
    GUARD_RANGE, /* the same with < <= > >= */
    GUARD_IS     /* one of the RULE_IS of operations [first, first + count) */
};

struct rule_guard {
    enum rule_guard_kind kind;
    uint16_t first, count;
};

struct rule_program {
    struct rule_op op[RULE_OPS_MAX];
    uint16_t count;
    uint32_t cost;
    struct rule_guard guard;                    /* the best one to look a rule up by */
    struct rule_guard filter[RULE_FILTERS_MAX]; /* more that are quick to see, IS of one text */
    uint8_t filter_count;
    bool exact; /* the filters are all that the expression says */
};

/* Compiles *at up to what cannot belong to it (the word `because`, the end), which is where *at
 * points then.  ERR_INVALID: what is wrong, and before which text. */
FD_MUSTCHECK enum err rule_compile(struct slice *at, struct rule_program *out, struct errmsg *e);

/* What programs read of one payment. */
struct rule_facts {
    const struct tx *tx;
    const float *x; /* [FEAT_DIM] */
    double probability;
    uint64_t id[RULE_IDS]; /* 0: missing */
};
void rule_facts_fill(struct rule_facts *f, const struct tx *t, const float *x, double probability);
/* The ids alone. */
void rule_ids_fill(uint64_t id[RULE_IDS], const struct tx *t);

/* op: [count], as compiled. */
bool rule_run(const struct rule_op *op, size_t count, const struct rule_facts *f);
/* One arithmetic operation or comparison; b is not read where it has one operand. */
double rule_compute(enum rule_code code, double a, double b);
/* The value of one RULE_COLUMN or RULE_NUMBER. */
double rule_value(const struct rule_op *op, const struct rule_facts *f);

/* Names of ids and numbers; static. */
const char *rule_id_name(enum rule_id i);
const char *rule_number_name(enum rule_number n);
const char *rule_number_words(enum rule_number n);

/* ---- words, for those that read rules around expressions ---- */

enum rule_token_kind { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_TEXT, TOKEN_SIGN, TOKEN_BAD };
struct rule_token {
    enum rule_token_kind kind;
    struct slice text; /* of a TEXT without its quotes */
    double number;
};
/* The token at the beginning of *at, which is moved behind it.  '#' begins a comment. */
struct rule_token rule_next(struct slice *at);
bool rule_token_is(const struct rule_token *t, const char *word);

#endif
