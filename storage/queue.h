/* The analysts' alert queue: the functions of sql/0002_queue.sql from C.  Each call is one step and
 * one SQL transaction, with its audit row.  An alert is named by the identity of its decision,
 * "log/partition/offset".
 *
 * ERR_NOTFOUND there is no such alert; ERR_REFUSED somebody else has it, or it was resolved before
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
    const char *state; /* "open", "claimed" or "resolved" */
    const char *card;
    const char *tx;
    int64_t limit;
};

/* The most urgent first. */
FD_MUSTCHECK enum err queue_list(struct db *d, const struct queue_filter *f, struct db_rows **out,
                                 struct errmsg *e);

/* One alert: its fields (one row), its reasons (group, weight, text), what was done to it (at, who,
 * what, detail). */
FD_MUSTCHECK enum err queue_show(struct db *d, const char *alert, struct db_rows **out,
                                 struct db_rows **out_reasons, struct db_rows **out_history,
                                 struct errmsg *e);

/* Takes up to `count` of the most urgent open alerts for `who`, for `lease_us`; rows as queue_list.
 * No alert goes to two callers. */
FD_MUSTCHECK enum err queue_claim(struct db *d, const char *who, int64_t count, int64_t lease_us,
                                  struct db_rows **out, struct errmsg *e);
/* Takes this one. */
FD_MUSTCHECK enum err queue_claim_one(struct db *d, const char *alert, const char *who,
                                      int64_t lease_us, struct db_rows **out, struct errmsg *e);
FD_MUSTCHECK enum err queue_release(struct db *d, const char *alert, const char *who,
                                    struct errmsg *e);

/* verdict: "fraud", "legitimate" or "unsure"; note: NULL none; change: it has another verdict
 * already.  A verdict goes out as a label of source "analysts" by the outbox. */
FD_MUSTCHECK enum err queue_resolve(struct db *d, const char *alert, const char *who,
                                    const char *verdict, const char *note, bool change,
                                    struct errmsg *e);

#endif
