/* State on the disk: what score_keep.c (writing it), score_keep_read.c (reading it) and
 * score_keep_rules.c (when it may be written and used) share.  Private to them. */
#ifndef FD_DAEMON_SCORE_KEEP_PRIVATE_H
#define FD_DAEMON_SCORE_KEEP_PRIVATE_H

#include "base/checkpoint.h"
#include "daemon/score_private.h"

#define SCORE_KEEP_STEM "score"
#define NAME_MAX_BYTES 44
/* world and order, and of each lane its areas: what a checkpoint can name */
#define LANES_MAX ((CHECKPOINT_AREAS_MAX - FEAT_AREAS_MAX - 1) / FEAT_AREAS_MAX)

/* What must be the same at the start that uses it. */
struct score_keep_facts {
    uint64_t log, schema, model, shadow, revision, card_bytes;
};

/* Some of the state at this position. */
struct candidate {
    uint64_t position;
    unsigned place; /* in the folder */
};

struct score_keep {
    const struct state_folder *folder;
    int64_t every_us;
    int64_t looked_at, period; /* offset and period of the journal's latest entry; -1: none yet */
    struct checkpoint *writer; /* NULL: none for these partitions */
    size_t writer_areas;       /* it was made for */
    uint64_t kept_from;
    uint64_t written;            /* position of the latest one begun */
    struct pool *pool;           /* while state is read; NULL: none */
    struct candidate *candidate; /* [candidate_count] what is to be had, newest first */
    size_t candidate_count, candidate_room;
    size_t count;
    struct area area[CHECKPOINT_AREAS_MAX];
    char name[LANES_MAX * FEAT_AREAS_MAX][NAME_MAX_BYTES];
};

const struct disk *score_keep_disk(const struct score_keep *k);
/* Lists all areas of the state in k->area; false: too many partitions. */
bool score_keep_list(struct score *s);
struct score_keep_facts score_keep_facts_of(const struct score *s);

/* Whether state is that of between two entries, and there is news. */
bool score_keep_may_write(const struct score *s);
/* Whether all that state just read holds as decided is committed. */
bool score_keep_is_committed(const struct score *s);
/* The end of the candidates of one position that begin at `first`. */
size_t score_keep_alike(const struct score_keep *k, size_t first);

#endif
