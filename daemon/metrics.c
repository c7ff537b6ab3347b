#include "daemon/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

const struct metric_info METRICS[METRIC_COUNT] = {
#define METRIC(id, name, kind, labels, who, help) {name, METRIC_KIND_##kind, labels, who, help},
#include "daemon/metrics.def"
#undef METRIC
};

struct bounds {
    size_t count;
    uint64_t ns[METRICS_BOUNDS_MAX];
    const char *seconds[METRICS_BOUNDS_MAX]; /* the same, as the label says it */
};

static const struct bounds STAGES = {16,
                                     {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000,
                                      250000, 500000, 1000000, 2500000, 5000000, 10000000},
                                     {"1e-07", "2.5e-07", "5e-07", "1e-06", "2.5e-06", "5e-06",
                                      "1e-05", "2.5e-05", "5e-05", "0.0001", "0.00025", "0.0005",
                                      "0.001", "0.0025", "0.005", "0.01"}};

static const struct bounds DELAYS = {
    16,
    {1000000, 2500000, 5000000, 10000000, 15000000, 25000000, 50000000, 100000000, 250000000,
     500000000, 1000000000, 2500000000, 5000000000, 10000000000, 30000000000, 60000000000},
    {"0.001", "0.0025", "0.005", "0.01", "0.015", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5",
     "5", "10", "30", "60"}};

static const struct bounds *bounds_of(enum metric m)
{
    return METRICS[m].kind == METRIC_KIND_STAGES   ? &STAGES
           : METRICS[m].kind == METRIC_KIND_DELAYS ? &DELAYS
                                                   : NULL;
}

void metrics_clear(struct metrics_page *p)
{
    p->ready = false;
    p->why[0] = '\0';
    p->samples = 0;
    p->histograms = 0;
    p->left_out = 0;
    p->text[0] = '\0'; /* offset 0: no labels */
    p->text_len = 1;
}

/* Appends one character of a label's value, escaped as the format wants it. */
static size_t put_escaped(char *out, size_t at, size_t size, char c)
{
    if (at + 3 < size) {
        if (c == '"' || c == '\\' || c == '\n') {
            out[at++] = '\\';
        }
        out[at++] = c == '\n' ? 'n' : c;
    }
    return at;
}

/* Writes name="value",.. of the metric's labels; false: no room. */
static bool put_labels(struct metrics_page *p, enum metric m, va_list values, uint32_t *out_at)
{
    char line[512];
    size_t at = 0;
    const char *name = METRICS[m].labels;
    *out_at = 0;
    while (*name != '\0') {
        size_t len = strcspn(name, ",");
        const char *value = va_arg(values, const char *);
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%.*s=\"", at > 0 ? "," : "",
                               (int)len, name);
        for (; *value != '\0' && at + 64 < sizeof line; value++) {
            at = put_escaped(line, at, sizeof line, *value);
        }
        line[at++] = '"';
        line[at] = '\0';
        assert(at + 32 < sizeof line);
        name += len + (name[len] == ',');
    }
    if (at == 0) {
        return true;
    }
    if (p->text_len + at + 1 > sizeof p->text) {
        return false;
    }
    memcpy(p->text + p->text_len, line, at + 1);
    *out_at = (uint32_t)p->text_len;
    p->text_len += at + 1;
    return true;
}

void metrics_put(struct metrics_page *p, enum metric m, double value, ...)
{
    va_list values;
    uint32_t labels = 0;
    assert(m < METRIC_COUNT && bounds_of(m) == NULL);
    va_start(values, value);
    bool room = p->samples < METRICS_SAMPLES && put_labels(p, m, values, &labels);
    va_end(values);
    if (!room) {
        p->left_out++;
        return;
    }
    p->sample[p->samples++] = (struct metrics_sample){value, labels, (uint16_t)m};
}

void metrics_put_latency(struct metrics_page *p, enum metric m, const struct latency *h, ...)
{
    const struct bounds *b = bounds_of(m);
    va_list values;
    uint32_t labels = 0;
    assert(m < METRIC_COUNT && b != NULL);
    va_start(values, h);
    bool room = p->histograms < METRICS_HISTOGRAMS && put_labels(p, m, values, &labels);
    va_end(values);
    if (!room) {
        p->left_out++;
        return;
    }
    struct metrics_histogram *to = &p->histogram[p->histograms++];
    to->count = latency_cumulative(h, b->ns, b->count, to->below);
    to->sum_s = (double)h->sum_ns / 1e9;
    to->labels = labels;
    to->metric = (uint16_t)m;
}

static void render_value(FILE *f, double v)
{
    if (isfinite(v) && fabs(v) < 0x1p53 && fabs(v - trunc(v)) <= 0) {
        fprintf(f, " %" PRId64 "\n", (int64_t)v);
    } else if (isfinite(v)) {
        fprintf(f, " %.9g\n", v);
    } else {
        fputs(isnan(v) ? " NaN\n" : v > 0 ? " +Inf\n" : " -Inf\n", f);
    }
}

static void render_histogram(FILE *f, const struct metrics_page *p,
                             const struct metrics_histogram *h)
{
    const struct bounds *b = bounds_of(h->metric);
    const char *name = METRICS[h->metric].name;
    const char *labels = p->text + h->labels;
    const char *comma = *labels != '\0' ? "," : "";
    for (size_t i = 0; i < b->count; i++) {
        fprintf(f, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, labels, comma, b->seconds[i],
                h->below[i]);
    }
    fprintf(f, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, h->count);
    const char *open = *labels != '\0' ? "{" : "";
    const char *close = *labels != '\0' ? "}" : "";
    fprintf(f, "%s_sum%s%s%s %.9g\n", name, open, labels, close, h->sum_s);
    fprintf(f, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, h->count);
}

static const char *kind_name(enum metric_kind k)
{
    switch (k) {
    case METRIC_KIND_COUNTER:
        return "counter";
    case METRIC_KIND_GAUGE:
        return "gauge";
    case METRIC_KIND_STAGES:
    case METRIC_KIND_DELAYS:
        return "histogram";
    }
    return "untyped";
}

static void render_head(FILE *f, bool *headed, const struct metric_info *info)
{
    if (!*headed) {
        fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", info->name, info->help, info->name,
                kind_name(info->kind));
        *headed = true;
    }
}

void metrics_render(const struct metrics_page *p, FILE *f)
{
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        bool headed = false;
        for (size_t i = 0; i < p->samples; i++) {
            const struct metrics_sample *s = &p->sample[i];
            if (s->metric == m) {
                const char *labels = p->text + s->labels;
                render_head(f, &headed, &METRICS[m]);
                fprintf(f, *labels != '\0' ? "%s{%s}" : "%s%s", METRICS[m].name, labels);
                render_value(f, s->value);
            }
        }
        for (size_t i = 0; i < p->histograms; i++) {
            if (p->histogram[i].metric == m) {
                render_head(f, &headed, &METRICS[m]);
                render_histogram(f, p, &p->histogram[i]);
            }
        }
    }
}

static void print_bounds(FILE *f, const char *what, const struct bounds *b)
{
    fprintf(f, "%s (seconds):", what);
    for (size_t i = 0; i < b->count; i++) {
        fprintf(f, " %s", b->seconds[i]);
    }
    fputs(".\n", f);
}

void metrics_print_doc(FILE *f)
{
    fputs(
        "# Metrics\n"
        "`fraudd score` serves them at http.listen, `fraudd sink` at http.sink-listen (both: these "
        "two),\n`fraudd console` its own and those of build, loop, reloads and process at "
        "http.console-listen:\n"
        "`/metrics` in Prometheus' text format, `/healthz` (200 while the daemon's loop turns), "
        "`/readyz`\n(200 once everything is learnt or connected, 503 with the reason before).\n\n"
        "| name | type | labels | daemon | what it is |\n|---|---|---|---|---|\n",
        f);
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        const struct metric_info *i = &METRICS[m];
        fprintf(f, "| `%s` | %s | %s | %s | %s |\n", i->name, kind_name(i->kind), i->labels, i->who,
                i->help);
    }
    fputs("\n", f);
    print_bounds(f, "Bounds of the stage histogram", &STAGES);
    print_bounds(f, "Bounds of the other histograms", &DELAYS);
}
