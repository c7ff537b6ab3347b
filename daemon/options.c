#include "daemon/options.h"

#include <stdio.h>
#include <unistd.h>

#include "daemon/cmd.h"

void options_print_help(const struct verb *v, const struct conf_option *const *tables)
{
    printf("usage: %s\n\n%s\n\noptions:\n", v->usage, v->about);
    conf_print_help(stdout, tables);
    printf("\nexample:\n  %s\n", v->example);
}

int options_read(const struct verb *v, const struct conf_option *const *tables, int argc,
                 char **argv, struct conf **out)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    enum err err = conf_create(tables, "kafka.", &c, &e);
    if (err == ERR_OK) {
        err = conf_read_env(c, environ, &e);
    }
    if (err == ERR_OK) {
        err = conf_read_args(c, argc, argv, &e);
        if (err == ERR_END) {
            options_print_help(v, tables);
            conf_free(c);
            return EXIT_OK;
        }
    }
    if (err == ERR_OK) {
        err = conf_check_required(c, &e);
    }
    if (err != ERR_OK) {
        conf_free(c);
        return cmd_fail(v->name, err, &e);
    }
    *out = c;
    return -1;
}
