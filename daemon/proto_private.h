/* The inside of proto_*.cpp: what a schema is compiled to. */
#ifndef FD_DAEMON_PROTO_PRIVATE_H
#define FD_DAEMON_PROTO_PRIVATE_H

#include "daemon/proto.h"

#ifdef __cplusplus

#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/descriptor.h>

enum proto_shape {
    PROTO_SCALAR,
    PROTO_WRAPPED,  /* a message whose field 1 is the scalar */
    PROTO_TIMESTAMP /* google.protobuf.Timestamp */
};

/* A field that is a member of ours. */
struct proto_field {
    int number = 0;
    enum member member = MEMBER_COUNT;
    enum proto_shape shape = PROTO_SCALAR;
    google::protobuf::FieldDescriptor::Type type = google::protobuf::FieldDescriptor::TYPE_INT64;
    bool implicit = false;                          /* absent on the wire means zero */
    uint64_t siblings = 0;                          /* MEMBER_BITs of the others of its oneof */
    std::vector<std::pair<int, std::string>> names; /* of an enum, by number; "": as if absent */
    bool has_fallback = false;                      /* of one that is not on the wire: */
    enum member_kind fallback_kind = KIND_STRING;
    int64_t fallback_integer = 0;
    double fallback_real = 0;
    std::string fallback_text;
};

#define PROTO_DIRECT 64 /* numbers that are found without a search */

struct proto_message {
    std::string unfit;                     /* "": it fits */
    std::vector<const proto_message *> in; /* messages declared in it, in order */
    std::vector<proto_field> fields;
    uint8_t direct[PROTO_DIRECT] = {}; /* 1 + place in fields by number */
    uint64_t implicit = 0;             /* MEMBER_BITs of the fields without presence */
};

struct proto_schema {
    std::vector<proto_message> messages; /* never grows after the table is made: pointers hold */
    std::vector<const proto_message *> top;
};

#endif
#endif
