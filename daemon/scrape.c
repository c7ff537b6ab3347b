#include "daemon/scrape.h"

#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE_BYTES_MAX ((size_t)4 << 20)
#define BOUNDS_MAX 32

bool scrape_next(const char **at, const char *name, struct scrape_sample *out)
{
    const size_t len = strlen(name);
    for (const char *line = *at; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        const char *value = line + len;
        if (strncmp(line, name, len) == 0 && (*value == ' ' || *value == '{')) {
            *out = (struct scrape_sample){.labels = ""};
            if (*value == '{') {
                /* the last one: a label's value may have braces, too */
                const size_t rest = end != NULL ? (size_t)(end - value) : strlen(value);
                const char *close = memrchr(value, '}', rest);
                if (close == NULL) {
                    return false;
                }
                out->labels = value + 1;
                out->labels_len = (size_t)(close - value - 1);
                value = close + 1;
            }
            out->value = strtod(value, NULL);
            *at = end != NULL ? end + 1 : line + strlen(line);
            return true;
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return false;
}

bool scrape_label(const struct scrape_sample *s, const char *label, char *out, size_t size)
{
    const size_t len = strlen(label);
    const char *end = s->labels + s->labels_len;
    for (const char *p = s->labels; p < end;) {
        const char *equals = memchr(p, '=', (size_t)(end - p));
        const char *from = equals != NULL ? equals + 2 : end;
        const char *to = from < end ? memchr(from, '"', (size_t)(end - from)) : NULL;
        if (to == NULL) {
            return false;
        }
        if ((size_t)(equals - p) == len && memcmp(p, label, len) == 0) {
            snprintf(out, size, "%.*s", (int)(to - from), from);
            return true;
        }
        p = to + 1 + (to + 1 < end && to[1] == ',');
    }
    return false;
}

/* What fold makes of all samples of a name; NaN: there is none. */
static double fold_all(const char *text, const char *name, double (*fold)(double, double))
{
    struct scrape_sample s;
    double all = (double)NAN;
    const char *at = text;
    while (scrape_next(&at, name, &s)) {
        all = isnan(all) ? s.value : fold(all, s.value);
    }
    return all;
}

double scrape_min(const char *text, const char *name)
{
    return fold_all(text, name, fmin);
}

double scrape_max(const char *text, const char *name)
{
    return fold_all(text, name, fmax);
}

double scrape_sum(const char *text, const char *name, const char *label, const char *value)
{
    struct scrape_sample s;
    char is[64];
    double sum = (double)NAN;
    const char *at = text;
    while (scrape_next(&at, name, &s)) {
        if (label == NULL || (scrape_label(&s, label, is, sizeof is) && strcmp(is, value) == 0)) {
            sum = isnan(sum) ? s.value : sum + s.value;
        }
    }
    return sum;
}

size_t scrape_count(const char *text, const char *name)
{
    struct scrape_sample s;
    size_t n = 0;
    const char *at = text;
    while (scrape_next(&at, name, &s)) {
        n++;
    }
    return n;
}

/* Adds a page's cumulative counts to count[], times `sign`; bounds come in the same order on every
 * page.  Returns how many bounds there are. */
static size_t add_bounds(const char *text, const char *bucket, double sign, double *bound,
                         double *count)
{
    struct scrape_sample s;
    char le[32];
    size_t n = 0;
    const char *at = text;
    while (scrape_next(&at, bucket, &s)) {
        double b = scrape_label(&s, "le", le, sizeof le) ? strtod(le, NULL) : (double)NAN;
        size_t i = 0;
        while (i < n && bound[i] < b) {
            i++;
        }
        if (i == n && n < BOUNDS_MAX) {
            bound[n++] = b;
        }
        if (i < n) {
            count[i] += sign * s.value;
        }
    }
    return n;
}

double scrape_quantile(const char *before, const char *now, const char *name, double q)
{
    char bucket[80];
    double bound[BOUNDS_MAX];
    double count[BOUNDS_MAX] = {0};
    snprintf(bucket, sizeof bucket, "%s_bucket", name);
    (void)add_bounds(before, bucket, -1, bound, count);
    size_t n = add_bounds(now, bucket, 1, bound, count);
    if (n < 2 || !(count[n - 1] > 0)) {
        return (double)NAN;
    }
    const double wanted = q * count[n - 1];
    size_t i = 0;
    while (i < n - 1 && count[i] < wanted) {
        i++;
    }
    if (i == n - 1) { /* above the last bound */
        return bound[n - 2];
    }
    const double low = i > 0 ? bound[i - 1] : 0;
    const double below = i > 0 ? count[i - 1] : 0;
    return count[i] > below ? low + (bound[i] - low) * (wanted - below) / (count[i] - below) : low;
}

/* Waits until the socket may be read or written. */
static bool await(int fd, short events, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, timeout_ms) == 1;
}

/* A connected socket, or -1. */
static int connect_one(const struct addrinfo *a, int timeout_ms)
{
    int failed = 0;
    socklen_t len = sizeof failed;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && (connect(fd, a->ai_addr, a->ai_addrlen) == 0 ||
                    (errno == EINPROGRESS && await(fd, POLLOUT, timeout_ms) &&
                     getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) == 0 && failed == 0))) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static enum err connect_to(const char *address, int timeout_ms, int *out, struct errmsg *e)
{
    char host[256];
    struct addrinfo *all = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(address, ':');
    size_t len = colon != NULL ? (size_t)(colon - address) : 0;
    bool bracketed = len > 2 && address[0] == '[' && colon[-1] == ']';
    if (len == 0 || len >= sizeof host || colon[1] == '\0') {
        return err_set(e, ERR_INVALID, "\"%s\" is no address; give host:port", address);
    }
    snprintf(host, sizeof host, "%.*s", (int)(bracketed ? len - 2 : len), address + bracketed);
    int fd = -1;
    if (getaddrinfo(host, colon + 1, &hints, &all) == 0) {
        for (const struct addrinfo *a = all; a != NULL && fd < 0; a = a->ai_next) {
            fd = connect_one(a, timeout_ms);
        }
        freeaddrinfo(all);
    }
    *out = fd;
    return fd >= 0 ? ERR_OK : err_set(e, ERR_UNAVAILABLE, "%s does not answer", address);
}

/* Reads to the end into *page (owned); false: too large, or it took too long. */
static bool read_all(int fd, int timeout_ms, char **page, size_t *len)
{
    size_t room = 0;
    for (;;) {
        if (room - *len < 4096) {
            room = room == 0 ? (size_t)1 << 16 : 2 * room;
            char *grown = room <= PAGE_BYTES_MAX ? realloc(*page, room) : NULL;
            if (grown == NULL) {
                return false;
            }
            *page = grown;
        }
        ssize_t n = await(fd, POLLIN, timeout_ms) ? read(fd, *page + *len, room - *len - 1) : -1;
        if (n <= 0) {
            (*page)[*len] = '\0';
            return n == 0;
        }
        *len += (size_t)n;
    }
}

static enum err append(const char *body, char **text, size_t *len, struct errmsg *e)
{
    size_t more = strlen(body);
    char *grown = realloc(*text, *len + more + 1);
    if (grown == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold a page of %zu bytes: no memory", more);
    }
    memcpy(grown + *len, body, more + 1);
    *text = grown;
    *len += more;
    return ERR_OK;
}

enum err scrape_fetch(const char *address, int timeout_ms, char **text, size_t *len,
                      struct errmsg *e)
{
    char request[400];
    char *page = NULL;
    size_t page_len = 0;
    int fd = -1;
    enum err err = connect_to(address, timeout_ms, &fd, e);
    if (err != ERR_OK) {
        return err;
    }
    int n = snprintf(request, sizeof request, "GET /metrics HTTP/1.0\r\nHost: %s\r\n\r\n", address);
    bool good = send(fd, request, (size_t)n, MSG_NOSIGNAL) == n &&
                read_all(fd, timeout_ms, &page, &page_len);
    close(fd);
    const char *body = good ? strstr(page, "\r\n\r\n") : NULL;
    if (body == NULL || strncmp(page, "HTTP/1.", 7) != 0 || strncmp(page + 8, " 200", 4) != 0 ||
        strstr(body, "fraudd_build_info") == NULL) {
        err = err_set(e, ERR_UNAVAILABLE, "%s has no page of ours", address);
    } else {
        err = append(body + 4, text, len, e);
    }
    free(page);
    return err;
}
