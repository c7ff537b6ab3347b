/* Bytes to members by a compiled schema, over libprotobuf's stream of the caller's memory.  See
 * proto.h. */
#include <algorithm>
#include <cmath>
#include <cstring>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "daemon/proto_private.h"

namespace pb = google::protobuf;
using D = pb::FieldDescriptor;
using in = pb::io::CodedInputStream;
using wire = pb::internal::WireFormatLite;

namespace
{

#define NANOS_END 1000000000
#define SECONDS_LIMIT INT64_C(1000000000000) /* its microseconds fit */

in over(struct slice s)
{
    return in(reinterpret_cast<const uint8_t *>(s.at), static_cast<int>(s.len));
}

const char *const ENDS = "it ends within a value, or a length goes past the message's end";

bool take_bytes(in *i, struct slice *out)
{
    uint32_t len = 0;
    const void *at = "";
    int left = 0;
    if (!i->ReadVarint32(&len)) {
        return false;
    }
    i->GetDirectBufferPointerInline(&at, &left);
    if (len > static_cast<uint32_t>(left)) {
        return false;
    }
    *out = {static_cast<const char *>(at), len};
    return i->Skip(static_cast<int>(len));
}

/* An unsigned number of 64 bits. */
void set_wide(uint64_t v, struct member_value *out)
{
    out->kind = v > INT64_MAX ? KIND_HUGE : KIND_INTEGER;
    out->integer = static_cast<int64_t>(v);
}

void set_real(double v, struct member_value *out)
{
    out->kind = std::isfinite(v) ? KIND_REAL : KIND_HUGE;
    out->real = v;
}

bool take_varint(in *i, D::Type type, struct member_value *out)
{
    uint64_t v = 0;
    if (!i->ReadVarint64(&v)) {
        return false;
    }
    out->kind = KIND_INTEGER;
    const auto half = static_cast<uint32_t>(v);
    if (type == D::TYPE_UINT64) {
        set_wide(v, out);
    } else if (type == D::TYPE_INT64) {
        out->integer = static_cast<int64_t>(v);
    } else if (type == D::TYPE_SINT64) {
        out->integer = wire::ZigZagDecode64(v);
    } else if (type == D::TYPE_SINT32) {
        out->integer = wire::ZigZagDecode32(half);
    } else if (type == D::TYPE_UINT32) {
        out->integer = half;
    } else { /* int32, an enum's number */
        out->integer = static_cast<int32_t>(half);
    }
    return true;
}

bool take_fixed(in *i, D::Type type, struct member_value *out)
{
    uint64_t v = 0;
    uint32_t half = 0;
    const bool wide = type == D::TYPE_DOUBLE || type == D::TYPE_FIXED64 || type == D::TYPE_SFIXED64;
    if (wide ? !i->ReadLittleEndian64(&v) : !i->ReadLittleEndian32(&half)) {
        return false;
    }
    out->kind = KIND_INTEGER;
    if (type == D::TYPE_DOUBLE) {
        set_real(wire::DecodeDouble(v), out);
    } else if (type == D::TYPE_FLOAT) {
        set_real(static_cast<double>(wire::DecodeFloat(half)), out);
    } else if (type == D::TYPE_FIXED64) {
        set_wide(v, out);
    } else if (type == D::TYPE_SFIXED64) {
        out->integer = static_cast<int64_t>(v);
    } else if (type == D::TYPE_SFIXED32) {
        out->integer = static_cast<int32_t>(half);
    } else {
        out->integer = half;
    }
    return true;
}

bool take_scalar(in *i, D::Type type, struct member_value *out)
{
    switch (wire::WireTypeForFieldType(static_cast<wire::FieldType>(type))) {
    case wire::WIRETYPE_VARINT:
        return take_varint(i, type, out);
    case wire::WIRETYPE_FIXED32:
    case wire::WIRETYPE_FIXED64:
        return take_fixed(i, type, out);
    case wire::WIRETYPE_LENGTH_DELIMITED:
        out->kind = KIND_STRING;
        return take_bytes(i, &out->text);
    case wire::WIRETYPE_START_GROUP:
    case wire::WIRETYPE_END_GROUP:
        break;
    }
    return false;
}

wire::WireType wire_of(D::Type type)
{
    return wire::WireTypeForFieldType(static_cast<wire::FieldType>(type));
}

/* Goes through a message's fields: calls take(number, wire type) for each, which reads or skips it.
 * false: the bytes are no message, or take said so. */
template <typename T> bool each_field(in *i, size_t len, T take)
{
    i->SetRecursionLimit(PROTO_DEPTH_MAX);
    for (;;) {
        const uint32_t tag = i->ReadTag();
        if (tag == 0) {
            return static_cast<size_t>(i->CurrentPosition()) == len && i->ConsumedEntireMessage();
        }
        if (!take(tag)) {
            return false;
        }
    }
}

/* The scalar of a wrapper, which is zero where it is not on the wire. */
bool take_wrapped(struct slice inner, D::Type type, struct member_value *out)
{
    in i = over(inner);
    const wire::WireType w = wire_of(type);
    *out = {};
    out->text = {"", 0};
    out->kind = w == wire::WIRETYPE_LENGTH_DELIMITED              ? KIND_STRING
                : type == D::TYPE_DOUBLE || type == D::TYPE_FLOAT ? KIND_REAL
                                                                  : KIND_INTEGER;
    return each_field(&i, inner.len, [&](uint32_t tag) {
        if (wire::GetTagFieldNumber(tag) != 1) {
            return wire::SkipField(&i, tag);
        }
        return wire::GetTagWireType(tag) == w && take_scalar(&i, type, out);
    });
}

bool take_timestamp(struct slice inner, struct member_value *out)
{
    struct member_value part[3] = {};
    in i = over(inner);
    const bool good = each_field(&i, inner.len, [&](uint32_t tag) {
        const int number = wire::GetTagFieldNumber(tag);
        if (number != 1 && number != 2) {
            return wire::SkipField(&i, tag);
        }
        return wire::GetTagWireType(tag) == wire::WIRETYPE_VARINT &&
               take_varint(&i, number == 1 ? D::TYPE_INT64 : D::TYPE_INT32, &part[number]);
    });
    const int64_t seconds = part[1].integer;
    const int64_t nanos = part[2].integer;
    out->kind = KIND_HUGE;
    if (seconds > -SECONDS_LIMIT && seconds < SECONDS_LIMIT) {
        out->kind = KIND_MICROS;
        out->integer = seconds * 1000000 + nanos / 1000;
    }
    return good && nanos >= 0 && nanos < NANOS_END;
}

/* A number to its enum's name; false: no such value. */
bool name_value(const struct proto_field *f, struct member_value *v, bool *out_absent)
{
    const auto at =
        std::lower_bound(f->names.begin(), f->names.end(), v->integer,
                         [](const auto &name, int64_t number) { return name.first < number; });
    if (at == f->names.end() || at->first != v->integer) {
        return false;
    }
    v->kind = KIND_STRING;
    v->text = {at->second.data(), at->second.size()};
    *out_absent = at->second.empty();
    return true;
}

struct reading {
    const struct proto_message *m;
    struct members *out;
    uint64_t seen;
    enum members_error error;
    enum member *about;
    const char **text;
};

bool bad(struct reading *r, const struct proto_field *f, enum members_error error, const char *text)
{
    *r->about = f->member;
    *r->text = text;
    r->error = error;
    return false;
}

/* The field's value as it stands on the wire; out_text: why there is none. */
bool take_value(in *i, const struct proto_field *f, struct member_value *v)
{
    struct slice inner;
    switch (f->shape) {
    case PROTO_SCALAR:
        return take_scalar(i, f->type, v);
    case PROTO_WRAPPED:
        return take_bytes(i, &inner) && take_wrapped(inner, f->type, v);
    case PROTO_TIMESTAMP:
        break;
    }
    return take_bytes(i, &inner) && take_timestamp(inner, v);
}

bool take_member(struct reading *r, in *i, const struct proto_field *f, uint32_t tag)
{
    struct member_value *v = &r->out->value[f->member];
    bool absent = false;
    const auto wanted =
        f->shape == PROTO_SCALAR ? wire_of(f->type) : wire::WIRETYPE_LENGTH_DELIMITED;
    if (wire::GetTagWireType(tag) != wanted) {
        return bad(r, f, MEMBERS_MALFORMED, "it is of another type than its schema says");
    }
    if ((r->seen & MEMBER_BIT(f->member)) != 0) {
        return bad(r, f, MEMBERS_TWICE, "it is there twice");
    }
    if ((r->seen & f->siblings) != 0) {
        return bad(r, f, MEMBERS_MALFORMED, "another field of its oneof is there too");
    }
    if (!take_value(i, f, v)) {
        return bad(r, f, MEMBERS_MALFORMED,
                   f->shape == PROTO_SCALAR ? ENDS : "the message in it is cut or malformed");
    }
    if (f->type == D::TYPE_ENUM && !name_value(f, v, &absent)) {
        return bad(r, f, MEMBERS_MALFORMED, "an enum has no value of that number");
    }
    r->seen |= MEMBER_BIT(f->member);
    r->out->present |= absent ? 0 : MEMBER_BIT(f->member);
    if (v->kind == KIND_STRING && v->text.len > 0 &&
        (memchr(v->text.at, 0, v->text.len) != nullptr || !members_utf8(v->text.at, v->text.len))) {
        return bad(r, f, MEMBERS_NOT_UTF8, "it is not UTF-8, or has a zero character");
    }
    return true;
}

const struct proto_field *find_field(const struct proto_message *m, int number)
{
    if (number < PROTO_DIRECT) {
        return m->direct[number] != 0 ? &m->fields[m->direct[number] - 1U] : nullptr;
    }
    for (const struct proto_field &f : m->fields) {
        if (f.number == number) {
            return &f;
        }
    }
    return nullptr;
}

bool is_zero(const struct members *out, enum member m)
{
    const struct member_value *v = &out->value[m];
    return (out->present & MEMBER_BIT(m)) == 0 ||
           (v->kind == KIND_INTEGER ? v->integer == 0 : std::fpclassify(v->real) == FP_ZERO);
}

/* Without presence, a place whose numbers are both zero is none, and one zero of two is a zero. */
void settle_place(const struct proto_message *m, struct members *out)
{
    const uint64_t place = MEMBER_BIT(MEMBER_LAT) | MEMBER_BIT(MEMBER_LON);
    if ((m->implicit & place) != place) {
        return;
    }
    const bool none = is_zero(out, MEMBER_LAT) && is_zero(out, MEMBER_LON);
    for (const enum member k : {MEMBER_LAT, MEMBER_LON}) {
        if (!none && (out->present & MEMBER_BIT(k)) == 0) {
            out->value[k] = {};
            out->value[k].kind = KIND_INTEGER;
        }
    }
    out->present = none ? out->present & ~place : out->present | place;
}

void take_fallbacks(struct reading *r)
{
    for (const struct proto_field &f : r->m->fields) {
        struct member_value *v = &r->out->value[f.member];
        if (f.has_fallback && (r->seen & (MEMBER_BIT(f.member) | f.siblings)) == 0) {
            v->kind = f.fallback_kind;
            v->integer = f.fallback_integer;
            v->real = f.fallback_real;
            v->text = {f.fallback_text.data(), f.fallback_text.size()};
            r->out->present |= MEMBER_BIT(f.member);
        }
    }
    settle_place(r->m, r->out);
}

} // namespace

enum members_error proto_message_find(const struct proto_schema *s, const char *bytes, size_t len,
                                      const struct proto_message **out, size_t *out_len,
                                      const char **out_text)
{
    in i = over({bytes, len});
    uint64_t count = 0;
    const std::vector<const proto_message *> *level = &s->top;
    const struct proto_message *found = s->top[0];
    *out_text = "its list of message indexes is cut, too long, or leads to no message";
    if (!i.ReadVarint64(&count) || wire::ZigZagDecode64(count) < 0 ||
        wire::ZigZagDecode64(count) > PROTO_DEPTH_MAX) {
        return MEMBERS_MALFORMED;
    }
    for (int64_t left = wire::ZigZagDecode64(count); left > 0; left--) {
        uint64_t index = 0;
        if (!i.ReadVarint64(&index) || (index & 1) != 0 || index / 2 >= level->size()) {
            return MEMBERS_MALFORMED;
        }
        found = (*level)[index / 2];
        level = &found->in;
    }
    *out = found;
    *out_len = static_cast<size_t>(i.CurrentPosition());
    return MEMBERS_OK;
}

enum members_error proto_payment_read(const struct proto_message *m, const char *bytes, size_t len,
                                      struct members *out, enum member *out_about,
                                      const char **out_text)
{
    struct reading r = {m, out, 0, MEMBERS_OK, out_about, out_text};
    out->present = 0;
    out->reason_count = 0;
    *out_about = MEMBER_COUNT;
    *out_text = "";
    in i = over({bytes, len});
    const bool good = each_field(&i, len, [&](uint32_t tag) {
        const struct proto_field *f = find_field(m, wire::GetTagFieldNumber(tag));
        return f != nullptr ? take_member(&r, &i, f, tag) : wire::SkipField(&i, tag);
    });
    if (r.error != MEMBERS_OK) {
        return r.error;
    }
    if (!good) {
        *out_text = "it is cut, or has a field that is none, or groups nested too deeply";
        return MEMBERS_MALFORMED;
    }
    take_fallbacks(&r);
    return MEMBERS_OK;
}
