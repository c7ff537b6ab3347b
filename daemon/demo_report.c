/* What a demo has to show: whether the counts agree, and what the decisions were worth. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/demo.h"
#include "daemon/evaluate.h"
#include "daemon/settings.h"

#define TOP_ALERTS 5
#define TOP_CARDS 100 /* examined a day */

const char *demo_number(char out[DEMO_NUMBER_MAX], uint64_t v)
{
    char digits[24];
    size_t n = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, v);
    char *to = out;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

const char *demo_days(char out[DEMO_DAYS_MAX], int64_t from_us, int64_t to_us)
{
    char from[TIME_TEXT_MAX];
    char to[TIME_TEXT_MAX];
    time_format_date(from, from_us);
    time_format_date(to, to_us - 1);
    snprintf(out, DEMO_DAYS_MAX, "%.12s to %.12s", from, to);
    return out;
}

/* ---- counts ---- */

struct counts {
    uint64_t in, decided, dead, alerts;                      /* lengths of the topics */
    uint64_t transactions, decisions, stored_alerts, labels; /* rows in PostgreSQL */
    uint64_t repeated, rejects;
};

static enum err topic_length(const struct demo_stream *s, enum bus_topic topic, uint64_t *out,
                             struct errmsg *e)
{
    int64_t low = 0;
    int64_t high = 0;
    enum err err = demo_stream_bounds(s, topic, &low, &high, e);
    if (err == ERR_OK) {
        *out = (uint64_t)high;
    }
    return err;
}

static uint64_t number_at(const struct db_rows *rows, int row, int column)
{
    const char *text = db_rows_text(rows, row, column);
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

static enum err count_all(const struct demo_stream *s, struct counts *c, struct errmsg *e)
{
    static const char SQL[] = "SELECT (SELECT count(*) FROM transactions),"
                              " (SELECT count(*) FROM decisions),"
                              " (SELECT count(*) FROM decisions WHERE repeated),"
                              " (SELECT count(*) FROM alerts),"
                              " (SELECT count(*) FROM labels), (SELECT count(*) FROM rejects)";
    struct db_rows *rows = NULL;
    enum err err = topic_length(s, TOPIC_TRANSACTIONS, &c->in, e);
    if (err == ERR_OK) {
        err = topic_length(s, TOPIC_DECISIONS, &c->decided, e);
    }
    if (err == ERR_OK) {
        err = topic_length(s, TOPIC_DEAD_LETTERS, &c->dead, e);
    }
    if (err == ERR_OK) {
        err = topic_length(s, TOPIC_ALERTS, &c->alerts, e);
    }
    if (err == ERR_OK) {
        err = db_exec(s->servers->db, SQL, 0, NULL, &rows, e);
    }
    if (err == ERR_OK) {
        c->transactions = number_at(rows, 0, 0);
        c->decisions = number_at(rows, 0, 1);
        c->repeated = number_at(rows, 0, 2);
        c->stored_alerts = number_at(rows, 0, 3);
        c->labels = number_at(rows, 0, 4);
        c->rejects = number_at(rows, 0, 5);
        db_rows_free(rows);
    }
    return err;
}

static void print_count(const char *what, uint64_t v, const char *detail)
{
    char text[DEMO_NUMBER_MAX];
    printf("  %-22s %11s%s%s\n", what, demo_number(text, v), detail[0] != '\0' ? "   " : "",
           detail);
}

static void print_counts(const struct demo_stream *s, const struct counts *c)
{
    char detail[400];
    char a[DEMO_NUMBER_MAX];
    snprintf(detail, sizeof detail, "%s payments, %" PRIu64 " of them twice, %zu hostile messages",
             demo_number(a, s->data->n), s->repeated, s->planted);
    print_count("in", c->in, detail);
    snprintf(detail, sizeof detail, "%" PRIu64 " of them repeats", c->repeated);
    print_count("decided", c->decided, detail);
    size_t len = 0;
    detail[0] = '\0';
    for (unsigned r = 1; r < DEAD_REASON_COUNT; r++) {
        if (s->dead_by_reason[r] > 0 && len < sizeof detail) {
            len += (size_t)snprintf(detail + len, sizeof detail - len, "%s%s %" PRIu64,
                                    len > 0 ? ", " : "", dead_reason_name((enum dead_reason)r),
                                    s->dead_by_reason[r]);
        }
    }
    print_count("dead-lettered", c->dead, detail);
    print_count("decisions stored", c->decisions, "");
    print_count("payments stored", c->transactions, "");
    print_count("alerts stored", c->stored_alerts, "");
    print_count("labels stored", c->labels, "chargebacks as they became known, and the analysts'");
}

enum err demo_report_counts(const struct demo_stream *s, bool *out_agree, struct errmsg *e)
{
    struct counts c = {0};
    enum err err = count_all(s, &c, e);
    if (err != ERR_OK) {
        return err;
    }
    const struct {
        const char *text;
        uint64_t left, right;
    } checks[] = {
        {"sent = in", s->sent, c.in},
        {"in = decided + dead-lettered", c.in, c.decided + c.dead},
        {"decided = stored", c.decided, c.decisions},
        {"hostile = dead-lettered", s->planted, c.dead},
        {"in - dead-lettered = payments stored", c.in - c.dead, c.transactions},
        {"alerts raised = alerts stored", c.alerts, c.stored_alerts},
        {"labels sent = labels stored", s->labels, c.labels},
        {"sent twice = repeats", s->repeated, c.repeated},
        {"refused by PostgreSQL = 0", c.rejects, 0},
    };
    printf("\nCounts\n");
    print_counts(s, &c);
    bool agree = true;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        bool good = checks[i].left == checks[i].right;
        if (good) {
            printf("  ok       %s\n", checks[i].text);
        } else {
            printf("  DIFFERS  %s: %" PRIu64 " and %" PRIu64 "\n", checks[i].text, checks[i].left,
                   checks[i].right);
        }
        agree = agree && good;
    }
    *out_agree = agree;
    return ERR_OK;
}

/* ---- quality ---- */

struct reading {
    const struct demo_stream *s;
    struct judged *judged; /* [n - stream_from] */
    size_t found;
};

/* "t000000017<tab>0.0123<tab>approve" */
static enum err take_decision(void *ctx, char *text, size_t len, struct errmsg *e)
{
    struct reading *r = ctx;
    const struct demo_data *d = r->s->data;
    char *save = NULL;
    const char *id = strtok_r(text, "\t", &save);
    const char *score = strtok_r(NULL, "\t", &save);
    const char *outcome = strtok_r(NULL, "\t", &save);
    size_t row = id != NULL ? demo_data_row(d, id) : d->n;
    (void)len;
    if (outcome == NULL || row < d->stream_from || row >= d->n) {
        return err_set(e, ERR_CORRUPT, "a stored decision is of no streamed payment: %.64s",
                       id != NULL ? id : "");
    }
    struct judged *j = &r->judged[row - d->stream_from];
    j->score = strtof(score, NULL);
    j->alert = strcmp(outcome, "approve") != 0;
    r->found++;
    return ERR_OK;
}

static enum err read_decisions(const struct demo_stream *s, struct judged *judged, struct errmsg *e)
{
    char sql[256];
    char from[TIME_TEXT_MAX];
    struct reading r = {s, judged, 0};
    time_format(from, s->plan->stream_us);
    snprintf(sql, sizeof sql,
             "COPY (SELECT tx_id, coalesce(score, 1), outcome FROM decisions WHERE event_time >= "
             "'%s' AND NOT repeated) TO STDOUT",
             from);
    enum err err = db_copy_out(s->servers->db, sql, take_decision, &r, e);
    if (err == ERR_OK && r.found != s->data->n - s->data->stream_from) {
        return err_set(e, ERR_MISMATCH, "%zu payments were streamed, %zu decisions are stored",
                       s->data->n - s->data->stream_from, r.found);
    }
    return err;
}

static enum err judge(const struct demo_stream *s, struct figures *out, struct errmsg *e)
{
    const struct demo_data *d = s->data;
    size_t n = d->n - d->stream_from;
    char json[SIM_ROW_MAX];
    struct tx t;
    struct tx_strings strings;
    size_t len = 0;
    struct judged *judged = calloc(n + 1, sizeof *judged);
    if (judged == NULL) {
        return err_set(e, ERR_NOMEM, "cannot judge %zu decisions: no memory", n);
    }
    for (size_t i = 0; i < n; i++) {
        demo_data_decode(d, d->stream_from + i, json, &len, &t, &strings);
        judged[i] = (struct judged){.card = t.card,
                                    .event_us = t.event_us,
                                    .amount = (double)t.amount_ref / 100,
                                    .fraud = d->rows[d->stream_from + i].pattern != SIM_LEGITIMATE};
    }
    struct judged_set *set = NULL;
    const struct evaluate_conf conf = {.top_cards = TOP_CARDS};
    enum err err = read_decisions(s, judged, e);
    if (err == ERR_OK) {
        err = judged_set_create(judged, n, NULL, NULL, &set, e);
    }
    if (err == ERR_OK) {
        err = evaluate(set, &conf, out, e);
    }
    judged_set_free(set);
    free(judged);
    return err;
}

static enum err print_budget(const struct demo_stream *s, struct errmsg *e)
{
    char from[TIME_TEXT_MAX];
    struct db_rows *rows = NULL;
    time_format(from, s->plan->stream_us);
    const char *const params[] = {from};
    enum err err = db_exec(s->servers->db,
                           "SELECT d::date, count(a.event_time) FROM"
                           " generate_series($1::timestamptz AT TIME ZONE 'UTC',"
                           " (SELECT max(event_time) FROM decisions) AT TIME ZONE 'UTC',"
                           " interval '1 day') d LEFT JOIN alerts a"
                           " ON a.event_time >= $1::timestamptz"
                           " AND (a.event_time AT TIME ZONE 'UTC')::date = d::date"
                           " GROUP BY 1 ORDER BY 1",
                           1, params, &rows, e);
    if (err != ERR_OK) {
        return err;
    }
    uint64_t total = 0;
    int within = 0;
    int days = db_rows_count(rows);
    printf("  alerts a day, budget %u:", s->plan->budget);
    for (int i = 0; i < days; i++) {
        uint64_t n = number_at(rows, i, 1);
        total += n;
        within += fabs((double)n - s->plan->budget) <= .05 * s->plan->budget;
        printf(" %" PRIu64, n);
    }
    printf("\n  mean %.1f; %d of %d days within 5 %% of the budget\n",
           days > 0 ? (double)total / days : 0.0, within, days);
    db_rows_free(rows);
    return ERR_OK;
}

static void print_speed(const struct demo_stream *s)
{
    char a[DEMO_NUMBER_MAX];
    char b[DEMO_NUMBER_MAX];
    printf("\nSpeed (broker, PostgreSQL and sender on the same machine)\n");
    printf("  decided and stored     %8s payments/s history, %s/s stream\n",
           demo_number(a, (uint64_t)s->history_per_s), demo_number(b, (uint64_t)s->fast_per_s));
    printf("  open loop              %8s payments/s for %.0f s%s\n", demo_number(a, s->plan->rate),
           s->paced_s,
           s->rate_held ? "" : ": more than this machine stores; a lower --rate shows latency");
    printf("  latency at that load   p50 %.0f ms, p99 %.0f ms, p99.9 %.0f ms, highest %.0f ms\n",
           (double)latency_quantile(&s->latency, .5) / 1e6,
           (double)latency_quantile(&s->latency, .99) / 1e6,
           (double)latency_quantile(&s->latency, .999) / 1e6, (double)s->latency.max_ns / 1e6);
    printf("                         from when a payment was due to its decision's Kafka timestamp "
           "(%s)\n",
           demo_number(a, s->latency.count));
}

static void print_alert(const struct demo_data *d, const struct db_rows *rows, int i)
{
    size_t row = demo_data_row(d, db_rows_text(rows, i, 0));
    const char *truth = row < d->n ? sim_pattern_name((enum sim_pattern)d->rows[row].pattern) : "?";
    unsigned digits = row < d->n ? d->rows[row].minor_digits : 0;
    double unit = digits == 2 ? 100 : digits == 1 ? 10 : 1;
    printf("  %-8s %13.*f %s  %s  %-11s %s\n", db_rows_text(rows, i, 1), (int)digits,
           strtod(db_rows_text(rows, i, 2), NULL) / unit, db_rows_text(rows, i, 3),
           db_rows_text(rows, i, 4), truth[0] != '\0' ? truth : "legitimate",
           db_rows_text(rows, i, 5));
    const char *reasons = db_rows_text(rows, i, 6);
    printf("           %s\n", reasons != NULL ? reasons : "(no reason stored)");
}

static enum err print_top(const struct demo_stream *s, struct errmsg *e)
{
    static const char SQL[] =
        "SELECT tx_id, to_char(score, '0.0000'), amount_minor, currency,"
        " to_char(event_time AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), card,"
        " (SELECT string_agg(r->>'text', '; ') FROM jsonb_array_elements(body->'reasons') r)"
        " FROM alerts WHERE event_time >= $1::timestamptz ORDER BY score DESC NULLS LAST, tx_id"
        " LIMIT $2::integer";
    char from[TIME_TEXT_MAX];
    char limit[8];
    struct db_rows *rows = NULL;
    time_format(from, s->plan->stream_us);
    snprintf(limit, sizeof limit, "%d", TOP_ALERTS);
    const char *const params[] = {from, limit};
    enum err err = db_exec(s->servers->db, SQL, 2, params, &rows, e);
    if (err != ERR_OK) {
        return err;
    }
    printf("\nTop alerts (probability, amount, time, what it was, card, reasons)\n");
    for (int i = 0; i < db_rows_count(rows); i++) {
        print_alert(s->data, rows, i);
    }
    db_rows_free(rows);
    return ERR_OK;
}

enum err demo_report_figures(const struct demo_stream *s, struct errmsg *e)
{
    struct figures g = {0};
    char a[DEMO_NUMBER_MAX];
    char b[DEMO_NUMBER_MAX];
    enum err err = judge(s, &g, e);
    if (err != ERR_OK) {
        return err;
    }
    printf("\nQuality on the streamed part: %s payments of %zu days, %s frauds\n",
           demo_number(a, g.payments), g.days, demo_number(b, g.frauds));
    printf("  average precision      %.3f (the share of fraud, which chance would reach: %.4f)\n",
           g.value[FIGURE_AP], g.payments > 0 ? (double)g.frauds / (double)g.payments : 0.0);
    printf("  area under ROC         %.3f\n", g.value[FIGURE_AUC]);
    printf("  at the alert budget    recall %.3f, precision %.3f, %.3f of the fraud's value\n",
           g.value[FIGURE_RECALL], g.value[FIGURE_PRECISION], g.value[FIGURE_VALUE]);
    printf("  frauds expected        %.0f by the probabilities, %zu happened\n", g.expected,
           g.frauds);
    err = print_budget(s, e);
    if (err == ERR_OK) {
        print_speed(s);
        err = print_top(s, e);
    }
    figures_done(&g);
    return err;
}
