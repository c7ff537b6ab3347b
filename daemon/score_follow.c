/* Labels and notices: read at once, in force where an entry of the journal says so. */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/progress.h"
#include "daemon/score_private.h"

static void tell_labels_full(struct score *s)
{
    uint64_t held = 0;
    if (log_limit_pass(&s->quiet, "labels_full", progress_now_us(), &held)) {
        log_line(
            FD_LOG_ERROR, "labels_full",
            "room=%zu detail=\"a label was lost: too many wait for the time they became known, "
            "or are remembered for a rebuild; shorten the labels topic's retention\"",
            s->label_max);
    }
}

void score_take_label(struct score *s, const struct bus_message *m)
{
    struct label label;
    /* one instance writes dead letters for labels: the one that owns partition 0 */
    bool emit = s->owned[0].lane != NULL && m->offset >= s->labels.high;
    s->labels.next = m->offset + 1;
    if (score_crashed(s, m->topic, m->partition, m->offset, HAND_LOOK)) {
        if (emit || score_is_mine(s, m->topic, m->partition, m->offset)) {
            score_refuse_crashed(s, m);
        }
        return;
    }
    hand_take(s->hand, HAND_LOOK, m->topic, m->partition, m->offset, m->offset);
    bool good = pipeline_label_message(s->pipeline, m, emit, &label);
    hand_done(s->hand);
    if (good) {
        if (s->label_count < s->label_max) {
            s->label[s->label_count++] = (struct known_label){m->offset, m->timestamp_us, label};
        } else {
            s->stats.labels_forgotten++;
            tell_labels_full(s);
        }
    }
}

static void refuse_notice(struct score *s, int64_t offset, enum err err, const struct errmsg *e)
{
    char quoted[600];
    s->stats.notices_refused++;
    log_line(FD_LOG_ERROR, "notice_refused", "offset=%" PRId64 " error=%s detail=%s", offset,
             err_name(err), log_quote(quoted, sizeof quoted, e->text));
}

/* Whether some notice that is kept, or the models before them, need this one. */
static bool is_needed(const struct score *s, const struct model *m)
{
    bool needed = m == s->begun.at.champion || m == s->begun.at.shadow;
    for (size_t i = 0; i < s->noticed_count; i++) {
        needed = needed || s->noticed[i].model == m;
    }
    return needed;
}

/* The first notice goes: what it and those before amount to stays. */
static void forget_first(struct score *s)
{
    struct model *old[3] = {s->forgotten[0], s->forgotten[1], s->noticed[0].model};
    size_t kept = 0;
    models_take(&s->begun, &s->noticed[0]);
    s->noticed_count--;
    s->noticed_given--;
    memmove(s->noticed, s->noticed + 1, s->noticed_count * sizeof *s->noticed);
    s->forgotten[0] = s->forgotten[1] = NULL;
    for (size_t i = 0; i < 3; i++) {
        if (is_needed(s, old[i]) && old[i] != NULL) {
            s->forgotten[kept++] = old[i];
        } else {
            model_free(old[i]);
        }
    }
}

/* Keeps a notice about models.  Too many: the oldest goes, and what was decided before it is
 * repeated by the models after it. */
static void keep_notice(struct score *s, const struct models_notice *n)
{
    if (s->noticed_count == NOTICED_MAX && s->noticed_given > 0) {
        forget_first(s);
    }
    if (s->noticed_count == NOTICED_MAX) {
        model_free(n->model);
        score_fail(s, "notices_full", "more than %d models wait to be put in force", NOTICED_MAX);
        return;
    }
    s->noticed[s->noticed_count++] = *n;
}

/* Lists and modes: kept with the offset from which they hold. */
static enum err take_controls(struct score *s, const struct bus_message *m, struct errmsg *e)
{
    enum err err = controls_take(s->controls, m->offset, m->value, m->value_len, e);
    if (err == ERR_OK) {
        log_line(FD_LOG_INFO, "controls_read", "notice=%" PRId64 " entries=%zu", m->offset,
                 control_lists_live(controls_lists(s->controls)));
    }
    return err;
}

static enum err take_rules(struct score *s, const struct bus_message *m, struct errmsg *e)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = notice_take(&s->rules_notice, "rules", m, &bytes, &len, e);
    if (err == ERR_END) {
        err = controls_take_rules(s->controls, m->offset, (const char *)bytes, len, e);
        if (err == ERR_OK) {
            log_line(FD_LOG_INFO, "rules_read", "notice=%" PRId64 " bytes=%zu", m->offset, len);
        }
    }
    return err;
}

/* kind: "model" or "shadow", with its reader. */
static enum err take_model(struct score *s, const struct bus_message *m, const char *kind,
                           struct notice_reader *reader, struct errmsg *e)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    struct models_notice n = {.kind = reader == &s->notice ? MODELS_CHAMPION : MODELS_SHADOW,
                              .offset = m->offset,
                              .timestamp_us = m->timestamp_us};
    enum err err = notice_take(reader, kind, m, &bytes, &len, e);
    if (err == ERR_END) {
        err = model_load(bytes, len, &n.model, e);
        err = err == ERR_OK ? pipeline_fits_model(s->pipeline, n.model, e) : err;
        if (err == ERR_OK) {
            keep_notice(s, &n);
            return ERR_OK;
        }
        model_free(n.model);
    }
    return err;
}

static enum err take_end(struct score *s, const struct bus_message *m, struct errmsg *e)
{
    struct models_notice n = {
        .kind = MODELS_END, .offset = m->offset, .timestamp_us = m->timestamp_us};
    enum err err = models_read_end(m->value, m->value_len, &n, e);
    if (err == ERR_OK) {
        keep_notice(s, &n);
    }
    return err;
}

void score_take_notice(struct score *s, const struct bus_message *m)
{
    struct errmsg e;
    s->notices.next = m->offset + 1;
    if (score_take_crash(s, m)) {
        return;
    }
    enum err err = notice_is(m, "control")      ? take_controls(s, m, &e)
                   : notice_is(m, "rules")      ? take_rules(s, m, &e)
                   : notice_is(m, "settings")   ? score_take_settings(s, m, &e)
                   : notice_is(m, "shadow")     ? take_model(s, m, "shadow", &s->shadow_notice, &e)
                   : notice_is(m, "shadow-end") ? take_end(s, m, &e)
                                                : take_model(s, m, "model", &s->notice, &e);
    if (err != ERR_OK) {
        refuse_notice(s, m->offset, err, &e);
    }
}

size_t score_all_lanes(const struct score *s, struct lane *out[SCORE_PARTITIONS_MAX])
{
    size_t n = 0;
    for (int32_t p = 0; p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            out[n++] = s->owned[p].lane;
        }
    }
    return n;
}

static const char *version_of(const struct model *m)
{
    return m != NULL ? model_lineage(m)->version : "none";
}

/* Puts one notice about models in force. */
static void give_models(struct score *s, const struct models_notice *n)
{
    struct errmsg e = {""};
    struct lane *lanes[SCORE_PARTITIONS_MAX];
    struct models next = s->models;
    models_take(&next, n);
    if (pipeline_set_models(s->pipeline, lanes, score_all_lanes(s, lanes), &next.at, &e) !=
        ERR_OK) { /* going on with others than all have is what must not be */
        score_fail(s, "models_failed", "notice %" PRId64 ": %s", n->offset, e.text);
        return;
    }
    s->stats.model_switches += n->kind == MODELS_CHAMPION;
    s->models = next;
    log_line(FD_LOG_INFO, n->kind == MODELS_CHAMPION ? "model_switched" : "shadow_switched",
             "version=%s shadow=%s notice=%" PRId64, version_of(next.at.champion),
             version_of(next.at.shadow), n->offset);
}

enum err score_models_restored(struct score *s, int64_t notices_next, struct errmsg *e)
{
    struct lane *lanes[SCORE_PARTITIONS_MAX];
    s->models = s->begun;
    s->noticed_given = 0;
    while (s->noticed_given < s->noticed_count &&
           s->noticed[s->noticed_given].offset < notices_next) {
        models_take(&s->models, &s->noticed[s->noticed_given++]);
    }
    return pipeline_restore_models(s->pipeline, lanes, score_all_lanes(s, lanes), &s->models.at, e);
}

void score_end_former(struct score *s)
{
    const struct models *m = &s->models;
    const int64_t keep_us = s->conf.rollback_keep_us;
    if (m->at.shadow == NULL || !m->former || keep_us <= 0 || s->conf.wall_us == NULL ||
        s->end_told == m->notice || s->owned[0].lane == NULL || s->rebuild || s->failed ||
        s->conf.watch != NULL || s->conf.wall_us() - m->notice_us < keep_us) {
        return; /* one instance tells: the one that owns partition 0; twice does no harm */
    }
    struct errmsg e = {""};
    char text[MODELS_END_MAX];
    const size_t len = models_write_end(model_hash(m->at.shadow), m->notice, text);
    struct bus by = {.self = s, .send = score_send_waiting};
    if (notice_send_text(&by, "shadow-end", text, len, 0, &e) == ERR_OK) {
        s->end_told = m->notice;
    }
}

bool score_follow_to(struct score *s, int64_t labels_next, int64_t notices_next)
{
    struct errmsg e = {""};
    if (labels_next > s->labels.next || notices_next > s->notices.next) {
        return false;
    }
    const int64_t notices =
        notices_next > s->order->notices_next ? notices_next : s->order->notices_next;
    if (controls_at(s->controls, notices, &e) != ERR_OK) {
        score_fail(s, "no_memory", "%s", e.text);
        return false;
    }
    score_settings_to(s, notices);
    while (s->label_given < s->label_count && s->label[s->label_given].offset < labels_next) {
        uint64_t lost = pipeline_counters(s->pipeline)->labels_lost;
        const struct known_label *l = &s->label[s->label_given++];
        if (l->offset >= s->labels_from &&
            !pipeline_label_ahead(s->pipeline, &l->label, l->timestamp_us) &&
            !score_crashed(s, TOPIC_LABELS, 0, l->offset, HAND_FOLLOW)) {
            hand_take(s->hand, HAND_FOLLOW, TOPIC_LABELS, 0, l->offset, l->offset);
            pipeline_label(s->pipeline, s->world, &l->label);
            hand_done(s->hand);
        }
        if (pipeline_counters(s->pipeline)->labels_lost > lost) {
            tell_labels_full(s);
        }
    }
    while (s->noticed_given < s->noticed_count &&
           s->noticed[s->noticed_given].offset < notices_next) {
        give_models(s, &s->noticed[s->noticed_given++]);
    }
    return true;
}

enum err score_follow_again(struct score *s, struct errmsg *e)
{
    s->label_given = 0;
    s->labels_from = 0;
    s->noticed_given = 0;
    s->models = s->begun;
    enum err err = pipeline_restore_models(s->pipeline, NULL, 0, &s->models.at, e);
    return err == ERR_OK ? score_settings_again(s, e) : err;
}
