/* Any schema, and any message under it.  The input is a schema's text, a zero byte, and a record;
 * an input without a zero byte is a record under our own schema. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "daemon/avro.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    /* what a schema may refer to, and what refers back */
    static const struct schema_file file = {
        "R", "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"r\",\"type\":\"R\"}]}"};
    struct avro_schema *s = NULL;
    struct members m;
    struct errmsg e = {""};
    char scratch[AVRO_SCRATCH];
    enum member about = MEMBER_COUNT;
    const char *why = "";
    const uint8_t *end = len > 0 ? memchr(bytes, 0, len) : NULL;
    const char *text = end != NULL ? (const char *)bytes : avro_schema_text();
    const size_t text_len = end != NULL ? (size_t)(end - bytes) : strlen(text);
    const uint8_t *record = end != NULL ? end + 1 : bytes;
    const size_t record_len = len - (size_t)(record - bytes);
    if (avro_schema_create(text, text_len, &file, 1, &s, &e) != ERR_OK) {
        assert(e.text[0] != '\0');
        return 0;
    }
    if (avro_payment_read(s, (const char *)record, record_len, scratch, &m, &about, &why) !=
        MEMBERS_OK) {
        assert(why[0] != '\0');
    } else {
        for (int i = 0; i < MEMBER_COUNT; i++) {
            const struct member_value *v = &m.value[i];
            if ((m.present & MEMBER_BIT(i)) != 0 && v->kind == KIND_STRING) {
                assert(members_utf8(v->text.at, v->text.len));
            }
        }
    }
    avro_schema_free(s);
    return 0;
}
