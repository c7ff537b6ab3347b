/* The model registry: every trained model with its training state, lineage and measures, and which
 * one is champion (sql/0004_models.sql).  Every change is audited in its own SQL transaction,
 * except where the caller has begun one.
 *
 * ERR_NOTFOUND there is no such model; ERR_REFUSED the registry says no, and why. */
#ifndef FD_STORAGE_REGISTRY_H
#define FD_STORAGE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/model.h"
#include "storage/db.h"

/* A model's bytes; registry_bytes_done frees. */
struct registry_bytes {
    uint8_t *model;
    size_t model_len;
    uint8_t *state; /* training state; NULL: none */
    size_t state_len;
};

/* Adds a model as candidate.  lineage and hash (model_hash) are those of bytes->model.  One that is
 * there already is left as it is (*out_new false).
 * ERR_REFUSED another model has this version. */
FD_MUSTCHECK enum err registry_add(struct db *d, const struct registry_bytes *bytes,
                                   const struct model_lineage *lineage, uint64_t hash,
                                   const char *who, bool *out_new, struct errmsg *e);

/* The newest first: version, state, data_until, parent, rows, frauds, auc, ap, created, promoted,
 * shadowed. */
FD_MUSTCHECK enum err registry_list(struct db *d, struct db_rows **out, struct errmsg *e);
/* One row: state, created, promoted, retired, shadowed. */
FD_MUSTCHECK enum err registry_row(struct db *d, const char *version, struct db_rows **out,
                                   struct errmsg *e);
/* The model in shadow. */
struct registry_challenger {
    char version[32];
    double shadow_s;  /* since then */
    char missed[512]; /* the latest bound that outcomes missed in the time asked about; "": none */
};
/* ERR_NOTFOUND: none is. */
FD_MUSTCHECK enum err registry_challenger(struct db *d, int64_t within_us,
                                          struct registry_challenger *out, struct errmsg *e);
/* Whether a model is a candidate that was never in shadow. */
FD_MUSTCHECK enum err registry_is_untried(struct db *d, const char *version, bool *out,
                                          struct errmsg *e);
/* Version of the model in service.  ERR_NOTFOUND: none is. */
FD_MUSTCHECK enum err registry_champion(struct db *d, char out_version[32], struct errmsg *e);
FD_MUSTCHECK enum err registry_read(struct db *d, const char *version, struct registry_bytes *out,
                                    struct errmsg *e);
void registry_bytes_done(struct registry_bytes *b);

/* A change of champion, or of who is in shadow, is one SQL transaction of several calls, so that it
 * can be undone where the model does not reach the brokers: begin, promote, .., then commit or
 * undo. */
FD_MUSTCHECK enum err registry_begin(struct db *d, struct errmsg *e);
/* out_before: the champion until now, empty where there was no other. */
FD_MUSTCHECK enum err registry_promote(struct db *d, const char *version, const char *who,
                                       char out_before[32], struct errmsg *e);
/* out_version: who is champion again. */
FD_MUSTCHECK enum err registry_rollback(struct db *d, const char *who, char out_version[32],
                                        struct errmsg *e);
/* A model goes into shadow (out_before: the challenger until now, empty where there was no other),
 * or out of it (sql/0014_promotion.sql). */
FD_MUSTCHECK enum err registry_shadow(struct db *d, const char *version, const char *who,
                                      char out_before[32], struct errmsg *e);
FD_MUSTCHECK enum err registry_unshadow(struct db *d, const char *version, const char *who,
                                        struct errmsg *e);
/* Notes in the audit trail why a model is promoted before its caches are complete. */
FD_MUSTCHECK enum err registry_note_incomplete(struct db *d, const char *version, const char *who,
                                               const char *why, struct errmsg *e);
FD_MUSTCHECK enum err registry_commit(struct db *d, struct errmsg *e);
void registry_undo(struct db *d);

#endif
