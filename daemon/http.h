/* A small HTTP server for status pages: libmicrohttpd with one polling thread, few connections, a
 * short time for each.  Only GET and HEAD; a request's body and headers are not looked at. */
#ifndef FD_DAEMON_HTTP_H
#define FD_DAEMON_HTTP_H

#include <stddef.h>
#include <sys/socket.h>

#include "base/err.h"

#define HTTP_CONNECTIONS_MAX 16
#define HTTP_CONNECTION_SECONDS 5

struct http;

struct http_reply {
    unsigned status;  /* 200, 404, 503 */
    const char *type; /* such as "text/plain; charset=utf-8"; static */
    char *body;       /* malloced; the server frees it */
    size_t len;
};

/* Fills the reply for a path (without the query); called from the server's thread. */
typedef void (*http_handler)(void *ctx, const char *path, struct http_reply *out);

/* "127.0.0.1:9464", "[::1]:9464", "localhost:9464" (which is 127.0.0.1).  out may be NULL: only
 * checks.  ERR_INVALID: it is no numeric address with a port. */
FD_MUSTCHECK enum err http_address_parse(const char *text, struct sockaddr_storage *out,
                                         socklen_t *out_len);

/* Listens at `address` and serves.  Port 0: a free one, see http_port.
 * ERR_INVALID no address; ERR_REFUSED the port is taken or not allowed; ERR_IO other failures. */
FD_MUSTCHECK enum err http_start(const char *address, http_handler handler, void *ctx,
                                 struct http **out, struct errmsg *e);
unsigned http_port(const struct http *h);
/* Ends the thread; no handler runs afterwards. */
void http_stop(struct http *h);

#endif
