#include "storage/db.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREPARED_MAX 8

struct db {
    PGconn *conn;
    char sqlstate[8];
    const char *prepared[PREPARED_MAX]; /* statement "often<index>" */
    int prepared_count;
};

/* A struct of its own keeps libpq's type out of the header. */
struct db_rows {
    PGresult *result;
};

/* libpq's messages end with line breaks and may have several lines. */
static const char *one_line(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (const char *p = text; *p != '\0' && n + 1 < size; p++) {
        if (p[0] == '\n' && p[1] == '\t') { /* a hint of libpq's: ours follows */
            p += 1 + strcspn(p + 1, "\n");
            if (*p == '\0') {
                break;
            }
        }
        out[n++] = *p == '\n' ? ' ' : *p;
    }
    while (n > 0 && out[n - 1] == ' ') {
        n--;
    }
    out[n] = '\0';
    return out;
}

/* The server's certificate, or that it has none, in libpq's words. */
static bool is_about_tls(const char *said)
{
    return (strstr(said, "SSL error: ") != NULL && strstr(said, " eof ") == NULL) ||
           strstr(said, "server certificate") != NULL ||
           strstr(said, "root certificate file") != NULL ||
           strstr(said, "does not support SSL") != NULL;
}

/* libpq says of a certificate that fails no more than that; OpenSSL's client says why. */
static enum err tls_error(const PGconn *conn, const char *said, struct errmsg *e)
{
    const char *host = PQhost(conn);
    const char *port = PQport(conn);
    if (strstr(said, "certificate verify failed") != NULL) {
        return err_set(
            e, ERR_REFUSED,
            "the certificate of PostgreSQL at %s:%s is not accepted: it has expired, or "
            "sslrootcert is not of the authority that signed it; `openssl s_client "
            "-starttls postgres -connect %s:%s -CAfile SSLROOTCERT </dev/null` says which",
            host, port, host, port);
    }
    return err_set(e, ERR_REFUSED,
                   "no TLS connection to PostgreSQL at %s:%s: %s; check sslmode, sslrootcert, "
                   "sslcert and sslkey in `database`",
                   host, port, said);
}

static enum err connect_error(struct db *d, struct errmsg *e)
{
    char said[300];
    const char *host = PQhost(d->conn);
    const char *port = PQport(d->conn);
    const char *name = PQdb(d->conn);
    const char *user = PQuser(d->conn);
    one_line(PQerrorMessage(d->conn), said, sizeof said);
    if (strstr(said, "password authentication failed") != NULL ||
        strstr(said, "no password supplied") != NULL || strstr(said, "Peer auth") != NULL ||
        strstr(said, "no pg_hba.conf entry") != NULL) {
        return err_set(
            e, ERR_REFUSED,
            "PostgreSQL at %s:%s refused user \"%s\"; check the password (PGPASSFILE) and "
            "pg_hba.conf",
            host, port, user);
    }
    if (is_about_tls(said)) {
        return tls_error(d->conn, said, e);
    }
    if (strstr(said, "does not exist") != NULL) {
        return err_set(e, ERR_NOTFOUND, "PostgreSQL at %s:%s: %s; create it or change `database`",
                       host, port, said);
    }
    return err_set(e, ERR_UNAVAILABLE,
                   "cannot reach PostgreSQL at %s:%s (database \"%s\"): %s; is it running?",
                   host != NULL ? host : "?", port != NULL ? port : "?", name != NULL ? name : "?",
                   said);
}

static void ignore_notice(void *ctx, const char *text)
{
    (void)ctx;
    (void)text; /* "already exists, skipping" and the like say nothing to our users */
}

enum err db_open(const char *conninfo, struct db **out, struct errmsg *e)
{
    struct db *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return err_set(e, ERR_NOMEM, "cannot connect to PostgreSQL: no memory");
    }
    d->conn = PQconnectdb(conninfo);
    if (PQstatus(d->conn) != CONNECTION_OK) {
        enum err err = connect_error(d, e);
        db_close(d);
        return err;
    }
    PQsetNoticeProcessor(d->conn, ignore_notice, NULL);
    PQsetErrorVerbosity(d->conn,
                        PQERRORS_TERSE); /* details quote rows, and rows have card numbers */
    *out = d;
    return db_script(d, "SET timezone = 'UTC'; SET datestyle = 'ISO'", e);
}

void db_close(struct db *d)
{
    if (d != NULL) {
        PQfinish(d->conn);
        free(d);
    }
}

enum err db_limit(struct db *d, int64_t statement_us, struct errmsg *e)
{
    char ms[32];
    snprintf(ms, sizeof ms, "%" PRId64, statement_us / 1000);
    const char *const params[] = {ms};
    return db_exec(d, "SELECT set_config('statement_timeout', $1, false)", 1, params, NULL, e);
}

const char *db_sqlstate(const struct db *d)
{
    return d->sqlstate;
}

/* What a function of sql/ says when it refuses: SQLSTATE UQ404 or UQ409. */
static bool refused_by_function(const char *sqlstate)
{
    return strcmp(sqlstate, "UQ404") == 0 || strcmp(sqlstate, "UQ409") == 0;
}

/* Turns a failed result into an error; frees it. */
static enum err failed(struct db *d, PGresult *r, const char *sql, struct errmsg *e)
{
    char said[300];
    const char *state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    snprintf(d->sqlstate, sizeof d->sqlstate, "%s", state != NULL ? state : "");
    if (r != NULL && refused_by_function(d->sqlstate)) {
        one_line(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), said, sizeof said);
    } else {
        one_line(r != NULL ? PQresultErrorMessage(r) : PQerrorMessage(d->conn), said, sizeof said);
    }
    PQclear(r);
    if (PQstatus(d->conn) != CONNECTION_OK || strncmp(d->sqlstate, "57P", 3) == 0 ||
        strncmp(d->sqlstate, "08", 2) == 0 || strncmp(d->sqlstate, "53", 2) == 0) {
        return err_set(e, ERR_UNAVAILABLE, "PostgreSQL went away: %s", said);
    }
    if (strcmp(d->sqlstate, "57014") == 0) {
        return err_set(e, ERR_UNAVAILABLE, "PostgreSQL took too long for \"%.60s..\"", sql);
    }
    if (refused_by_function(d->sqlstate)) {
        return err_set(e, strcmp(d->sqlstate, "UQ404") == 0 ? ERR_NOTFOUND : ERR_REFUSED, "%s",
                       said);
    }
    if (strcmp(d->sqlstate, "42501") == 0) {
        return err_set(e, ERR_REFUSED, "PostgreSQL: %s", said);
    }
    if (strcmp(d->sqlstate, "42P01") == 0) {
        return err_set(e, ERR_NOTFOUND, "PostgreSQL: %s; run `fraudd migrate` first", said);
    }
    return err_set(e, ERR_INVALID, "PostgreSQL refused \"%.60s..\": %s", sql, said);
}

static enum err take(struct db *d, PGresult *r, const char *sql, struct db_rows **rows,
                     struct errmsg *e)
{
    ExecStatusType status = PQresultStatus(r);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        return failed(d, r, sql, e);
    }
    if (rows == NULL) {
        PQclear(r);
        return ERR_OK;
    }
    struct db_rows *out = malloc(sizeof *out);
    if (out == NULL) {
        PQclear(r);
        return err_set(e, ERR_NOMEM, "cannot hold the rows of \"%.60s\": no memory", sql);
    }
    out->result = r;
    *rows = out;
    return ERR_OK;
}

enum err db_exec(struct db *d, const char *sql, int n, const char *const *params,
                 struct db_rows **rows, struct errmsg *e)
{
    return take(d, PQexecParams(d->conn, sql, n, NULL, params, NULL, NULL, 0), sql, rows, e);
}

enum err db_exec_often(struct db *d, const char *sql, int n, const char *const *params,
                       struct db_rows **rows, struct errmsg *e)
{
    char name[16];
    int i = 0;
    while (i < d->prepared_count && d->prepared[i] != sql) {
        i++;
    }
    if (i == PREPARED_MAX) {
        return db_exec(d, sql, n, params, rows, e);
    }
    snprintf(name, sizeof name, "often%d", i);
    if (i == d->prepared_count) {
        enum err err = take(d, PQprepare(d->conn, name, sql, n, NULL), sql, NULL, e);
        if (err != ERR_OK) {
            return err;
        }
        d->prepared[d->prepared_count++] = sql;
    }
    return take(d, PQexecPrepared(d->conn, name, n, params, NULL, NULL, 0), sql, rows, e);
}

enum err db_script(struct db *d, const char *sql, struct errmsg *e)
{
    return take(d, PQexec(d->conn, sql), sql, NULL, e);
}

enum err db_exec_bytes(struct db *d, const char *sql, int n, const char *const *params,
                       int bytes_at, const void *bytes, size_t len, struct errmsg *e)
{
    const char *values[16];
    int lengths[16] = {0};
    int formats[16] = {0};
    if (n > 16 || len > 1 << 30) {
        return err_set(e, ERR_INVALID, "%d parameters or %zu bytes are too many", n, len);
    }
    for (int i = 0; i < n; i++) {
        values[i] = i == bytes_at ? bytes : params[i];
    }
    lengths[bytes_at] = (int)len;
    formats[bytes_at] = 1;
    return take(d, PQexecParams(d->conn, sql, n, NULL, values, lengths, formats, 0), sql, NULL, e);
}

enum err db_wait(struct db *d, int64_t timeout_us, struct errmsg *e)
{
    PGnotify *n = PQnotifies(d->conn); /* may have come with an answer */
    if (n == NULL) {
        struct pollfd p = {.fd = PQsocket(d->conn), .events = POLLIN};
        int64_t ms = timeout_us / 1000;
        (void)poll(&p, 1, ms > INT_MAX ? INT_MAX : (int)ms); /* a signal ends the wait early */
        if (PQconsumeInput(d->conn) != 1) {
            return failed(d, NULL, "LISTEN", e);
        }
        n = PQnotifies(d->conn);
    }
    for (; n != NULL; n = PQnotifies(d->conn)) {
        PQfreemem(n);
    }
    return ERR_OK;
}

int db_rows_count(const struct db_rows *r)
{
    return PQntuples(r->result);
}

int db_rows_columns(const struct db_rows *r)
{
    return PQnfields(r->result);
}

const char *db_rows_name(const struct db_rows *r, int column)
{
    return PQfname(r->result, column);
}

/* Object identifiers of built-in types never change; libpq has no names for them. */
bool db_rows_is_number(const struct db_rows *r, int column)
{
    static const Oid NUMBERS[] = {20, 21, 23, 700, 701, 1700}; /* int8 .. numeric */
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        if (PQftype(r->result, column) == NUMBERS[i]) {
            return true;
        }
    }
    return false;
}

bool db_rows_is_bool(const struct db_rows *r, int column)
{
    return PQftype(r->result, column) == 16;
}

bool db_rows_is_json(const struct db_rows *r, int column)
{
    return PQftype(r->result, column) == 114 || PQftype(r->result, column) == 3802;
}

const char *db_rows_text(const struct db_rows *r, int row, int column)
{
    return PQgetisnull(r->result, row, column) ? NULL : PQgetvalue(r->result, row, column);
}

void db_rows_free(struct db_rows *r)
{
    if (r != NULL) {
        PQclear(r->result);
        free(r);
    }
}

enum err db_rows_bytes(const struct db_rows *r, int row, int column, uint8_t **out, size_t *out_len,
                       struct errmsg *e)
{
    size_t len = 0;
    unsigned char *raw =
        PQunescapeBytea((const unsigned char *)PQgetvalue(r->result, row, column), &len);
    uint8_t *bytes = raw != NULL ? malloc(len + 1) : NULL;
    if (bytes == NULL) {
        PQfreemem(raw);
        return err_set(e, ERR_NOMEM, "cannot hold %zu bytes from PostgreSQL", len);
    }
    memcpy(bytes, raw, len);
    PQfreemem(raw);
    *out = bytes;
    *out_len = len;
    return ERR_OK;
}

enum err db_copy_begin(struct db *d, const char *sql, struct errmsg *e)
{
    PGresult *r = PQexec(d->conn, sql);
    if (PQresultStatus(r) != PGRES_COPY_IN) {
        return failed(d, r, sql, e);
    }
    PQclear(r);
    return ERR_OK;
}

enum err db_copy_put(struct db *d, const char *bytes, size_t len, struct errmsg *e)
{
    if (PQputCopyData(d->conn, bytes, (int)len) != 1) {
        return failed(d, NULL, "COPY", e);
    }
    return ERR_OK;
}

/* Reads what is left of a COPY's results; the first failure counts. */
static enum err drain(struct db *d, struct errmsg *e)
{
    enum err err = ERR_OK;
    PGresult *r = NULL;
    while ((r = PQgetResult(d->conn)) != NULL) {
        if (PQresultStatus(r) == PGRES_COMMAND_OK || err != ERR_OK) {
            PQclear(r);
        } else {
            err = failed(d, r, "COPY", e);
        }
    }
    return err;
}

enum err db_copy_end(struct db *d, struct errmsg *e)
{
    if (PQputCopyEnd(d->conn, NULL) != 1) {
        return failed(d, NULL, "COPY", e);
    }
    return drain(d, e);
}

enum err db_copy_cancel(struct db *d)
{
    if (PQputCopyEnd(d->conn, "given up") != 1) {
        return PQstatus(d->conn) == CONNECTION_OK ? ERR_OK : ERR_UNAVAILABLE; /* no COPY */
    }
    enum err err = drain(d, NULL);
    return err == ERR_UNAVAILABLE ? err : ERR_OK;
}

enum err db_copy_out(struct db *d, const char *sql,
                     enum err (*line)(void *ctx, char *text, size_t len, struct errmsg *e),
                     void *ctx, struct errmsg *e)
{
    PGresult *r = PQexec(d->conn, sql);
    if (PQresultStatus(r) != PGRES_COPY_OUT) {
        return failed(d, r, sql, e);
    }
    PQclear(r);
    enum err err = ERR_OK;
    char *text = NULL;
    int len = 0;
    while ((len = PQgetCopyData(d->conn, &text, 0)) > 0) {
        if (err == ERR_OK) {
            text[len - 1] = '\0'; /* the line end */
            err = line(ctx, text, (size_t)len - 1, e);
        }
        PQfreemem(text);
    }
    enum err drained = drain(d, err == ERR_OK ? e : NULL);
    return err != ERR_OK ? err : drained;
}
