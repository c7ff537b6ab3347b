/* The served model: an immutable INT8 network with its encoding and calibration, and the streaming
 * step that scores one event of a card from the card's latent cache.
 *
 * A row's logit depends on the row and its card's cache only: integer accumulation, and float
 * operations in one fixed order on every kernel (scalar, AVX2, AVX-512 VNNI), so the same bytes
 * come out whatever the batch, the neighbours, the thread or the CPU.  No BLAS, no libm on this
 * path. */
#ifndef FD_MODEL_MODEL_H
#define FD_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/net.h"
#include "model/stability.h"

struct model;
struct model_work; /* scratch of one thread */

/* Where a model comes from; stored in its file. */
struct model_lineage {
    char version[32];      /* such as "20260401-8f3a12cd": until date and content hash */
    char parent[32];       /* the model it was updated from, or empty */
    int64_t data_from_us;  /* first and last event of the fit */
    int64_t data_until_us; /* no row at or after this was read */
    uint64_t rows_hash;    /* of the training rows */
    uint64_t rows, frauds;
    uint64_t seed;
    uint64_t schema_hash; /* features/schema.h */
    int64_t maturity_us;  /* the feature parameters, to say in words what the hash covers */
    float blame_ratio, blame_tail;
    uint32_t rates_version;
    char code_version[48];
    char blas_core[32];
    double holdout_auc, holdout_ap, holdout_brier; /* on the held-out week; NAN where none */
    float score_share[SCORE_BANDS]; /* its payments by score (stability.h); all 0: not known */
};

/* Reads a model file's bytes (model_format.h describes them).  Borrows; returns an owned model.
 * ERR_CORRUPT any byte differs from what was written, or a number is out of its range, whoever
 * wrote it: a model that loads gives finite logits for every input. ERR_MISMATCH an unknown format
 * version;  ERR_NOMEM */
FD_MUSTCHECK enum err model_load(const void *bytes, size_t len_bytes, struct model **out,
                                 struct errmsg *e);
void model_free(struct model *m);

const struct net_shape *model_shape(const struct model *m);
const struct model_lineage *model_lineage(const struct model *m);
const struct net_encoding *model_encoding(const struct model *m);
/* Hash of the file's bytes: the identity of these very weights. */
uint64_t model_hash(const struct model *m);
/* Whether both are there and are the same model. */
bool model_same(const struct model *a, const struct model *b);

/* One card's latent cache: this many bytes, 64-byte aligned, all zero means empty.  It carries the
 * identity of the model that wrote it; a step of another model starts it afresh. */
size_t model_cache_bytes(const struct model *m);
/* The same for a shape that no model has yet; 0 where no model may have it. */
size_t model_cache_bytes_for(const struct net_shape *shape);

/* Tells a card's cache of the event that was just stepped.  first: it is the card's first one;
 * in_order: no event of the card so far was later. */
void model_cache_saw(const struct model *m, void *cache, bool first, bool in_order);
/* Whether the card's next events get the scores that they would get had this model seen all of its
 * events: it has, or more of the latest than the attention can reach. */
bool model_cache_complete(const struct model *m, const void *cache);
/* How many of the latest events in order make a cache complete. */
uint32_t model_cache_needs(const struct model *m);
/* Whether this model has seen any of the card's events. */
bool model_cache_begun(const struct model *m, const void *cache);

/* Scratch of one thread for batches of up to batch_max events.  Borrows m until it is freed.
 * ERR_INVALID batch_max is 0;  ERR_NOMEM */
FD_MUSTCHECK enum err model_work_create(const struct model *m, size_t batch_max,
                                        struct model_work **out, struct errmsg *e);
void model_work_free(struct model_work *w);

/* Scores n events of n different cards and adds each to its card's cache (in the place of its event
 * time; ties after those there; one older than all of a full cache is scored and not kept).
 *   x: [n, columns] raw feature values, row-major;  event_us: [n];  cache: [n], all different
 *   out_logit: [n].  A value that is not finite becomes its column's mean, so every logit is
 * finite. n <= batch_max.  Borrows everything; `w` belongs to one thread, `m` may be shared. */
void model_step(const struct model *m, struct model_work *w, size_t n, const float *x,
                const int64_t *event_us, void *const *cache, float *out_logit);

/* Calibrated probability of a logit, in (0, 1), strictly increasing. */
double model_probability(const struct model *m, double logit);

/* Groups of columns to attribute a logit to. */
struct model_groups {
    const uint8_t *of; /* [columns] the group of each, < count */
    size_t count;
    const float *normal; /* [columns] the card's usual row; NULL: the training means */
};

/* How far each group of columns moved the logit of the event that was just scored: the row is
 * encoded again with one group's columns at their normal values and the step repeated on a copy of
 * the cache without this event.  A group that is at normal already gets exactly 0.  Call it after
 * the event's model_step, before the card's next one.
 *   x: [columns];  cache: the card's, with the event in it, or one that did not keep it
 *   out: [g->count] logit minus logit without the group
 * Allocates nothing. */
void model_attribute(const struct model *m, struct model_work *w, const float *x, int64_t event_us,
                     const void *cache, const struct model_groups *g, float *out);

/* Name of the kernels in use: "scalar", "avx2" or "avx512vnni".  model_use_kernel chooses one by
 * name for tests and benchmarks (ERR_NOTFOUND: this CPU lacks it); process-wide, before threads
 * start. */
const char *model_kernel_name(void);
FD_MUSTCHECK enum err model_use_kernel(const char *name);

#endif
