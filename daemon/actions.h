/* Verbs with actions: `fraudd alerts claim ..`.  One table of them makes the help of the verb, the
 * help of each action, the parser and the dispatch. */
#ifndef FD_DAEMON_ACTIONS_H
#define FD_DAEMON_ACTIONS_H

#include "base/conf.h"
#include "base/err.h"
#include "daemon/table.h"

struct action {
    const char *name;    /* "claim"; NULL ends a table */
    const char *summary; /* one line for the verb's help */
    const char *usage;   /* what follows "fraudd alerts claim": "[ID] [OPTIONS]" */
    const char *about;   /* a paragraph, or NULL: the summary says it */
    const char *example; /* a command line that works */
    const struct conf_option *options;
    const char *const *settings; /* names of daemon settings to show in the help, NULL at the end */
    /* *exit_code is EXIT_OK before; meaningless where an error is returned */
    enum err (*run)(const struct conf *c, int *exit_code, struct errmsg *e);
};

/* argv[0] is the verb.  Prints errors; returns the exit code. */
int actions_run(const char *about, const struct action *table, int argc, char **argv);

/* For actions whose options have "json": how to print. */
enum table_form actions_form(const struct conf *c);
/* For those with "as": who acts; without it the login name.  ERR_INVALID it is empty. */
FD_MUSTCHECK enum err actions_who(const struct conf *c, const char **out, struct errmsg *e);

#define ACTION_JSON                                                                                \
    {                                                                                              \
        "json", CONF_BOOL, 0, "false", 0, 0, "print JSON"                                          \
    }
#define ACTION_AS                                                                                  \
    {                                                                                              \
        "as", CONF_TEXT, 0, NULL, 0, 0, "who does it, for the audit (default: the login name)"     \
    }
#define ACTION_END                                                                                 \
    {                                                                                              \
        NULL, CONF_TEXT, 0, NULL, 0, 0, NULL                                                       \
    }

#endif
