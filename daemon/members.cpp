/* See members.h.  simdjson's On-Demand interface: what one pass over the object finds.
 *
 * The message is copied once, because simdjson reads up to SIMDJSON_PADDING bytes past its end. */
#include "daemon/members.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include <simdjson.h>

namespace od = simdjson::ondemand;

namespace
{

const char *const NAMES[] = {
#define MEMBER_TEXT(name, text) text,
    MEMBER_LIST(MEMBER_TEXT)
#undef MEMBER_TEXT
};

constexpr size_t SLOTS = 256; /* a power of two, at least four times the members */
static_assert(MEMBER_COUNT * 4 <= SLOTS, "the name table is too full");

} // namespace

struct members_reader {
    od::parser parser;
    char *padded = nullptr;
    size_t message_max = 0;
    uint8_t slot[SLOTS] = {}; /* 1 + member by hash of its name, 0 empty */
    uint8_t len[MEMBER_COUNT] = {};
};

namespace
{

size_t name_hash(const char *p, size_t len)
{
    auto first = static_cast<unsigned char>(p[0]);
    auto last = static_cast<unsigned char>(p[len - 1]);
    return (len * 37 + first * 5U + last * 11U) % SLOTS;
}

void fill_slots(struct members_reader *r)
{
    for (size_t m = 0; m < MEMBER_COUNT; m++) {
        r->len[m] = static_cast<uint8_t>(strlen(NAMES[m]));
        size_t at = name_hash(NAMES[m], r->len[m]);
        while (r->slot[at] != 0) {
            at = (at + 1) % SLOTS;
        }
        r->slot[at] = static_cast<uint8_t>(m + 1);
    }
}

enum member find_member(const struct members_reader *r, std::string_view name)
{
    if (name.empty()) {
        return MEMBER_COUNT;
    }
    for (size_t at = name_hash(name.data(), name.size()); r->slot[at] != 0; at = (at + 1) % SLOTS) {
        size_t m = r->slot[at] - 1U;
        if (r->len[m] == name.size() && memcmp(NAMES[m], name.data(), name.size()) == 0) {
            return static_cast<enum member>(m);
        }
    }
    return MEMBER_COUNT;
}

enum members_error fail(simdjson::error_code error, const char **out_text)
{
    *out_text = simdjson::error_message(error);
    return error == simdjson::UTF8_ERROR ? MEMBERS_NOT_UTF8 : MEMBERS_NOT_JSON;
}

/* Bytes before the first quote or backslash, eight at a time; there is one, because simdjson has
 * found the string's end.  Reads up to 7 bytes further: the padding. */
size_t plain_length(const char *p)
{
    constexpr uint64_t ONES = 0x0101010101010101U;
    constexpr uint64_t HIGH = 0x8080808080808080U;
    for (size_t n = 0;; n += 8) {
        uint64_t word = 0;
        memcpy(&word, p + n, sizeof word);
        uint64_t quote = word ^ (ONES * '"');
        uint64_t slash = word ^ (ONES * '\\');
        if ((((quote - ONES) & ~quote) | ((slash - ONES) & ~slash)) & HIGH) {
            while (p[n] != '"' && p[n] != '\\') {
                n++;
            }
            return n;
        }
    }
}

/* A string without escapes stays where it is, in the padded copy: no zero can be in it, because
 * simdjson refuses control characters. */
enum members_error take_string(od::value &v, struct slice *out, const char **out_text)
{
    od::raw_json_string raw;
    if (v.get_raw_json_string().get(raw) == simdjson::SUCCESS) {
        size_t len = plain_length(raw.raw());
        if (raw.raw()[len] == '"') {
            *out = {raw.raw(), len};
            return MEMBERS_OK;
        }
    }
    std::string_view s;
    if (auto error = v.get_string().get(s)) {
        return fail(error, out_text);
    }
    if (memchr(s.data(), 0, s.size()) != nullptr) {
        *out_text = "a zero character inside a string";
        return MEMBERS_NOT_UTF8;
    }
    out->at = s.data();
    out->len = s.size();
    return MEMBERS_OK;
}

/* Whether a token that simdjson could not make a number of is one by JSON's grammar. */
bool is_number(std::string_view t)
{
    size_t i = 0;
    auto digits = [&]() {
        size_t start = i;
        while (i < t.size() && t[i] >= '0' && t[i] <= '9') {
            i++;
        }
        return i - start;
    };
    i += i < t.size() && t[i] == '-';
    size_t start = i;
    size_t whole = digits();
    if (whole == 0 || (whole > 1 && t[start] == '0')) {
        return false;
    }
    if (i < t.size() && t[i] == '.') {
        i++;
        if (digits() == 0) {
            return false;
        }
    }
    if (i < t.size() && (t[i] == 'e' || t[i] == 'E')) {
        i++;
        i += i < t.size() && (t[i] == '+' || t[i] == '-');
        if (digits() == 0) {
            return false;
        }
    }
    while (i < t.size() && (t[i] == ' ' || t[i] == '\t' || t[i] == '\n' || t[i] == '\r')) {
        i++;
    }
    return i == t.size();
}

enum members_error take_number(od::value &v, struct member_value *out, const char **out_text)
{
    std::string_view token = v.raw_json_token();
    od::number n;
    if (auto error = v.get_number().get(n)) {
        out->kind = KIND_HUGE;
        return is_number(token) ? MEMBERS_OK : fail(error, out_text);
    }
    switch (n.get_number_type()) {
    case od::number_type::signed_integer:
        out->kind = KIND_INTEGER;
        out->integer = n.get_int64();
        break;
    case od::number_type::unsigned_integer: /* above INT64_MAX */
        out->kind = KIND_HUGE;
        break;
    case od::number_type::floating_point_number:
        out->kind = KIND_REAL;
        out->real = n.get_double();
        break;
    }
    return MEMBERS_OK;
}

/* Fills *out; *out_null: the value is null, which counts as absent. */
enum members_error take_value(od::value &v, struct member_value *out, bool *out_null,
                              const char **out_text)
{
    od::json_type type;
    bool yes = false;
    *out_null = false;
    if (auto error = v.type().get(type)) {
        return fail(error, out_text);
    }
    switch (type) {
    case od::json_type::string:
        out->kind = KIND_STRING;
        return take_string(v, &out->text, out_text);
    case od::json_type::number:
        return take_number(v, out, out_text);
    case od::json_type::boolean:
        if (auto error = v.get_bool().get(yes)) {
            return fail(error, out_text);
        }
        out->kind = KIND_BOOL;
        out->integer = yes;
        return MEMBERS_OK;
    case od::json_type::null:
        if (v.is_null().get(yes) || !yes) {
            *out_text = "a value that begins with n and is not null";
            return MEMBERS_NOT_JSON;
        }
        *out_null = true;
        return MEMBERS_OK;
    case od::json_type::object:
    case od::json_type::array:
        break;
    }
    out->kind = KIND_OTHER;
    return MEMBERS_OK;
}

enum members_error take_reason(od::object object, struct member_reason *out, const char **out_text)
{
    unsigned seen = 0;
    for (auto item : object) {
        std::string_view name;
        od::value v;
        if (item.unescaped_key().get(name) || item.value().get(v)) {
            *out_text = "broken object in reasons";
            return MEMBERS_NOT_JSON;
        }
        unsigned bit = name == "group" ? 1U : name == "weight" ? 2U : name == "text" ? 4U : 0U;
        if (bit == 0) {
            continue;
        }
        struct member_value value = {};
        bool null = false;
        if (auto error = take_value(v, &value, &null, out_text)) {
            return error;
        }
        bool number = !null && (value.kind == KIND_REAL || value.kind == KIND_INTEGER);
        bool fits = bit == 2 ? number : !null && value.kind == KIND_STRING;
        if (!fits || (seen & bit) != 0) {
            return MEMBERS_BAD_REASONS;
        }
        seen |= bit;
        if (bit == 2) {
            out->weight = value.kind == KIND_REAL ? value.real : static_cast<double>(value.integer);
        } else {
            (bit == 1 ? out->group : out->text) = value.text;
        }
    }
    return seen == 7 ? MEMBERS_OK : MEMBERS_BAD_REASONS;
}

enum members_error take_reasons(od::value &v, struct members *out, const char **out_text)
{
    od::array array;
    if (v.get_array().get(array)) {
        return MEMBERS_BAD_REASONS;
    }
    for (auto item : array) {
        od::object object;
        if (auto error = item.get_object().get(object)) {
            return error == simdjson::INCORRECT_TYPE ? MEMBERS_BAD_REASONS : fail(error, out_text);
        }
        if (out->reason_count == MEMBERS_REASONS_MAX) {
            return MEMBERS_BAD_REASONS;
        }
        if (auto error = take_reason(object, &out->reason[out->reason_count++], out_text)) {
            return error;
        }
    }
    return MEMBERS_OK;
}

enum members_error take_member(enum member m, od::value &v, struct members *out,
                               const char **out_text)
{
    bool null = false;
    struct member_value *value = &out->value[m];
    if (auto error = take_value(v, value, &null, out_text)) {
        return error;
    }
    if (m == MEMBER_REASONS && !null) {
        if (value->kind != KIND_OTHER) {
            return MEMBERS_BAD_REASONS;
        }
        if (auto error = take_reasons(v, out, out_text)) {
            return error;
        }
    }
    out->present |= null ? 0 : MEMBER_BIT(m);
    return MEMBERS_OK;
}

/* A member's name, in place where it has no escapes. */
simdjson::error_code take_name(od::field &field, std::string_view *out)
{
    od::raw_json_string raw = field.key();
    size_t len = plain_length(raw.raw());
    if (raw.raw()[len] == '"') {
        *out = {raw.raw(), len};
        return simdjson::SUCCESS;
    }
    return field.unescaped_key().get(*out);
}

enum members_error read_object(const struct members_reader *r, od::object object, uint64_t named,
                               struct members *out, enum member *out_member, const char **out_text)
{
    uint64_t seen = 0;
    for (auto item : object) {
        std::string_view name;
        if (auto error = item.error()) {
            return fail(error, out_text);
        }
        od::field &&field = std::move(item).value_unsafe(); /* not a copy: it stalls 10 ns */
        if (auto error = take_name(field, &name)) {
            return fail(error, out_text);
        }
        enum member m = find_member(r, name);
        if (m == MEMBER_COUNT || (named & MEMBER_BIT(m)) == 0) {
            continue;
        }
        *out_member = m;
        if ((seen & MEMBER_BIT(m)) != 0) {
            return MEMBERS_TWICE;
        }
        seen |= MEMBER_BIT(m);
        if (auto error = take_member(m, field.value(), out, out_text)) {
            return error;
        }
    }
    *out_member = MEMBER_COUNT;
    return MEMBERS_OK;
}

} // namespace

struct members_reader *members_create(size_t message_max)
{
    auto *r = new (std::nothrow) members_reader;
    if (r == nullptr) {
        return nullptr;
    }
    r->message_max = message_max;
    r->padded = static_cast<char *>(calloc(1, message_max + simdjson::SIMDJSON_PADDING));
    if (r->padded == nullptr || r->parser.allocate(message_max) != simdjson::SUCCESS) {
        members_free(r);
        return nullptr;
    }
    fill_slots(r);
    return r;
}

void members_free(struct members_reader *r)
{
    if (r != nullptr) {
        free(r->padded);
        delete r;
    }
}

enum members_error members_read(struct members_reader *r, const char *json, size_t len,
                                uint64_t named, struct members *out, enum member *out_member,
                                const char **out_text)
{
    *out_member = MEMBER_COUNT;
    *out_text = "";
    out->present = 0;
    out->reason_count = 0;
    if (len > r->message_max) {
        return MEMBERS_TOO_LARGE;
    }
    memcpy(r->padded, json, len);
    memset(r->padded + len, ' ', simdjson::SIMDJSON_PADDING);
    od::document document;
    od::object object;
    auto error = r->parser.iterate(r->padded, len, len + simdjson::SIMDJSON_PADDING).get(document);
    if (error == simdjson::SUCCESS) {
        error = document.get_object().get(object);
    }
    if (error != simdjson::SUCCESS) {
        return fail(error, out_text);
    }
    if (auto bad = read_object(r, object, named, out, out_member, out_text)) {
        return bad;
    }
    /* There is no location once the last token has been read. */
    if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) {
        *out_text = "bytes after the object";
        return MEMBERS_NOT_JSON;
    }
    return MEMBERS_OK;
}

const char *member_name(enum member m)
{
    return m < MEMBER_COUNT ? NAMES[m] : "message";
}

bool members_utf8(const char *bytes, size_t len)
{
    return simdjson::validate_utf8(bytes, len);
}
