/* Labels on their way to the labels topic: rows of label_outbox, written by verdicts and imports,
 * removed when a broker has acknowledged them.  One session publishes at a time. */
#ifndef FD_STORAGE_OUTBOX_H
#define FD_STORAGE_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

/* Whether this session publishes: it takes the advisory lock unless another session has it, and
 * keeps it to its end. */
FD_MUSTCHECK enum err outbox_lock(struct db *d, bool *out_ours, struct errmsg *e);

/* The first `max` labels in order: columns id, card, body. */
FD_MUSTCHECK enum err outbox_read(struct db *d, int64_t max, struct db_rows **out,
                                  struct errmsg *e);

/* Removes the rows that outbox_read gave. */
FD_MUSTCHECK enum err outbox_remove(struct db *d, const struct db_rows *rows, struct errmsg *e);

#endif
