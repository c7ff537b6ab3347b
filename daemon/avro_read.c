/* Bytes to members by a compiled schema.  See avro.h. */
#include <math.h>
#include <string.h>

#include "daemon/avro_private.h"

struct in {
    const struct avro_schema *s;
    const uint8_t *at, *end;
    unsigned steps;
    const char **text; /* what was wrong */
};

static bool bad(struct in *in, const char *text)
{
    *in->text = text;
    return false;
}

/* A zigzag number of at most ten bytes. */
static bool take_long(struct in *in, int64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->at == in->end) {
            return bad(in, "it ends within a number");
        }
        const uint8_t b = *in->at++;
        if (shift == 63 && b > 1) {
            break;
        }
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *out = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
            return true;
        }
    }
    return bad(in, "a number has more than 64 bits");
}

static bool take_bytes(struct in *in, int64_t len, struct slice *out)
{
    if (len < 0 || len > in->end - in->at) {
        return bad(in, "a length goes past the message's end");
    }
    *out = (struct slice){(const char *)in->at, (size_t)len};
    in->at += len;
    return true;
}

static bool take_counted(struct in *in, struct slice *out)
{
    int64_t len = 0;
    return take_long(in, &len) && take_bytes(in, len, out);
}

/* ---- what has no member of ours ---- */

static bool skip(struct in *in, uint32_t node, int depth);

/* Items of one block.  Those without any bytes (null, an empty record) are all alike. */
static bool skip_items(struct in *in, const struct avro_node *n, int64_t count, int depth)
{
    struct slice key;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *before = in->at;
        if ((n->type == AVRO_MAP && !take_counted(in, &key)) ||
            !skip(in, in->s->link[n->first], depth + 1)) {
            return false;
        }
        if (in->at == before) {
            break;
        }
    }
    return true;
}

static bool skip_blocks(struct in *in, const struct avro_node *n, int depth)
{
    for (;;) {
        int64_t count = 0;
        int64_t bytes = 0;
        struct slice block;
        if (!take_long(in, &count)) {
            return false;
        }
        if (count == 0) {
            return true;
        }
        if (count < 0) { /* the block's bytes are told */
            if (!take_long(in, &bytes) || !take_bytes(in, bytes, &block)) {
                return false;
            }
        } else if (!skip_items(in, n, count, depth)) {
            return false;
        }
    }
}

static bool take_branch(struct in *in, const struct avro_node *n, uint32_t *out)
{
    int64_t branch = 0;
    if (!take_long(in, &branch)) {
        return false;
    }
    if (branch < 0 || branch >= n->count) {
        return bad(in, "a union has no branch of that number");
    }
    *out = in->s->link[n->first + (uint32_t)branch];
    return true;
}

static bool skip(struct in *in, uint32_t node, int depth)
{
    const struct avro_node *n = &in->s->node[node];
    int64_t number = 0;
    struct slice bytes;
    uint32_t branch = 0;
    if (depth > AVRO_DEPTH_MAX || in->steps++ >= AVRO_STEPS_MAX) {
        return bad(in, "values are nested too deeply or are too many");
    }
    switch ((enum avro_type)n->type) {
    case AVRO_NULL:
    case AVRO_TYPES:
        return true;
    case AVRO_BOOLEAN:
        return take_bytes(in, 1, &bytes);
    case AVRO_INT:
    case AVRO_LONG:
    case AVRO_ENUM:
        return take_long(in, &number);
    case AVRO_FLOAT:
        return take_bytes(in, 4, &bytes);
    case AVRO_DOUBLE:
        return take_bytes(in, 8, &bytes);
    case AVRO_BYTES:
    case AVRO_STRING:
        return take_counted(in, &bytes);
    case AVRO_FIXED:
        return take_bytes(in, n->count, &bytes);
    case AVRO_RECORD:
        for (uint32_t i = 0; i < n->count; i++) {
            if (!skip(in, in->s->link[n->first + i], depth + 1)) {
                return false;
            }
        }
        return true;
    case AVRO_ARRAY:
    case AVRO_MAP:
        return skip_blocks(in, n, depth);
    case AVRO_UNION:
        return take_branch(in, n, &branch) && skip(in, branch, depth + 1);
    }
    return true;
}

/* ---- what has ---- */

/* A two's complement number, most significant byte first, as text: the money's parser reads it. */
static bool take_decimal(struct in *in, struct slice b, unsigned scale, char *scratch,
                         struct slice *out)
{
    uint64_t v = 0;
    const uint8_t *p = (const uint8_t *)b.at;
    const bool negative = b.len > 0 && (p[0] & 0x80) != 0;
    for (; b.len > 8 && p[0] == (negative ? 0xff : 0); b.len--) {
        p++;
    }
    if (b.len == 0 || b.len > 8 || (b.len == 8 && ((p[0] & 0x80) != 0) != negative)) {
        return bad(in, "a decimal is empty or has more than 64 bits");
    }
    v = negative ? UINT64_MAX : 0;
    for (size_t i = 0; i < b.len; i++) {
        v = v << 8 | p[i];
    }
    v = negative ? -v : v;
    char *end = scratch + AVRO_SCRATCH;
    char *at = end;
    for (unsigned digits = 0; v > 0 || digits <= scale; digits++) {
        if (digits == scale && scale > 0) {
            *--at = '.';
        }
        *--at = (char)('0' + v % 10);
        v /= 10;
    }
    if (negative) {
        *--at = '-';
    }
    *out = (struct slice){at, (size_t)(end - at)};
    return true;
}

static bool take_real(struct in *in, bool wide, struct member_value *out)
{
    struct slice b;
    uint64_t bits = 0;
    double wide_value = 0;
    float narrow = 0;
    if (!take_bytes(in, wide ? 8 : 4, &b)) {
        return false;
    }
    for (size_t i = b.len; i-- > 0;) {
        bits = bits << 8 | (uint8_t)b.at[i];
    }
    const uint32_t half = (uint32_t)bits;
    memcpy(&wide_value, &bits, sizeof wide_value);
    memcpy(&narrow, &half, sizeof narrow);
    out->real = wide ? wide_value : (double)narrow;
    out->kind = isfinite(out->real) ? KIND_REAL : KIND_HUGE;
    return true;
}

static bool take_symbol(struct in *in, const struct avro_node *n, struct slice *out)
{
    int64_t which = 0;
    if (!take_long(in, &which)) {
        return false;
    }
    if (which < 0 || which >= n->count) {
        return bad(in, "an enum has no symbol of that number");
    }
    const struct avro_symbol *s = &in->s->symbol[n->first + (uint32_t)which];
    *out = (struct slice){s->at, s->len};
    return true;
}

/* One scalar; the schema allows no other type here. */
static bool take_value(struct in *in, const struct avro_node *n, char *scratch,
                       struct member_value *out)
{
    struct slice bytes = {NULL, 0};
    out->kind = KIND_STRING;
    switch ((enum avro_type)n->type) {
    case AVRO_INT:
    case AVRO_LONG:
        out->kind = n->logical == AVRO_MICROS ? KIND_MICROS : KIND_INTEGER;
        return take_long(in, &out->integer);
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
        return take_real(in, n->type == AVRO_DOUBLE, out);
    case AVRO_ENUM:
        return take_symbol(in, n, &out->text);
    case AVRO_FIXED:
        return take_bytes(in, n->count, &bytes) &&
               take_decimal(in, bytes, n->scale, scratch, &out->text);
    case AVRO_BYTES:
        if (n->logical == AVRO_DECIMAL) {
            return take_counted(in, &bytes) &&
                   take_decimal(in, bytes, n->scale, scratch, &out->text);
        }
        return take_counted(in, &out->text);
    default:
        return take_counted(in, &out->text);
    }
}

static enum members_error take_member(struct in *in, enum member m, uint32_t node, char *scratch,
                                      struct members *out)
{
    const struct avro_node *n = &in->s->node[node];
    struct member_value *v = &out->value[m];
    uint32_t branch = node;
    if (n->type == AVRO_UNION && !take_branch(in, n, &branch)) {
        return MEMBERS_MALFORMED;
    }
    n = &in->s->node[branch];
    if (n->type == AVRO_NULL) {
        return MEMBERS_OK;
    }
    if (!take_value(in, n, scratch, v)) {
        return MEMBERS_MALFORMED;
    }
    out->present |= MEMBER_BIT(m);
    if (v->kind == KIND_STRING && v->text.len > 0 &&
        (memchr(v->text.at, 0, v->text.len) != NULL || !members_utf8(v->text.at, v->text.len))) {
        *in->text = "it is not UTF-8, or has a zero character";
        return MEMBERS_NOT_UTF8;
    }
    return MEMBERS_OK;
}

enum members_error avro_payment_read(const struct avro_schema *s, const char *bytes, size_t len,
                                     char *scratch, struct members *out, enum member *out_about,
                                     const char **out_text)
{
    const uint8_t *at = (const uint8_t *)bytes;
    struct in in = {s, at, at + len, 0, out_text};
    const struct avro_node *root = &s->node[s->root];
    out->present = 0;
    out->reason_count = 0;
    *out_text = "";
    for (uint32_t i = 0; i < root->count; i++) {
        const enum member m = (enum member)s->member[i];
        const uint32_t node = s->link[root->first + i];
        *out_about = m;
        if (m == MEMBER_COUNT) {
            if (!skip(&in, node, 1)) {
                return MEMBERS_MALFORMED;
            }
            continue;
        }
        const enum members_error error = take_member(&in, m, node, scratch, out);
        if (error != MEMBERS_OK) {
            return error;
        }
    }
    *out_about = MEMBER_COUNT;
    if (in.at != in.end) {
        *out_text = "bytes after the record";
        return MEMBERS_MALFORMED;
    }
    return MEMBERS_OK;
}
