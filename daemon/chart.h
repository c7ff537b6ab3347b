/* Plain charts as inline SVG: a frame with axes, then lines, points and bars in it.  Colours and
 * strokes are classes of the page's style sheet.  What is drawn lies inside the frame: a value
 * outside an axis' range is put on its edge, one that is not a number is left out.  Texts are
 * escaped here. */
#ifndef FD_DAEMON_CHART_H
#define FD_DAEMON_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum chart_scale {
    CHART_LINEAR,
    CHART_LOG,  /* low > 0 */
    CHART_LOGIT /* log-odds of a probability; 0 < low, high < 1 */
};

struct chart_axis {
    const char *label;
    enum chart_scale scale;
    double low, high; /* low < high */
    bool percent;     /* 0.25 is written "25 %" */
    bool bare;        /* no ticks: the caller writes them (chart_x_text) */
};

struct chart {
    FILE *f;           /* borrowed */
    const char *id;    /* of its title, unique on the page: letters */
    const char *title; /* what it shows, also for those who do not see it */
    const char *about; /* how to read it, in a sentence */
    struct chart_axis x, y;
};

/* Text as HTML and XML: markup escaped, control characters as '?'. */
void chart_text(FILE *f, const char *text);

/* Between begin and end everything of one chart.  `style`: class names. */
void chart_begin(const struct chart *c);
/* x, y: [n].  Points nearer than the eye tells are left out. */
void chart_line(const struct chart *c, const char *style, const double *x, const double *y,
                size_t n);
void chart_point(const struct chart *c, const char *style, double x, double y, double radius);
/* A vertical line from low to high. */
void chart_range(const struct chart *c, const char *style, double x, double low, double high);
/* A bar from the bottom of the frame. */
void chart_bar(const struct chart *c, const char *style, double from_x, double to_x, double y);
/* A tick of the x axis with the caller's own text. */
void chart_x_text(const struct chart *c, double x, const char *text);
void chart_end(const struct chart *c);

/* The largest of 1, 2, 5 * 10^k at or below v > 0, and the smallest at or above. */
double chart_round_down(double v);
double chart_round_up(double v);

#endif
