/* Writers' schemas by id: what tells how a message of the transactions topic is to be read where it
 * is not JSON.  Such a message begins with a zero byte and its schema's id, four bytes, most
 * significant first; the registry (registry.url) says what the id means, for ever.
 *
 * Invariants
 *  1. A message is read only when the registry, or the folder of what it said before, has answered:
 *     a registry that is away is waited for, with backing off, and nothing is refused for it.
 *  2. What an id means never changes, so what comes of a message does not depend on when it was
 *     asked.  An id that the registry does not know is a dead letter, which the journal records.
 *  3. At most SCHEMAS_MAX are kept; beyond them the one not needed longest gives way and is asked
 *     for again when it is.
 * One thread. */
#ifndef FD_DAEMON_SCHEMAS_H
#define FD_DAEMON_SCHEMAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "daemon/wire.h"
#include "features/tx.h"

#define SCHEMAS_MAX 1024
#define SCHEMAS_HEADER 5 /* bytes before an Avro record, or a Protobuf message's indexes */

enum wire_format { FORMAT_JSON, FORMAT_AVRO, FORMAT_PROTOBUF };

/* Stable names: "json", "avro", "protobuf".  schemas_format: FORMAT_JSON and false where it is
 * none. */
const char *schemas_format_name(enum wire_format f);
bool schemas_format(const char *name, enum wire_format *out);

struct schemas;
struct avro_schema;
struct proto_schema;

/* Returns owned; NULL where transactions.format is json.  Knows state.dir, where answers are kept
 * (empty: nowhere).  now_us: monotonic.  Errors as schema_http_create. */
FD_MUSTCHECK enum err schemas_create(const struct conf *c, int64_t (*now_us)(void),
                                     struct schemas **out, struct errmsg *e);
void schemas_free(struct schemas *s);

/* Whether a message can be read, or never will be: its id is known, is unknown to the registry, or
 * is none.  false: the registry is being asked; call again.  Waits a few milliseconds at most.
 * decided: it was read once, so its id is known, whatever the registry says now. */
bool schemas_ready(struct schemas *s, const char *value, size_t len, bool decided);

/* What an id was answered to be. */
struct schema_known {
    uint32_t id;
    bool absent;                /* the registry does not know it */
    struct avro_schema *avro;   /* one of both, by the format; */
    struct proto_schema *proto; /* NULL: no payments can be read with it */
    char why[200];              /* .. because */
    int64_t asked_us;
    uint64_t used; /* when it was needed last, by a count */
};

/* NULL: not asked yet. */
const struct schema_known *schemas_find(const struct schemas *s, uint32_t id);

/* The id of a message; false: it has none. */
bool schemas_id(const char *value, size_t len, uint32_t *out);

/* The subject of a topic's messages, as serializers name it: "transactions-value". */
#define SCHEMAS_SUBJECT_MAX 256
void schemas_subject(const char *topic, char out[SCHEMAS_SUBJECT_MAX]);

/* For `check` and `produce`, waiting for the answer.
 * schemas_latest: whether payments can be read with the subject's latest schema.  ERR_NOTFOUND no
 * such subject; ERR_MISMATCH it does not fit (the field is named); ERR_UNAVAILABLE, ERR_REFUSED the
 * registry's answer.  out_id: the schema's id.
 * schemas_register: has our own schema registered there. */
FD_MUSTCHECK enum err schemas_latest(struct schemas *s, const char *subject, uint32_t *out_id,
                                     struct errmsg *e);
FD_MUSTCHECK enum err schemas_register(struct schemas *s, const char *subject, uint32_t *out_id,
                                       struct errmsg *e);

/* A payment in a format other than JSON, its schema's id before it.  ERR_FULL cap is too small
 * (ENCODE_MAX is enough). */
FD_MUSTCHECK enum err schemas_write(enum wire_format f, uint32_t id, const struct tx *t,
                                    const struct tx_strings *s, char *out, size_t cap,
                                    size_t *out_len);

struct schemas_stats {
    uint64_t answers, failures; /* of requests to the registry */
    size_t known;               /* schemas that payments are read with */
    bool waiting;               /* an answer is being waited for */
};
void schemas_stats(const struct schemas *s, struct schemas_stats *out);

#endif
