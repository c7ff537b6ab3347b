/* A few hundred steps for callgrind to count (step_instructions.sh runs it).
 *
 *   bench_instructions experts|dense KERNEL
 *
 * experts: the product's network; dense: one expert that is always chosen, of the same size in all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_format.h"
#include "tests/support/net_twin.h"

#define BATCH 32U
#define BATCHES 16U /* the first ones fill the windows, and cost less */
#define COLUMNS 128U

static struct net_shape shape_of(const char *name)
{
    struct net_shape s;
    net_shape_default(&s, COLUMNS, 0);
    if (strcmp(name, "dense") == 0) {
        s.expert_hidden *= s.experts;
        s.experts = s.top = 1;
    }
    return s;
}

static void check(enum err err, const struct errmsg *e)
{
    if (err != ERR_OK) {
        fprintf(stderr, "%s\n", e->text);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        printf("counted by callgrind: tests/bench/step_instructions.sh\n");
        return 0;
    }
    struct net_shape s = shape_of(argv[1]);
    struct train_result *r = twin_random(&s, COLUMNS, 20, 1);
    struct model_lineage lineage = {.data_until_us = 1};
    struct model *m = NULL;
    struct model_work *w = NULL;
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct errmsg e = {"this CPU lacks that kernel"};
    check(model_use_kernel(argv[2]), &e);
    check(model_pack(r, &lineage, &bytes, &len, &e), &e);
    check(model_load(bytes, len, &m, &e), &e);
    check(model_work_create(m, BATCH, &w, &e), &e);
    float *x = malloc((size_t)BATCH * COLUMNS * sizeof *x);
    char *caches = aligned_alloc(64, BATCH * model_cache_bytes(m));
    if (x == NULL || caches == NULL) {
        check(err_set(&e, ERR_NOMEM, "no memory"), &e);
    }
    memset(caches, 0, BATCH * model_cache_bytes(m));
    for (uint32_t k = 0; k < s.window + BATCHES; k++) {
        void *cache[BATCH];
        int64_t at[BATCH];
        float logit[BATCH];
        twin_rows(r, k, BATCH, x);
        for (uint32_t i = 0; i < BATCH; i++) {
            cache[i] = caches + i * model_cache_bytes(m);
            at[i] = INT64_C(1700000000000000) + k * INT64_C(40000000000);
        }
        model_step(m, w, BATCH, x, at, cache, logit);
    }
    printf("steps %u\n", (s.window + BATCHES) * BATCH);
    free(x);
    free(caches);
    free(bytes);
    model_work_free(w);
    model_free(m);
    twin_free(r);
    return 0;
}
