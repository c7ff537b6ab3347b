#include "daemon/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/progress.h"

/* A connection and when its current request began; fd -1: free.  The socket is closed after
 * on_connection has freed the place, so whoever finds it here, locked, may shut it down. */
struct place {
    int fd;
    int64_t since_us;
};

struct http {
    struct MHD_Daemon *daemon;
    struct http_plan plan;
    unsigned port;
    pthread_mutex_t lock; /* of place */
    struct place place[HTTP_CONNECTIONS_MAX];
};

/* A request under way. */
struct upload {
    char *body;
    size_t len, size;
};

static enum MHD_Result add_headers(const struct http *h, const struct http_reply *r,
                                   struct MHD_Response *answer)
{
    enum MHD_Result done =
        MHD_add_response_header(answer, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (done == MHD_YES && r->type != NULL) {
        done = MHD_add_response_header(answer, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    }
    if (done == MHD_YES && r->status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        done = MHD_add_response_header(answer, MHD_HTTP_HEADER_ALLOW,
                                       h->plan.body_max > 0 ? "GET, HEAD, POST" : "GET, HEAD");
    }
    for (const char *const *p = h->plan.headers; done == MHD_YES && p != NULL && *p != NULL;
         p += 2) {
        done = MHD_add_response_header(answer, p[0], p[1]);
    }
    for (size_t i = 0; done == MHD_YES && i < HTTP_REPLY_HEADERS; i++) {
        if (r->header[i].name != NULL) {
            done = MHD_add_response_header(answer, r->header[i].name, r->header[i].value);
        }
    }
    return done;
}

static enum MHD_Result reply(const struct http *h, struct MHD_Connection *c, struct http_reply *r)
{
    struct MHD_Response *answer = NULL;
    if (r->body != NULL) {
        answer = MHD_create_response_from_buffer(r->len, r->body, MHD_RESPMEM_MUST_FREE);
    } else {
        union { /* libmicrohttpd does not write to it */
            const char *in;
            char *out;
        } text = {.in = r->text != NULL ? r->text : ""};
        answer = MHD_create_response_from_buffer(r->text != NULL ? r->len : 0, text.out,
                                                 MHD_RESPMEM_PERSISTENT);
    }
    if (answer == NULL) {
        free(r->body);
        return MHD_NO;
    }
    enum MHD_Result done = add_headers(h, r, answer);
    if (done == MHD_YES) {
        done = MHD_queue_response(c, r->status, answer);
    }
    MHD_destroy_response(answer);
    return done;
}

static enum MHD_Result refuse(const struct http *h, struct MHD_Connection *c, unsigned status)
{
    struct http_reply r = {.status = status};
    return reply(h, c, &r);
}

/* Before a body is read: 0, or the status that refuses it. */
static unsigned check_body(const struct http *h, struct MHD_Connection *c, size_t *out_len)
{
    const char *text =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    char *end = NULL;
    if (text == NULL || text[0] < '0' || text[0] > '9' ||
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) !=
            NULL) {
        return MHD_HTTP_LENGTH_REQUIRED;
    }
    errno = 0;
    unsigned long len = strtoul(text, &end, 10);
    if (*end != '\0' || errno != 0 || len > h->plan.body_max) {
        return MHD_HTTP_CONTENT_TOO_LARGE;
    }
    *out_len = len;
    return 0;
}

/* The first call of a request: nothing of the body has been read. */
static enum MHD_Result begin(const struct http *h, struct MHD_Connection *c, const char *method,
                             void **state)
{
    bool post = strcmp(method, MHD_HTTP_METHOD_POST) == 0;
    size_t size = 0;
    unsigned status = 0;
    if (post && h->plan.body_max > 0) {
        status = check_body(h, c, &size);
    } else if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
               strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
    }
    if (status != 0) {
        return refuse(h, c, status);
    }
    struct upload *u = calloc(1, sizeof *u);
    if (u == NULL) {
        return MHD_NO;
    }
    u->body = calloc(1, size + 1);
    if (u->body == NULL) {
        free(u);
        return MHD_NO;
    }
    u->size = size;
    *state = u;
    return MHD_YES;
}

static void name_peer(struct MHD_Connection *c, char *out, size_t size)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *at = i != NULL ? i->client_addr : NULL;
    socklen_t len = at != NULL && at->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                            : sizeof(struct sockaddr_in);
    if (at == NULL || getnameinfo(at, len, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0) {
        snprintf(out, size, "?");
    }
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *bytes,
                                  size_t *bytes_len, void **state)
{
    const struct http *h = ctx;
    struct upload *u = *state;
    (void)version;
    if (u == NULL) {
        return begin(h, c, method, state);
    }
    if (*bytes_len > 0) {
        bool fits = *bytes_len <= u->size - u->len; /* a GET's body does not */
        if (fits) {
            memcpy(u->body + u->len, bytes, *bytes_len);
            u->len += *bytes_len;
        }
        *bytes_len = 0;
        return fits ? MHD_YES : MHD_NO;
    }
    struct http_request r = {.method = method,
                             .path = url,
                             .body = u->body,
                             .body_len = u->len,
                             .port = h->port,
                             .connection = c};
    struct http_reply out = {.status = MHD_HTTP_NOT_FOUND};
    name_peer(c, r.peer, sizeof r.peer);
    h->plan.handler(h->plan.ctx, &r, &out);
    return reply(h, c, &out);
}

static struct place *place_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i != NULL ? i->socket_context : NULL;
}

/* The request is over, answered or not; on a connection that stays the next one may begin. */
static void on_completed(void *ctx, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct http *h = ctx;
    struct upload *u = *state;
    struct place *p = place_of(c);
    (void)why;
    if (u != NULL) {
        free(u->body);
        free(u);
        *state = NULL;
    }
    if (p != NULL) {
        pthread_mutex_lock(&h->lock);
        p->since_us = progress_now_us();
        pthread_mutex_unlock(&h->lock);
    }
}

static void on_connection(void *ctx, struct MHD_Connection *c, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *h = ctx;
    pthread_mutex_lock(&h->lock);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *i =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct place *p = h->place;
        while (p < h->place + HTTP_CONNECTIONS_MAX && p->fd >= 0) {
            p++;
        }
        if (i != NULL && p < h->place + HTTP_CONNECTIONS_MAX) {
            p->fd = i->connect_fd;
            p->since_us = progress_now_us();
            *socket_context = p;
        }
    } else if (*socket_context != NULL) {
        ((struct place *)*socket_context)->fd = -1;
        *socket_context = NULL;
    }
    pthread_mutex_unlock(&h->lock);
}

void http_end_late(struct http *h)
{
    if (h == NULL) {
        return;
    }
    const int64_t begun_us = progress_now_us() - HTTP_REQUEST_SECONDS * INT64_C(1000000);
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        if (h->place[i].fd >= 0 && h->place[i].since_us < begun_us) {
            (void)shutdown(h->place[i].fd, SHUT_RDWR); /* the server's thread closes it */
        }
    }
    pthread_mutex_unlock(&h->lock);
}

const char *http_query(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

bool http_query_cut(const struct http_request *r, const char *name)
{
    const char *text = NULL;
    size_t len = 0;
    return MHD_lookup_connection_value_n(r->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name),
                                         &text, &len) == MHD_YES &&
           text != NULL && strlen(text) != len;
}

const char *http_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *http_cookie(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_COOKIE_KIND, name);
}

/* The value of a parameter as it was sent; NULL: there is none. */
static const char *form_find(const char *body, const char *name, size_t *out_len)
{
    const size_t name_len = strlen(name);
    for (const char *at = body; *at != '\0';) {
        size_t len = strcspn(at, "&");
        if (len > name_len && at[name_len] == '=' && memcmp(at, name, name_len) == 0) {
            *out_len = len - name_len - 1;
            return at + name_len + 1;
        }
        at += len + (at[len] == '&');
    }
    return NULL;
}

bool http_form_has(const struct http_request *r, const char *name)
{
    size_t len = 0;
    return form_find(r->body, name, &len) != NULL;
}

const char *http_form(const struct http_request *r, const char *name, char *out, size_t size)
{
    size_t len = 0;
    const char *value = form_find(r->body, name, &len);
    if (value == NULL || len / 3 >= size || len > r->body_len) {
        return NULL;
    }
    char *decoded = malloc(len + 1); /* three bytes may be one */
    if (decoded == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < len; i++) {
        decoded[i] = value[i];
        if (value[i] == '+') {
            decoded[i] = ' ';
        }
    }
    decoded[len] = '\0';
    size_t decoded_len = MHD_http_unescape(decoded);
    bool fits = decoded_len < size && strlen(decoded) == decoded_len;
    if (fits) {
        memcpy(out, decoded, decoded_len + 1);
    }
    free(decoded);
    return fits ? out : NULL;
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

enum err http_start(const struct http_plan *plan, struct http **out, struct errmsg *e)
{
    int fd = -1;
    struct http *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return err_set(e, ERR_NOMEM, "cannot serve pages: no memory");
    }
    h->plan = *plan;
    pthread_mutex_init(&h->lock, NULL);
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        h->place[i].fd = -1;
    }
    enum err err = listen_at(plan->address, &fd, &h->port, e);
    if (err != ERR_OK) {
        http_stop(h);
        return err;
    }
    h->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL, on_request, h,
        MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT, plan->connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_SILENT_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, HTTP_HEAD_BYTES, MHD_OPTION_THREAD_POOL_SIZE,
        plan->threads > 1 ? plan->threads : 0, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
    if (h->daemon == NULL) {
        close(fd);
        http_stop(h);
        return err_set(e, ERR_IO, "cannot serve pages on %s: no thread", plan->address);
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
        if (h->daemon != NULL) {
            MHD_stop_daemon(h->daemon);
        }
        pthread_mutex_destroy(&h->lock);
        free(h);
    }
}
