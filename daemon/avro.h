/* Avro (specification 1.11): a writer's schema compiled to a plan, payments read and written by it.
 *
 * Resolution against the payment's fields (daemon/schema_fields.h; etc/wire/transaction.avsc is the
 * schema that this program writes) happens once a schema: fields are found by name, in any order;
 * int, long, float and double are promoted; a union with null is an optional field; what has no
 * member of ours is skipped.  A schema that lacks a field which must be there, or has one of
 * another type, is refused with the field named.
 *
 * Invariants
 *  1. Reading allocates nothing, looks at no byte outside the message, and takes at most
 *     AVRO_STEPS_MAX steps, whatever message and schema say.
 *  2. A compiled schema is immutable; any thread may read with it. */
#ifndef FD_DAEMON_AVRO_H
#define FD_DAEMON_AVRO_H

#include <stdint.h>

#include "base/err.h"
#include "daemon/members.h"
#include "daemon/schema_fields.h"
#include "features/tx.h"

#define AVRO_STEPS_MAX (1U << 18) /* values of one message */
#define AVRO_DEPTH_MAX 32         /* of values in values */

struct avro_schema;

/* Compiles a schema's JSON text.  files: the schemas whose types it may name besides its own, count
 * of them, in any order.  Borrows for the call.  Returns owned.  ERR_MISMATCH: not one that
 * payments can be read with, e says why and names the field; ERR_NOMEM. */
FD_MUSTCHECK enum err avro_schema_create(const char *text, size_t len,
                                         const struct schema_file *files, size_t count,
                                         struct avro_schema **out, struct errmsg *e);
void avro_schema_free(struct avro_schema *s);

#define AVRO_SCRATCH 32 /* bytes */

/* Reads one payment into members, as members_read does of JSON: MEMBERS_MALFORMED where the bytes
 * are not what the schema says, MEMBERS_NOT_UTF8.  Text points into the message, the schema or
 * scratch [AVRO_SCRATCH], where a decimal is written.  out_about: the member that an error is
 * about. */
enum members_error avro_payment_read(const struct avro_schema *s, const char *bytes, size_t len,
                                     char *scratch, struct members *out, enum member *out_about,
                                     const char **out_text);

/* The schema that avro_payment_write writes; static. */
const char *avro_schema_text(void);

/* A payment by that schema.  ERR_FULL cap is too small (ENCODE_MAX is enough). */
FD_MUSTCHECK enum err avro_payment_write(const struct tx *t, const struct tx_strings *s, char *out,
                                         size_t cap, size_t *out_len);

#endif
