/* Plain values to JSON messages, into the caller's buffer.
 *
 * Invariants
 *  1. The same value gives the same bytes on every machine and locale: members in one order, no
 *     spaces, real numbers with at most 9 significant digits made by integer arithmetic.
 *  2. What is written here decode.h reads back.
 *  3. No malloc.
 *
 * Functions return ERR_OK; ERR_FULL cap is too small (ENCODE_MAX is always enough); ERR_INVALID a
 * value is outside the bounds of wire.h or decision.h (a bug of the caller).  out_len is untouched
 * on failure.  No zero is added.  Any thread. */
#ifndef FD_DAEMON_ENCODE_H
#define FD_DAEMON_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/decision.h"
#include "daemon/decode.h"
#include "daemon/wire.h"
#include "features/tx.h"

#define ENCODE_MAX ((size_t)16 * 1024)

FD_MUSTCHECK enum err encode_tx(const struct tx *t, const struct tx_strings *s, char *out,
                                size_t cap, size_t *out_len);
FD_MUSTCHECK enum err encode_label(const struct label *l, const struct label_strings *s, char *out,
                                   size_t cap, size_t *out_len);
FD_MUSTCHECK enum err encode_decision(const struct decision *d, char *out, size_t cap,
                                      size_t *out_len);
/* The decision, then the payment's members. */
FD_MUSTCHECK enum err encode_alert(const struct decision *d, const struct tx *t,
                                   const struct tx_strings *s, char *out, size_t cap,
                                   size_t *out_len);

#define DEAD_LETTER_HEADERS 4

/* A message for the dead-letters topic: raw bytes and what is known about them. */
struct dead_letter {
    const char *value; /* borrowed: the message's bytes; the bus sends as many as the topic takes */
    size_t value_len;
    struct {
        const char *name; /* static: "reason", "detail", "source", "length" */
        char text[192];   /* zero-terminated */
    } header[DEAD_LETTER_HEADERS];
};

/* Fills out; borrows bytes.  "source" is log/partition/offset, "length" the message's full length.
 */
void encode_dead_letter(enum dead_reason reason, const char *detail, struct slice log,
                        int32_t partition, int64_t offset, const char *bytes, size_t len,
                        struct dead_letter *out);

/* Writes "log/partition/offset", the identity of a decision; zero-terminated.  Returns its length;
 * cap at least ENCODE_ID_MAX. */
#define ENCODE_ID_MAX 112
size_t encode_id(struct slice log, int32_t partition, int64_t offset, char *out, size_t cap);

#endif
