/* A private PostgreSQL in a folder, for `demo` and tests: made by initdb, reached over loopback on
 * a free port, gone afterwards.  PostgreSQL refuses to run as root, so root runs it as user
 * `postgres`. Not for data that matters: fsync is off. */
#ifndef FD_STORAGE_THROWAWAY_H
#define FD_STORAGE_THROWAWAY_H

#include <stddef.h>

#include "base/err.h"

struct throwaway {
    char folder[256];
    char bin[128]; /* where initdb and pg_ctl lie */
    int port;
    char conninfo[256];
};

/* Makes and starts one under a new folder of `parent`.  ERR_NOTFOUND: PostgreSQL's programs are not
 * installed; ERR_IO: it did not start (its log's last line is told). */
FD_MUSTCHECK enum err throwaway_start(struct throwaway *t, const char *parent, struct errmsg *e);
/* Stops (fast) and starts it again, for tests of outages. */
FD_MUSTCHECK enum err throwaway_pause(struct throwaway *t, struct errmsg *e);
FD_MUSTCHECK enum err throwaway_resume(struct throwaway *t, struct errmsg *e);
/* Stops it at once and removes the folder. */
void throwaway_stop(struct throwaway *t);

/* A port of 127.0.0.1 that was free a moment ago; 0: none. */
int throwaway_port(void);

#endif
