/* Who is champion and who is in shadow: changed in the registry and told to the scoring processes
 * by the notices topic, together.
 *
 * The change of the registry is committed when the brokers have the notice.  Where that commit
 * fails the error says so, and doing it again is harmless. */
#ifndef FD_DAEMON_MODEL_ROLES_H
#define FD_DAEMON_MODEL_ROLES_H

#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "storage/registry.h"

/* Borrowed all. */
struct roles {
    const struct conf *conf; /* the daemons' settings */
    struct db *db;
    const char *who;    /* for the audit */
    int64_t timeout_us; /* how long to wait for the brokers */
};

/* Sends a model, kind "model" or "shadow", and commits the SQL transaction that is open.
 * Errors as deliver_model and those of the registry; the transaction is still open then. */
FD_MUSTCHECK enum err roles_install(const struct roles *r, const char *version, const char *kind,
                                    struct errmsg *e);
/* Puts a model into shadow; before: the challenger until now, empty where there was no other.
 * Errors as roles_install; nothing is changed then. */
FD_MUSTCHECK enum err roles_shadow(const struct roles *r, const char *version, char before[32],
                                   struct errmsg *e);
/* Takes it out of shadow. */
FD_MUSTCHECK enum err roles_unshadow(const struct roles *r, const char *version, struct errmsg *e);

#endif
