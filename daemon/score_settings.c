/* Settings that change decisions: told to all by notices, in force where the journal says so.
 *
 * There is one set for all processes, that of the latest notice below an entry's position.  Files
 * only say what to tell:
 *  - A reload tells what differs from what was told last.
 *  - A start tells its file's settings where they were never told before; so a file that was
 *    changed takes effect by a restart, and a process that comes back with an older file does not
 *    bring the older settings back.
 *  - The model of the file is told by a start where the notices have none, by a reload where it is
 *    not the one told last.
 * Nothing is decided before the start's notices are read back: every entry names settings and a
 * model that the notices have, and who decides again needs no file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/score_private.h"

/* The brokers have our notices and they came to nothing, since another process's, of which some
 * part never came, lay between: once more after so long. */
#define START_AGAIN_US 10000000

/* ---- what was told ---- */

static bool was_told(const struct score *s, uint64_t hash)
{
    for (size_t i = 0; i < s->told_count; i++) {
        if (s->told[i].hash == hash) {
            return true;
        }
    }
    return false;
}

static enum err remember(struct score *s, const struct told_settings *t, struct errmsg *e)
{
    if (s->told_count == s->told_room) {
        const size_t room = 2 * s->told_room + 16;
        struct told_settings *grown = realloc(s->told, room * sizeof *grown);
        if (grown == NULL) {
            return err_set(e, ERR_NOMEM, "cannot remember %zu settings: no memory", room);
        }
        s->told = grown;
        s->told_room = room;
    }
    s->told[s->told_count++] = *t;
    return ERR_OK;
}

enum err score_take_settings(struct score *s, const struct bus_message *m, struct errmsg *e)
{
    struct control_about about;
    char by[2 * CONTROL_BY_MAX + 4];
    char why[2 * CONTROL_WHY_MAX + 4];
    struct told_settings t = {.offset = m->offset};
    if (s->told_count > 0 && m->offset <= s->told[s->told_count - 1].offset) {
        return ERR_OK; /* read before */
    }
    t.bounds.alert.day_offset_us = s->conf.pipeline.threshold.day_offset_us;
    enum err err = bounds_read(m->value, m->value_len, &t.bounds, &about, e);
    if (err != ERR_OK) {
        return err;
    }
    t.hash = bounds_hash(&t.bounds);
    log_line(FD_LOG_INFO, "settings_read", "notice=%" PRId64 " hash=%016" PRIx64 " by=%s why=%s",
             m->offset, t.hash, log_quote(by, sizeof by, about.by),
             log_quote(why, sizeof why, about.why));
    return remember(s, &t, e);
}

/* ---- in force ---- */

/* lanes_too: for those that there are; lanes made later have them anyway. */
static enum err use(struct score *s, const struct bounds *b, uint64_t hash, int64_t notice,
                    bool lanes_too, struct errmsg *e)
{
    struct lane *lanes[SCORE_PARTITIONS_MAX];
    const size_t n = lanes_too ? score_all_lanes(s, lanes) : 0;
    s->stats.settings_hash = hash;
    s->stats.settings_notice = notice;
    return pipeline_set_rules(s->pipeline, lanes, n, &b->alert, b->max_future_us, e);
}

/* The file's are not those in force: somebody must know. */
static void tell_differ(const struct score *s)
{
    const uint64_t own = bounds_hash(&s->own);
    if (own != s->stats.settings_hash) {
        log_line(FD_LOG_WARN, "settings_differ",
                 "in_force=%016" PRIx64 " file=%016" PRIx64 " detail=\"this process's file has "
                 "other settings than those in force, which were told later; reload (SIGHUP) to "
                 "put the file's in force everywhere, or give this process the others' file\"",
                 s->stats.settings_hash, own);
    }
}

static void use_told(struct score *s, const struct told_settings *t)
{
    struct errmsg e = {""};
    if (use(s, &t->bounds, t->hash, t->offset, true, &e) != ERR_OK) {
        score_fail(s, "settings_failed", "notice %" PRId64 ": %s", t->offset, e.text);
        return;
    }
    log_line(FD_LOG_INFO, "settings_in_force",
             "hash=%016" PRIx64 " notice=%" PRId64 " budget=%.9g floor=%.9g decline=%.9g "
             "decline_cost=%.9g max_future_us=%" PRId64,
             t->hash, t->offset, t->bounds.alert.budget, t->bounds.alert.floor,
             t->bounds.alert.decline, t->bounds.alert.decline_cost, t->bounds.max_future_us);
    if (s->told_given == s->told_count) { /* not on the way through the past */
        tell_differ(s);
    }
}

void score_settings_to(struct score *s, int64_t notices_next)
{
    const struct told_settings *latest = NULL;
    while (s->told_given < s->told_count && s->told[s->told_given].offset < notices_next) {
        latest = &s->told[s->told_given++];
    }
    if (latest != NULL) {
        use_told(s, latest);
    }
}

enum err score_settings_again(struct score *s, struct errmsg *e)
{
    const struct bounds first = {s->conf.pipeline.threshold, s->conf.pipeline.max_future_us};
    s->told_given = 0;
    return use(s, &first, bounds_hash(&first), -1, false, e);
}

enum err score_settings_restored(struct score *s, struct errmsg *e)
{
    struct told_settings at = {.offset = -1};
    at.bounds = (struct bounds){s->conf.pipeline.threshold, s->conf.pipeline.max_future_us};
    at.hash = bounds_hash(&at.bounds);
    s->told_given = 0;
    while (s->told_given < s->told_count &&
           s->told[s->told_given].offset < s->order->notices_next) {
        at = s->told[s->told_given++];
    }
    return use(s, &at.bounds, at.hash, at.offset, true, e);
}

/* ---- telling ---- */

static enum err tell_bounds(struct score *s, const struct bounds *b, const char *why,
                            struct errmsg *e)
{
    char text[BOUNDS_TEXT_MAX];
    char host[CONTROL_BY_MAX - 8] = "";
    struct control_about about;
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') {
        snprintf(host, sizeof host, "unknown");
    }
    snprintf(about.by, sizeof about.by, "score@%s", host);
    snprintf(about.why, sizeof about.why, "%s", why);
    const size_t len = bounds_write(b, &about, text);
    struct bus by = {.self = s, .send = score_send_waiting};
    enum err err = notice_send_text(&by, "settings", text, len, 0, e);
    if (err == ERR_OK) {
        log_line(FD_LOG_INFO, "settings_told", "hash=%016" PRIx64 " why=%s", bounds_hash(b), why);
    }
    return err;
}

static enum err tell_model(struct score *s, const uint8_t *bytes, size_t len, struct errmsg *e)
{
    if (len > NOTICE_MODEL_MAX) {
        return err_set(e, ERR_INVALID,
                       "a model of %zu bytes does not fit into notices: %zu at most", len,
                       (size_t)NOTICE_MODEL_MAX);
    }
    enum err err = notice_send_by(score_send_waiting, s, "model", bytes, len, e);
    if (err == ERR_OK) {
        log_line(FD_LOG_INFO, "model_told", "bytes=%zu", len);
    }
    return err;
}

/* Whether the model is the one told last.  ERR_OK: it is another one, good for this process. */
static enum err look_at_model(const struct score *s, const uint8_t *bytes, size_t len, bool *same,
                              struct errmsg *e)
{
    struct model *m = NULL;
    enum err err = model_load(bytes, len, &m, e);
    if (err != ERR_OK) {
        return err;
    }
    struct models last = s->models;
    for (size_t i = s->noticed_given; i < s->noticed_count; i++) {
        models_take(&last, &s->noticed[i]);
    }
    *same = model_same(m, last.at.champion);
    err = pipeline_fits_model(s->pipeline, m, e);
    model_free(m);
    return err;
}

enum err score_tell(struct score *s, const struct bounds *b, const uint8_t *bytes, size_t len,
                    struct errmsg *e)
{
    bool same = true;
    enum err err = bounds_check(b, e);
    if (err == ERR_OK && bytes != NULL) {
        err = look_at_model(s, bytes, len, &same, e);
    }
    if (err == ERR_OK && !same) {
        err = tell_model(s, bytes, len, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    const uint64_t last =
        s->told_count > 0 ? s->told[s->told_count - 1].hash : s->stats.settings_hash;
    const uint64_t hash = bounds_hash(b);
    if (hash != last) {
        err = tell_bounds(s, b, "reload", e);
    }
    if (err == ERR_OK) {
        s->own = *b;
    }
    return err;
}

/* ---- the start ---- */

static bool start_lacks_model(const struct score *s)
{
    bool told = s->begun.told;
    for (size_t i = 0; i < s->noticed_count; i++) {
        told = told || s->noticed[i].kind == MODELS_CHAMPION;
    }
    return !told;
}

static void tell_start(struct score *s)
{
    struct errmsg e = {""};
    char quoted[600];
    enum err err = ERR_OK;
    if (start_lacks_model(s)) {
        err = tell_model(s, s->conf.model_bytes, s->conf.model_len, &e);
    }
    if (err == ERR_OK && !was_told(s, bounds_hash(&s->own))) {
        err = tell_bounds(s, &s->own, "start", &e);
    }
    if (err != ERR_OK && err != ERR_UNAVAILABLE) { /* ending: it is known already */
        score_fail(s, "start_failed", "%s", log_quote(quoted, sizeof quoted, e.text));
    }
}

bool score_start_settled(struct score *s)
{
    if (s->conf.model_bytes == NULL || s->start == START_SETTLED || s->stats.partitions == 0) {
        return true;
    }
    if (!start_lacks_model(s) && was_told(s, bounds_hash(&s->own))) {
        s->start = START_SETTLED;
        return true;
    }
    const int64_t now_us = s->conf.now_us();
    const bool lost = s->start == START_ASKED && now_us - s->start_us > START_AGAIN_US &&
                      s->bus.wait(s->bus.self, 0) > s->start_batch;
    if (s->start == START_OPEN || lost) {
        s->start = START_ASKED;
        s->start_us = now_us;
        s->start_batch = s->batch;
        tell_start(s);
    }
    return false;
}
