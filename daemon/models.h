/* Which models are in force: what the notices below a position of the notices topic amount to.
 *
 *   model   by promotion, rollback or a reload: it is champion.  The champion until then goes on in
 *           shadow, so that it can come back at once; but not the one that a process brought from
 *           its own file, before any notice said which it is.
 *   shadow  it is in shadow, in the place of another; without effect before the first `model`.
 *   end     the one in shadow ends.
 *
 * Invariants
 *  1. A pure function of the notices in their order: every process that has read up to a position
 *     has the same models there.
 *  2. The two are never the same.
 * Plain values; any thread. */
#ifndef FD_DAEMON_MODELS_H
#define FD_DAEMON_MODELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/pipeline.h"

struct models {
    struct pipeline_models at;
    bool told;         /* a notice has named the champion */
    bool former;       /* the one in shadow was champion */
    int64_t notice;    /* that put it into shadow */
    int64_t notice_us; /* that notice's time, as the log has it */
};

enum models_kind { MODELS_CHAMPION, MODELS_SHADOW, MODELS_END };

struct models_notice {
    enum models_kind kind;
    int64_t offset, timestamp_us; /* of the notice's last part */
    struct model *model;          /* NULL where kind is END */
    uint64_t hash;                /* END: of the model that ends */
    int64_t began;                /* END: the notice that put it into shadow; -1: any */
};

void models_take(struct models *m, const struct models_notice *n);

/* The text of an end's notice, "fraudd-shadow 1", "end HASH NOTICE", words apart by tabs; returns
 * its length. */
#define MODELS_END_MAX 80
size_t models_write_end(uint64_t hash, int64_t began, char out[MODELS_END_MAX]);
/* ERR_CORRUPT it is none; out is unchanged. */
FD_MUSTCHECK enum err models_read_end(const char *text, size_t len, struct models_notice *out,
                                      struct errmsg *e);

#endif
