/* The audit trail and its chain of hashes (sql/0007_audit.sql).  One thread.
 *
 * ERR_UNAVAILABLE the database; ERR_REFUSED the user may not read it. */
#ifndef FD_STORAGE_AUDIT_H
#define FD_STORAGE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

#define AUDIT_HASH_TEXT 65 /* SHA-256 in hexadecimal, and a zero */

/* An entry of the chain: its number (from 1; 0: the chain is empty) and hash. */
struct audit_anchor {
    int64_t seq;
    char hash[AUDIT_HASH_TEXT];
};

enum audit_finding {
    AUDIT_INTACT,
    AUDIT_ALTERED,  /* a row is not what was chained: changed, or in another one's place */
    AUDIT_REMOVED,  /* a chained row is not there */
    AUDIT_GAP,      /* entries of the chain are not there, or not in their order */
    AUDIT_FOREIGN,  /* a row came in beside the chain */
    AUDIT_CUT_OFF,  /* the chain ends before an anchor */
    AUDIT_REWRITTEN /* the chain has another hash than an anchor */
};

/* What was found first. */
struct audit_report {
    enum audit_finding finding;
    int64_t rows;             /* chained */
    struct audit_anchor head; /* the chain's last entry */
    int64_t seq;              /* where; 0: not in the chain */
    int64_t id;               /* the row's; 0: not known */
};

/* What to list; NULL: any. */
struct audit_filter {
    const char *who, *what, *object;
    int64_t limit;
};

/* Chains rows that are not yet, one batch; *out_count: how many.  Where another session is
 * chaining: waits for its turn, or else chains none. */
FD_MUSTCHECK enum err audit_seal(struct db *d, bool wait, int64_t *out_count, struct errmsg *e);

/* Chains what waits, then looks at every row and entry, and whether the anchors [n] are in the
 * chain; the first finding counts, the chain's before the anchors'.  What is computed is said here
 * and not by functions of the database, which might have been altered with the rows. */
FD_MUSTCHECK enum err audit_verify(struct db *d, const struct audit_anchor *anchors, size_t n,
                                   struct audit_report *out, struct errmsg *e);

/* Something sent by the notices topic. */
struct audit_notice {
    const char *who, *what, *object;
    const char *text; /* NULL: too long */
    uint64_t changes, hash;
};
/* Adds a row in the transaction that is open, or one of its own. */
FD_MUSTCHECK enum err audit_note(struct db *d, const struct audit_notice *n, struct errmsg *e);

/* The same for what no notice carried, in words. */
FD_MUSTCHECK enum err audit_words(struct db *d, const char *who, const char *what,
                                  const char *object, const char *words, struct errmsg *e);

/* The newest first: seq (NULL: not yet chained), id, at, who, role, what, object, detail. */
FD_MUSTCHECK enum err audit_list(struct db *d, const struct audit_filter *f, struct db_rows **out,
                                 struct errmsg *e);

#endif
