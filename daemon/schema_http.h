/* Requests to a schema registry: libcurl behind few functions, the only place that knows it.  One
 * request at a time, which a loop drives without being held up; answers are bounded in bytes and
 * time.  One thread. */
#ifndef FD_DAEMON_SCHEMA_HTTP_H
#define FD_DAEMON_SCHEMA_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/conf.h"
#include "base/err.h"

#define SCHEMA_ANSWER_MAX ((size_t)1 << 20) /* bytes */
#define SCHEMA_ANSWER_S 10                  /* longest time of a request */

struct schema_http;

/* Reads registry.url, registry.user-file and registry.ca-file.  ERR_INVALID a value;
 * file_check_private's and file_read's errors of the file, with the setting named. */
FD_MUSTCHECK enum err schema_http_create(const struct conf *c, struct schema_http **out,
                                         struct errmsg *e);
void schema_http_free(struct schema_http *h);

/* The registry's address as it is set; holds as long as h. */
const char *schema_http_url(const struct schema_http *h);

/* Begins a request for a path ("/schemas/ids/7"); body (JSON, borrowed until it ends) makes it a
 * POST, NULL a GET. */
void schema_http_begin(struct schema_http *h, const char *path, const char *body);

enum schema_http_state { SCHEMA_HTTP_BUSY, SCHEMA_HTTP_ANSWERED, SCHEMA_HTTP_FAILED };

struct schema_http_answer {
    long status;
    const char *body; /* holds until the next request */
    size_t len;
    char text[300];   /* FAILED: what went wrong */
    bool certificate; /* .. with the registry's certificate or those it is checked against */
};

/* Goes on with the request, at most wait_ms.  After ANSWERED or FAILED none is under way. */
enum schema_http_state schema_http_turn(struct schema_http *h, int wait_ms,
                                        struct schema_http_answer *out);

#endif
