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

#define STEM "score"
#define END_POLL_US 10000

/* What must be the same at the start that uses it. */
struct facts {
    uint64_t log, schema, model, shadow, revision, cache_bytes;
};

static const struct disk *disk_of(const struct score_keep *k)
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
    const struct pipeline_models *m = &s->models.at;
    return (struct facts){.log = hash_bytes(c->log.at, c->log.len, 0),
                          .schema = feature_schema_hash(&c->params),
                          .model = model_hash(m->champion),
                          .shadow = m->shadow != NULL ? model_hash(m->shadow) : 0,
                          .revision = FD_DECISION_REVISION,
                          .cache_bytes = model_cache_bytes(m->champion)};
}

static enum err make_writer(struct score *s, struct errmsg *e)
{
    struct score_keep *k = s->keep;
    const struct checkpoint_conf c = {.disk = disk_of(k),
                                      .in_process = k->folder->disk != NULL,
                                      .dir = k->folder->own,
                                      .stem = STEM,
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
    const struct facts facts = facts_of(s);
    if (!list_areas(s)) {
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

/* ---- reading ---- */

static void on_refused(void *arg, const char *name, const char *why)
{
    char quoted[600];
    struct score *s = arg;
    s->stats.checkpoints_refused++;
    log_line(FD_LOG_WARN, "checkpoint_refused", "file=%s detail=%s", name,
             log_quote(quoted, sizeof quoted, why));
}

/* Why what was read cannot be used; NULL: it can. */
static const char *unfit(struct score *s, const struct checkpoint_loaded *l, struct errmsg *e)
{
    if (score_models_restored(s, s->order->notices_next, e) != ERR_OK) {
        return e->text;
    }
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
    return err == ERR_OK ? score_settings_restored(s, e) : err;
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

static struct checkpoint_source source_of(struct score *s, const char *dir, uint64_t position,
                                          bool *found)
{
    return (struct checkpoint_source){.disk = disk_of(s->keep),
                                      .dir = dir,
                                      .stem = STEM,
                                      .position_max = position,
                                      .found = found,
                                      .refused = on_refused,
                                      .arg = s};
}

/* ---- which are to be had ---- */

struct listing {
    struct score_keep *keep;
    unsigned place;
    uint64_t high;
    bool no_room;
};

static void note_position(void *arg, uint64_t position)
{
    struct listing *l = arg;
    struct score_keep *k = l->keep;
    if (position > l->high) {
        return;
    }
    if (k->candidate_count == k->candidate_room) {
        size_t room = k->candidate_room * 2 + 64;
        struct candidate *more = realloc(k->candidate, room * sizeof *more);
        if (more == NULL) {
            l->no_room = true;
            return;
        }
        k->candidate = more;
        k->candidate_room = room;
    }
    k->candidate[k->candidate_count++] = (struct candidate){position, l->place};
}

static int newest_first(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    if (x->position != y->position) {
        return x->position > y->position ? -1 : 1;
    }
    return (x->place > y->place) - (x->place < y->place);
}

/* What there is up to `high`. */
static void list_candidates(struct score *s, int64_t high)
{
    struct score_keep *k = s->keep;
    struct listing l = {k, 0, (uint64_t)high, false};
    char dir[PATH_MAX];
    struct errmsg e;
    k->candidate_count = 0;
    for (; l.place < STATE_PLACES_MAX && !l.no_room; l.place++) {
        state_folder_place(k->folder, l.place, dir);
        const struct checkpoint_source from = source_of(s, dir, 0, NULL);
        enum err err = checkpoint_positions(&from, note_position, &l, &e);
        if (err != ERR_OK && err != ERR_NOTFOUND) {
            on_refused(s, dir, e.text);
        }
    }
    if (k->candidate_count > 0) {
        qsort(k->candidate, k->candidate_count, sizeof *k->candidate, newest_first);
    }
}

/* Takes from one place those of the areas that are not found yet: into memory, or (look) only
 * whether they are there.  found: [count], of all.  Errors as checkpoint_load. */
static enum err take_from(struct score *s, const struct candidate *at, bool *found, bool look,
                          struct checkpoint_loaded *l, struct errmsg *e)
{
    struct score_keep *k = s->keep;
    struct area wanted[CHECKPOINT_AREAS_MAX];
    size_t number[CHECKPOINT_AREAS_MAX];
    bool here[CHECKPOINT_AREAS_MAX] = {false};
    char dir[PATH_MAX];
    size_t n = 0;
    for (size_t i = 0; i < k->count; i++) {
        if (!found[i]) {
            number[n] = i;
            wanted[n++] = k->area[i];
        }
    }
    if (n == 0) {
        return ERR_OK;
    }
    state_folder_place(k->folder, at->place, dir);
    const struct checkpoint_source from = source_of(s, dir, at->position, here);
    enum err err =
        look ? checkpoint_look(&from, wanted, n, e) : checkpoint_load(&from, wanted, n, l, e);
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        found[number[i]] = here[i];
        k->area[number[i]].bytes = wanted[i].bytes;
    }
    return err;
}

static bool same_facts(const struct checkpoint_loaded *a, const struct checkpoint_loaded *b)
{
    return a->header_bytes == b->header_bytes && memcmp(a->header, b->header, a->header_bytes) == 0;
}

/* Whether the candidates from first to end have all areas between them, taken or looked at. */
static bool have_all(struct score *s, size_t first, size_t end, bool look,
                     struct checkpoint_loaded *l)
{
    struct score_keep *k = s->keep;
    bool found[CHECKPOINT_AREAS_MAX] = {false};
    struct checkpoint_loaded one;
    size_t missing = 0;
    *l = (struct checkpoint_loaded){0};
    struct errmsg e;
    for (size_t i = first; i < end; i++) {
        if (i > first && k->candidate[i].place == k->candidate[i - 1].place) {
            continue; /* a full one and an increment */
        }
        one.files = 0;
        enum err err = take_from(s, &k->candidate[i], found, look, &one, &e);
        if (err == ERR_MISMATCH) {
            on_refused(s, STEM, e.text); /* of what is damaged it is told by the reader */
        }
        if (look || err != ERR_OK || one.files == 0) {
            continue;
        }
        if (l->files > 0 && !same_facts(l, &one)) {
            return false; /* another program or model was at work there */
        }
        *l = one;
    }
    for (size_t i = 0; i < k->count; i++) {
        missing += !found[i];
    }
    return missing == 0;
}

/* Takes the recorded order, which is small, and looks whether all that the rest holds as decided is
 * committed: if not, some of it may not have reached the log. */
static bool is_committed(struct score *s, size_t first, size_t end)
{
    struct score_keep *k = s->keep;
    bool found[CHECKPOINT_AREAS_MAX];
    struct checkpoint_loaded l;
    struct errmsg e;
    size_t order = 0;
    while (k->area[order].at != s->order) {
        order++;
    }
    memset(found, true, sizeof found);
    found[order] = false;
    for (size_t i = first; i < end && !found[order]; i++) {
        if (take_from(s, &k->candidate[i], found, false, &l, &e) == ERR_MISMATCH) {
            on_refused(s, STEM, e.text);
        }
    }
    return found[order] && score_keep_is_committed(s);
}

static uint64_t clock_ns(const struct score *s)
{
    return s->clock_ns != NULL ? s->clock_ns() : 0;
}

/* Bytes of all areas. */
static uint64_t state_bytes(const struct score_keep *k)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < k->count; i++) {
        bytes += k->area[i].bytes;
    }
    return bytes;
}

/* Reads the newest position that has all and fits; false: there is none. */
static bool read_newest(struct score *s, bool *out_spoilt)
{
    struct score_keep *k = s->keep;
    struct checkpoint_loaded l;
    struct errmsg e;
    size_t end;
    for (size_t first = 0; first < k->candidate_count; first = end) {
        end = score_keep_alike(k, first);
        if (k->candidate[first].position < (uint64_t)s->journal_low) {
            return false; /* the journal does not hold what comes next */
        }
        if (!have_all(s, first, end, true, &l)) {
            continue;
        }
        *out_spoilt = true;
        const uint64_t begun_ns = clock_ns(s);
        if (!is_committed(s, first, end) || !have_all(s, first, end, false, &l)) {
            continue;
        }
        const uint64_t unpacked_ns = clock_ns(s);
        const char *why = unfit(s, &l, &e);
        if (why == NULL && restored(s, &e) != ERR_OK) {
            why = e.text;
        }
        k->unpack_ns = unpacked_ns - begun_ns;
        k->index_ns = clock_ns(s) - unpacked_ns;
        if (why != NULL) {
            on_refused(s, STEM, why);
            return false; /* what is older is of no other program */
        }
        k->written = k->candidate[first].position;
        return true;
    }
    return false;
}

/* What of ours is newest stays until there are two newer ones: others may read it. */
static void keep_own(struct score_keep *k)
{
    for (size_t i = k->candidate_count; i-- > 0;) {
        if (k->candidate[i].place == k->folder->place && k->candidate[i].position <= k->written) {
            k->kept_from = k->candidate[i].position;
            return;
        }
    }
}

enum keep_loaded score_keep_load(struct score *s, int64_t high)
{
    struct score_keep *k = s->keep;
    bool spoilt = false;
    if (k == NULL) {
        return KEEP_NONE;
    }
    checkpoint_free(k->writer);
    k->writer = NULL;
    k->kept_from = k->written = 0;
    k->looked_at = -1;
    if (!list_areas(s)) {
        log_line(FD_LOG_WARN, "no_checkpoints",
                 "partitions=%d detail=\"a checkpoint holds %zu partitions at most\"",
                 s->stats.partitions, (size_t)LANES_MAX);
        return KEEP_NONE;
    }
    list_candidates(s, high);
    if (read_newest(s, &spoilt)) {
        take_over(s);
        keep_own(k);
        s->stats.checkpoints_read++;
        s->stats.state_from = (int64_t)k->written;
        log_line(FD_LOG_INFO, "checkpoint_read",
                 "journal=%" PRIu64 " bytes=%" PRIu64 " unpack_ms=%" PRIu64 " index_ms=%" PRIu64,
                 k->written, state_bytes(k), k->unpack_ns / 1000000, k->index_ns / 1000000);
        return KEEP_LOADED;
    }
    return spoilt ? KEEP_SPOILT : KEEP_NONE;
}

void score_keep_begin(struct score *s)
{
    struct score_keep *k = s->keep;
    struct errmsg e = {""};
    if (k == NULL || k->folder->read_only || !list_areas(s)) {
        return;
    }
    if (make_writer(s, &e) != ERR_OK) {
        tell_failed(s, &e);
    }
}
