/* What conf.c (table, values) and conf_read.c (file, environment, command line) share.  Private to
 * them. */
#ifndef FD_BASE_CONF_VALUES_H
#define FD_BASE_CONF_VALUES_H

#include "base/conf.h"

#define CONF_NAME_MAX 128

struct conf_value {
    const struct conf_option *option; /* NULL: passed through */
    char *name;                       /* of a passed one, without the prefix */
    char *text;                       /* NULL: none */
    char *where;                      /* where the text came from; NULL: the default */
};

struct conf {
    const struct conf_option *const *tables;
    const char *pass_prefix;
    struct conf_value *values;
    size_t count;
};

struct conf_value *conf_find(const struct conf *c, const char *name);
/* Checks the text by the option's type and bounds and takes a copy. */
FD_MUSTCHECK enum err conf_assign(struct conf_value *v, const char *text, const char *where,
                                  struct errmsg *e);
/* The same by name; an unknown name is refused with the nearest known one. */
FD_MUSTCHECK enum err conf_set_named(struct conf *c, const char *name, const char *text,
                                     const char *where, struct errmsg *e);

#endif
