/* Random payments and labels that hit what features can get wrong: equal times, late events, window
 * edges to the microsecond, missing fields, refunds and checks, long gaps; labels that come late,
 * twice, before their payment, are revised or withdrawn. */
#ifndef FD_TESTS_SUPPORT_RANDOM_STREAM_H
#define FD_TESTS_SUPPORT_RANDOM_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "features/tx.h"

struct stream_conf {
    uint64_t seed;
    size_t events, cards, terminals, merchants, devices, ips;
    int64_t mean_step_us; /* between events */
    double late_share;    /* of events that come late, by up to late_max_us */
    int64_t late_max_us;
    double edge_share;    /* of events at an exact window's distance from an earlier one */
    double missing_share; /* of each optional field */
    double label_share;   /* labels an event */
    int64_t label_max_us; /* the latest label comes so long after its payment */
    int64_t maturity_us;  /* whose edges are hit as well */
};

struct stream {
    struct stream_conf conf;
    struct rng rng;
    struct tx *tx;         /* [events], in order of arrival */
    float *usual_ratio;    /* [events], which the caller fills in: labels carry it */
    uint64_t label_number; /* of the one source */
    size_t last_label;     /* event that the latest label was of */
};

/* Aborts without memory. */
void stream_create(struct stream *s, const struct stream_conf *c);
void stream_done(struct stream *s);
/* A random label of an event around number `at`, whose earlier ones have been through
 * extraction; false: none this time. */
bool stream_label(struct stream *s, size_t at, struct label *out);
/* The label of one event with that verdict. */
struct label stream_label_of(struct stream *s, size_t event, int64_t known_us, uint8_t verdict);

#endif
