/* What a crash-safe writer asks of a disk, as functions, so that a test can put a failing disk in
 * the real one's place.
 *
 * Every function returns a negative errno value for a failure.  The real disk's functions allocate
 * nothing and take no lock: a forked child of a process with threads may call them. */
#ifndef FD_BASE_DISK_H
#define FD_BASE_DISK_H

#include <stddef.h>
#include <sys/types.h>

enum disk_open {
    DISK_READ,
    DISK_CREATE /* write-only; empties a file that is there */
};

struct disk {
    void *ctx;
    /* A handle >= 0. */
    int (*open)(void *ctx, const char *path, enum disk_open how);
    /* Number of bytes, perhaps fewer than asked; of read, 0: the end. */
    ssize_t (*read)(void *ctx, int handle, void *out, size_t len_bytes);
    ssize_t (*write)(void *ctx, int handle, const void *bytes, size_t len_bytes);
    /* After it returns 0 the file's bytes survive a loss of power. */
    int (*sync)(void *ctx, int handle);
    /* The handle is gone whatever it returns. */
    int (*close)(void *ctx, int handle);
    /* Atomic; it survives a loss of power after sync_dir. */
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*unlink)(void *ctx, const char *path);
    int (*sync_dir)(void *ctx, const char *dir);
    /* Calls visit with every name in dir; visit may unlink the file that it was called with. */
    int (*list)(void *ctx, const char *dir, void (*visit)(void *arg, const char *name), void *arg);
};

/* The machine's own. */
extern const struct disk DISK_REAL;

/* Writes or reads all of len_bytes, in as many calls as it takes.  0, or a negative errno value;
 * disk_read_all returns the number of bytes, fewer than asked only at the end of the file. */
int disk_write_all(const struct disk *d, int handle, const void *bytes, size_t len_bytes);
ssize_t disk_read_all(const struct disk *d, int handle, void *out, size_t len_bytes);

#endif
