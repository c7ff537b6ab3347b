/* The disk of a simulation: checkpoints, what becomes of them, and what a loss of power leaves. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/score_keep_private.h"
#include "tests/support/chaos_private.h"

/* ---- safeguards of the disk itself ---- */

/* A disk that promises less. */
static int no_sync(void *ctx, int handle)
{
    (void)ctx;
    (void)handle;
    return 0;
}

static int no_sync_dir(void *ctx, const char *dir)
{
    (void)ctx;
    (void)dir;
    return 0;
}

void chaos_disk_begin(struct chaos *s)
{
    faulty_disk_init(&s->disk, rng_next(&s->r));
    s->disk.disk.sync = s->without == SAFE_SYNC ? no_sync : s->disk.disk.sync;
    s->disk.disk.sync_dir = s->without == SAFE_SYNC_DIR ? no_sync_dir : s->disk.disk.sync_dir;
    for (unsigned k = 0; k < MEMBERS; k++) {
        struct state_folder *f = &s->folder[k];
        *f = (struct state_folder){.dir = "/s", .place = k, .lock = -1, .disk = &s->disk.disk};
        state_folder_place(f, k, f->own);
    }
}

void chaos_disk_end(struct chaos *s)
{
    faulty_disk_done(&s->disk);
}

void chaos_keep(struct chaos *s, struct member *one)
{
    struct errmsg e = {""};
    if (s->keeps && score_keep_open(one->process.score, &s->folder[chaos_number_of(s, one)],
                                    s->keep_every_us, &e) != ERR_OK) {
        chaos_fail(s, "state cannot be kept: %s", e.text);
    }
}

/* ---- what goes wrong ---- */

void chaos_disk_weather(struct chaos *s)
{
    struct faulty_disk *d = &s->disk;
    static const int ERRORS[] = {EIO, ENOSPC, EDQUOT, EACCES};
    const uint64_t soon = d->operations + 1 + rng_below(&s->r, 40);
    d->short_writes = chaos_one_in(s, 3);
    d->room = chaos_one_in(s, 10) ? rng_below(&s->r, 60000) : UINT64_MAX;
    d->fail_at = chaos_one_in(s, 8) ? soon : 0;
    d->fail_errno = ERRORS[rng_below(&s->r, 4)];
    d->crash_at = chaos_one_in(s, 12) ? soon : 0;
}

void chaos_disk_look(struct chaos *s, struct member *one)
{
    struct score_stats t;
    if (!s->keeps) {
        return;
    }
    score_stats(one->process.score, &t);
    if (t.checkpoints > one->checkpoints) {
        s->reported[chaos_number_of(s, one)] = t.checkpoint_position;
        s->tally->checkpoints += t.checkpoints - one->checkpoints;
        one->checkpoints = t.checkpoints;
    }
    one->stunned |= s->disk.crashed; /* it died within an operation */
}

void chaos_disk_dead(struct chaos *s, const struct member *one)
{
    struct score_stats t;
    score_stats(one->process.score, &t);
    s->tally->checkpoints_read += t.checkpoints_read;
    faulty_disk_wake(&s->disk);
}

static void on_refused(void *arg, const char *name, const char *why)
{
    chaos_trace(arg, "%s: %s", name, why);
}

/* What a place of the folder has. */
struct left {
    struct chaos *s;
    int place;
    bool whole; /* something at or behind what was reported */
};

static void try_position(void *arg, uint64_t position)
{
    static struct journal_order order;
    struct left *l = arg;
    bool found = false;
    struct errmsg e = {""};
    struct checkpoint_loaded loaded;
    struct area area = {"order", &order, sizeof order, sizeof order};
    const struct checkpoint_source from = {.disk = &l->s->disk.disk,
                                           .dir = l->s->folder[l->place].own,
                                           .stem = "score",
                                           .position_max = position,
                                           .found = &found,
                                           .refused = on_refused,
                                           .arg = l->s};
    if ((int64_t)position >= l->s->reported[l->place] &&
        checkpoint_load(&from, &area, 1, &loaded, &e) == ERR_OK && found) {
        l->whole = l->whole || order.position == (int64_t)position;
    }
}

/* What a process was told to be on the disk is there, or something newer. */
static void check_reported(struct chaos *s, int k)
{
    struct left l = {s, k, s->reported[k] == 0};
    struct errmsg e = {""};
    const struct checkpoint_source from = {
        .disk = &s->disk.disk, .dir = s->folder[k].own, .stem = "score"};
    if (!l.whole) {
        if (checkpoint_positions(&from, try_position, &l, &e) != ERR_OK) {
            chaos_fail(s, "the folder cannot be read: %s", e.text);
        }
    }
    if (!l.whole) {
        chaos_fail(s,
                   "a checkpoint of place %d, position %" PRId64
                   ", was reported and is lost with the power",
                   k, s->reported[k]);
    }
}

void chaos_power(struct chaos *s)
{
    if (!s->keeps || s->depth > 0) {
        return;
    }
    chaos_trace(s, "the power fails");
    s->tally->powers++;
    for (int k = 0; k < s->member_count; k++) {
        if (s->member[k].life == RUNS) {
            chaos_die(s, &s->member[k]);
        }
    }
    faulty_disk_restart(&s->disk);
    for (int k = 0; k < s->member_count; k++) {
        check_reported(s, k);
    }
}
