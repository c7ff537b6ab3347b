/* Looks at a database without changing it: for `fraudd check`. */
#ifndef FD_STORAGE_INSPECT_H
#define FD_STORAGE_INSPECT_H

#include "storage/db.h"

/* What the connection's user lacks of what `sink` and the verbs need: rows of (what, the SQL that
 * mends it).  The schema must be there (migrate_check).  Returns owned rows. */
FD_MUSTCHECK enum err inspect_privileges(struct db *d, struct db_rows **out, struct errmsg *e);

/* One line: "PostgreSQL 15.5, database \"fraudd\", user \"fraudd\"".  ERR_INVALID: the database's
 * encoding is not UTF8. */
FD_MUSTCHECK enum err inspect_server(struct db *d, char *out, size_t size, struct errmsg *e);

#endif
