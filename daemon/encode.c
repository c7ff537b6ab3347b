#include "daemon/encode.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/realfmt.h"
#include "base/timefmt.h"
#include "daemon/decode_fields.h"

/* The text so far.  Past the end only len grows, so that one check at the end tells. */
struct text {
    char *at;
    size_t len, cap;
    bool bad; /* a value outside its bounds */
};

static inline void put(struct text *o, const char *p, size_t n)
{
    if (o->len <= o->cap && n <= o->cap - o->len) {
        memcpy(o->at + o->len, p, n);
    }
    o->len += n;
}

#define PUT(o, literal) put((o), "" literal, sizeof(literal) - 1)

static void put_word(struct text *o, const char *word)
{
    put(o, word, strlen(word));
}

static void put_uint(struct text *o, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    put(o, digits + at, sizeof digits - at);
}

static void put_int(struct text *o, int64_t v)
{
    if (v < 0) {
        PUT(o, "-");
    }
    put_uint(o, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* What a threshold, weight or ratio may be is within real_format's limits. */
static void put_real(struct text *o, double v)
{
    char digits[REAL_TEXT_MAX];
    size_t len = real_format(digits, v);
    o->bad = o->bad || len == 0;
    put(o, digits, len);
}

/* The same bytes as base/timefmt.h's time_format, without a format string to interpret.  (Dates
 * after Hinnant, "chrono-compatible low-level date algorithms".) */
static void put_time(struct text *o, int64_t us)
{
    if (us < WIRE_TIME_FIRST_US || us >= WIRE_TIME_END_US) {
        o->bad = true;
        return;
    }
    uint64_t t = (uint64_t)us;
    unsigned z = (unsigned)(t / (uint64_t)TIME_DAY) + 719468; /* days since 0000-03-01 */
    unsigned era = z / 146097;
    unsigned doe = z - era * 146097;
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    unsigned month = mp < 10 ? mp + 3 : mp - 9;
    unsigned second = (unsigned)(t / (uint64_t)TIME_S % 86400);
    unsigned parts[] = {(yoe + era * 400 + (month <= 2)) / 100,
                        (yoe + era * 400 + (month <= 2)) % 100,
                        month,
                        doy - (153 * mp + 2) / 5 + 1,
                        second / 3600,
                        second / 60 % 60,
                        second % 60};
    char text[] = "\"0000-00-00T00:00:00.000000Z\"";
    static const uint8_t PLACE[] = {1, 3, 6, 9, 12, 15, 18};
    for (size_t i = 0; i < sizeof PLACE; i++) {
        text[PLACE[i]] = (char)('0' + parts[i] / 10);
        text[PLACE[i] + 1] = (char)('0' + parts[i] % 10);
    }
    unsigned fraction = (unsigned)(t % (uint64_t)TIME_S);
    size_t end = fraction == 0 ? 20 : fraction % 1000 == 0 ? 24 : 27;
    for (size_t i = 26; i > 20; i--, fraction /= 10) {
        text[i] = (char)('0' + fraction % 10);
    }
    text[end] = 'Z';
    text[end + 1] = '"';
    put(o, text, end + 2);
}

static bool is_plain(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)p[i] < 0x20 || p[i] == '"' || p[i] == '\\') {
            return false;
        }
    }
    return true;
}

static void put_escaped(struct text *o, const char *p, size_t len)
{
    static const char HEX[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == '"' || c == '\\') {
            PUT(o, "\\");
        } else if (c < 0x20) {
            PUT(o, "\\u00");
            put(o, HEX + c / 16, 1);
            put(o, HEX + c % 16, 1);
            continue;
        }
        put(o, p + i, 1);
    }
}

static void put_string(struct text *o, struct slice s, size_t max)
{
    o->bad = o->bad || s.len > max;
    PUT(o, "\"");
    if (o->bad) {
        return;
    }
    if (is_plain(s.at, s.len)) {
        put(o, s.at, s.len);
    } else {
        put_escaped(o, s.at, s.len);
    }
    PUT(o, "\"");
}

/* Name (with its comma and colon) and an identity that must be there. */
static void put_id(struct text *o, const char *name, struct slice s)
{
    o->bad = o->bad || s.len == 0;
    put_word(o, name);
    put_string(o, s, WIRE_ID_MAX);
}

/* The same, nothing where it is missing. */
static void put_optional(struct text *o, const char *name, struct slice s)
{
    if (s.len > 0) {
        put_word(o, name);
        put_string(o, s, WIRE_ID_MAX);
    }
}

static void put_choice(struct text *o, const char *name, const char *const *words, size_t count,
                       unsigned i)
{
    if (i >= count) {
        o->bad = true;
        return;
    }
    put_word(o, name);
    PUT(o, "\"");
    put_word(o, words[i]);
    PUT(o, "\"");
}

static void put_money(struct text *o, int64_t minor, const char *currency, uint8_t exponent)
{
    o->bad = o->bad || minor < 0 || minor > WIRE_AMOUNT_MAX || exponent > WIRE_EXPONENT_MAX;
    PUT(o, ",\"amount\":");
    put_int(o, minor);
    PUT(o, ",\"currency\":");
    put_string(o, (struct slice){currency, strnlen(currency, 4)}, 3);
    PUT(o, ",\"exponent\":");
    put_uint(o, exponent);
}

static void put_mcc_country(struct text *o, uint16_t mcc, uint16_t country)
{
    o->bad = o->bad || mcc > 9999;
    if (mcc != 0) {
        char digits[] = {(char)('0' + mcc / 1000 % 10), (char)('0' + mcc / 100 % 10),
                         (char)('0' + mcc / 10 % 10), (char)('0' + mcc % 10)};
        PUT(o, ",\"mcc\":\"");
        put(o, digits, sizeof digits);
        PUT(o, "\"");
    }
    if (country != 0) {
        char letters[] = {(char)(country / 256), (char)(country % 256)};
        PUT(o, ",\"country\":");
        put_string(o, (struct slice){letters, 2}, 2);
    }
}

/* A payment from its card on. */
static void put_payment(struct text *o, const struct tx *t, const struct tx_strings *s)
{
    put_id(o, ",\"card\":", s->card);
    put_choice(o, ",\"type\":", FIELD_TYPE, FIELD_TYPES, t->type);
    put_money(o, t->amount_minor, t->currency, s->exponent);
    put_optional(o, ",\"merchant\":", s->merchant);
    put_optional(o, ",\"terminal\":", s->terminal);
    put_mcc_country(o, t->mcc, t->country);
    if (t->channel != CHANNEL_MISSING) {
        put_choice(o, ",\"channel\":", FIELD_CHANNEL, FIELD_CHANNELS, t->channel - 1U);
    }
    if (t->entry != ENTRY_MISSING) {
        put_choice(o, ",\"entry\":", FIELD_ENTRY, FIELD_ENTRIES, t->entry - 1U);
    }
    put_optional(o, ",\"device\":", s->device);
    put_optional(o, ",\"ip\":", s->ip);
    if (t->has_location) {
        PUT(o, ",\"lat\":");
        put_real(o, (double)t->lat);
        PUT(o, ",\"lon\":");
        put_real(o, (double)t->lon);
    }
}

static enum err finish(const struct text *o, size_t *out_len)
{
    if (o->bad) {
        return ERR_INVALID;
    }
    if (o->len > o->cap) {
        return ERR_FULL;
    }
    *out_len = o->len;
    return ERR_OK;
}

enum err encode_tx(const struct tx *t, const struct tx_strings *s, char *out, size_t cap,
                   size_t *out_len)
{
    struct text o = {out, 0, cap, false};
    put_id(&o, "{\"id\":", s->id);
    PUT(&o, ",\"ts\":");
    put_time(&o, t->event_us);
    put_payment(&o, t, s);
    PUT(&o, "}");
    return finish(&o, out_len);
}

enum err encode_label(const struct label *l, const struct label_strings *s, char *out, size_t cap,
                      size_t *out_len)
{
    struct text o = {out, 0, cap, l->number > INT64_MAX};
    put_id(&o, "{\"source\":", s->source);
    PUT(&o, ",\"number\":");
    put_uint(&o, l->number);
    put_id(&o, ",\"tx\":", s->tx);
    put_choice(&o, ",\"verdict\":", FIELD_VERDICT, FIELD_VERDICTS, l->verdict);
    PUT(&o, ",\"ts\":");
    put_time(&o, l->event_us);
    PUT(&o, ",\"known\":");
    put_time(&o, l->known_us);
    put_id(&o, ",\"card\":", s->card);
    put_optional(&o, ",\"merchant\":", s->merchant);
    put_optional(&o, ",\"terminal\":", s->terminal);
    put_mcc_country(&o, l->mcc, l->country);
    put_optional(&o, ",\"device\":", s->device);
    put_optional(&o, ",\"ip\":", s->ip);
    if (s->currency[0] != '\0') {
        put_money(&o, s->amount_minor, s->currency, s->exponent);
    }
    if (l->usual_ratio > 0) {
        PUT(&o, ",\"amount_ratio\":");
        put_real(&o, (double)l->usual_ratio);
    }
    PUT(&o, "}");
    return finish(&o, out_len);
}

static void put_decision_id(struct text *o, struct slice log, int32_t partition, int64_t offset)
{
    o->bad = o->bad || log.len == 0 || log.len > WIRE_LOG_MAX || partition < 0 || offset < 0;
    if (!o->bad) {
        put_escaped(o, log.at, log.len);
        PUT(o, "/");
        put_int(o, partition);
        PUT(o, "/");
        put_int(o, offset);
    }
}

static void put_optional_real(struct text *o, const char *name, double v)
{
    put_word(o, name);
    if (isnan(v)) {
        PUT(o, "null");
    } else {
        put_real(o, v);
    }
}

static void put_reasons(struct text *o, const struct decision *d)
{
    o->bad = o->bad || d->reason_count > DECISION_REASONS_MAX;
    for (uint32_t i = 0; i < d->reason_count && !o->bad; i++) {
        const struct reason *r = &d->reasons[i];
        if ((unsigned)r->group > REASON_CONTROL) {
            o->bad = true;
            return;
        }
        put_word(o, i == 0 ? ",\"reasons\":[{\"group\":\"" : ",{\"group\":\"");
        put_word(o, decision_group_name(r->group));
        PUT(o, "\",\"weight\":");
        put_real(o, (double)r->weight);
        PUT(o, ",\"text\":");
        put_string(o, (struct slice){r->text, strnlen(r->text, sizeof r->text)},
                   sizeof r->text - 1);
        PUT(o, "}");
    }
    if (d->reason_count > 0) {
        PUT(o, "]");
    }
}

static void put_decision(struct text *o, const struct decision *d)
{
    static const char HEX[] = "0123456789abcdef";
    char schema[16];
    for (size_t i = 0; i < sizeof schema; i++) {
        schema[i] = HEX[d->schema_hash >> (60 - 4 * i) & 15];
    }
    o->bad = o->bad || d->probability < 0 || d->probability > 1 || d->model.len == 0;
    PUT(o, "{\"id\":\"");
    put_decision_id(o, d->log, d->partition, d->offset);
    put_id(o, "\",\"tx\":", d->tx);
    PUT(o, ",\"ts\":");
    put_time(o, d->event_us);
    put_optional_real(o, ",\"score\":", d->probability);
    put_optional_real(o, ",\"threshold\":", d->threshold);
    put_choice(o, ",\"outcome\":", FIELD_OUTCOME, FIELD_OUTCOMES, (unsigned)d->outcome);
    PUT(o, ",\"model\":");
    put_string(o, d->model, WIRE_MODEL_MAX);
    PUT(o, ",\"schema\":\"");
    put(o, schema, sizeof schema);
    PUT(o, "\",\"revision\":");
    put_uint(o, d->revision);
    if (d->control.len > 0) {
        PUT(o, ",\"control\":");
        put_string(o, d->control, WIRE_CONTROL_MAX);
    }
    if (d->observed) {
        put_choice(o, ",\"would\":", FIELD_OUTCOME, FIELD_OUTCOMES, (unsigned)d->would);
    }
    if (d->repeat) {
        PUT(o, ",\"repeat\":true");
    }
    if (d->amount_ratio > 0) {
        PUT(o, ",\"amount_ratio\":");
        put_real(o, (double)d->amount_ratio);
    }
    put_reasons(o, d);
}

enum err encode_decision(const struct decision *d, char *out, size_t cap, size_t *out_len)
{
    struct text o = {out, 0, cap, false};
    put_decision(&o, d);
    PUT(&o, "}");
    return finish(&o, out_len);
}

enum err encode_alert(const struct decision *d, const struct tx *t, const struct tx_strings *s,
                      char *out, size_t cap, size_t *out_len)
{
    struct text o = {out, 0, cap, false};
    put_decision(&o, d);
    put_payment(&o, t, s);
    PUT(&o, "}");
    return finish(&o, out_len);
}

const char *decision_group_name(enum feature_group g)
{
    return g == REASON_CONTROL ? "control" : feature_group_name(g);
}

const char *decision_outcome_name(enum decision_outcome o)
{
    return (unsigned)o < FIELD_OUTCOMES ? FIELD_OUTCOME[o] : "unknown";
}

size_t encode_id(struct slice log, int32_t partition, int64_t offset, char *out, size_t cap)
{
    struct text o = {out, 0, cap - 1, false};
    put(&o, log.at, log.len < WIRE_LOG_MAX ? log.len : WIRE_LOG_MAX);
    PUT(&o, "/");
    put_int(&o, partition);
    PUT(&o, "/");
    put_int(&o, offset);
    size_t len = o.len < o.cap ? o.len : o.cap;
    out[len] = '\0';
    return len;
}

void encode_dead_letter(enum dead_reason reason, const char *detail, struct slice log,
                        int32_t partition, int64_t offset, const char *bytes, size_t len,
                        struct dead_letter *out)
{
    out->value = bytes;
    out->value_len = len;
    out->header[0].name = "reason";
    out->header[1].name = "detail";
    out->header[2].name = "source";
    out->header[3].name = "length";
    (void)snprintf(out->header[0].text, sizeof out->header[0].text, "%s", dead_reason_name(reason));
    (void)snprintf(out->header[1].text, sizeof out->header[1].text, "%s", detail);
    (void)encode_id(log, partition, offset, out->header[2].text, sizeof out->header[2].text);
    (void)snprintf(out->header[3].text, sizeof out->header[3].text, "%zu", len);
}
