/* A small world with one card set, for tests of features/. */
#ifndef FD_TESTS_SUPPORT_FEATURE_FIXTURE_H
#define FD_TESTS_SUPPORT_FEATURE_FIXTURE_H

#include "features/state.h"
#include "tests/support/random_stream.h"

struct fixture_limits {
    struct feat_world_limits world;
    struct feat_limits cards;
};

struct fixture {
    struct feat_world *w;
    struct feat_state *s;
};

/* Room for 4096 cards, 8192 places, 4096 waiting labels, 64 MiB each. */
struct fixture_limits fixture_limits(void);
/* Fails the test where it cannot be made. */
struct fixture fixture_create(const struct feature_params *p, const struct fixture_limits *l);
void fixture_free(struct fixture *f);
/* A busy stream of 700 events with every field, late events and labels. */
struct stream_conf fixture_stream(uint64_t seed);
/* Fails the test unless every column is finite and inside its clip range. */
void fixture_check_row(const float *x);
/* A purchase of that card at a terminal of that number; other fields missing. */
struct tx fixture_payment(uint64_t number, uint64_t card, uint64_t terminal, int64_t event_us,
                          uint32_t amount);
/* The label of a payment, number `number` of source 1. */
struct label fixture_label(const struct tx *t, uint64_t number, int64_t known_us, uint8_t verdict);

#endif
