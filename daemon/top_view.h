/* What `fraudd top` shows, made of two readings of the daemons' metrics pages.  Pure; any thread.
 */
#ifndef FD_DAEMON_TOP_VIEW_H
#define FD_DAEMON_TOP_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TOP_PAST 256 /* readings that the curve may show */

/* One reading of all processes of a kind. */
struct top_reading {
    const char *text; /* their pages, one after the other; "" none answered */
    int answered, asked;
    char silent[128]; /* the first one that did not answer, and why; "" none */
};

struct top_readings {
    struct top_reading score, sink;
};

struct top_view {
    struct top_readings before, now; /* borrowed */
    double seconds;                  /* between them */
    double now_s;                    /* Unix time */
    double every_s;
    double past[TOP_PAST]; /* payments a second, the latest last */
    size_t past_count;
    int columns, rows;
    bool color;
    bool utf8;
};

/* Payments a second between the readings (0 where nobody answered). */
double top_rate(const struct top_view *v);

/* A screenful: each line ends with an erasure of its rest, no line is wider or page longer than the
 * terminal. */
void top_draw(const struct top_view *v, FILE *out);
/* A line for `score` and one for `sink`, for pipes and files. */
void top_print(const struct top_view *v, FILE *out);

#endif
