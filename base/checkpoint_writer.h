/* A writer of checkpoints from inside: what its owner (checkpoint_write.c) prepares and its child
 * (checkpoint_child.c) reads and fills.
 *
 * Between fork and _exit nothing allocates, locks or uses stdio: buffers and paths are made before,
 * zstd works in memory given to it (ZSTD_initStaticCCtx), the disk's functions are system calls. */
#ifndef FD_BASE_CHECKPOINT_WRITER_H
#define FD_BASE_CHECKPOINT_WRITER_H

#include <limits.h>
#include <sys/types.h>
#include <zstd.h>

#include "base/checkpoint_format.h"

/* Of zstd: on the state of 50,000 cards -1 packs a fifth and unpacks a third faster than 1, for 4 %
 * more bytes. */
#define CHECKPOINT_LEVEL (-1)
#define CHECKPOINT_OUT_MAX                                                                         \
    (CHECKPOINT_BLOCK_PREFIX + CHECKPOINT_BLOCK_PAGES * 4 + ZSTD_COMPRESSBOUND(CHECKPOINT_BLOCK) + \
     CHECKPOINT_SUM)

enum checkpoint_step {
    STEP_BEGUN, /* the child did not get as far as to say anything */
    STEP_CREATE,
    STEP_WRITE,
    STEP_PACK,
    STEP_SYNC,
    STEP_CLOSE,
    STEP_RENAME,
    STEP_SYNC_DIR,
    STEP_DONE
};

/* What the child leaves for the owner, in shared memory. */
struct checkpoint_outcome {
    enum checkpoint_step step; /* the one that failed, or STEP_DONE */
    int errnum;
    uint64_t sum;
    uint64_t file_bytes;
    uint64_t pages_written, pages;
};

/* The newest durable file. */
struct checkpoint_tip {
    bool exists;
    uint64_t position;
    uint64_t sum;
    uint32_t place;
    uint64_t full_bytes, increments_bytes;
};

struct checkpoint {
    struct checkpoint_conf conf;
    char dir[PATH_MAX];
    char stem[CHECKPOINT_STEM_MAX + 1];
    uint64_t kept_from; /* the next full one deletes what lies before */

    size_t count;
    struct area *areas; /* [count]; `at` and `bytes` as of the last begin */
    char (*names)[CHECKPOINT_NAME_MAX + 1];
    size_t *first;         /* [count]: where its page hashes lie in the tables */
    size_t *durable_pages; /* [count]: pages whose hashes in table `now` are of the tip */
    size_t page_count;     /* a table's length */

    size_t shared_bytes;
    struct checkpoint_outcome *outcome; /* shared with the child, as are the tables */
    uint64_t *table[2];
    int now; /* table[now]: hashes of the tip; the other: of the file being written */
    struct checkpoint_tip tip;

    enum checkpoint_state state;
    pid_t child;
    struct checkpoint_prefix prefix; /* of the file being written */
    size_t head_bytes;
    uint64_t head_sum;
    char temporary[CHECKPOINT_PATH], path[CHECKPOINT_PATH];

    uint8_t *head, *raw, *out; /* [CHECKPOINT_HEAD_MAX], [CHECKPOINT_BLOCK], [CHECKPOINT_OUT_MAX] */
    void *zstd_memory;
    ZSTD_CCtx *zstd;

    /* of checkpoint_write_file */
    int handle;
    uint64_t sum, blocks;
    uint32_t block_pages;
    size_t block_bytes;
    uint32_t page[CHECKPOINT_BLOCK_PAGES];
};

/* Writes the file that is prepared, in this process: true and STEP_DONE, or false and what failed.
 * A file that is renamed but whose directory cannot be synced stays: it is whole, and nothing
 * builds on it. */
bool checkpoint_write_file(struct checkpoint *c);

/* The same as a child of `owner`, which has blocked all signals. */
_Noreturn void checkpoint_child_main(struct checkpoint *c, pid_t owner);

/* Deletes a name in the folder; a failure is left to the next time. */
void checkpoint_unlink(const struct checkpoint *c, const char *name);

#endif
