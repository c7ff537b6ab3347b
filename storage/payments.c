#include "storage/payments.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/timefmt.h"

/* "train" in ASCII */
#define LOCK "500135192942"
#define LOCK_HIGH "116" /* its halves, as pg_locks shows them */
#define LOCK_LOW "1918986606"

#define COLUMNS                                                                                    \
    "(extract(epoch FROM h.event_time) * 1000000)::bigint, h.tx_id, h.card, h.type, "              \
    "h.amount_minor, h.currency, h.exponent, h.merchant, h.terminal, h.mcc, h.country, "           \
    "h.channel, h.entry, h.device, h.ip, h.lat, h.lon, h.verdict, "                                \
    "(extract(epoch FROM h.known_time) * 1000000)::bigint, h.declined"
#define FROM_HISTORY                                                                               \
    " FROM history(current_setting('fraudd.from')::timestamptz, "                                  \
    "current_setting('fraudd.until')::timestamptz) h "
#define IN_ORDER "ORDER BY h.event_time, h.log, h.part, h.log_offset"

/* The bounds stand twice: a join by event time does not leave the partitions' months out. */
static const char PAYMENTS[] = "COPY (SELECT " COLUMNS FROM_HISTORY IN_ORDER ") TO STDOUT";
static const char DECIDED[] =
    "COPY (SELECT " COLUMNS ", d.model, d.score, d.outcome, d.control, d.would" FROM_HISTORY
    "JOIN decisions d ON d.log = h.log AND d.part = h.part AND d.log_offset = h.log_offset "
    "AND d.event_time = h.event_time "
    "WHERE d.event_time >= current_setting('fraudd.from')::timestamptz "
    "AND d.event_time < current_setting('fraudd.until')::timestamptz " IN_ORDER ") TO STDOUT";

struct reading {
    const char *query;
    int columns;
    payments_visit visit;
    void *ctx;
};

/* The character that a backslash sequence stands for. */
static char unescaped(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    default:
        return c; /* a backslash */
    }
}

bool payments_split(char *line, int columns, struct payment_row *out)
{
    char *from = line;
    for (int c = 0; c < columns; c++) {
        char *start = from;
        char *to = from;
        bool null = from[0] == '\\' && from[1] == 'N';
        for (; *from != '\t' && *from != '\0'; from++) {
            if (*from == '\\' && from[1] != '\0') {
                from++;
                *to++ = unescaped(*from);
            } else {
                *to++ = *from;
            }
        }
        bool last = *from == '\0';
        if (last != (c + 1 == columns)) {
            return false;
        }
        *to = '\0'; /* never behind `from` */
        out->text[c] = null ? NULL : start;
        out->len[c] = null ? 0 : (size_t)(to - start);
        from += !last;
    }
    return true;
}

static enum err on_line(void *ctx, char *text, size_t len, struct errmsg *e)
{
    const struct reading *r = ctx;
    struct payment_row row;
    if (!payments_split(text, r->columns, &row)) {
        return err_set(e, ERR_CORRUPT,
                       "PostgreSQL sent a payment of %zu bytes with another number "
                       "of columns than %d",
                       len, r->columns);
    }
    return r->visit(r->ctx, &row, e);
}

/* COPY takes no parameters: the bounds go by settings of the session. */
static enum err set_bounds(struct db *d, int64_t from_us, int64_t until_us, struct errmsg *e)
{
    char from[TIME_TEXT_MAX];
    char until[TIME_TEXT_MAX];
    time_format(from, from_us);
    time_format(until, until_us);
    const char *const params[] = {from, until};
    return db_exec(d,
                   "SELECT set_config('fraudd.from', $1, false), "
                   "set_config('fraudd.until', $2, false)",
                   2, params, NULL, e);
}

static enum err read_month(struct db *d, const struct reading *r, int64_t from_us, int64_t until_us,
                           struct errmsg *e)
{
    struct reading copy = *r;
    enum err err = set_bounds(d, from_us, until_us, e);
    if (err != ERR_OK) {
        return err;
    }
    return db_copy_out(d, r->query, on_line, &copy, e);
}

/* The first instant of the month after this one: partitions are months. */
static int64_t next_month(int64_t us)
{
    char text[TIME_TEXT_MAX];
    int64_t next = us;
    time_format_date(text, us);
    int64_t day = (text[8] - '0') * 10 + (text[9] - '0');
    next = (time_day(us) - (day - 1)) * TIME_DAY + 32 * TIME_DAY; /* in the next month */
    time_format_date(text, next);
    day = (text[8] - '0') * 10 + (text[9] - '0');
    return next - (day - 1) * TIME_DAY;
}

static enum err read_all(struct db *d, const struct reading *r, int64_t from_us, int64_t until_us,
                         struct errmsg *e)
{
    enum err err = db_script(d,
                             "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                             "SET LOCAL work_mem = '128MB'",
                             e);
    for (int64_t at = from_us; err == ERR_OK && at < until_us;) {
        int64_t end = next_month(at) < until_us ? next_month(at) : until_us;
        err = read_month(d, r, at, end, e);
        at = end;
    }
    enum err ended = db_script(d, err == ERR_OK ? "COMMIT" : "ROLLBACK", err == ERR_OK ? e : NULL);
    return err == ERR_OK ? ended : err;
}

enum err payments_read(struct db *d, int64_t from_us, int64_t until_us, payments_visit visit,
                       void *ctx, struct errmsg *e)
{
    const struct reading r = {PAYMENTS, PAYMENT_COLUMNS, visit, ctx};
    return read_all(d, &r, from_us, until_us, e);
}

enum err payments_read_decided(struct db *d, int64_t from_us, int64_t until_us,
                               payments_visit visit, void *ctx, struct errmsg *e)
{
    const struct reading r = {DECIDED, PAYMENT_DECIDED_COLUMNS, visit, ctx};
    return read_all(d, &r, from_us, until_us, e);
}

static enum err refuse_lock(struct db *d, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = db_exec(d,
                           "SELECT a.pid, iso_time(a.backend_start), a.usename FROM pg_locks l "
                           "JOIN pg_stat_activity a ON a.pid = l.pid "
                           "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
                           "AND l.classid = " LOCK_HIGH " AND l.objid = " LOCK_LOW,
                           0, NULL, &rows, e);
    if (err == ERR_OK && db_rows_count(rows) > 0) {
        const char *since = db_rows_text(rows, 0, 1);
        err = err_set(e, ERR_REFUSED,
                      "another training is running (PostgreSQL session %s of %s, since %s); wait "
                      "for its end",
                      db_rows_text(rows, 0, 0), db_rows_text(rows, 0, 2),
                      since != NULL ? since : "?");
    } else if (err == ERR_OK) {
        err = err_set(e, ERR_REFUSED, "another training was running until now; start again");
    }
    db_rows_free(rows);
    return err;
}

enum err payments_lock(struct db *d, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = db_exec(d, "SELECT pg_try_advisory_lock(" LOCK ")", 0, NULL, &rows, e);
    if (err == ERR_OK && db_rows_text(rows, 0, 0)[0] != 't') {
        err = refuse_lock(d, e);
    }
    db_rows_free(rows);
    return err;
}
