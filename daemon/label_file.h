/* Verdicts in CSV, as banks get chargebacks.  Columns by name, in any order, others ignored:
 *   tx_id, verdict (fraud, legitimate, withdrawn)
 *   known, known_time, label_ts or date      when it became known: ISO 8601 or seconds since 1970;
 *                                            the first of them that the file has
 *   card_id                                  optional: where ids are unique per card only */
#ifndef FD_DAEMON_LABEL_FILE_H
#define FD_DAEMON_LABEL_FILE_H

#include "base/csv.h"
#include "base/err.h"
#include "storage/labels.h"

/* Where the columns are; a plain value that borrows csv. */
struct label_file {
    struct csv *csv;
    struct card_guard *guard;     /* borrowed; NULL: card numbers pass */
    int tx, verdict, known, card; /* card -1: none */
    const char *known_name;
};

/* ERR_CORRUPT names the column that the file lacks. */
FD_MUSTCHECK enum err label_file_init(struct label_file *f, struct csv *csv, struct errmsg *e);

/* The next line; its text holds until the next call.  ERR_END after the last; ERR_CORRUPT names
 * line, column and value; what csv_next returns besides. */
FD_MUSTCHECK enum err label_file_next(struct label_file *f, struct label_line *out,
                                      struct errmsg *e);

#endif
