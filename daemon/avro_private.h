/* The inside of avro_*.c: what a schema is compiled to. */
#ifndef FD_DAEMON_AVRO_PRIVATE_H
#define FD_DAEMON_AVRO_PRIVATE_H

#include "daemon/avro.h"

#define AVRO_NODES_MAX 4096 /* types in one schema */

enum avro_type {
    AVRO_NULL,
    AVRO_BOOLEAN,
    AVRO_INT,
    AVRO_LONG,
    AVRO_FLOAT,
    AVRO_DOUBLE,
    AVRO_BYTES,
    AVRO_STRING,
    AVRO_RECORD,
    AVRO_ENUM,
    AVRO_FIXED,
    AVRO_ARRAY,
    AVRO_MAP,
    AVRO_UNION,
    AVRO_TYPES
};

enum avro_logical {
    AVRO_PLAIN,
    AVRO_MILLIS,  /* of LONG: a timestamp */
    AVRO_MICROS,  /* of LONG: a timestamp */
    AVRO_DECIMAL, /* of BYTES, FIXED */
    AVRO_UUID,    /* of STRING */
    AVRO_OTHER    /* no value of ours */
};

/* One type.  first and count are a stretch of `link` (RECORD: the fields' types; UNION: branches;
 * ARRAY, MAP: the items' type) or of `symbol` (ENUM); FIXED: count bytes. */
struct avro_node {
    uint8_t type, logical, scale;
    uint32_t first, count;
};

/* The name of an enum's value. */
struct avro_symbol {
    char *at; /* owned */
    size_t len;
};

struct avro_schema {
    struct avro_node *node;
    uint32_t node_count, root; /* root: a RECORD */
    uint32_t *link;
    uint32_t link_count, link_room;
    struct avro_symbol *symbol;
    uint32_t symbol_count, symbol_room;
    uint8_t *member; /* of each of root's fields; MEMBER_COUNT: skipped */
};

extern const char *const AVRO_TYPE_NAMES[AVRO_TYPES];

#endif
