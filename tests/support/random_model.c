#include "tests/support/random_model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/model_format.h"
#include "tests/support/net_twin.h"

#define UNTIL_US (INT64_C(1767225600) * 1000000) /* 2026-01-01 */

struct feature_params random_model_params(void)
{
    struct feature_params p;
    feature_params_default(&p);
    return p;
}

static uint8_t *pack(uint64_t seed, const char *version, uint64_t schema_hash, uint32_t layers,
                     size_t *out_len)
{
    struct net_shape shape;
    struct errmsg e = {""};
    uint8_t *bytes = NULL;
    const struct feature_params params = random_model_params();
    net_shape_default(&shape, FEAT_DIM, 0);
    shape.width = 16;
    shape.layers = layers;
    shape.heads = 2;
    shape.head_dim = 8;
    shape.rank = 8;
    shape.rope = 4;
    shape.experts = 4;
    shape.expert_hidden = 8;
    shape.shared_hidden = 8;
    struct train_result *r = twin_random(&shape, FEAT_DIM, 20, seed);
    /* steep, so that probabilities spread over (0, 1) */
    r->calibration[0] = r->calibration[1] = 8;
    r->calibration[2] = -4;
    struct model_lineage l = {.data_until_us = UNTIL_US,
                              .schema_hash =
                                  schema_hash != 0 ? schema_hash : feature_schema_hash(&params),
                              .maturity_us = params.maturity_us,
                              .blame_ratio = params.blame_ratio,
                              .blame_tail = params.blame_tail,
                              .rates_version = params.rates_version};
    snprintf(l.version, sizeof l.version, "%s", version);
    enum err err = model_pack(r, &l, &bytes, out_len, &e);
    if (err != ERR_OK) {
        fprintf(stderr, "random_model: %s\n", e.text);
    }
    assert(err == ERR_OK);
    twin_free(r);
    return bytes;
}

uint8_t *random_model_bytes(uint64_t seed, const char *version, uint64_t schema_hash,
                            size_t *out_len)
{
    return pack(seed, version, schema_hash, 1, out_len);
}

struct model *random_model_deep(uint64_t seed, const char *version, uint32_t layers)
{
    struct model *m = NULL;
    size_t len = 0;
    uint8_t *bytes = pack(seed, version, 0, layers, &len);
    enum err err = model_load(bytes, len, &m, NULL);
    assert(err == ERR_OK);
    free(bytes);
    return m;
}

struct model *random_model(uint64_t seed)
{
    struct model *m = NULL;
    size_t len = 0;
    uint8_t *bytes = random_model_bytes(seed, "random", 0, &len);
    enum err err = model_load(bytes, len, &m, NULL);
    assert(err == ERR_OK);
    free(bytes);
    return m;
}
