/* Any bytes as a stream of payments and labels, through features, model and threshold: every column
 * stays inside its clip range, every score is a probability, and the same stream gives the same
 * columns and scores again. */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/pipeline.h"
#include "tests/support/random_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define EVENTS_MAX 60

struct input {
    const uint8_t *at, *end;
    int64_t now_us;
    uint64_t labels;
    uint64_t seen; /* hash of what came out */
};

static uint8_t take(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static uint64_t identity(struct input *in)
{
    uint8_t b = take(in);
    return b % 5 == 0 ? 0 : b % 5 == 1 ? UINT64_MAX - b : (uint64_t)(b % 7 + 1) << 56;
}

static int64_t step_us(struct input *in)
{
    static const int64_t steps[] = {0,
                                    1,
                                    -1,
                                    1000000,
                                    -86400000000,
                                    86400000000,
                                    90 * INT64_C(86400000000),
                                    -100 * INT64_C(86400000000),
                                    INT64_MAX / 8,
                                    INT64_MIN / 8};
    return steps[take(in) % (sizeof steps / sizeof steps[0])];
}

static int64_t later(int64_t us, int64_t step)
{
    int64_t sum = 0;
    return __builtin_add_overflow(us, step, &sum) ? us : sum;
}

static uint32_t amount(struct input *in)
{
    static const uint32_t amounts[] = {0, 1, 99, 5000, 100000, UINT32_MAX - 1, UINT32_MAX};
    uint8_t b = take(in);
    return b < 7 ? amounts[b] : (uint32_t)b << (take(in) % 25);
}

static struct tx next_tx(struct input *in)
{
    static const float places[] = {0, 90, -90, 180, -180, 1e-30F, 48.1F};
    struct tx t = {.id = (uint64_t)(take(in) % 16) + 1};
    t.card = (uint64_t)(take(in) % 3 + 1) << 60;
    t.merchant = identity(in);
    t.terminal = identity(in);
    t.device = identity(in);
    t.ip = identity(in);
    in->now_us = later(in->now_us, step_us(in));
    t.event_us = in->now_us;
    t.amount_ref = amount(in);
    t.amount_minor = t.amount_ref;
    memcpy(t.currency, "EUR", 4);
    t.mcc = (uint16_t)(take(in) * 40);
    t.country = (uint16_t)(take(in) % 4 * 257);
    t.type = take(in) % (TX_CHECK + 1);
    t.channel = take(in) % (CHANNEL_RECURRING + 1);
    t.entry = take(in) % (ENTRY_CREDENTIAL_ON_FILE + 1);
    t.has_location = take(in) & 1;
    t.lat = t.has_location ? places[take(in) % 7] / 2 : 0;
    t.lon = t.has_location ? places[take(in) % 7] : 0;
    return t;
}

static struct label next_label(struct input *in, const struct tx *t)
{
    static const float ratios[] = {0, 1e-30F, 1, 3, 1e30F};
    struct label l = {.source = take(in) % 3 + 1,
                      .number = ++in->labels,
                      .tx_id = t->id,
                      .card = t->card,
                      .merchant = t->merchant,
                      .terminal = t->terminal,
                      .device = t->device,
                      .ip = t->ip,
                      .event_us = t->event_us,
                      .amount_ref = t->amount_ref,
                      .mcc = t->mcc,
                      .country = t->country};
    l.known_us = later(t->event_us, step_us(in));
    l.usual_ratio = ratios[take(in) % 5];
    l.verdict = take(in) % (LABEL_WITHDRAWN + 1);
    return l;
}

static void on_scored(void *ctx, const struct scored *s)
{
    struct input *in = ctx;
    for (size_t i = 0; i < FEAT_DIM; i++) {
        const struct feature_info *f = feature_info(i);
        assert(isfinite(s->x[i]) && s->x[i] >= f->low && s->x[i] <= f->high);
    }
    assert(s->probability >= 0 && s->probability <= 1);
    assert(s->threshold >= 0 && s->threshold <= 1);
    in->seen = hash_bytes(s->x, FEAT_DIM * sizeof *s->x, in->seen);
    in->seen = hash_bytes(&s->probability, sizeof s->probability, in->seen);
}

static uint64_t run(const struct model *model, const uint8_t *bytes, size_t len)
{
    struct input in = {.at = bytes, .end = bytes + len, .now_us = INT64_C(1700000000000000)};
    const struct pipeline_out out = {.ctx = &in, .scored = on_scored};
    struct pipeline_conf c = {.model = model, .params = random_model_params(), .max_future_us = -1};
    struct feat_world_limits limits;
    struct feat_world *world = NULL;
    struct pipeline *p = NULL;
    struct lane *lane = NULL;
    struct errmsg e;
    feat_limits_default(&c.limits);
    feat_world_limits_default(&limits);
    c.limits.card_max = limits.place_max = 64;
    c.limits.history_max = limits.history_max = 16;
    c.limits.bytes_max = limits.bytes_max = (size_t)1 << 20;
    limits.label_queue_max = limits.verdict_max = 64;
    c.threshold =
        (struct threshold_conf){.budget = 20, .burst = 1.5, .floor = .995, .decline = .99};
    enum err err = feat_world_create(&c.params, &limits, &world, &e);
    assert(err == ERR_OK);
    err = pipeline_create(&c, &out, NULL, &p, &e);
    assert(err == ERR_OK);
    err = lane_create(p, world, 0, &lane, &e);
    assert(err == ERR_OK);
    for (int i = 0; i < EVENTS_MAX && in.at < in.end; i++) {
        uint8_t kind = take(&in);
        struct tx t = next_tx(&in);
        pipeline_tx(p, lane, &t, 0);
        if (kind % 3 == 0) {
            struct label l = next_label(&in, &t);
            err = feat_label(world, &l);
            assert(err == ERR_OK || err == ERR_FULL);
        }
    }
    pipeline_flush(p);
    lane_free(lane);
    pipeline_free(p);
    feat_world_free(world);
    return in.seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct model *model;
    if (model == NULL) {
        model = random_model(7);
    }
    uint64_t once = run(model, bytes, len);
    assert(run(model, bytes, len) == once);
    return 0;
}
