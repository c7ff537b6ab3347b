/* A decision as PostgreSQL holds it, with what it was computed from where that is stored. */
#ifndef FD_STORAGE_EVIDENCE_ROW_H
#define FD_STORAGE_EVIDENCE_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

struct evidence_row {
    struct db_rows *fields;  /* one row: transaction, event time, score, threshold, .. with names */
    struct db_rows *reasons; /* of an alert: group, weight, text */
    bool has_evidence;
    int64_t journal, labels_next, notices_next;
    float *x; /* [x_count], owned; NULL without evidence */
    size_t x_count;
};

/* Returns what there is of a decision, the caller's (evidence_row_done).  ERR_NOTFOUND there is no
 * such decision; ERR_UNAVAILABLE the database; ERR_CORRUPT columns that are no numbers. */
FD_MUSTCHECK enum err evidence_row_read(struct db *d, const char *log, int32_t partition,
                                        int64_t offset, struct evidence_row *out, struct errmsg *e);
void evidence_row_done(struct evidence_row *r);

#endif
