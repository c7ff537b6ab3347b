/* A throwaway, migrated PostgreSQL for integration tests and benchmarks.  Whatever fails here ends
 * the program with a line on standard error, and the server with it. */
#ifndef FD_TESTS_SUPPORT_DATABASE_H
#define FD_TESTS_SUPPORT_DATABASE_H

#include "base/err.h"
#include "storage/db.h"
#include "storage/throwaway.h"

struct database {
    struct throwaway server;
    struct db *db;
};

/* One a program. */
void database_start(struct database *d);
void database_stop(struct database *d);

/* Another connection; the caller closes it. */
struct db *database_connect(const struct database *d);

/* Ends the program unless err is ERR_OK. */
void database_must(enum err err, const struct errmsg *e);
/* Statements without result. */
void database_run(struct db *db, const char *sql);
/* Empties the audit trail, which the schema forbids. */
void database_empty_audit(struct db *db);
/* The first value of the first row. */
long database_count(struct db *db, const char *sql);
/* The same as text; owned.  "" where there is no row or it is null. */
char *database_text(struct db *db, const char *sql);

#endif
