#include "daemon/score_metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "daemon/bus_metrics.h"

#define DRIFT_PAYMENTS_MIN 1000 /* fewer move by chance */

static void put_pipeline(const struct pipeline *p, struct metrics_page *page)
{
    const struct pipeline_counters *c = pipeline_counters(p);
    metrics_put(page, METRIC_RECEIVED, (double)c->received);
    metrics_put(page, METRIC_DECIDED, (double)c->decided);
    metrics_put(page, METRIC_REPEATS, (double)c->repeats);
    metrics_put(page, METRIC_ALERTS, (double)c->alerts);
    metrics_put(page, METRIC_DECLINED, (double)c->declined);
    metrics_put(page, METRIC_LABELS, (double)c->labels);
    metrics_put(page, METRIC_BAD_LABELS, (double)c->bad_labels);
    for (int r = DEAD_NONE + 1; r < DEAD_REASON_COUNT; r++) {
        metrics_put(page, METRIC_DEAD_LETTERS, (double)c->dead_by_reason[r],
                    dead_reason_name((enum dead_reason)r));
    }
    for (int s = 0; s < STAGE_COUNT; s++) {
        metrics_put_latency(page, METRIC_STAGE_SECONDS,
                            pipeline_stage_times(p, (enum pipeline_stage)s),
                            PIPELINE_STAGE_NAMES[s]);
    }
}

static void put_model(const struct model *m, struct metrics_page *page)
{
    const struct model_lineage *l = model_lineage(m);
    char hash[20];
    char schema[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, model_hash(m));
    snprintf(schema, sizeof schema, "%016" PRIx64, l->schema_hash);
    metrics_put(page, METRIC_MODEL, 1, l->version, hash, schema, model_kernel_name());
    metrics_put(page, METRIC_MODEL_UNTIL, floor((double)l->data_until_us / 1e6));
}

/* Without a shadow the numbers are there, too: zero or NaN. */
static void put_shadow(const struct score *s, struct metrics_page *page)
{
    static const float NOT_KNOWN[SCORE_BANDS];
    const struct model *m = score_shadow(s);
    const struct shadow_counters *c = &pipeline_counters(score_pipeline(s))->shadow;
    const struct lane_complete cards = score_complete(s);
    const bool known = m != NULL && cards.known;
    const double n = (double)(c->both + c->champion_only + c->challenger_only + c->neither);
    char hash[20] = "";
    if (m != NULL) {
        snprintf(hash, sizeof hash, "%016" PRIx64, model_hash(m));
    }
    metrics_put(page, METRIC_SHADOW, m != NULL, m != NULL ? model_lineage(m)->version : "", hash);
    metrics_put(page, METRIC_SHADOW_SINCE,
                m != NULL ? floor((double)score_shadow_since_us(s) / 1e6) : (double)NAN);
    metrics_put(page, METRIC_SHADOW_COMPARED, (double)c->both, "both");
    metrics_put(page, METRIC_SHADOW_COMPARED, (double)c->champion_only, "champion");
    metrics_put(page, METRIC_SHADOW_COMPARED, (double)c->challenger_only, "challenger");
    metrics_put(page, METRIC_SHADOW_COMPARED, (double)c->neither, "neither");
    metrics_put(page, METRIC_SHADOW_SHIFT, n > 0 ? c->shift / n : (double)NAN);
    metrics_put(
        page, METRIC_SHADOW_DRIFT,
        score_metrics_drift(m != NULL ? model_lineage(m)->score_share : NOT_KNOWN, c->by_score));
    metrics_put(page, METRIC_SHADOW_CARDS, known ? (double)cards.complete : (double)NAN,
                "complete");
    metrics_put(page, METRIC_SHADOW_CARDS,
                known ? (double)(cards.active - cards.complete) : (double)NAN, "incomplete");
}

double score_metrics_drift(const float share[SCORE_BANDS], const uint64_t by_score[SCORE_BANDS])
{
    double old[SCORE_BANDS];
    double fresh[SCORE_BANDS];
    double known = 0;
    double n = 0;
    for (size_t i = 0; i < SCORE_BANDS; i++) {
        old[i] = (double)share[i];
        known += old[i];
        n += (double)by_score[i];
    }
    if (!(known > 0) || n < DRIFT_PAYMENTS_MIN) {
        return (double)NAN;
    }
    for (size_t i = 0; i < SCORE_BANDS; i++) {
        fresh[i] = (double)by_score[i] / n;
    }
    return stability_index(old, n, fresh, n, SCORE_BANDS);
}

static void put_controls(const struct score *s, struct metrics_page *page)
{
    static const char *const BY[CONTROL_KINDS] = {
        [CONTROL_LIST] = "list", [CONTROL_RULE] = "rule", [CONTROL_MODE] = "mode"};
    const struct pipeline_counters *n = pipeline_counters(score_pipeline(s));
    const struct controls *c = score_controls(s);
    const struct control_about *about = NULL;
    int64_t notice = 0;
    const struct rule_set *rules = controls_rules(c, &about, &notice);
    for (int k = CONTROL_LIST; k < CONTROL_KINDS; k++) {
        metrics_put(page, METRIC_CONTROLLED, (double)n->controlled[k], BY[k]);
    }
    for (int m = 0; m < CONTROL_MODES; m++) {
        metrics_put(page, METRIC_MODE, (int)controls_mode(c, NULL) == m,
                    control_mode_name((enum control_mode)m));
    }
    metrics_put(page, METRIC_OBSERVED, (double)n->observed);
    metrics_put(page, METRIC_LIST_ENTRIES, (double)control_lists_live(controls_lists(c)));
    metrics_put(page, METRIC_RULES, rules != NULL ? (double)rule_set_count(rules) : 0);
    metrics_put(page, METRIC_RULES_COST, rules != NULL ? (double)rule_set_cost(rules) : 0);
}

static void put_settings(const struct score_stats *t, struct metrics_page *page)
{
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, t->settings_hash);
    metrics_put(page, METRIC_SETTINGS, (double)t->settings_notice, hash);
    metrics_put(page, METRIC_SETTINGS_DIFFER, t->settings_differ);
}

static void put_lanes(const struct score *s, struct metrics_page *page)
{
    struct score_lane lanes[SCORE_PARTITIONS_MAX];
    size_t n = score_lanes(s, lanes, SCORE_PARTITIONS_MAX);
    for (size_t i = 0; i < n; i++) {
        char partition[12];
        snprintf(partition, sizeof partition, "%" PRId32, lanes[i].partition);
        metrics_put(page, METRIC_THRESHOLD, lanes[i].threshold, partition);
        metrics_put(page, METRIC_BUDGET_LEFT, lanes[i].budget_left, partition);
        metrics_put(page, METRIC_SUPPRESSED, (double)lanes[i].suppressed, partition);
        metrics_put(page, METRIC_POSITION, (double)lanes[i].next, partition);
        metrics_put(page, METRIC_COMMITTED, (double)lanes[i].committed, partition);
    }
}

void score_metrics_fill(const struct score *s, struct metrics_page *page)
{
    struct score_stats t;
    score_stats(s, &t);
    page->ready = t.ready;
    snprintf(page->why, sizeof page->why, "%s", t.why);
    bus_metrics_fill(&t.bus, true, page);
    put_pipeline(score_pipeline(s), page);
    put_model(score_model(s), page);
    metrics_put(page, METRIC_SCORE_DRIFT,
                score_metrics_drift(model_lineage(score_model(s))->score_share,
                                    pipeline_counters(score_pipeline(s))->by_score));
    put_shadow(s, page);
    put_lanes(s, page);
    put_settings(&t, page);
    put_controls(s, page);
    metrics_put_latency(page, METRIC_MESSAGE_SECONDS, score_message_times(s));
    metrics_put(page, METRIC_PARTITIONS, t.partitions);
    metrics_put(page, METRIC_WARMED, (double)t.warmed);
    metrics_put(page, METRIC_JOURNAL_POSITION, (double)t.journal_next);
    metrics_put(page, METRIC_JOURNAL_ENTRIES, (double)t.entries);
    metrics_put_latency(page, METRIC_JOURNAL_SECONDS, score_journal_times(s));
    metrics_put(page, METRIC_JOURNAL_DAMAGED, (double)t.entries_damaged);
    metrics_put(page, METRIC_JOURNAL_NOT_COUNTED, (double)t.not_counted);
    metrics_put(page, METRIC_FOLLOWED, (double)t.followed);
    metrics_put(page, METRIC_MISSING, (double)t.missing);
    metrics_put(page, METRIC_UNLEARNT, (double)t.unlearnt);
    metrics_put(page, METRIC_DIVERGED, (double)t.pipeline.diverged);
    metrics_put(page, METRIC_REBUILDS, (double)t.rebuilds);
    metrics_put(page, METRIC_CHECKPOINTS, (double)t.checkpoints, "written");
    metrics_put(page, METRIC_CHECKPOINTS, (double)t.checkpoints_failed, "failed");
    metrics_put(page, METRIC_CHECKPOINTS, (double)t.checkpoints_refused, "refused");
    metrics_put(page, METRIC_CHECKPOINTS, (double)t.checkpoints_read, "read");
    metrics_put(page, METRIC_CHECKPOINT_POSITION, (double)t.checkpoint_position);
    metrics_put(page, METRIC_YIELDS, (double)t.yields);
    metrics_put(page, METRIC_BATCHES, (double)t.batches);
    metrics_put(page, METRIC_CARDS, (double)t.cards);
    metrics_put(page, METRIC_PLACES, (double)t.places);
    metrics_put(page, METRIC_STATE_BYTES, (double)t.state_bytes);
    metrics_put(page, METRIC_LATE, (double)t.late);
    metrics_put(page, METRIC_EVICTED, (double)t.cards_evicted, "card");
    metrics_put(page, METRIC_EVICTED, (double)t.places_evicted, "place");
    metrics_put(page, METRIC_LABELS_WAITING, (double)t.labels_waiting);
    metrics_put(page, METRIC_LABELS_LOST, (double)(t.pipeline.labels_lost + t.labels_forgotten));
    metrics_put(page, METRIC_CAUGHT_UP, (double)t.pipeline.caught_up);
    metrics_put(page, METRIC_MODEL_SWITCHES, (double)t.model_switches);
    metrics_put(page, METRIC_NOTICES_REFUSED, (double)t.notices_refused);
}
