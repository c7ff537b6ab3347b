/* Payments from a file as messages of the transactions topic: what `produce` sends.  The file is a
 * CSV history (row_csv.h) or JSON lines (etc/wire), plain or compressed.
 *
 * Invariants
 *  1. What comes out is a message that `score` can read: a bad row or line is refused with its
 *     number and reason.
 *  2. A line of JSON goes out byte for byte, unless its times are shifted: then it is written anew,
 *     without the members that the format does not name.  So is a line with a card number in it.
 * One owner. */
#ifndef FD_DAEMON_FEED_H
#define FD_DAEMON_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/rates.h"
#include "daemon/wire.h"
#include "features/tx.h"

enum feed_format { FEED_CSV, FEED_LINES };

struct feed_conf {
    const char *path; /* borrowed */
    enum feed_format format;
    const struct rates *rates; /* borrowed */
    /* for the opening: what becomes of card numbers, in words of card_guard.h; NULL: they pass */
    const struct card_rules *cards;
    bool need_label;        /* CSV: the column fraud must be there */
    int64_t label_delay_us; /* from a fraud to its verdict where the file does not say */
    int64_t shift_us;       /* added to every time */
};

/* One payment; slices hold until the next call. */
struct feed_item {
    struct slice json; /* the message; its key is strings.card */
    struct tx tx;
    struct tx_strings strings;
    bool fraud;
    int64_t known_us; /* when its verdict became known; INT64_MAX: the file has none */
};

struct feed;

/* The format that a file's name tells: .jsonl, .ndjson and .json, also with .gz, .xz or .zst behind
 * it, are lines of JSON. */
enum feed_format feed_format_of(const char *path);

/* ERR_NOTFOUND, ERR_REFUSED, ERR_IO, ERR_CORRUPT as csv_open and row_csv_init. */
FD_MUSTCHECK enum err feed_open(const struct feed_conf *c, struct feed **out, struct errmsg *e);
void feed_close(struct feed *f);

/* ERR_END after the last one; ERR_CORRUPT names line and reason.  Legitimate rows have a verdict
 * only where the file says when it became known: others are so by themselves at their maturity. */
FD_MUSTCHECK enum err feed_next(struct feed *f, struct feed_item *out, struct errmsg *e);

/* Share of the file read (0 to 1); number of the latest line. */
double feed_share(const struct feed *f);
uint64_t feed_line(const struct feed *f);

/* Reads the file once to its end: the latest event time and the number of payments. */
FD_MUSTCHECK enum err feed_scan(const struct feed_conf *c, int64_t *out_last_us,
                                uint64_t *out_count, struct errmsg *e);

/* The shift by whole weeks (hours and weekdays stay) that moves last_us to now_us or up to a week
 * before it. */
int64_t feed_shift(int64_t last_us, int64_t now_us);

#endif
