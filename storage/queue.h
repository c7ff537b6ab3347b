/* The analysts' queue: the functions of sql/0006_cases.sql from C.  Each call is one step and one
 * SQL transaction, with its audit row.  Alerts of one card that wait at the same time are one case:
 * it is what is claimed, released and snoozed.  `what` is an alert, named by the identity of its
 * decision ("log/partition/offset"), or a case (digits); an alert stands for its case.
 *
 * ERR_NOTFOUND there is no such thing; ERR_REFUSED somebody else has it, or it was resolved before
 * (who and when is said); ERR_UNAVAILABLE the database.  Rows that come back are the caller's
 * (db_rows_free); their columns have names for people and scripts. */
#ifndef FD_STORAGE_QUEUE_H
#define FD_STORAGE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

/* What to list; NULL: any. */
struct queue_filter {
    const char *state; /* "open", "claimed", "snoozed" or "resolved" */
    const char *case_id;
    const char *card;
    const char *tx;
    int64_t limit;
};

/* The most urgent first. */
FD_MUSTCHECK enum err queue_list(struct db *d, const struct queue_filter *f, struct db_rows **out,
                                 struct errmsg *e);

/* One alert: its fields (one row), its reasons (group, weight, text), what was done to it and its
 * case (at, who, what, detail). */
FD_MUSTCHECK enum err queue_show(struct db *d, const char *alert, struct db_rows **out,
                                 struct db_rows **out_reasons, struct db_rows **out_history,
                                 struct errmsg *e);

/* Takes up to `count` of the most urgent open cases for `who`, for `lease_us`; rows as queue_list,
 * one an alert.  No alert goes to two callers. */
FD_MUSTCHECK enum err queue_claim(struct db *d, const char *who, int64_t count, int64_t lease_us,
                                  struct db_rows **out, struct errmsg *e);
/* The same, but waits up to `wait_us` for one where none is open; no rows: none came.  An alert
 * that arrives ends the wait at once, a lease or a snooze that ends within seconds. */
FD_MUSTCHECK enum err queue_claim_wait(struct db *d, const char *who, int64_t count,
                                       int64_t lease_us, int64_t wait_us, struct db_rows **out,
                                       struct errmsg *e);
/* Takes this one. */
FD_MUSTCHECK enum err queue_claim_one(struct db *d, const char *what, const char *who,
                                      int64_t lease_us, struct db_rows **out, struct errmsg *e);
FD_MUSTCHECK enum err queue_release(struct db *d, const char *what, const char *who,
                                    struct errmsg *e);
/* Puts a case aside until a time (of the database's clock), or until a new alert joins it.  A claim
 * on it ends.  note: NULL none.  ERR_REFUSED also: the time is over. */
FD_MUSTCHECK enum err queue_snooze(struct db *d, const char *what, const char *who,
                                   int64_t until_us, const char *note, struct errmsg *e);

/* One alert, or all open ones of a case; the last one closes the case.  verdict: "fraud",
 * "legitimate" or "unsure"; note: NULL none; change: it has another verdict already.  A verdict
 * goes out as a label of source "analysts" by the outbox. */
FD_MUSTCHECK enum err queue_resolve(struct db *d, const char *what, const char *who,
                                    const char *verdict, const char *note, bool change,
                                    struct errmsg *e);

/* What nobody does by a step of their own: leases and snoozes that are over. */
FD_MUSTCHECK enum err queue_tend(struct db *d, struct errmsg *e);

#endif
