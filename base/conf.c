#include "base/conf.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_values.h"
#include "base/timefmt.h"

static const char *const TYPE_NAMES[] = {"text", "number", "number", "duration", "flag", "date"};

static enum err no_memory(struct errmsg *e)
{
    return err_set(e, ERR_NOMEM, "cannot hold the settings: no memory");
}

enum err conf_create(const struct conf_option *const *tables, const char *pass_prefix,
                     struct conf **out, struct errmsg *e)
{
    struct conf *c = calloc(1, sizeof *c);
    size_t n = 0;
    for (const struct conf_option *const *t = tables; *t != NULL; t++) {
        for (const struct conf_option *o = *t; o->name != NULL; o++) {
            n++;
        }
    }
    if (c != NULL) {
        c->values = calloc(n + 1, sizeof *c->values);
    }
    if (c == NULL || c->values == NULL) {
        conf_free(c);
        return no_memory(e);
    }
    c->tables = tables;
    c->pass_prefix = pass_prefix;
    for (const struct conf_option *const *t = tables; *t != NULL; t++) {
        for (const struct conf_option *o = *t; o->name != NULL; o++) {
            struct conf_value *v = &c->values[c->count++];
            v->option = o;
            if (o->fallback != NULL && (v->text = strdup(o->fallback)) == NULL) {
                conf_free(c);
                return no_memory(e);
            }
        }
    }
    *out = c;
    return ERR_OK;
}

void conf_free(struct conf *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        free(c->values[i].name);
        free(c->values[i].text);
        free(c->values[i].where);
    }
    free(c->values);
    free(c);
}

struct conf_value *conf_find(const struct conf *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct conf_option *o = c->values[i].option;
        if (o != NULL && strcmp(o->name, name) == 0) {
            return &c->values[i];
        }
    }
    return NULL;
}

static bool parse_number(const char *text, double *out)
{
    char *end = NULL;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && isfinite(*out);
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const YES[] = {"true", "yes", "on", "1"};
    static const char *const NO[] = {"false", "no", "off", "0"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, YES[i]) == 0 || strcmp(text, NO[i]) == 0) {
            *out = strcmp(text, YES[i]) == 0;
            return true;
        }
    }
    return false;
}

static bool in_bounds(const struct conf_option *o, double v)
{
    return !(o->low < o->high) || (v >= o->low && v <= o->high);
}

/* Whether the text is a value of the option's type and inside its bounds. */
static bool acceptable(const struct conf_option *o, const char *text)
{
    double number = 0;
    int64_t us = 0;
    bool flag = false;
    switch (o->type) {
    case CONF_TEXT:
        return true;
    case CONF_INT:
        return parse_number(text, &number) && fabs(number - floor(number)) <= 0 &&
               fabs(number) < 0x1p53 && in_bounds(o, number);
    case CONF_REAL:
        return parse_number(text, &number) && in_bounds(o, number);
    case CONF_DURATION:
        return duration_parse(text, &us) == ERR_OK && in_bounds(o, (double)us / 1e6);
    case CONF_BOOL:
        return parse_bool(text, &flag);
    case CONF_DATE:
        return time_parse(text, strlen(text), &us) == ERR_OK;
    }
    return false;
}

static void describe_allowed(const struct conf_option *o, char *out, size_t size)
{
    switch (o->type) {
    case CONF_TEXT:
        snprintf(out, size, "a text");
        break;
    case CONF_INT:
    case CONF_REAL:
        if (o->low < o->high) {
            snprintf(out, size, "%s from %g to %g",
                     o->type == CONF_INT ? "a whole number" : "a number", o->low, o->high);
        } else {
            snprintf(out, size, "a %snumber", o->type == CONF_INT ? "whole " : "");
        }
        break;
    case CONF_DURATION:
        if (o->low < o->high) {
            snprintf(out, size, "a duration such as 250ms, 5s, 10m, 36h or 7d, from %g s to %g s",
                     o->low, o->high);
        } else {
            snprintf(out, size, "a duration such as 250ms, 5s, 10m, 36h or 7d");
        }
        break;
    case CONF_BOOL:
        snprintf(out, size, "true or false");
        break;
    case CONF_DATE:
        snprintf(out, size, "a UTC date such as 2026-04-01, or with a time");
        break;
    }
}

/* Takes copies; on failure the old value stays. */
static enum err replace(struct conf_value *v, const char *text, const char *where, struct errmsg *e)
{
    char *text_copy = strdup(text);
    char *where_copy = strdup(where);
    if (text_copy == NULL || where_copy == NULL) {
        free(text_copy);
        free(where_copy);
        return no_memory(e);
    }
    free(v->text);
    free(v->where);
    v->text = text_copy;
    v->where = where_copy;
    return ERR_OK;
}

enum err conf_assign(struct conf_value *v, const char *text, const char *where, struct errmsg *e)
{
    const struct conf_option *o = v->option;
    if (!acceptable(o, text)) {
        char allowed[128];
        describe_allowed(o, allowed, sizeof allowed);
        bool secret = (o->flags & CONF_SECRET) != 0;
        return err_set(e, ERR_INVALID, "%s: %s = \"%s\" is not allowed; give %s", where, o->name,
                       secret ? "(hidden)" : text, allowed);
    }
    return replace(v, text, where, e);
}

/* A setting of the pass-through prefix; `name` without it. */
static enum err pass(struct conf *c, const char *name, const char *text, const char *where,
                     struct errmsg *e)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->values[i].option == NULL && strcmp(c->values[i].name, name) == 0) {
            return replace(&c->values[i], text, where, e);
        }
    }
    struct conf_value *grown = realloc(c->values, (c->count + 1) * sizeof *grown);
    if (grown == NULL) {
        return no_memory(e);
    }
    c->values = grown;
    struct conf_value v = {.name = strdup(name)};
    if (v.name == NULL || replace(&v, text, where, e) != ERR_OK) {
        free(v.name);
        return no_memory(e);
    }
    c->values[c->count++] = v;
    return ERR_OK;
}

/* Number of single-letter edits between two names (Levenshtein), to suggest what was meant. */
static size_t distance(const char *a, const char *b)
{
    size_t row[CONF_NAME_MAX + 1];
    size_t n = strlen(b);
    if (n > CONF_NAME_MAX) {
        return n;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= n; j++) {
            size_t swap = diagonal + (a[i] != b[j - 1]);
            diagonal = row[j];
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = swap < least ? swap : least;
        }
    }
    return row[n];
}

enum err conf_set_named(struct conf *c, const char *name, const char *text, const char *where,
                        struct errmsg *e)
{
    struct conf_value *v = conf_find(c, name);
    if (v != NULL) {
        return conf_assign(v, text, where, e);
    }
    size_t prefix = c->pass_prefix != NULL ? strlen(c->pass_prefix) : 0;
    if (prefix > 0 && strncmp(name, c->pass_prefix, prefix) == 0 && name[prefix] != '\0') {
        return pass(c, name + prefix, text, where, e);
    }
    const char *nearest = NULL;
    size_t least = 4;
    for (size_t i = 0; i < c->count; i++) {
        const struct conf_option *o = c->values[i].option;
        if (o != NULL && distance(name, o->name) < least) {
            least = distance(name, o->name);
            nearest = o->name;
        }
    }
    return err_set(e, ERR_INVALID, "%s: there is no setting \"%s\"%s%s%s", where, name,
                   nearest != NULL ? "; do you mean \"" : "; --help lists them",
                   nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "");
}

enum err conf_set(struct conf *c, const char *name, const char *value, struct errmsg *e)
{
    return conf_set_named(c, name, value, "setting", e);
}

enum err conf_check_required(const struct conf *c, struct errmsg *e)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct conf_option *o = c->values[i].option;
        if (o != NULL && (o->flags & CONF_REQUIRED) != 0 && c->values[i].text == NULL) {
            return err_set(e, ERR_INVALID, "--%s is needed (%s); --help shows an example", o->name,
                           o->help);
        }
    }
    return ERR_OK;
}

static const struct conf_value *value_of(const struct conf *c, const char *name)
{
    const struct conf_value *v = conf_find(c, name);
    if (v == NULL) {
        fprintf(stderr, "bug: no option table has \"%s\"\n", name);
        abort();
    }
    return v;
}

const char *conf_text(const struct conf *c, const char *name)
{
    return value_of(c, name)->text;
}

double conf_real(const struct conf *c, const char *name)
{
    double number = 0;
    const char *text = value_of(c, name)->text;
    return text != NULL && parse_number(text, &number) ? number : 0;
}

int64_t conf_int(const struct conf *c, const char *name)
{
    return (int64_t)conf_real(c, name);
}

int64_t conf_duration_us(const struct conf *c, const char *name)
{
    int64_t us = 0;
    const char *text = value_of(c, name)->text;
    return text != NULL && duration_parse(text, &us) == ERR_OK ? us : 0;
}

int64_t conf_date_us(const struct conf *c, const char *name)
{
    int64_t us = 0;
    const char *text = value_of(c, name)->text;
    return text != NULL && time_parse(text, strlen(text), &us) == ERR_OK ? us : 0;
}

bool conf_bool(const struct conf *c, const char *name)
{
    bool flag = false;
    const char *text = value_of(c, name)->text;
    return text != NULL && parse_bool(text, &flag) && flag;
}

bool conf_given(const struct conf *c, const char *name)
{
    return value_of(c, name)->where != NULL;
}

const char *conf_where(const struct conf *c, const char *name)
{
    const char *where = value_of(c, name)->where;
    return where != NULL ? where : "default";
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The value of `c` that belongs to v of another conf of the same tables; NULL: none. */
static struct conf_value *counterpart(const struct conf *c, const struct conf_value *v)
{
    if (v->option != NULL) {
        return conf_find(c, v->option->name);
    }
    for (size_t i = 0; i < c->count; i++) {
        if (c->values[i].option == NULL && strcmp(c->values[i].name, v->name) == 0) {
            return &c->values[i];
        }
    }
    return NULL;
}

static void tell(const struct conf *c, const struct conf_value *v, const char *was, const char *is,
                 void (*visit)(void *ctx, const struct conf_change *change), void *ctx)
{
    char name[CONF_NAME_MAX + 16];
    struct conf_change change = {.was = was, .is = is};
    if (v->option != NULL) {
        change.name = v->option->name;
        change.flags = v->option->flags;
    } else {
        /* a passed one may hold a password: its value is nobody's business */
        snprintf(name, sizeof name, "%s%s", c->pass_prefix, v->name);
        change.name = name;
        change.flags = CONF_SECRET;
    }
    visit(ctx, &change);
}

void conf_compare(const struct conf *old, const struct conf *fresh,
                  void (*visit)(void *ctx, const struct conf_change *change), void *ctx)
{
    for (size_t i = 0; i < fresh->count; i++) {
        const struct conf_value *is = &fresh->values[i];
        const struct conf_value *was = counterpart(old, is);
        const char *was_text = was != NULL ? was->text : NULL;
        if (!same_text(was_text, is->text)) {
            tell(fresh, is, was_text, is->text, visit, ctx);
        }
    }
    for (size_t i = 0; i < old->count; i++) {
        if (counterpart(fresh, &old->values[i]) == NULL) { /* a passed one that was taken out */
            tell(old, &old->values[i], old->values[i].text, NULL, visit, ctx);
        }
    }
}

static void swap_text(char **a, char **b)
{
    char *held = *a;
    *a = *b;
    *b = held;
}

void conf_adopt(struct conf *c, struct conf *from, unsigned flag)
{
    for (size_t i = 0; i < c->count; i++) {
        struct conf_value *to = &c->values[i];
        struct conf_value *v =
            to->option != NULL && (to->option->flags & flag) != 0 ? counterpart(from, to) : NULL;
        if (v != NULL) {
            swap_text(&to->text, &v->text);
            swap_text(&to->where, &v->where);
        }
    }
}

enum err conf_visit_passed(const struct conf *c,
                           enum err (*visit)(void *ctx, const char *name, const char *value,
                                             struct errmsg *e),
                           void *ctx, struct errmsg *e)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->values[i].option == NULL) {
            enum err err = visit(ctx, c->values[i].name, c->values[i].text, e);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

void conf_print_help(FILE *f, const struct conf_option *const *tables)
{
    for (const struct conf_option *const *t = tables; *t != NULL; t++) {
        for (const struct conf_option *o = *t; o->name != NULL; o++) {
            char left[80];
            snprintf(left, sizeof left, "--%s%s%s%s", o->name, o->type == CONF_BOOL ? "" : "=<",
                     o->type == CONF_BOOL ? "" : TYPE_NAMES[o->type],
                     o->type == CONF_BOOL ? "" : ">");
            fprintf(f, "  %-34s %s", left, o->help);
            if ((o->flags & CONF_REQUIRED) != 0) {
                fputs(" (needed)", f);
            } else if (o->fallback != NULL && o->type != CONF_BOOL) {
                fprintf(f, " [%s]", o->fallback);
            }
            fputc('\n', f);
        }
    }
}

static void print_sample_value(FILE *f, const struct conf_option *o)
{
    const char *text = o->fallback != NULL ? o->fallback : "";
    bool bare = o->type == CONF_INT || o->type == CONF_REAL || o->type == CONF_BOOL;
    fprintf(f, bare && *text != '\0' ? "%s;\n" : "\"%s\";\n", text);
}

void conf_print_sample(FILE *f, const struct conf_option *table)
{
    char open_group[CONF_NAME_MAX] = "";
    for (const struct conf_option *o = table; o->name != NULL; o++) {
        const char *dot = strchr(o->name, '.');
        size_t group = dot != NULL ? (size_t)(dot - o->name) : 0;
        if (strlen(open_group) != group || strncmp(open_group, o->name, group) != 0) {
            fputs(open_group[0] != '\0' ? "};\n\n" : "\n", f);
            snprintf(open_group, sizeof open_group, "%.*s", (int)group, o->name);
            if (group > 0) {
                fprintf(f, "%s = {\n", open_group);
            }
        }
        const char *indent = group > 0 ? "    " : "";
        fprintf(f, "%s# %s\n", indent, o->help);
        fprintf(f, "%s%s%s = ", indent, o->fallback == NULL ? "# " : "",
                group > 0 ? dot + 1 : o->name);
        print_sample_value(f, o);
    }
    if (open_group[0] != '\0') {
        fputs("};\n", f);
    }
}
