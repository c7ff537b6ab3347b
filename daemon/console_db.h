/* Connections to PostgreSQL for the console's threads: as many as threads, so that nobody waits.
 * One that is away is made anew when it is next wanted.  Any thread. */
#ifndef FD_DAEMON_CONSOLE_DB_H
#define FD_DAEMON_CONSOLE_DB_H

#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

#define CONSOLE_DBS 4

struct console_dbs;

/* conninfo is borrowed.  Statements are given up after statement_us.  ERR_NOMEM. */
FD_MUSTCHECK enum err console_dbs_create(const char *conninfo, int64_t statement_us,
                                         struct console_dbs **out, struct errmsg *e);
void console_dbs_free(struct console_dbs *p);

/* Takes one; the caller gives it back.  Errors as db_open; ERR_FULL more than CONSOLE_DBS are out.
 */
FD_MUSTCHECK enum err console_db_take(struct console_dbs *p, struct db **out, struct errmsg *e);
/* after: how the last statement ended; after ERR_UNAVAILABLE the connection is closed. */
void console_db_give(struct console_dbs *p, struct db *d, enum err after);

#endif
