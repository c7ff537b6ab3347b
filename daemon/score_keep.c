/* State on the disk: a checkpoint (base/checkpoint.h) of the world and all lanes, taken between two
 * entries of the journal, so that a start repeats minutes of it and not days.
 *
 * A checkpoint is used only if it is of this very set of partitions, program, model and limits, and
 * if everything decided by then is committed: what it holds as decided is not emitted again.  Else
 * the one before, else the journal. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/checkpoint.h"
#include "base/hash.h"
#include "base/log.h"
#include "daemon/score_private.h"
#include "daemon/version.h"
#include "features/schema.h"

#define STEM "score"
#define NAME_MAX_BYTES 44
/* world and order, and of each lane its areas: what a checkpoint can name */
#define LANES_MAX ((CHECKPOINT_AREAS_MAX - FEAT_AREAS_MAX - 1) / FEAT_AREAS_MAX)
#define END_POLL_US 10000

/* What must be the same at the start that uses it. */
struct facts {
    uint64_t log, schema, model, revision, cache_bytes;
};

struct score_keep {
    char *dir;
    int lock;
    int64_t every_us, next_us;
    struct checkpoint *writer; /* NULL: none for these partitions */
    uint64_t kept_from;
    uint64_t written; /* position of the latest one begun */
    size_t count;
    struct area area[CHECKPOINT_AREAS_MAX];
    char name[LANES_MAX * FEAT_AREAS_MAX][NAME_MAX_BYTES];
};

enum err score_keep_open(struct score *s, const char *dir, int64_t every_us, struct errmsg *e)
{
    char path[4096];
    struct score_keep *k = calloc(1, sizeof *k);
    if (k == NULL || (k->dir = strdup(dir)) == NULL) {
        free(k);
        return err_set(e, ERR_NOMEM, "cannot start scoring: no memory");
    }
    k->every_us = every_us;
    k->lock = -1;
    s->keep = k;
    if ((size_t)snprintf(path, sizeof path, "%s/" STEM ".lock", dir) >= sizeof path) {
        return err_set(e, ERR_INVALID, "state.dir is too long: %s", dir);
    }
    k->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (k->lock < 0) {
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_REFUSED,
                       "cannot use state.dir: %s: %s; make it and let this user write to it, or "
                       "leave state.dir empty",
                       path, strerror(errno));
    }
    if (flock(k->lock, LOCK_EX | LOCK_NB) != 0) {
        return err_set(e, ERR_REFUSED,
                       "another process keeps its state in %s; give each `score` a state.dir of "
                       "its own",
                       dir);
    }
    return ERR_OK;
}

void score_keep_close(struct score *s)
{
    struct score_keep *k = s->keep;
    if (k == NULL) {
        return;
    }
    checkpoint_free(k->writer);
    if (k->lock >= 0) {
        close(k->lock);
    }
    free(k->dir);
    free(k);
    s->keep = NULL;
}

/* Lists all areas; false: too many partitions. */
static bool list_areas(struct score *s)
{
    struct score_keep *k = s->keep;
    size_t lanes = 0;
    size_t named = 0;
    k->count = feat_world_areas(s->world, k->area);
    k->area[k->count++] = (struct area){"order", s->order, sizeof *s->order, sizeof *s->order};
    for (int32_t p = 0; p < s->partition_top; p++) {
        if (s->owned[p].lane == NULL) {
            continue;
        }
        if (lanes++ == LANES_MAX) {
            return false;
        }
        size_t n = lane_areas(s->owned[p].lane, k->area + k->count);
        for (size_t i = 0; i < n; i++) {
            struct area *a = &k->area[k->count++];
            snprintf(k->name[named], NAME_MAX_BYTES, "lane%04" PRId32 ".%.24s", p, a->name);
            a->name = k->name[named++];
        }
    }
    return true;
}

static struct facts facts_of(const struct score *s)
{
    const struct pipeline_conf *c = &s->conf.pipeline;
    return (struct facts){.log = hash_bytes(c->log.at, c->log.len, 0),
                          .schema = feature_schema_hash(&c->params),
                          .model = model_hash(s->in_force),
                          .revision = FD_DECISION_REVISION,
                          .cache_bytes = model_cache_bytes(s->in_force)};
}

static enum err make_writer(struct score *s, struct errmsg *e)
{
    struct score_keep *k = s->keep;
    const struct checkpoint_conf c = {.disk = &DISK_REAL,
                                      .dir = k->dir,
                                      .stem = STEM,
                                      .increments_max = 20,
                                      .increments_share = 1,
                                      .kept_from = k->kept_from,
                                      .nice = 10};
    return checkpoint_create(&c, k->area, k->count, &k->writer, e);
}

/* ---- writing ---- */

static void tell_failed(struct score *s, const struct errmsg *e)
{
    char quoted[600];
    s->stats.checkpoints_failed++;
    log_line(FD_LOG_ERROR, "checkpoint_failed",
             "detail=%s effect=\"scoring goes on; a start repeats more of the journal\"",
             log_quote(quoted, sizeof quoted, e->text));
}

static void look_after(struct score *s)
{
    struct score_keep *k = s->keep;
    struct checkpoint_result r;
    struct errmsg e = {""};
    switch (checkpoint_poll(k->writer, &r, &e)) {
    case CHECKPOINT_DONE:
        s->stats.checkpoints++;
        s->stats.checkpoint_position = (int64_t)r.position;
        log_line(FD_LOG_INFO, "checkpoint",
                 "kind=%s journal=%" PRIu64 " bytes=%" PRIu64 " pages=%" PRIu64 " of=%" PRIu64,
                 r.kind == CHECKPOINT_FULL ? "full" : "increment", r.position, r.file_bytes,
                 r.pages_written, r.pages);
        break;
    case CHECKPOINT_FAILED:
        tell_failed(s, &e);
        break;
    case CHECKPOINT_IDLE:
    case CHECKPOINT_RUNNING:
        break;
    }
}

/* Whether state is that of after an entry, and there is news. */
static bool may_write(const struct score *s)
{
    const struct score_keep *k = s->keep;
    return k->writer != NULL && !s->rebuild && !s->applying.begun && !s->failed &&
           s->order->position >= s->rebuilt_until && (uint64_t)s->order->position > k->written;
}

static void write_one(struct score *s)
{
    struct score_keep *k = s->keep;
    struct errmsg e = {""};
    const struct facts facts = facts_of(s);
    if (!list_areas(s)) {
        return;
    }
    enum err err = checkpoint_begin(k->writer, (uint64_t)s->order->position, k->area, &facts,
                                    sizeof facts, &e);
    if (err == ERR_OK) {
        k->written = (uint64_t)s->order->position;
    } else if (err != ERR_REFUSED) { /* one is under way */
        tell_failed(s, &e);
    }
}

void score_keep_turn(struct score *s)
{
    struct score_keep *k = s->keep;
    if (k == NULL || k->writer == NULL) {
        return;
    }
    look_after(s);
    const int64_t now_us = s->conf.now_us();
    if (now_us >= k->next_us && may_write(s)) {
        write_one(s);
        k->next_us = now_us + k->every_us;
    }
}

/* Whether nothing is being written any more. */
static bool wait_for_writer(const struct score *s, int64_t until_us)
{
    struct checkpoint_result r;
    struct errmsg e = {""};
    while (checkpoint_poll(s->keep->writer, &r, &e) == CHECKPOINT_RUNNING) {
        if (s->conf.now_us() >= until_us) {
            return false;
        }
        usleep(END_POLL_US);
    }
    return true;
}

void score_keep_end(struct score *s, int timeout_ms)
{
    struct score_keep *k = s->keep;
    const int64_t until_us = s->conf.now_us() + (int64_t)timeout_ms * 1000;
    if (k == NULL || k->writer == NULL || !may_write(s) || s->flight_count > 0) {
        return;
    }
    if (wait_for_writer(s, until_us)) { /* the one before */
        write_one(s);
        (void)wait_for_writer(s, until_us);
    }
}

/* ---- reading ---- */

static void on_refused(void *arg, const char *name, const char *why)
{
    char quoted[600];
    struct score *s = arg;
    s->stats.checkpoints_refused++;
    log_line(FD_LOG_WARN, "checkpoint_refused", "file=%s detail=%s", name,
             log_quote(quoted, sizeof quoted, why));
}

/* The models that were in force by then. */
static void restore_model(struct score *s)
{
    s->in_force = s->used != NULL ? s->used : s->conf.pipeline.model;
    s->noticed_given = 0;
    while (s->noticed_given < s->noticed_count &&
           s->noticed[s->noticed_given].offset < s->order->notices_next) {
        const struct model *m = s->noticed[s->noticed_given++].model;
        struct errmsg e;
        if (pipeline_set_model(s->pipeline, m, &e) == ERR_OK) {
            s->in_force = m;
        }
    }
}

static bool is_committed(const struct score *s)
{
    for (int32_t p = 0; p < s->partition_top; p++) {
        const struct owned *o = &s->owned[p];
        if (o->lane != NULL &&
            (s->order->turns[p].placed == 0 || s->order->turns[p].next > o->emit_from)) {
            return false;
        }
    }
    return true;
}

/* Why what was read cannot be used; NULL: it can. */
static const char *unfit(struct score *s, const struct checkpoint_loaded *l)
{
    if (s->order->position < s->journal_low || s->order->position > s->journal_high) {
        return "the journal does not hold its place any more";
    }
    restore_model(s);
    const struct facts now = facts_of(s);
    if (l->header_bytes != sizeof now || memcmp(l->header, &now, sizeof now) != 0) {
        return "it is of another model, program or log";
    }
    return NULL;
}

static enum err restored(struct score *s, struct errmsg *e)
{
    enum err err = feat_world_restored(s->world, e);
    for (int32_t p = 0; err == ERR_OK && p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            err = lane_restored(s->owned[p].lane, e);
        }
    }
    return err;
}

static void take_over(struct score *s)
{
    s->labels_from = s->order->labels_next;
    for (int32_t p = 0; p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            s->owned[p].next = s->order->turns[p].next;
        }
    }
}

enum keep_loaded score_keep_load(struct score *s)
{
    struct score_keep *k = s->keep;
    struct checkpoint_loaded l;
    struct errmsg e = {""};
    if (k == NULL) {
        return KEEP_NONE;
    }
    checkpoint_free(k->writer);
    k->writer = NULL;
    k->kept_from = k->written = 0;
    if (!list_areas(s)) {
        log_line(FD_LOG_WARN, "no_checkpoints",
                 "partitions=%d detail=\"a checkpoint holds %zu partitions at most\"",
                 s->stats.partitions, (size_t)LANES_MAX);
        return KEEP_NONE;
    }
    struct checkpoint_source from = {.disk = &DISK_REAL,
                                     .dir = k->dir,
                                     .stem = STEM,
                                     .position_max = UINT64_MAX,
                                     .refused = on_refused,
                                     .arg = s};
    enum err err = checkpoint_load(&from, k->area, k->count, &l, &e);
    const bool spoilt = err == ERR_OK || err == ERR_IO;
    while (err == ERR_OK && !is_committed(s) && l.position > 0) {
        from.position_max = l.position - 1; /* some of it may not have reached the log */
        err = checkpoint_load(&from, k->area, k->count, &l, &e);
    }
    const char *why = err == ERR_OK ? unfit(s, &l) : NULL;
    if (err == ERR_OK && why == NULL) {
        err = restored(s, &e);
    }
    if (err == ERR_OK && why == NULL) {
        take_over(s);
        k->kept_from = l.full_position;
        k->written = l.position;
        log_line(FD_LOG_INFO, "checkpoint_read", "journal=%" PRIu64 " files=%" PRIu32, l.position,
                 l.files);
        return KEEP_LOADED;
    }
    if (err != ERR_NOTFOUND) {
        on_refused(s, STEM, why != NULL ? why : e.text);
    }
    return spoilt ? KEEP_SPOILT : KEEP_NONE;
}

void score_keep_begin(struct score *s)
{
    struct score_keep *k = s->keep;
    struct errmsg e = {""};
    if (k == NULL || !list_areas(s)) {
        return;
    }
    k->next_us = s->conf.now_us() + k->every_us;
    if (make_writer(s, &e) != ERR_OK) {
        tell_failed(s, &e);
    }
}
