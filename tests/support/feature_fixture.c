#include "tests/support/feature_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/timefmt.h"

struct fixture_limits fixture_limits(void)
{
    return (struct fixture_limits){
        .world = {.place_max = 8192,
                  .history_max = 4096,
                  .label_queue_max = 4096,
                  .verdict_max = 4096,
                  .bytes_max = (size_t)64 << 20},
        .cards = {.card_max = 4096, .history_max = 4096, .bytes_max = (size_t)64 << 20}};
}

struct fixture fixture_create(const struct feature_params *p, const struct fixture_limits *l)
{
    struct fixture f = {NULL, NULL};
    struct errmsg e = {""};
    if (feat_world_create(p, &l->world, &f.w, &e) != ERR_OK ||
        feat_state_create(f.w, &l->cards, &f.s, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return f;
}

void fixture_free(struct fixture *f)
{
    feat_state_free(f->s);
    feat_world_free(f->w);
}

struct stream_conf fixture_stream(uint64_t seed)
{
    return (struct stream_conf){.seed = seed,
                                .events = 700,
                                .cards = 12,
                                .terminals = 12,
                                .merchants = 12,
                                .devices = 14,
                                .ips = 14,
                                .mean_step_us = 2 * TIME_HOUR,
                                .late_share = 0.1,
                                .late_max_us = 3 * TIME_DAY,
                                .edge_share = 0.3,
                                .missing_share = 0.3,
                                .label_share = 0.3,
                                .label_max_us = 20 * TIME_DAY,
                                .maturity_us = 7 * TIME_DAY};
}

void fixture_check_row(const float *x)
{
    for (size_t i = 0; i < FEAT_DIM; i++) {
        const struct feature_info *c = feature_info(i);
        if (!(isfinite(x[i]) && x[i] >= c->low && x[i] <= c->high)) {
            fail_msg("%s is %g, outside %g .. %g", c->name, (double)x[i], (double)c->low,
                     (double)c->high);
        }
    }
}

static uint64_t identity(const char *kind, uint64_t number)
{
    return number != 0 ? hash_pair(hash_id(kind, 1), number) | 1 : 0;
}

struct tx fixture_payment(uint64_t number, uint64_t card, uint64_t terminal, int64_t event_us,
                          uint32_t amount)
{
    return (struct tx){.id = identity("p", number),
                       .card = identity("c", card),
                       .terminal = identity("t", terminal),
                       .event_us = event_us,
                       .amount_ref = amount};
}

struct label fixture_label(const struct tx *t, uint64_t number, int64_t known_us, uint8_t verdict)
{
    return (struct label){.source = 1,
                          .number = number,
                          .tx_id = t->id,
                          .card = t->card,
                          .merchant = t->merchant,
                          .terminal = t->terminal,
                          .device = t->device,
                          .ip = t->ip,
                          .event_us = t->event_us,
                          .known_us = known_us,
                          .amount_ref = t->amount_ref,
                          .usual_ratio = 9,
                          .mcc = t->mcc,
                          .country = t->country,
                          .verdict = verdict};
}
