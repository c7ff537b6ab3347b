#include "daemon/schema_bundle.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/avro.h"
#include "daemon/proto.h"
#include "daemon/schema_http.h"

struct schema_bundle {
    enum wire_format format;
    json_t *answer; /* its member "files": text by the name that references say */
    json_t *wanted; /* array of references, the last one is asked for next */
    size_t bytes;   /* of all texts */
    bool too_large;
};

/* Puts those references of an answer on the list whose files are not there. */
static enum err want(struct schema_bundle *b, const json_t *answer, struct errmsg *e)
{
    const json_t *references = json_object_get(answer, "references");
    const json_t *files = json_object_get(b->answer, "files");
    for (size_t i = 0; i < json_array_size(references); i++) {
        json_t *r = json_array_get(references, i);
        const char *name = json_string_value(json_object_get(r, "name"));
        if (name == NULL || !json_is_string(json_object_get(r, "subject")) ||
            !json_is_integer(json_object_get(r, "version"))) {
            return err_set(e, ERR_CORRUPT, "a reference has no name, subject or version");
        }
        if (json_object_get(files, name) != NULL) {
            continue;
        }
        b->too_large = b->too_large || json_array_size(b->wanted) + json_object_size(files) >=
                                           SCHEMA_REFERENCES_MAX;
        if (!b->too_large && json_array_append(b->wanted, r) != 0) {
            return err_set(e, ERR_NOMEM, "no memory for a schema's references");
        }
    }
    return ERR_OK;
}

static enum err begin(struct schema_bundle *b, bool kept, struct errmsg *e)
{
    if (b->answer == NULL || b->wanted == NULL) {
        return err_set(e, ERR_CORRUPT, "the answer is no JSON");
    }
    if (!json_is_string(json_object_get(b->answer, "schema"))) {
        return err_set(e, ERR_CORRUPT, "the answer has no member schema");
    }
    if (!kept) {
        (void)json_object_del(b->answer, "files");
    }
    if (json_object_get(b->answer, "files") == NULL &&
        json_object_set_new(b->answer, "files", json_object()) != 0) {
        return err_set(e, ERR_NOMEM, "no memory for a schema");
    }
    b->bytes = json_string_length(json_object_get(b->answer, "schema"));
    return want(b, b->answer, e);
}

enum err schema_bundle_create(enum wire_format f, const char *body, size_t len, bool kept,
                              struct schema_bundle **out, struct errmsg *e)
{
    json_error_t bad;
    struct schema_bundle *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a schema");
    }
    b->format = f;
    b->answer = json_loadb(body, len, 0, &bad);
    b->wanted = json_array();
    const enum err err = begin(b, kept, e);
    if (err != ERR_OK) {
        schema_bundle_free(b);
        return err;
    }
    *out = b;
    return ERR_OK;
}

void schema_bundle_free(struct schema_bundle *b)
{
    if (b != NULL) {
        json_decref(b->answer);
        json_decref(b->wanted);
        free(b);
    }
}

/* A subject may be a path itself. */
static void escape(const char *from, char *to, size_t room)
{
    size_t n = 0;
    for (; *from != '\0' && n + 4 < room; from++) {
        const unsigned char c = (unsigned char)*from;
        const bool plain = isalnum(c) || strchr("-._~", c) != NULL;
        n += (size_t)snprintf(to + n, room - n, plain ? "%c" : "%%%02X", c);
    }
    to[n] = '\0';
}

static const json_t *next(const struct schema_bundle *b)
{
    const size_t n = json_array_size(b->wanted);
    return n > 0 && !b->too_large ? json_array_get(b->wanted, n - 1) : NULL;
}

bool schema_bundle_wants(const struct schema_bundle *b, char out[SCHEMA_SUBJECT_BYTES])
{
    char subject[SCHEMA_SUBJECT_BYTES - 64];
    const json_t *r = next(b);
    if (r == NULL) {
        return false;
    }
    escape(json_string_value(json_object_get(r, "subject")), subject, sizeof subject);
    snprintf(out, SCHEMA_SUBJECT_BYTES, "/subjects/%s/versions/%" JSON_INTEGER_FORMAT, subject,
             json_integer_value(json_object_get(r, "version")));
    return true;
}

enum err schema_bundle_add(struct schema_bundle *b, const char *body, size_t len, struct errmsg *e)
{
    json_error_t bad;
    json_t *answer = json_loadb(body, len, 0, &bad);
    json_t *text = json_object_get(answer, "schema");
    const json_t *r = next(b);
    enum err err = ERR_OK;
    if (r == NULL || !json_is_string(text)) {
        json_decref(answer);
        return err_set(e, ERR_CORRUPT, "the answer about a reference has no member schema");
    }
    b->bytes += json_string_length(text);
    b->too_large = b->too_large || b->bytes > SCHEMA_ANSWER_MAX / 2;
    if (json_object_set(json_object_get(b->answer, "files"),
                        json_string_value(json_object_get(r, "name")), text) != 0) {
        err = err_set(e, ERR_NOMEM, "no memory for a schema's references");
    }
    (void)json_array_remove(b->wanted, json_array_size(b->wanted) - 1);
    err = err == ERR_OK ? want(b, answer, e) : err;
    json_decref(answer);
    return err;
}

char *schema_bundle_text(const struct schema_bundle *b)
{
    return json_dumps(b->answer, JSON_COMPACT);
}

enum err schema_answer_id(const char *body, size_t len, uint32_t *out, struct errmsg *e)
{
    json_error_t bad;
    json_t *answer = json_loadb(body, len, 0, &bad);
    const json_t *id = json_object_get(answer, "id");
    const json_int_t v = json_is_integer(id) ? json_integer_value(id) : -1;
    json_decref(answer);
    if (v < 0 || v > UINT32_MAX) {
        return err_set(e, ERR_UNAVAILABLE, "the registry's answer has no id");
    }
    *out = (uint32_t)v;
    return ERR_OK;
}

/* The schema's own text, with those it refers to. */
static enum err compile(const struct schema_bundle *b, struct schema_known *out, struct errmsg *e)
{
    const json_t *own = json_object_get(b->answer, "schema");
    const char *text = json_string_value(own);
    const size_t len = json_string_length(own);
    struct schema_file files[SCHEMA_REFERENCES_MAX + 1];
    size_t count = 0;
    const char *name = NULL;
    json_t *file = NULL;
    json_object_foreach(json_object_get(b->answer, "files"), name, file)
    {
        if (json_is_string(file) && count < SCHEMA_REFERENCES_MAX) {
            files[count++] = (struct schema_file){name, json_string_value(file)};
        }
    }
    if (b->too_large) {
        return err_set(e, ERR_MISMATCH,
                       "it refers to more than %d other schemas, or has more than %zu bytes "
                       "with them",
                       SCHEMA_REFERENCES_MAX, SCHEMA_ANSWER_MAX / 2);
    }
    return b->format == FORMAT_AVRO ? avro_schema_create(text, len, files, count, &out->avro, e)
                                    : proto_schema_create(text, len, files, count, &out->proto, e);
}

enum err schema_bundle_compile(const struct schema_bundle *b, struct schema_known *out,
                               struct errmsg *e)
{
    const char *type = json_string_value(json_object_get(b->answer, "schemaType"));
    const char *wanted = b->format == FORMAT_AVRO ? "AVRO" : "PROTOBUF";
    type = type != NULL ? type : "AVRO"; /* absent: Avro */
    if (strcmp(type, wanted) != 0) {
        return err_set(e, ERR_MISMATCH, "it is of type %.20s, and transactions.format is %s", type,
                       schemas_format_name(b->format));
    }
    return compile(b, out, e);
}
