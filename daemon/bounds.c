#include "daemon/bounds.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define FIRST_LINE "fraudd-settings 1"

/* The lines from alert.budget on. */
static size_t write_values(const struct bounds *b, char out[BOUNDS_TEXT_MAX])
{
    const struct threshold_conf *a = &b->alert;
    return (size_t)snprintf(out, BOUNDS_TEXT_MAX,
                            "alert.budget\t%.17g\nalert.burst\t%.17g\nalert.floor\t%.17g\n"
                            "decline.probability\t%.17g\ndecline.cost\t%.17g\n"
                            "max-future\t%" PRId64 "\n",
                            a->budget, a->burst, a->floor, a->decline, a->decline_cost,
                            b->max_future_us);
}

size_t bounds_write(const struct bounds *b, const struct control_about *about,
                    char out[BOUNDS_TEXT_MAX])
{
    char values[BOUNDS_TEXT_MAX];
    (void)write_values(b, values);
    return (size_t)snprintf(out, BOUNDS_TEXT_MAX, FIRST_LINE "\nby\t%s\nwhy\t%s\n%.480s", about->by,
                            about->why, values);
}

uint64_t bounds_hash(const struct bounds *b)
{
    char values[BOUNDS_TEXT_MAX];
    return hash_bytes(values, write_values(b, values), 0);
}

enum err bounds_check(const struct bounds *b, struct errmsg *e)
{
    struct threshold *trial = malloc(sizeof *trial);
    if (trial == NULL) {
        return err_set(e, ERR_NOMEM, "cannot look at settings: no memory");
    }
    enum err err = threshold_init(trial, &b->alert, e);
    free(trial);
    if (err == ERR_OK && b->max_future_us < 0) {
        err = err_set(e, ERR_INVALID, "max-future of %" PRId64 " us is not allowed; give 0 or more",
                      b->max_future_us);
    }
    return err;
}

/* ---- reading ---- */

struct lines {
    const char *at; /* zero-terminated */
    int number;
    struct errmsg *e;
    enum err err;
};

/* Takes "NAME<tab>VALUE<newline>" off; value [size].  false: there is something else. */
static bool take(struct lines *l, const char *name, char *value, size_t size)
{
    const size_t n = strlen(name);
    const size_t line = strcspn(l->at, "\n");
    l->number++;
    if (l->err != ERR_OK) {
        return false;
    }
    if (strncmp(l->at, name, n) != 0 || l->at[n] != '\t' || l->at[line] != '\n' ||
        line - n - 1 == 0 || line - n - 1 >= size) {
        l->err = err_set(l->e, ERR_CORRUPT, "line %d of a settings notice is not %s and a value",
                         l->number, name);
        return false;
    }
    memcpy(value, l->at + n + 1, line - n - 1);
    value[line - n - 1] = '\0';
    l->at += line + 1;
    return true;
}

static void take_real(struct lines *l, const char *name, double *out)
{
    char text[40];
    char *end = NULL;
    if (take(l, name, text, sizeof text)) {
        *out = strtod(text, &end);
        if (*end != '\0') {
            l->err = err_set(l->e, ERR_CORRUPT, "line %d of a settings notice: \"%s\" is no number",
                             l->number, text);
        }
    }
}

static void take_time(struct lines *l, const char *name, int64_t *out)
{
    char text[40];
    char *end = NULL;
    if (take(l, name, text, sizeof text)) {
        errno = 0;
        *out = strtoll(text, &end, 10);
        if (*end != '\0' || errno != 0) {
            l->err = err_set(l->e, ERR_CORRUPT, "line %d of a settings notice: \"%s\" is no number",
                             l->number, text);
        }
    }
}

enum err bounds_read(const char *text, size_t len, struct bounds *out,
                     struct control_about *out_about, struct errmsg *e)
{
    char copy[BOUNDS_TEXT_MAX];
    struct bounds b = *out;
    struct control_about about = {.by = ""};
    static const char FIRST[] = FIRST_LINE "\n";
    if (len >= sizeof copy || len < sizeof FIRST - 1 ||
        memcmp(text, FIRST, sizeof FIRST - 1) != 0 || memchr(text, '\0', len) != NULL) {
        return err_set(e, ERR_CORRUPT, "a settings notice of %zu bytes does not begin with \"%s\"",
                       len, FIRST_LINE);
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    struct lines l = {.at = copy + sizeof FIRST - 1, .number = 1, .e = e, .err = ERR_OK};
    (void)take(&l, "by", about.by, sizeof about.by);
    (void)take(&l, "why", about.why, sizeof about.why);
    take_real(&l, "alert.budget", &b.alert.budget);
    take_real(&l, "alert.burst", &b.alert.burst);
    take_real(&l, "alert.floor", &b.alert.floor);
    take_real(&l, "decline.probability", &b.alert.decline);
    take_real(&l, "decline.cost", &b.alert.decline_cost);
    take_time(&l, "max-future", &b.max_future_us);
    if (l.err == ERR_OK && *l.at != '\0') {
        l.err = err_set(e, ERR_CORRUPT, "a settings notice goes on after its last line");
    }
    if (l.err == ERR_OK) {
        l.err = bounds_check(&b, e);
    }
    if (l.err == ERR_OK) {
        *out = b;
        *out_about = about;
    }
    return l.err;
}
