/* What the analysts' page reads besides storage/queue.h: pages of the queue, a card's payments, the
 * day's figures.  Nothing here writes.  Rows are the caller's (db_rows_free).
 *
 * ERR_INVALID a value that is no number, time or text where one is needed; ERR_NOTFOUND there is no
 * such alert; ERR_UNAVAILABLE the database. */
#ifndef FD_STORAGE_CONSOLE_H
#define FD_STORAGE_CONSOLE_H

#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

enum console_list {
    CONSOLE_OPEN,     /* the most urgent first */
    CONSOLE_CLAIMED,  /* likewise */
    CONSOLE_RESOLVED, /* the latest first */
    CONSOLE_FOUND     /* of one card or transaction, in any state; the most urgent first */
};

/* Names the analyst for whom this connection acts from now on: the teams of members of
 * fraudd_console go by it (sql/0009_roles.sql). */
FD_MUSTCHECK enum err console_act_for(struct db *d, const char *who, struct errmsg *e);

/* A page by keyset: what follows the row that had this key and id, so a page costs the same
 * wherever it lies. */
struct console_page {
    enum console_list list;
    const char *who;       /* CONSOLE_CLAIMED: only this analyst's; NULL: everybody's */
    const char *find;      /* CONSOLE_FOUND: card or transaction */
    const char *after_key; /* column key of the row before; NULL: the first page */
    const char *after_id;
    int64_t limit;
};

/* id, event_time, card, tx_id, amount, score, expected_loss, outcome, state, claimed_by,
 * due, verdict, resolved_by, resolved_at, merchant, country, channel, reason (the first
 * one's text), key. */
FD_MUSTCHECK enum err console_queue(struct db *d, const struct console_page *p,
                                    struct db_rows **out, struct errmsg *e);

/* The latest `limit` payments of the alert's card from `days` before its payment to a day after,
 * the latest first: event_time, amount, value (in the reference currency), merchant, mcc, country,
 * channel, entry, type, outcome, score, verdict (of the label that counts), alert (its id), this
 * (whether it is the alert's own). */
FD_MUSTCHECK enum err console_payments(struct db *d, const char *alert, int64_t days, int64_t limit,
                                       struct db_rows **out, struct errmsg *e);

/* One row: day (its beginning), alerts, declined, open, claimed, fraud, legitimate, unsure, value
 * (of today's frauds, in the reference currency), week_fraud, week_legitimate (verdicts of the last
 * seven days).  A day begins day_offset_us after midnight UTC. */
FD_MUSTCHECK enum err console_today(struct db *d, int64_t day_offset_us, struct db_rows **out,
                                    struct errmsg *e);

/* Models that are champion or raised an alert today: version, state (NULL: not in the registry),
 * promoted, data_until, ap, alerts. */
FD_MUSTCHECK enum err console_models(struct db *d, int64_t day_offset_us, struct db_rows **out,
                                     struct errmsg *e);

#endif
