/* Protobuf: what libprotobuf itself writes under other schemas is read; what does not fit is
 * refused with the field named; no bytes do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "daemon/encode.h"
#include "daemon/proto.h"
#include "tests/support/allocations.h"
#include "tests/support/proto_encode.h"

#define TS INT64_C(1775046605123000) /* 2026-04-01T12:30:05.123Z */

static char buffer[4096];

static bool same(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

/* ---- schemas ---- */

#define PROTO2 "syntax = \"proto2\";\n"
#define PROTO3 "syntax = \"proto3\";\n"
#define REST "string type = 4; int64 amount = 5; string currency = 6;"
#define T(fields) "message T { string id = 1; int64 ts = 2; string card = 3; " REST fields "}"
#define GOOGLE(file) "import \"google/protobuf/" file ".proto\";\n"

static void refused_with(const char *text, const struct schema_file *files, size_t count,
                         const char *why)
{
    struct proto_schema *s = NULL;
    struct errmsg e = {""};
    assert_int_equal(proto_schema_create(text, strlen(text), files, count, &s, &e), ERR_MISMATCH);
    if (strstr(e.text, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\" of %s", e.text, why, text);
    }
    assert_null(s);
}

static void refused(const char *text, const char *why)
{
    refused_with(text, NULL, 0, why);
}

static struct proto_schema *accepted_with(const char *text, const struct schema_file *files,
                                          size_t count)
{
    struct proto_schema *s = NULL;
    struct errmsg e = {""};
    if (proto_schema_create(text, strlen(text), files, count, &s, &e) != ERR_OK) {
        fail_msg("refused: %s: %s", e.text, text);
    }
    return s;
}

static struct proto_schema *accepted(const char *text)
{
    return accepted_with(text, NULL, 0);
}

static void test_schema_that_does_not_fit_names_the_field(void **state)
{
    (void)state;
    refused(PROTO3 "package bank; message T { string id = 1; int64 ts = 2; string pan = 3; " REST
                   "}",
            "message bank.T: card is missing there, or has another name");
    refused(PROTO3 T("double exponent = 7;"), "exponent is double there, and must be an integer");
    refused(PROTO3 T("int32 exponent = 7;"),
            "exponent cannot be told to be absent there, and must be optional");
    refused(PROTO3 T("repeated string merchant = 7;"),
            "merchant is repeated string there, and must be text");
    refused(PROTO3 T("map<string, string> ip = 7;"), "ip is a map there");
    refused(PROTO3 T("bool mcc = 7;"), "mcc is bool there, and must be an integer or text");
    refused(PROTO3 T("M merchant = 7;") "message M { string name = 1; }", "merchant is M there");
    refused(PROTO3 GOOGLE("wrappers") T("google.protobuf.BoolValue device = 7;"),
            "device is google.protobuf.BoolValue there");
    refused(PROTO3 GOOGLE("wrappers") T("google.protobuf.StringValue lat = 7;"),
            "lat is google.protobuf.StringValue there, and must be a number");
    refused(PROTO3 GOOGLE("timestamp") T("google.protobuf.Timestamp mcc = 7;"),
            "mcc is google.protobuf.Timestamp there");
    refused(PROTO3 "message T { string id = 1; int64 ts = 2; string card = 3; string type = 4; "
                   "double amount = 5; string currency = 6; }",
            "amount is double there, and must be an integer of minor units, or text such as 57.16");
    refused(PROTO2 "message T { optional string id = 1; optional group Card = 3 {} }",
            "card is group there, and must be text");
    refused(PROTO2 "message T { optional string id = 1 [default = \"\\001\\000\"]; }",
            "id has a default that is not UTF-8");
}

static void test_schema_that_is_none_is_refused(void **state)
{
    char deep[8192] =
        PROTO3 "import \"google/protobuf/descriptor.proto\"; message A {} option (x) = {";
    (void)state;
    refused("", "it has 0 messages");
    refused("{\"type\":\"record\"}", "it is no Protobuf schema: line 1");
    refused(PROTO3 "message T { string id = 1; string id = 2; }", "already defined");
    refused(PROTO3 "message T { Other x = 1; }", "\"Other\" is not defined");
    refused(PROTO3 "enum E { A = 0; }", "it has 0 messages");
    refused(PROTO3 "import \"com/bank/card.proto\";\n" T(""), "it imports com/bank/card.proto");
    refused("syntax = \"proto9\"; " T(""), "it is no Protobuf schema");
    for (int i = 0; i < 200; i++) {
        strcat(deep, "a{"); /* NOLINT: 400 of 8,192 bytes */
    }
    refused(deep, "brackets are nested more than 100 deep");
    deep[0] = '\0';
    for (int i = 0; i < 60; i++) {
        strcat(deep, "message M{"); /* NOLINT: 600 bytes */
    }
    refused(deep, "it is no Protobuf schema");
}

static void test_imports(void **state)
{
    static const struct schema_file FILES[] = {
        {"com/bank/card.proto", PROTO3 "package com.bank; import \"com/bank/base.proto\"; message "
                                       "Card { Base b = 1; enum Kind { CASH = 0; CHECK = 1; } }"},
        {"com/bank/base.proto", PROTO3 "package com.bank; message Base {}"},
        {"round.proto", PROTO3 "import \"round.proto\"; message R {}"},
        {"round1.proto", PROTO3 "import \"round2.proto\"; message R {}"},
        {"round2.proto", PROTO3 "import \"round1.proto\"; message R {}"},
        {"bad.proto", "message {"},
    };
    (void)state;
    struct proto_schema *s =
        accepted_with(PROTO3 "import \"com/bank/card.proto\";\n" GOOGLE("any")
                          T("com.bank.Card.Kind terminal = 7; com.bank.Card x = 8; "
                            "google.protobuf.Any y = 9;"),
                      FILES, 6);
    proto_schema_free(s);
    /* what registries have themselves is no reference */
    s = accepted(PROTO3 "import \"google/type/date.proto\"; import \"confluent/meta.proto\";\n" T(
        "google.type.Date due = 7; string note = 8 [(confluent.field_meta).doc = \"n\"];"));
    proto_schema_free(s);
    refused(PROTO3 "import \"google/type/money.proto\"; message T { string id = 1; int64 ts = 2; "
                   "string card = 3; string type = 4; google.type.Money amount = 5; "
                   "string currency = 6; }",
            "amount is google.type.Money there, and must be an integer of minor units, or text");
    refused(PROTO3 "import \"confluent/type/decimal.proto\"; message T { string id = 1; "
                   "int64 ts = 2; string card = 3; string type = 4; "
                   "confluent.type.Decimal amount = 5; string currency = 6; }",
            "amount is confluent.type.Decimal there, and must be an integer of minor units");
    refused_with(PROTO3 "import \"com/bank/card.proto\";\n" T(""), FILES, 1,
                 "it imports com/bank/base.proto");
    refused_with(PROTO3 "import \"round.proto\";\n" T(""), FILES, 6, "its imports go round");
    refused_with(PROTO3 "import \"round1.proto\";\n" T(""), FILES, 6, "its imports go round");
    refused_with(PROTO3 "import \"bad.proto\";\n" T(""), FILES, 6, "bad.proto: it is no Protobuf");
}

/* ---- what libprotobuf writes ---- */

static const struct proto_message *message(const struct proto_schema *s, const char *indexes,
                                           size_t len)
{
    const struct proto_message *m = NULL;
    const char *why = "";
    size_t begin = 0;
    assert_int_equal(proto_message_find(s, indexes, len, &m, &begin, &why), MEMBERS_OK);
    assert_int_equal(begin, len);
    return m;
}

static enum members_error read_bytes(const struct proto_schema *s, size_t len, struct members *m,
                                     enum member *about, const char **why)
{
    return proto_payment_read(message(s, "\0", 1), buffer, len, m, about, why);
}

/* Encodes, reads; the schema stays, because text points into it. */
static struct proto_schema *read_text(const char *schema, const char *text, struct members *m,
                                      size_t *out_len)
{
    enum member about = MEMBER_COUNT;
    const char *why = "";
    struct proto_schema *s = accepted(schema);
    *out_len = proto_encode(schema, "T", text, buffer, sizeof buffer);
    const enum members_error error = read_bytes(s, *out_len, m, &about, &why);
    if (error != MEMBERS_OK) {
        fail_msg("%d: %s: %s", error, member_name(about), why);
    }
    return s;
}

static bool has(const struct members *m, enum member k)
{
    return (m->present & MEMBER_BIT(k)) != 0;
}

/* Other numbers, wrappers, an enum, fields of others in between. */
static const char OTHER[] = PROTO3 GOOGLE("timestamp") GOOGLE(
    "wrappers") "message T {"
                "  message Tree { double n = 1; repeated Tree kids = 2; map<string, bytes> tags = "
                "3; }"
                "  enum EntryMode { ENTRY_MODE_UNSPECIFIED = 0; ENTRY_MODE_CHIP = 1; "
                "ENTRY_MODE_MANUAL = 70; }"
                "  enum Country { COUNTRY_UNSPECIFIED = 0; COUNTRY_DE = 1; }"
                "  google.protobuf.DoubleValue lon = 1000; Tree extra = 3; sint32 amount = 2;"
                "  google.protobuf.Timestamp ts = 18; repeated int32 items = 5; bytes card = 100;"
                "  enum Type { purchase = 0; cash = 1; } Type type = 63; EntryMode entry = 64;"
                "  oneof who { string merchant = 30; string terminal = 31; }"
                "  google.protobuf.Int64Value lat = 9; google.protobuf.StringValue mcc = 12;"
                "  string id = 536870911; string currency = 29; Country country = 40; fixed64 seal "
                "= 41;"
                "  optional uint32 exponent = 42; string device = 43; }";

static const char OTHER_TEXT[] =
    "lon { value: -13.25 } extra { n: 1e300 kids { n: 2 kids {} } kids {} tags { key: 'a' value: "
    "'b' } } amount: 5716 ts { seconds: 1775046605 nanos: 123000999 } items: [1, 2, 3] card: "
    "'c\\303\\244' type: cash entry: ENTRY_MODE_MANUAL terminal: 't7' lat { value: 52 } mcc { "
    "value: '5411' } id: 't1' currency: 'USD' country: COUNTRY_DE seal: 7 exponent: 0";

static void test_read_finds_by_name_and_skips(void **state)
{
    struct members m;
    size_t len = 0;
    (void)state;
    struct proto_schema *s = read_text(OTHER, OTHER_TEXT, &m, &len);
    assert_true(same(m.value[MEMBER_ID].text, "t1"));
    assert_true(same(m.value[MEMBER_CARD].text, "c\xc3\xa4"));
    assert_true(same(m.value[MEMBER_TYPE].text, "cash"));
    assert_true(same(m.value[MEMBER_ENTRY].text, "manual"));
    assert_true(same(m.value[MEMBER_COUNTRY].text, "DE"));
    assert_true(same(m.value[MEMBER_TERMINAL].text, "t7"));
    assert_true(same(m.value[MEMBER_MCC].text, "5411"));
    assert_true(same(m.value[MEMBER_CURRENCY].text, "USD"));
    assert_int_equal(m.value[MEMBER_AMOUNT].integer, 5716);
    assert_int_equal(m.value[MEMBER_TS].kind, KIND_MICROS);
    assert_int_equal(m.value[MEMBER_TS].integer, TS);
    assert_int_equal(m.value[MEMBER_LAT].integer, 52);
    assert_true(has(&m, MEMBER_EXPONENT) && m.value[MEMBER_EXPONENT].integer == 0);
    assert_true(m.value[MEMBER_LON].real < -13.24 && m.value[MEMBER_LON].real > -13.26);
    assert_false(has(&m, MEMBER_MERCHANT) || has(&m, MEMBER_DEVICE) || has(&m, MEMBER_CHANNEL));
    proto_schema_free(s);
}

static void test_read_of_what_is_not_on_the_wire(void **state)
{
    static const char SMALL[] =
        PROTO3 "enum Kind { PURCHASE = 0; CASH = 1; } message T { string id = 1; int64 ts = 2; "
               "string card = 3; Kind type = 4; int64 amount = 5; string currency = 6; "
               "float lat = 7; double lon = 8; int32 mcc = 9; optional int64 exponent = 10; }";
    static const char OLD[] = PROTO2
        "message T { required string id = 1; optional sfixed64 ts = 2; optional string card = 3; "
        "enum K { check = 3; } optional K type = 4; optional uint64 amount = 5 [default = 12]; "
        "optional string currency = 6 [default = \"EUR\"]; optional double lat = 7; "
        "optional fixed32 lon = 8; }";
    struct members m;
    size_t len = 0;
    (void)state;
    /* zeros of proto3 are not sent, and are zeros; a place of two zeros is none */
    struct proto_schema *s = read_text(SMALL, "id: 'a' card: 'c' currency: 'EUR'", &m, &len);
    assert_true(has(&m, MEMBER_AMOUNT) && m.value[MEMBER_AMOUNT].integer == 0);
    assert_true(has(&m, MEMBER_TYPE) && same(m.value[MEMBER_TYPE].text, "purchase"));
    assert_false(has(&m, MEMBER_TS) || has(&m, MEMBER_LAT) || has(&m, MEMBER_LON) ||
                 has(&m, MEMBER_MCC) || has(&m, MEMBER_EXPONENT));
    proto_schema_free(s);
    s = read_text(SMALL, "id: 'a' lon: 7.5", &m, &len);
    assert_true(has(&m, MEMBER_LAT) && has(&m, MEMBER_LON) && m.value[MEMBER_LAT].integer == 0);
    assert_int_equal(m.value[MEMBER_LAT].kind, KIND_INTEGER);
    assert_false(has(&m, MEMBER_CARD) || has(&m, MEMBER_CURRENCY));
    proto_schema_free(s);
    /* proto2 tells what is absent, but where the schema declares a value */
    s = read_text(OLD, "id: 'a' ts: 7 lat: 0", &m, &len);
    assert_true(has(&m, MEMBER_AMOUNT) && m.value[MEMBER_AMOUNT].integer == 12);
    assert_true(same(m.value[MEMBER_CURRENCY].text, "EUR"));
    assert_true(has(&m, MEMBER_LAT) && m.value[MEMBER_LAT].kind == KIND_REAL);
    assert_false(has(&m, MEMBER_TYPE) || has(&m, MEMBER_LON) || has(&m, MEMBER_CARD));
    proto_schema_free(s);
    /* an empty wrapper is a zero that is there, an unspecified value of an enum is none */
    s = read_text(OTHER, "lat {} mcc {} entry: ENTRY_MODE_UNSPECIFIED", &m, &len);
    assert_true(has(&m, MEMBER_LAT) && m.value[MEMBER_LAT].integer == 0);
    assert_true(has(&m, MEMBER_MCC) && m.value[MEMBER_MCC].text.len == 0);
    assert_false(has(&m, MEMBER_ENTRY) || has(&m, MEMBER_COUNTRY));
    proto_schema_free(s);
}

static void number(const char *type, const char *text, enum member_kind kind, int64_t value)
{
    char schema[512];
    char line[128];
    struct members m;
    size_t len = 0;
    snprintf(schema, sizeof schema,
             PROTO3 "message T { string id = 1; int64 ts = 2; string card = 3; string type = 4; %s "
                    "amount = 5; string currency = 6; }",
             type);
    snprintf(line, sizeof line, "amount: %s", text);
    struct proto_schema *s = read_text(schema, line, &m, &len);
    assert_int_equal(m.value[MEMBER_AMOUNT].kind, kind);
    if (kind == KIND_INTEGER && m.value[MEMBER_AMOUNT].integer != value) {
        fail_msg("%s %s is read as %lld", type, text, (long long)m.value[MEMBER_AMOUNT].integer);
    }
    proto_schema_free(s);
}

static void test_read_numbers_of_every_type(void **state)
{
    static const char *const SIGNED[] = {"int32", "sint32", "sfixed32",
                                         "int64", "sint64", "sfixed64"};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        number(SIGNED[i], "-2147483648", KIND_INTEGER, INT32_MIN);
        number(SIGNED[i], "2147483647", KIND_INTEGER, INT32_MAX);
        if (i >= 3) {
            number(SIGNED[i], "-9223372036854775808", KIND_INTEGER, INT64_MIN);
            number(SIGNED[i], "9223372036854775807", KIND_INTEGER, INT64_MAX);
        }
    }
    number("uint32", "4294967295", KIND_INTEGER, UINT32_MAX);
    number("fixed32", "4294967295", KIND_INTEGER, UINT32_MAX);
    number("uint64", "9223372036854775807", KIND_INTEGER, INT64_MAX);
    number("fixed64", "9223372036854775808", KIND_HUGE, 0);
    number("uint64", "18446744073709551615", KIND_HUGE, 0);
    number("string", "'57.16'", KIND_STRING, 0);
}

static void test_read_times(void **state)
{
    static const struct {
        const char *text;
        enum member_kind kind;
        int64_t us;
    } TIMES[] = {{"ts {}", KIND_MICROS, 0},
                 {"ts { seconds: -1 nanos: 999999999 }", KIND_MICROS, -1},
                 {"ts { seconds: 999999999999 }", KIND_MICROS, INT64_C(999999999999000000)},
                 {"ts { seconds: 1000000000000 }", KIND_HUGE, 0},
                 {"ts { seconds: -9223372036854775808 }", KIND_HUGE, 0}};
    struct members m;
    size_t len = 0;
    enum member about = MEMBER_COUNT;
    const char *why = "";
    (void)state;
    for (size_t i = 0; i < sizeof TIMES / sizeof *TIMES; i++) {
        proto_schema_free(read_text(OTHER, TIMES[i].text, &m, &len));
        assert_int_equal(m.value[MEMBER_TS].kind, TIMES[i].kind);
        if (TIMES[i].kind == KIND_MICROS) {
            assert_int_equal(m.value[MEMBER_TS].integer, TIMES[i].us);
        }
    }
    struct proto_schema *s = accepted(OTHER);
    len = proto_encode(OTHER, "T", "ts { nanos: -1 }", buffer, sizeof buffer);
    assert_int_equal(read_bytes(s, len, &m, &about, &why), MEMBERS_MALFORMED);
    assert_int_equal(about, MEMBER_TS);
    proto_schema_free(s);
}

static void test_read_allocates_nothing(void **state)
{
    struct members m;
    enum member about = MEMBER_COUNT;
    const char *why = "";
    (void)state;
    const size_t len = proto_encode(OTHER, "T", OTHER_TEXT, buffer, sizeof buffer);
    const size_t without = allocations();
    struct proto_schema *s = accepted(OTHER);
    const size_t before = allocations();
    assert_true(before > without);
    for (size_t n = 0; n <= len; n++) {
        (void)read_bytes(s, n, &m, &about, &why);
    }
    assert_int_equal(allocations(), before);
    proto_schema_free(s);
}

/* ---- bytes that are not what the schema says ---- */

static void malformed(const char *bytes, size_t len, enum members_error wanted, enum member who,
                      const char *words)
{
    struct members m;
    enum member about = MEMBER_COUNT;
    const char *why = "";
    struct proto_schema *s = accepted(OTHER);
    memcpy(buffer, bytes, len);
    assert_int_equal(read_bytes(s, len, &m, &about, &why), wanted);
    assert_int_equal(about, who);
    if (strstr(why, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why, words);
    }
    proto_schema_free(s);
}

#define MALFORMED(bytes, wanted, who, words) malformed(bytes, sizeof(bytes) - 1, wanted, who, words)

static void test_read_of_bytes_that_do_not_fit(void **state)
{
    char groups[80];
    (void)state;
    MALFORMED("\x15"
              "abcd",
              MEMBERS_MALFORMED, MEMBER_AMOUNT, "another type"); /* field 2 in 4 bytes */
    MALFORMED("\xea\x01\x02"
              "EU\xea\x01\x01"
              "E",
              MEMBERS_TWICE, MEMBER_CURRENCY, "twice");
    MALFORMED("\xf2\x01\x01"
              "a\xfa\x01\x01"
              "b",
              MEMBERS_MALFORMED, MEMBER_TERMINAL, "oneof");
    MALFORMED("\xf8\x03\x02", MEMBERS_MALFORMED, MEMBER_TYPE, "no value of that number");
    MALFORMED("\xea\x01\x02\xff\xff", MEMBERS_NOT_UTF8, MEMBER_CURRENCY, "UTF-8");
    MALFORMED("\xea\x01\x01\x00", MEMBERS_NOT_UTF8, MEMBER_CURRENCY, "zero character");
    MALFORMED("\xea\x01\xff\xff\xff\xff\x0f", MEMBERS_MALFORMED, MEMBER_CURRENCY, "past");
    MALFORMED("\x4a\x02\x0a\x00", MEMBERS_MALFORMED, MEMBER_LAT, "the message in it");
    MALFORMED("\x00", MEMBERS_MALFORMED, MEMBER_COUNT, "a field that is none");
    MALFORMED("\x07", MEMBERS_MALFORMED, MEMBER_COUNT, "a field that is none"); /* wire type 7 */
    MALFORMED("\x34", MEMBERS_MALFORMED, MEMBER_COUNT, "a field that is none"); /* an end */
    memset(groups, 0x33, 40);
    memset(groups + 40, 0x34, 40);
    malformed(groups, 80, MEMBERS_MALFORMED, MEMBER_COUNT, "nested too deeply");
    malformed(groups + 20, 40, MEMBERS_OK, MEMBER_COUNT, "");
}

/* A cut leaves a message or none, as fields go: what counts is that no byte too many is read. */
static void test_read_of_any_cut_message_ends(void **state)
{
    struct members m;
    enum member about = MEMBER_COUNT;
    const char *why = "";
    size_t whole = 0;
    (void)state;
    const size_t len = proto_encode(OTHER, "T", OTHER_TEXT, buffer, sizeof buffer);
    struct proto_schema *s = accepted(OTHER);
    const struct proto_message *type = message(s, "\0", 1);
    for (size_t n = 0; n < len; n++) {
        char *exact = malloc(n + 1); /* a sanitizer sees a byte too many */
        memcpy(exact, buffer, n);
        const enum members_error error = proto_payment_read(type, exact, n, &m, &about, &why);
        whole += error == MEMBERS_OK;
        assert_true(error == MEMBERS_OK || (error == MEMBERS_MALFORMED && why[0] != '\0'));
        free(exact);
    }
    assert_int_equal(whole, 16); /* the ends of fields but the last, and nothing at all */
    proto_schema_free(s);
}

static void test_read_of_spoilt_bytes_ends(void **state)
{
    struct members m;
    enum member about = MEMBER_COUNT;
    const char *why = "";
    char spoilt[sizeof buffer];
    struct rng r;
    size_t good = 0;
    (void)state;
    const size_t len = proto_encode(OTHER, "T", OTHER_TEXT, buffer, sizeof buffer);
    struct proto_schema *s = accepted(OTHER);
    const struct proto_message *type = message(s, "\0", 1);
    rng_init(&r, 7);
    for (int i = 0; i < 20000; i++) {
        memcpy(spoilt, buffer, len);
        for (uint64_t k = 1 + rng_below(&r, 3); k > 0; k--) {
            spoilt[rng_below(&r, len)] = (char)rng_below(&r, 256);
        }
        good += proto_payment_read(type, spoilt, len, &m, &about, &why) == MEMBERS_OK;
    }
    assert_in_range(good, 1, 19999);
    proto_schema_free(s);
}

/* ---- which message ---- */

static const char SEVERAL[] = PROTO3
    "package p; message Head { string id = 1; message In { message Deep { string id = 1; int64 ts "
    "= 2; string card = 3; " REST "} } }" T("");

static void test_find_by_indexes(void **state)
{
    struct proto_schema *s = accepted(SEVERAL);
    const struct proto_message *m = NULL;
    struct members got;
    enum member about = MEMBER_COUNT;
    const char *why = "";
    size_t begin = 0;
    (void)state;
    assert_string_equal(proto_message_unfit(message(s, "\0", 1)),
                        "message p.Head: ts is missing there, or has another name");
    assert_ptr_equal(message(s, "\0", 1), message(s, "\x02\x00", 2));
    assert_non_null(proto_message_unfit(message(s, "\x04\x00\x00", 3)));
    assert_null(proto_message_unfit(message(s, "\x02\x02", 2)));
    m = message(s, "\x06\x00\x00\x00", 4);
    assert_null(proto_message_unfit(m));
    size_t len =
        proto_encode(SEVERAL, "p.Head.In.Deep", "id: 'x' amount: 7", buffer, sizeof buffer);
    assert_int_equal(proto_payment_read(m, buffer, len, &got, &about, &why), MEMBERS_OK);
    assert_int_equal(got.value[MEMBER_AMOUNT].integer, 7);
    static const struct slice BAD[] = {
        {"", 0},         {"\x02", 1},         {"\x02\x04", 2},
        {"\x02\x01", 2}, {"\x01\x00", 2},     {"\x04\x02\x00", 3},
        {"\x80\x80", 2}, {"\x06\x00\x00", 3}, {"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10}};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        why = "";
        assert_int_equal(proto_message_find(s, BAD[i].at, BAD[i].len, &m, &begin, &why),
                         MEMBERS_MALFORMED);
        assert_non_null(strstr(why, "message indexes"));
    }
    proto_schema_free(s);
}

/* ---- what we write ---- */

static void test_write_is_read_by_libprotobuf(void **state)
{
    const struct tx t = {.event_us = TS + 7,
                         .amount_minor = 5716,
                         .currency = "USD",
                         .mcc = 5411,
                         .country = 'D' * 256 + 'E',
                         .type = TX_CASH,
                         .channel = CHANNEL_ATM,
                         .entry = ENTRY_CHIP,
                         .has_location = true,
                         .lat = 52.5F,
                         .lon = -13.25F};
    const struct tx_strings s = {
        .id = {"t1", 2}, .card = {"c", 1}, .device = {"d", 1}, .exponent = 2};
    char small[256];
    size_t len = 0;
    (void)state;
    assert_int_equal(proto_payment_write(&t, &s, buffer, sizeof buffer, &len), ERR_OK);
    assert_int_equal(buffer[0], 0);
    assert_string_equal(
        proto_print(proto_schema_text(), "fraudd.Transaction", buffer + 1, len - 1),
        "id: \"t1\" ts { seconds: 1775046605 nanos: 123007000 } card: \"c\" type: \"cash\" amount: "
        "5716 currency: \"USD\" exponent: 2 mcc: 5411 country: \"DE\" channel: \"atm\" entry: "
        "\"chip\" device: \"d\" lat: 52.5 lon: -13.25");
    for (size_t cap = 0; cap < len; cap++) {
        size_t untouched = 0;
        assert_int_equal(proto_payment_write(&t, &s, small, cap, &untouched), ERR_FULL);
        assert_int_equal(untouched, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema_that_does_not_fit_names_the_field),
        cmocka_unit_test(test_schema_that_is_none_is_refused),
        cmocka_unit_test(test_imports),
        cmocka_unit_test(test_read_finds_by_name_and_skips),
        cmocka_unit_test(test_read_of_what_is_not_on_the_wire),
        cmocka_unit_test(test_read_numbers_of_every_type),
        cmocka_unit_test(test_read_times),
        cmocka_unit_test(test_read_allocates_nothing),
        cmocka_unit_test(test_read_of_bytes_that_do_not_fit),
        cmocka_unit_test(test_read_of_any_cut_message_ends),
        cmocka_unit_test(test_read_of_spoilt_bytes_ends),
        cmocka_unit_test(test_find_by_indexes),
        cmocka_unit_test(test_write_is_read_by_libprotobuf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
