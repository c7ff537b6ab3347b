/* Invariants
 *  1. The counters are read and written under the mutex only; fn and ctx stay while items are left.
 *  2. items is 0 between jobs: a worker that wakes late finds nothing to take. */
#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct worker {
    struct pool *pool;
    pthread_t thread;
    uint32_t index;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    void (*fn)(void *ctx, uint32_t worker, uint32_t item);
    void *ctx;
    uint32_t items, next, left;
    bool stop;
    uint32_t threads, started;
    struct worker worker[POOL_THREADS_MAX];
};

/* Takes items until none is left.  Called and returns with the lock held. */
static void take_items(struct pool *p, uint32_t worker)
{
    while (p->next < p->items) {
        uint32_t item = p->next++;
        pthread_mutex_unlock(&p->lock);
        p->fn(p->ctx, worker, item);
        pthread_mutex_lock(&p->lock);
        if (--p->left == 0) {
            pthread_cond_broadcast(&p->done);
        }
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        take_items(p, w->index);
        if (!p->stop) {
            pthread_cond_wait(&p->work, &p->lock);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

enum err pool_create(uint32_t threads, struct pool **out, struct errmsg *e)
{
    if (threads < 1 || threads > POOL_THREADS_MAX) {
        return err_set(e, ERR_INVALID, "%u worker threads are not allowed; give 1 to %d", threads,
                       POOL_THREADS_MAX);
    }
    struct pool *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for worker threads");
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    p->threads = threads;
    p->started = 1;
    while (p->started < threads) {
        struct worker *w = &p->worker[p->started];
        w->pool = p;
        w->index = p->started;
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            enum err rc =
                err_set(e, ERR_NOMEM, "could not start worker thread %u of %u; give fewer",
                        w->index + 1, threads);
            pool_free(p);
            return rc;
        }
        p->started++;
    }
    *out = p;
    return ERR_OK;
}

void pool_free(struct pool *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 1; i < p->started; i++) {
        pthread_join(p->worker[i].thread, NULL);
    }
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

uint32_t pool_threads(const struct pool *p)
{
    return p->threads;
}

void pool_run(struct pool *p, uint32_t items, void (*fn)(void *ctx, uint32_t worker, uint32_t item),
              void *ctx)
{
    if (items == 0) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->ctx = ctx;
    p->items = items;
    p->next = 0;
    p->left = items;
    pthread_cond_broadcast(&p->work);
    take_items(p, 0);
    while (p->left > 0) {
        pthread_cond_wait(&p->done, &p->lock);
    }
    p->items = 0;
    p->next = 0;
    pthread_mutex_unlock(&p->lock);
}
