/* A registry's answer about a schema, with those that it refers to: files that Protobuf imports,
 * types that Avro names.  It cannot be read without them.  One thread. */
#ifndef FD_DAEMON_SCHEMA_BUNDLE_H
#define FD_DAEMON_SCHEMA_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/schemas.h"

#define SCHEMA_REFERENCES_MAX 64  /* that one schema has, and theirs */
#define SCHEMA_SUBJECT_BYTES 1024 /* of a path that asks for one */

struct schema_bundle;

/* Takes an answer {"schema": "..", "schemaType": "..", "references": [..]}; kept: one that
 * schema_bundle_text wrote, which has the files already.  Borrows the body.  Returns owned.
 * ERR_CORRUPT: it is no answer. */
FD_MUSTCHECK enum err schema_bundle_create(enum wire_format f, const char *body, size_t len,
                                           bool kept, struct schema_bundle **out, struct errmsg *e);
void schema_bundle_free(struct schema_bundle *b);

/* The path of a file that is still to be asked for; false: all are there. */
bool schema_bundle_wants(const struct schema_bundle *b, char out[SCHEMA_SUBJECT_BYTES]);
/* Takes the answer to that path.  ERR_CORRUPT: it is none. */
FD_MUSTCHECK enum err schema_bundle_add(struct schema_bundle *b, const char *body, size_t len,
                                        struct errmsg *e);

/* The answer with its files, to be kept; owned by the caller, NULL: no memory. */
char *schema_bundle_text(const struct schema_bundle *b);

/* The id in an answer about a subject.  ERR_UNAVAILABLE: it has none. */
FD_MUSTCHECK enum err schema_answer_id(const char *body, size_t len, uint32_t *out,
                                       struct errmsg *e);

/* Compiles it into out's avro or proto.  ERR_MISMATCH: payments cannot be read with it, e says why;
 * ERR_NOMEM. */
FD_MUSTCHECK enum err schema_bundle_compile(const struct schema_bundle *b, struct schema_known *out,
                                            struct errmsg *e);

#endif
