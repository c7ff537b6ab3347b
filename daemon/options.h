/* What every verb does with its command line: table, environment, --help, one clear line on errors.
 */
#ifndef FD_DAEMON_OPTIONS_H
#define FD_DAEMON_OPTIONS_H

#include "base/conf.h"

struct verb {
    const char *name;
    const char *usage;   /* "fraudd train --input FILE --until DATE [OPTIONS]" */
    const char *about;   /* a paragraph */
    const char *example; /* a command line that works */
};

/* Parses argv by the tables.  Returns -1 and an owned conf, or the exit code to end with (help
 * shown or an error printed). */
int options_read(const struct verb *v, const struct conf_option *const *tables, int argc,
                 char **argv, struct conf **out);

/* What --help shows. */
void options_print_help(const struct verb *v, const struct conf_option *const *tables);

#endif
