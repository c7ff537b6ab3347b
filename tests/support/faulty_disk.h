/* A disk in memory that fails as asked: base/disk.h for tests and fault simulation.  One thread,
 * one directory: names are whole paths, and sync_dir is for all of them.
 *
 * What a crash leaves is drawn from the seed: of a file, what was synced, then a random part of the
 * rest with sectors of zeros in it; of creating, renaming and deleting since the last sync_dir,
 * each with a chance of a half, whatever their order. */
#ifndef FD_TESTS_SUPPORT_FAULTY_DISK_H
#define FD_TESTS_SUPPORT_FAULTY_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/disk.h"
#include "base/rng.h"

struct faulty_disk {
    struct disk disk; /* what is tested takes &f->disk */
    /* set by the test */
    uint64_t crash_at; /* this operation is the last, perhaps done by half; 0: never */
    uint64_t fail_at;  /* this operation fails; 0: none */
    int fail_errno;    /* .. with this errno */
    uint64_t room;     /* bytes that may still be written; UINT64_MAX at the start */
    bool short_writes; /* a write takes a part of its bytes */
    /* read by the test */
    uint64_t operations; /* done so far: the first is number 1 */
    bool crashed;        /* every operation fails until faulty_disk_restart */
    /* inside */
    struct rng rng;
    struct faulty_inside *inside;
};

void faulty_disk_init(struct faulty_disk *f, uint64_t seed);
void faulty_disk_done(struct faulty_disk *f);

/* The machine loses power (if it has not yet) and starts again: faults are off. */
void faulty_disk_restart(struct faulty_disk *f);

/* The process that crashed is gone, the machine went on: all that was done is there. */
void faulty_disk_wake(struct faulty_disk *f);

/* A file's bytes, to look at or to spoil; NULL: no such file.  Good until the next operation. */
uint8_t *faulty_disk_bytes(struct faulty_disk *f, const char *path, size_t *out_len_bytes);
/* Puts a file there, on the disk for good. */
void faulty_disk_put(struct faulty_disk *f, const char *path, const void *bytes, size_t len_bytes);
void faulty_disk_remove(struct faulty_disk *f, const char *path);
/* How many names end so. */
size_t faulty_disk_count(const struct faulty_disk *f, const char *suffix);

#endif
