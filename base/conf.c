#include "base/conf.h"

#include <ctype.h>
#include <errno.h>
#include <libconfig.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timefmt.h"

#define NAME_MAX_BYTES 128

struct value {
    const struct conf_option *option; /* NULL: passed through */
    char *name;                       /* of a passed one, without the prefix */
    char *text;                       /* NULL: none */
    bool given;
};

struct conf {
    const struct conf_option *const *tables;
    const char *pass_prefix;
    struct value *values;
    size_t count;
};

static const char *const TYPE_NAMES[] = {"text", "number", "number", "duration", "flag", "date"};

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
        return err_set(e, ERR_NOMEM, "cannot hold the settings: no memory");
    }
    c->tables = tables;
    c->pass_prefix = pass_prefix;
    for (const struct conf_option *const *t = tables; *t != NULL; t++) {
        for (const struct conf_option *o = *t; o->name != NULL; o++) {
            struct value *v = &c->values[c->count++];
            v->option = o;
            v->text = o->fallback != NULL ? strdup(o->fallback) : NULL;
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
    }
    free(c->values);
    free(c);
}

static struct value *find(const struct conf *c, const char *name)
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

static enum err assign(struct value *v, const char *text, const char *where, struct errmsg *e)
{
    const struct conf_option *o = v->option;
    if (!acceptable(o, text)) {
        char allowed[128];
        describe_allowed(o, allowed, sizeof allowed);
        bool secret = (o->flags & CONF_SECRET) != 0;
        return err_set(e, ERR_INVALID, "%s: %s = \"%s\" is not allowed; give %s", where, o->name,
                       secret ? "(hidden)" : text, allowed);
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold the settings: no memory");
    }
    free(v->text);
    v->text = copy;
    v->given = true;
    return ERR_OK;
}

static enum err pass(struct conf *c, const char *name, const char *text, struct errmsg *e)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->values[i].option == NULL && strcmp(c->values[i].name, name) == 0) {
            char *copy = strdup(text);
            if (copy == NULL) {
                return err_set(e, ERR_NOMEM, "cannot hold the settings: no memory");
            }
            free(c->values[i].text);
            c->values[i].text = copy;
            return ERR_OK;
        }
    }
    struct value *grown = realloc(c->values, (c->count + 1) * sizeof *grown);
    if (grown == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold the settings: no memory");
    }
    c->values = grown;
    c->values[c->count] = (struct value){.name = strdup(name), .text = strdup(text), .given = true};
    c->count++;
    return ERR_OK;
}

/* Number of single-letter edits between two names (Levenshtein), to suggest what was meant. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1];
    size_t n = strlen(b);
    if (n > NAME_MAX_BYTES) {
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

static enum err set_named(struct conf *c, const char *name, const char *text, const char *where,
                          struct errmsg *e)
{
    struct value *v = find(c, name);
    if (v != NULL) {
        return assign(v, text, where, e);
    }
    size_t prefix = c->pass_prefix != NULL ? strlen(c->pass_prefix) : 0;
    if (prefix > 0 && strncmp(name, c->pass_prefix, prefix) == 0 && name[prefix] != '\0') {
        return pass(c, name + prefix, text, e);
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
    return set_named(c, name, value, "setting", e);
}

static enum err scalar_text(const config_setting_t *s, char *out, size_t size)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(out, size, "%lld", config_setting_get_int64(s));
        return ERR_OK;
    case CONFIG_TYPE_FLOAT:
        snprintf(out, size, "%.17g", config_setting_get_float(s));
        return ERR_OK;
    case CONFIG_TYPE_BOOL:
        snprintf(out, size, "%s", config_setting_get_bool(s) ? "true" : "false");
        return ERR_OK;
    case CONFIG_TYPE_STRING:
        if (strlen(config_setting_get_string(s)) >= size) {
            return ERR_INVALID;
        }
        snprintf(out, size, "%s", config_setting_get_string(s));
        return ERR_OK;
    default:
        return ERR_INVALID;
    }
}

static enum err read_group(struct conf *c, const config_setting_t *group, const char *prefix,
                           const char *path, struct errmsg *e)
{
    int n = config_setting_length(group);
    for (int i = 0; i < n; i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "%s%s", prefix, config_setting_name(s));
        bool passed =
            c->pass_prefix != NULL && strncmp(prefix, c->pass_prefix, strlen(c->pass_prefix)) == 0;
        for (char *p = name; passed && *p != '\0'; p++) {
            *p = *p == '_' ? '.' : *p;
        }
        char where[512];
        snprintf(where, sizeof where, "%s line %u", path, config_setting_source_line(s));
        enum err err = ERR_OK;
        if (config_setting_is_group(s)) {
            char deeper[NAME_MAX_BYTES];
            if ((size_t)snprintf(deeper, sizeof deeper, "%s.", name) >= sizeof deeper) {
                return err_set(e, ERR_INVALID, "%s: groups are nested too deep", where);
            }
            err = read_group(c, s, deeper, path, e);
        } else {
            char text[1024];
            if (scalar_text(s, text, sizeof text) != ERR_OK) {
                return err_set(e, ERR_INVALID,
                               "%s: %s must be one text of under 1024 bytes, number or flag", where,
                               name);
            }
            err = set_named(c, name, text, where, e);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err conf_read_file(struct conf *c, const char *path, struct errmsg *e)
{
    enum err err = ERR_OK;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return file_errno(e, errno, "open", path);
    }
    config_t parsed;
    config_init(&parsed);
    if (config_read(&parsed, f) != CONFIG_TRUE) {
        err = err_set(e, ERR_INVALID, "%s line %d: %s; write name = value;", path,
                      config_error_line(&parsed), config_error_text(&parsed));
        goto out;
    }
    err = read_group(c, config_root_setting(&parsed), "", path, e);
out:
    config_destroy(&parsed);
    fclose(f);
    return err;
}

enum err conf_read_env(struct conf *c, char *const *environment, struct errmsg *e)
{
    static const char PREFIX[] = "FRAUDD_";
    for (char *const *v = environment; *v != NULL; v++) {
        const char *equals = strchr(*v, '=');
        if (equals == NULL || strncmp(*v, PREFIX, sizeof PREFIX - 1) != 0) {
            continue;
        }
        char name[NAME_MAX_BYTES] = "";
        size_t len = (size_t)(equals - *v) - (sizeof PREFIX - 1);
        if (len >= sizeof name) {
            continue;
        }
        for (size_t i = 0; i < len; i++) {
            char letter = (*v)[sizeof PREFIX - 1 + i];
            name[i] = letter == '_' ? '.' : (char)tolower((unsigned char)letter);
        }
        char where[NAME_MAX_BYTES + 16];
        snprintf(where, sizeof where, "environment");
        /* names with dashes and underscores look alike here: compare letter by letter */
        for (size_t i = 0; i < c->count; i++) {
            const struct conf_option *o = c->values[i].option;
            if (o == NULL || strlen(o->name) != len) {
                continue;
            }
            bool same = true;
            for (size_t k = 0; k < len && same; k++) {
                char letter = o->name[k];
                same = (letter == '-' || letter == '_' ? '.' : letter) == name[k];
            }
            if (same) {
                snprintf(name, sizeof name, "%s", o->name);
                break;
            }
        }
        enum err err = set_named(c, name, equals + 1, where, e);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err read_operand(struct conf *c, const char *text, struct errmsg *e)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct conf_option *o = c->values[i].option;
        if (o != NULL && (o->flags & CONF_OPERAND) != 0 && !c->values[i].given) {
            return assign(&c->values[i], text, "command line", e);
        }
    }
    return err_set(e, ERR_INVALID, "command line: \"%s\" is not expected; --help shows the usage",
                   text);
}

enum err conf_read_args(struct conf *c, int argc, char *const *argv, struct errmsg *e)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            return ERR_END;
        }
        if (strncmp(arg, "--", 2) != 0) {
            enum err err = read_operand(c, arg, e);
            if (err != ERR_OK) {
                return err;
            }
            continue;
        }
        char name[NAME_MAX_BYTES];
        const char *equals = strchr(arg, '=');
        size_t len = equals != NULL ? (size_t)(equals - arg - 2) : strlen(arg) - 2;
        if (len >= sizeof name) {
            return err_set(e, ERR_INVALID, "command line: \"%.40s..\" is not an option", arg);
        }
        memcpy(name, arg + 2, len);
        name[len] = '\0';
        const struct value *v = find(c, name);
        const char *text = equals != NULL ? equals + 1 : NULL;
        if (text == NULL && v != NULL && v->option->type == CONF_BOOL) {
            text = "true";
        }
        if (text == NULL) {
            if (v == NULL && (c->pass_prefix == NULL ||
                              strncmp(name, c->pass_prefix, strlen(c->pass_prefix)) != 0)) {
                return set_named(c, name, "", "command line", e); /* words the error */
            }
            if (i + 1 == argc) {
                return err_set(e, ERR_INVALID, "command line: --%s needs a value", name);
            }
            text = argv[++i];
        }
        enum err err = set_named(c, name, text, "command line", e);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
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

static const struct value *value_of(const struct conf *c, const char *name)
{
    const struct value *v = find(c, name);
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
    return value_of(c, name)->given;
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
    char open_group[NAME_MAX_BYTES] = "";
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
