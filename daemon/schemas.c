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
    uint32_t asked;   /* the id, while asking */
    int64_t retry_us; /* not before */
    int64_t pause_us; /* the latest pause */
    struct log_limit quiet;
    uint64_t answers, failures;
};

static const char *const FORMATS[] = {"json", "avro"};

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

void schemas_free(struct schemas *s)
{
    if (s != NULL) {
        for (size_t i = 0; i < s->count; i++) {
            avro_schema_free(s->known[i].avro);
        }
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

/* Compiles the schema of an answer {"schema": "..", "schemaType": ".."}.  ERR_MISMATCH: it is one,
 * and payments cannot be read with it; ERR_CORRUPT: no such answer; ERR_NOMEM. */
static enum err compile(const struct schemas *s, const json_t *answer, struct avro_schema **out,
                        struct errmsg *e)
{
    const json_t *text = json_object_get(answer, "schema");
    const json_t *type = json_object_get(answer, "schemaType"); /* absent: Avro */
    if (!json_is_string(text)) {
        return err_set(e, ERR_CORRUPT, "the answer has no member schema");
    }
    const char *name = json_is_string(type) ? json_string_value(type) : "AVRO";
    if (strcmp(name, "AVRO") != 0) {
        return err_set(e, ERR_MISMATCH, "it is of type %.20s, and transactions.format is %s", name,
                       schemas_format_name(s->format));
    }
    return avro_schema_create(json_string_value(text), json_string_length(text), out, e);
}

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
    avro_schema_free(k->avro);
    *k = (struct schema_known){.id = id, .asked_us = s->now_us(), .used = ++s->uses};
    return k;
}

/* Takes what is known of an id; false: it is no answer, e says why. */
static bool take_answer(struct schemas *s, uint32_t id, const char *body, size_t len,
                        struct errmsg *e)
{
    char quoted[300];
    json_error_t bad;
    json_t *answer = json_loadb(body, len, 0, &bad);
    struct avro_schema *made = NULL;
    const enum err err = answer == NULL ? err_set(e, ERR_CORRUPT, "the answer is no JSON")
                                        : compile(s, answer, &made, e);
    json_decref(answer);
    if (err != ERR_OK && err != ERR_MISMATCH) {
        return false;
    }
    struct schema_known *k = place(s, id);
    k->avro = made;
    if (err == ERR_MISMATCH) {
        snprintf(k->why, sizeof k->why, "%.199s", e->text);
        log_line(FD_LOG_ERROR, "schema_refused", "id=%" PRIu32 " detail=%s", id,
                 log_quote(quoted, sizeof quoted, k->why));
    } else {
        log_line(FD_LOG_INFO, "schema_read", "id=%" PRIu32, id);
    }
    return true;
}

static void path_of(const struct schemas *s, uint32_t id, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%" PRIu32 ".json", s->folder, id);
}

/* What was kept of an earlier answer; false: nothing that can be used. */
static bool read_kept(struct schemas *s, uint32_t id)
{
    char path[PATH_MAX];
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct errmsg e = {""};
    if (s->folder[0] == '\0') {
        return false;
    }
    path_of(s, id, path);
    const bool good = file_read(path, SCHEMA_ANSWER_MAX, &bytes, &len, &e) == ERR_OK &&
                      take_answer(s, id, (const char *)bytes, len, &e);
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

static void on_answer(struct schemas *s, const struct schema_http_answer *a)
{
    struct errmsg e = {""};
    char text[sizeof e.text + 80];
    if (a->status == 404 && error_code(a) == NO_SUCH_SCHEMA) {
        struct schema_known *k = place(s, s->asked);
        k->absent = true;
        snprintf(k->why, sizeof k->why, "the registry does not know it");
        log_line(FD_LOG_ERROR, "schema_unknown", "id=%" PRIu32, s->asked);
    } else if (a->status != 200) {
        snprintf(text, sizeof text, "the registry answers with HTTP status %ld", a->status);
        failed(s, text);
        return;
    } else if (!take_answer(s, s->asked, a->body, a->len, &e)) {
        failed(s, e.text);
        return;
    } else {
        keep(s, s->asked, a->body, a->len);
        s->pause_us = 0;
    }
    s->answers++;
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
        return err_set(e, ERR_UNAVAILABLE, "%s: %s", schema_http_url(s->http), out->text);
    }
    if (out->status == 401 || out->status == 403) {
        return err_set(e, ERR_REFUSED,
                       "%s answers with HTTP status %ld; look at registry.user-file",
                       schema_http_url(s->http), out->status);
    }
    return ERR_OK;
}

static enum err id_of(const json_t *answer, uint32_t *out, struct errmsg *e)
{
    const json_t *id = json_object_get(answer, "id");
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > UINT32_MAX) {
        return err_set(e, ERR_UNAVAILABLE, "the registry's answer has no id");
    }
    *out = (uint32_t)json_integer_value(id);
    return ERR_OK;
}

void schemas_subject(const char *topic, char out[SCHEMAS_SUBJECT_MAX])
{
    snprintf(out, SCHEMAS_SUBJECT_MAX, "%s-value", topic); /* of at most 249 bytes */
}

enum err schemas_latest(struct schemas *s, const char *subject, uint32_t *out_id, struct errmsg *e)
{
    char path[400];
    struct schema_http_answer a;
    struct avro_schema *made = NULL;
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
    json_error_t bad;
    json_t *answer = json_loadb(a.body, a.len, 0, &bad);
    err = id_of(answer, out_id, e);
    if (err == ERR_OK) {
        err = compile(s, answer, &made, e);
    }
    avro_schema_free(made);
    json_decref(answer);
    return err;
}

enum err schemas_register(struct schemas *s, const char *subject, uint32_t *out_id,
                          struct errmsg *e)
{
    char path[400];
    struct schema_http_answer a;
    json_t *ours = json_pack("{s:s}", "schema", avro_schema_text());
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
    json_error_t bad;
    json_t *answer = json_loadb(a.body, a.len, 0, &bad);
    err = id_of(answer, out_id, e);
    json_decref(answer);
    return err;
}

enum err schemas_write(enum wire_format f, uint32_t id, const struct tx *t,
                       const struct tx_strings *s, char *out, size_t cap, size_t *out_len)
{
    size_t len = 0;
    (void)f;
    if (cap < SCHEMAS_HEADER) {
        return ERR_FULL;
    }
    out[0] = 0;
    for (unsigned i = 0; i < 4; i++) {
        out[1 + i] = (char)(uint8_t)(id >> (24 - 8 * i));
    }
    const enum err err = avro_payment_write(t, s, out + SCHEMAS_HEADER, cap - SCHEMAS_HEADER, &len);
    *out_len = err == ERR_OK ? len + SCHEMAS_HEADER : *out_len;
    return err;
}

void schemas_stats(const struct schemas *s, struct schemas_stats *out)
{
    *out = (struct schemas_stats){
        .answers = s->answers, .failures = s->failures, .waiting = s->asking || s->pause_us > 0};
    for (size_t i = 0; i < s->count; i++) {
        out->known += s->known[i].avro != NULL;
    }
}
