/* Messages to plain values: JSON (members.h), and payments in other formats too (decode_schemas).
 *
 * Invariants
 *  1. Whatever the bytes, a call ends with a value inside its bounds or with a reason; on a reason
 *     the out_ parameters are untouched.
 *  2. No malloc after decoder_create, but what libcrypto takes for a moment to hash a card number.
 *  3. Money never passes through binary floating point.
 *  4. With a guard (decode_guard) no full card number comes out: neither in a value nor in a
 *     detail.
 *
 * A decoder belongs to one thread.  Slices point into it and hold until its next call.  Members
 * that a format does not name are skipped, so that a producer may add some; a named member twice is
 * an error.  etc/wire/ holds the formats as JSON schemas. */
#ifndef FD_DAEMON_DECODE_H
#define FD_DAEMON_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/decision.h"
#include "daemon/rates.h"
#include "daemon/wire.h"
#include "features/tx.h"

/* Why a message is a dead letter; names are stable (header "reason" of the dead-letters topic). */
enum dead_reason {
    DEAD_NONE = 0,
    DEAD_EMPTY,            /* no bytes at all, or a tombstone */
    DEAD_TOO_LARGE,        /* above the decoder's message_max, or a member above its bound */
    DEAD_NOT_UTF8,         /* not UTF-8, or a zero character inside a string */
    DEAD_NOT_JSON,         /* truncated, trailing bytes, or no JSON object */
    DEAD_WRONG_TYPE,       /* a member is of another type or does not have its form */
    DEAD_MISSING_FIELD,    /* a required member is absent */
    DEAD_DUPLICATE_FIELD,  /* a member is there twice */
    DEAD_OUT_OF_RANGE,     /* a number or code outside its bounds */
    DEAD_BAD_TIME,         /* no date, or outside 2000-01-01 .. 2099-12-31 */
    DEAD_FUTURE,           /* dated more than max_future after its Kafka timestamp */
    DEAD_KEY_MISMATCH,     /* the message key is not the card */
    DEAD_UNKNOWN_CURRENCY, /* not in the exchange-rate table */
    DEAD_ANSWER_LOST,      /* repeats a payment whose answer is gone (set by the pipeline) */
    DEAD_CRASH,            /* skipped: it ended the process (set by the worker, never by decode) */
    DEAD_CARD_NUMBER,      /* a full card number where none may be; see card_guard.h */
    DEAD_SCHEMA,           /* its schema is unknown, or payments cannot be read with it */
    DEAD_MALFORMED,        /* not what its schema says; no schema's id before it */
    DEAD_REASON_COUNT
};

/* Stable name, such as "missing_field"; static memory. */
const char *dead_reason_name(enum dead_reason r);

struct decoder;

/* Returns an owned decoder.  Keeps `rates` (borrowed; outlives the decoder).
 * ERR_INVALID message_max is 0 or above 16 MiB; ERR_NOMEM. */
FD_MUSTCHECK enum err decoder_create(const struct rates *rates, size_t message_max,
                                     struct decoder **out, struct errmsg *e);
void decoder_free(struct decoder *d);

/* Another exchange-rate table from the next message on; borrows as decoder_create does. */
void decoder_set_rates(struct decoder *d, const struct rates *rates);

struct card_rules;

/* From the next message on full card numbers are refused or hashed by these rules (card_guard.h);
 * a decoder that was not told any lets them pass, for files that stay where they are.  Keeps
 * nothing of r.  ERR_NOMEM, ERR_MISMATCH as card_guard_create: nothing changed. */
FD_MUSTCHECK enum err decode_guard(struct decoder *d, const struct card_rules *r, struct errmsg *e);

struct schemas;

/* From the next message on payments are read with these schemas (schemas.h) instead of as JSON;
 * labels, decisions and alerts stay JSON.  Borrowed; schemas_ready has said yes to each message
 * that is read. */
void decode_schemas(struct decoder *d, const struct schemas *s);

/* The key of what is written about a message with this key: the token where it is hashed, else as
 * it is.  Holds until the decoder's next call. */
struct slice decode_key(struct decoder *d, const char *key, size_t len);

/* What was wrong with the last message: names the member and where it helps its value; lower case.
 * Empty after DEAD_NONE.  Holds until the next call. */
const char *decode_detail(const struct decoder *d);

/* A payment.  Borrows bytes and key.  key may be NULL: then it is not compared with the card.
 * An event time above kafka_timestamp_us + max_future_us is DEAD_FUTURE; a negative max_future_us
 * turns that check off (history, files). */
FD_MUSTCHECK enum dead_reason decode_tx(struct decoder *d, const char *bytes, size_t len,
                                        const char *key, size_t key_len, int64_t kafka_timestamp_us,
                                        int64_t max_future_us, struct tx *out,
                                        struct tx_strings *out_strings);

/* A label; the future check is on its time known. */
FD_MUSTCHECK enum dead_reason decode_label(struct decoder *d, const char *json, size_t len,
                                           int64_t kafka_timestamp_us, int64_t max_future_us,
                                           struct label *out, struct label_strings *out_strings);

/* A decision as encode_decision wrote it (what the sink reads). */
FD_MUSTCHECK enum dead_reason decode_decision(struct decoder *d, const char *json, size_t len,
                                              struct decision *out);

/* An alert as encode_alert wrote it: the decision and the payment. */
FD_MUSTCHECK enum dead_reason decode_alert(struct decoder *d, const char *json, size_t len,
                                           struct decision *out, struct tx *out_tx,
                                           struct tx_strings *out_strings);

#endif
