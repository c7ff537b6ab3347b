/* Inside of decode*.c: typed, bounded access to the members of one message.
 *
 * Every function returns DEAD_NONE and fills its out_, or a reason with the decoder's detail
 * filled. `field_` functions accept an absent member (out_: empty or unchanged as stated); which
 * members must be there is checked once by field_begin. */
#ifndef FD_DAEMON_DECODE_FIELDS_H
#define FD_DAEMON_DECODE_FIELDS_H

#include <stdbool.h>

#include "daemon/avro.h"
#include "daemon/card_guard.h"
#include "daemon/decode.h"
#include "daemon/members.h"

/* Members of a payment: those that must be there, and all. */
#define FIELD_TX_REQUIRED                                                                          \
    (MEMBER_BIT(MEMBER_ID) | MEMBER_BIT(MEMBER_TS) | MEMBER_BIT(MEMBER_CARD) |                     \
     MEMBER_BIT(MEMBER_TYPE) | MEMBER_BIT(MEMBER_AMOUNT) | MEMBER_BIT(MEMBER_CURRENCY))
#define FIELD_PLACE_NAMED                                                                          \
    (MEMBER_BIT(MEMBER_EXPONENT) | MEMBER_BIT(MEMBER_MERCHANT) | MEMBER_BIT(MEMBER_TERMINAL) |     \
     MEMBER_BIT(MEMBER_MCC) | MEMBER_BIT(MEMBER_COUNTRY) | MEMBER_BIT(MEMBER_DEVICE) |             \
     MEMBER_BIT(MEMBER_IP))
#define FIELD_TX_NAMED                                                                             \
    (FIELD_TX_REQUIRED | FIELD_PLACE_NAMED | MEMBER_BIT(MEMBER_CHANNEL) |                          \
     MEMBER_BIT(MEMBER_ENTRY) | MEMBER_BIT(MEMBER_LAT) | MEMBER_BIT(MEMBER_LON))

struct decoder {
    const struct rates *rates;     /* borrowed */
    const struct schemas *schemas; /* borrowed; NULL: payments are JSON */
    char *framed;                  /* [message_max] the bytes that slices of a payment point to */
    char decimal[AVRO_SCRATCH];
    size_t message_max;
    struct members_reader *reader;
    struct card_guard *guard; /* NULL: card numbers pass */
    struct members m;
    char detail[192];
};

/* An amount of money with what its currency makes of it. */
struct money {
    int64_t minor;
    uint32_t ref;
    char currency[4];
    uint8_t exponent;
    bool foreign;
};

/* Evaluates a step; leaves the function with its reason unless it is DEAD_NONE. */
#define FIELD_TRY(step)                                                                            \
    do {                                                                                           \
        enum dead_reason reason_ = (step);                                                         \
        if (reason_ != DEAD_NONE) {                                                                \
            return reason_;                                                                        \
        }                                                                                          \
    } while (0)

/* Fills the detail and returns `reason`. */
enum dead_reason field_reject(struct decoder *d, enum dead_reason reason, const char *fmt, ...)
    FD_PRINTF(3, 4);

/* Reads the message; `required` is a subset of `named`. */
enum dead_reason field_begin(struct decoder *d, const char *json, size_t len, uint64_t named,
                             uint64_t required);

/* The same of a payment with a schema's id before it (decode_framed.c). */
enum dead_reason field_begin_framed(struct decoder *d, const char *bytes, size_t len);
/* What an error of a reader amounts to; text: its words about the member. */
enum dead_reason field_explain(struct decoder *d, enum members_error error, enum member m,
                               const char *text);
/* Whether there is a message of bearable length; empties the detail. */
enum dead_reason field_measure(struct decoder *d, const char *bytes, size_t len);
/* Whether all those are there. */
enum dead_reason field_complete(struct decoder *d, uint64_t required);

bool field_has(const struct decoder *d, enum member m);

/* A string of at most max bytes; absent or empty gives {NULL, 0}, an empty required one is
 * DEAD_MISSING_FIELD. */
enum dead_reason field_string(struct decoder *d, enum member m, size_t max, bool required,
                              struct slice *out);
/* An identity other than the card: a string of at most WIRE_ID_MAX bytes that the guard lets pass;
 * absent or empty as field_string. */
enum dead_reason field_id(struct decoder *d, enum member m, bool required, struct slice *out);
/* The card, as a token where the guard hashes; out_sent: as it came. */
enum dead_reason field_card(struct decoder *d, struct slice *out, struct slice *out_sent);
/* An integer in [low, high]; absent: out unchanged. */
enum dead_reason field_integer(struct decoder *d, enum member m, int64_t low, int64_t high,
                               int64_t *out);
/* A number in [low, high]; absent: out unchanged. */
enum dead_reason field_real(struct decoder *d, enum member m, double low, double high, double *out);
/* true or false; absent: out unchanged. */
enum dead_reason field_bool(struct decoder *d, enum member m, bool *out);
/* One of count words, its index plus first; absent: out unchanged. */
enum dead_reason field_choice(struct decoder *d, enum member m, const char *const *words,
                              size_t count, uint8_t first, uint8_t *out);
/* ISO 8601 text or integer milliseconds since 1970; absent: out unchanged. */
enum dead_reason field_time(struct decoder *d, enum member m, int64_t *out_us);
/* A merchant category code, as number or as digits; absent: 0. */
enum dead_reason field_mcc(struct decoder *d, uint16_t *out);
/* Two capital letters; absent: 0. */
enum dead_reason field_country(struct decoder *d, uint16_t *out);
/* Members amount, currency and exponent, the first two present. */
enum dead_reason field_money(struct decoder *d, struct money *out);

/* The words of the formats, by enum value; shared with encode.c and row_csv.c. */
#define FIELD_TYPES 5
#define FIELD_CHANNELS 5 /* from CHANNEL_POS */
#define FIELD_ENTRIES 5  /* from ENTRY_CHIP */
#define FIELD_VERDICTS 3
#define FIELD_OUTCOMES 3
extern const char *const FIELD_TYPE[FIELD_TYPES];
extern const char *const FIELD_CHANNEL[FIELD_CHANNELS];
extern const char *const FIELD_ENTRY[FIELD_ENTRIES];
extern const char *const FIELD_VERDICT[FIELD_VERDICTS];
extern const char *const FIELD_OUTCOME[FIELD_OUTCOMES];

/* Money from text without a message around it: "12.34" in units of the currency.  exponent: its
 * decimals.  Returns DEAD_NONE, DEAD_WRONG_TYPE (form, too many decimals) or DEAD_OUT_OF_RANGE
 * (negative, above WIRE_AMOUNT_MAX). */
enum dead_reason money_parse(const char *p, size_t len, uint8_t exponent, int64_t *out_minor);

#endif
