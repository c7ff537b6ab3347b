/* A database in memory behind storage/db.h, for a simulation of `sink`: it knows the statements of
 * storage/sink_writer.c and no others, and aborts on one that it does not know, so that a change
 * there is seen here.  Its functions take the place of db_* at the linker (--wrap, see the
 * Makefile).  Connections come and go; one is in an SQL transaction at a time.  One thread. */
#ifndef FD_TESTS_SUPPORT_DATABASE_MEM_H
#define FD_TESTS_SUPPORT_DATABASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/bus.h"
#include "storage/sink_writer.h"
#include "tests/support/bus_mem.h"

#define DATABASE_MEM_ROWS 8192 /* slots; half of them may be in use */

/* What is stored: rows by primary key, refused ones by their place in the logs, positions. */
struct database_rows {
    uint64_t key[DATABASE_MEM_ROWS];  /* 0: free */
    uint64_t line[DATABASE_MEM_ROWS]; /* hash of the whole line */
    size_t count, rejected;
    int64_t next[TOPIC_COUNT][BUS_MEM_PARTITIONS]; /* -1: none */
};

/* Primary key of a COPY line; of a message that was refused. */
uint64_t database_mem_key(enum sink_table t, const char *line, size_t len);
uint64_t database_mem_reject_key(const char *topic, int32_t partition, int64_t offset);
bool database_mem_has(const struct database_rows *r, uint64_t key);

/* What happens at a statement of a connection. */
enum database_fate {
    FATE_NONE,
    FATE_LOST_BEFORE, /* the connection is gone, the statement had no effect */
    FATE_LOST_AFTER   /* ... it had its effect */
};

/* What the database does otherwise than PostgreSQL, to see that it matters. */
struct database_breaks {
    bool apart;    /* positions are in force at once, whatever becomes of the SQL transaction */
    bool conflict; /* a row that is there is an error in spite of ON CONFLICT DO NOTHING */
    bool known;    /* a position is written over any other */
};

struct database_mem {
    void *ctx;
    /* Asked at each statement.  NULL: nothing happens. */
    enum database_fate (*fate)(void *ctx);
    /* Told of what is durable after each COMMIT.  NULL: not told. */
    void (*committed)(void *ctx, const struct database_rows *r);
    bool away; /* nobody can connect */
    struct database_breaks breaks;
    int connections; /* number of the next; all before `lost_before` are broken */
    int lost_before;
    struct database_rows durable;
};

/* Empties it and makes it the one that db_open reaches: NULL: none. */
void database_mem_use(struct database_mem *m);
/* A statement that reads something: ERR_UNAVAILABLE where the connection is gone. */
FD_MUSTCHECK enum err database_mem_ask(struct db *d, struct errmsg *e);
/* All connections are gone. */
void database_mem_cut(struct database_mem *m);

#endif
