/* A reader of checkpoints from inside: one file (checkpoint_read.c), and which files make a chain
 * (checkpoint_load.c). */
#ifndef FD_BASE_CHECKPOINT_READER_H
#define FD_BASE_CHECKPOINT_READER_H

#include <pthread.h>
#include <zstd.h>

#include "base/checkpoint_format.h"

#define CHECKPOINT_PACKED_MAX ZSTD_COMPRESSBOUND(CHECKPOINT_BLOCK)
/* The longest that is read at once: a block, or a head. */
#define CHECKPOINT_IN_MAX                                                                          \
    (CHECKPOINT_BLOCK_PREFIX + CHECKPOINT_BLOCK_PAGES * 4 + CHECKPOINT_PACKED_MAX + CHECKPOINT_SUM)
_Static_assert(CHECKPOINT_IN_MAX >= CHECKPOINT_HEAD_MAX, "one buffer serves both");

#define CHECKPOINT_NOT_ASKED UINT32_MAX
#define CHECKPOINT_THREADS_MAX 16U

struct checkpoint_entry {
    uint64_t position;
    enum checkpoint_kind kind;
    bool refused;
};

/* What a thread that unpacks has of its own. */
struct checkpoint_unpacker {
    uint8_t *in, *raw; /* [CHECKPOINT_IN_MAX], [CHECKPOINT_BLOCK] */
    ZSTD_DCtx *zstd;
};

struct checkpoint_loader {
    const struct checkpoint_source *from;
    struct area *areas;
    size_t count;
    struct checkpoint_entry *entries; /* newest first */
    size_t entry_count, entry_room;
    bool no_room; /* for an entry */

    size_t *first;   /* [count]: where an area's page hashes lie in `table` */
    uint64_t *table; /* page hashes as of the last file read; 0: not seen yet */
    uint32_t threads;
    struct checkpoint_unpacker unpacker[CHECKPOINT_THREADS_MAX];
    uint8_t *in; /* unpacker[0]'s */

    bool take; /* content goes into the areas; false: heads are looked at */
    struct checkpoint_loaded *out;
    char newest_why[sizeof((struct errmsg *)0)->text];

    /* Of the file being read.  While its blocks are unpacked, whoever has the lock reads the next
     * one; page hashes and areas are written without it, because no two blocks of a file have a
     * page in common. */
    pthread_mutex_t lock;
    bool ended;         /* no block is left, or one of them failed */
    uint64_t bad_block; /* the first that failed; UINT64_MAX: none */
    enum err bad_err;   /* of it */
    struct errmsg *bad_e;
    int handle;
    uint64_t sum, blocks;
    uint64_t state_hash; /* of its end */
    uint32_t file_areas;
    uint32_t area_of[CHECKPOINT_AREAS_MAX]; /* the file's number of an area -> ours, or
                                               CHECKPOINT_NOT_ASKED */
    uint32_t last_area, last_page;
};

/* Reads a file that builds on one of checksum *sum (0: a full one) into the areas, and leaves its
 * own sum there; l->take must be set.  Verifies it on the way: after an error the areas are neither
 * this nor that.  ERR_CORRUPT, ERR_MISMATCH, ERR_IO; e: only why ("it ends too early"). */
FD_MUSTCHECK enum err checkpoint_read_entry(struct checkpoint_loader *l,
                                            const struct checkpoint_entry *entry, uint64_t *sum,
                                            struct errmsg *e);

/* Its head only: which areas it has, in l->from->found. */
FD_MUSTCHECK enum err checkpoint_read_areas(struct checkpoint_loader *l,
                                            const struct checkpoint_entry *entry, struct errmsg *e);

/* Its first bytes only: on what it builds. */
FD_MUSTCHECK enum err checkpoint_peek(struct checkpoint_loader *l,
                                      const struct checkpoint_entry *entry,
                                      struct checkpoint_prefix *out, struct errmsg *e);

#endif
