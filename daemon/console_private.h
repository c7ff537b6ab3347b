/* What the console's files share. */
#ifndef FD_DAEMON_CONSOLE_PRIVATE_H
#define FD_DAEMON_CONSOLE_PRIVATE_H

#include <stdbool.h>
#include <stdio.h>

#include "daemon/console.h"
#include "daemon/console_auth.h"
#include "daemon/http.h"
#include "storage/db.h"

#define CONSOLE_ID_MAX 512 /* an alert's name */
#define CONSOLE_NOTE_MAX 1000
#define CONSOLE_BODY_MAX 8192

/* One call of the JSON interface; a handler writes its answer to `out`. */
struct console_call {
    const struct console_conf *conf;
    const struct http_request *request;
    const struct console_session *session;
    struct db *db;
    FILE *out;
    char sqlstate[8]; /* of a failure */
    bool told;        /* the error's text is for the page: about the request, not the database */
};

struct console_route {
    const char *path;
    bool change;  /* a POST with the CSRF token; else a GET */
    bool analyst; /* viewers may not */
    enum err (*run)(struct console_call *c, struct errmsg *e);
};

/* NULL: there is none. */
const struct console_route *console_route_find(const char *path, bool change);

#endif
