/* Protocol Buffers: a writer's schema, as text, compiled by libprotobuf to tables, payments read
 * and written by them.  The only files that know libprotobuf are proto_schema.cpp and
 * proto_wire.cpp.
 *
 * Resolution against the payment's fields (daemon/schema_fields.h; etc/wire/transaction.proto is
 * the schema that this program writes) happens once a schema, for each message in it: fields are
 * found by name, whatever their numbers; wrappers of google.protobuf and its Timestamp are values;
 * what has no member of ours is skipped.  A message that lacks a field which must be there, or has
 * one of another type, is refused with the field named.
 *
 * Invariants
 *  1. Reading allocates nothing, looks at no byte outside the message, and takes time linear in its
 *     length; groups in groups end at PROTO_DEPTH_MAX.
 *  2. A compiled schema is immutable; any thread may read with it.
 *  3. No exception leaves. */
#ifndef FD_DAEMON_PROTO_H
#define FD_DAEMON_PROTO_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/members.h"
#include "daemon/schema_fields.h"
#include "features/tx.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PROTO_DEPTH_MAX 32      /* of groups in groups, imports of imports, a message's index */
#define PROTO_MESSAGES_MAX 4096 /* in one schema, its imports not counted */

struct proto_schema;
struct proto_message;

/* Compiles a schema's text.  files: what it may import besides google/protobuf, count of them.
 * Borrows for the call.  Returns owned.  ERR_MISMATCH: not one that payments can be read with, e
 * says why and names the field; ERR_NOMEM. */
FD_MUSTCHECK enum err proto_schema_create(const char *text, size_t len,
                                          const struct schema_file *files, size_t count,
                                          struct proto_schema **out, struct errmsg *e);
void proto_schema_free(struct proto_schema *s);

/* Takes the list of indexes that stands before a message (a count and so many places, zigzag: the
 * first message of the schema is 0, the second one inside it 0, 1; a single zero byte is the first)
 * and finds the message's type.  out_len: bytes of the list.  MEMBERS_MALFORMED: no list, or one
 * that leads nowhere; out_text, static, says so. */
enum members_error proto_message_find(const struct proto_schema *s, const char *bytes, size_t len,
                                      const struct proto_message **out, size_t *out_len,
                                      const char **out_text);
/* Why no payment can be read of it, with name and field; NULL: one can.  Lives as the schema. */
const char *proto_message_unfit(const struct proto_message *m);

/* Reads one payment of a message that is fit into members, as members_read does of JSON:
 * MEMBERS_MALFORMED where the bytes are not what the schema says, MEMBERS_NOT_UTF8, MEMBERS_TWICE.
 * Text points into the message or the schema.  out_about: the member that an error is about. */
enum members_error proto_payment_read(const struct proto_message *m, const char *bytes, size_t len,
                                      struct members *out, enum member *out_about,
                                      const char **out_text);

/* The schema that proto_payment_write writes; static. */
const char *proto_schema_text(void);

/* A payment by that schema, its list of indexes before it.  ERR_FULL cap is too small (ENCODE_MAX
 * is enough). */
FD_MUSTCHECK enum err proto_payment_write(const struct tx *t, const struct tx_strings *s, char *out,
                                          size_t cap, size_t *out_len);

#ifdef __cplusplus
}
#endif

#endif
