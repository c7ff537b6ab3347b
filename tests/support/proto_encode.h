/* The other side of the wire: libprotobuf itself writes messages under any schema. */
#ifndef FD_TESTS_SUPPORT_PROTO_ENCODE_H
#define FD_TESTS_SUPPORT_PROTO_ENCODE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Encodes a message given in Protobuf's text format: of this schema, of the type with this full
 * name.  Returns its bytes; ends the program with a line where schema, text or cap will not do. */
size_t proto_encode(const char *schema, const char *type, const char *text, char *out, size_t cap);

/* The text format of bytes, one line, "" where they are none; static, holds until the next call. */
const char *proto_print(const char *schema, const char *type, const char *bytes, size_t len);

#ifdef __cplusplus
}
#endif

#endif
