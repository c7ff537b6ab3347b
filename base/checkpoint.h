/* Crash-safe files of memory areas (base/area.h): a full one now and then, increments between them
 * that hold the pages that changed.  Knows nothing of what the areas mean.
 *
 * Files of a stem lie in one directory, named by a position that rises (20 digits):
 *   world.00000000000000001234.full, world.00000000000000001300.inc
 * A full one and the increments that build on it are a chain.
 *
 * 1. A file under its name is whole and on the disk: it is written as NAME.tmp, synced, renamed,
 * and the directory synced; only then is it reported.
 * 2. An increment names the checksum of the file it builds on; a chain is read only if every link
 *    holds.
 * 3. The table of page hashes that says what changed is exchanged by the owner after (1), never by
 *    the child, so it never claims a page that no file of the chain holds.
 * 4. Chains are deleted only by a newer full one that is on the disk, and the one before it stays.
 * 5. Reading writes to no area before every file of the chain is verified.
 *
 * Bytes of an area are written as they lie in memory: a file is for machines of one byte order (a
 * page size or version of another kind is refused).  Everything else is little-endian.
 *
 *   head      8  magic "fdckpt\r\n"
 *             4  version (1)          4  kind (1 full, 2 increment)
 *             4  place in its chain (0: full)
 *             4  number of areas      4  bytes of the caller's header
 *             4  page size in bytes
 *             8  position             8  position of the file it builds on
 *             8  that file's checksum (both 0: full)
 *             8  checksum of the 56 bytes before
 *   areas     for each: 48 name, zero-padded; 8 bytes in use
 *   header    the caller's
 *             8  checksum
 *   blocks    4  'b'  4  area  4  pages, 1 to 16  4  bytes unpacked  4  bytes packed
 *             4 each: page numbers, rising within the file by (area, page)
 *             one zstd frame of the pages, one behind the other
 *             8  checksum
 *   end       4  'e'  8  number of blocks  8  hash of all areas' sizes and page hashes
 *             8  checksum, that of the whole file; nothing follows
 *
 * A checksum is XXH3-64 of the bytes since the last one, seeded with the last one: it vouches for
 * everything before it, in this order.  It finds accidents, not forgery: whoever can write the
 * directory can write the state. */
#ifndef FD_BASE_CHECKPOINT_H
#define FD_BASE_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/area.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/pool.h"

#define CHECKPOINT_HEADER_MAX 4096U
#define CHECKPOINT_AREAS_MAX 256U
#define CHECKPOINT_NAME_MAX 47U /* bytes of an area's name */
#define CHECKPOINT_STEM_MAX 64U
#define CHECKPOINT_CHAIN_MAX 1024U

enum checkpoint_kind { CHECKPOINT_FULL = 1, CHECKPOINT_INCREMENT = 2 };

struct checkpoint_conf {
    const struct disk *disk; /* kept */
    const char *dir;         /* must exist; copied */
    const char *stem;        /* a-z, 0-9, '_', '-'; copied */
    uint32_t increments_max; /* increments a chain, below CHECKPOINT_CHAIN_MAX; 0: only full ones */
    double increments_share; /* a full one is next once the increments' bytes reach this share of
                                the full one's; > 0 */
    uint64_t kept_from; /* checkpoint_loaded.full_position of the chain that was read, or 0: until a
                           second full one is written, files from this position on stay */
    bool in_process;    /* write inside checkpoint_begin, without a child: tests, simulation */
    int nice; /* of the child, 0 to 19; without effect where the service's system call filter
                 refuses setpriority (@resources) */
};

enum checkpoint_state {
    CHECKPOINT_IDLE,
    CHECKPOINT_RUNNING,
    CHECKPOINT_DONE,  /* said once for each begin */
    CHECKPOINT_FAILED /* said once for each begin */
};

struct checkpoint_result {
    enum checkpoint_kind kind;
    uint64_t position;
    uint64_t file_bytes;
    uint64_t pages_written, pages; /* of CHECKPOINT_PAGE bytes */
    enum err err;                  /* of a failed one */
};

/* The writer of one stem.  One thread, one writer a stem: it removes NAME.tmp files. */
struct checkpoint;

/* Reserves all that writing needs: a child allocates nothing, because another thread may hold the
 * allocator's lock when it is forked.  Names and bytes_max of the areas are what later calls have
 * to bring again; names are copied.  Removes temporary files that a crash left. ERR_INVALID a name,
 * a number; ERR_NOMEM; ERR_NOTFOUND, ERR_REFUSED, ERR_IO the directory. */
FD_MUSTCHECK enum err checkpoint_create(const struct checkpoint_conf *conf,
                                        const struct area *areas, size_t count,
                                        struct checkpoint **out, struct errmsg *e);

/* Kills a child under way and removes its temporary file.  NULL is allowed. */
void checkpoint_free(struct checkpoint *c);

/* Begins to write the areas as they are now, with the caller's header (copied).  Forks and returns;
 * the caller goes on changing the areas.  The child dies with the thread that called.
 * ERR_REFUSED one is under way; ERR_INVALID areas of another layout, a header too long, a position
 * not above the last one written; ERR_NOMEM the fork failed.  What fails later, checkpoint_poll
 * says. */
FD_MUSTCHECK enum err checkpoint_begin(struct checkpoint *c, uint64_t position,
                                       const struct area *areas, const void *header,
                                       size_t header_bytes, struct errmsg *e);

/* How it stands; does not wait.  DONE and FAILED fill out_result, FAILED also e; after FAILED the
 * next one is made as if it had not begun.  (A file whose folder could not be synced stays: it is
 * whole, and may be what is read after a crash.) */
enum checkpoint_state checkpoint_poll(struct checkpoint *c, struct checkpoint_result *out_result,
                                      struct errmsg *e);
/* The same, but waits for the end of one under way. */
enum checkpoint_state checkpoint_wait(struct checkpoint *c, struct checkpoint_result *out_result,
                                      struct errmsg *e);

/* The child's process id, 0 without one.  For tests. */
int checkpoint_pid(const struct checkpoint *c);

struct checkpoint_source {
    const struct disk *disk;
    const char *dir;
    const char *stem;
    uint64_t position_max; /* the newest at or below it; UINT64_MAX: the newest */
    /* [areas] or NULL.  Not NULL: only what is at exactly position_max is read, and it may have
     * other areas than those asked for: they are passed over, and what it lacks stays as it is. Set
     * for each area that was there.  That all pages of all areas are there is then known for these
     * only; checksums hold for all of it. */
    bool *found;
    /* Unpacks with all its threads, at most 16; NULL: the caller alone.  What is read, and what is
     * refused and why, is the same. */
    struct pool *pool;
    /* Told of each file that is not used, newest first: its name and why.  NULL: nobody. */
    void (*refused)(void *arg, const char *name, const char *why);
    void *arg;
};

struct checkpoint_loaded {
    uint64_t position;
    uint64_t full_position; /* of the chain's full one: see checkpoint_conf.kept_from */
    uint32_t files;         /* of the chain, so far as it was read */
    size_t header_bytes;
    uint8_t header[CHECKPOINT_HEADER_MAX];
};

/* Reads the newest whole, intact chain into the areas and sets their `bytes`; what an area held
 * beyond them is zeroed.  A file that is torn, corrupt or builds on such a one is told to
 * `refused`, and the one before it is tried.  Memory: about 1 MiB a thread, and 8 bytes for each
 * page of the areas.
 *
 * ERR_NOTFOUND  there is none
 *
 * ERR_CORRUPT  there are, and none is usable (e: why the newest is not)
 *
 * ERR_MISMATCH  an intact one does not fit: another version, areas of other names, an area above
 * its bytes_max.  An older one is not tried: nothing is broken that it could mend
 *
 * ERR_IO, ERR_REFUSED, ERR_NOMEM
 *
 * After an error the areas that a file had are empty (zeroed, no bytes), or as they were where none
 * was begun to be read. */
FD_MUSTCHECK enum err checkpoint_load(const struct checkpoint_source *from, struct area *areas,
                                      size_t count, struct checkpoint_loaded *out,
                                      struct errmsg *e);

/* Which of the areas (names and bytes_max count) the file at exactly from->position_max has, by its
 * head: from->found, which must be there.  Errors as checkpoint_load. */
FD_MUSTCHECK enum err checkpoint_look(const struct checkpoint_source *from, struct area *areas,
                                      size_t count, struct errmsg *e);

/* Calls visit with the position of every file, in no order, some twice.  ERR_NOTFOUND: no such
 * directory; ERR_IO, ERR_REFUSED. */
FD_MUSTCHECK enum err checkpoint_positions(const struct checkpoint_source *from,
                                           void (*visit)(void *arg, uint64_t position), void *arg,
                                           struct errmsg *e);

#endif
