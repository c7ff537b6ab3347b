/* Reading settings: file (libconfig's only home), environment, command line. */
#include <ctype.h>
#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/conf_values.h"
#include "base/file.h"

/* The shortest of two texts that reads back as the same number. */
static void real_text(double v, char *out, size_t size)
{
    snprintf(out, size, "%.15g", v);
    if (strtod(out, NULL) < v || strtod(out, NULL) > v) {
        snprintf(out, size, "%.17g", v);
    }
}

static enum err scalar_text(const config_setting_t *s, char *out, size_t size)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(out, size, "%lld", config_setting_get_int64(s));
        return ERR_OK;
    case CONFIG_TYPE_FLOAT:
        real_text(config_setting_get_float(s), out, size);
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
        char name[CONF_NAME_MAX];
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
            char deeper[CONF_NAME_MAX];
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
            err = conf_set_named(c, name, text, where, e);
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
        char name[CONF_NAME_MAX] = "";
        size_t len = (size_t)(equals - *v) - (sizeof PREFIX - 1);
        if (len >= sizeof name) {
            continue;
        }
        for (size_t i = 0; i < len; i++) {
            char letter = (*v)[sizeof PREFIX - 1 + i];
            name[i] = letter == '_' ? '.' : (char)tolower((unsigned char)letter);
        }
        char where[CONF_NAME_MAX + 16];
        snprintf(where, sizeof where, "environment (%.*s)", (int)(equals - *v), *v);
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
        enum err err = conf_set_named(c, name, equals + 1, where, e);
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
        if (o != NULL && (o->flags & CONF_OPERAND) != 0 && c->values[i].where == NULL) {
            return conf_assign(&c->values[i], text, "command line", e);
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
        char name[CONF_NAME_MAX];
        const char *equals = strchr(arg, '=');
        size_t len = equals != NULL ? (size_t)(equals - arg - 2) : strlen(arg) - 2;
        if (len >= sizeof name) {
            return err_set(e, ERR_INVALID, "command line: \"%.40s..\" is not an option", arg);
        }
        memcpy(name, arg + 2, len);
        name[len] = '\0';
        const struct conf_value *v = conf_find(c, name);
        const char *text = equals != NULL ? equals + 1 : NULL;
        if (text == NULL && v != NULL && v->option->type == CONF_BOOL) {
            text = "true";
        }
        if (text == NULL) {
            if (v == NULL && (c->pass_prefix == NULL ||
                              strncmp(name, c->pass_prefix, strlen(c->pass_prefix)) != 0)) {
                return conf_set_named(c, name, "", "command line", e); /* words the error */
            }
            if (i + 1 == argc) {
                return err_set(e, ERR_INVALID, "command line: --%s needs a value", name);
            }
            text = argv[++i];
        }
        enum err err = conf_set_named(c, name, text, "command line", e);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}
