/* Brings a database to this program's schema: the numbered files of sql/, built into the binary,
 * each in one transaction, remembered with its checksum.  Running it again does nothing; two at a
 * time wait for each other. */
#ifndef FD_STORAGE_MIGRATE_H
#define FD_STORAGE_MIGRATE_H

#include "storage/db.h"

/* applied: number of files applied now.  ERR_MISMATCH: a file that was applied has changed since,
 * or the database is newer than the program. */
FD_MUSTCHECK enum err migrate(struct db *d, int *out_applied, struct errmsg *e);

/* Whether the database has this program's schema, changing nothing.  ERR_NOTFOUND: not migrated,
 * or not up to this program; ERR_MISMATCH as migrate. */
FD_MUSTCHECK enum err migrate_check(struct db *d, struct errmsg *e);

#endif
