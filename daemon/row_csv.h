/* Rows of a payment history in CSV: what training, backtest and produce read beside Kafka.
 *
 * Columns by name, in any order, others ignored:
 *   tx_id, ts, card_id, amount               required
 *   fraud                                    required where labels are needed: 0, 1, or empty
 *   label_ts                                 when the verdict became known; empty: not told
 *   type (purchase), currency (the reference), merchant_id, terminal_id, mcc, country, channel,
 *   entry, device_id, ip, lat, lon           optional, empty means missing
 * ts and label_ts: ISO 8601 or seconds since 1970.  amount: decimal, in units of the currency, with
 * a point.  Everything else as in etc/wire/transaction.schema.json. */
#ifndef FD_DAEMON_ROW_CSV_H
#define FD_DAEMON_ROW_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/csv.h"
#include "base/err.h"
#include "daemon/rates.h"
#include "daemon/wire.h"
#include "features/tx.h"

#define ROW_CSV_COLUMNS 18

/* Where the columns are; a plain value that borrows csv and rates. */
struct row_csv {
    struct csv *csv;
    const struct rates *rates;
    const struct rate *reference;
    struct card_guard *guard;    /* borrowed; NULL: card numbers pass */
    int column[ROW_CSV_COLUMNS]; /* -1: the file has none */
};

struct row {
    struct tx tx;
    struct tx_strings strings; /* valid until the next row */
    bool has_label;
    bool fraud;       /* where has_label */
    int64_t label_us; /* when it became known; 0: not told */
};

/* Finds the columns.  ERR_CORRUPT names the required column that the file lacks. */
FD_MUSTCHECK enum err row_csv_init(struct row_csv *r, struct csv *csv, const struct rates *rates,
                                   bool need_label, struct errmsg *e);

/* The next row.  ERR_END after the last; ERR_CORRUPT names line, column and value; what csv_next
 * returns besides.  After ERR_CORRUPT of a value the next call goes on with the next row. */
FD_MUSTCHECK enum err row_csv_next(struct row_csv *r, struct row *out, struct errmsg *e);

#endif
