#include "daemon/chart.h"

#include <math.h>
#include <string.h>

/* Units of the view box; the page scales it. */
#define WIDTH 640.0
#define HEIGHT 400.0
#define LEFT 62.0
#define RIGHT 18.0
#define TOP 14.0
#define BOTTOM 50.0
#define NEAR 0.4 /* points nearer than this are one */

void chart_text(FILE *f, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        switch (*p) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        case '\'':
            fputs("&#39;", f);
            break;
        default:
            fputc((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, f);
        }
    }
}

static double transform(enum chart_scale scale, double v)
{
    switch (scale) {
    case CHART_LINEAR:
        return v;
    case CHART_LOG:
        return log(v);
    case CHART_LOGIT:
        return log(v) - log1p(-v);
    }
    return v;
}

/* Where in the range a value lies, 0 to 1; NAN for NAN. */
static double place(const struct chart_axis *a, double v)
{
    if (isnan(v)) {
        return v;
    }
    v = v < a->low ? a->low : v > a->high ? a->high : v;
    double low = transform(a->scale, a->low);
    double high = transform(a->scale, a->high);
    return (transform(a->scale, v) - low) / (high - low);
}

static double at_x(const struct chart *c, double x)
{
    return LEFT + place(&c->x, x) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct chart *c, double y)
{
    return HEIGHT - BOTTOM - place(&c->y, y) * (HEIGHT - TOP - BOTTOM);
}

double chart_round_down(double v)
{
    double unit = pow(10, floor(log10(v)));
    double first = v / unit;
    return unit * (first >= 5 ? 5 : first >= 2 ? 2 : 1);
}

double chart_round_up(double v)
{
    double down = chart_round_down(v);
    return down >= v ? down : chart_round_down(down * 2.5);
}

static void number(const struct chart_axis *a, double v, char *out, size_t size)
{
    if (a->percent) {
        snprintf(out, size, "%g %%", 100 * v);
    } else {
        snprintf(out, size, "%g", v);
    }
}

static void x_tick(const struct chart *c, double x, const char *text, bool line)
{
    if (line) {
        fprintf(c->f, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
                at_x(c, x), at_x(c, x), TOP, HEIGHT - BOTTOM);
    }
    fprintf(c->f, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", at_x(c, x),
            HEIGHT - BOTTOM + 18);
    chart_text(c->f, text);
    fputs("</text>\n", c->f);
}

static void y_tick(const struct chart *c, double y, const char *text)
{
    fprintf(c->f, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
            WIDTH - RIGHT, at_y(c, y), at_y(c, y));
    fprintf(c->f, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 7,
            at_y(c, y) + 4);
    chart_text(c->f, text);
    fputs("</text>\n", c->f);
}

static void tick(const struct chart *c, bool vertical, double v)
{
    const struct chart_axis *a = vertical ? &c->y : &c->x;
    char text[32];
    if (v < a->low * (1 - 1e-9) || v > a->high * (1 + 1e-9)) {
        return;
    }
    number(a, v, text, sizeof text);
    if (vertical) {
        y_tick(c, v, text);
    } else {
        x_tick(c, v, text, true);
    }
}

static void ticks(const struct chart *c, bool vertical)
{
    static const double ODDS[] = {1e-6, 1e-5, 1e-4, .001, .01, .1, .5, .9, .99, .999};
    const struct chart_axis *a = vertical ? &c->y : &c->x;
    if (a->bare) {
        return;
    }
    switch (a->scale) {
    case CHART_LINEAR: {
        double step = chart_round_up((a->high - a->low) / 6);
        for (int i = 0; i <= 10 && a->low + i * step <= a->high * (1 + 1e-9); i++) {
            tick(c, vertical, a->low + i * step);
        }
        break;
    }
    case CHART_LOG: {
        int first = (int)ceil(log10(a->low) - 1e-9);
        for (int i = first; i <= (int)floor(log10(a->high) + 1e-9); i++) {
            tick(c, vertical, pow(10, i));
        }
        break;
    }
    case CHART_LOGIT:
        for (size_t i = 0; i < sizeof ODDS / sizeof *ODDS; i++) {
            tick(c, vertical, ODDS[i]);
        }
        break;
    }
}

void chart_begin(const struct chart *c)
{
    FILE *f = c->f;
    fprintf(f,
            "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-labelledby=\"%s-title %s-about\">"
            "<title id=\"%s-title\">",
            WIDTH, HEIGHT, c->id, c->id, c->id);
    chart_text(f, c->title);
    fprintf(f, "</title><desc id=\"%s-about\">", c->id);
    chart_text(f, c->about);
    fputs("</desc>\n", f);
    ticks(c, false);
    ticks(c, true);
    fprintf(f, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT,
            WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM);
    fprintf(f, "<text class=\"label\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
    chart_text(f, c->x.label);
    fprintf(f,
            "</text><text class=\"label\" text-anchor=\"middle\" "
            "transform=\"translate(15 %.1f) rotate(-90)\">",
            (TOP + HEIGHT - BOTTOM) / 2);
    chart_text(f, c->y.label);
    fputs("</text>\n", f);
}

void chart_line(const struct chart *c, const char *style, const double *x, const double *y,
                size_t n)
{
    double last_x = -1;
    double last_y = -1;
    bool any = false;
    fprintf(c->f, "<path class=\"line %s\" d=\"", style);
    for (size_t i = 0; i < n; i++) {
        double px = at_x(c, x[i]);
        double py = at_y(c, y[i]);
        bool far = fabs(px - last_x) + fabs(py - last_y) >= NEAR || i + 1 == n;
        if (isnan(px) || isnan(py) || (any && !far)) {
            continue;
        }
        fprintf(c->f, "%c%.1f %.1f", any ? 'L' : 'M', px, py);
        last_x = px;
        last_y = py;
        any = true;
    }
    fputs(any ? "\"/>\n" : "M0 0\"/>\n", c->f);
}

void chart_point(const struct chart *c, const char *style, double x, double y, double radius)
{
    if (!isnan(x) && !isnan(y)) {
        fprintf(c->f, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n", style,
                at_x(c, x), at_y(c, y), radius);
    }
}

void chart_range(const struct chart *c, const char *style, double x, double low, double high)
{
    if (!isnan(x) && !isnan(low) && !isnan(high)) {
        fprintf(c->f, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
                style, at_x(c, x), at_x(c, x), at_y(c, low), at_y(c, high));
    }
}

void chart_bar(const struct chart *c, const char *style, double from_x, double to_x, double y)
{
    if (!isnan(y)) {
        double top = at_y(c, y);
        fprintf(c->f, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                style, at_x(c, from_x), top, at_x(c, to_x) - at_x(c, from_x),
                HEIGHT - BOTTOM - top);
    }
}

void chart_x_text(const struct chart *c, double x, const char *text)
{
    x_tick(c, x, text, false);
}

void chart_end(const struct chart *c)
{
    fputs("</svg>\n", c->f);
}
