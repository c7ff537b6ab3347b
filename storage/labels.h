/* Labels that begin in the database: a file of chargebacks is completed from the payments and
 * decisions there and goes out by the outbox (sql/0003_labels.sql).  One import is one SQL
 * transaction; the same file again adds nothing. */
#ifndef FD_STORAGE_LABELS_H
#define FD_STORAGE_LABELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

/* One line of the file.  Text is borrowed, not zero-terminated. */
struct label_line {
    uint64_t line;
    const char *tx, *card; /* card NULL: the file does not say */
    size_t tx_len, card_len;
    const char *verdict;   /* "fraud", "legitimate" or "withdrawn", zero-terminated */
    int64_t known_us;      /* when it became known ... */
    int64_t known_last_us; /* ... at the latest: later where the file has the day only */
};

struct label_import_counts {
    int64_t sent, unmatched;
};

/* Begins; then each line; then label_import_run, or label_import_abandon after any failure. */
FD_MUSTCHECK enum err label_import_begin(struct db *d, struct errmsg *e);
FD_MUSTCHECK enum err label_import_add(struct db *d, const struct label_line *l, struct errmsg *e);
/* Matches, writes verdicts and outbox, commits.  file: for the audit.  out_unmatched: rows of line,
 * tx_id, card_id, verdict, known, reason, in order; the caller's. */
FD_MUSTCHECK enum err label_import_run(struct db *d, const char *source, const char *who,
                                       const char *file, struct label_import_counts *out,
                                       struct db_rows **out_unmatched, struct errmsg *e);
void label_import_abandon(struct db *d);

/* What to list; NULL: any. */
struct label_filter {
    const char *source, *tx, *card, *verdict, *state;
    int64_t limit;
};

/* The newest known first. */
FD_MUSTCHECK enum err labels_list(struct db *d, const struct label_filter *f, struct db_rows **out,
                                  struct errmsg *e);

#endif
