/* The members of one message, found and typed: the seam between simdjson (members.cpp), the readers
 * of Avro (avro.h), and the formats (decode*.c).
 *
 * Invariants
 *  1. After MEMBERS_OK every named member of the object was seen once at most, every string is
 *     UTF-8 without zero characters, and the object ends where the message ends.
 *  2. Members that are not named are skipped: of their values only brackets and quotes are checked.
 *  3. No malloc after members_create.
 *
 * One thread each.  Strings point into the reader and hold until its next call. */
#ifndef FD_DAEMON_MEMBERS_H
#define FD_DAEMON_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Every member name of every format. */
#define MEMBER_LIST(X)                                                                             \
    X(ID, "id")                                                                                    \
    X(TX, "tx")                                                                                    \
    X(TS, "ts")                                                                                    \
    X(CARD, "card")                                                                                \
    X(TYPE, "type")                                                                                \
    X(AMOUNT, "amount")                                                                            \
    X(CURRENCY, "currency")                                                                        \
    X(EXPONENT, "exponent")                                                                        \
    X(MERCHANT, "merchant")                                                                        \
    X(TERMINAL, "terminal")                                                                        \
    X(MCC, "mcc")                                                                                  \
    X(COUNTRY, "country")                                                                          \
    X(CHANNEL, "channel")                                                                          \
    X(ENTRY, "entry")                                                                              \
    X(DEVICE, "device")                                                                            \
    X(IP, "ip")                                                                                    \
    X(LAT, "lat")                                                                                  \
    X(LON, "lon")                                                                                  \
    X(SCORE, "score")                                                                              \
    X(THRESHOLD, "threshold")                                                                      \
    X(OUTCOME, "outcome")                                                                          \
    X(MODEL, "model")                                                                              \
    X(SCHEMA, "schema")                                                                            \
    X(REVISION, "revision")                                                                        \
    X(REPEAT, "repeat")                                                                            \
    X(AMOUNT_RATIO, "amount_ratio")                                                                \
    X(REASONS, "reasons")                                                                          \
    X(SOURCE, "source")                                                                            \
    X(NUMBER, "number")                                                                            \
    X(VERDICT, "verdict")                                                                          \
    X(KNOWN, "known")                                                                              \
    X(CONTROL, "control")                                                                          \
    X(WOULD, "would")

enum member {
#define MEMBER_ENUM(name, text) MEMBER_##name,
    MEMBER_LIST(MEMBER_ENUM)
#undef MEMBER_ENUM
        MEMBER_COUNT
};
#define MEMBER_BIT(m) (UINT64_C(1) << (m)) /* set of one */

enum member_kind {
    KIND_STRING,
    KIND_INTEGER, /* fits int64_t */
    KIND_REAL,    /* has a point or an exponent */
    KIND_HUGE,    /* a number beyond int64_t or double */
    KIND_BOOL,
    KIND_MICROS, /* a time, not from JSON */
    KIND_OTHER   /* an object, or an array where none is expected */
};

struct member_value {
    enum member_kind kind;
    struct slice text; /* STRING */
    int64_t integer;   /* INTEGER; BOOL: 0 or 1; MICROS: since 1970 */
    double real;       /* REAL: finite */
};

#define MEMBERS_REASONS_MAX 4

struct member_reason {
    struct slice group, text;
    double weight;
};

struct members {
    uint64_t present; /* MEMBER_BIT of each that is there and not null */
    struct member_value value[MEMBER_COUNT];
    uint32_t reason_count; /* of the array "reasons" */
    struct member_reason reason[MEMBERS_REASONS_MAX];
};

enum members_error {
    MEMBERS_OK = 0,
    MEMBERS_NOT_JSON,
    MEMBERS_NOT_UTF8,
    MEMBERS_TWICE,       /* out->present tells nothing; *out_member is there twice */
    MEMBERS_BAD_REASONS, /* "reasons" is not an array of at most 4 {group, weight, text} */
    MEMBERS_TOO_LARGE,
    MEMBERS_MALFORMED /* not what its schema says (Avro, Protobuf) */
};

struct members_reader;

/* Returns an owned reader for messages of at most message_max bytes, or NULL: no memory. */
struct members_reader *members_create(size_t message_max);
void members_free(struct members_reader *r);

/* Reads one message; `named` is the set of members to look for.  Borrows json.  out_member: the
 * member that an error is about, MEMBER_COUNT where it is about none; out_text: what the parser
 * said, static. */
enum members_error members_read(struct members_reader *r, const char *json, size_t len,
                                uint64_t named, struct members *out, enum member *out_member,
                                const char **out_text);

/* "card"; static memory. */
const char *member_name(enum member m);

/* Whether bytes are UTF-8 (for input that is not JSON). */
bool members_utf8(const char *bytes, size_t len);

#ifdef __cplusplus
}
#endif

#endif
