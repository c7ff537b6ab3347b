#include "tests/support/toy_past.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

void toy_past(struct past *past)
{
    struct rng rng;
    rng_init(&rng, 11);
    for (size_t i = 0; i < TOY_PAST_ROWS; i++) {
        char id[16];
        int len = snprintf(id, sizeof id, "t%zu", i);
        uint32_t cents = 100 + (uint32_t)rng_below(&rng, 30000);
        uint64_t mcc = rng_below(&rng, rng_below(&rng, TOY_PAST_MCCS) + 1); /* small ones often */
        const struct tx t = {.id = i + 1,
                             .card = 1 + rng_below(&rng, 50),
                             .terminal = 1000 + rng_below(&rng, 30),
                             .event_us = TOY_PAST_FIRST_US + (int64_t)i * 10 * TIME_MIN,
                             .amount_minor = cents,
                             .amount_ref = cents,
                             .currency = "EUR",
                             .mcc = (uint16_t)(TOY_PAST_MCC + mcc),
                             .type = i % 20 == 7   ? TX_REFUND
                                     : i % 20 == 9 ? TX_CHECK
                                                   : TX_PURCHASE};
        bool fraud = t.type == TX_PURCHASE && rng_below(&rng, 20) == 0;
        if (past_add(past, &t, (struct slice){id, (size_t)len}, i % 50 != 3, fraud,
                     t.event_us + 7 * TIME_DAY, NULL) != ERR_OK) {
            abort();
        }
    }
    past_sort(past);
}
