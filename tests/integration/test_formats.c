/* Payments in Avro and in Protobuf with a real registry (Apicurio) and a real Kafka beside the same
 * payments in JSON: the same decisions, byte for byte; a schema that changes compatibly on the way
 * is read, one that does not is refused with the field named; a registry that is away, or hangs, is
 * waited for; what the registry said once is enough to derive a decision again without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/file.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/avro.h"
#include "daemon/encode.h"
#include "daemon/proto.h"
#include "daemon/schema_http.h"
#include "daemon/schemas.h"
#include "daemon/settings.h"
#include "tests/support/child.h"
#include "tests/support/cluster.h"
#include "tests/support/database.h"
#include "tests/support/random_model.h"
#include "tests/support/until.h"

#define PAYMENTS 600
#define PATIENCE_US (180 * TIME_S)

enum { JSON, AVRO, PROTO, SITES }; /* a site: topics, and a `score` */
static const char *const NAMES[SITES] = {"json", "avro", "protobuf"};

static struct cluster cluster;
static struct database server;
static char folder[] = "/tmp/fraudd-formats-XXXXXX";
static char model[64], payments[64], url[64], subject[SITES][SCHEMAS_SUBJECT_MAX];
static char settings[SITES][64];
static char topic[SITES][TOPIC_COUNT][96];
static struct child score[SITES], sink;
static struct schema_http *http;
static int registry;    /* its process */
static int64_t sent;    /* messages of each site */
static int64_t refused; /* of them dead letters */

static void show_all(void)
{
    for (int i = 0; i < SITES; i++) {
        child_show(&score[i]);
    }
    child_show(&sink);
}

#define UNTIL(condition) UNTIL_OR_SHOW(condition, PATIENCE_US, show_all())

static void shell(const char *line)
{
    if (system(line) != 0) { /* NOLINT(cert-env33-c): of this file's own words */
        fail_msg("failed: %s", line);
    }
}

/* ---- servers, settings ---- */

static int read_pid(void)
{
    char path[96];
    uint8_t *text = NULL;
    size_t len = 0;
    struct errmsg e = {""};
    snprintf(path, sizeof path, "%s/registry.pid", folder);
    database_must(file_read(path, 32, &text, &len, &e), &e);
    const int pid = (int)strtol((const char *)text, NULL, 10);
    free(text);
    return pid;
}

/* Starts it in the background: it takes as long as everything else together. */
static void begin_registry(void)
{
    char line[640];
    const int port = cluster_free_port();
    shell("tests/registry/registry.sh fetch");
    snprintf(line, sizeof line, "tests/registry/registry.sh start %d %s >%s/registry.url &", port,
             folder, folder);
    shell(line);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/apis/ccompat/v7", port);
}

static void await_registry(void)
{
    char path[96];
    uint8_t *text = NULL;
    size_t len = 0;
    struct errmsg e = {""};
    snprintf(path, sizeof path, "%s/registry.url", folder);
    for (int i = 0; i < 1200 && len == 0; i++) {
        nap_ms(100);
        free(text);
        text = NULL;
        (void)!file_read(path, 200, &text, &len, &e);
    }
    free(text);
    assert_true(len > 0);
    registry = read_pid();
}

static void write_settings(int site)
{
    snprintf(settings[site], sizeof settings[site], "%s/%s.conf", folder, NAMES[site]);
    FILE *f = fopen(settings[site], "we");
    assert_non_null(f);
    fprintf(f,
            "brokers = \"%s\";\ndatabase = \"%s\";\nmodel = \"%s\";\nlog = \"formats\";\n"
            "group = \"%s-score\";\nsink-group = \"%s-sink\";\n"
            "http = { listen = \"\"; sink-listen = \"\"; };\nsink = { linger = \"50ms\"; };\n"
            "alert = { budget = 1000; };\nstate = { dir = \"%s/state-%s\"; };\n"
            "transactions = { format = \"%s\"; };\nregistry = { url = \"%s\"; };\ntopics = {\n",
            cluster.brokers, server.server.conninfo, model, topic[site][0], topic[site][0], folder,
            NAMES[site], NAMES[site], url);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        fprintf(f, "  %s = \"%s\";\n", strchr(settings_topic_option((enum bus_topic)t), '.') + 1,
                topic[site][t]);
    }
    fputs("};\n", f);
    assert_int_equal(fclose(f), 0);
}

static int run(const char *log, const char *const *args)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s.log", folder, log);
    return child_run(path, 90000, args);
}

static void make_site(int site)
{
    char line[128];
    for (int t = 0; t < TOPIC_COUNT; t++) {
        char name[32];
        snprintf(name, sizeof name, "%s-%d", NAMES[site], t);
        cluster_topic(&cluster, cluster_name(topic[site][t], name), 1, NULL);
    }
    snprintf(line, sizeof line, "mkdir %s/state-%s", folder, NAMES[site]);
    shell(line);
    write_settings(site);
}

static int start(void **state)
{
    struct errmsg e = {""};
    size_t len = 0;
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    begin_registry();
    database_start(&server);
    cluster_start(&cluster);
    snprintf(model, sizeof model, "%s/model.fraudd", folder);
    snprintf(payments, sizeof payments, "%s/payments.csv", folder);
    uint8_t *bytes = random_model_bytes(1, "random-1", 0, &len);
    database_must(file_write(model, bytes, len, &e), &e);
    free(bytes);
    for (int i = 0; i < SITES; i++) {
        make_site(i);
        schemas_subject(topic[i][TOPIC_TRANSACTIONS], subject[i]);
    }
    assert_int_equal(
        run("simulate", (const char *const[]){"simulate", "--seed", "11", "--days", "30",
                                              "--transactions", "600", "--out", payments, NULL}),
        0);
    await_registry();
    struct conf *c = cluster_conf(&cluster, (const char *const[]){"registry.url", url, NULL});
    database_must(schema_http_create(c, &http, &e), &e);
    conf_free(c);
    return 0;
}

static int stop(void **state)
{
    char line[160];
    (void)state;
    if (registry > 0) {
        (void)kill(registry, SIGCONT);
    }
    for (int i = 0; i < SITES; i++) {
        child_end(&score[i]);
    }
    child_end(&sink);
    schema_http_free(http);
    cluster_stop(&cluster);
    database_stop(&server);
    snprintf(line, sizeof line, "tests/registry/registry.sh stop %s; %s %s", folder,
             getenv("FORMATS_KEEP") != NULL ? "echo kept:" : "rm -rf", folder);
    return system(line); /* NOLINT(cert-env33-c) */
}

/* ---- sending ---- */

/* What some schemas refer to, at version 1: serializers call the subject as the import, or as the
 * type. */
#define BRANCH "bank/branch.proto"
#define BRANCH_ESCAPED "bank%2Fbranch.proto"
#define BRANCH_TYPE "bank.Branch"

/* Registers a schema in a site's language; its id. */
static uint32_t enlist(int site, const char *in, const char *text)
{
    char path[400];
    struct schema_http_answer a;
    json_error_t bad;
    json_t *pack =
        json_pack("{s:s,s:s}", "schema", text, "schemaType", site == AVRO ? "AVRO" : "PROTOBUF");
    if (strstr(text, site == AVRO ? "\"" BRANCH_TYPE "\"" : "import \"" BRANCH "\"") != NULL) {
        const char *name = site == AVRO ? BRANCH_TYPE : BRANCH;
        json_object_set_new(
            pack, "references",
            json_pack("[{s:s,s:s,s:i}]", "name", name, "subject", name, "version", 1));
    }
    char *body = json_dumps(pack, JSON_COMPACT);
    json_decref(pack);
    snprintf(path, sizeof path, "/subjects/%s/versions", in);
    schema_http_begin(http, path, body);
    enum schema_http_state s = SCHEMA_HTTP_BUSY;
    while (s == SCHEMA_HTTP_BUSY) {
        s = schema_http_turn(http, 100, &a);
    }
    free(body);
    if (s != SCHEMA_HTTP_ANSWERED || a.status != 200) {
        fail_msg("%s: %ld %.*s", a.text, a.status, (int)a.len, a.len > 0 ? a.body : "");
    }
    json_t *answer = json_loadb(a.body, a.len, 0, &bad);
    const uint32_t id = (uint32_t)json_integer_value(json_object_get(answer, "id"));
    json_decref(answer);
    return id;
}

/* Our schema with this field before the others, and the record under another name. */
static char *with_field(const char *field)
{
    const char *ours = avro_schema_text();
    const char *at = strstr(ours, "{\"name\": \"id\"");
    char *text = malloc(strlen(ours) + strlen(field) + 8);
    assert_true(at != NULL && text != NULL);
    sprintf(text, "%.*s%s,%s", (int)(at - ours), ours, field, at);
    return text;
}

static struct tx payment(int number, struct tx_strings *s, char text[16])
{
    const int n = snprintf(text, 16, "late%d", number);
    *s = (struct tx_strings){
        .id = {text, (size_t)n}, .card = {"c-late", 6}, .merchant = {"m1", 2}, .exponent = 2};
    return (struct tx){.event_us = INT64_C(1775046605000000) + number * INT64_C(60000007),
                       .amount_minor = 1000 + number,
                       .currency = "EUR",
                       .mcc = 5411};
}

/* Schemas that hold one field more than ours, and that field's bytes. */
struct change {
    uint32_t id[SITES];
    struct slice bytes[SITES];
};

static void send_payment(const struct tx *t, const struct tx_strings *s, const struct change *c)
{
    static const enum wire_format FORMATS[SITES] = {FORMAT_JSON, FORMAT_AVRO, FORMAT_PROTOBUF};
    char bytes[ENCODE_MAX + 64];
    size_t len = 0;
    assert_int_equal(encode_tx(t, s, bytes, ENCODE_MAX, &len), ERR_OK);
    cluster_send(&cluster, topic[JSON][TOPIC_TRANSACTIONS], 0, "c-late", bytes, len);
    for (int i = AVRO; i < SITES; i++) {
        const struct slice more = c->bytes[i];
        assert_int_equal(schemas_write(FORMATS[i], c->id[i], t, s, bytes, ENCODE_MAX, &len),
                         ERR_OK);
        /* the first field of the record; of a message, whose order is free, the last one */
        char *at = i == AVRO ? bytes + SCHEMAS_HEADER : bytes + len;
        memmove(at + more.len, at, (size_t)(bytes + len - at));
        memcpy(at, more.at, more.len);
        cluster_send(&cluster, topic[i][TOPIC_TRANSACTIONS], 0, "c-late", bytes, len + more.len);
    }
    sent++;
}

/* The same payment to all sites. */
static void send_all(int number, const struct change *c)
{
    struct tx_strings s;
    char name[16];
    const struct tx t = payment(number, &s, name);
    send_payment(&t, &s, c);
}

/* Our schema in Protobuf with these lines before the message, and this field in it. */
static char *with_more(const char *before, const char *field)
{
    const char *ours = proto_schema_text();
    const char *at = strstr(ours, "message Transaction {");
    const char *in = strstr(ours, "  string id = 1;");
    char *text = malloc(strlen(ours) + strlen(before) + strlen(field) + 8);
    assert_true(at != NULL && in != NULL && text != NULL);
    sprintf(text, "%.*s%s\n%.*s%s\n%s", (int)(at - ours), ours, before, (int)(in - at), at, field,
            in);
    return text;
}

/* ---- what came of it ---- */

struct letters {
    const char *reason, *detail;
    int found;
};

static bool header_has(const rd_kafka_message_t *m, const char *name, const char *text)
{
    rd_kafka_headers_t *all = NULL;
    const void *value = NULL;
    size_t len = 0;
    return rd_kafka_message_headers(m, &all) == RD_KAFKA_RESP_ERR_NO_ERROR &&
           rd_kafka_header_get_last(all, name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR &&
           memmem(value, len, text, strlen(text)) != NULL;
}

static void on_letter(void *ctx, const struct rd_kafka_message_s *m)
{
    struct letters *l = ctx;
    l->found += header_has(m, "reason", l->reason) && header_has(m, "detail", l->detail);
}

static int letters(int site, const char *reason, const char *detail)
{
    struct letters l = {reason, detail, 0};
    (void)cluster_read(&cluster, topic[site][TOPIC_DEAD_LETTERS], on_letter, &l);
    return l.found;
}

static void start_score(int site, const char *other_url)
{
    char path[96];
    static int starts;
    snprintf(path, sizeof path, "%s/score-%s-%d.log", folder, NAMES[site], ++starts);
    child_start(&score[site], path,
                (const char *const[]){"score", "--config", settings[site], "--registry.url",
                                      other_url != NULL ? other_url : url, NULL});
}

static bool through(int site)
{
    return cluster_end(&cluster, topic[site][TOPIC_DECISIONS], 0) +
               cluster_end(&cluster, topic[site][TOPIC_DEAD_LETTERS], 0) >=
           sent;
}

static bool all_through(void)
{
    return through(JSON) && through(AVRO) && through(PROTO);
}

struct text {
    char *at;
    size_t len, room;
};

static void on_decision(void *ctx, const struct rd_kafka_message_s *m)
{
    struct text *t = ctx;
    if (t->len + m->len + 1 > t->room) {
        t->room = 2 * (t->len + m->len + 1);
        t->at = realloc(t->at, t->room);
        assert_non_null(t->at);
    }
    memcpy(t->at + t->len, m->payload, m->len);
    t->at[t->len + m->len] = '\n';
    t->len += m->len + 1;
}

/* Decisions and alerts of all sites, in the order of the log. */
static void expect_same(enum bus_topic which)
{
    struct text t[SITES] = {{NULL, 0, 0}};
    for (int i = 0; i < SITES; i++) {
        const size_t n = cluster_read(&cluster, topic[i][which], on_decision, &t[i]);
        assert_true(n > 0);
        assert_int_equal(t[i].len, t[JSON].len);
        assert_memory_equal(t[i].at, t[JSON].at, t[i].len);
    }
    for (int i = 0; i < SITES; i++) {
        free(t[i].at);
    }
}

/* ---- tests ---- */

static void test_check_tells_that_the_schema_is_missing(void **state)
{
    char line[640];
    (void)state;
    for (int i = AVRO; i < SITES; i++) {
        assert_int_not_equal(
            run("check1", (const char *const[]){"check", "--config", settings[i], NULL}), 0);
        snprintf(
            line, sizeof line,
            "grep -q 'has no schema of subject %s' %s/check1.log && grep -q 'remedy .*jq.*\"%s\"' "
            "%s/check1.log",
            subject[i], folder, i == AVRO ? "AVRO" : "PROTOBUF", folder);
        shell(line);
    }
}

static void test_a_registry_that_is_away_is_waited_for(void **state)
{
    (void)state;
    for (int i = 0; i < SITES; i++) {
        assert_int_equal(run(NAMES[i], (const char *const[]){"produce", "--config", settings[i],
                                                             payments, NULL}),
                         0);
    }
    sent = cluster_end(&cluster, topic[JSON][TOPIC_TRANSACTIONS], 0);
    assert_in_range(sent, PAYMENTS / 2, PAYMENTS * 2);
    start_score(JSON, NULL);
    start_score(AVRO, "http://127.0.0.1:1"); /* nobody listens there */
    UNTIL(child_said(&score[AVRO], "registry_away"));
    UNTIL(through(JSON));
    assert_int_equal(cluster_end(&cluster, topic[AVRO][TOPIC_DECISIONS], 0), 0);
    assert_int_equal(cluster_end(&cluster, topic[AVRO][TOPIC_DEAD_LETTERS], 0), 0);
    child_signal(&score[AVRO], SIGTERM);
    assert_true(child_wait(&score[AVRO], CHILD_END_MS));
    assert_int_equal(child_code(&score[AVRO]), 0);
}

static void test_all_formats_give_the_decisions_of_json(void **state)
{
    char path[96];
    (void)state;
    start_score(AVRO, NULL);
    start_score(PROTO, NULL);
    snprintf(path, sizeof path, "%s/sink.log", folder);
    child_start(&sink, path, (const char *const[]){"sink", "--config", settings[PROTO], NULL});
    UNTIL(all_through());
    expect_same(TOPIC_DECISIONS);
    expect_same(TOPIC_ALERTS);
    UNTIL(database_count(server.db, "SELECT count(*) FROM transactions") == sent);
}

static void test_a_compatible_change_is_read(void **state)
{
    struct change c = {.bytes = {[AVRO] = {"\x06xyz", 4}, [PROTO] = {"\xa2\x06\x02\x0a\x00", 5}}};
    char *avro = with_field("{\"name\": \"branch\", \"type\": \"bank.Branch\", "
                            "\"default\": {\"name\": \"\"}}");
    char *proto = with_more("import \"bank/branch.proto\";", "  bank.Branch branch = 100;");
    (void)state;
    (void)enlist(
        AVRO, BRANCH_TYPE,
        "{\"type\": \"record\", \"name\": \"Branch\", \"namespace\": \"bank\", \"fields\": "
        "[{\"name\": \"name\", \"type\": \"string\"}]}");
    c.id[AVRO] = enlist(AVRO, subject[AVRO], avro);
    (void)enlist(PROTO, BRANCH_ESCAPED,
                 "syntax = \"proto3\"; package bank; message Branch { string name = 1; }");
    c.id[PROTO] = enlist(PROTO, subject[PROTO], proto);
    free(avro);
    free(proto);
    for (int i = 0; i < 20; i++) {
        send_all(i, &c);
    }
    UNTIL(all_through());
    expect_same(TOPIC_DECISIONS);
    for (int i = 0; i < SITES; i++) {
        assert_int_equal(cluster_end(&cluster, topic[i][TOPIC_DEAD_LETTERS], 0), 0);
    }
}

static void dead_in_all(uint32_t avro, uint32_t proto, const char *bytes, size_t len)
{
    char framed[2][64];
    for (int k = 0; k < 2; k++) {
        memcpy(framed[k], bytes, len);
        for (unsigned i = 0; i < 4 && avro != 0; i++) {
            framed[k][1 + i] = (char)(uint8_t)((k == 0 ? avro : proto) >> (24 - 8 * i));
        }
    }
    cluster_send(&cluster, topic[JSON][TOPIC_TRANSACTIONS], 0, "c", "{}", 2);
    cluster_send(&cluster, topic[AVRO][TOPIC_TRANSACTIONS], 0, "c", framed[0], len);
    cluster_send(&cluster, topic[PROTO][TOPIC_TRANSACTIONS], 0, "c", framed[1], len);
    sent++;
    refused++;
}

static void test_what_does_not_fit_is_refused_with_the_field_named(void **state)
{
    char detail[2][96];
    uint32_t id[2];
    (void)state;
    id[0] = enlist(AVRO, "renamed-value",
                   "{\"type\":\"record\",\"name\":\"T\",\"fields\":["
                   "{\"name\":\"id\",\"type\":\"string\"},{\"name\":\"ts\",\"type\":\"long\"},"
                   "{\"name\":\"pan\",\"type\":\"string\"},"
                   "{\"name\":\"type\",\"type\":\"string\"},"
                   "{\"name\":\"amount\",\"type\":\"long\"},"
                   "{\"name\":\"currency\",\"type\":\"string\"}]}");
    id[1] = enlist(PROTO, "renamed-proto-value",
                   "syntax = \"proto3\"; message T { string id = 1; int64 ts = 2; string pan = 3; "
                   "string type = 4; int64 amount = 5; string currency = 6; }");
    dead_in_all(id[0], id[1], "\0....\0", 6);
    dead_in_all(0, 0, "\0\0\x0f\x42\x3f?", 6);
    dead_in_all(0, 0, "{\"id\":\"t1\"}", 11);
    UNTIL(all_through());
    snprintf(detail[0], sizeof detail[0], "schema %u: card is missing there, or has another name",
             id[0]);
    snprintf(detail[1], sizeof detail[1],
             "schema %u: message T: card is missing there, or has another name", id[1]);
    for (int i = AVRO; i < SITES; i++) {
        assert_int_equal(letters(i, "schema", detail[i - AVRO]), 1);
        assert_int_equal(letters(i, "schema", "schema 999999: the registry does not know it"), 1);
        assert_int_equal(letters(i, "malformed", "a zero byte and a schema's id"), 1);
        assert_int_equal(cluster_end(&cluster, topic[i][TOPIC_DEAD_LETTERS], 0), refused);
    }
}

#define NUMBER "4111111111111111"

static void on_number(void *ctx, const struct rd_kafka_message_s *m)
{
    size_t *found = ctx;
    *found += memmem(m->payload, m->len, NUMBER, 16) != NULL;
}

/* In each format the same word on it, and it is nowhere afterwards.  In Protobuf the tag of channel
 * comes right behind the terminal, and is a letter that makes the number look like hexadecimal. */
static void test_card_numbers_are_refused_as_in_json(void **state)
{
    struct change c = {.bytes = {[AVRO] = {"", 0}, [PROTO] = {"", 0}}};
    struct tx_strings s;
    char name[16];
    size_t found = 0;
    struct tx t = payment(50, &s, name);
    (void)state;
    c.id[AVRO] = enlist(AVRO, "ours-value", avro_schema_text());
    c.id[PROTO] = enlist(PROTO, "ours-proto-value", proto_schema_text());
    t.mcc = 0;
    t.channel = CHANNEL_ATM;
    s.terminal = (struct slice){NUMBER, 16};
    send_payment(&t, &s, &c);
    s.terminal = (struct slice){NULL, 0};
    t.amount_minor = INT64_C(411111111111116); /* passes Luhn, too */
    send_payment(&t, &s, &c);
    refused += 2;
    UNTIL(all_through());
    for (int i = 0; i < SITES; i++) {
        assert_int_equal(letters(i, "card_number", "terminal holds a full card number"), 1);
        assert_int_equal(letters(i, "card_number", "amount looks like a full card number"), 1);
        for (int k = TOPIC_DECISIONS; k < TOPIC_COUNT; k++) {
            (void)cluster_read(&cluster, topic[i][k], on_number, &found);
        }
    }
    assert_int_equal(found, 0);
}

static void test_a_registry_that_hangs_is_waited_for(void **state)
{
    struct change c = {.bytes = {[AVRO] = {"\x02\x0e\x00", 3}, [PROTO] = {"\xa0\x06\x07", 3}}};
    char *avro = with_field("{\"name\": \"points\", \"type\": [\"null\", \"long\"]},"
                            "{\"name\": \"branches\", \"type\": {\"type\": \"array\", "
                            "\"items\": \"bank.Branch\"}}");
    char *proto = with_more("import \"bank/branch.proto\";",
                            "  int64 points = 100; repeated bank.Branch branches = 101;");
    (void)state;
    c.id[AVRO] = enlist(AVRO, "points-value", avro);
    c.id[PROTO] = enlist(PROTO, "points-proto-value", proto);
    free(avro);
    free(proto);
    assert_int_equal(kill(registry, SIGSTOP), 0);
    send_all(100, &c);
    UNTIL(through(JSON));
    nap_ms(1000);
    assert_false(through(AVRO) || through(PROTO));
    assert_int_equal(kill(registry, SIGCONT), 0);
    UNTIL(all_through());
    expect_same(TOPIC_DECISIONS);
    for (int i = 0; i < SITES; i++) {
        assert_int_equal(cluster_end(&cluster, topic[i][TOPIC_DEAD_LETTERS], 0), refused);
    }
    UNTIL(database_count(server.db, "SELECT count(*) FROM transactions") == sent - refused);
}

/* The last decision's schema, and what it refers to, are in state.dir. */
static void test_check_and_explain(void **state)
{
    char line[640];
    char id[64];
    (void)state;
    for (int i = AVRO; i < SITES; i++) {
        (void)run("check2", (const char *const[]){"check", "--config", settings[i], NULL});
        snprintf(line, sizeof line, "grep -q '^ok .*latest schema of %s .* fits' %s/check2.log",
                 subject[i], folder);
        shell(line);
    }
    snprintf(line, sizeof line, "tests/registry/registry.sh stop %s", folder);
    shell(line);
    registry = 0;
    snprintf(id, sizeof id, "formats/0/%lld", (long long)sent - 1);
    for (int i = AVRO; i < SITES; i++) {
        const int code = run("explain", (const char *const[]){"explain", "--config", settings[i],
                                                              "--decision", id, NULL});
        assert_true(code == 0 || i != PROTO); /* what is stored is that site's */
        snprintf(line, sizeof line, "grep -q 'sent  *the same bytes' %s/explain.log", folder);
        shell(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_tells_that_the_schema_is_missing),
        cmocka_unit_test(test_a_registry_that_is_away_is_waited_for),
        cmocka_unit_test(test_all_formats_give_the_decisions_of_json),
        cmocka_unit_test(test_a_compatible_change_is_read),
        cmocka_unit_test(test_what_does_not_fit_is_refused_with_the_field_named),
        cmocka_unit_test(test_card_numbers_are_refused_as_in_json),
        cmocka_unit_test(test_a_registry_that_hangs_is_waited_for),
        cmocka_unit_test(test_check_and_explain),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
