#include <inttypes.h>
#include <stdio.h>

#include "daemon/score_private.h"

void score_count_owned(const struct owned *o, struct score_stats *to)
{
    struct feat_counters c;
    feat_counters(lane_features(o->lane), &c);
    to->late += c.late;
    to->cards_evicted += c.cards_evicted;
}

void score_count_world(const struct feat_world *w, struct score_stats *to)
{
    struct feat_world_counters c;
    feat_world_counters(w, &c);
    to->places_evicted += c.places_evicted;
}

const struct model *score_model(const struct score *s)
{
    return s->models.at.champion;
}

const struct model *score_shadow(const struct score *s)
{
    return s->models.at.shadow;
}

int64_t score_shadow_since_us(const struct score *s)
{
    return s->models.notice_us;
}

struct lane_complete score_complete(const struct score *s)
{
    struct lane_complete all = {.known = true};
    for (int32_t p = 0; p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            const struct lane_complete one = lane_complete(s->owned[p].lane);
            all.active += one.active;
            all.complete += one.complete;
            all.known = all.known && one.known;
        }
    }
    return all;
}

static void judge_ready(const struct score *s, struct score_stats *out)
{
    out->ready = false;
    if (!followed(&s->notices)) { /* labels come after them */
        snprintf(out->why, sizeof out->why, "reading notices: %" PRId64 " of %" PRId64,
                 s->notices.next, s->notices.high);
        return;
    }
    if (!followed(&s->labels)) {
        snprintf(out->why, sizeof out->why, "reading labels: %" PRId64 " of %" PRId64,
                 s->labels.next, s->labels.high);
        return;
    }
    if (s->stats.partitions == 0) {
        snprintf(out->why, sizeof out->why, "no partition is assigned");
        return;
    }
    if (s->rebuild || s->order->position < s->rebuilt_until) {
        snprintf(out->why, sizeof out->why, "reading the journal: %" PRId64 " of %" PRId64,
                 s->order->position, s->rebuilt_until);
        return;
    }
    for (int32_t p = 0; p < s->partition_top; p++) {
        const struct owned *o = &s->owned[p];
        if (o->lane != NULL && !journal_order_owns(s->order, &s->writer, p)) {
            snprintf(out->why, sizeof out->why, "claiming partition %" PRId32, p);
            return;
        }
        if (o->lane != NULL && o->next < o->emit_from) {
            snprintf(out->why, sizeof out->why,
                     "learning partition %" PRId32 ": offset %" PRId64 " of %" PRId64, p, o->next,
                     o->emit_from);
            return;
        }
    }
    out->why[0] = '\0';
    out->ready = true;
}

void score_stats(const struct score *s, struct score_stats *out)
{
    *out = s->stats;
    out->pipeline = *pipeline_counters(s->pipeline);
    out->settings_differ = bounds_hash(&s->own) != s->stats.settings_hash;
    s->bus.counters(s->bus.self, &out->bus);
    out->schema_waits = s->schema_waits;
    judge_ready(s, out);
    out->journal_next = s->order->position - s->applying.begun;
    if (s->world != NULL) {
        struct feat_world_counters w;
        score_count_world(s->world, out);
        feat_world_counters(s->world, &w);
        out->places += (int64_t)w.places;
        out->labels_waiting += w.labels_queued;
        out->state_bytes += (int64_t)w.bytes;
    }
    for (int32_t p = 0; p < s->partition_top; p++) {
        const struct owned *o = &s->owned[p];
        struct feat_counters c;
        if (o->lane == NULL) {
            continue;
        }
        score_count_owned(o, out);
        feat_counters(lane_features(o->lane), &c);
        out->cards += (int64_t)c.cards;
        out->state_bytes += (int64_t)c.bytes;
    }
}

size_t score_lanes(const struct score *s, struct score_lane *out, size_t max)
{
    size_t n = 0;
    for (int32_t p = 0; p < s->partition_top && n < max; p++) {
        const struct owned *o = &s->owned[p];
        if (o->lane != NULL) {
            const struct threshold *t = lane_threshold(o->lane);
            double left = t->conf.budget - (double)t->alerts_today;
            out[n++] = (struct score_lane){
                .partition = p,
                .next = o->next,
                .committed = o->committed,
                .threshold = t->probability < t->conf.floor ? t->probability : t->conf.floor,
                .budget_left = left > 0 ? left : 0,
                .suppressed = t->suppressed};
        }
    }
    return n;
}

const struct latency *score_message_times(const struct score *s)
{
    return &s->message_time;
}

const struct latency *score_journal_times(const struct score *s)
{
    return &s->journal_time;
}

const struct controls *score_controls(const struct score *s)
{
    return s->controls;
}

const struct pipeline *score_pipeline(const struct score *s)
{
    return s->pipeline;
}

bool score_failed(const struct score *s)
{
    return s->failed;
}

enum err score_failure(const struct score *s, struct errmsg *e)
{
    return s->refused.text[0] != '\0'
               ? err_set(e, ERR_REFUSED, "%s", s->refused.text)
               : err_set(e, ERR_UNAVAILABLE, "Kafka failed for good; the lines before say why");
}
