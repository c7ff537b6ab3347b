#include "tests/support/proto_encode.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

namespace pb = google::protobuf;

namespace
{

[[noreturn]] void end(const char *what, const char *about)
{
    fprintf(stderr, "libprotobuf does not take the %s: %s\n", what, about);
    abort();
}

struct made {
    pb::DescriptorPool pool{pb::DescriptorPool::generated_pool()};
    pb::DynamicMessageFactory factory{&pool};
    std::unique_ptr<pb::Message> message;
};

void make(struct made *m, const char *schema, const char *type)
{
    pb::FileDescriptorProto file;
    pb::io::ArrayInputStream in(schema, static_cast<int>(std::char_traits<char>::length(schema)));
    pb::io::Tokenizer tokens(&in, nullptr);
    pb::compiler::Parser parser;
    if (!parser.Parse(&tokens, &file)) {
        end("schema", schema);
    }
    file.set_name("test.proto");
    if (m->pool.BuildFile(file) == nullptr) {
        end("schema", schema);
    }
    const pb::Descriptor *d = m->pool.FindMessageTypeByName(type);
    if (d == nullptr) {
        end("type", type);
    }
    m->message.reset(m->factory.GetPrototype(d)->New());
}

} // namespace

size_t proto_encode(const char *schema, const char *type, const char *text, char *out, size_t cap)
{
    struct made m;
    make(&m, schema, type);
    if (!pb::TextFormat::ParseFromString(text, m.message.get())) {
        end("text", text);
    }
    const size_t len = m.message->ByteSizeLong();
    if (len > cap || !m.message->SerializePartialToArray(out, static_cast<int>(cap))) {
        end("buffer for", text);
    }
    return len;
}

const char *proto_print(const char *schema, const char *type, const char *bytes, size_t len)
{
    static std::string line;
    struct made m;
    make(&m, schema, type);
    line.clear();
    pb::TextFormat::Printer printer;
    printer.SetSingleLineMode(true);
    if (!m.message->ParseFromArray(bytes, static_cast<int>(len)) ||
        !printer.PrintToString(*m.message, &line)) {
        return "";
    }
    line.resize(line.empty() ? 0 : line.size() - 1); /* a space at its end */
    return line.c_str();
}
