/* Payments with a schema's id before them. */
#include <inttypes.h>
#include <string.h>

#include "daemon/decode_fields.h"
#include "daemon/proto.h"
#include "daemon/schemas.h"

/* Indexes of a message's type, and the message. */
static enum dead_reason read_proto(struct decoder *d, const struct schema_known *k,
                                   struct slice body)
{
    const struct proto_message *type = NULL;
    enum member about = MEMBER_COUNT;
    const char *text = "";
    size_t begin = 0;
    FIELD_TRY(field_explain(
        d, proto_message_find(k->proto, body.at, body.len, &type, &begin, &text), about, text));
    if (proto_message_unfit(type) != NULL) {
        return field_reject(d, DEAD_SCHEMA, "schema %" PRIu32 ": %s", k->id,
                            proto_message_unfit(type));
    }
    const enum members_error error =
        proto_payment_read(type, body.at + begin, body.len - begin, &d->m, &about, &text);
    return field_explain(d, error, about, text);
}

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
    if (k == NULL || (k->avro == NULL && k->proto == NULL)) {
        return field_reject(d, DEAD_SCHEMA, "schema %" PRIu32 ": %s", id,
                            k == NULL ? "the registry was not asked about it" : k->why);
    }
    memcpy(d->framed, bytes, len);
    const struct slice body = {d->framed + SCHEMAS_HEADER, len - SCHEMAS_HEADER};
    if (k->proto != NULL) {
        FIELD_TRY(read_proto(d, k, body));
    } else {
        const enum members_error error =
            avro_payment_read(k->avro, body.at, body.len, d->decimal, &d->m, &about, &text);
        FIELD_TRY(field_explain(d, error, about, text));
    }
    return field_complete(d, FIELD_TX_REQUIRED);
}
