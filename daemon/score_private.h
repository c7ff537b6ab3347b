/* The inside of the scoring loop: score.c (the bus's events, the turn, commits), score_follow.c
 * (labels and notices), score_settings.c (settings told by notices), score_keep.c,
 * score_keep_read.c, score_keep_rules.c (state on the disk), score_apply.c (entries of the journal,
 * in order), score_admit.c (claims and batches of our own), score_crash.c (messages that end
 * processes), score_stats.c (what it shows).  Private to them. */
#ifndef FD_DAEMON_SCORE_PRIVATE_H
#define FD_DAEMON_SCORE_PRIVATE_H

#include "base/log_limit.h"
#include "daemon/bounds.h"
#include "daemon/crash_notice.h"
#include "daemon/inbox.h"
#include "daemon/journal_order.h"
#include "daemon/models.h"
#include "daemon/notice.h"
#include "daemon/recovery.h"
#include "daemon/score.h"

/* batches whose records may be on their way at once */
#define FLIGHT_MAX 4096
/* another process has claimed a partition that the group gives to us: for so long we stand back */
#define SCORE_YIELD_US 10000000
/* notices about models that are kept for repeating what was decided */
#define NOTICED_MAX 64

struct owned {
    struct lane *lane;
    struct inbox inbox;   /* messages from `from` on, as far as they are read */
    int64_t from;         /* -1: not being read yet */
    int64_t read;         /* after the last message read */
    int64_t low;          /* the log's first offset when learning began */
    int64_t learn;        /* where it begins if no entry ever spoke of it */
    int64_t emit_from;    /* offsets below are learnt from only */
    int64_t next;         /* after the last message decided */
    int64_t committed;    /* next offset as committed by us; -1 nothing yet */
    int64_t acknowledged; /* next offset that may be committed */
    int64_t claim_us;     /* monotonic: not claimed before, another one has taken it over */
    bool paused;
    bool fresh;   /* came just now: `low` is as the log is */
    bool had;     /* we were its owner by the journal */
    bool follows; /* what comes next of it joins on to what was decided */
};

/* After this batch the partition's next offset is `next`. */
struct flight {
    uint64_t batch;
    int32_t partition;
    int64_t next;
};

/* A topic that is read whole: it must be read up to its end at the start before anything is
 * decided.
 */
struct follow {
    bool begun;
    int64_t next, high; /* read up to; end of the log at the start */
};

/* A label, in force from the first entry on whose labels_next is above its offset. */
struct known_label {
    int64_t offset, timestamp_us; /* of its message */
    struct label label;
};

/* Settings that came by a notice. */
struct told_settings {
    int64_t offset;
    uint64_t hash;
    struct bounds bounds;
};

/* The entry at the head of the journal's inbox, and how far it has been executed. */
struct applying {
    bool begun;
    size_t part;
    int64_t offset;    /* of the part's next message; -1: the part has not begun */
    size_t run;        /* the run that holds it */
    int64_t run_begin; /* offset at which that run begins */
    size_t tx;         /* the payment that comes next */
    enum journal_verdict verdict[JOURNAL_PARTS_MAX];
};

struct score {
    struct score_conf conf;
    uint64_t (*clock_ns)(void); /* or NULL */
    struct bus bus;
    struct pipeline *pipeline;
    struct feat_world *world;
    struct owned owned[SCORE_PARTITIONS_MAX];
    int32_t partition_top; /* after the highest owned */
    struct flight flight[FLIGHT_MAX];
    size_t flight_first, flight_count;
    uint64_t batch;
    struct bus_message *messages;
    struct follow labels, notices;
    struct known_label *label; /* [label_max] every one read: rebuilding begins with none */
    size_t label_count, label_max, label_given;
    struct notice_reader notice, shadow_notice, rules_notice;
    struct controls *controls;
    struct models_notice noticed[NOTICED_MAX]; /* with their models, owned */
    size_t noticed_count, noticed_given;
    struct models begun; /* of before the first of them; models that only it names: forgotten */
    struct model *forgotten[2]; /* owned */
    struct models models;       /* in force */
    int64_t end_told;           /* the notice whose end we have told of; -1: none */
    struct told_settings *told; /* [told_room] all that were told, rising */
    size_t told_count, told_room, told_given;
    struct bounds own; /* what our file says, as it was read last */
    enum { START_OPEN, START_ASKED, START_SETTLED } start;
    int64_t start_us;     /* monotonic: asked at */
    uint64_t start_batch; /* the batch of those notices */

    struct journal_order *order;
    struct inbox journal;
    struct journal_entry *entry;   /* being applied */
    struct journal_entry *writing; /* being made */
    uint8_t *bytes;                /* [JOURNAL_BYTES_MAX] */
    struct applying applying;
    struct journal_writer writer;
    int64_t journal_low, journal_high; /* the log when it was first read */
    int64_t rebuilt_until;             /* entries below are the past */
    int64_t held_us;                   /* monotonic: transactions wait in the bus since; 0: not */
    int64_t applied;                   /* entries below were applied before the latest rebuild */
    size_t under_way;                  /* entries of ours not read back yet */
    uint64_t sent_ns;                  /* of the latest of them */
    bool journal_begun, journal_paused, labels_paused;
    bool schema_waits; /* the entry being applied, for the registry */
    bool rebuild;      /* partitions came: everything is learnt again */
    bool from_low;     /* ... from the journal's beginning */

    struct hand_page *hand, own_hand; /* the caller's, or our own */
    struct crash *crash;              /* [crash_room] rising: messages that are passed */
    size_t crash_count, crash_room;
    struct crash mine; /* told by us, if crash_sent */
    bool crash_sent;

    struct recovery recovery;
    struct score_keep *keep; /* NULL: no state on the disk */
    int64_t labels_from;     /* labels below are in the state that was read */

    bool failed;
    struct errmsg refused; /* the brokers' refusal, "" none */
    uint64_t unsent;       /* first batch with a record that was not queued; UINT64_MAX: none */
    struct latency message_time, journal_time;
    struct log_limit quiet;
    struct score_stats stats;
};

static inline bool followed(const struct follow *f)
{
    return f->begun && f->next >= f->high;
}

/* Adds what a partition has counted since it came, or a world since it was made. */
void score_count_owned(const struct owned *o, struct score_stats *to);
void score_count_world(const struct feat_world *w, struct score_stats *to);

/* Stops for good, with one line. */
void score_fail(struct score *s, const char *event, const char *fmt, ...) FD_PRINTF(3, 4);
bool score_go_on(const struct score *s);
/* Queues a record, waiting for room; false: it could not, the loop is ending. */
bool score_send(struct score *s, const struct bus_record *r);

/* score_send as a bus's function: ERR_UNAVAILABLE the process is ending. */
FD_MUSTCHECK enum err score_send_waiting(void *self, const struct bus_record *r, struct errmsg *e);

/* score_follow.c */
void score_take_label(struct score *s, const struct bus_message *m);
void score_take_notice(struct score *s, const struct bus_message *m);
/* Puts what lies below these offsets in force; false: not read so far yet. */
bool score_follow_to(struct score *s, int64_t labels_next, int64_t notices_next);
/* Tells all that the former champion's time in shadow is over, when it is. */
void score_end_former(struct score *s);
/* Puts the models of the notices below this offset in force where state that was read comes from;
 * lanes are new but for that. */
FD_MUSTCHECK enum err score_models_restored(struct score *s, int64_t notices_next,
                                            struct errmsg *e);
/* The lanes that there are; returns how many. */
size_t score_all_lanes(const struct score *s, struct lane *out[SCORE_PARTITIONS_MAX]);
/* The state of before the first label and notice. */
FD_MUSTCHECK enum err score_follow_again(struct score *s, struct errmsg *e);

/* score_settings.c */
FD_MUSTCHECK enum err score_take_settings(struct score *s, const struct bus_message *m,
                                          struct errmsg *e);
/* Puts the settings told below this offset in force. */
void score_settings_to(struct score *s, int64_t notices_next);
/* Those of before the first notice. */
FD_MUSTCHECK enum err score_settings_again(struct score *s, struct errmsg *e);
/* Those in force where state that was read comes from. */
FD_MUSTCHECK enum err score_settings_restored(struct score *s, struct errmsg *e);
/* Whether model and settings of the start are in the notices: before that nothing is decided. */
bool score_start_settled(struct score *s);

/* score_apply.c */
/* Makes everything new and begins at the start of the journal's stretch that is repeated. */
void score_rebuild(struct score *s);
/* Applies entries as far as everything they name has been read. */
void score_apply(struct score *s);
/* Has the partition's messages come from this offset on. */
void score_read_from(struct score *s, int32_t partition, int64_t offset);
/* Whether the partition would go on at `next` with something before it undecided, because the
 * entries about it lie before those read: then the journal is read from its beginning, or it is the
 * end. */
bool score_lacks_entries(struct score *s, int32_t partition, int64_t next);
/* From the journal's beginning, not from warm_us back. */
void score_go_back(struct score *s);
/* Whether the entry being applied waits for this partition's messages. */
bool score_waits_for(const struct score *s, int32_t partition);
/* What was decided of a partition up to `next`: committed once acknowledged. */
void score_note_flight(struct score *s, int32_t partition, int64_t next);

/* score_keep.c */
void score_keep_close(struct score *s);
/* Reads the newest state at or below `high` of the journal that fits into world, lanes and order,
 * all made new before.  SPOILT: none fits, and they must be made anew. */
enum keep_loaded { KEEP_NONE, KEEP_LOADED, KEEP_SPOILT };
enum keep_loaded score_keep_load(struct score *s, int64_t high);
/* State is complete: it is written from now on. */
void score_keep_begin(struct score *s);
void score_keep_turn(struct score *s);
/* State is that of before this entry of the journal: it may be time to write it. */
void score_keep_between(struct score *s, const struct bus_message *next);

/* score_crash.c */
/* Whether a step with a message ended processes, and is left out by all. */
bool score_known_crash(const struct score *s, enum bus_topic topic, int32_t partition,
                       int64_t offset, enum hand_step step);
static inline bool score_crashed(const struct score *s, enum bus_topic topic, int32_t partition,
                                 int64_t offset, enum hand_step step)
{
    return s->crash_count > 0 && score_known_crash(s, topic, partition, offset, step);
}
/* Takes a message of the notices topic; false: it is none of these. */
bool score_take_crash(struct score *s, const struct bus_message *m);
/* Whether nothing may be looked into yet: what ended us twice is being told to all. */
bool score_crash_waits(struct score *s);
/* Whether it was us who told of this message, in this life. */
bool score_is_mine(const struct score *s, enum bus_topic topic, int32_t partition, int64_t offset);
/* Makes a dead letter of a message that is passed. */
void score_refuse_crashed(struct score *s, const struct bus_message *m);

/* Whether a message can be read: see schemas_ready. */
bool score_readable(struct score *s, const struct bus_message *m, bool decided);

/* score_admit.c */
/* Writes a claim or batch where there is reason to and none is under way. */
void score_admit(struct score *s);

#endif
