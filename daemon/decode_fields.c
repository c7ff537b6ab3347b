#include "daemon/decode_fields.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/card_number.h"

#define MESSAGE_LIMIT ((size_t)16 * 1024 * 1024)
#define AMOUNT_DOUBTED INT64_C(1000000000000) /* minor units: the least of 13 digits */

const char *const FIELD_TYPE[FIELD_TYPES] = {"purchase", "cash", "refund", "reversal", "check"};
const char *const FIELD_CHANNEL[FIELD_CHANNELS] = {"pos", "atm", "ecommerce", "moto", "recurring"};
const char *const FIELD_ENTRY[FIELD_ENTRIES] = {"chip", "contactless", "magstripe", "manual",
                                                "credential_on_file"};
const char *const FIELD_VERDICT[FIELD_VERDICTS] = {"fraud", "legitimate", "withdrawn"};
const char *const FIELD_OUTCOME[FIELD_OUTCOMES] = {"approve", "review", "decline"};

const char *dead_reason_name(enum dead_reason r)
{
    static const char *const NAMES[DEAD_REASON_COUNT] = {
        "none",        "empty",         "too_large",        "not_utf8",     "not_json",
        "wrong_type",  "missing_field", "duplicate_field",  "out_of_range", "bad_time",
        "future",      "key_mismatch",  "unknown_currency", "answer_lost",  "crash",
        "card_number", "schema",        "malformed"};
    return (unsigned)r < DEAD_REASON_COUNT ? NAMES[r] : "unknown";
}

enum err decoder_create(const struct rates *rates, size_t message_max, struct decoder **out,
                        struct errmsg *e)
{
    if (message_max == 0 || message_max > MESSAGE_LIMIT) {
        return err_set(e, ERR_INVALID, "the largest message of %zu bytes must be 1 to %zu",
                       message_max, MESSAGE_LIMIT);
    }
    struct decoder *d = calloc(1, sizeof *d);
    struct members_reader *reader = members_create(message_max);
    char *framed = malloc(message_max); /* untouched, and so no memory, where all is JSON */
    if (d == NULL || reader == NULL || framed == NULL) {
        free(d);
        free(framed);
        members_free(reader);
        return err_set(e, ERR_NOMEM, "no memory for a decoder of messages of %zu bytes",
                       message_max);
    }
    d->rates = rates;
    d->message_max = message_max;
    d->reader = reader;
    d->framed = framed;
    *out = d;
    return ERR_OK;
}

void decoder_free(struct decoder *d)
{
    if (d != NULL) {
        members_free(d->reader);
        free(d->framed);
        card_guard_free(d->guard);
        free(d);
    }
}

enum err decode_guard(struct decoder *d, const struct card_rules *r, struct errmsg *e)
{
    struct card_guard *g = NULL;
    enum err err = card_guard_create(r, &g, e);
    if (err == ERR_OK) {
        card_guard_free(d->guard);
        d->guard = g;
    }
    return err;
}

void decode_schemas(struct decoder *d, const struct schemas *s)
{
    d->schemas = s;
}

struct slice decode_key(struct decoder *d, const char *key, size_t len)
{
    struct slice s = {key, len};
    if (d->guard != NULL && len >= CARD_GUARD_MIN) {
        (void)card_guard_card(d->guard, &s); /* one that is refused was never decided */
    }
    return s;
}

void decoder_set_rates(struct decoder *d, const struct rates *rates)
{
    d->rates = rates;
}

const char *decode_detail(const struct decoder *d)
{
    return d->detail;
}

enum dead_reason field_reject(struct decoder *d, enum dead_reason reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(d->detail, sizeof d->detail, fmt, args);
    va_end(args);
    return reason;
}

#define EXCERPT 32
#define NUMBER_BYTES 24 /* of the longest card number in groups */

/* Up to EXCERPT characters of outside text that are safe to show. */
struct excerpt {
    char text[EXCERPT + 4];
};

static struct excerpt excerpt(struct slice s)
{
    struct excerpt x;
    char masked[EXCERPT + NUMBER_BYTES] = ""; /* before it is cut: half a number is not found */
    (void)card_number_mask(s.at, s.len < sizeof masked ? s.len : sizeof masked, masked);
    size_t n = s.len < EXCERPT ? s.len : EXCERPT;
    for (size_t i = 0; i < n; i++) {
        bool plain = masked[i] >= ' ' && masked[i] <= '~' && masked[i] != '"';
        x.text[i] = '?';
        if (plain) {
            x.text[i] = masked[i];
        }
    }
    memcpy(x.text + n, "..", 3);
    x.text[s.len > n ? n + 2 : n] = '\0';
    return x;
}

enum dead_reason field_explain(struct decoder *d, enum members_error error, enum member m,
                               const char *text)
{
    switch (error) {
    case MEMBERS_OK:
        break;
    case MEMBERS_NOT_JSON:
        return field_reject(d, DEAD_NOT_JSON, "%s: %s", member_name(m), text);
    case MEMBERS_NOT_UTF8:
        return field_reject(d, DEAD_NOT_UTF8, "%s: %s", member_name(m), text);
    case MEMBERS_TWICE:
        return field_reject(d, DEAD_DUPLICATE_FIELD, "%s is there twice", member_name(m));
    case MEMBERS_BAD_REASONS:
        return field_reject(d, DEAD_WRONG_TYPE,
                            "reasons is not an array of at most %d {group, weight, text}",
                            MEMBERS_REASONS_MAX);
    case MEMBERS_TOO_LARGE:
        return field_reject(d, DEAD_TOO_LARGE, "the message is above %zu bytes", d->message_max);
    case MEMBERS_MALFORMED:
        return field_reject(d, DEAD_MALFORMED, "%s: %s", member_name(m), text);
    }
    return DEAD_NONE;
}

enum dead_reason field_measure(struct decoder *d, const char *bytes, size_t len)
{
    d->detail[0] = '\0';
    if (bytes == NULL || len == 0) {
        return field_reject(d, DEAD_EMPTY, "the message has no bytes");
    }
    if (len > d->message_max) {
        return field_reject(d, DEAD_TOO_LARGE, "the message of %zu bytes is above %zu", len,
                            d->message_max);
    }
    return DEAD_NONE;
}

enum dead_reason field_complete(struct decoder *d, uint64_t required)
{
    uint64_t missing = required & ~d->m.present;
    if (missing != 0) {
        return field_reject(d, DEAD_MISSING_FIELD, "%s is missing",
                            member_name((enum member)__builtin_ctzll(missing)));
    }
    return DEAD_NONE;
}

enum dead_reason field_begin(struct decoder *d, const char *json, size_t len, uint64_t named,
                             uint64_t required)
{
    enum member about = MEMBER_COUNT;
    const char *text = "";
    FIELD_TRY(field_measure(d, json, len));
    enum members_error error = members_read(d->reader, json, len, named, &d->m, &about, &text);
    FIELD_TRY(field_explain(d, error, about, text));
    return field_complete(d, required);
}

bool field_has(const struct decoder *d, enum member m)
{
    return (d->m.present & MEMBER_BIT(m)) != 0;
}

static enum dead_reason wrong_type(struct decoder *d, enum member m, const char *wanted)
{
    return field_reject(d, DEAD_WRONG_TYPE, "%s is not %s", member_name(m), wanted);
}

enum dead_reason field_string(struct decoder *d, enum member m, size_t max, bool required,
                              struct slice *out)
{
    *out = (struct slice){NULL, 0};
    if (!field_has(d, m)) {
        return DEAD_NONE;
    }
    const struct member_value *v = &d->m.value[m];
    if (v->kind != KIND_STRING) {
        return wrong_type(d, m, "a string");
    }
    if (v->text.len > max) {
        return field_reject(d, DEAD_TOO_LARGE, "%s of %zu bytes is above %zu", member_name(m),
                            v->text.len, max);
    }
    if (v->text.len > 0) {
        *out = v->text;
    } else if (required) {
        return field_reject(d, DEAD_MISSING_FIELD, "%s is empty", member_name(m));
    }
    return DEAD_NONE;
}

static enum dead_reason card_number(struct decoder *d, enum member m)
{
    return field_reject(d, DEAD_CARD_NUMBER, "%s holds a full card number%s", member_name(m),
                        m == MEMBER_CARD ? "; send a token, or see the setting card.numbers"
                                         : " or looks so; see the setting card.digits");
}

enum dead_reason field_id(struct decoder *d, enum member m, bool required, struct slice *out)
{
    FIELD_TRY(field_string(d, m, WIRE_ID_MAX, required, out));
    if (d->guard != NULL && out->len >= CARD_GUARD_MIN && !card_guard_text(d->guard, m, *out)) {
        return card_number(d, m);
    }
    return DEAD_NONE;
}

enum dead_reason field_card(struct decoder *d, struct slice *out, struct slice *out_sent)
{
    FIELD_TRY(field_string(d, MEMBER_CARD, WIRE_ID_MAX, true, out));
    *out_sent = *out;
    if (d->guard != NULL && out->len >= CARD_GUARD_MIN &&
        card_guard_card(d->guard, out) == CARD_REFUSED) {
        return card_number(d, MEMBER_CARD);
    }
    return DEAD_NONE;
}

enum dead_reason field_integer(struct decoder *d, enum member m, int64_t low, int64_t high,
                               int64_t *out)
{
    if (!field_has(d, m)) {
        return DEAD_NONE;
    }
    const struct member_value *v = &d->m.value[m];
    if (v->kind == KIND_HUGE ||
        (v->kind == KIND_INTEGER && (v->integer < low || v->integer > high))) {
        return field_reject(d, DEAD_OUT_OF_RANGE, "%s is not in %" PRId64 " to %" PRId64,
                            member_name(m), low, high);
    }
    if (v->kind != KIND_INTEGER) {
        return wrong_type(d, m, "an integer");
    }
    *out = v->integer;
    return DEAD_NONE;
}

enum dead_reason field_real(struct decoder *d, enum member m, double low, double high, double *out)
{
    if (!field_has(d, m)) {
        return DEAD_NONE;
    }
    const struct member_value *v = &d->m.value[m];
    if (v->kind != KIND_INTEGER && v->kind != KIND_REAL && v->kind != KIND_HUGE) {
        return wrong_type(d, m, "a number");
    }
    double x = v->kind == KIND_INTEGER ? (double)v->integer : v->real;
    if (v->kind == KIND_HUGE || !(x >= low && x <= high)) {
        return field_reject(d, DEAD_OUT_OF_RANGE, "%s is not in %g to %g", member_name(m), low,
                            high);
    }
    *out = x;
    return DEAD_NONE;
}

enum dead_reason field_bool(struct decoder *d, enum member m, bool *out)
{
    if (!field_has(d, m)) {
        return DEAD_NONE;
    }
    if (d->m.value[m].kind != KIND_BOOL) {
        return wrong_type(d, m, "true or false");
    }
    *out = d->m.value[m].integer != 0;
    return DEAD_NONE;
}

static bool slice_is(struct slice s, const char *word)
{
    return strlen(word) == s.len && memcmp(s.at, word, s.len) == 0;
}

enum dead_reason field_choice(struct decoder *d, enum member m, const char *const *words,
                              size_t count, uint8_t first, uint8_t *out)
{
    if (!field_has(d, m)) {
        return DEAD_NONE;
    }
    const struct member_value *v = &d->m.value[m];
    if (v->kind != KIND_STRING) {
        return wrong_type(d, m, "a string");
    }
    for (size_t i = 0; i < count; i++) {
        if (slice_is(v->text, words[i])) {
            *out = (uint8_t)(first + i);
            return DEAD_NONE;
        }
    }
    return field_reject(d, DEAD_OUT_OF_RANGE, "%s \"%s\" is not one of its words (%s, ..)",
                        member_name(m), excerpt(v->text).text, words[0]);
}

enum dead_reason field_time(struct decoder *d, enum member m, int64_t *out_us)
{
    if (!field_has(d, m)) {
        return DEAD_NONE;
    }
    const struct member_value *v = &d->m.value[m];
    int64_t us = -1;
    if (v->kind == KIND_STRING) {
        if (time_parse(v->text.at, v->text.len, &us) != ERR_OK) {
            return field_reject(d, DEAD_BAD_TIME,
                                "%s \"%s\" is not a time such as 2026-04-01T12:30:05.123Z",
                                member_name(m), excerpt(v->text).text);
        }
    } else if (v->kind == KIND_INTEGER) {
        bool fits = v->integer >= 0 && v->integer < WIRE_TIME_END_US / 1000;
        us = fits ? v->integer * 1000 : -1;
    } else if (v->kind == KIND_MICROS) {
        us = v->integer;
    } else if (v->kind != KIND_HUGE) {
        return wrong_type(d, m, "a time as text or as integer milliseconds");
    }
    if (us < WIRE_TIME_FIRST_US || us >= WIRE_TIME_END_US) {
        return field_reject(d, DEAD_BAD_TIME,
                            "%s is outside 2000-01-01 to 2099-12-31 (a number means milliseconds)",
                            member_name(m));
    }
    *out_us = us;
    return DEAD_NONE;
}

enum dead_reason field_mcc(struct decoder *d, uint16_t *out)
{
    const struct member_value *v = &d->m.value[MEMBER_MCC];
    int64_t code = 0;
    if (field_has(d, MEMBER_MCC) && v->kind == KIND_STRING) {
        bool digits = v->text.len <= 4;
        for (size_t i = 0; i < v->text.len && digits; i++) {
            digits = v->text.at[i] >= '0' && v->text.at[i] <= '9';
            code = code * 10 + (v->text.at[i] - '0');
        }
        if (!digits) {
            return field_reject(d, DEAD_OUT_OF_RANGE, "mcc \"%s\" is not up to four digits",
                                excerpt(v->text).text);
        }
    } else {
        FIELD_TRY(field_integer(d, MEMBER_MCC, 0, 9999, &code));
    }
    *out = (uint16_t)code;
    return DEAD_NONE;
}

enum dead_reason field_country(struct decoder *d, uint16_t *out)
{
    struct slice s;
    FIELD_TRY(field_string(d, MEMBER_COUNTRY, WIRE_ID_MAX, false, &s));
    *out = 0;
    if (s.len == 0) {
        return DEAD_NONE;
    }
    if (s.len != 2 || s.at[0] < 'A' || s.at[0] > 'Z' || s.at[1] < 'A' || s.at[1] > 'Z') {
        return field_reject(d, DEAD_OUT_OF_RANGE, "country \"%s\" is not two capital letters",
                            excerpt(s).text);
    }
    *out = (uint16_t)(s.at[0] * 256 + s.at[1]);
    return DEAD_NONE;
}

enum dead_reason money_parse(const char *p, size_t len, uint8_t exponent, int64_t *out_minor)
{
    bool negative = len > 0 && p[0] == '-';
    bool point = false;
    size_t whole = 0;
    size_t decimals = 0;
    int64_t v = 0;
    bool large = false;
    for (size_t i = negative; i < len; i++) {
        if (p[i] == '.' && !point && whole > 0) {
            point = true;
            continue;
        }
        if (p[i] < '0' || p[i] > '9' || (decimals >= exponent && point && p[i] != '0')) {
            return DEAD_WRONG_TYPE;
        }
        *(point ? &decimals : &whole) += 1;
        if (!point || decimals <= exponent) {
            v = large ? v : v * 10 + (p[i] - '0');
            large = large || v > WIRE_AMOUNT_MAX;
        }
    }
    if (whole == 0 || (point && decimals == 0)) {
        return DEAD_WRONG_TYPE;
    }
    for (size_t i = decimals; i < exponent && !large; i++) {
        v *= 10;
        large = v > WIRE_AMOUNT_MAX;
    }
    if (large || (negative && v > 0)) {
        return DEAD_OUT_OF_RANGE;
    }
    *out_minor = v;
    return DEAD_NONE;
}

static enum dead_reason amount_text(struct decoder *d, struct slice s, uint8_t exponent,
                                    int64_t *out_minor)
{
    enum dead_reason reason = money_parse(s.at, s.len, exponent, out_minor);
    if (reason == DEAD_WRONG_TYPE) {
        return field_reject(d, reason, "amount \"%s\" is not a decimal number with %u decimals",
                            excerpt(s).text, exponent);
    }
    if (reason == DEAD_OUT_OF_RANGE) {
        return field_reject(d, reason, "amount \"%s\" is negative or above %" PRId64 " minor units",
                            excerpt(s).text, WIRE_AMOUNT_MAX);
    }
    return DEAD_NONE;
}

static enum dead_reason field_amount(struct decoder *d, uint8_t exponent, int64_t *out_minor)
{
    const struct member_value *v = &d->m.value[MEMBER_AMOUNT];
    if (v->kind == KIND_STRING) {
        if (d->guard != NULL && v->text.len >= CARD_GUARD_MIN && card_number_in(v->text)) {
            return field_reject(d, DEAD_CARD_NUMBER, "amount looks like a full card number");
        }
        return amount_text(d, v->text, exponent, out_minor);
    }
    if (v->kind == KIND_REAL && v->real >= 0 && v->real <= (double)WIRE_AMOUNT_MAX) {
        return field_reject(d, DEAD_WRONG_TYPE,
                            "amount has a point or an exponent; send an integer of minor units "
                            "or a decimal number in quotes");
    }
    if (v->kind == KIND_REAL) {
        return field_reject(d, DEAD_OUT_OF_RANGE, "amount is not in 0 to %" PRId64,
                            WIRE_AMOUNT_MAX);
    }
    return field_integer(d, MEMBER_AMOUNT, 0, WIRE_AMOUNT_MAX, out_minor);
}

enum dead_reason field_money(struct decoder *d, struct money *out)
{
    struct slice code;
    struct money money = {0};
    FIELD_TRY(field_string(d, MEMBER_CURRENCY, WIRE_ID_MAX, true, &code));
    const struct rate *rate = code.len == 3 ? rates_find(d->rates, code.at) : NULL;
    if (rate == NULL) {
        return field_reject(d, DEAD_UNKNOWN_CURRENCY,
                            "currency \"%s\" is not in the exchange-rate table, version %u",
                            excerpt(code).text, rates_version(d->rates));
    }
    int64_t exponent = rate->exponent;
    FIELD_TRY(field_integer(d, MEMBER_EXPONENT, 0, WIRE_EXPONENT_MAX, &exponent));
    money.exponent = (uint8_t)exponent;
    FIELD_TRY(field_amount(d, money.exponent, &money.minor));
    if (d->guard != NULL && money.minor >= AMOUNT_DOUBTED && card_number_is(money.minor)) {
        return field_reject(d, DEAD_CARD_NUMBER, "amount looks like a full card number");
    }
    memcpy(money.currency, rate->code, sizeof money.currency);
    money.ref = rates_convert(rate, money.minor, money.exponent);
    money.foreign = memcmp(rate->code, rates_reference(d->rates), 3) != 0;
    *out = money;
    return DEAD_NONE;
}
