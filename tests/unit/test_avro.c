/* Avro: what Avro's own library writes under other schemas is read; what does not fit is refused
 * with the field named; nothing is allocated, and no bytes do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <avro.h>
#include <cmocka.h>

#include "base/rng.h"
#include "daemon/avro.h"
#include "daemon/encode.h"

#define TS INT64_C(1775046605123000) /* 2026-04-01T12:30:05.123Z */

static char buffer[4096];
static char scratch[AVRO_SCRATCH];

static bool same(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

/* ---- schemas ---- */

#define REST                                                                                       \
    "{\"name\":\"type\",\"type\":\"string\"},{\"name\":\"amount\",\"type\":\"int\"},"              \
    "{\"name\":\"currency\",\"type\":\"string\"}"

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"T\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define WITH(more)                                                                                 \
    RECORD(FIELD("id", "\"string\"") "," FIELD("ts", "\"long\"") "," FIELD(                        \
        "card", "\"string\"") "," REST more)

static void refused_with(const char *text, const struct schema_file *files, size_t count,
                         const char *why)
{
    struct avro_schema *s = NULL;
    struct errmsg e = {""};
    assert_int_equal(avro_schema_create(text, strlen(text), files, count, &s, &e), ERR_MISMATCH);
    if (strstr(e.text, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\" of %s", e.text, why, text);
    }
    assert_null(s);
}

static void refused(const char *text, const char *why)
{
    refused_with(text, NULL, 0, why);
}

static struct avro_schema *accepted_with(const char *text, const struct schema_file *files,
                                         size_t count)
{
    struct avro_schema *s = NULL;
    struct errmsg e = {""};
    if (avro_schema_create(text, strlen(text), files, count, &s, &e) != ERR_OK) {
        fail_msg("refused: %s", e.text);
    }
    return s;
}

static struct avro_schema *accepted(const char *text)
{
    return accepted_with(text, NULL, 0);
}

static void test_schema_that_does_not_fit_names_the_field(void **state)
{
    (void)state;
    refused(RECORD(FIELD("id", "\"string\"") "," FIELD("ts", "\"long\"") "," FIELD(
                "pan", "\"string\"") "," REST),
            "card is missing there, or has another name");
    refused(WITH("," FIELD("card", "\"string\"")), "card is there twice");
    refused(WITH("," FIELD("lat", "\"string\"")), "lat is string there, and must be a number");
    refused(WITH("," FIELD("lat", "[\"null\",\"double\",\"string\"]")), "lat is string there");
    refused(WITH("," FIELD("mcc", "\"double\"")), "mcc is double there");
    refused(WITH("," FIELD("merchant", "{\"type\":\"array\",\"items\":\"string\"}")),
            "merchant is array there");
    refused(WITH("," FIELD("merchant", "[\"null\"]")), "merchant is always null");
    refused(WITH("," FIELD("mcc", "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}")),
            "mcc is of a logical type on long");
    refused(RECORD(FIELD("id", "\"string\"") "," FIELD(
                "ts", "{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}")),
            "ts is of a logical type on long");
    refused(RECORD(FIELD("amount", "\"double\"")), "amount is double there");
}

static void test_schema_that_is_none_is_refused(void **state)
{
    char deep[4096] = "";
    (void)state;
    refused("", "no JSON");
    refused("\"string\"", "it is no record but string");
    refused("[\"null\", 3]", "neither a name, a list nor an object");
    refused("{\"type\":\"record\",\"name\":\"T\"}", "without fields");
    refused(WITH("," FIELD("x", "\"com.bank.Other\"")),
            "that it refers to defines: \"com.bank.Other\"");
    refused(WITH("," FIELD("x", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}")), "symbols");
    refused(WITH("," FIELD("x", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}")), "size");
    refused(WITH("," FIELD("x", "[\"null\",[\"int\"]]")), "union directly in a");
    refused(WITH("," FIELD("x", "{\"type\":\"fixed\",\"name\":\"T\",\"size\":1}")), "twice");
    for (int i = 0; i < 100; i++) {
        strcat(deep, "{\"type\":\"array\",\"items\":"); /* NOLINT: 2,400 of 4,096 bytes */
    }
    strcat(deep, "\"int\""); /* NOLINT */
    memset(deep + strlen(deep), '}', 100);
    refused(deep, "nested more than");
}

/* ---- schemas that refer to others ---- */

/* Out of order: the first names those behind it, in its own namespace and by full name. */
static const struct schema_file FILES[] = {
    {"bank.Branch", "{\"type\":\"record\",\"name\":\"Branch\",\"namespace\":\"bank\",\"fields\":["
                    "{\"name\":\"city\",\"type\":\"City\"},{\"name\":\"kind\",\"type\":"
                    "{\"type\":\"enum\",\"name\":\"Kind\",\"symbols\":[\"a\",\"b\"]}},"
                    "{\"name\":\"parent\",\"type\":[\"null\",\"Branch\"]},"
                    "{\"name\":\"via\",\"type\":\"wire.Channel\"}]}"},
    {"bank.City", "{\"type\":\"fixed\",\"name\":\"bank.City\",\"size\":3}"},
    {"wire.Channel",
     "{\"type\":\"enum\",\"name\":\"wire.Channel\",\"symbols\":[\"pos\",\"ecommerce\"]}"},
    {"wire.Payment", "{\"type\":\"record\",\"name\":\"wire.Payment\",\"fields\":["
                     "{\"name\":\"id\",\"type\":\"string\"},{\"name\":\"ts\",\"type\":\"long\"},"
                     "{\"name\":\"card\",\"type\":\"string\"}," REST "]}"}};
#define FILE_COUNT (sizeof FILES / sizeof *FILES)

static void test_types_of_other_schemas_are_known(void **state)
{
    /* .. a type that the reference's schema defines besides its own, too */
    struct avro_schema *s = accepted_with(
        WITH("," FIELD("branch", "\"bank.Branch\"") "," FIELD(
            "channel", "[\"null\",\"wire.Channel\"]") "," FIELD("x", "\"bank.Kind\"")),
        FILES, FILE_COUNT);
    static const char RECORD_BYTES[] = "\x02"
                                       "a\x02\x02"
                                       "c\x02"
                                       "p\x0a\x06"
                                       "EUR"             /* id, ts, card, type, amount, currency */
                                       "xyz\x02\x00\x00" /* city, kind, no parent, via */
                                       "\x02\x02"        /* channel: ecommerce */
                                       "\x02";
    struct members m;
    enum member about = MEMBER_COUNT;
    const char *why = "";
    (void)state;
    assert_int_equal(
        avro_payment_read(s, RECORD_BYTES, sizeof RECORD_BYTES - 1, scratch, &m, &about, &why),
        MEMBERS_OK);
    assert_true(same(m.value[MEMBER_CHANNEL].text, "ecommerce"));
    assert_true(same(m.value[MEMBER_CURRENCY].text, "EUR"));
    avro_schema_free(s);
    avro_schema_free(accepted_with("\"wire.Payment\"", FILES, FILE_COUNT));
}

static void test_other_schemas_that_do_not_help_are_refused(void **state)
{
    static const struct schema_file BAD = {"a.A", "{"};
    static const struct schema_file NOTHING = {"a.A", "\"a.A\""};
    static const struct schema_file CIRCLE[] = {{"a.A", "\"a.B\""}, {"a.B", "\"a.A\""}};
    static const struct schema_file TWICE = {"T", "{\"type\":\"fixed\",\"name\":\"T\",\"size\":1}"};
    (void)state;
    refused_with(WITH("," FIELD("x", "\"bank.Other\"")), FILES, FILE_COUNT,
                 "refers to defines: \"bank.Other\"");
    refused_with(WITH("," FIELD("channel", "\"bank.Branch\"")), FILES, FILE_COUNT,
                 "channel is record there, and must be text");
    refused_with(WITH(""), &BAD, 1, "a schema that it refers to is no JSON: \"a.A\"");
    refused_with(WITH(""), &NOTHING, 1, "refers to defines: \"a.A\"");
    refused_with(WITH(""), CIRCLE, 2, "refers to defines: \"a.A\"");
    refused_with(WITH(""), &TWICE, 1, "it defines a type twice: \"T\"");
    refused_with("\"bank.Branch\"", FILES, FILE_COUNT, "is missing there, or has another name");
}

/* ---- what Avro's library writes ---- */

struct written {
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;
};

static struct written begin(const char *text)
{
    struct written w;
    assert_int_equal(avro_schema_from_json_length(text, strlen(text), &w.schema), 0);
    w.iface = avro_generic_class_from_schema(w.schema);
    assert_int_equal(avro_generic_value_new(w.iface, &w.value), 0);
    return w;
}

static avro_value_t field(struct written *w, const char *name)
{
    avro_value_t f;
    assert_int_equal(avro_value_get_by_name(&w->value, name, &f, NULL), 0);
    return f;
}

static avro_value_t branch(struct written *w, const char *name, int which)
{
    avro_value_t f = field(w, name);
    avro_value_t b;
    assert_int_equal(avro_value_set_branch(&f, which, &b), 0);
    return b;
}

static void set(struct written *w, const char *name, const char *text)
{
    avro_value_t f = field(w, name);
    assert_int_equal(avro_value_set_string(&f, text), 0);
}

static size_t finish(struct written *w)
{
    avro_writer_t out = avro_writer_memory(buffer, sizeof buffer);
    assert_int_equal(avro_value_write(out, &w->value), 0);
    const size_t n = (size_t)avro_writer_tell(out);
    avro_writer_free(out);
    avro_value_decref(&w->value);
    avro_value_iface_decref(w->iface);
    avro_schema_decref(w->schema);
    return n;
}

static enum members_error read_all(const char *text, size_t len, struct members *m,
                                   const char **why)
{
    struct avro_schema *s = accepted(text);
    enum member about = MEMBER_COUNT;
    const enum members_error error = avro_payment_read(s, buffer, len, scratch, m, &about, why);
    avro_schema_free(s);
    return error;
}

/* Other order, other types of numbers, fields of others in between: nested, repeated, recursive. */
static const char OTHER[] =
    RECORD(FIELD("lon", "\"float\"") "," FIELD(
        "extra", "{\"type\":\"record\",\"name\":\"Tree\",\"namespace\":\"com.bank\",\"fields\":["
                 "{\"name\":\"n\",\"type\":\"double\"},"
                 "{\"name\":\"left\",\"type\":[\"null\",\"Tree\"]},"
                 "{\"name\":\"tags\",\"type\":{\"type\":\"map\",\"values\":\"bytes\"}}]}") "," FIELD("amount",
                                                                                                     "\"int\"") "," FIELD("ts", "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}") "," FIELD("items", "{\"type\":\"array\",\"items\":[\"boolean\",\"float\"]}") "," FIELD("card", "\"bytes\"") "," FIELD("type",
                                                                                                                                                                                                                                                                                                                  "{\"type\":\"enum\",\"name\":\"Kind\",\"symbols\":[\"cash\",\"purchase\"]}") "," FIELD("merchant", "[\"string\",\"null\"]") "," FIELD("lat", "[\"null\",\"long\"]") "," FIELD("mcc",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "\"string\"") "," FIELD("more",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "[\"null\",\"com.bank.Tree\"]") "," FIELD("id",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "\"string\"") "," FIELD("terminal",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "[\"null\",\"string\"]") "," FIELD("currency",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             "\"string\"") "," FIELD("seal",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "{\"type\":\"fixed\",\"name\":\"Seal\",\"size\":3}"));

static size_t write_other(void)
{
    char tag[] = "ab";
    char card[] = "c\xc3\xa4";
    char seal[] = "abc";
    struct written w = begin(OTHER);
    avro_value_t v = field(&w, "lon");
    avro_value_t inner;
    avro_value_t deeper;
    assert_int_equal(avro_value_set_float(&v, -13.25F), 0);
    v = field(&w, "extra");
    assert_int_equal(avro_value_get_by_name(&v, "n", &inner, NULL), 0);
    assert_int_equal(avro_value_set_double(&inner, 1e300), 0);
    assert_int_equal(avro_value_get_by_name(&v, "left", &inner, NULL), 0);
    assert_int_equal(avro_value_set_branch(&inner, 1, &deeper), 0);
    assert_int_equal(avro_value_get_by_name(&deeper, "left", &inner, NULL), 0);
    assert_int_equal(avro_value_set_branch(&inner, 0, &deeper), 0);
    assert_int_equal(avro_value_get_by_name(&v, "tags", &inner, NULL), 0);
    assert_int_equal(avro_value_add(&inner, "key", &deeper, NULL, NULL), 0);
    assert_int_equal(avro_value_set_bytes(&deeper, tag, 2), 0);
    v = field(&w, "amount");
    assert_int_equal(avro_value_set_int(&v, 5716), 0);
    v = field(&w, "ts");
    assert_int_equal(avro_value_set_long(&v, TS / 1000), 0);
    v = field(&w, "items");
    for (int i = 0; i < 200; i++) {
        assert_int_equal(avro_value_append(&v, &inner, NULL), 0);
        assert_int_equal(avro_value_set_branch(&inner, i % 2, &deeper), 0);
        assert_int_equal(
            i % 2 == 0 ? avro_value_set_boolean(&deeper, 1) : avro_value_set_float(&deeper, 2), 0);
    }
    v = field(&w, "card");
    assert_int_equal(avro_value_set_bytes(&v, card, 3), 0);
    v = field(&w, "type");
    assert_int_equal(avro_value_set_enum(&v, 0), 0);
    v = branch(&w, "merchant", 0);
    assert_int_equal(avro_value_set_string(&v, "m1"), 0);
    v = branch(&w, "lat", 1);
    assert_int_equal(avro_value_set_long(&v, 52), 0);
    set(&w, "mcc", "5411");
    (void)branch(&w, "more", 0);
    set(&w, "id", "t1");
    (void)branch(&w, "terminal", 0);
    set(&w, "currency", "USD");
    v = field(&w, "seal");
    assert_int_equal(avro_value_set_fixed(&v, seal, 3), 0);
    return finish(&w);
}

static void test_read_promotes_reorders_and_skips(void **state)
{
    struct members m;
    const char *why = "";
    (void)state;
    const size_t len = write_other();
    assert_int_equal(read_all(OTHER, len, &m, &why), MEMBERS_OK);
    assert_true(same(m.value[MEMBER_CARD].text, "c\xc3\xa4"));
    assert_true(same(m.value[MEMBER_MERCHANT].text, "m1"));
    assert_true(same(m.value[MEMBER_MCC].text, "5411"));
    assert_int_equal(m.value[MEMBER_AMOUNT].integer, 5716);
    assert_int_equal(m.value[MEMBER_TS].kind, KIND_INTEGER);
    assert_int_equal(m.value[MEMBER_TS].integer, TS / 1000);
    assert_int_equal(m.value[MEMBER_LAT].integer, 52);
    assert_true(m.value[MEMBER_LON].real < -13.24 && m.value[MEMBER_LON].real > -13.26);
    assert_false(m.present & MEMBER_BIT(MEMBER_TERMINAL));
}

static void test_read_of_any_cut_or_longer_message_is_malformed(void **state)
{
    struct members m;
    enum member about = MEMBER_COUNT;
    const char *why = "";
    (void)state;
    const size_t len = write_other();
    struct avro_schema *s = accepted(OTHER);
    for (size_t n = 0; n < len; n++) {
        char *exact = malloc(n + 1); /* a sanitizer sees a byte too many */
        memcpy(exact, buffer, n);
        assert_int_not_equal(avro_payment_read(s, exact, n, scratch, &m, &about, &why), MEMBERS_OK);
        assert_true(why[0] != '\0');
        free(exact);
    }
    buffer[len] = 0;
    assert_int_equal(avro_payment_read(s, buffer, len + 1, scratch, &m, &about, &why),
                     MEMBERS_MALFORMED);
    assert_string_equal(why, "bytes after the record");
    avro_schema_free(s);
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
    const size_t len = write_other();
    struct avro_schema *s = accepted(OTHER);
    rng_init(&r, 7);
    for (int i = 0; i < 20000; i++) {
        memcpy(spoilt, buffer, len);
        for (uint64_t k = 1 + rng_below(&r, 3); k > 0; k--) {
            spoilt[rng_below(&r, len)] = (char)rng_below(&r, 256);
        }
        good += avro_payment_read(s, spoilt, len, scratch, &m, &about, &why) == MEMBERS_OK;
    }
    assert_in_range(good, 1, 19999);
    avro_schema_free(s);
}

static void test_read_bounds_the_work_of_a_hostile_message(void **state)
{
    /* 2^62 items without a byte, a tree of 100 levels, and 64^5 empty records in one item */
    static const char NULLS[] = WITH("," FIELD("x", "{\"type\":\"array\",\"items\":\"null\"}"));
    static const char TREE[] =
        WITH("," FIELD("x", "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"r\","
                            "\"type\":[\"null\",\"R\"]}]}"));
    static const char HEAD[] = "\x02i\x02\x02"
                               "c\x02t\x02\x02"
                               "E";
    struct members m;
    const char *why = "";
    char wide[8192];
    size_t n = 0;
    (void)state;
    memcpy(buffer, HEAD, sizeof HEAD - 1);
    n = sizeof HEAD - 1;
    memcpy(buffer + n, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 11);
    assert_int_equal(read_all(NULLS, n + 11, &m, &why), MEMBERS_OK);
    memset(buffer + n, 2, 100);
    assert_int_equal(read_all(TREE, n + 100, &m, &why), MEMBERS_MALFORMED);
    assert_string_equal(why, "values are nested too deeply or are too many");
    size_t at =
        (size_t)snprintf(wide, sizeof wide, "{\"type\":\"record\",\"name\":\"T\",\"fields\":[");
    for (int level = 0; level < 5; level++) {
        at += (size_t)snprintf(wide + at, sizeof wide - at,
                               "{\"name\":\"l%d\",\"type\":{\"type\":\"record\",\"name\":\"L%d\","
                               "\"fields\":[",
                               level, level);
        for (int i = 0; i < 64 && level > 0; i++) {
            at +=
                (size_t)snprintf(wide + at, sizeof wide - at, "%s{\"name\":\"f\",\"type\":\"L%d\"}",
                                 i > 0 ? "," : "", level - 1);
        }
        at += (size_t)snprintf(wide + at, sizeof wide - at, "]}},");
    }
    snprintf(wide + at, sizeof wide - at,
             FIELD("id", "\"string\"") "," FIELD("ts", "\"long\"") "," FIELD(
                 "card", "\"string\"") "," REST "]}");
    assert_int_equal(read_all(wide, n, &m, &why), MEMBERS_MALFORMED);
    assert_string_equal(why, "values are nested too deeply or are too many");
}

static void decimal(const char *bytes, size_t len, const char *text)
{
    static const char SCHEMA[] = RECORD(FIELD(
        "amount",
        "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":18,"
        "\"scale\":2}") "," FIELD("id",
                                  "\"string\"") "," FIELD("ts",
                                                          "\"long\"") "," FIELD("card",
                                                                                "\"string\"") "," FIELD("type",
                                                                                                        "\"string\"") "," FIELD("currency",
                                                                                                                                "\"string\""));
    struct members m;
    const char *why = "";
    buffer[0] = (char)(2 * len);
    memcpy(buffer + 1, bytes, len);
    memcpy(buffer + 1 + len,
           "\x02i\x02\x02"
           "c\x02t\x02"
           "E",
           9);
    const enum members_error error = read_all(SCHEMA, len + 10, &m, &why);
    if (text == NULL) {
        assert_int_equal(error, MEMBERS_MALFORMED);
        return;
    }
    assert_int_equal(error, MEMBERS_OK);
    if (!same(m.value[MEMBER_AMOUNT].text, text)) {
        fail_msg("%.*s is not %s", (int)m.value[MEMBER_AMOUNT].text.len,
                 m.value[MEMBER_AMOUNT].text.at, text);
    }
}

static void test_read_decimal(void **state)
{
    (void)state;
    decimal("\x16\x54", 2, "57.16");
    decimal("\x00", 1, "0.00");
    decimal("\x05", 1, "0.05");
    decimal("\xff", 1, "-0.01");
    decimal("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80", 10, "1.28");
    decimal("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x80", 10, "-1.28");
    decimal("\x80\x00\x00\x00\x00\x00\x00\x00", 8, "-92233720368547758.08");
    decimal("\x00\xff\xff\xff\xff\xff\xff\xff\xff", 9, NULL);
    decimal("", 0, NULL);
}

static void test_read_refuses_what_is_no_text(void **state)
{
    struct members m;
    const char *why = "";
    (void)state;
    memcpy(buffer,
           "\x04i\xff\x02\x02"
           "c\x02t\x02\x02"
           "E",
           11);
    assert_int_equal(read_all(WITH(""), 11, &m, &why), MEMBERS_NOT_UTF8);
    memcpy(buffer,
           "\x04i\0\x02\x02"
           "c\x02t\x02\x02"
           "E",
           11);
    assert_int_equal(read_all(WITH(""), 11, &m, &why), MEMBERS_NOT_UTF8);
}

/* ---- what we write ---- */

static void test_write_is_read_by_avros_library(void **state)
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
    avro_schema_t schema;
    avro_value_t v;
    avro_value_t f;
    avro_value_t b;
    size_t len = 0;
    int64_t number = 0;
    const char *text = NULL;
    char *json = NULL;
    (void)state;
    assert_int_equal(avro_payment_write(&t, &s, buffer, sizeof buffer, &len), ERR_OK);
    assert_int_equal(
        avro_schema_from_json_length(avro_schema_text(), strlen(avro_schema_text()), &schema), 0);
    avro_value_iface_t *iface = avro_generic_class_from_schema(schema);
    assert_int_equal(avro_generic_value_new(iface, &v), 0);
    avro_reader_t in = avro_reader_memory(buffer, (int64_t)len);
    assert_int_equal(avro_value_read(in, &v), 0);
    assert_int_equal(avro_value_get_by_name(&v, "ts", &f, NULL), 0);
    assert_int_equal(avro_value_get_long(&f, &number), 0);
    assert_int_equal(number, TS + 7);
    assert_int_equal(avro_value_get_by_name(&v, "channel", &f, NULL), 0);
    assert_int_equal(avro_value_get_current_branch(&f, &b), 0);
    assert_int_equal(avro_value_get_string(&b, &text, NULL), 0);
    assert_string_equal(text, "atm");
    assert_int_equal(avro_value_to_json(&v, 1, &json), 0);
    assert_non_null(strstr(json, "\"merchant\": null"));
    assert_non_null(strstr(json, "\"country\": {\"string\": \"DE\"}"));
    free(json);
    avro_reader_free(in);
    avro_value_decref(&v);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
    for (size_t cap = 0; cap < len; cap++) {
        size_t untouched = 0;
        assert_int_equal(avro_payment_write(&t, &s, buffer, cap, &untouched), ERR_FULL);
        assert_int_equal(untouched, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema_that_does_not_fit_names_the_field),
        cmocka_unit_test(test_schema_that_is_none_is_refused),
        cmocka_unit_test(test_types_of_other_schemas_are_known),
        cmocka_unit_test(test_other_schemas_that_do_not_help_are_refused),
        cmocka_unit_test(test_read_promotes_reorders_and_skips),
        cmocka_unit_test(test_read_of_any_cut_or_longer_message_is_malformed),
        cmocka_unit_test(test_read_of_spoilt_bytes_ends),
        cmocka_unit_test(test_read_bounds_the_work_of_a_hostile_message),
        cmocka_unit_test(test_read_decimal),
        cmocka_unit_test(test_read_refuses_what_is_no_text),
        cmocka_unit_test(test_write_is_read_by_avros_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
