/* Worker threads: runs numbered items of a job, each once, by whichever thread is
 * free.  Which thread takes an item must not change its result: that is what keeps training and
 * reading repeatable for every number of threads. */
#ifndef FD_BASE_POOL_H
#define FD_BASE_POOL_H

#include <stdint.h>

#include "base/err.h"

struct pool;

#define POOL_THREADS_MAX 64

/* threads: 1 to POOL_THREADS_MAX, the caller's own included (it works as worker 0). */
FD_MUSTCHECK enum err pool_create(uint32_t threads, struct pool **out, struct errmsg *e);
void pool_free(struct pool *p);
uint32_t pool_threads(const struct pool *p);

/* Calls fn(ctx, worker, item) for item 0 .. items - 1 and returns when all are done.  worker < the
 * number of threads: index of per-thread scratch.  One caller at a time. */
void pool_run(struct pool *p, uint32_t items, void (*fn)(void *ctx, uint32_t worker, uint32_t item),
              void *ctx);

#endif
