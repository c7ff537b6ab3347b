/* Any bytes as a model file or training state, with a checksum that fits so that what lies behind
 * it is reached: it is refused, or the model gives finite logits for hostile rows. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "model/model_format.h"
#include "model/train.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void step(const struct model *m)
{
    static const float evil[] = {0, 1e30F, -1e30F, NAN, INFINITY, 1};
    struct model_work *w = NULL;
    struct errmsg e;
    uint32_t columns = model_shape(m)->columns;
    void *cache = aligned_alloc(64, model_cache_bytes(m));
    float *x = calloc(columns, sizeof *x);
    enum err err = model_work_create(m, 1, &w, &e);
    assert(err == ERR_OK && cache != NULL && x != NULL);
    memset(cache, 0, model_cache_bytes(m));
    for (size_t i = 0; i < 8; i++) {
        int64_t t = (int64_t)(i ^ 1) * 1000000;
        float logit;
        for (uint32_t c = 0; c < columns; c++) {
            x[c] = evil[(c + i) % 6];
        }
        model_step(m, w, 1, x, &t, &cache, &logit);
        double p = model_probability(m, (double)logit);
        assert(isfinite(logit) && p >= 0 && p <= 1);
    }
    model_work_free(w);
    free(cache);
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct model *m = NULL;
    struct train_result state;
    uint64_t hash = 0;
    struct errmsg e;
    uint8_t *copy = malloc(len + 1);
    assert(copy != NULL);
    memcpy(copy, bytes, len);
    if (len >= 32) {
        hash_128(copy, len - 16, copy + len - 16);
    }
    if (model_load(copy, len, &m, &e) == ERR_OK) {
        step(m);
        model_free(m);
    } else if (train_state_load(copy, len, &state, &hash, &e) == ERR_OK) {
        train_result_done(&state);
    }
    free(copy);
    return 0;
}
