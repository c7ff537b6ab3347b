/* A schema's text to tables: libprotobuf's parser and pool check it, and are gone afterwards.  See
 * proto.h. */
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdarg>
#include <cstring>
#include <new>

#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

extern "C" {
#include "base/err.h"
}
#include "daemon/proto_private.h"
#include "daemon/schema_fields.h"

namespace pb = google::protobuf;

namespace
{

#define ROOT_NAME "(the schema)" /* of the file, which has none */
#define BRACKETS_MAX 100         /* in brackets: libprotobuf has no bound for options */
#define ENUM_VALUES_MAX 4096

/* The first complaint of parser and pool. */
class complaints : public pb::io::ErrorCollector, public pb::DescriptorPool::ErrorCollector
{
  public:
    std::string text;
    void AddError(int line, int column, const std::string &message) override
    {
        (void)column;
        keep("line " + std::to_string(line + 1) + ": " + message);
    }
    void AddError(const std::string &file, const std::string &element, const pb::Message *proto,
                  ErrorLocation location, const std::string &message) override
    {
        (void)file;
        (void)proto;
        (void)location;
        keep(element + ": " + message);
    }

  private:
    void keep(const std::string &more)
    {
        if (text.empty()) {
            text = more;
        }
    }
};

struct building {
    pb::DescriptorPool pool{pb::DescriptorPool::generated_pool()}; /* google/protobuf/... */
    const struct schema_file *files;
    size_t count;
    size_t left; /* files that may still be built */
    complaints said;
};

enum err mismatch(struct errmsg *e, const std::string &text)
{
    return err_set(e, ERR_MISMATCH, "%.180s", text.c_str());
}

enum err build(struct building *b, const std::string &name, const char *text, size_t len, int depth,
               const pb::FileDescriptor **out, struct errmsg *e);

/* Files that registries have themselves, so that no reference names them.  Their types stay unknown
 * here: none is read, and fields of them are skipped. */
bool is_builtin(const std::string &name)
{
    return name.rfind("google/type/", 0) == 0 || name.rfind("confluent/", 0) == 0;
}

/* Has what a file imports in the pool. */
enum err build_imports(struct building *b, const pb::FileDescriptorProto &file, int depth,
                       struct errmsg *e)
{
    for (const std::string &name : file.dependency()) {
        const struct schema_file *end = b->files + b->count;
        const struct schema_file *f =
            std::find_if(b->files, end, [&](const schema_file &x) { return name == x.name; });
        const pb::FileDescriptor *made = b->pool.FindFileByName(name);
        if (made != nullptr) {
            continue;
        }
        if (f == end && is_builtin(name)) {
            b->pool.AllowUnknownDependencies();
            continue;
        }
        if (f == end) {
            return mismatch(e, "it imports " + name +
                                   ", which is neither one of google/protobuf nor among its "
                                   "references");
        }
        enum err err = build(b, name, f->text, strlen(f->text), depth + 1, &made, e);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

bool too_deep(const char *text, size_t len)
{
    complaints unheard; /* the parser will say the same */
    pb::io::ArrayInputStream in(text, static_cast<int>(len));
    pb::io::Tokenizer tokens(&in, &unheard);
    int depth = 0;
    while (depth <= BRACKETS_MAX && tokens.Next()) {
        const pb::io::Tokenizer::Token &t = tokens.current();
        if (t.type == pb::io::Tokenizer::TYPE_SYMBOL) {
            depth += strchr("{[(<", t.text[0]) != nullptr   ? 1
                     : strchr("}])>", t.text[0]) != nullptr ? -1
                                                            : 0;
        }
    }
    return depth > BRACKETS_MAX;
}

enum err build(struct building *b, const std::string &name, const char *text, size_t len, int depth,
               const pb::FileDescriptor **out, struct errmsg *e)
{
    pb::FileDescriptorProto file;
    if (too_deep(text, len)) {
        return mismatch(e, "its brackets are nested more than " + std::to_string(BRACKETS_MAX) +
                               " deep");
    }
    if (depth > PROTO_DEPTH_MAX || b->left-- == 0) {
        return mismatch(e, "its imports go round, or are nested more than " +
                               std::to_string(PROTO_DEPTH_MAX) + " deep");
    }
    pb::io::ArrayInputStream in(text, static_cast<int>(len));
    pb::io::Tokenizer tokens(&in, &b->said);
    pb::compiler::Parser parser;
    parser.RecordErrorsTo(&b->said);
    if (!parser.Parse(&tokens, &file) || !b->said.text.empty()) {
        return mismatch(e, (depth > 0 ? name + ": " : "") +
                               "it is no Protobuf schema: " + b->said.text);
    }
    file.set_name(name);
    enum err err = build_imports(b, file, depth, e);
    if (err != ERR_OK) {
        return err;
    }
    *out = b->pool.BuildFileCollectingErrors(file, &b->said);
    return *out != nullptr ? ERR_OK
                           : mismatch(e, (depth > 0 ? name + ": " : "") +
                                             "it is no Protobuf schema: " + b->said.text);
}

/* ---- against the payment's fields ---- */

/* ENTRY_MODE_ of EntryMode: what its values begin with, by the usual style. */
std::string prefix_of(const std::string &name)
{
    std::string out;
    for (size_t i = 0; i < name.size(); i++) {
        const auto c = static_cast<unsigned char>(name[i]);
        if (i > 0 && isupper(c) != 0 && islower(static_cast<unsigned char>(name[i - 1])) != 0) {
            out += '_';
        }
        out += static_cast<char>(toupper(c));
    }
    return out + '_';
}

/* What an enum's value is as text: without the enum's name before it, in small letters where our
 * words are; nothing where it is the zero that means none. */
std::string value_name(const pb::EnumValueDescriptor *v, enum member m)
{
    const std::string prefix = prefix_of(v->type()->name());
    std::string name = v->name();
    if (name.size() > prefix.size() && name.compare(0, prefix.size(), prefix) == 0) {
        name.erase(0, prefix.size());
    }
    if (v->number() == 0 && (name == "UNSPECIFIED" || name == "UNKNOWN")) {
        return "";
    }
    if (m == MEMBER_TYPE || m == MEMBER_CHANNEL || m == MEMBER_ENTRY) {
        std::transform(name.begin(), name.end(), name.begin(),
                       [](unsigned char c) { return static_cast<char>(tolower(c)); });
    }
    return name;
}

/* By number; of several names of one number the first. */
void take_names(const pb::EnumDescriptor *d, struct proto_field *f)
{
    for (int i = 0; i < d->value_count(); i++) {
        f->names.emplace_back(d->value(i)->number(), value_name(d->value(i), f->member));
    }
    std::stable_sort(f->names.begin(), f->names.end(),
                     [](const auto &a, const auto &b) { return a.first < b.first; });
    f->names.erase(std::unique(f->names.begin(), f->names.end(),
                               [](const auto &a, const auto &b) { return a.first == b.first; }),
                   f->names.end());
}

unsigned kind_of(const struct proto_field *f)
{
    using D = pb::FieldDescriptor;
    if (f->shape == PROTO_TIMESTAMP) {
        return TAKES_MICROS;
    }
    switch (f->type) {
    case D::TYPE_INT32:
    case D::TYPE_INT64:
    case D::TYPE_UINT32:
    case D::TYPE_UINT64:
    case D::TYPE_SINT32:
    case D::TYPE_SINT64:
    case D::TYPE_FIXED32:
    case D::TYPE_FIXED64:
    case D::TYPE_SFIXED32:
    case D::TYPE_SFIXED64:
        return TAKES_INTEGER;
    case D::TYPE_FLOAT:
    case D::TYPE_DOUBLE:
        return TAKES_REAL;
    case D::TYPE_STRING:
    case D::TYPE_BYTES:
    case D::TYPE_ENUM:
        return TAKES_TEXT;
    case D::TYPE_BOOL:
    case D::TYPE_GROUP:
    case D::TYPE_MESSAGE:
        break;
    }
    return 0;
}

std::string type_words(const pb::FieldDescriptor *d)
{
    std::string type = d->type_name();
    if (d->type() == pb::FieldDescriptor::TYPE_MESSAGE) {
        type = d->message_type()->full_name();
    }
    return d->is_map() ? "a map" : d->is_repeated() ? "repeated " + type : type;
}

/* The value of a field that is not on the wire, where that is one: proto3's zero without presence,
 * proto2's declared default.  Empty text and a number that may be none of ours (the zero of ts,
 * mcc, lat, lon) are as if absent. */
void take_fallback(const pb::FieldDescriptor *d, struct proto_field *f)
{
    const bool zero = f->implicit && (f->type == pb::FieldDescriptor::TYPE_ENUM ||
                                      (f->member == MEMBER_AMOUNT && kind_of(f) == TAKES_INTEGER));
    if (f->shape != PROTO_SCALAR || (!zero && !d->has_default_value())) {
        return;
    }
    f->has_fallback = true;
    switch (d->cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_INT32:
        f->fallback_integer = d->default_value_int32();
        break;
    case pb::FieldDescriptor::CPPTYPE_INT64:
        f->fallback_integer = d->default_value_int64();
        break;
    case pb::FieldDescriptor::CPPTYPE_UINT32:
        f->fallback_integer = d->default_value_uint32();
        break;
    case pb::FieldDescriptor::CPPTYPE_UINT64:
        f->fallback_integer = static_cast<int64_t>(d->default_value_uint64());
        break;
    case pb::FieldDescriptor::CPPTYPE_FLOAT:
        f->fallback_real = static_cast<double>(d->default_value_float());
        break;
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
        f->fallback_real = d->default_value_double();
        break;
    case pb::FieldDescriptor::CPPTYPE_ENUM:
        f->fallback_text = value_name(d->default_value_enum(), f->member);
        f->has_fallback = !f->fallback_text.empty();
        break;
    case pb::FieldDescriptor::CPPTYPE_STRING:
        f->fallback_text = d->default_value_string();
        break;
    case pb::FieldDescriptor::CPPTYPE_BOOL:
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
        break;
    }
    const unsigned kind = kind_of(f);
    const bool wide = d->cpp_type() == pb::FieldDescriptor::CPPTYPE_UINT64;
    const bool huge =
        kind == TAKES_INTEGER ? wide && f->fallback_integer < 0 : !std::isfinite(f->fallback_real);
    f->fallback_kind = kind == TAKES_TEXT      ? KIND_STRING
                       : huge                  ? KIND_HUGE
                       : kind == TAKES_INTEGER ? KIND_INTEGER
                                               : KIND_REAL;
}

/* Whether a field is one that the member takes; "": yes. */
std::string take_field(const pb::FieldDescriptor *d, struct proto_field *f)
{
    const pb::FieldDescriptor *value = d;
    f->number = d->number();
    f->implicit = !d->has_presence();
    if (d->type() == pb::FieldDescriptor::TYPE_MESSAGE && !d->is_repeated()) {
        const auto known = d->message_type()->well_known_type();
        if (known == pb::Descriptor::WELLKNOWNTYPE_TIMESTAMP) {
            f->shape = PROTO_TIMESTAMP;
        } else if (known >= pb::Descriptor::WELLKNOWNTYPE_DOUBLEVALUE &&
                   known <= pb::Descriptor::WELLKNOWNTYPE_BOOLVALUE) {
            f->shape = PROTO_WRAPPED;
            value = d->message_type()->FindFieldByNumber(1);
        }
    }
    f->type = value != nullptr && !value->is_repeated() ? value->type() : d->type();
    const std::string name = member_name(f->member);
    if (d->is_repeated() || (kind_of(f) & schema_takes(f->member)) == 0) {
        return name + " is " + type_words(d) + " there, and must be " +
               (f->member == MEMBER_AMOUNT ? "an integer of minor units, or text such as 57.16"
                                           : schema_takes_words(f->member));
    }
    if (f->implicit && f->member == MEMBER_EXPONENT) {
        return name + " cannot be told to be absent there, and must be optional";
    }
    if (f->type == pb::FieldDescriptor::TYPE_ENUM) {
        if (value->enum_type()->value_count() > ENUM_VALUES_MAX) {
            return name + " is an enum of more than " + std::to_string(ENUM_VALUES_MAX) +
                   " values there";
        }
        take_names(value->enum_type(), f);
    }
    take_fallback(d, f);
    if (f->fallback_text.find('\0') != std::string::npos ||
        !members_utf8(f->fallback_text.data(), f->fallback_text.size())) {
        return name + " has a default that is not UTF-8, or has a zero character";
    }
    return "";
}

uint64_t siblings_of(const pb::FieldDescriptor *d)
{
    uint64_t bits = 0;
    const pb::OneofDescriptor *one = d->real_containing_oneof();
    for (int i = 0; one != nullptr && i < one->field_count(); i++) {
        const std::string &name = one->field(i)->name();
        const enum member m = schema_member(name.data(), name.size());
        bits |= m != MEMBER_COUNT && one->field(i) != d ? MEMBER_BIT(m) : 0;
    }
    return bits;
}

/* Fills one message's table; unfit says why there is none. */
void resolve(const pb::Descriptor *d, struct proto_message *m)
{
    uint64_t present = 0;
    std::string bad;
    for (int i = 0; i < d->field_count() && bad.empty(); i++) {
        struct proto_field f;
        const std::string &name = d->field(i)->name();
        f.member = schema_member(name.data(), name.size());
        if (f.member == MEMBER_COUNT) {
            continue;
        }
        bad = take_field(d->field(i), &f);
        f.siblings = siblings_of(d->field(i));
        present |= MEMBER_BIT(f.member);
        m->implicit |= f.implicit ? MEMBER_BIT(f.member) : 0;
        m->fields.push_back(f);
        if (f.number < PROTO_DIRECT) {
            m->direct[f.number] = static_cast<uint8_t>(m->fields.size());
        }
    }
    const enum member lacks = schema_lacks(present);
    if (bad.empty() && lacks != MEMBER_COUNT) {
        bad = std::string(member_name(lacks)) + " is missing there, or has another name";
    }
    if (!bad.empty()) {
        m->unfit = "message " + d->full_name() + ": " + bad;
        m->fields.clear();
    }
}

size_t count_messages(const pb::Descriptor *d)
{
    size_t n = 1;
    for (int i = 0; i < d->nested_type_count(); i++) {
        n += count_messages(d->nested_type(i));
    }
    return n;
}

const struct proto_message *add_message(struct proto_schema *s, const pb::Descriptor *d)
{
    s->messages.emplace_back(); /* within what was reserved */
    struct proto_message *m = &s->messages.back();
    resolve(d, m);
    for (int i = 0; i < d->nested_type_count(); i++) {
        m->in.push_back(add_message(s, d->nested_type(i)));
    }
    return m;
}

enum err tabulate(const pb::FileDescriptor *file, struct proto_schema *s, struct errmsg *e)
{
    size_t n = 0;
    for (int i = 0; i < file->message_type_count(); i++) {
        n += count_messages(file->message_type(i));
    }
    if (n == 0 || n > PROTO_MESSAGES_MAX) {
        return mismatch(e, "it has " + std::to_string(n) + " messages, and must have 1 to " +
                               std::to_string(PROTO_MESSAGES_MAX));
    }
    s->messages.reserve(n);
    for (int i = 0; i < file->message_type_count(); i++) {
        s->top.push_back(add_message(s, file->message_type(i)));
    }
    const bool fits = std::any_of(s->messages.begin(), s->messages.end(),
                                  [](const proto_message &m) { return m.unfit.empty(); });
    return fits ? ERR_OK : mismatch(e, s->top[0]->unfit);
}

} // namespace

enum err proto_schema_create(const char *text, size_t len, const struct schema_file *files,
                             size_t count, struct proto_schema **out, struct errmsg *e)
{
    struct proto_schema *s = nullptr;
    enum err err = ERR_OK;
    try {
        const pb::LogSilencer quiet; /* its warnings go to standard error */
        const pb::FileDescriptor *file = nullptr;
        struct building b;
        b.files = files;
        b.count = count;
        b.left = count + 1;
        err = build(&b, ROOT_NAME, text, len, 0, &file, e);
        if (err == ERR_OK) {
            s = new proto_schema;
            err = tabulate(file, s, e);
        }
    } catch (const std::bad_alloc &) {
        err = err_set(e, ERR_NOMEM, "no memory for a schema");
    } catch (const std::exception &x) {
        err = err_set(e, ERR_MISMATCH, "libprotobuf refuses it: %.120s", x.what());
    }
    if (err != ERR_OK) {
        proto_schema_free(s);
        return err;
    }
    *out = s;
    return ERR_OK;
}

void proto_schema_free(struct proto_schema *s)
{
    delete s;
}

const char *proto_message_unfit(const struct proto_message *m)
{
    return m->unfit.empty() ? nullptr : m->unfit.c_str();
}
