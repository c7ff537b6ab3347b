/* The folder in which the processes of one group keep their state (state.dir): each takes a place
 * of its own in it, a subfolder 00, 01, .. with a lock, and reads those of all others, so that a
 * partition's state is there for whoever gets the partition.  A lock ends with its process.
 *
 * Each place has a name, drawn once and kept in the lock's file: as its member of the consumer
 * group whoever has the place gets the partitions of whoever had it, without a rebalance. */
#ifndef FD_DAEMON_STATE_FOLDER_H
#define FD_DAEMON_STATE_FOLDER_H

#include <limits.h>
#include <stdbool.h>

#include "base/disk.h"
#include "base/err.h"

#define STATE_PLACES_MAX 256
#define STATE_MEMBER_CHARS 32 /* hexadecimal */

struct state_folder {
    char dir[PATH_MAX - 16];
    unsigned place;                      /* ours */
    char own[PATH_MAX];                  /* its path */
    int lock;                            /* < 0: none */
    char member[STATE_MEMBER_CHARS + 1]; /* our place's name; "": it could not be kept */
    bool read_only;                      /* no place is ours: what others keep is read */
    /* NULL: the machine's, written by a child.  Else this one, written at once: a simulation. */
    const struct disk *disk;
};

/* Takes the first free place.  ERR_NOTFOUND, ERR_REFUSED the folder cannot be used; ERR_FULL all
 * places are taken. */
FD_MUSTCHECK enum err state_folder_take(struct state_folder *f, const char *dir, struct errmsg *e);
/* Takes none: for reading what others keep.  ERR_INVALID the path is too long. */
FD_MUSTCHECK enum err state_folder_read(struct state_folder *f, const char *dir, struct errmsg *e);
void state_folder_leave(struct state_folder *f);

/* Path of a place, there or not; out: [PATH_MAX]. */
void state_folder_place(const struct state_folder *f, unsigned place, char *out);

#endif
