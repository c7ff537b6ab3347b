/* Looks at a database without changing it: for `fraudd check`. */
#ifndef FD_STORAGE_INSPECT_H
#define FD_STORAGE_INSPECT_H

#include "storage/db.h"

/* The connection's user beside the roles of sql/0009_roles.sql.  The schema must be there
 * (migrate_check).  Return owned rows. */
/* One row: whether it owns the tables (or is a superuser), the roles that it has (NULL: none), the
 * SQL that gives it the sink's. */
FD_MUSTCHECK enum err inspect_roles(struct db *d, struct db_rows **out, struct errmsg *e);
/* What it lacks of what its roles are for, and has besides: rows of (what, the SQL that mends it).
 */
FD_MUSTCHECK enum err inspect_lacks(struct db *d, struct db_rows **out, struct errmsg *e);
FD_MUSTCHECK enum err inspect_superfluous(struct db *d, struct db_rows **out, struct errmsg *e);

/* One line: "PostgreSQL 15.5, database \"fraudd\", user \"fraudd\"".  ERR_INVALID: the database's
 * encoding is not UTF8. */
FD_MUSTCHECK enum err inspect_server(struct db *d, char *out, size_t size, struct errmsg *e);

#endif
