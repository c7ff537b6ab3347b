#include "base/csv.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/inflate.h"

#define BUFFER_BYTES (4 * CSV_ROW_MAX)

struct csv {
    struct inflate *in;
    char *path;
    char buffer[BUFFER_BYTES + 1];
    size_t at;
    size_t len;
    bool ended;
    uint64_t line; /* of the latest row */
    uint64_t line_next;
    size_t columns;
    char *header; /* owned text of the names */
    const char *names[CSV_FIELDS_MAX];
    struct csv_field fields[CSV_FIELDS_MAX + 1];
};

/* Moves what is left to the front and reads until the buffer is full or the file ends. */
static enum err fill(struct csv *c, struct errmsg *e)
{
    memmove(c->buffer, c->buffer + c->at, c->len - c->at);
    c->len -= c->at;
    c->at = 0;
    while (!c->ended && c->len < BUFFER_BYTES) {
        size_t n = 0;
        enum err err =
            inflate_read(c->in, (uint8_t *)c->buffer + c->len, BUFFER_BYTES - c->len, &n, e);
        if (err != ERR_OK) {
            return err;
        }
        c->len += n;
        c->ended = n == 0;
    }
    return ERR_OK;
}

/* Length of the row at c->at without its line end, and with it; false: the buffer holds no whole
 * one. */
static bool row_length(struct csv *c, size_t *out_text, size_t *out_whole)
{
    const char *start = c->buffer + c->at;
    size_t left = c->len - c->at;
    const char *newline = memchr(start, '\n', left);
    if (newline != NULL && memchr(start, '"', (size_t)(newline - start)) == NULL) {
        *out_text = (size_t)(newline - start);
        *out_whole = *out_text + 1;
        return true;
    }
    bool quoted = false;
    for (size_t i = 0; i < left; i++) {
        if (start[i] == '"') {
            quoted = !quoted;
        } else if (start[i] == '\n' && !quoted) {
            *out_text = i;
            *out_whole = i + 1;
            return true;
        }
    }
    *out_text = *out_whole = left;
    return c->ended && left > 0;
}

/* Cuts one field at p (zero-terminated row), unquoting in place; returns what follows it, or NULL
 * at the end of the row. */
static char *cut_field(char *p, struct csv_field *out)
{
    out->p = p;
    if (*p != '"') {
        char *comma = strchr(p, ',');
        out->len = comma != NULL ? (size_t)(comma - p) : strlen(p);
        if (comma != NULL) {
            *comma = '\0';
            return comma + 1;
        }
        return NULL;
    }
    char *to = p;
    char *from = p + 1;
    while (*from != '\0') {
        if (*from == '"') {
            if (from[1] != '"') {
                from++;
                break;
            }
            from++;
        }
        *to++ = *from++;
    }
    bool more = *from == ',';
    *to = '\0';
    out->len = (size_t)(to - p);
    return more ? from + 1 : NULL;
}

static size_t split(struct csv *c, char *row)
{
    size_t n = 0;
    for (char *p = row; p != NULL && n <= CSV_FIELDS_MAX; n++) {
        p = cut_field(p, &c->fields[n]);
    }
    return n;
}

static enum err next_row(struct csv *c, char **out, struct errmsg *e)
{
    size_t text = 0;
    size_t whole = 0;
    do {
        if (!row_length(c, &text, &whole)) {
            enum err err = fill(c, e);
            if (err != ERR_OK) {
                return err;
            }
            if (c->len == 0) {
                return ERR_END;
            }
            if (!row_length(c, &text, &whole)) {
                text = CSV_ROW_MAX + 1;
            }
        }
        c->line = c->line_next;
        if (text > CSV_ROW_MAX) {
            return err_set(e, ERR_CORRUPT, "%s line %llu: a row of over %d bytes; is a quote open?",
                           c->path, (unsigned long long)c->line, CSV_ROW_MAX);
        }
        char *row = c->buffer + c->at;
        for (size_t i = 0; i < whole; i++) {
            c->line_next += row[i] == '\n';
        }
        if (text > 0 && row[text - 1] == '\r') {
            text--;
        }
        row[text] = '\0';
        c->at += whole;
        *out = row;
    } while (text == 0); /* blank lines are skipped */
    return ERR_OK;
}

static enum err read_header(struct csv *c, struct errmsg *e)
{
    char *row = NULL;
    enum err err = next_row(c, &row, e);
    if (err == ERR_END) {
        return err_set(e, ERR_CORRUPT, "%s is empty; its first line must name the columns",
                       c->path);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (strncmp(row, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        row += 3;
    }
    c->header = strdup(row);
    if (c->header == NULL) {
        return err_set(e, ERR_NOMEM, "cannot read %s: no memory", c->path);
    }
    c->columns = split(c, c->header);
    if (c->columns > CSV_FIELDS_MAX) {
        return err_set(e, ERR_CORRUPT, "%s has over %d columns", c->path, CSV_FIELDS_MAX);
    }
    for (size_t i = 0; i < c->columns; i++) {
        c->names[i] = c->fields[i].p;
    }
    return ERR_OK;
}

enum err csv_open(const char *path, struct csv **out, struct errmsg *e)
{
    enum err err = ERR_OK;
    struct csv *c = calloc(1, sizeof *c);
    if (c == NULL || (c->path = strdup(path)) == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot open %s: no memory", path);
        goto out;
    }
    c->line_next = 1;
    err = inflate_open(path, &c->in, e);
    if (err == ERR_OK) {
        err = read_header(c, e);
    }
    if (err == ERR_OK) {
        *out = c;
        c = NULL;
    }
out:
    csv_close(c);
    return err;
}

void csv_close(struct csv *c)
{
    if (c != NULL) {
        inflate_close(c->in);
        free(c->header);
        free(c->path);
        free(c);
    }
}

int csv_column(const struct csv *c, const char *name)
{
    for (size_t i = 0; i < c->columns; i++) {
        if (strcmp(c->names[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

enum err csv_next(struct csv *c, const struct csv_field **out, struct errmsg *e)
{
    char *row = NULL;
    enum err err = next_row(c, &row, e);
    if (err != ERR_OK) {
        return err;
    }
    size_t n = split(c, row);
    if (n != c->columns) {
        return err_set(e, ERR_CORRUPT, "%s line %llu has %zu fields; the header names %zu", c->path,
                       (unsigned long long)c->line, n, c->columns);
    }
    *out = c->fields;
    return ERR_OK;
}

uint64_t csv_line(const struct csv *c)
{
    return c->line;
}

double csv_share(const struct csv *c)
{
    return inflate_share(c->in);
}
