/* The scoring loop: messages in, decisions out, offsets committed when everything emitted up to
 * them is acknowledged.
 *
 * The order of everything that decisions depend on is recorded before it is acted upon: a batch of
 * messages is written to the journal (daemon/journal.h), read back, and executed only then, as
 * every other process executes or follows it (daemon/journal_order.h).  State machine replication.
 *
 * Invariants
 *  1. An offset is committed after the broker acknowledged (acks=all) every record of every message
 *     before it.  A crash repeats decisions, it never loses one; consumers drop repeats by id.
 *  2. State changes by entries of the journal that count, in their order, and by nothing else: what
 *     labels and notices say is in force from the entry on that names their offset.  So a decision
 *     made again, here or by another process, has the same bytes.
 *  3. A partition that comes to us is learnt first: state is made anew from the journal's entries
 * of warm_us back (or its beginning) without emitting what is committed already, so nothing is ever
 *     scored with empty state by silence.  Where no entry speaks of it, its own log is journalled
 *     from warm_us back, without emitting either.
 *  4. One world (features/world.h) for all partitions; those of other processes are followed by
 *     what the journal tells of their payments.
 * One thread. */
#ifndef FD_DAEMON_SCORE_H
#define FD_DAEMON_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/latency.h"
#include "daemon/bounds.h"
#include "daemon/bus.h"
#include "daemon/hand.h"
#include "daemon/journal.h"
#include "daemon/pipeline.h"
#include "daemon/state_folder.h"

struct score;

#define SCORE_PARTITIONS_MAX 1024

struct score_conf {
    struct pipeline_conf pipeline;
    struct feat_world_limits world;
    size_t batch_max;
    int poll_ms;
    int64_t warm_us;              /* learn a partition from so long ago; 0: from its beginning */
    int64_t (*wall_us)(void);     /* Unix time, for warm_us and latencies; NULL: neither */
    int64_t (*now_us)(void);      /* monotonic; NULL: the system's */
    struct journal_writer writer; /* this process's name in the journal; zero: drawn at random */
    int64_t rollback_keep_us;     /* a former champion stays in shadow so long; 0: until another */
    struct schemas *schemas;      /* as in pipeline (borrowed); NULL: payments are JSON */
    struct hand_page *hand;       /* notes of what is in hand (borrowed); NULL: none outlive it */
    /* Not NULL: nothing is written, neither claims nor entries; what is recorded is executed, and
     * what would be sent goes here (borrowed). */
    const struct pipeline_out *watch;
    /* The model's file, borrowed.  Not NULL: where the notices have no model this one is told to
     * all before anything is decided, and so are the settings of `pipeline` where they never were.
     * NULL: nothing is told. */
    const uint8_t *model_bytes;
    size_t model_len;
    /* Asked every 50 ms or so while a turn waits for the brokers; false: give up waiting, nothing
     * further is committed.  NULL: wait for ever. */
    bool (*go_on)(void *ctx);
    void *ctx;
};

struct score_stats {
    struct pipeline_counters pipeline;
    struct bus_counters bus;
    uint64_t warmed; /* messages learnt from without emitting */
    uint64_t model_switches, notices_refused;
    uint64_t settings_hash;    /* bounds_hash of those in force */
    int64_t settings_notice;   /* that told them; -1: none did, they are those of the start */
    bool settings_differ;      /* from our file's, as it was read last */
    uint64_t labels_forgotten; /* found no room to be remembered */
    uint64_t entries;          /* of the journal, applied */
    uint64_t entries_damaged, not_counted; /* no entry; parts without effect */
    uint64_t followed;                     /* payments of other processes' partitions */
    uint64_t missing;                      /* to be decided, but the log lacks them */
    uint64_t unlearnt;                     /* decided once, and gone from the log by now */
    uint64_t rebuilds, yields;
    uint64_t checkpoints, checkpoints_failed, checkpoints_refused, checkpoints_read;
    int64_t checkpoint_position; /* place in the journal of the latest one written; 0: none */
    int64_t state_from;          /* of the latest one read; 0: none */
    int64_t journal_next;
    uint64_t batches;
    int64_t cards, places, state_bytes;
    uint64_t late, cards_evicted, places_evicted, labels_waiting;
    int partitions;
    bool schema_waits; /* what is recorded waits for the schema registry */
    bool ready;        /* labels read, every partition owned and past its committed offset */
    char why[96];      /* what it waits for, where it is not */
};

/* What one partition shows. */
struct score_lane {
    int32_t partition;
    int64_t next, committed; /* offsets; committed -1: nothing yet */
    double threshold;        /* probability in force */
    double budget_left;      /* of its day by its clock */
    uint64_t suppressed;
};

FD_MUSTCHECK enum err score_create(const struct score_conf *c, uint64_t (*clock_ns)(void),
                                   struct score **out, struct errmsg *e);
/* The events to open the bus with, and the bus once open (borrowed, closed by the caller). */
struct bus_events score_events(struct score *s);
void score_attach(struct score *s, struct bus bus);

/* Keeps state in this place of a folder (borrowed), writing whenever the journal's time enters a
 * new period of so many us, and reads what it needs from all places there; before the bus is
 * opened. */
FD_MUSTCHECK enum err score_keep_open(struct score *s, const struct state_folder *folder,
                                      int64_t every_us, struct errmsg *e);
/* After score_finish: writes a last one, in at most so long. */
void score_keep_end(struct score *s, int timeout_ms);

/* One turn: polls, decides, sends, commits what is acknowledged.  Returns the messages handled. */
size_t score_turn(struct score *s);
/* Waits at most timeout_ms until everything is acknowledged, then commits.  ERR_UNAVAILABLE: not
 * all was; the offsets before it are committed. */
FD_MUSTCHECK enum err score_finish(struct score *s, int timeout_ms, struct errmsg *e);
void score_stats(const struct score *s, struct score_stats *out);
/* The partitions owned now, rising.  Returns how many were written, at most max. */
size_t score_lanes(const struct score *s, struct score_lane *out, size_t max);
/* From an entry's writing to its being read back. */
const struct latency *score_journal_times(const struct score *s);
/* From a transaction's Kafka timestamp to its decision being handed to the bus. */
const struct latency *score_message_times(const struct score *s);

/* Between two turns: tells all processes of other settings, and of another model where bytes is not
 * NULL.  They are in force, here and everywhere, from the journal's first entry on that knows their
 * notices.  What is in force or told last already is not told again.  ERR_INVALID, ERR_CORRUPT,
 * ERR_MISMATCH: nothing was told; ERR_UNAVAILABLE the loop is ending. */
FD_MUSTCHECK enum err score_tell(struct score *s, const struct bounds *b, const uint8_t *bytes,
                                 size_t len, struct errmsg *e);
/* The model in force, and the one in shadow (NULL: none). */
const struct model *score_model(const struct score *s);
const struct model *score_shadow(const struct score *s);
/* When the notice came that put it there, by the log's clock. */
int64_t score_shadow_since_us(const struct score *s);
/* How complete its latent caches are in all partitions of this process. */
struct lane_complete score_complete(const struct score *s);

const struct pipeline *score_pipeline(const struct score *s);
/* Lists, rules and mode as far as they are read. */
const struct controls *score_controls(const struct score *s);
/* Whether the bus told of a fatal trouble or a refusal. */
bool score_failed(const struct score *s);
/* What it amounts to: ERR_REFUSED with the brokers' words, or ERR_UNAVAILABLE (the log has them).
 */
FD_MUSTCHECK enum err score_failure(const struct score *s, struct errmsg *e);
void score_free(struct score *s);

#endif
