#include "daemon/state_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

void state_folder_place(const struct state_folder *f, unsigned place, char *out)
{
    snprintf(out, PATH_MAX, "%s/%02u", f->dir, place);
}

static enum err refused(const char *path, struct errmsg *e)
{
    return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_REFUSED,
                   "cannot use state.dir: %s: %s; make it and let this user write to it, or leave "
                   "state.dir empty",
                   path, strerror(errno));
}

/* The name that the lock's file has, or a new one.  A disk that is full or broken must not keep us
 * from starting: then there is none. */
static void name_place(struct state_folder *f)
{
    uint8_t drawn[STATE_MEMBER_CHARS / 2];
    ssize_t n = pread(f->lock, f->member, STATE_MEMBER_CHARS, 0);
    f->member[n > 0 ? n : 0] = '\0';
    if (strspn(f->member, "0123456789abcdef") == STATE_MEMBER_CHARS) {
        return;
    }
    f->member[0] = '\0';
    if (getrandom(drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn) {
        return;
    }
    for (size_t i = 0; i < sizeof drawn; i++) {
        snprintf(f->member + 2 * i, 3, "%02x", drawn[i]);
    }
    if (ftruncate(f->lock, 0) != 0 ||
        pwrite(f->lock, f->member, STATE_MEMBER_CHARS, 0) != STATE_MEMBER_CHARS) {
        f->member[0] = '\0';
    }
}

/* ERR_FULL: another process is there. */
static enum err try_place(struct state_folder *f, unsigned place, struct errmsg *e)
{
    char path[PATH_MAX + 8];
    f->place = place;
    state_folder_place(f, place, f->own);
    if (mkdir(f->own, 0750) != 0 && errno != EEXIST) {
        return refused(f->own, e);
    }
    snprintf(path, sizeof path, "%s/lock", f->own);
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (f->lock < 0) {
        return refused(path, e);
    }
    if (flock(f->lock, LOCK_EX | LOCK_NB) == 0) {
        name_place(f);
        return ERR_OK;
    }
    enum err err = errno == EWOULDBLOCK ? ERR_FULL : refused(path, e);
    state_folder_leave(f);
    return err;
}

static enum err name_folder(struct state_folder *f, const char *dir, struct errmsg *e)
{
    *f = (struct state_folder){.place = STATE_PLACES_MAX, .lock = -1};
    return (size_t)snprintf(f->dir, sizeof f->dir, "%s", dir) < sizeof f->dir
               ? ERR_OK
               : err_set(e, ERR_INVALID, "state.dir is too long: %s", dir);
}

enum err state_folder_read(struct state_folder *f, const char *dir, struct errmsg *e)
{
    enum err err = name_folder(f, dir, e);
    f->read_only = true;
    return err;
}

enum err state_folder_take(struct state_folder *f, const char *dir, struct errmsg *e)
{
    enum err named = name_folder(f, dir, e);
    if (named != ERR_OK) {
        return named;
    }
    for (unsigned place = 0; place < STATE_PLACES_MAX; place++) {
        enum err err = try_place(f, place, e);
        if (err != ERR_FULL) {
            return err;
        }
    }
    return err_set(e, ERR_FULL,
                   "all %d places of state.dir %s are taken by other processes; give this one a "
                   "folder of its own",
                   STATE_PLACES_MAX, dir);
}

void state_folder_leave(struct state_folder *f)
{
    if (f->lock >= 0) {
        close(f->lock);
    }
    f->lock = -1;
}
