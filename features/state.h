/* Everything the features remember of one partition: card and place histories, known labels, the
 * population's amounts.  One owner, no locks; bounded memory, reserved at creation: no malloc
 * after.
 *
 * Invariants
 *  1. An event's columns see itself and events that arrived before it with event time <= its own;
 *     never its own label, never a label with known_us > clock.
 *  2. The clock is the largest event time so far; labels take effect in order of (known_us,
 * arrival) at the first event at which the clock reaches known_us, before that event's columns are
 * computed.
 *  3. A late event (event time < clock) is computed at its own time and put in its place, ties
 * after earlier arrivals; one older than what a history still holds event by event is counted only.
 *  4. The same events and labels in the same order give the same bytes, whatever the machine. */
#ifndef FD_FEATURES_STATE_H
#define FD_FEATURES_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "features/schema.h"
#include "features/tx.h"

struct feat_state;

struct feat_limits {
    size_t card_max;         /* cards remembered; beyond it the longest-unseen gives way, counted */
    size_t place_max;        /* merchants + terminals + devices + IPs together, likewise */
    size_t history_max;      /* events of one history kept one by one; older ones become panes */
    size_t label_queue_max;  /* labels waiting for their time */
    size_t bytes_max;        /* ceiling of all pools */
    size_t card_extra_bytes; /* room in each card for the caller (latent cache, recent answers),
                                zeroed at first sight, 64-byte aligned */
};

/* What extraction learned besides the columns. */
struct feat_facts {
    void *card_extra;     /* the card's caller bytes; valid until the next feat_extract */
    float usual_ratio;    /* amount over the card's usual amount; 0 without one */
    uint32_t card_events; /* events of this card so far, before this one */
    bool late;            /* event time < clock */
    bool dropped_late;    /* too old to be put in its place: counted only */
};

struct feat_counters {
    uint64_t events, late, late_dropped, labels_applied, labels_repeated, labels_revised,
        labels_queued, cards, places, cards_evicted, places_evicted, bytes;
};

void feat_limits_default(struct feat_limits *l);

/* Returns an owned state.  ERR_INVALID a limit or parameter is out of range (named); ERR_NOMEM. */
FD_MUSTCHECK enum err feat_state_create(const struct feature_params *p, const struct feat_limits *l,
                                        struct feat_state **out, struct errmsg *e);
void feat_state_free(struct feat_state *s);

/* Applies due labels, computes the columns of t, then adds t to the histories.  out_x: [FEAT_DIM],
 * finite and inside the clip ranges, whatever the input.  Never fails: when a pool is exhausted the
 * longest-unseen card or place gives way. */
void feat_extract(struct feat_state *s, const struct tx *t, float *out_x, struct feat_facts *out);

/* The caller's bytes of a card, or NULL if the card is not known.  Does not touch the state. */
void *feat_card_extra(const struct feat_state *s, uint64_t card);

/* Starts loading what the next n events (FEAT_PREFETCH_MAX at most; t: [n]) need into the cache.
 * Changes nothing; best called with as many as possible, then feat_extract for each. */
#define FEAT_PREFETCH_MAX 16
void feat_prefetch(const struct feat_state *s, const struct tx *t, size_t n);

/* Takes a label (a copy); it waits until the clock reaches known_us.  A number not above the last
 * one of its source is a repeat: counted, ignored.  A changed verdict takes the old one back when
 * it is applied.  ERR_FULL: the queue is at its bound; nothing changed. */
FD_MUSTCHECK enum err feat_label(struct feat_state *s, const struct label *l);

int64_t feat_clock_us(const struct feat_state *s);
void feat_counters(const struct feat_state *s, struct feat_counters *out);

/* Bytes that the card's (place's) record and history take; 0 if unknown. */
size_t feat_card_bytes(const struct feat_state *s, uint64_t card);
size_t feat_place_bytes(const struct feat_state *s, uint64_t place);

#endif
