/* A schema's JSON (jansson, whose depth is bounded) to nodes. */
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/avro_private.h"
#include "daemon/schema_fields.h"

#define DEPTH_MAX 64       /* of types in types */
#define NAME_MAX_BYTES 256 /* of a full name */
#define SCALE_MAX 18

const char *const AVRO_TYPE_NAMES[AVRO_TYPES] = {"null",   "boolean", "int",    "long",   "float",
                                                 "double", "bytes",   "string", "record", "enum",
                                                 "fixed",  "array",   "map",    "union"};

/* A named type, as far as it is known. */
struct named {
    char name[NAME_MAX_BYTES];
    uint32_t node;
    const json_t *fields; /* of a record */
};

struct compile {
    struct avro_schema *s;
    struct named *named; /* [AVRO_NODES_MAX] */
    uint32_t named_count;
    const struct schema_file *files; /* [file_count]: what it refers to */
    json_t **parsed;                 /* [file_count]; NULL: not needed yet */
    size_t file_count;
    struct errmsg *e;
};

#define NO_NODE UINT32_MAX

static uint32_t compile(struct compile *c, const json_t *j, const char *space, int depth);

static uint32_t refuse(struct compile *c, const char *what, const char *name)
{
    (void)err_set(c->e, ERR_MISMATCH, "%s \"%.80s\"", what, name);
    return NO_NODE;
}

/* Makes room for `more` elements behind `count`; false: no memory. */
static bool grow(void **array, size_t size, uint32_t count, uint32_t more, uint32_t *room)
{
    if (*array != NULL && count + more <= *room) {
        return true;
    }
    const uint32_t wanted = 2 * (count + more) + 8;
    void *grown = realloc(*array, wanted * size);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *room = wanted;
    return true;
}

static uint32_t add_node(struct compile *c, enum avro_type type)
{
    if (c->s->node_count == AVRO_NODES_MAX) {
        (void)err_set(c->e, ERR_MISMATCH, "it has more than %d types", AVRO_NODES_MAX);
        return NO_NODE;
    }
    c->s->node[c->s->node_count] = (struct avro_node){.type = (uint8_t)type};
    return c->s->node_count++;
}

/* A stretch of links; NO_NODE: no memory. */
static uint32_t add_links(struct compile *c, size_t count)
{
    struct avro_schema *s = c->s;
    void *links = s->link;
    if (count > AVRO_NODES_MAX ||
        !grow(&links, sizeof *s->link, s->link_count, (uint32_t)count, &s->link_room)) {
        (void)err_set(c->e, ERR_MISMATCH, "a type in it has %zu parts", count);
        return NO_NODE;
    }
    s->link = links;
    s->link_count += (uint32_t)count;
    return s->link_count - (uint32_t)count;
}

/* The full name and the namespace that it leaves to what stands inside; false: too long. */
static bool full_name(const json_t *j, const char *space, char out[NAME_MAX_BYTES],
                      char out_space[NAME_MAX_BYTES])
{
    const char *name = json_string_value(json_object_get(j, "name"));
    const char *own = json_string_value(json_object_get(j, "namespace"));
    if (name == NULL || name[0] == '\0') {
        return false;
    }
    const char *dot = strrchr(name, '.');
    const char *in = own != NULL ? own : space;
    int n = 0;
    if (dot != NULL) {
        n = snprintf(out, NAME_MAX_BYTES, "%s", name);
        snprintf(out_space, NAME_MAX_BYTES, "%.*s", (int)(dot - name), name);
    } else {
        n = snprintf(out, NAME_MAX_BYTES, "%s%s%s", in, in[0] != '\0' ? "." : "", name);
        snprintf(out_space, NAME_MAX_BYTES, "%s", in);
    }
    return n > 0 && n < NAME_MAX_BYTES && strlen(in) < NAME_MAX_BYTES;
}

static uint32_t find_named(const struct compile *c, const char *name)
{
    for (uint32_t i = 0; i < c->named_count; i++) {
        if (strcmp(c->named[i].name, name) == 0) {
            return c->named[i].node;
        }
    }
    return NO_NODE;
}

static uint32_t compile_file(struct compile *c, size_t i, int depth)
{
    json_error_t bad;
    c->parsed[i] = json_loads(c->files[i].text, JSON_DECODE_ANY, &bad);
    return c->parsed[i] != NULL
               ? compile(c, c->parsed[i], "", depth)
               : refuse(c, "a schema that it refers to is no JSON:", c->files[i].name);
}

/* The type of that name, from the schema referred to by it where it is not known yet; false: that
 * one cannot be compiled. */
static bool look_up(struct compile *c, const char *name, int depth, uint32_t *out)
{
    *out = find_named(c, name);
    for (size_t i = 0; i < c->file_count && *out == NO_NODE; i++) {
        if (c->parsed[i] == NULL && strcmp(c->files[i].name, name) == 0) {
            if (compile_file(c, i, depth + 1) == NO_NODE) {
                return false;
            }
            *out = find_named(c, name);
        }
    }
    return true;
}

static uint32_t by_name(struct compile *c, const char *name, const char *space, int depth)
{
    char full[NAME_MAX_BYTES];
    for (int t = 0; t < AVRO_TYPES; t++) {
        if (t != AVRO_RECORD && t != AVRO_ENUM && t != AVRO_FIXED && t != AVRO_ARRAY &&
            t != AVRO_MAP && t != AVRO_UNION && strcmp(name, AVRO_TYPE_NAMES[t]) == 0) {
            return add_node(c, (enum avro_type)t);
        }
    }
    uint32_t found = NO_NODE;
    if (strchr(name, '.') == NULL && space[0] != '\0') {
        const int n = snprintf(full, sizeof full, "%s.%s", space, name);
        if (n < NAME_MAX_BYTES && !look_up(c, full, depth, &found)) {
            return NO_NODE;
        }
    }
    if (found == NO_NODE && !look_up(c, name, depth, &found)) {
        return NO_NODE;
    }
    return found != NO_NODE
               ? found
               : refuse(c,
                        "it names a type that neither it nor a schema that it refers to defines:",
                        name);
}

/* Gives a new named type its name. */
static bool enter(struct compile *c, const char *full, uint32_t node, const json_t *fields)
{
    if (find_named(c, full) != NO_NODE) {
        (void)refuse(c, "it defines a type twice:", full);
        return false;
    }
    struct named *n = &c->named[c->named_count++];
    snprintf(n->name, sizeof n->name, "%s", full);
    n->node = node;
    n->fields = fields;
    return true;
}

static enum avro_logical logical_of(const json_t *j, enum avro_type type)
{
    const char *name = json_string_value(json_object_get(j, "logicalType"));
    if (name == NULL) {
        return AVRO_PLAIN;
    }
    if (strcmp(name, "timestamp-millis") == 0 && type == AVRO_LONG) {
        return AVRO_MILLIS;
    }
    if (strcmp(name, "timestamp-micros") == 0 && type == AVRO_LONG) {
        return AVRO_MICROS;
    }
    if (strcmp(name, "decimal") == 0 && (type == AVRO_BYTES || type == AVRO_FIXED)) {
        return AVRO_DECIMAL;
    }
    return strcmp(name, "uuid") == 0 && type == AVRO_STRING ? AVRO_UUID : AVRO_OTHER;
}

static uint32_t annotate(struct compile *c, const json_t *j, uint32_t node)
{
    if (node == NO_NODE) {
        return node;
    }
    struct avro_node *n = &c->s->node[node];
    n->logical = (uint8_t)logical_of(j, (enum avro_type)n->type);
    if (n->logical == AVRO_DECIMAL) {
        const json_t *scale = json_object_get(j, "scale");
        const json_int_t v = scale != NULL ? json_integer_value(scale) : 0;
        if (v < 0 || v > SCALE_MAX || (scale != NULL && !json_is_integer(scale))) {
            n->logical = AVRO_OTHER;
        }
        n->scale = (uint8_t)(n->logical == AVRO_DECIMAL ? v : 0);
    }
    return node;
}

static uint32_t compile_record(struct compile *c, const json_t *j, const char *space, int depth)
{
    char full[NAME_MAX_BYTES];
    char inner[NAME_MAX_BYTES];
    const json_t *fields = json_object_get(j, "fields");
    if (!full_name(j, space, full, inner) || !json_is_array(fields)) {
        return refuse(c, "it has a record without a name of at most 255 bytes or without fields,",
                      "record");
    }
    const uint32_t node = add_node(c, AVRO_RECORD);
    if (node == NO_NODE || !enter(c, full, node, fields)) {
        return NO_NODE;
    }
    const size_t count = json_array_size(fields);
    const uint32_t first = add_links(c, count);
    if (first == NO_NODE) {
        return NO_NODE;
    }
    c->s->node[node].first = first;
    c->s->node[node].count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const json_t *f = json_array_get(fields, i);
        if (json_string_value(json_object_get(f, "name")) == NULL) {
            return refuse(c, "a field has no name in the record", full);
        }
        const uint32_t type = compile(c, json_object_get(f, "type"), inner, depth + 1);
        if (type == NO_NODE) {
            return NO_NODE;
        }
        c->s->link[first + i] = type;
    }
    return node;
}

static uint32_t compile_enum(struct compile *c, const json_t *j, const char *space)
{
    char full[NAME_MAX_BYTES];
    char inner[NAME_MAX_BYTES];
    struct avro_schema *s = c->s;
    const json_t *symbols = json_object_get(j, "symbols");
    const size_t count = json_array_size(symbols);
    if (!full_name(j, space, full, inner) || count == 0 || count > AVRO_NODES_MAX) {
        return refuse(c, "it has an enum without a name, or without symbols,", "enum");
    }
    const uint32_t node = add_node(c, AVRO_ENUM);
    void *room = s->symbol;
    if (node == NO_NODE || !enter(c, full, node, NULL)) {
        return NO_NODE;
    }
    if (!grow(&room, sizeof *s->symbol, s->symbol_count, (uint32_t)count, &s->symbol_room)) {
        return refuse(c, "no memory for the symbols of", full);
    }
    s->symbol = room;
    s->node[node].first = s->symbol_count;
    s->node[node].count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(symbols, i));
        char *copy = text != NULL ? strdup(text) : NULL;
        if (copy == NULL) {
            return refuse(c, "a symbol is no text in the enum", full);
        }
        s->symbol[s->symbol_count++] = (struct avro_symbol){copy, strlen(copy)};
    }
    return node;
}

static uint32_t compile_fixed(struct compile *c, const json_t *j, const char *space)
{
    char full[NAME_MAX_BYTES];
    char inner[NAME_MAX_BYTES];
    const json_t *size = json_object_get(j, "size");
    if (!full_name(j, space, full, inner) || !json_is_integer(size) ||
        json_integer_value(size) < 0 || json_integer_value(size) > INT_MAX) {
        return refuse(c, "it has a fixed type without a name or size,", "fixed");
    }
    const uint32_t node = add_node(c, AVRO_FIXED);
    if (node == NO_NODE || !enter(c, full, node, NULL)) {
        return NO_NODE;
    }
    c->s->node[node].count = (uint32_t)json_integer_value(size);
    return node;
}

static uint32_t compile_items(struct compile *c, enum avro_type type, const json_t *items,
                              const char *space, int depth)
{
    const uint32_t node = add_node(c, type);
    const uint32_t first = node != NO_NODE ? add_links(c, 1) : NO_NODE;
    const uint32_t item = first != NO_NODE ? compile(c, items, space, depth + 1) : NO_NODE;
    if (item == NO_NODE) {
        return NO_NODE;
    }
    c->s->link[first] = item;
    c->s->node[node].first = first;
    c->s->node[node].count = 1;
    return node;
}

static uint32_t compile_union(struct compile *c, const json_t *j, const char *space, int depth)
{
    const size_t count = json_array_size(j);
    const uint32_t node =
        count > 0 ? add_node(c, AVRO_UNION) : refuse(c, "it has an empty", "union");
    const uint32_t first = node != NO_NODE ? add_links(c, count) : NO_NODE;
    if (first == NO_NODE) {
        return NO_NODE;
    }
    c->s->node[node].first = first;
    c->s->node[node].count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const uint32_t branch = compile(c, json_array_get(j, i), space, depth + 1);
        if (branch == NO_NODE) {
            return NO_NODE;
        }
        if (c->s->node[branch].type == AVRO_UNION) {
            return refuse(c, "it has a union directly in a", "union");
        }
        c->s->link[first + i] = branch;
    }
    return node;
}

static uint32_t compile(struct compile *c, const json_t *j, const char *space, int depth)
{
    if (depth > DEPTH_MAX) {
        (void)err_set(c->e, ERR_MISMATCH, "its types are nested more than %d deep", DEPTH_MAX);
        return NO_NODE;
    }
    if (json_is_string(j)) {
        return by_name(c, json_string_value(j), space, depth);
    }
    if (json_is_array(j)) {
        return compile_union(c, j, space, depth);
    }
    const json_t *type = json_object_get(j, "type");
    const char *name = json_string_value(type);
    if (name == NULL) { /* {"type": {..}} is allowed around a type */
        return json_is_object(type) || json_is_array(type)
                   ? compile(c, type, space, depth + 1)
                   : refuse(c, "it has a type that is neither a name, a list nor an object with a",
                            "type");
    }
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0) {
        return compile_record(c, j, space, depth);
    }
    if (strcmp(name, "enum") == 0) {
        return compile_enum(c, j, space);
    }
    if (strcmp(name, "fixed") == 0) {
        return annotate(c, j, compile_fixed(c, j, space));
    }
    if (strcmp(name, "array") == 0) {
        return compile_items(c, AVRO_ARRAY, json_object_get(j, "items"), space, depth);
    }
    if (strcmp(name, "map") == 0) {
        return compile_items(c, AVRO_MAP, json_object_get(j, "values"), space, depth);
    }
    const uint32_t before = c->s->node_count;
    const uint32_t node = by_name(c, name, space, depth);
    return node == before ? annotate(c, j, node) : node; /* a named type has its own */
}

/* ---- against the payment's fields ---- */

static unsigned kind_of(const struct avro_node *n)
{
    switch ((enum avro_type)n->type) {
    case AVRO_INT:
    case AVRO_LONG:
        return n->logical == AVRO_MICROS  ? TAKES_MICROS
               : n->logical == AVRO_OTHER ? 0
                                          : TAKES_INTEGER;
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
        return TAKES_REAL;
    case AVRO_BYTES:
    case AVRO_FIXED:
        return n->logical == AVRO_DECIMAL                          ? TAKES_DECIMAL
               : n->type == AVRO_BYTES && n->logical == AVRO_PLAIN ? TAKES_TEXT
                                                                   : 0;
    case AVRO_STRING:
        return n->logical == AVRO_OTHER ? 0 : TAKES_TEXT;
    case AVRO_ENUM:
        return TAKES_TEXT;
    default:
        return 0;
    }
}

/* Whether a field's type, or each of its union's but null, is one that the member takes; a
 * timestamp in milliseconds is no number of anything else. */
static enum err check_field(const struct avro_schema *s, enum member m, uint32_t type,
                            struct errmsg *e)
{
    const struct avro_node *n = &s->node[type];
    const uint32_t count = n->type == AVRO_UNION ? n->count : 1;
    uint32_t values = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct avro_node *b = n->type == AVRO_UNION ? &s->node[s->link[n->first + i]] : n;
        if (b->type == AVRO_NULL) {
            continue;
        }
        values++;
        if ((kind_of(b) & schema_takes(m)) == 0 || (b->logical == AVRO_MILLIS && m != MEMBER_TS)) {
            return err_set(
                e, ERR_MISMATCH, "%s is %s%s there, and must be %s", member_name(m),
                b->logical != AVRO_PLAIN && b->logical != AVRO_UUID ? "of a logical type on " : "",
                AVRO_TYPE_NAMES[b->type], schema_takes_words(m));
        }
    }
    return values > 0 ? ERR_OK
                      : err_set(e, ERR_MISMATCH, "%s is always null there", member_name(m));
}

static enum err resolve(struct avro_schema *s, const json_t *fields, struct errmsg *e)
{
    const struct avro_node *root = &s->node[s->root];
    uint64_t present = 0;
    enum err err = ERR_OK;
    s->member = malloc(root->count + 1);
    if (s->member == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a schema of %u fields", root->count);
    }
    for (uint32_t i = 0; i < root->count && err == ERR_OK; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(fields, i), "name"));
        const enum member m = schema_member(name, strlen(name));
        s->member[i] = (uint8_t)m;
        if (m == MEMBER_COUNT) {
            continue;
        }
        err = (present & MEMBER_BIT(m)) != 0
                  ? err_set(e, ERR_MISMATCH, "%s is there twice", member_name(m))
                  : check_field(s, m, s->link[root->first + i], e);
        present |= MEMBER_BIT(m);
    }
    const enum member lacks = schema_lacks(present);
    if (err == ERR_OK && lacks != MEMBER_COUNT) {
        err = err_set(e, ERR_MISMATCH, "%s is missing there, or has another name",
                      member_name(lacks));
    }
    return err;
}

/* Those it refers to first: the schema may name any type of theirs. */
static uint32_t compile_all(struct compile *c, const json_t *root)
{
    for (size_t i = 0; i < c->file_count; i++) {
        if (c->parsed[i] == NULL && compile_file(c, i, 0) == NO_NODE) {
            return NO_NODE;
        }
    }
    return compile(c, root, "", 0);
}

static enum err compile_root(struct compile *c, const json_t *root)
{
    struct avro_schema *s = c->s;
    s->node = malloc(AVRO_NODES_MAX * sizeof *s->node);
    if (c->named == NULL || c->parsed == NULL || s->node == NULL) {
        return err_set(c->e, ERR_NOMEM, "no memory for a schema");
    }
    s->root = compile_all(c, root);
    if (s->root == NO_NODE) {
        return ERR_MISMATCH;
    }
    if (s->node[s->root].type != AVRO_RECORD) {
        return err_set(c->e, ERR_MISMATCH, "it is no record but %s",
                       AVRO_TYPE_NAMES[s->node[s->root].type]);
    }
    struct avro_node *nodes = realloc(s->node, s->node_count * sizeof *nodes);
    s->node = nodes != NULL ? nodes : s->node;
    const struct named *record = c->named;
    while (record->node != s->root) { /* every record has a name */
        record++;
    }
    return resolve(s, record->fields, c->e);
}

static enum err compile_schema(struct avro_schema *s, const json_t *root,
                               const struct schema_file *files, size_t count, struct errmsg *e)
{
    struct compile c = {.s = s, .files = files, .file_count = count, .e = e};
    c.named = malloc(AVRO_NODES_MAX * sizeof *c.named);
    c.parsed = calloc(count + 1, sizeof(json_t *));
    const enum err err = compile_root(&c, root);
    for (size_t i = 0; c.parsed != NULL && i < count; i++) {
        json_decref(c.parsed[i]);
    }
    free(c.parsed);
    free(c.named);
    return err;
}

enum err avro_schema_create(const char *text, size_t len, const struct schema_file *files,
                            size_t count, struct avro_schema **out, struct errmsg *e)
{
    json_error_t bad;
    json_t *root = json_loadb(text, len, JSON_DECODE_ANY, &bad);
    if (root == NULL) {
        return err_set(e, ERR_MISMATCH, "it is no JSON: line %d: %.120s", bad.line, bad.text);
    }
    struct avro_schema *s = calloc(1, sizeof *s);
    enum err err = s == NULL ? err_set(e, ERR_NOMEM, "no memory for a schema")
                             : compile_schema(s, root, files, count, e);
    json_decref(root);
    if (err != ERR_OK) {
        avro_schema_free(s);
        return err;
    }
    *out = s;
    return ERR_OK;
}

void avro_schema_free(struct avro_schema *s)
{
    if (s == NULL) {
        return;
    }
    for (uint32_t i = 0; i < s->symbol_count; i++) {
        free(s->symbol[i].at);
    }
    free(s->symbol);
    free(s->link);
    free(s->node);
    free(s->member);
    free(s);
}
