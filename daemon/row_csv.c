#include "daemon/row_csv.h"

#include <inttypes.h>
#include <string.h>

#include "base/hash.h"
#include "base/timefmt.h"
#include "daemon/card_guard.h"
#include "daemon/card_number.h"
#include "daemon/decode_fields.h"

enum column {
    COLUMN_TX_ID,
    COLUMN_TS,
    COLUMN_CARD_ID,
    COLUMN_AMOUNT,
    COLUMN_FRAUD,
    COLUMN_LABEL_TS,
    COLUMN_TYPE,
    COLUMN_CURRENCY,
    COLUMN_MERCHANT_ID,
    COLUMN_TERMINAL_ID,
    COLUMN_MCC,
    COLUMN_COUNTRY,
    COLUMN_CHANNEL,
    COLUMN_ENTRY,
    COLUMN_DEVICE_ID,
    COLUMN_IP,
    COLUMN_LAT,
    COLUMN_LON
};

static const char *const NAMES[ROW_CSV_COLUMNS] = {
    "tx_id",   "ts",       "card_id",     "amount",      "fraud", "label_ts",
    "type",    "currency", "merchant_id", "terminal_id", "mcc",   "country",
    "channel", "entry",    "device_id",   "ip",          "lat",   "lon"};

enum err row_csv_init(struct row_csv *r, struct csv *csv, const struct rates *rates,
                      bool need_label, struct errmsg *e)
{
    r->csv = csv;
    r->rates = rates;
    r->reference = rates_find(rates, rates_reference(rates));
    r->guard = NULL;
    for (int i = 0; i < ROW_CSV_COLUMNS; i++) {
        r->column[i] = csv_column(csv, NAMES[i]);
        bool required = i <= COLUMN_AMOUNT || (i == COLUMN_FRAUD && need_label);
        if (required && r->column[i] < 0) {
            return err_set(e, ERR_CORRUPT,
                           "the header has no column \"%s\"; required are tx_id, ts, card_id, "
                           "amount%s",
                           NAMES[i], need_label ? ", fraud" : "");
        }
    }
    return ERR_OK;
}

/* One row being read. */
struct reading {
    const struct row_csv *r;
    const struct csv_field *fields;
    struct errmsg *e;
};

/* The field's text; empty where the column or the value is missing. */
static struct slice field(const struct reading *g, enum column c)
{
    int at = g->r->column[c];
    return at < 0 || g->fields[at].len == 0 ? (struct slice){"", 0}
                                            : (struct slice){g->fields[at].p, g->fields[at].len};
}

static enum err refuse(const struct reading *g, enum column c, const char *wanted)
{
    struct slice s = field(g, c);
    char masked[64]; /* before it is cut: half a number is not found */
    (void)card_number_mask(s.at, s.len < sizeof masked ? s.len : sizeof masked, masked);
    return err_set(g->e, ERR_CORRUPT, "line %" PRIu64 ": %s \"%.*s\" is not %s",
                   csv_line(g->r->csv), NAMES[c], (int)(s.len < 40 ? s.len : 40), masked, wanted);
}

static enum err refuse_number(const struct reading *g, enum column c, const char *setting)
{
    return err_set(g->e, ERR_CORRUPT,
                   "line %" PRIu64 ": %s holds a full card number or looks so; see the setting %s",
                   csv_line(g->r->csv), NAMES[c], setting);
}

/* The guard's look at an identity; `member` is what it is called in messages. */
static enum err guard_id(const struct reading *g, enum column c, enum member m, struct slice *s)
{
    struct card_guard *guard = g->r->guard;
    if (guard == NULL || s->len < CARD_GUARD_MIN) {
        return ERR_OK;
    }
    if (m == MEMBER_CARD) {
        return card_guard_card(guard, s) == CARD_REFUSED ? refuse_number(g, c, "card.numbers")
                                                         : ERR_OK;
    }
    return card_guard_text(guard, m, *s) ? ERR_OK : refuse_number(g, c, "card.digits");
}

static enum err take_id(const struct reading *g, enum column c, enum member m, bool required,
                        struct slice *out, uint64_t *out_hash)
{
    struct slice s = field(g, c);
    if (s.len == 0 && required) {
        return refuse(g, c, "there");
    }
    if (s.len > WIRE_ID_MAX || memchr(s.at, 0, s.len) != NULL || !members_utf8(s.at, s.len)) {
        return refuse(g, c, "UTF-8 of at most 128 bytes");
    }
    enum err err = guard_id(g, c, m, &s);
    if (err == ERR_OK && s.len > 0) {
        *out = s;
        *out_hash = hash_id(s.at, s.len);
    }
    return err;
}

static enum err take_time(const struct reading *g, enum column c, int64_t *out_us)
{
    struct slice s = field(g, c);
    int64_t us = 0;
    if (time_parse_loose(s.at, s.len, &us) != ERR_OK || us < WIRE_TIME_FIRST_US ||
        us >= WIRE_TIME_END_US) {
        return refuse(g, c, "a time from 2000 to 2099, ISO 8601 or seconds since 1970");
    }
    *out_us = us;
    return ERR_OK;
}

static enum err take_choice(const struct reading *g, enum column c, const char *const *words,
                            size_t count, uint8_t first, uint8_t *out)
{
    struct slice s = field(g, c);
    for (size_t i = 0; i < count; i++) {
        if (s.len == strlen(words[i]) && memcmp(s.at, words[i], s.len) == 0) {
            *out = (uint8_t)(first + i);
            return ERR_OK;
        }
    }
    return s.len == 0 ? ERR_OK : refuse(g, c, "one of its words (README of etc/wire)");
}

/* History files often went through binary floating point ("85.64999999999999"): digits beyond the
 * currency's are rounded half up, which a message on the wire must not need. */
static enum dead_reason parse_rounded(struct slice s, uint8_t exponent, int64_t *out_minor)
{
    const char *point = memchr(s.at, '.', s.len);
    size_t kept = point != NULL ? (size_t)(point - s.at) + 1U + exponent : s.len;
    if (kept >= s.len) {
        return money_parse(s.at, s.len, exponent, out_minor);
    }
    for (size_t i = kept; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9') {
            return DEAD_WRONG_TYPE;
        }
    }
    size_t whole = exponent == 0 ? kept - 1 : kept; /* no trailing point */
    enum dead_reason reason = money_parse(s.at, whole, exponent, out_minor);
    *out_minor += reason == DEAD_NONE && s.at[kept] >= '5';
    return reason;
}

static enum err take_money(const struct reading *g, struct row *out)
{
    struct slice code = field(g, COLUMN_CURRENCY);
    struct slice amount = field(g, COLUMN_AMOUNT);
    const struct rate *rate = g->r->reference;
    if (code.len > 0) {
        rate = code.len == 3 ? rates_find(g->r->rates, code.at) : NULL;
    }
    if (rate == NULL) {
        return refuse(g, COLUMN_CURRENCY, "in the exchange-rate table");
    }
    if (parse_rounded(amount, rate->exponent, &out->tx.amount_minor) != DEAD_NONE) {
        return refuse(g, COLUMN_AMOUNT, "a decimal number from 0 to 10^15 minor units");
    }
    if (g->r->guard != NULL && (card_number_in(amount) || card_number_is(out->tx.amount_minor))) {
        return refuse_number(g, COLUMN_AMOUNT, "card.numbers");
    }
    out->tx.amount_ref = rates_convert(rate, out->tx.amount_minor, rate->exponent);
    out->tx.foreign_currency = rate != g->r->reference;
    out->strings.exponent = rate->exponent;
    memcpy(out->tx.currency, rate->code, sizeof out->tx.currency);
    return ERR_OK;
}

static enum err take_codes(const struct reading *g, struct tx *t)
{
    struct slice mcc = field(g, COLUMN_MCC);
    struct slice country = field(g, COLUMN_COUNTRY);
    uint16_t code = 0;
    for (size_t i = 0; i < mcc.len; i++) {
        if (mcc.len > 4 || mcc.at[i] < '0' || mcc.at[i] > '9') {
            return refuse(g, COLUMN_MCC, "up to four digits");
        }
        code = (uint16_t)(code * 10 + (mcc.at[i] - '0'));
    }
    t->mcc = code;
    if (country.len == 0) {
        return ERR_OK;
    }
    if (country.len != 2 || country.at[0] < 'A' || country.at[0] > 'Z' || country.at[1] < 'A' ||
        country.at[1] > 'Z') {
        return refuse(g, COLUMN_COUNTRY, "two capital letters");
    }
    t->country = (uint16_t)(country.at[0] * 256 + country.at[1]);
    return ERR_OK;
}

/* Plain decimals of at most 15 digits: one rounded division, so no locale and no rounding twice. */
static enum err take_degrees(const struct reading *g, enum column c, double limit, float *out)
{
    struct slice s = field(g, c);
    int64_t v = 0;
    double divisor = 1;
    bool point = false;
    size_t digits = 0;
    bool negative = s.len > 0 && s.at[0] == '-';
    bool bad = false;
    for (size_t i = negative; i < s.len && !bad; i++) {
        if (s.at[i] == '.' && !point) {
            point = true;
            continue;
        }
        bad = s.at[i] < '0' || s.at[i] > '9' || ++digits > 15;
        v = v * 10 + (s.at[i] - '0');
        divisor *= point ? 10 : 1;
    }
    double degrees = (double)(negative ? -v : v) / divisor;
    if (bad || digits == 0 || degrees < -limit || degrees > limit) {
        return refuse(g, c, "decimal degrees in range");
    }
    *out = (float)degrees;
    return ERR_OK;
}

static enum err take_location(const struct reading *g, struct tx *t)
{
    bool has_lat = field(g, COLUMN_LAT).len > 0;
    bool has_lon = field(g, COLUMN_LON).len > 0;
    if (!has_lat && !has_lon) {
        return ERR_OK;
    }
    enum err code = take_degrees(g, COLUMN_LAT, 90, &t->lat);
    if (code == ERR_OK) {
        code = take_degrees(g, COLUMN_LON, 180, &t->lon);
    }
    t->has_location = true;
    return code;
}

static enum err take_label(const struct reading *g, struct row *out)
{
    struct slice fraud = field(g, COLUMN_FRAUD);
    if (fraud.len > 1 || (fraud.len == 1 && fraud.at[0] != '0' && fraud.at[0] != '1')) {
        return refuse(g, COLUMN_FRAUD, "0, 1 or empty");
    }
    out->has_label = fraud.len == 1;
    out->fraud = out->has_label && fraud.at[0] == '1';
    if (field(g, COLUMN_LABEL_TS).len == 0) {
        return ERR_OK;
    }
    enum err code = take_time(g, COLUMN_LABEL_TS, &out->label_us);
    if (code == ERR_OK && out->label_us < out->tx.event_us) {
        return refuse(g, COLUMN_LABEL_TS, "at or after ts");
    }
    return code;
}

static enum err take_identities(const struct reading *g, struct row *out)
{
    const struct {
        enum column column;
        enum member member;
        bool required;
        struct slice *text;
        uint64_t *hash;
    } ids[] = {
        {COLUMN_TX_ID, MEMBER_ID, true, &out->strings.id, &out->tx.id},
        {COLUMN_CARD_ID, MEMBER_CARD, true, &out->strings.card, &out->tx.card},
        {COLUMN_MERCHANT_ID, MEMBER_MERCHANT, false, &out->strings.merchant, &out->tx.merchant},
        {COLUMN_TERMINAL_ID, MEMBER_TERMINAL, false, &out->strings.terminal, &out->tx.terminal},
        {COLUMN_DEVICE_ID, MEMBER_DEVICE, false, &out->strings.device, &out->tx.device},
        {COLUMN_IP, MEMBER_IP, false, &out->strings.ip, &out->tx.ip}};
    enum err code = ERR_OK;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0] && code == ERR_OK; i++) {
        code = take_id(g, ids[i].column, ids[i].member, ids[i].required, ids[i].text, ids[i].hash);
    }
    return code;
}

static enum err take_words(const struct reading *g, struct tx *t)
{
    enum err code = take_choice(g, COLUMN_TYPE, FIELD_TYPE, FIELD_TYPES, TX_PURCHASE, &t->type);
    if (code == ERR_OK) {
        code =
            take_choice(g, COLUMN_CHANNEL, FIELD_CHANNEL, FIELD_CHANNELS, CHANNEL_POS, &t->channel);
    }
    if (code == ERR_OK) {
        code = take_choice(g, COLUMN_ENTRY, FIELD_ENTRY, FIELD_ENTRIES, ENTRY_CHIP, &t->entry);
    }
    return code;
}

enum err row_csv_next(struct row_csv *r, struct row *out, struct errmsg *e)
{
    struct reading g = {r, NULL, e};
    struct row row = {0};
    enum err code = csv_next(r->csv, &g.fields, e);
    if (code == ERR_OK) {
        code = take_identities(&g, &row);
    }
    if (code == ERR_OK) {
        code = take_time(&g, COLUMN_TS, &row.tx.event_us);
    }
    if (code == ERR_OK) {
        code = take_money(&g, &row);
    }
    if (code == ERR_OK) {
        code = take_words(&g, &row.tx);
    }
    if (code == ERR_OK) {
        code = take_codes(&g, &row.tx);
    }
    if (code == ERR_OK) {
        code = take_location(&g, &row.tx);
    }
    if (code == ERR_OK) {
        code = take_label(&g, &row);
    }
    if (code == ERR_OK) {
        *out = row;
    }
    return code;
}
