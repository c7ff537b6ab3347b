#include "daemon/card_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/card_hash.h"
#include "daemon/card_number.h"

_Static_assert(CARD_GUARD_MIN == CARD_DIGITS_MIN, "one number in two headers");

struct card_guard {
    struct card_hash *hash; /* NULL: cards are refused */
    uint64_t digits;
};

/* Members that card.digits may name; those of labels and decisions that refer to a payment's id go
 * with it. */
static const struct {
    const char *name;
    uint64_t members;
} IDENTITIES[] = {{"id", MEMBER_BIT(MEMBER_ID) | MEMBER_BIT(MEMBER_TX)},
                  {"merchant", MEMBER_BIT(MEMBER_MERCHANT)},
                  {"terminal", MEMBER_BIT(MEMBER_TERMINAL)},
                  {"device", MEMBER_BIT(MEMBER_DEVICE)}};

static bool find_identity(const char *name, size_t len, uint64_t *members)
{
    for (size_t i = 0; i < sizeof IDENTITIES / sizeof *IDENTITIES; i++) {
        if (strlen(IDENTITIES[i].name) == len && memcmp(IDENTITIES[i].name, name, len) == 0) {
            *members |= IDENTITIES[i].members;
            return true;
        }
    }
    return false;
}

/* Names by commas, with spaces around them. */
static enum err parse_digits(const char *text, uint64_t *out, struct errmsg *e)
{
    uint64_t members = 0;
    const char *at = text + strspn(text, " ");
    while (*at != '\0') {
        size_t len = strcspn(at, " ,");
        if (!find_identity(at, len, &members)) {
            return err_set(e, ERR_INVALID,
                           "card.digits = \"%s\" is not allowed; give names among id, merchant, "
                           "terminal and device, by commas",
                           text);
        }
        at += len;
        at += strspn(at, " ");
        at += *at == ',';
        at += strspn(at, " ");
    }
    *out = members;
    return ERR_OK;
}

static bool wants_hash(const struct conf *c)
{
    return strcmp(conf_text(c, "card.numbers"), "hash") == 0;
}

static bool has_key(const struct conf *c)
{
    const char *path = conf_text(c, "card.key-file");
    return path != NULL && path[0] != '\0';
}

enum err card_rules_check(const struct conf *c, const char **out_bad, struct errmsg *e)
{
    uint64_t digits = 0;
    const char *bad = "card.numbers";
    const char *numbers = conf_text(c, "card.numbers");
    enum err err = ERR_OK;
    if (!wants_hash(c) && strcmp(numbers, "refuse") != 0) {
        err = err_set(e, ERR_INVALID, "card.numbers = \"%s\" is not allowed; give refuse or hash",
                      numbers);
    } else if (wants_hash(c) && !has_key(c)) {
        err = err_set(e, ERR_INVALID, "card.numbers = \"hash\" needs card.key-file");
    } else {
        bad = "card.digits";
        err = parse_digits(conf_text(c, "card.digits"), &digits, e);
    }
    if (err != ERR_OK && out_bad != NULL) {
        *out_bad = bad;
    }
    return err;
}

enum err card_rules_read(const struct conf *c, struct card_rules *out, struct errmsg *e)
{
    struct card_rules r = {.key = NULL};
    enum err err = card_rules_check(c, NULL, e);
    if (err == ERR_OK) {
        err = parse_digits(conf_text(c, "card.digits"), &r.digits, e);
    }
    if (err == ERR_OK && wants_hash(c)) {
        err = card_key_read(conf_text(c, "card.key-file"), &r.key, e);
        if (err != ERR_OK) {
            return err_prefix(e, err, "card.key-file");
        }
    }
    if (err == ERR_OK) {
        *out = r;
    }
    return err;
}

void card_rules_done(struct card_rules *r)
{
    card_key_free(r->key);
    r->key = NULL;
}

void card_rules_tell(const struct card_rules *r, char *out, size_t size)
{
    size_t at = 0;
    int n = r->key != NULL ? snprintf(out, size, "hashed with key %s", card_key_name(r->key))
                           : snprintf(out, size, "refused");
    const char *before = "; identities of digits pass in ";
    for (size_t i = 0; i < sizeof IDENTITIES / sizeof *IDENTITIES; i++) {
        at += (size_t)n;
        n = 0;
        if ((r->digits & IDENTITIES[i].members) != 0 && at < size) {
            n = snprintf(out + at, size - at, "%s%s", before, IDENTITIES[i].name);
            before = ", ";
        }
    }
}

enum err card_guard_create(const struct card_rules *r, struct card_guard **out, struct errmsg *e)
{
    struct card_guard *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return err_set(e, ERR_NOMEM, "cannot look for card numbers: no memory");
    }
    g->digits = r->digits;
    if (r->key != NULL) {
        enum err err = card_hash_create(r->key, &g->hash, e);
        if (err != ERR_OK) {
            free(g);
            return err;
        }
    }
    *out = g;
    return ERR_OK;
}

void card_guard_free(struct card_guard *g)
{
    if (g != NULL) {
        card_hash_free(g->hash);
        free(g);
    }
}

enum card_verdict card_guard_card(struct card_guard *g, struct slice *card)
{
    char digits[CARD_DIGITS_MAX];
    size_t n = card_number_read(*card, digits);
    if (n == 0) {
        return card_number_in(*card) ? CARD_REFUSED : CARD_PASSES;
    }
    if (g->hash == NULL) {
        return CARD_REFUSED;
    }
    *card = card_hash_token(g->hash, digits, n);
    return CARD_HASHED;
}

static bool only_digits(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9') {
            return false;
        }
    }
    return true;
}

bool card_guard_text(const struct card_guard *g, enum member m, struct slice text)
{
    if (!card_number_in(text)) {
        return true;
    }
    return (g->digits & MEMBER_BIT(m)) != 0 && only_digits(text);
}
