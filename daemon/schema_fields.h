/* What a payment's fields may be in a writer's schema, whatever language it is written in, and what
 * a schema is made of; shared by avro_*.c and proto_*.cpp. */
#ifndef FD_DAEMON_SCHEMA_FIELDS_H
#define FD_DAEMON_SCHEMA_FIELDS_H

#include <stddef.h>

#include "daemon/members.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A schema that another one refers to. */
struct schema_file {
    const char *name; /* as the reference says it: a file's that is imported, a type's full one */
    const char *text;
};

/* Kinds of values, as a set. */
enum {
    TAKES_TEXT = 1,    /* UTF-8; also the name of an enumeration's value */
    TAKES_INTEGER = 2, /* fits int64_t; a time in milliseconds */
    TAKES_REAL = 4,
    TAKES_MICROS = 8,  /* a time in microseconds */
    TAKES_DECIMAL = 16 /* an exact number with a point */
};

/* The member of a payment with this name; MEMBER_COUNT: none, it is passed over. */
enum member schema_member(const char *name, size_t len);
/* What it may be: a set. */
unsigned schema_takes(enum member m);
/* The same in words: "text, an integer or an exact decimal"; static. */
const char *schema_takes_words(enum member m);
/* The first field that must be there and is not in `present` (MEMBER_BITs); MEMBER_COUNT: none. */
enum member schema_lacks(uint64_t present);

#ifdef __cplusplus
}
#endif

#endif
