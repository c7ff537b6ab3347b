#include "daemon/top_view.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "daemon/promotion.h"
#include "daemon/scrape.h"

#define LINE_MAX_BYTES 1024
#define CURVE_MAX 120

/* A page that is drawn: lines, cut to the terminal. */
struct page {
    const struct top_view *v;
    FILE *out;
    int row;
};

enum style { PLAIN, TITLE, ALARM };

static void put_line(struct page *p, enum style style, const char *fmt, ...) FD_PRINTF(3, 4);
static void put_line(struct page *p, enum style style, const char *fmt, ...)
{
    static const char *const BEGIN[] = {[PLAIN] = "", [TITLE] = "\033[1m", [ALARM] = "\033[31m"};
    char text[LINE_MAX_BYTES];
    va_list args;
    if (p->row >= p->v->rows) {
        return;
    }
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    size_t len = strlen(text);
    if (len > (size_t)p->v->columns) {
        len = (size_t)p->v->columns;
    }
    const bool styled = p->v->color && style != PLAIN;
    /* no line end behind the last row: it would scroll */
    fprintf(p->out, "%s%s%.*s%s\033[K", p->row > 0 ? "\r\n" : "", styled ? BEGIN[style] : "",
            (int)len, text, styled ? "\033[0m" : "");
    p->row++;
}

/* "1,234", "34.5 k", "1.20 M"; "-" where unknown. */
struct number {
    char text[24];
};

static struct number number_of(double v)
{
    struct number n = {"-"};
    const double size = fabs(v);
    if (!isfinite(v)) {
        return n;
    }
    if (size >= 1e9) {
        snprintf(n.text, sizeof n.text, "%.2f G", v / 1e9);
    } else if (size >= 1e6) {
        snprintf(n.text, sizeof n.text, "%.2f M", v / 1e6);
    } else if (size >= 1e4) {
        snprintf(n.text, sizeof n.text, "%.1f k", v / 1e3);
    } else if (size >= 100 || size - floor(size) <= 0) {
        snprintf(n.text, sizeof n.text, "%.0f", v);
    } else {
        snprintf(n.text, sizeof n.text, "%.3g", v);
    }
    return n;
}

#define N(value) (number_of(value).text)

static struct number probability_of(double v)
{
    struct number n = {"-"};
    if (isfinite(v)) {
        snprintf(n.text, sizeof n.text, "%.4f", v);
    }
    return n;
}

#define P(value) (probability_of(value).text)

static struct number age_of(double seconds)
{
    struct number n = {"-"};
    if (seconds >= 2 * 86400) {
        snprintf(n.text, sizeof n.text, "%.0f days", seconds / 86400);
    } else if (seconds >= 2 * 3600) {
        snprintf(n.text, sizeof n.text, "%.0f h", seconds / 3600);
    } else if (seconds >= 120) {
        snprintf(n.text, sizeof n.text, "%.0f min", seconds / 60);
    } else if (seconds >= 0) {
        snprintf(n.text, sizeof n.text, "%.0f s", seconds);
    }
    return n;
}

/* What a counter of a reading gained a second; a restart in between counts from zero. */
static double gained(const struct top_view *v, const char *before, const char *now,
                     const char *name)
{
    const double is = scrape_sum(now, name, NULL, NULL);
    const double was = scrape_sum(before, name, NULL, NULL);
    return (isnan(was) || was > is ? is : is - was) / v->seconds;
}

static double score_rate(const struct top_view *v, const char *name)
{
    return gained(v, v->before.score.text, v->now.score.text, name);
}

static double sink_rate(const struct top_view *v, const char *name)
{
    return gained(v, v->before.sink.text, v->now.sink.text, name);
}

double top_rate(const struct top_view *v)
{
    const double rate = score_rate(v, "fraudd_transactions_received_total");
    return isfinite(rate) ? rate : 0;
}

static double score_ms(const struct top_view *v, const char *name, double q)
{
    return 1e3 * scrape_quantile(v->before.score.text, v->now.score.text, name, q);
}

/* The past rates as a row of bars. */
static void put_curve(struct page *p)
{
    static const char *const BARS[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ASCII[] = {" ", ".", ".", ":", "-", "=", "+", "*", "#"};
    char bars[CURVE_MAX * 4 + 1];
    const struct top_view *v = p->v;
    double top = 0;
    size_t len = 0;
    size_t n = v->columns > 20 ? (size_t)v->columns - 20 : 0;
    n = n > CURVE_MAX ? CURVE_MAX : n;
    n = n > v->past_count ? v->past_count : n;
    if (p->row >= v->rows || n == 0) {
        return;
    }
    const double *past = v->past + v->past_count - n;
    for (size_t i = 0; i < n; i++) {
        top = fmax(top, past[i]);
    }
    for (size_t i = 0; i < n; i++) {
        const int level = top > 0 ? (int)ceil(8 * past[i] / top) : 0;
        const char *bar = v->utf8 ? BARS[level] : ASCII[level];
        len += (size_t)snprintf(bars + len, sizeof bars - len, "%s", bar);
    }
    /* not by put_line: a bar has more bytes than columns */
    fprintf(p->out, "\r\n  to %7s /s  %.*s\033[K", N(top), (int)len, bars);
    p->row++;
}

static void put_head(struct page *p, const char *what, const struct top_reading *r)
{
    const double ready = scrape_sum(r->text, "fraudd_ready", NULL, NULL);
    const double started = scrape_max(r->text, "process_start_time_seconds");
    if (r->answered > 0) {
        put_line(p, ready < r->answered ? ALARM : TITLE,
                 "%s  %d of %d answer, %.0f ready, up %s, memory %sB", what, r->answered, r->asked,
                 ready, age_of(p->v->now_s - started).text,
                 N(scrape_sum(r->text, "process_resident_memory_bytes", NULL, NULL)));
    }
    if (r->silent[0] != '\0') {
        put_line(p, ALARM, "%s  %s", what, r->silent);
    }
}

static void put_models(struct page *p)
{
    struct scrape_sample s;
    const char *text = p->v->now.score.text;
    char before[64] = "";
    const char *at = text;
    const double until = scrape_max(text, "fraudd_model_data_until_seconds");
    while (scrape_next(&at, "fraudd_model_info", &s)) {
        char version[64] = "?";
        char kernel[32] = "?";
        (void)scrape_label(&s, "version", version, sizeof version);
        (void)scrape_label(&s, "kernel", kernel, sizeof kernel);
        if (strcmp(version, before) != 0) { /* processes with the same one */
            put_line(p, PLAIN, "  model           %s (%s kernel), data ended %s ago", version,
                     kernel, age_of(p->v->now_s - until).text);
        }
        memcpy(before, version, sizeof before);
    }
}

/* The model in shadow, where there is one. */
static void put_shadow(struct page *p)
{
    struct scrape_sample s;
    struct promotion_figures f;
    const char *text = p->v->now.score.text;
    const char *at = text;
    char version[64] = "";
    while (version[0] == '\0' && scrape_next(&at, "fraudd_shadow_info", &s)) {
        if (s.value > 0) {
            (void)scrape_label(&s, "version", version, sizeof version);
        }
    }
    if (version[0] == '\0') {
        return;
    }
    const double since = scrape_max(text, "fraudd_shadow_since_seconds");
    promotion_figures(text, &f);
    put_line(p, PLAIN, "  in shadow       %s for %s, %.2f %% of the cards complete", version,
             age_of(p->v->now_s - since).text, 100 * f.complete / (f.complete + f.incomplete));
    put_line(p, PLAIN,
             "  compared        %-9s would alert %s, champion %s, alike %.0f %%, shift %+.4f",
             N(f.payments), N(f.challenger), N(f.champion), 100 * f.alike, f.shift);
}

static void put_alarms(struct page *p)
{
    static const struct {
        const char *name, *what;
    } ZERO[] = {{"fraudd_diverged_total", "payments decided otherwise than recorded"},
                {"fraudd_missing_total", "payments gone from the log before they were decided"},
                {"fraudd_notices_refused_total", "notices refused"},
                {"fraudd_labels_lost_total", "labels lost"}};
    for (size_t i = 0; i < sizeof ZERO / sizeof *ZERO; i++) {
        const double n = scrape_sum(p->v->now.score.text, ZERO[i].name, NULL, NULL);
        if (n > 0) {
            put_line(p, ALARM, "  %s %s", N(n), ZERO[i].what);
        }
    }
}

static void put_score(struct page *p)
{
    const struct top_view *v = p->v;
    const char *now = v->now.score.text;
    static const char LATENCY[] = "fraudd_message_seconds";
    put_line(p, PLAIN, "  payments/s      %-9s decided/s %-9s dead letters/s %s", N(top_rate(v)),
             N(score_rate(v, "fraudd_decisions_total")),
             N(score_rate(v, "fraudd_dead_letters_total")));
    put_curve(p);
    put_line(p, PLAIN, "  lag             %-9s unacknowledged %-9s partitions %s",
             N(scrape_sum(now, "fraudd_kafka_lag", NULL, NULL)),
             N(scrape_sum(now, "fraudd_kafka_unacknowledged", NULL, NULL)),
             N(scrape_sum(now, "fraudd_partitions", NULL, NULL)));
    put_line(p, PLAIN, "  latency ms      p50 %-7s p99 %-7s p99.9 %-7s of it journal p99 %s",
             N(score_ms(v, LATENCY, .5)), N(score_ms(v, LATENCY, .99)),
             N(score_ms(v, LATENCY, .999)), N(score_ms(v, "fraudd_journal_seconds", .99)));
    put_line(p, PLAIN, "  alerts/h        %-9s declined/h %-9s suppressed %s",
             N(3600 * score_rate(v, "fraudd_alerts_total")),
             N(3600 * score_rate(v, "fraudd_declines_total")),
             N(scrape_sum(now, "fraudd_alerts_suppressed_total", NULL, NULL)));
    put_line(p, PLAIN, "  budget left     %-9s least of a partition %s",
             N(scrape_sum(now, "fraudd_alert_budget_left", NULL, NULL)),
             N(scrape_min(now, "fraudd_alert_budget_left")));
    const double partitions = (double)scrape_count(now, "fraudd_threshold_probability");
    put_line(p, PLAIN, "  threshold       %-9s lowest %s, highest %s",
             P(scrape_sum(now, "fraudd_threshold_probability", NULL, NULL) / partitions),
             P(scrape_min(now, "fraudd_threshold_probability")),
             P(scrape_max(now, "fraudd_threshold_probability")));
    put_models(p);
    put_shadow(p);
    put_line(p, PLAIN, "  state           %s cards, %s places, %sB",
             N(scrape_sum(now, "fraudd_cards", NULL, NULL)),
             N(scrape_sum(now, "fraudd_places", NULL, NULL)),
             N(scrape_sum(now, "fraudd_state_bytes", NULL, NULL)));
    put_line(p, PLAIN, "  CPU             %s of a core, learnt again/s %s, labels waiting %s",
             N(score_rate(v, "process_cpu_seconds_total")),
             N(score_rate(v, "fraudd_transactions_learnt_total")),
             N(scrape_sum(now, "fraudd_labels_waiting", NULL, NULL)));
    put_alarms(p);
}

static void put_sink(struct page *p)
{
    const struct top_view *v = p->v;
    const char *now = v->now.sink.text;
    static const char WRITE[] = "fraudd_sink_write_seconds";
    const double up = scrape_min(now, "fraudd_sink_database_up");
    const double rejected = scrape_sum(now, "fraudd_sink_rejected_total", NULL, NULL);
    put_line(p, PLAIN, "  rows/s          %-9s lag %-9s labels published %s",
             N(sink_rate(v, "fraudd_sink_rows_total")),
             N(scrape_sum(now, "fraudd_kafka_lag", NULL, NULL)),
             N(scrape_sum(now, "fraudd_sink_labels_published_total", NULL, NULL)));
    put_line(p, PLAIN, "  transaction ms  p50 %-7s p99 %s",
             N(1e3 * scrape_quantile(v->before.sink.text, now, WRITE, .5)),
             N(1e3 * scrape_quantile(v->before.sink.text, now, WRITE, .99)));
    put_line(p, up < 1 ? ALARM : PLAIN, "  database        %s, lost %s times",
             up < 1 ? "away" : "connected",
             N(scrape_sum(now, "fraudd_sink_outages_total", NULL, NULL)));
    if (rejected > 0) {
        put_line(p, ALARM, "  %s rows refused by PostgreSQL: table rejects", N(rejected));
    }
}

static void time_text(double now_s, char out[32])
{
    struct tm tm;
    time_t t = (time_t)now_s;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

void top_draw(const struct top_view *v, FILE *out)
{
    struct page p = {v, out, 0};
    char at[32];
    time_text(v->now_s, at);
    fputs("\033[H", out);
    put_line(&p, TITLE, "fraudd top  %s  every %.3g s  q ends", at, v->every_s);
    put_head(&p, "SCORE", &v->now.score);
    if (v->now.score.answered > 0) {
        put_score(&p);
    }
    put_head(&p, "SINK", &v->now.sink);
    if (v->now.sink.answered > 0) {
        put_sink(&p);
    }
    fputs("\033[J", out);
    fflush(out);
}

void top_print(const struct top_view *v, FILE *out)
{
    const char *score = v->now.score.text;
    const char *sink = v->now.sink.text;
    if (v->now.score.answered > 0) {
        fprintf(out,
                "score %d/%d ready, payments/s %s, lag %s, p50 ms %s, p99 ms %s, alerts/h %s, "
                "budget left %s, threshold %s to %s, unacknowledged %s\n",
                (int)scrape_sum(score, "fraudd_ready", NULL, NULL), v->now.score.asked,
                N(top_rate(v)), N(scrape_sum(score, "fraudd_kafka_lag", NULL, NULL)),
                N(score_ms(v, "fraudd_message_seconds", .5)),
                N(score_ms(v, "fraudd_message_seconds", .99)),
                N(3600 * score_rate(v, "fraudd_alerts_total")),
                N(scrape_sum(score, "fraudd_alert_budget_left", NULL, NULL)),
                P(scrape_min(score, "fraudd_threshold_probability")),
                P(scrape_max(score, "fraudd_threshold_probability")),
                N(scrape_sum(score, "fraudd_kafka_unacknowledged", NULL, NULL)));
    }
    if (v->now.score.silent[0] != '\0') {
        fprintf(out, "score %s\n", v->now.score.silent);
    }
    if (v->now.sink.answered > 0) {
        fprintf(
            out, "sink %d/%d ready, rows/s %s, lag %s, transaction p99 ms %s, database %s\n",
            (int)scrape_sum(sink, "fraudd_ready", NULL, NULL), v->now.sink.asked,
            N(sink_rate(v, "fraudd_sink_rows_total")),
            N(scrape_sum(sink, "fraudd_kafka_lag", NULL, NULL)),
            N(1e3 * scrape_quantile(v->before.sink.text, sink, "fraudd_sink_write_seconds", .99)),
            scrape_min(sink, "fraudd_sink_database_up") < 1 ? "away" : "connected");
    }
    if (v->now.sink.silent[0] != '\0') {
        fprintf(out, "sink %s\n", v->now.sink.silent);
    }
    fflush(out);
}
