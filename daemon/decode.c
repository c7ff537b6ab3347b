/* Payments, labels, decisions and alerts from their members.  See decode.h and etc/wire/. */
#include "daemon/decode.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/card_number.h"
#include "daemon/decode_fields.h"

#define SCORE_LIMIT 1e9 /* what a weight, threshold or ratio may be */

#define LABEL_REQUIRED                                                                             \
    (MEMBER_BIT(MEMBER_SOURCE) | MEMBER_BIT(MEMBER_NUMBER) | MEMBER_BIT(MEMBER_TX) |               \
     MEMBER_BIT(MEMBER_VERDICT) | MEMBER_BIT(MEMBER_TS) | MEMBER_BIT(MEMBER_KNOWN) |               \
     MEMBER_BIT(MEMBER_CARD))
#define LABEL_NAMED                                                                                \
    (LABEL_REQUIRED | FIELD_PLACE_NAMED | MEMBER_BIT(MEMBER_AMOUNT) |                              \
     MEMBER_BIT(MEMBER_CURRENCY) | MEMBER_BIT(MEMBER_AMOUNT_RATIO))

#define DECISION_REQUIRED                                                                          \
    (MEMBER_BIT(MEMBER_ID) | MEMBER_BIT(MEMBER_TX) | MEMBER_BIT(MEMBER_TS) |                       \
     MEMBER_BIT(MEMBER_OUTCOME) | MEMBER_BIT(MEMBER_MODEL) | MEMBER_BIT(MEMBER_SCHEMA) |           \
     MEMBER_BIT(MEMBER_REVISION))
#define DECISION_NAMED                                                                             \
    (DECISION_REQUIRED | MEMBER_BIT(MEMBER_SCORE) | MEMBER_BIT(MEMBER_THRESHOLD) |                 \
     MEMBER_BIT(MEMBER_REPEAT) | MEMBER_BIT(MEMBER_AMOUNT_RATIO) | MEMBER_BIT(MEMBER_REASONS) |    \
     MEMBER_BIT(MEMBER_CONTROL) | MEMBER_BIT(MEMBER_WOULD))

static uint64_t identity(struct slice s)
{
    return s.len == 0 ? 0 : hash_id(s.at, s.len);
}

static enum dead_reason optional_id(struct decoder *d, enum member m, struct slice *out,
                                    uint64_t *out_hash)
{
    FIELD_TRY(field_id(d, m, false, out));
    *out_hash = identity(*out);
    return DEAD_NONE;
}

static enum dead_reason required_id(struct decoder *d, enum member m, struct slice *out,
                                    uint64_t *out_hash)
{
    FIELD_TRY(field_id(d, m, true, out));
    *out_hash = identity(*out);
    return DEAD_NONE;
}

static enum dead_reason take_location(struct decoder *d, struct tx *t)
{
    double lat = 0;
    double lon = 0;
    bool has_lat = field_has(d, MEMBER_LAT);
    if (has_lat != field_has(d, MEMBER_LON)) {
        return field_reject(d, DEAD_MISSING_FIELD, "%s is there without %s",
                            has_lat ? "lat" : "lon", has_lat ? "lon" : "lat");
    }
    FIELD_TRY(field_real(d, MEMBER_LAT, -90.0, 90.0, &lat));
    FIELD_TRY(field_real(d, MEMBER_LON, -180.0, 180.0, &lon));
    t->has_location = has_lat;
    t->lat = (float)lat;
    t->lon = (float)lon;
    return DEAD_NONE;
}

/* Everything of a payment but its id and time.  out_sent: its card as it came. */
static enum dead_reason take_payment(struct decoder *d, struct tx *t, struct tx_strings *s,
                                     struct slice *out_sent)
{
    struct money money;
    FIELD_TRY(field_card(d, &s->card, out_sent));
    t->card = identity(s->card);
    FIELD_TRY(field_choice(d, MEMBER_TYPE, FIELD_TYPE, FIELD_TYPES, TX_PURCHASE, &t->type));
    FIELD_TRY(field_money(d, &money));
    t->amount_minor = money.minor;
    t->amount_ref = money.ref;
    t->foreign_currency = money.foreign;
    memcpy(t->currency, money.currency, sizeof t->currency);
    s->exponent = money.exponent;
    FIELD_TRY(optional_id(d, MEMBER_MERCHANT, &s->merchant, &t->merchant));
    FIELD_TRY(optional_id(d, MEMBER_TERMINAL, &s->terminal, &t->terminal));
    FIELD_TRY(optional_id(d, MEMBER_DEVICE, &s->device, &t->device));
    FIELD_TRY(optional_id(d, MEMBER_IP, &s->ip, &t->ip));
    FIELD_TRY(field_mcc(d, &t->mcc));
    FIELD_TRY(field_country(d, &t->country));
    FIELD_TRY(
        field_choice(d, MEMBER_CHANNEL, FIELD_CHANNEL, FIELD_CHANNELS, CHANNEL_POS, &t->channel));
    FIELD_TRY(field_choice(d, MEMBER_ENTRY, FIELD_ENTRY, FIELD_ENTRIES, ENTRY_CHIP, &t->entry));
    return take_location(d, t);
}

static enum dead_reason check_future(struct decoder *d, const char *what, int64_t us,
                                     int64_t kafka_timestamp_us, int64_t max_future_us)
{
    if (max_future_us < 0) {
        return DEAD_NONE;
    }
    if (kafka_timestamp_us < 0) {
        return field_reject(d, DEAD_BAD_TIME,
                            "the message has no Kafka timestamp to hold %s against", what);
    }
    if (us - max_future_us > kafka_timestamp_us) {
        return field_reject(d, DEAD_FUTURE, "%s is %lld s after the message's Kafka timestamp",
                            what, (long long)((us - kafka_timestamp_us) / 1000000));
    }
    return DEAD_NONE;
}

/* NOLINTNEXTLINE(readability-function-size): a message, its key, its time, two results */
enum dead_reason decode_tx(struct decoder *d, const char *bytes, size_t len, const char *key,
                           size_t key_len, int64_t kafka_timestamp_us, int64_t max_future_us,
                           struct tx *out, struct tx_strings *out_strings)
{
    struct tx t = {0};
    struct tx_strings s = {0};
    struct slice card;
    FIELD_TRY(d->schemas == NULL ? field_begin(d, bytes, len, FIELD_TX_NAMED, FIELD_TX_REQUIRED)
                                 : field_begin_framed(d, bytes, len));
    FIELD_TRY(required_id(d, MEMBER_ID, &s.id, &t.id));
    FIELD_TRY(field_time(d, MEMBER_TS, &t.event_us));
    FIELD_TRY(take_payment(d, &t, &s, &card));
    FIELD_TRY(check_future(d, "ts", t.event_us, kafka_timestamp_us, max_future_us));
    if (key != NULL && (key_len != card.len || memcmp(key, card.at, key_len) != 0)) {
        return field_reject(d, DEAD_KEY_MISMATCH,
                            "the message key of %zu bytes is not the card of %zu bytes", key_len,
                            card.len);
    }
    *out = t;
    *out_strings = s;
    return DEAD_NONE;
}

static enum dead_reason take_label_amount(struct decoder *d, struct label *l,
                                          struct label_strings *s)
{
    bool has_amount = field_has(d, MEMBER_AMOUNT);
    double ratio = 0;
    if (has_amount != field_has(d, MEMBER_CURRENCY)) {
        return field_reject(d, DEAD_MISSING_FIELD, "%s is there without %s",
                            has_amount ? "amount" : "currency", has_amount ? "currency" : "amount");
    }
    if (has_amount) {
        struct money money;
        FIELD_TRY(field_money(d, &money));
        l->amount_ref = money.ref;
        s->amount_minor = money.minor;
        s->exponent = money.exponent;
        memcpy(s->currency, money.currency, sizeof s->currency);
    }
    FIELD_TRY(field_real(d, MEMBER_AMOUNT_RATIO, 0, SCORE_LIMIT, &ratio));
    l->usual_ratio = (float)ratio;
    return DEAD_NONE;
}

static enum dead_reason take_label_places(struct decoder *d, struct label *l,
                                          struct label_strings *s)
{
    FIELD_TRY(optional_id(d, MEMBER_MERCHANT, &s->merchant, &l->merchant));
    FIELD_TRY(optional_id(d, MEMBER_TERMINAL, &s->terminal, &l->terminal));
    FIELD_TRY(optional_id(d, MEMBER_DEVICE, &s->device, &l->device));
    FIELD_TRY(optional_id(d, MEMBER_IP, &s->ip, &l->ip));
    FIELD_TRY(field_mcc(d, &l->mcc));
    return field_country(d, &l->country);
}

/* Whether a label's number looks like a card number.  Times are usual there: whatever begins with
 * 10 to 21, as those in ms, us and ns until 2039 do and payment cards do not, is none. */
static bool number_doubted(int64_t number)
{
    int64_t first = number;
    while (first >= 100) {
        first /= 10;
    }
    return first > 21 && card_number_is(number);
}

enum dead_reason decode_label(struct decoder *d, const char *json, size_t len,
                              int64_t kafka_timestamp_us, int64_t max_future_us, struct label *out,
                              struct label_strings *out_strings)
{
    struct label l = {0};
    struct label_strings s = {0};
    struct slice card;
    int64_t number = 0;
    FIELD_TRY(field_begin(d, json, len, LABEL_NAMED, LABEL_REQUIRED));
    FIELD_TRY(required_id(d, MEMBER_SOURCE, &s.source, &l.source));
    FIELD_TRY(field_integer(d, MEMBER_NUMBER, 0, INT64_MAX, &number));
    if (d->guard != NULL && number_doubted(number)) {
        return field_reject(d, DEAD_CARD_NUMBER, "number looks like a full card number");
    }
    l.number = (uint64_t)number;
    FIELD_TRY(required_id(d, MEMBER_TX, &s.tx, &l.tx_id));
    FIELD_TRY(
        field_choice(d, MEMBER_VERDICT, FIELD_VERDICT, FIELD_VERDICTS, LABEL_FRAUD, &l.verdict));
    FIELD_TRY(field_time(d, MEMBER_TS, &l.event_us));
    FIELD_TRY(field_time(d, MEMBER_KNOWN, &l.known_us));
    FIELD_TRY(field_card(d, &s.card, &card));
    l.card = identity(s.card);
    FIELD_TRY(take_label_places(d, &l, &s));
    FIELD_TRY(take_label_amount(d, &l, &s));
    if (l.known_us < l.event_us) {
        return field_reject(d, DEAD_BAD_TIME, "known is before ts, the time of the payment");
    }
    FIELD_TRY(check_future(d, "known", l.known_us, kafka_timestamp_us, max_future_us));
    *out = l;
    *out_strings = s;
    return DEAD_NONE;
}

/* The digits of a non-negative number up to max; false: no such number. */
static bool take_number(struct slice s, int64_t max, int64_t *out)
{
    int64_t v = 0;
    if (s.len == 0 || (s.len > 1 && s.at[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        int64_t digit = s.at[i] - '0';
        if (digit < 0 || digit > 9 || v > (max - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

/* "log/partition/offset"; the log's name may hold slashes. */
static enum dead_reason take_decision_id(struct decoder *d, struct decision *out)
{
    struct slice id;
    FIELD_TRY(field_string(d, MEMBER_ID, (size_t)WIRE_LOG_MAX + 32, true, &id));
    const char *last = memrchr(id.at, '/', id.len);
    const char *middle = last == NULL ? NULL : memrchr(id.at, '/', (size_t)(last - id.at));
    int64_t partition = 0;
    int64_t offset = 0;
    bool good = middle != NULL && middle > id.at && middle - id.at <= WIRE_LOG_MAX &&
                take_number((struct slice){middle + 1, (size_t)(last - middle - 1)}, INT32_MAX,
                            &partition) &&
                take_number((struct slice){last + 1, (size_t)(id.at + id.len - last - 1)},
                            INT64_MAX, &offset);
    if (!good) {
        return field_reject(d, DEAD_OUT_OF_RANGE, "id is not LOG/PARTITION/OFFSET");
    }
    out->log = (struct slice){id.at, (size_t)(middle - id.at)};
    out->partition = (int32_t)partition;
    out->offset = offset;
    return DEAD_NONE;
}

static enum dead_reason take_schema(struct decoder *d, uint64_t *out)
{
    struct slice s;
    uint64_t v = 0;
    FIELD_TRY(field_string(d, MEMBER_SCHEMA, 16, true, &s));
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0 || s.len != 16) {
            return field_reject(d, DEAD_WRONG_TYPE, "schema is not 16 lower-case hex digits");
        }
        v = v * 16 + (uint64_t)digit;
    }
    *out = v;
    return DEAD_NONE;
}

static enum dead_reason take_reasons(struct decoder *d, struct decision *out)
{
    _Static_assert(MEMBERS_REASONS_MAX == DECISION_REASONS_MAX, "one number in two layers");
    out->reason_count = field_has(d, MEMBER_REASONS) ? d->m.reason_count : 0;
    for (uint32_t i = 0; i < out->reason_count; i++) {
        const struct member_reason *from = &d->m.reason[i];
        struct reason *to = &out->reasons[i];
        int group = 0;
        while (group <= REASON_CONTROL) {
            const char *name = decision_group_name((enum feature_group)group);
            if (strlen(name) == from->group.len &&
                memcmp(name, from->group.at, from->group.len) == 0) {
                break;
            }
            group++;
        }
        if (group > REASON_CONTROL || !(fabs(from->weight) <= SCORE_LIMIT) ||
            from->text.len >= sizeof to->text) {
            return field_reject(d, DEAD_OUT_OF_RANGE,
                                "reason %u has an unknown group, a huge weight or a text above "
                                "%zu bytes",
                                i + 1, sizeof to->text - 1);
        }
        to->group = (enum feature_group)group;
        to->weight = (float)from->weight;
        memcpy(to->text, from->text.at, from->text.len);
        to->text[from->text.len] = '\0';
    }
    return DEAD_NONE;
}

static enum dead_reason take_decision(struct decoder *d, struct decision *out)
{
    int64_t revision = 0;
    double ratio = 0;
    uint8_t outcome = 0;
    out->probability = (double)NAN;
    out->threshold = (double)NAN;
    FIELD_TRY(take_decision_id(d, out));
    FIELD_TRY(field_id(d, MEMBER_TX, true, &out->tx));
    FIELD_TRY(field_time(d, MEMBER_TS, &out->event_us));
    FIELD_TRY(field_real(d, MEMBER_SCORE, 0, 1, &out->probability));
    FIELD_TRY(field_real(d, MEMBER_THRESHOLD, -SCORE_LIMIT, SCORE_LIMIT, &out->threshold));
    FIELD_TRY(
        field_choice(d, MEMBER_OUTCOME, FIELD_OUTCOME, FIELD_OUTCOMES, DECISION_APPROVE, &outcome));
    out->outcome = (enum decision_outcome)outcome;
    FIELD_TRY(field_string(d, MEMBER_MODEL, WIRE_MODEL_MAX, true, &out->model));
    FIELD_TRY(take_schema(d, &out->schema_hash));
    FIELD_TRY(field_integer(d, MEMBER_REVISION, 0, UINT32_MAX, &revision));
    out->revision = (uint32_t)revision;
    uint8_t would = 0;
    FIELD_TRY(field_string(d, MEMBER_CONTROL, WIRE_CONTROL_MAX, false, &out->control));
    out->observed = field_has(d, MEMBER_WOULD);
    FIELD_TRY(
        field_choice(d, MEMBER_WOULD, FIELD_OUTCOME, FIELD_OUTCOMES, DECISION_APPROVE, &would));
    out->would = (enum decision_outcome)would;
    FIELD_TRY(field_bool(d, MEMBER_REPEAT, &out->repeat));
    FIELD_TRY(field_real(d, MEMBER_AMOUNT_RATIO, 0, SCORE_LIMIT, &ratio));
    out->amount_ratio = (float)ratio;
    return take_reasons(d, out);
}

enum dead_reason decode_decision(struct decoder *d, const char *json, size_t len,
                                 struct decision *out)
{
    struct decision decision = {0};
    FIELD_TRY(field_begin(d, json, len, DECISION_NAMED, DECISION_REQUIRED));
    FIELD_TRY(take_decision(d, &decision));
    *out = decision;
    return DEAD_NONE;
}

enum dead_reason decode_alert(struct decoder *d, const char *json, size_t len, struct decision *out,
                              struct tx *out_tx, struct tx_strings *out_strings)
{
    struct decision decision = {0};
    struct tx t = {0};
    struct tx_strings s = {0};
    struct slice card;
    FIELD_TRY(field_begin(d, json, len, DECISION_NAMED | FIELD_TX_NAMED,
                          DECISION_REQUIRED | FIELD_TX_REQUIRED));
    FIELD_TRY(take_decision(d, &decision));
    FIELD_TRY(take_payment(d, &t, &s, &card));
    s.id = decision.tx;
    t.id = identity(s.id);
    t.event_us = decision.event_us;
    *out = decision;
    *out_tx = t;
    *out_strings = s;
    return DEAD_NONE;
}
