/* Writes what `sink` read: rows by COPY into temporary tables, INSERT .. ON CONFLICT DO NOTHING
 * from there, and the offsets, all in one SQL transaction.  So a repeat changes nothing, and after
 * a crash reading goes on where the database says.
 *
 * A batch that PostgreSQL refuses because of a row (SQLSTATE class 22 or 23) is halved until the
 * row is found; that one goes to the table of rejects with its bytes and what PostgreSQL said.
 *
 * A database can lose what it had committed: a failover to a standby that lagged, a restored
 * backup.  So each position is written over the one that we know to be there, in the same SQL
 * transaction, and where less is there nothing is written. */
#ifndef FD_STORAGE_SINK_WRITER_H
#define FD_STORAGE_SINK_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

enum sink_table { SINK_TRANSACTIONS = 0, SINK_DECISIONS, SINK_ALERTS, SINK_LABELS, SINK_TABLES };

/* One row: its COPY line (text format, tabs, no line end; columns as sink_columns tells) and where
 * it came from.  All borrowed. */
struct sink_row {
    enum sink_table table;
    const char *line;
    size_t line_len;
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t event_us; /* for the partition of the month */
    const void *raw;
    size_t raw_len;
};

struct sink_position {
    const char *topic;
    int32_t partition;
    int64_t next_offset;
    int64_t known; /* what the database is known to have; -1: nothing */
};

/* "log, part, .." of a table's COPY lines. */
const char *sink_columns(enum sink_table t);

/* Writes rows and positions.  ERR_UNAVAILABLE: nothing was written, try again later.
 * ERR_MISMATCH: nothing was written, the database has less of a partition than is known; read
 * again from sink_offset.  rejected: rows that went to the table of rejects. */
FD_MUSTCHECK enum err sink_write(struct db *d, const struct sink_row *rows, size_t n,
                                 const struct sink_position *positions, size_t position_count,
                                 size_t *out_rejected, struct errmsg *e);

/* Next offset to read of a topic's partition; -1: nothing was written yet. */
FD_MUSTCHECK enum err sink_offset(struct db *d, const char *topic, int32_t partition,
                                  int64_t *out_next, struct errmsg *e);

/* Appends text to a COPY line: the field's separator, escapes of \ and control characters.  Returns
 * the new length (never more than 2 * len + 1 more); NULL text: SQL null. */
size_t copy_text(char *line, size_t at, const char *text, size_t len);

#endif
