/* State on the disk: a checkpoint (base/checkpoint.h) of the world and all lanes, taken between two
 * entries of the journal, so that a start, or a process that gets a partition, repeats minutes of
 * it and not days.
 *
 * 1. All processes write at the same places of the journal: before an entry whose time, as the log
 *    has it, lies in another period of state.every than that of the entry before.  What a world or
 * a lane is there follows from the journal, so it does not matter who wrote it.
 * 2. A process reads what it needs from the places of all (daemon/state_folder.h), of one position
 *    of the journal: the newest at which the world and each of its partitions are to be had.
 * 3. It is used only if it is of this program, model, log and limits, and if everything decided by
 *    then is committed: what it holds as decided is not emitted again.  Else one before, else the
 *    journal. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "daemon/score_keep_private.h"
#include "daemon/version.h"
#include "features/schema.h"

#define END_POLL_US 10000

const struct disk *score_keep_disk(const struct score_keep *k)
{
    return k->folder->disk != NULL ? k->folder->disk : &DISK_REAL;
}

enum err score_keep_open(struct score *s, const struct state_folder *folder, int64_t every_us,
                         struct errmsg *e)
{
    struct score_keep *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return err_set(e, ERR_NOMEM, "cannot start scoring: no memory");
    }
    k->folder = folder;
    k->every_us = every_us;
    k->looked_at = -1;
    s->keep = k;
    return ERR_OK;
}

void score_keep_close(struct score *s)
{
    struct score_keep *k = s->keep;
    if (k == NULL) {
        return;
    }
    checkpoint_free(k->writer);
    free(k->candidate);
    free(k);
    s->keep = NULL;
}

bool score_keep_list(struct score *s)
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

struct score_keep_facts score_keep_facts_of(const struct score *s)
{
    const struct pipeline_conf *c = &s->conf.pipeline;
    const struct pipeline_models *m = &s->models.at;
    return (struct score_keep_facts){.log = hash_bytes(c->log.at, c->log.len, 0),
                                     .schema = feature_schema_hash(&c->params),
                                     .model = model_hash(m->champion),
                                     .shadow = m->shadow != NULL ? model_hash(m->shadow) : 0,
                                     .revision = FD_DECISION_REVISION,
                                     .card_bytes = model_cache_bytes(m->champion) |
                                                   (uint64_t)c->inputs << 32};
}

static enum err make_writer(struct score *s, struct errmsg *e)
{
    struct score_keep *k = s->keep;
    const struct checkpoint_conf c = {.disk = score_keep_disk(k),
                                      .in_process = k->folder->disk != NULL,
                                      .dir = k->folder->own,
                                      .stem = SCORE_KEEP_STEM,
                                      .increments_max = 20,
                                      .increments_share = 1,
                                      .kept_from = k->kept_from,
                                      .nice = 10};
    k->writer_areas = k->count;
    return checkpoint_create(&c, k->area, k->count, &k->writer, e);
}

/* A partition has gone since the writer was made, and with it its areas. */
static enum err make_writer_anew(struct score *s, struct errmsg *e)
{
    struct score_keep *k = s->keep;
    checkpoint_free(k->writer);
    k->writer = NULL;
    if (s->stats.checkpoint_position > 0) {
        k->kept_from = (uint64_t)s->stats.checkpoint_position;
    }
    return make_writer(s, e);
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

static void write_one(struct score *s)
{
    struct score_keep *k = s->keep;
    struct errmsg e = {""};
    const struct score_keep_facts facts = score_keep_facts_of(s);
    if (!score_keep_list(s)) {
        return;
    }
    enum err err = k->count != k->writer_areas ? make_writer_anew(s, &e) : ERR_OK;
    if (err != ERR_OK) {
        tell_failed(s, &e);
        return;
    }
    err = checkpoint_begin(k->writer, (uint64_t)s->order->position, k->area, &facts, sizeof facts,
                           &e);
    if (err == ERR_OK) {
        k->written = (uint64_t)s->order->position;
    } else if (err != ERR_REFUSED) { /* one is under way */
        tell_failed(s, &e);
    }
}

void score_keep_turn(struct score *s)
{
    if (s->keep != NULL && s->keep->writer != NULL) {
        look_after(s);
    }
}

void score_keep_between(struct score *s, const struct bus_message *next)
{
    struct score_keep *k = s->keep;
    if (k == NULL || next->offset == k->looked_at) {
        return;
    }
    const int64_t period = k->every_us > 0 ? next->timestamp_us / k->every_us : next->offset;
    const bool due = k->looked_at >= 0 && period > k->period;
    k->looked_at = next->offset;
    k->period = period;
    if (due && score_keep_may_write(s)) {
        write_one(s);
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
    if (k == NULL || k->writer == NULL || !score_keep_may_write(s) || s->flight_count > 0) {
        return;
    }
    if (wait_for_writer(s, until_us)) { /* the one before */
        write_one(s);
        (void)wait_for_writer(s, until_us);
    }
}

void score_keep_begin(struct score *s)
{
    struct score_keep *k = s->keep;
    struct errmsg e = {""};
    if (k == NULL || k->folder->read_only || !score_keep_list(s)) {
        return;
    }
    if (make_writer(s, &e) != ERR_OK) {
        tell_failed(s, &e);
    }
}
