/* A recursive descent over tokens, bounded in depth, that writes operations as it goes. */
#include "daemon/rule_expr.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/decode_fields.h"
#include "features/schema.h"

static const uint8_t COST[] = {
    [RULE_CONST] = 1, [RULE_COLUMN] = 1,   [RULE_NUMBER] = 2,   [RULE_IS] = 2,
    [RULE_HAS] = 2,   [RULE_NOT] = 1,      [RULE_NEGATE] = 1,   [RULE_LN] = 25,
    [RULE_ADD] = 1,   [RULE_SUBTRACT] = 1, [RULE_MULTIPLY] = 1, [RULE_DIVIDE] = 5,
    [RULE_EQUAL] = 2, [RULE_UNEQUAL] = 2,  [RULE_LESS] = 1,     [RULE_AT_MOST] = 1,
    [RULE_ABOVE] = 1, [RULE_AT_LEAST] = 1, [RULE_AND] = 1,      [RULE_OR] = 1};

struct compiler {
    struct slice rest; /* behind the token */
    struct rule_token token;
    struct slice here; /* from the token on */
    struct rule_program *p;
    unsigned stack, nesting;
    struct errmsg *e;
};

/* What a part of an expression is. */
enum type { TYPE_NUMBER, TYPE_TRUTH, TYPE_ID };
struct part {
    enum type type;
    enum rule_id id; /* TYPE_ID: nothing is written for it yet */
};

#define TRY(step)                                                                                  \
    do {                                                                                           \
        enum err err_ = (step);                                                                    \
        if (err_ != ERR_OK) {                                                                      \
            return err_;                                                                           \
        }                                                                                          \
    } while (0)

static enum err wrong(const struct compiler *c, const char *what)
{
    const size_t n = c->here.len < 30 ? c->here.len : 30;
    const char *line = memchr(c->here.at, '\n', n);
    return err_set(c->e, ERR_INVALID, "%s before \"%.*s\"", what,
                   (int)(line != NULL ? (size_t)(line - c->here.at) : n), c->here.at);
}

static void advance(struct compiler *c)
{
    c->token = rule_next(&c->rest);
    const char *from = c->token.kind == TOKEN_TEXT ? c->token.text.at - 1 : c->token.text.at;
    c->here = (struct slice){from, (size_t)(c->rest.at - from) + c->rest.len};
}

static bool accept(struct compiler *c, const char *word)
{
    if (!rule_token_is(&c->token, word)) {
        return false;
    }
    advance(c);
    return true;
}

static enum err expect(struct compiler *c, const char *word, const char *what)
{
    return accept(c, word) ? ERR_OK : wrong(c, what);
}

/* takes: values that the operation takes off the stack; it leaves one, AND and OR none. */
static enum err emit(struct compiler *c, struct rule_op op, unsigned takes)
{
    struct rule_program *p = c->p;
    if (p->count == RULE_OPS_MAX) {
        return err_set(c->e, ERR_INVALID, "it has more than %d operations", RULE_OPS_MAX);
    }
    assert(c->stack >= takes);
    c->stack -= takes;
    c->stack += op.code != RULE_AND && op.code != RULE_OR;
    if (c->stack > RULE_STACK_MAX) {
        return err_set(c->e, ERR_INVALID, "more than %d values wait to be computed with",
                       RULE_STACK_MAX);
    }
    p->op[p->count++] = op;
    p->cost += COST[op.code];
    return ERR_OK;
}

static enum err emit_code(struct compiler *c, enum rule_code code, unsigned takes)
{
    return emit(c, (struct rule_op){.code = (uint8_t)code}, takes);
}

/* Arithmetic; of constants now, so that `column > ln(1 + 5)` has a bound to be found by. */
static enum err emit_arithmetic(struct compiler *c, enum rule_code code, unsigned takes)
{
    struct rule_program *p = c->p;
    bool constant = p->count >= takes;
    for (unsigned i = 1; i <= takes && constant; i++) {
        constant = p->op[p->count - i].code == RULE_CONST;
    }
    if (!constant) {
        return emit_code(c, code, takes);
    }
    struct rule_op *first = &p->op[p->count - takes];
    first->number = rule_compute(code, first->number, p->op[p->count - 1].number);
    p->count = (uint16_t)(p->count - takes + 1);
    p->cost -= (takes - 1) * COST[RULE_CONST];
    c->stack -= takes - 1;
    return ERR_OK;
}

static enum err expression(struct compiler *c, struct part *out);

static int find_name(struct slice s, enum rule_id *out_id, enum rule_number *out_number)
{
    char name[64];
    for (int i = 0; i < RULE_IDS; i++) {
        if (strlen(rule_id_name((enum rule_id)i)) == s.len &&
            memcmp(rule_id_name((enum rule_id)i), s.at, s.len) == 0) {
            *out_id = (enum rule_id)i;
            return 'i';
        }
    }
    for (int i = 0; i < RULE_NUMBERS; i++) {
        if (strlen(rule_number_name((enum rule_number)i)) == s.len &&
            memcmp(rule_number_name((enum rule_number)i), s.at, s.len) == 0) {
            *out_number = (enum rule_number)i;
            return 'n';
        }
    }
    if (s.len < sizeof name) {
        memcpy(name, s.at, s.len);
        name[s.len] = '\0';
        const int column = feature_find(name);
        if (column >= 0) {
            *out_number = (enum rule_number)column;
            return 'c';
        }
    }
    return 0;
}

static enum err call_ln(struct compiler *c, struct part *out)
{
    TRY(expect(c, "(", "ln needs a parenthesis"));
    TRY(expression(c, out));
    if (out->type != TYPE_NUMBER) {
        return wrong(c, "ln is of a number");
    }
    TRY(expect(c, ")", "a parenthesis is missing"));
    return emit_arithmetic(c, RULE_LN, 1);
}

static enum err call_has(struct compiler *c, struct part *out)
{
    enum rule_id id = RULE_CARD;
    enum rule_number n = RULE_AMOUNT;
    TRY(expect(c, "(", "has needs a parenthesis"));
    if (c->token.kind != TOKEN_NAME || find_name(c->token.text, &id, &n) != 'i') {
        return wrong(c, "has is of a field such as device");
    }
    advance(c);
    TRY(expect(c, ")", "a parenthesis is missing"));
    out->type = TYPE_TRUTH;
    return emit(c, (struct rule_op){.code = RULE_HAS, .arg = (uint8_t)id}, 0);
}

static enum err name(struct compiler *c, struct part *out)
{
    enum rule_number n = RULE_AMOUNT;
    if (accept(c, "ln")) {
        return call_ln(c, out);
    }
    if (accept(c, "has")) {
        return call_has(c, out);
    }
    const int kind = find_name(c->token.text, &out->id, &n);
    if (kind == 0) {
        return wrong(c, "there is no such field or column (`fraudd rules fields` lists them)");
    }
    advance(c);
    if (kind == 'i') {
        out->type = TYPE_ID;
        return ERR_OK;
    }
    out->type = TYPE_NUMBER;
    return emit(
        c, (struct rule_op){.code = kind == 'c' ? RULE_COLUMN : RULE_NUMBER, .arg = (uint8_t)n}, 0);
}

static enum err primary(struct compiler *c, struct part *out)
{
    if (c->token.kind == TOKEN_NUMBER) {
        const struct rule_op op = {.code = RULE_CONST, .number = c->token.number};
        advance(c);
        out->type = TYPE_NUMBER;
        return emit(c, op, 0);
    }
    if (accept(c, "(")) {
        TRY(expression(c, out));
        return expect(c, ")", "a parenthesis is missing");
    }
    if (c->token.kind == TOKEN_NAME) {
        return name(c, out);
    }
    return wrong(c, "a number, field or column is missing");
}

/* An id that arithmetic wants as a number: only the MCC is one. */
static enum err as_number(struct compiler *c, struct part *p)
{
    if (p->type == TYPE_ID && p->id == RULE_MCC) {
        p->type = TYPE_NUMBER;
        return emit(c, (struct rule_op){.code = RULE_NUMBER, .arg = RULE_MCC_NUMBER}, 0);
    }
    return p->type == TYPE_NUMBER ? ERR_OK : wrong(c, "a number is wanted");
}

static enum err deeper(struct compiler *c)
{
    if (++c->nesting > RULE_NESTING_MAX) {
        return err_set(c->e, ERR_INVALID, "it is nested more than %d deep", RULE_NESTING_MAX);
    }
    return ERR_OK;
}

static enum err unary(struct compiler *c, struct part *out)
{
    if (!accept(c, "-")) {
        return primary(c, out);
    }
    TRY(deeper(c));
    TRY(unary(c, out));
    c->nesting--;
    TRY(as_number(c, out));
    return emit_arithmetic(c, RULE_NEGATE, 1);
}

/* Two operators of one rank between parts of a higher one. */
struct rank {
    enum err (*part)(struct compiler *c, struct part *out);
    const char *sign[2];
    enum rule_code code[2];
};

/* part, or part SIGN part SIGN part .., from the left. */
static enum err chain(struct compiler *c, const struct rank *r, struct part *out)
{
    TRY(r->part(c, out));
    for (;;) {
        struct part right = {TYPE_NUMBER, RULE_CARD};
        const bool second = rule_token_is(&c->token, r->sign[1]);
        if (!second && !rule_token_is(&c->token, r->sign[0])) {
            return ERR_OK;
        }
        TRY(as_number(c, out));
        advance(c);
        TRY(r->part(c, &right));
        TRY(as_number(c, &right));
        TRY(emit_arithmetic(c, r->code[second], 2));
    }
}

static enum err product(struct compiler *c, struct part *out)
{
    static const struct rank RANK = {unary, {"*", "/"}, {RULE_MULTIPLY, RULE_DIVIDE}};
    return chain(c, &RANK, out);
}

static enum err sum(struct compiler *c, struct part *out)
{
    static const struct rank RANK = {product, {"+", "-"}, {RULE_ADD, RULE_SUBTRACT}};
    return chain(c, &RANK, out);
}

/* The index of a word, from `first` on; 0: none. */
static uint64_t word_of(struct slice s, const char *const *words, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (strlen(words[i]) == s.len && memcmp(words[i], s.at, s.len) == 0) {
            return i + 1;
        }
    }
    return 0;
}

/* Capital letters, 8 bits each; 0: they are none. */
static uint64_t letters_of(struct slice s, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.len != n || s.at[i] < 'A' || s.at[i] > 'Z') {
            return 0;
        }
        v = v * 256 + (unsigned char)s.at[i];
    }
    return v;
}

/* What a field must be, as payments have it; 0: it can never be that. */
static uint64_t id_of(enum rule_id id, const struct rule_token *t)
{
    const struct slice s = t->text;
    switch (id) {
    case RULE_CARD:
    case RULE_MERCHANT:
    case RULE_TERMINAL:
    case RULE_DEVICE:
    case RULE_IP:
        return s.len > 0 && s.len <= WIRE_ID_MAX ? hash_id(s.at, s.len) : 0;
    case RULE_COUNTRY:
        return letters_of(s, 2);
    case RULE_CURRENCY:
        return letters_of(s, 3);
    case RULE_CHANNEL:
        return word_of(s, FIELD_CHANNEL, FIELD_CHANNELS);
    case RULE_ENTRY:
        return word_of(s, FIELD_ENTRY, FIELD_ENTRIES);
    case RULE_TYPE:
        return word_of(s, FIELD_TYPE, FIELD_TYPES);
    case RULE_MCC:
    case RULE_IDS:
        break;
    }
    return 0;
}

/* One `field = 'text'` (for the MCC: a number), at the text. */
static enum err is(struct compiler *c, enum rule_id id)
{
    uint64_t value = 0;
    if (id == RULE_MCC) {
        const double n = c->token.kind == TOKEN_NUMBER ? c->token.number : 0;
        value = n >= 1 && n <= 9999 && floor(n) >= n ? (uint64_t)n : 0;
    } else if (c->token.kind == TOKEN_TEXT) {
        value = id_of(id, &c->token);
    }
    if (value == 0) {
        return wrong(c, "not what the field can be");
    }
    advance(c);
    return emit(c, (struct rule_op){.code = RULE_IS, .arg = (uint8_t)id, .id = value}, 0);
}

/* Jumps of and, or and in end behind what is written by now. */
static void land(struct compiler *c, const uint16_t *jumps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        c->p->op[jumps[i]].to = c->p->count;
    }
}

static enum err in_list(struct compiler *c, enum rule_id id)
{
    uint16_t jumps[RULE_OPS_MAX];
    size_t n = 0;
    TRY(expect(c, "(", "in needs a list in parentheses"));
    for (;;) {
        TRY(is(c, id));
        if (!accept(c, ",")) {
            break;
        }
        jumps[n++] = c->p->count;
        TRY(emit_code(c, RULE_OR, 1));
    }
    land(c, jumps, n);
    return expect(c, ")", "a parenthesis is missing");
}

static enum err compare_id(struct compiler *c, struct part *left)
{
    const enum rule_id id = left->id;
    left->type = TYPE_TRUTH;
    if (accept(c, "in")) {
        return in_list(c, id);
    }
    if (accept(c, "=")) {
        return is(c, id);
    }
    if (accept(c, "!=")) {
        TRY(is(c, id));
        return emit_code(c, RULE_NOT, 1);
    }
    return wrong(c, "=, != or in is missing");
}

static enum rule_code comparison_of(const struct rule_token *t)
{
    static const struct {
        const char *sign;
        enum rule_code code;
    } SIGNS[] = {{"=", RULE_EQUAL},    {"!=", RULE_UNEQUAL}, {"<", RULE_LESS},
                 {"<=", RULE_AT_MOST}, {">", RULE_ABOVE},    {">=", RULE_AT_LEAST}};
    for (size_t i = 0; i < sizeof SIGNS / sizeof *SIGNS; i++) {
        if (rule_token_is(t, SIGNS[i].sign)) {
            return SIGNS[i].code;
        }
    }
    return RULE_CONST;
}

static bool compares_equality(const struct compiler *c)
{
    return rule_token_is(&c->token, "=") || rule_token_is(&c->token, "!=") ||
           rule_token_is(&c->token, "in");
}

static enum err comparison(struct compiler *c, struct part *out)
{
    struct part right = {TYPE_NUMBER, RULE_CARD};
    TRY(sum(c, out));
    if (out->type == TYPE_ID && (out->id != RULE_MCC || compares_equality(c))) {
        return compare_id(c, out);
    }
    const enum rule_code code = comparison_of(&c->token);
    if (code == RULE_CONST) {
        return out->type == TYPE_ID ? as_number(c, out) : ERR_OK;
    }
    TRY(as_number(c, out));
    advance(c);
    TRY(sum(c, &right));
    TRY(as_number(c, &right));
    out->type = TYPE_TRUTH;
    return emit_code(c, code, 2);
}

static enum err negation(struct compiler *c, struct part *out)
{
    if (!accept(c, "not")) {
        return comparison(c, out);
    }
    TRY(deeper(c));
    TRY(negation(c, out));
    c->nesting--;
    if (out->type != TYPE_TRUTH) {
        return wrong(c, "not is of a comparison");
    }
    return emit_code(c, RULE_NOT, 1);
}

/* What the operations from `first` on demand, if it can be looked up. */
static struct rule_guard guard_of(const struct rule_program *p, uint16_t first)
{
    const uint16_t n = (uint16_t)(p->count - first);
    const struct rule_op *op = &p->op[first];
    bool ids = n > 0;
    for (uint16_t i = 0; i < n; i++) {
        ids = ids && (op[i].code == RULE_IS || op[i].code == RULE_OR);
    }
    if (ids) {
        return (struct rule_guard){GUARD_IS, first, n};
    }
    if (n != 3 || (op[0].code != RULE_COLUMN && op[0].code != RULE_NUMBER) ||
        op[1].code != RULE_CONST || op[2].code < RULE_EQUAL || op[2].code == RULE_UNEQUAL ||
        op[2].code > RULE_AT_LEAST) {
        return (struct rule_guard){GUARD_NONE, 0, 0};
    }
    return (struct rule_guard){op[2].code == RULE_EQUAL ? GUARD_EQUAL : GUARD_RANGE, first, 3};
}

/* The better one to look a rule up by: fewer texts of a field that has many. */
static bool is_better(const struct rule_program *p, struct rule_guard a, struct rule_guard b)
{
    if (a.kind != GUARD_IS || b.kind != GUARD_IS) {
        return a.kind > b.kind;
    }
    return p->op[a.first].arg < p->op[b.first].arg; /* card first, type last */
}

/* Notes a part that must hold. */
static void note_guard(struct rule_program *p, struct rule_guard g)
{
    const bool quick =
        g.kind == GUARD_RANGE || g.kind == GUARD_EQUAL || (g.kind == GUARD_IS && g.count == 1);
    if (quick && p->filter_count < RULE_FILTERS_MAX) {
        p->filter[p->filter_count++] = g;
    } else {
        p->exact = false;
    }
    if (is_better(p, g, p->guard)) {
        p->guard = g;
    }
}

/* top: each part must hold for the whole to hold. */
static enum err conjunction(struct compiler *c, bool top, struct part *out)
{
    uint16_t jumps[RULE_OPS_MAX];
    size_t n = 0;
    for (;;) {
        const uint16_t first = c->p->count;
        TRY(negation(c, out));
        if (top) {
            note_guard(c->p, guard_of(c->p, first));
        }
        if (n == 0 && !rule_token_is(&c->token, "and")) {
            return ERR_OK;
        }
        if (out->type != TYPE_TRUTH) {
            return wrong(c, "and is of comparisons");
        }
        if (!accept(c, "and")) {
            break;
        }
        jumps[n++] = c->p->count;
        TRY(emit_code(c, RULE_AND, 1));
    }
    land(c, jumps, n);
    return ERR_OK;
}

static enum err expression(struct compiler *c, struct part *out)
{
    uint16_t jumps[RULE_OPS_MAX];
    size_t n = 0;
    const bool top = c->nesting == 0;
    TRY(deeper(c));
    for (;;) {
        TRY(conjunction(c, top && n == 0, out));
        if (n == 0 && !rule_token_is(&c->token, "or")) {
            break;
        }
        if (out->type != TYPE_TRUTH) {
            return wrong(c, "or is of comparisons");
        }
        if (top) {
            c->p->guard = (struct rule_guard){GUARD_NONE, 0, 0};
            c->p->filter_count = 0;
            c->p->exact = false;
        }
        if (!accept(c, "or")) {
            break;
        }
        jumps[n++] = c->p->count;
        TRY(emit_code(c, RULE_OR, 1));
    }
    land(c, jumps, n);
    c->nesting--;
    return ERR_OK;
}

enum err rule_compile(struct slice *at, struct rule_program *out, struct errmsg *e)
{
    struct compiler c = {.rest = *at, .p = out, .e = e};
    struct part part = {TYPE_NUMBER, RULE_CARD};
    out->count = 0;
    out->cost = 0;
    out->guard = (struct rule_guard){GUARD_NONE, 0, 0};
    out->filter_count = 0;
    out->exact = true;
    advance(&c);
    TRY(expression(&c, &part));
    if (part.type != TYPE_TRUTH) {
        return wrong(&c, "a comparison is missing");
    }
    if (out->cost > RULE_COST_MAX) {
        return err_set(e, ERR_INVALID, "it costs %" PRIu32 ", at most %d is allowed", out->cost,
                       RULE_COST_MAX);
    }
    assert(c.stack == 1);
    *at = c.here;
    return ERR_OK;
}
