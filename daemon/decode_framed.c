/* Payments with a schema's id before them. */
#include <inttypes.h>
#include <string.h>

#include "daemon/decode_fields.h"
#include "daemon/schemas.h"

enum dead_reason field_begin_framed(struct decoder *d, const char *bytes, size_t len)
{
    enum member about = MEMBER_COUNT;
    const char *text = "";
    uint32_t id = 0;
    FIELD_TRY(field_measure(d, bytes, len));
    if (!schemas_id(bytes, len, &id)) {
        return field_reject(d, DEAD_MALFORMED,
                            "the message does not begin with a zero byte and a schema's id");
    }
    const struct schema_known *k = schemas_find(d->schemas, id);
    if (k == NULL || k->avro == NULL) {
        return field_reject(d, DEAD_SCHEMA, "schema %" PRIu32 ": %s", id,
                            k == NULL ? "the registry was not asked about it" : k->why);
    }
    memcpy(d->framed, bytes, len);
    const enum members_error error =
        avro_payment_read(k->avro, d->framed + SCHEMAS_HEADER, len - SCHEMAS_HEADER, d->decimal,
                          &d->m, &about, &text);
    FIELD_TRY(field_explain(d, error, about, text));
    return field_complete(d, FIELD_TX_REQUIRED);
}
