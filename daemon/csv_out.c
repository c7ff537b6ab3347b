#include "daemon/csv_out.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/realfmt.h"

#define BUFFER ((size_t)1 << 20)

struct csv_out {
    const char *path;
    int fd;
    int error; /* errno of the first write that failed */
    bool first_field;
    size_t len;
    char buffer[BUFFER];
};

enum err csv_out_open(const char *path, struct csv_out **out, struct errmsg *e)
{
    struct csv_out *c = malloc(sizeof *c);
    if (c == NULL) {
        return err_set(e, ERR_NOMEM, "cannot write %s: no memory", path);
    }
    c->path = path;
    c->error = 0;
    c->first_field = true;
    c->len = 0;
    c->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (c->fd < 0) {
        int error = errno;
        free(c);
        return file_errno(e, error, "write", path);
    }
    *out = c;
    return ERR_OK;
}

static void flush(struct csv_out *c)
{
    size_t done = 0;
    while (done < c->len && c->error == 0) {
        ssize_t n = write(c->fd, c->buffer + done, c->len - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            c->error = errno;
        }
    }
    c->len = 0;
}

static void put(struct csv_out *c, const char *p, size_t len)
{
    while (len > 0) {
        if (c->len == BUFFER) {
            flush(c);
        }
        size_t part = len < BUFFER - c->len ? len : BUFFER - c->len;
        memcpy(c->buffer + c->len, p, part);
        c->len += part;
        p += part;
        len -= part;
    }
}

static void begin_field(struct csv_out *c)
{
    if (!c->first_field) {
        put(c, ",", 1);
    }
    c->first_field = false;
}

static bool is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r') {
            return false;
        }
    }
    return true;
}

void csv_out_text(struct csv_out *c, const char *text, size_t len)
{
    begin_field(c);
    if (is_plain(text, len)) {
        put(c, text, len);
        return;
    }
    put(c, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        put(c, text[i] == '"' ? "\"\"" : text + i, text[i] == '"' ? 2 : 1);
    }
    put(c, "\"", 1);
}

void csv_out_real(struct csv_out *c, float v)
{
    char text[REAL_TEXT_MAX];
    double size = fabs((double)v);
    bool tiny = size > 0 && size < REAL_TINY;
    size_t len = tiny ? 0 : real_format(text, (double)v);
    if (len == 0) {
        len = (size_t)snprintf(text, sizeof text, "%.9g", (double)v);
    }
    begin_field(c);
    put(c, text, len);
}

void csv_out_end_row(struct csv_out *c)
{
    put(c, "\n", 1);
    c->first_field = true;
}

enum err csv_out_close(struct csv_out *c, struct errmsg *e)
{
    if (c == NULL) {
        return ERR_OK;
    }
    flush(c);
    if (close(c->fd) != 0 && c->error == 0) {
        c->error = errno;
    }
    enum err err = c->error == 0 ? ERR_OK : file_errno(e, c->error, "write", c->path);
    free(c);
    return err;
}
