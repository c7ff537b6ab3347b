/* A PostgreSQL connection behind few functions: libpq's only home.  Every statement has parameters
 * as text; no SQL is built from input.  Errors keep the SQLSTATE and say what to do; the password
 * is never shown.  One thread. */
#ifndef FD_STORAGE_DB_H
#define FD_STORAGE_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct db;
struct db_rows; /* of one statement */

/* ERR_UNAVAILABLE no server answers; ERR_REFUSED user or password; ERR_NOTFOUND no such database.
 */
FD_MUSTCHECK enum err db_open(const char *conninfo, struct db **out, struct errmsg *e);
void db_close(struct db *d);
/* Statements that take longer than this are given up: ERR_UNAVAILABLE. */
FD_MUSTCHECK enum err db_limit(struct db *d, int64_t statement_us, struct errmsg *e);

/* Runs one statement with text parameters (NULL: SQL null).  rows may be NULL.
 * ERR_INVALID PostgreSQL refused it (db_sqlstate tells); ERR_UNAVAILABLE the connection is gone;
 * ERR_NOTFOUND, ERR_REFUSED what a function of sql/ refused with UQ404 or UQ409, in its own words.
 */
FD_MUSTCHECK enum err db_exec(struct db *d, const char *sql, int n, const char *const *params,
                              struct db_rows **rows, struct errmsg *e);
/* The same, planned once a connection: for what is asked again and again.  `sql` is a constant, and
 * known by its address. */
FD_MUSTCHECK enum err db_exec_often(struct db *d, const char *sql, int n, const char *const *params,
                                    struct db_rows **rows, struct errmsg *e);
/* Several statements without parameters (migrations). */
FD_MUSTCHECK enum err db_script(struct db *d, const char *sql, struct errmsg *e);
/* One bytea parameter in binary beside text ones: index of it. */
FD_MUSTCHECK enum err db_exec_bytes(struct db *d, const char *sql, int n, const char *const *params,
                                    int bytes_at, const void *bytes, size_t len, struct errmsg *e);
/* Waits up to `timeout_us` for a NOTIFY of a channel that LISTEN named; ERR_OK also without one.
 * ERR_UNAVAILABLE the connection is gone. */
FD_MUSTCHECK enum err db_wait(struct db *d, int64_t timeout_us, struct errmsg *e);
/* SQLSTATE of the latest failure ("22001"), or "". */
const char *db_sqlstate(const struct db *d);

int db_rows_count(const struct db_rows *r);
int db_rows_columns(const struct db_rows *r);
/* Name of a column; whether it holds numbers, true or false, JSON. */
const char *db_rows_name(const struct db_rows *r, int column);
bool db_rows_is_number(const struct db_rows *r, int column);
bool db_rows_is_bool(const struct db_rows *r, int column);
bool db_rows_is_json(const struct db_rows *r, int column);
/* NULL where SQL null. */
const char *db_rows_text(const struct db_rows *r, int row, int column);
void db_rows_free(struct db_rows *r);
/* Decodes a bytea column.  Returns owned bytes. */
FD_MUSTCHECK enum err db_rows_bytes(const struct db_rows *r, int row, int column, uint8_t **out,
                                    size_t *out_len, struct errmsg *e);

/* COPY .. FROM STDIN in text format: begin, any number of puts, end (ERR_INVALID: refused). */
FD_MUSTCHECK enum err db_copy_begin(struct db *d, const char *sql, struct errmsg *e);
FD_MUSTCHECK enum err db_copy_put(struct db *d, const char *bytes, size_t len, struct errmsg *e);
FD_MUSTCHECK enum err db_copy_end(struct db *d, struct errmsg *e);
/* Gives a COPY up; ERR_OK also where none is under way. */
FD_MUSTCHECK enum err db_copy_cancel(struct db *d);

/* COPY (query) TO STDOUT in text format: each line goes to `line` (zero-terminated, no line end).
 */
FD_MUSTCHECK enum err db_copy_out(struct db *d, const char *sql,
                                  enum err (*line)(void *ctx, char *text, size_t len,
                                                   struct errmsg *e),
                                  void *ctx, struct errmsg *e);

#endif
