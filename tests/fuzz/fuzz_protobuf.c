/* Any schema, and any message under it.  The input is a schema's text, a zero byte, and a list of
 * indexes with a message; one that begins with a zero byte, or has none, is a list and a message
 * under our own schema. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "daemon/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void read_one(const struct proto_schema *s, const char *bytes, size_t len)
{
    const struct proto_message *type = NULL;
    struct members m;
    enum member about = MEMBER_COUNT;
    const char *why = "";
    size_t begin = 0;
    if (proto_message_find(s, bytes, len, &type, &begin, &why) != MEMBERS_OK) {
        assert(why[0] != '\0');
        return;
    }
    assert(begin <= len);
    if (proto_message_unfit(type) != NULL) {
        assert(proto_message_unfit(type)[0] != '\0');
        return;
    }
    if (proto_payment_read(type, bytes + begin, len - begin, &m, &about, &why) != MEMBERS_OK) {
        assert(why[0] != '\0');
        return;
    }
    for (int i = 0; i < MEMBER_COUNT; i++) {
        const struct member_value *v = &m.value[i];
        if ((m.present & MEMBER_BIT(i)) != 0 && v->kind == KIND_STRING) {
            assert(members_utf8(v->text.at, v->text.len));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct proto_schema *s = NULL;
    struct errmsg e = {""};
    const uint8_t *end = len > 0 ? memchr(bytes, 0, len) : NULL;
    const bool own = end == NULL || end == bytes; /* a message begins with a zero, its indexes */
    const char *text = own ? proto_schema_text() : (const char *)bytes;
    const size_t text_len = own ? strlen(text) : (size_t)(end - bytes);
    const uint8_t *message = own ? bytes : end + 1;
    const struct schema_file file = {"a.proto", "syntax = \"proto3\"; message A { A a = 1; }"};
    if (proto_schema_create(text, text_len, &file, 1, &s, &e) != ERR_OK) {
        assert(e.text[0] != '\0');
        return 0;
    }
    read_one(s, (const char *)message, len - (size_t)(message - bytes));
    proto_schema_free(s);
    return 0;
}
