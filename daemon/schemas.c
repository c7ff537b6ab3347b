#include "daemon/schemas.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "daemon/avro.h"
#include "daemon/proto.h"
#include "daemon/schema_bundle.h"
#include "daemon/schema_http.h"

#define WAIT_MS 20             /* of one call: enough for a registry nearby */
#define RETRY_FIRST_US 200000  /* after a failure, doubling */
#define RETRY_MOST_US 10000000 /* .. up to */
#define ABSENT_US 30000000     /* so long an id is not asked for again */
#define NO_SUCH_SCHEMA 40403   /* what a registry calls an id or version that it does not know */
#define NO_SUCH_SUBJECT 40401

struct schemas {
    enum wire_format format;
    int64_t (*now_us)(void);
    struct schema_http *http;
    char folder[PATH_MAX - 64]; /* "": none */
    struct schema_known known[SCHEMAS_MAX];
    size_t count;
    uint64_t uses;
    bool asking;
    uint32_t asked;               /* the id, while asking */
    struct schema_bundle *bundle; /* what came of its answer, while more is asked for */
    int64_t retry_us;             /* not before */
    int64_t pause_us;             /* the latest pause */
    struct log_limit quiet;
    uint64_t answers, failures;
};

static const char *const FORMATS[] = {"json", "avro", "protobuf"};

const char *schemas_format_name(enum wire_format f)
{
    return FORMATS[f];
}

bool schemas_format(const char *name, enum wire_format *out)
{
    for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++) {
        if (strcmp(name, FORMATS[i]) == 0) {
            *out = (enum wire_format)i;
            return true;
        }
    }
    return false;
}

/* Answers are kept by the registry's address: another one has other ids. */
static void choose_folder(struct schemas *s, const char *dir)
{
    if (dir == NULL || dir[0] == '\0') {
        return;
    }
    const char *url = schema_http_url(s->http);
    const int n = snprintf(s->folder, sizeof s->folder, "%s/schemas-%016" PRIx64, dir,
                           hash_bytes(url, strlen(url), 0));
    if (n < 0 || (size_t)n >= sizeof s->folder) {
        s->folder[0] = '\0';
    }
}

enum err schemas_create(const struct conf *c, int64_t (*now_us)(void), struct schemas **out,
                        struct errmsg *e)
{
    enum wire_format format = FORMAT_JSON;
    (void)schemas_format(conf_text(c, "transactions.format"), &format);
    *out = NULL;
    if (format == FORMAT_JSON) {
        return ERR_OK;
    }
    struct schemas *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "cannot keep schemas: no memory");
    }
    s->format = format;
    s->now_us = now_us;
    s->quiet = (struct log_limit)LOG_LIMIT_INIT;
    enum err err = schema_http_create(c, &s->http, e);
    if (err != ERR_OK) {
        schemas_free(s);
        return err;
    }
    choose_folder(s, conf_text(c, "state.dir"));
    *out = s;
    return ERR_OK;
}

static void forget(struct schema_known *k)
{
    avro_schema_free(k->avro);
    proto_schema_free(k->proto);
}

void schemas_free(struct schemas *s)
{
    if (s != NULL) {
        for (size_t i = 0; i < s->count; i++) {
            forget(&s->known[i]);
        }
        schema_bundle_free(s->bundle);
        schema_http_free(s->http);
        free(s);
    }
}

bool schemas_id(const char *value, size_t len, uint32_t *out)
{
    const uint8_t *b = (const uint8_t *)value;
    if (value == NULL || len < SCHEMAS_HEADER || b[0] != 0) {
        return false;
    }
    *out = (uint32_t)b[1] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 8 | b[4];
    return true;
}

static struct schema_known *find(struct schemas *s, uint32_t id)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->known[i].id == id) {
            return &s->known[i];
        }
    }
    return NULL;
}

const struct schema_known *schemas_find(const struct schemas *s, uint32_t id)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->known[i].id == id) {
            return &s->known[i];
        }
    }
    return NULL;
}

/* ---- what the registry says ---- */

/* The one that was not needed for the longest time. */
static struct schema_known *oldest(struct schemas *s)
{
    struct schema_known *k = &s->known[0];
    for (size_t i = 1; i < s->count; i++) {
        k = s->known[i].used < k->used ? &s->known[i] : k;
    }
    return k;
}

/* A place for an id's answer: that of an earlier one, a new one, or the oldest. */
static struct schema_known *place(struct schemas *s, uint32_t id)
{
    struct schema_known *k = find(s, id);
    if (k == NULL) {
        k = s->count < SCHEMAS_MAX ? &s->known[s->count++] : oldest(s);
    }
    forget(k);
    *k = (struct schema_known){.id = id, .asked_us = s->now_us(), .used = ++s->uses};
    return k;
}

/* Takes what is known of an id. */
static enum err take_answer(struct schemas *s, uint32_t id, const struct schema_bundle *b,
                            struct errmsg *e)
{
    char quoted[300];
    struct schema_known made = {.id = id};
    const enum err err = schema_bundle_compile(b, &made, e);
    if (err != ERR_OK && err != ERR_MISMATCH) {
        return err;
    }
    struct schema_known *k = place(s, id);
    k->avro = made.avro;
    k->proto = made.proto;
    if (err == ERR_MISMATCH) {
        snprintf(k->why, sizeof k->why, "%.199s", e->text);
        log_line(FD_LOG_ERROR, "schema_refused", "id=%" PRIu32 " detail=%s", id,
                 log_quote(quoted, sizeof quoted, k->why));
    } else {
        log_line(FD_LOG_INFO, "schema_read", "id=%" PRIu32, id);
    }
    return ERR_OK;
}

static void path_of(const struct schemas *s, uint32_t id, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%" PRIu32 ".json", s->folder, id);
}

/* What was kept of an earlier answer; false: nothing that can be used. */
static bool read_kept(struct schemas *s, uint32_t id)
{
    char path[PATH_MAX];
    char wanted[SCHEMA_SUBJECT_BYTES];
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct schema_bundle *b = NULL;
    struct errmsg e = {""};
    if (s->folder[0] == '\0') {
        return false;
    }
    path_of(s, id, path);
    const bool good =
        file_read(path, 2 * SCHEMA_ANSWER_MAX, &bytes, &len, &e) == ERR_OK &&
        schema_bundle_create(s->format, (const char *)bytes, len, true, &b, &e) == ERR_OK &&
        !schema_bundle_wants(b, wanted) && take_answer(s, id, b, &e) == ERR_OK;
    schema_bundle_free(b);
    free(bytes);
    return good;
}

/* It only saves questions: a disk that fails is told and no more. */
static void keep(struct schemas *s, uint32_t id, const char *body, size_t len)
{
    char path[PATH_MAX];
    char quoted[600];
    struct errmsg e = {""};
    if (s->folder[0] == '\0') {
        return;
    }
    (void)mkdir(s->folder, 0750); /* what is wrong with it the writing tells */
    path_of(s, id, path);
    if (file_write(path, body, len, &e) != ERR_OK) {
        log_line(FD_LOG_WARN, "schema_not_kept", "id=%" PRIu32 " detail=%s", id,
                 log_quote(quoted, sizeof quoted, e.text));
    }
}

/* The registry's own number of an error; 0: none. */
static json_int_t error_code(const struct schema_http_answer *a)
{
    json_error_t bad;
    json_t *answer = json_loadb(a->body, a->len, 0, &bad);
    const json_int_t code = json_integer_value(json_object_get(answer, "error_code"));
    json_decref(answer);
    return code;
}

static void failed(struct schemas *s, const char *text)
{
    char quoted[700];
    uint64_t held = 0;
    s->failures++;
    s->pause_us = s->pause_us == 0                  ? RETRY_FIRST_US
                  : s->pause_us * 2 < RETRY_MOST_US ? s->pause_us * 2
                                                    : RETRY_MOST_US;
    s->retry_us = s->now_us() + s->pause_us;
    if (log_limit_pass(&s->quiet, text, s->now_us(), &held)) {
        log_line(FD_LOG_WARN, "registry_away",
                 "url=%s id=%" PRIu32 " not_shown=%" PRIu64 " detail=%s", schema_http_url(s->http),
                 s->asked, held, log_quote(quoted, sizeof quoted, text));
    }
}

/* The answer is whole, with what it refers to. */
static void on_whole(struct schemas *s)
{
    struct errmsg e = {""};
    char *text = schema_bundle_text(s->bundle);
    const enum err err = take_answer(s, s->asked, s->bundle, &e);
    if (err != ERR_OK) {
        failed(s, e.text);
    } else if (text != NULL) {
        keep(s, s->asked, text, strlen(text));
    }
    if (err == ERR_OK) {
        s->pause_us = 0;
        s->answers++;
    }
    free(text);
}

/* Takes an answer's body: the schema's, or after it that of a file which it imports. */
static enum err take_body(struct schemas *s, const struct schema_http_answer *a, struct errmsg *e)
{
    return s->bundle == NULL
               ? schema_bundle_create(s->format, a->body, a->len, false, &s->bundle, e)
               : schema_bundle_add(s->bundle, a->body, a->len, e);
}

static void on_answer(struct schemas *s, const struct schema_http_answer *a)
{
    struct errmsg e = {""};
    char text[sizeof e.text + 80];
    char path[SCHEMA_SUBJECT_BYTES];
    if (a->status == 404 && s->bundle == NULL && error_code(a) == NO_SUCH_SCHEMA) {
        struct schema_known *k = place(s, s->asked);
        k->absent = true;
        snprintf(k->why, sizeof k->why, "the registry does not know it");
        log_line(FD_LOG_ERROR, "schema_unknown", "id=%" PRIu32, s->asked);
        s->answers++;
        return;
    }
    if (a->status != 200) {
        const bool refused = a->status == 401 || a->status == 403;
        snprintf(text, sizeof text, "the registry answers with HTTP status %ld%s%s", a->status,
                 s->bundle != NULL ? " about a schema that this one refers to" : "",
                 refused ? "; look at registry.user-file" : "");
        failed(s, text);
    } else if (take_body(s, a, &e) != ERR_OK) {
        failed(s, e.text);
    } else if (schema_bundle_wants(s->bundle, path)) {
        s->asking = true;
        schema_http_begin(s->http, path, NULL);
        return;
    } else {
        on_whole(s);
    }
    schema_bundle_free(s->bundle);
    s->bundle = NULL;
}

static void ask(struct schemas *s, uint32_t id)
{
    char path[64];
    snprintf(path, sizeof path, "/schemas/ids/%" PRIu32, id);
    s->asking = true;
    s->asked = id;
    schema_http_begin(s->http, path, NULL);
}

static void go_on_asking(struct schemas *s)
{
    struct schema_http_answer a;
    const enum schema_http_state state = schema_http_turn(s->http, WAIT_MS, &a);
    if (state == SCHEMA_HTTP_BUSY) {
        return;
    }
    s->asking = false;
    if (state == SCHEMA_HTTP_FAILED) {
        failed(s, a.text);
        schema_bundle_free(s->bundle);
        s->bundle = NULL;
    } else {
        on_answer(s, &a);
    }
}

/* Whether what is known of an id will do. */
static bool suffices(struct schemas *s, struct schema_known *k, bool decided)
{
    if (k == NULL || (k->absent && (decided || s->now_us() - k->asked_us >= ABSENT_US))) {
        return false;
    }
    k->used = ++s->uses;
    return true;
}

bool schemas_ready(struct schemas *s, const char *value, size_t len, bool decided)
{
    uint32_t id = 0;
    if (!schemas_id(value, len, &id) || suffices(s, find(s, id), decided)) {
        return true;
    }
    if (!s->asking) {
        if (find(s, id) == NULL && read_kept(s, id)) {
            return true;
        }
        if (s->now_us() < s->retry_us) {
            return false;
        }
        ask(s, id);
    }
    go_on_asking(s);
    struct schema_known *k = find(s, id);
    if (k != NULL && k->absent && decided && !s->asking) {
        failed(s, "the registry does not know an id any more that payments were decided with; "
                  "give it its schemas back");
    }
    return suffices(s, k, decided);
}

/* ---- for check and produce ---- */

/* Asks and waits. */
static enum err answer_now(struct schemas *s, const char *path, const char *body,
                           struct schema_http_answer *out, struct errmsg *e)
{
    enum schema_http_state state = SCHEMA_HTTP_BUSY;
    schema_http_begin(s->http, path, body);
    while (state == SCHEMA_HTTP_BUSY) {
        state = schema_http_turn(s->http, 1000, out);
    }
    if (state == SCHEMA_HTTP_FAILED) {
        return err_set(e, out->certificate ? ERR_REFUSED : ERR_UNAVAILABLE, "%s: %s",
                       schema_http_url(s->http), out->text);
    }
    if (out->status == 401 || out->status == 403) {
        return err_set(e, ERR_REFUSED,
                       "%s answers with HTTP status %ld; look at registry.user-file",
                       schema_http_url(s->http), out->status);
    }
    return ERR_OK;
}

void schemas_subject(const char *topic, char out[SCHEMAS_SUBJECT_MAX])
{
    snprintf(out, SCHEMAS_SUBJECT_MAX, "%s-value", topic); /* of at most 249 bytes */
}

/* Has what a schema refers to in the bundle, and compiles it. */
static enum err compile_now(struct schemas *s, struct schema_bundle *b, struct errmsg *e)
{
    char path[SCHEMA_SUBJECT_BYTES];
    struct schema_http_answer a;
    struct schema_known made = {.id = 0};
    enum err err = ERR_OK;
    while (err == ERR_OK && schema_bundle_wants(b, path)) {
        err = answer_now(s, path, NULL, &a, e);
        if (err == ERR_OK && a.status != 200) {
            err = err_set(e, ERR_UNAVAILABLE, "%s answers with HTTP status %ld to %.200s",
                          schema_http_url(s->http), a.status, path);
        }
        err = err == ERR_OK ? schema_bundle_add(b, a.body, a.len, e) : err;
    }
    if (err == ERR_OK) {
        err = schema_bundle_compile(b, &made, e);
    }
    forget(&made);
    return err;
}

enum err schemas_latest(struct schemas *s, const char *subject, uint32_t *out_id, struct errmsg *e)
{
    char path[400];
    struct schema_http_answer a;
    struct schema_bundle *b = NULL;
    snprintf(path, sizeof path, "/subjects/%s/versions/latest", subject);
    enum err err = answer_now(s, path, NULL, &a, e);
    if (err != ERR_OK) {
        return err;
    }
    const json_int_t code = a.status == 404 ? error_code(&a) : 0;
    if (code == NO_SUCH_SUBJECT || code == NO_SUCH_SCHEMA) {
        return err_set(e, ERR_NOTFOUND, "%s has no schema of subject %s", schema_http_url(s->http),
                       subject);
    }
    if (a.status != 200) {
        return err_set(e, ERR_UNAVAILABLE, "%s answers with HTTP status %ld to %s",
                       schema_http_url(s->http), a.status, path);
    }
    err = schema_bundle_create(s->format, a.body, a.len, false, &b, e);
    err = err == ERR_OK ? schema_answer_id(a.body, a.len, out_id, e) : err;
    err = err == ERR_OK ? compile_now(s, b, e) : err;
    schema_bundle_free(b);
    return err;
}

enum err schemas_register(struct schemas *s, const char *subject, uint32_t *out_id,
                          struct errmsg *e)
{
    char path[400];
    struct schema_http_answer a;
    const bool avro = s->format == FORMAT_AVRO;
    json_t *ours = json_pack("{s:s,s:s}", "schema", avro ? avro_schema_text() : proto_schema_text(),
                             "schemaType", avro ? "AVRO" : "PROTOBUF");
    char *body = ours != NULL ? json_dumps(ours, JSON_COMPACT) : NULL;
    json_decref(ours);
    if (body == NULL) {
        return err_set(e, ERR_NOMEM, "cannot register a schema: no memory");
    }
    snprintf(path, sizeof path, "/subjects/%s/versions", subject);
    enum err err = answer_now(s, path, body, &a, e);
    free(body);
    if (err != ERR_OK) {
        return err;
    }
    if (a.status != 200) {
        return err_set(e, ERR_REFUSED, "%s answers with HTTP status %ld to our schema: %.*s",
                       schema_http_url(s->http), a.status, (int)(a.len < 200 ? a.len : 200),
                       a.body);
    }
    return schema_answer_id(a.body, a.len, out_id, e);
}

enum err schemas_write(enum wire_format f, uint32_t id, const struct tx *t,
                       const struct tx_strings *s, char *out, size_t cap, size_t *out_len)
{
    size_t len = 0;
    if (cap < SCHEMAS_HEADER) {
        return ERR_FULL;
    }
    out[0] = 0;
    for (unsigned i = 0; i < 4; i++) {
        out[1 + i] = (char)(uint8_t)(id >> (24 - 8 * i));
    }
    char *at = out + SCHEMAS_HEADER;
    cap -= SCHEMAS_HEADER;
    const enum err err = f == FORMAT_AVRO ? avro_payment_write(t, s, at, cap, &len)
                                          : proto_payment_write(t, s, at, cap, &len);
    *out_len = err == ERR_OK ? len + SCHEMAS_HEADER : *out_len;
    return err;
}

void schemas_stats(const struct schemas *s, struct schemas_stats *out)
{
    *out = (struct schemas_stats){
        .answers = s->answers, .failures = s->failures, .waiting = s->asking || s->pause_us > 0};
    for (size_t i = 0; i < s->count; i++) {
        out->known += s->known[i].avro != NULL || s->known[i].proto != NULL;
    }
}
