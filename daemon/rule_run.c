/* Programs of rules, and what they read of a payment. */
#include "base/detmath.h"
#include "base/timefmt.h"
#include "daemon/rule_expr.h"

static const char *const ID_NAMES[RULE_IDS] = {"card",    "merchant", "terminal", "device",
                                               "ip",      "country",  "currency", "mcc",
                                               "channel", "entry",    "type"};
static const struct {
    const char *name, *words;
} NUMBER_NAMES[RULE_NUMBERS] = {
    [RULE_AMOUNT] = {"amount", "in units of the reference currency"},
    [RULE_AMOUNT_MINOR] = {"amount_minor", "in minor units of its own currency, as sent"},
    [RULE_MCC_NUMBER] = {"mcc", "merchant category code; 0 missing"},
    [RULE_HOUR] = {"hour", "of the UTC day, 0 to 23"},
    [RULE_WEEKDAY] = {"weekday", "UTC, Monday 0"},
    [RULE_SCORE] = {"score", "the model's probability of fraud"},
    [RULE_FOREIGN] = {"foreign_currency", "0/1: another currency than the reference"},
    [RULE_LOCATED] = {"has_location", "0/1: lat and lon are there"},
};

const char *rule_id_name(enum rule_id i)
{
    return ID_NAMES[i];
}

const char *rule_number_name(enum rule_number n)
{
    return NUMBER_NAMES[n].name;
}

const char *rule_number_words(enum rule_number n)
{
    return NUMBER_NAMES[n].words;
}

void rule_ids_fill(uint64_t id[RULE_IDS], const struct tx *t)
{
    id[RULE_CARD] = t->card;
    id[RULE_MERCHANT] = t->merchant;
    id[RULE_TERMINAL] = t->terminal;
    id[RULE_DEVICE] = t->device;
    id[RULE_IP] = t->ip;
    id[RULE_COUNTRY] = t->country;
    id[RULE_CURRENCY] = (uint64_t)(unsigned char)t->currency[0] << 16 |
                        (uint64_t)(unsigned char)t->currency[1] << 8 |
                        (unsigned char)t->currency[2];
    id[RULE_MCC] = t->mcc;
    id[RULE_CHANNEL] = t->channel;
    id[RULE_ENTRY] = t->entry;
    id[RULE_TYPE] = t->type + 1U;
}

void rule_facts_fill(struct rule_facts *f, const struct tx *t, const float *x, double probability)
{
    f->tx = t;
    f->x = x;
    f->probability = probability;
    rule_ids_fill(f->id, t);
}

static int64_t floored(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static double number_of(enum rule_number n, const struct rule_facts *f)
{
    const struct tx *t = f->tx;
    switch (n) {
    case RULE_AMOUNT:
        return (double)t->amount_ref / 100;
    case RULE_AMOUNT_MINOR:
        return (double)t->amount_minor;
    case RULE_MCC_NUMBER:
        return t->mcc;
    case RULE_HOUR:
        return (double)((floored(t->event_us, TIME_HOUR) % 24 + 24) % 24);
    case RULE_WEEKDAY: /* 1970-01-01 was a Thursday */
        return (double)(((floored(t->event_us, TIME_DAY) + 3) % 7 + 7) % 7);
    case RULE_SCORE:
        return f->probability;
    case RULE_FOREIGN:
        return t->foreign_currency;
    case RULE_LOCATED:
        return t->has_location;
    case RULE_NUMBERS:
        break;
    }
    return 0;
}

double rule_value(const struct rule_op *op, const struct rule_facts *f)
{
    return op->code == RULE_COLUMN ? (double)f->x[op->arg]
                                   : number_of((enum rule_number)op->arg, f);
}

/* One operation on numbers; b is not read where there is one. */
double rule_compute(enum rule_code code, double a, double b)
{
    switch (code) {
    case RULE_ADD:
        return a + b;
    case RULE_SUBTRACT:
        return a - b;
    case RULE_MULTIPLY:
        return a * b;
    case RULE_DIVIDE:
        return a / b;
    case RULE_EQUAL:
        return a <= b && a >= b;
    case RULE_UNEQUAL:
        return a < b || a > b;
    case RULE_LESS:
        return a < b;
    case RULE_AT_MOST:
        return a <= b;
    case RULE_ABOVE:
        return a > b;
    case RULE_AT_LEAST:
        return a >= b;
    case RULE_NEGATE:
        return -a;
    case RULE_LN:
        return det_log(a);
    case RULE_CONST:
    case RULE_COLUMN:
    case RULE_NUMBER:
    case RULE_IS:
    case RULE_HAS:
    case RULE_NOT:
    case RULE_AND:
    case RULE_OR:
        break;
    }
    return 0;
}

bool rule_run(const struct rule_op *op, size_t count, const struct rule_facts *f)
{
    double stack[RULE_STACK_MAX + 1] = {0}; /* [0] is none */
    double *top = stack;
    for (size_t i = 0; i < count; i++) {
        const struct rule_op *o = &op[i];
        switch ((enum rule_code)o->code) {
        case RULE_CONST:
            *++top = o->number;
            break;
        case RULE_COLUMN:
        case RULE_NUMBER:
            *++top = rule_value(o, f);
            break;
        case RULE_IS:
            *++top = f->id[o->arg] == o->id;
            break;
        case RULE_HAS:
            *++top = f->id[o->arg] != 0;
            break;
        case RULE_NOT:
            *top = *top > 0 ? 0 : 1;
            break;
        case RULE_NEGATE:
        case RULE_LN:
            *top = rule_compute((enum rule_code)o->code, *top, 0);
            break;
        case RULE_AND:
            if (*top > 0) {
                top--;
            } else {
                i = o->to - 1U;
            }
            break;
        case RULE_OR:
            if (*top > 0) {
                i = o->to - 1U;
            } else {
                top--;
            }
            break;
        case RULE_ADD:
        case RULE_SUBTRACT:
        case RULE_MULTIPLY:
        case RULE_DIVIDE:
        case RULE_EQUAL:
        case RULE_UNEQUAL:
        case RULE_LESS:
        case RULE_AT_MOST:
        case RULE_ABOVE:
        case RULE_AT_LEAST:
            top--;
            *top = rule_compute((enum rule_code)o->code, *top, top[1]);
            break;
        }
    }
    return *top > 0;
}
