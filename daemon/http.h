/* A small HTTP server for status pages and the console: libmicrohttpd behind few functions, its
 * only home.
 *
 * Everything that comes from outside has a bound: connections at a time, bytes of a request's head
 * and body, and seconds for a request with its answer as a whole, so that nobody holds a connection
 * by sending a byte now and then (http_end_late).  A body without Content-Length is refused. */
#ifndef FD_DAEMON_HTTP_H
#define FD_DAEMON_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/err.h"

#define HTTP_CONNECTIONS_MAX 64         /* of any server */
#define HTTP_SILENT_SECONDS 5           /* a connection without a byte is closed */
#define HTTP_REQUEST_SECONDS 12         /* a request, from its first byte to the answer's last */
#define HTTP_HEAD_BYTES ((size_t)16384) /* request line and headers */

struct http;

/* One request; valid for the call. */
struct http_request {
    const char *method; /* "GET", "HEAD" or "POST" */
    const char *path;   /* without the query */
    const char *body;   /* of a POST; zero-terminated */
    size_t body_len;
    char peer[64];    /* the other side's address, without its port */
    unsigned port;    /* the server's own */
    void *connection; /* http.c's own */
};

/* A parameter of the query, decoded.  NULL: it is not there. */
const char *http_query(const struct http_request *r, const char *name);
const char *http_header(const struct http_request *r, const char *name);
const char *http_cookie(const struct http_request *r, const char *name);
/* A parameter of a body in application/x-www-form-urlencoded, decoded into out.  Returns out; NULL:
 * it is not there, does not fit, or holds a zero. */
const char *http_form(const struct http_request *r, const char *name, char *out, size_t size);
bool http_form_has(const struct http_request *r, const char *name);
/* Whether a query parameter of this name holds a zero character, which http_query would hide. */
bool http_query_cut(const struct http_request *r, const char *name);

#define HTTP_REPLY_HEADERS 2

struct http_reply {
    unsigned status;  /* 200, 404, 503 */
    const char *type; /* such as "text/plain; charset=utf-8"; static */
    char *body;       /* malloced, the server frees it; or NULL */
    const char *text; /* static bytes instead */
    size_t len;
    struct {
        const char *name; /* static; NULL: unused */
        char value[256];
    } header[HTTP_REPLY_HEADERS];
};

/* Fills the reply; called from the server's threads. */
typedef void (*http_handler)(void *ctx, const struct http_request *r, struct http_reply *out);

/* What to serve; texts are borrowed for the server's life. */
struct http_plan {
    const char *address;
    unsigned connections;       /* at a time, at most HTTP_CONNECTIONS_MAX */
    unsigned threads;           /* handlers that may run at once */
    size_t body_max;            /* of a POST; 0: GET and HEAD only */
    const char *const *headers; /* name, value, .., NULL: of every reply; or NULL */
    http_handler handler;
    void *ctx;
};

/* "127.0.0.1:9464", "[::1]:9464", "localhost:9464" (which is 127.0.0.1).  out may be NULL: only
 * checks.  ERR_INVALID: it is no numeric address with a port. */
FD_MUSTCHECK enum err http_address_parse(const char *text, struct sockaddr_storage *out,
                                         socklen_t *out_len);

/* Listens and serves.  Port 0: a free one, see http_port.
 * ERR_INVALID no address; ERR_REFUSED the port is taken or not allowed; ERR_IO other failures. */
FD_MUSTCHECK enum err http_start(const struct http_plan *plan, struct http **out, struct errmsg *e);
unsigned http_port(const struct http *h);
/* Ends connections whose request is late.  Call it every second or so; any thread; NULL: nothing.
 */
void http_end_late(struct http *h);
/* Ends the threads; no handler runs afterwards. */
void http_stop(struct http *h);

#endif
