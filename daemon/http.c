#include "daemon/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct http {
    struct MHD_Daemon *daemon;
    http_handler handler;
    void *ctx;
    unsigned port;
};

/* Splits "host:port" and "[host]:port". */
static enum err split(const char *text, char *host, size_t size, in_port_t *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text) {
        return ERR_INVALID;
    }
    size_t len = (size_t)(colon - text);
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return ERR_INVALID; /* IPv6 without brackets: which colon is the port's? */
    }
    char *end = NULL;
    unsigned long number = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || number > 65535 || len == 0 ||
        len >= size) {
        return ERR_INVALID;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    *port = (in_port_t)number;
    return ERR_OK;
}

enum err http_address_parse(const char *text, struct sockaddr_storage *out, socklen_t *out_len)
{
    char host[64];
    in_port_t port = 0;
    if (split(text, host, sizeof host, &port) != ERR_OK) {
        return ERR_INVALID;
    }
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const char *numeric = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    bool is_four = inet_pton(AF_INET, numeric, &four.sin_addr) == 1;
    if (!is_four && inet_pton(AF_INET6, numeric, &six.sin6_addr) != 1) {
        return ERR_INVALID;
    }
    if (out != NULL) {
        memset(out, 0, sizeof *out);
        if (is_four) {
            memcpy(out, &four, sizeof four);
        } else {
            memcpy(out, &six, sizeof six);
        }
        *out_len = is_four ? sizeof four : sizeof six;
    }
    return ERR_OK;
}

static enum MHD_Result reply(struct MHD_Connection *c, struct http_reply *r)
{
    static char empty[] = "";
    enum MHD_ResponseMemoryMode mode =
        r->body != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT;
    struct MHD_Response *answer =
        MHD_create_response_from_buffer(r->len, r->body != NULL ? r->body : empty, mode);
    if (answer == NULL) {
        free(r->body);
        return MHD_NO;
    }
    enum MHD_Result done = MHD_YES;
    if (r->type != NULL) {
        done = MHD_add_response_header(answer, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    }
    if (done == MHD_YES) {
        done = MHD_add_response_header(answer, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    }
    if (done == MHD_YES && r->status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        done = MHD_add_response_header(answer, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    if (done == MHD_YES) {
        done = MHD_queue_response(c, r->status, answer);
    }
    MHD_destroy_response(answer);
    return done;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **state)
{
    const struct http *h = ctx;
    struct http_reply r = {.status = MHD_HTTP_METHOD_NOT_ALLOWED};
    (void)version;
    (void)upload;
    (void)upload_len;
    (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
        r.status = MHD_HTTP_NOT_FOUND;
        h->handler(h->ctx, url, &r);
    }
    return reply(c, &r);
}

/* A socket that listens, so that an address in use is told apart from other failures. */
static enum err listen_at(const char *address, int *out_fd, unsigned *out_port, struct errmsg *e)
{
    struct sockaddr_storage at;
    socklen_t len = 0;
    int yes = 1;
    if (http_address_parse(address, &at, &len) != ERR_OK) {
        return err_set(e, ERR_INVALID, "\"%s\" is no address with a port", address);
    }
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set(e, ERR_IO, "cannot listen on %s: %s", address, strerror(errno));
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, HTTP_CONNECTIONS_MAX) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        int why = errno;
        close(fd);
        if (why == EADDRINUSE) {
            return err_set(e, ERR_REFUSED,
                           "cannot listen on %s: another program does; give each its own "
                           "address, or an empty one for no page",
                           address);
        }
        enum err err = why == EACCES || why == EADDRNOTAVAIL ? ERR_REFUSED : ERR_IO;
        return err_set(e, err,
                       "cannot listen on %s: %s; choose an address of this machine and a "
                       "port above 1023",
                       address, strerror(why));
    }
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&at;
    *out_port = ntohs(six->sin6_port); /* at the same place as sin_port */
    *out_fd = fd;
    return ERR_OK;
}

enum err http_start(const char *address, http_handler handler, void *ctx, struct http **out,
                    struct errmsg *e)
{
    int fd = -1;
    struct http *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return err_set(e, ERR_NOMEM, "cannot serve status pages: no memory");
    }
    h->handler = handler;
    h->ctx = ctx;
    enum err err = listen_at(address, &fd, &h->port, e);
    if (err != ERR_OK) {
        free(h);
        return err;
    }
    h->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL,
                                 on_request, h, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd,
                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_CONNECTION_SECONDS,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
    if (h->daemon == NULL) {
        close(fd);
        free(h);
        return err_set(e, ERR_IO, "cannot serve status pages on %s: no thread", address);
    }
    *out = h;
    return ERR_OK;
}

unsigned http_port(const struct http *h)
{
    return h->port;
}

void http_stop(struct http *h)
{
    if (h != NULL) {
        MHD_stop_daemon(h->daemon);
        free(h);
    }
}
