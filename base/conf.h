/* Settings and options from one table: the same rows make the parser, `--help`, the sample file and
 * the documentation check.  Order of strength: default, file (libconfig), environment
 * (FRAUDD_BROKERS for "brokers", dots and dashes as underscores), command line (--brokers=..).
 *
 * A file holds `name = value;` with groups for dotted names (alert = { budget = 100; };).  Names of
 * a pass-through prefix ("kafka.") need no table row; there an underscore in a file stands for a
 * dot (kafka = { linger_ms = "5"; }; sets kafka.linger.ms).  One thread, but a finished conf may be
 * read by many. */
#ifndef FD_BASE_CONF_H
#define FD_BASE_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum conf_type { CONF_TEXT, CONF_INT, CONF_REAL, CONF_DURATION, CONF_BOOL, CONF_DATE };

enum conf_flag {
    CONF_RELOAD = 1,   /* SIGHUP may change it */
    CONF_SECRET = 2,   /* never printed */
    CONF_REQUIRED = 4, /* the verb cannot run without */
    CONF_OPERAND = 8   /* may also be given as a bare argument */
};

struct conf_option {
    const char *name; /* "alert.budget"; NULL ends a table */
    enum conf_type type;
    unsigned flags;
    const char *fallback; /* as text; NULL: none */
    double low, high;     /* bounds of INT and REAL; of DURATION in seconds; low == high: none */
    const char *help;     /* one line */
};

struct conf;

/* tables: NULL-terminated list, borrowed for the conf's life. */
FD_MUSTCHECK enum err conf_create(const struct conf_option *const *tables, const char *pass_prefix,
                                  struct conf **out, struct errmsg *e);
void conf_free(struct conf *c);

/* Every error names file and line (or the argument), the value, and what is allowed. */
FD_MUSTCHECK enum err conf_read_file(struct conf *c, const char *path, struct errmsg *e);
FD_MUSTCHECK enum err conf_read_env(struct conf *c, char *const *environment, struct errmsg *e);
/* argv[0] is skipped.  "--name=value", "--name value", "--flag" for BOOL.  ERR_END: --help was
 * asked. */
FD_MUSTCHECK enum err conf_read_args(struct conf *c, int argc, char *const *argv, struct errmsg *e);
/* Sets one value as the command line would. */
FD_MUSTCHECK enum err conf_set(struct conf *c, const char *name, const char *value,
                               struct errmsg *e);
/* ERR_INVALID names the first required option without a value. */
FD_MUSTCHECK enum err conf_check_required(const struct conf *c, struct errmsg *e);

/* Values; the name must be a table's (an unknown one aborts: a bug).  conf_text is NULL where no
 * value was given and there is no default; numbers without one are 0. */
const char *conf_text(const struct conf *c, const char *name);
int64_t conf_int(const struct conf *c, const char *name);
double conf_real(const struct conf *c, const char *name);
int64_t conf_duration_us(const struct conf *c, const char *name);
int64_t conf_date_us(const struct conf *c, const char *name);
bool conf_bool(const struct conf *c, const char *name);
bool conf_given(const struct conf *c, const char *name); /* from file, environment or arguments */
/* Where the value came from, for messages: "FILE line 12", "environment (FRAUDD_LOG)", "command
 * line" or "default". */
const char *conf_where(const struct conf *c, const char *name);

/* A reload: one value that differs.  NULL: none.  A value passed through counts as secret. */
struct conf_change {
    const char *name; /* with the pass-through prefix */
    unsigned flags;
    const char *was, *is;
};

/* Calls visit for each value in which two confs of the same tables differ. */
void conf_compare(const struct conf *old, const struct conf *fresh,
                  void (*visit)(void *ctx, const struct conf_change *change), void *ctx);
/* Takes from another conf of the same tables the values of the options that have `flag` (`from`
 * gets the old ones), so a reload cannot fail half way.  Texts of the other options stay where they
 * are; borrowed ones of those taken must not be used any more. */
void conf_adopt(struct conf *c, struct conf *from, unsigned flag);

/* Calls visit for every pass-through setting, prefix removed; stops at the first error. */
FD_MUSTCHECK enum err conf_visit_passed(const struct conf *c,
                                        enum err (*visit)(void *ctx, const char *name,
                                                          const char *value, struct errmsg *e),
                                        void *ctx, struct errmsg *e);

void conf_print_help(FILE *f, const struct conf_option *const *tables);
/* A file with every setting, its default and its help as comments. */
void conf_print_sample(FILE *f, const struct conf_option *table);

#endif
