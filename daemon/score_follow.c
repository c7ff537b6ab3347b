/* Labels and notices: read at once, in force where an entry of the journal says so. */
#include <inttypes.h>

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

/* Keeps a model that came whole.  Too many: the oldest goes, and what it decided is repeated by the
 * one before. */
static void keep_model(struct score *s, int64_t offset, struct model *m)
{
    if (s->noticed_count == NOTICED_MAX && s->noticed_given > 1) {
        model_free(s->noticed[0].model);
        for (size_t i = 1; i < NOTICED_MAX; i++) {
            s->noticed[i - 1] = s->noticed[i];
        }
        s->noticed_count--;
        s->noticed_given--;
    }
    if (s->noticed_count == NOTICED_MAX) {
        model_free(m);
        score_fail(s, "notices_full", "more than %d models wait to be put in force", NOTICED_MAX);
        return;
    }
    s->noticed[s->noticed_count++] = (struct noticed){offset, m};
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

static enum err take_model(struct score *s, const struct bus_message *m, struct errmsg *e)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    struct model *model = NULL;
    enum err err = notice_take(&s->notice, "model", m, &bytes, &len, e);
    if (err == ERR_END) {
        err = model_load(bytes, len, &model, e);
        err = err == ERR_OK ? pipeline_fits_model(s->pipeline, model, e) : err;
        if (err == ERR_OK) {
            keep_model(s, m->offset, model);
            return ERR_OK;
        }
        model_free(model);
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
    enum err err = notice_is(m, "control")    ? take_controls(s, m, &e)
                   : notice_is(m, "rules")    ? take_rules(s, m, &e)
                   : notice_is(m, "settings") ? score_take_settings(s, m, &e)
                                              : take_model(s, m, &e);
    if (err != ERR_OK) {
        refuse_notice(s, m->offset, err, &e);
    }
}

static void give_model(struct score *s, const struct noticed *n)
{
    struct errmsg e;
    enum err err = pipeline_set_model(s->pipeline, n->model, &e);
    if (err != ERR_OK) {
        refuse_notice(s, n->offset, err, &e);
        return;
    }
    s->in_force = n->model;
    s->stats.model_switches++;
    log_line(FD_LOG_INFO, "model_switched", "version=%s notice=%" PRId64,
             model_lineage(n->model)->version, n->offset);
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
        give_model(s, &s->noticed[s->noticed_given++]);
    }
    return true;
}

enum err score_follow_again(struct score *s, struct errmsg *e)
{
    s->label_given = 0;
    s->labels_from = 0;
    s->noticed_given = 0;
    s->in_force = s->conf.pipeline.model;
    enum err err = pipeline_set_model(s->pipeline, s->in_force, e);
    return err == ERR_OK ? score_settings_again(s, e) : err;
}
