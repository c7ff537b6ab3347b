/* State read back from the disk (score_keep.c says when it is used): which places of the folder
 * have which parts of it, and the newest that is whole. */
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/pool.h"
#include "daemon/score_keep_private.h"

/* Beyond it memory is what limits; each takes 1 MiB of buffers. */
#define READ_THREADS_MAX 8

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
    const struct score_keep_facts now = score_keep_facts_of(s);
    if (l->header_bytes != sizeof now || memcmp(l->header, &now, sizeof now) != 0) {
        return "it is of another model, program, log or state.inputs";
    }
    return NULL;
}

/* What is derived from world and lanes is made again, each by itself. */
struct restoring {
    struct score *score;
    int32_t partition[SCORE_PARTITIONS_MAX]; /* item k + 1; item 0 is the world */
    enum err err[SCORE_PARTITIONS_MAX + 1];
    struct errmsg e[SCORE_PARTITIONS_MAX + 1];
};

static void restore_one(void *ctx, uint32_t worker, uint32_t item)
{
    struct restoring *r = ctx;
    (void)worker;
    r->err[item] = item == 0
                       ? feat_world_restored(r->score->world, &r->e[item])
                       : lane_restored(r->score->owned[r->partition[item - 1]].lane, &r->e[item]);
}

static enum err restored(struct score *s, struct errmsg *e)
{
    struct restoring *r = calloc(1, sizeof *r);
    uint32_t items = 1;
    if (r == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to take over state");
    }
    r->score = s;
    for (int32_t p = 0; p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            r->partition[items++ - 1] = p;
        }
    }
    if (s->keep->pool != NULL) {
        pool_run(s->keep->pool, items, restore_one, r);
    } else {
        for (uint32_t i = 0; i < items; i++) {
            restore_one(r, 0, i);
        }
    }
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < items && err == ERR_OK; i++) {
        err = r->err[i];
        *e = err != ERR_OK ? r->e[i] : *e;
    }
    free(r);
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
    return (struct checkpoint_source){.disk = score_keep_disk(s->keep),
                                      .dir = dir,
                                      .stem = SCORE_KEEP_STEM,
                                      .position_max = position,
                                      .found = found,
                                      .pool = s->keep->pool,
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
            on_refused(s, SCORE_KEEP_STEM,
                       e.text); /* of what is damaged it is told by the reader */
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
        if (!have_all(s, first, end, false, &l) || !score_keep_is_committed(s)) {
            continue; /* the one before is read over it */
        }
        recovery_reach(&s->recovery, RECOVERY_UNPACKED, s->conf.now_us());
        const char *why = unfit(s, &l, &e);
        if (why == NULL && restored(s, &e) != ERR_OK) {
            why = e.text;
        }
        recovery_reach(&s->recovery, RECOVERY_INDEXED, s->conf.now_us());
        if (why != NULL) {
            on_refused(s, SCORE_KEEP_STEM, why);
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

/* As many threads as this process may run on; without them the caller works alone.  A simulation
 * has its own disk, which one thread may use. */
static void open_pool(struct score_keep *k)
{
    cpu_set_t cpus;
    struct errmsg e;
    uint32_t n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
    n = n < READ_THREADS_MAX ? n : READ_THREADS_MAX;
    if (k->folder->disk != NULL || n < 2 || pool_create(n, &k->pool, &e) != ERR_OK) {
        k->pool = NULL;
    }
}

/* Of all threads of this process. */
static int64_t cpu_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void close_pool(struct score_keep *k)
{
    pool_free(k->pool);
    k->pool = NULL;
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
    if (!score_keep_list(s)) {
        log_line(FD_LOG_WARN, "no_checkpoints",
                 "partitions=%d detail=\"a checkpoint holds %zu partitions at most\"",
                 s->stats.partitions, (size_t)LANES_MAX);
        return KEEP_NONE;
    }
    list_candidates(s, high);
    open_pool(k);
    const int64_t cpu_us = cpu_now_us();
    const bool read = read_newest(s, &spoilt);
    const int64_t cpu_ms = (cpu_now_us() - cpu_us) / 1000;
    close_pool(k);
    if (read) {
        take_over(s);
        keep_own(k);
        s->stats.checkpoints_read++;
        s->stats.state_from = (int64_t)k->written;
        log_line(FD_LOG_INFO, "checkpoint_read",
                 "journal=%" PRIu64 " bytes=%" PRIu64 " cpu_ms=%" PRId64, k->written,
                 state_bytes(k), cpu_ms);
        return KEEP_LOADED;
    }
    return spoilt ? KEEP_SPOILT : KEEP_NONE;
}
