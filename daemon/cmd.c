#include "daemon/cmd.h"

#include <stdio.h>

int cmd_exit_code(enum err code)
{
    switch (code) {
    case ERR_OK:
    case ERR_END:
        return EXIT_OK;
    case ERR_INVALID:
        return EXIT_USAGE;
    case ERR_CORRUPT:
    case ERR_MISMATCH:
    case ERR_NUMERIC:
        return EXIT_DATA;
    case ERR_NOTFOUND:
        return EXIT_NO_INPUT;
    case ERR_UNAVAILABLE:
        return EXIT_UNAVAILABLE;
    case ERR_NOMEM:
    case ERR_FULL:
        return EXIT_BUG;
    case ERR_IO:
        return EXIT_IO;
    case ERR_REFUSED:
        return EXIT_REFUSED;
    }
    return EXIT_BUG;
}

int cmd_fail(const char *verb, enum err code, const struct errmsg *e)
{
    fprintf(stderr, "fraudd %s: %s\n", verb, e->text);
    return cmd_exit_code(code);
}
