/* Payments with their verdicts out of PostgreSQL, in order of (event time, log, partition, offset),
 * by COPY a month at a time; all of one snapshot.  And the lock that keeps trainings apart. */
#ifndef FD_STORAGE_PAYMENTS_H
#define FD_STORAGE_PAYMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

enum payment_column {
    PAYMENT_EVENT_US = 0,
    PAYMENT_TX,
    PAYMENT_CARD,
    PAYMENT_TYPE,
    PAYMENT_AMOUNT_MINOR,
    PAYMENT_CURRENCY,
    PAYMENT_EXPONENT,
    PAYMENT_MERCHANT,
    PAYMENT_TERMINAL,
    PAYMENT_MCC,
    PAYMENT_COUNTRY,
    PAYMENT_CHANNEL,
    PAYMENT_ENTRY,
    PAYMENT_DEVICE,
    PAYMENT_IP,
    PAYMENT_LAT,
    PAYMENT_LON,
    PAYMENT_VERDICT,  /* "fraud", "legitimate", or none */
    PAYMENT_KNOWN_US, /* when it became known */
    PAYMENT_DECLINED, /* "t" or "f" */
    PAYMENT_COLUMNS,
    /* and, where what was decided is read too: */
    PAYMENT_MODEL = PAYMENT_COLUMNS, /* version */
    PAYMENT_SCORE,                   /* none: could not be computed */
    PAYMENT_OUTCOME,                 /* "approve", "review" or "decline" */
    PAYMENT_CONTROL,                 /* the list, rule or mode that decided */
    PAYMENT_WOULD,                   /* the outcome but for mode `observe` */
    PAYMENT_DECIDED_COLUMNS
};

/* A row as text; NULL where there is no value. */
struct payment_row {
    const char *text[PAYMENT_DECIDED_COLUMNS]; /* zero-terminated; valid for the call */
    size_t len[PAYMENT_DECIDED_COLUMNS];
};

typedef enum err (*payments_visit)(void *ctx, const struct payment_row *row, struct errmsg *e);

/* Visits payments with from_us <= event time < until_us; stops at the first error of `visit`. */
FD_MUSTCHECK enum err payments_read(struct db *d, int64_t from_us, int64_t until_us,
                                    payments_visit visit, void *ctx, struct errmsg *e);
/* The same of those that were decided, with what was. */
FD_MUSTCHECK enum err payments_read_decided(struct db *d, int64_t from_us, int64_t until_us,
                                            payments_visit visit, void *ctx, struct errmsg *e);

/* Takes the lock that only one training holds, for the life of the connection.
 * ERR_REFUSED another one runs (told since when). */
FD_MUSTCHECK enum err payments_lock(struct db *d, struct errmsg *e);

/* Cuts a line of COPY's text format into a row of so many columns, in place.  False: it has another
 * number of them. */
bool payments_split(char *line, int columns, struct payment_row *out);

#endif
