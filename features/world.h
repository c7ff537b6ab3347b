/* What all partitions share: terminals, merchants, devices and IPs, the population's amounts, the
 * categories, the labels that wait, and the world's clock.  Cards live in card sets
 * (features/state.h), each attached to one world.
 *
 * Invariants
 *  1. The clock is the largest event time of everything the world saw.  Labels take effect in order
 *     of (known_us, arrival) at the first event at which it reaches known_us, before that event's
 *     columns are computed; they mark the card's history in every attached card set that holds the
 *     card, and the places'.
 *  2. What the world becomes is a function of the events and labels it saw and their order, never
 *     of a card's state: feat_world_follow leaves the same bytes as feat_extract of the same event.
 *  3. The same events and labels in the same order give the same bytes in its areas, whatever the
 *     machine, the limits being the same.
 * One thread owns a world and all card sets attached to it; no locks.  Memory is reserved at
 * creation: no malloc after. */
#ifndef FD_FEATURES_WORLD_H
#define FD_FEATURES_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "base/area.h"
#include "base/err.h"
#include "features/schema.h"
#include "features/tx.h"

struct feat_world;

struct feat_world_limits {
    size_t place_max;       /* merchants + terminals + devices + IPs together; beyond it the
                               longest-unseen gives way, counted */
    size_t history_max;     /* events of one history kept one by one; older ones become panes */
    size_t label_queue_max; /* labels waiting for their time */
    size_t verdict_max;     /* fraud verdicts in force that are remembered: a repeated one beyond it
                               counts once more in its categories */
    size_t bytes_max;       /* ceiling of the places' histories */
};

struct feat_world_counters {
    uint64_t events, labels_applied, labels_repeated, labels_revised, labels_queued, places,
        places_evicted, bytes;
};

/* 1,000,000 places, 4,000,000 labels and verdicts, 64 GiB. */
void feat_world_limits_default(struct feat_world_limits *l);

/* Returns an owned world.  ERR_INVALID a limit or parameter is out of range (named); ERR_NOMEM. */
FD_MUSTCHECK enum err feat_world_create(const struct feature_params *p,
                                        const struct feat_world_limits *l, struct feat_world **out,
                                        struct errmsg *e);
/* Its card sets must be free, or moved to another, before. */
void feat_world_free(struct feat_world *w);

/* Takes an event whose card lives elsewhere: afterwards the world is byte for byte what
 * feat_extract of it would have made of it.  Of t are read: id, card, terminal, merchant, device,
 * ip, event_us, amount_ref, mcc, country, type.  Never fails: where there is no more room the
 * longest-unseen place gives way. */
void feat_world_follow(struct feat_world *w, const struct tx *t);

/* Takes a label (a copy); it waits until the clock reaches known_us.  A number not above the last
 * one of its source is a repeat: counted, ignored.  A fraud verdict on a payment that has one in
 * force changes nothing; another verdict takes it back.  ERR_FULL: the queue is at its bound;
 * nothing changed. */
FD_MUSTCHECK enum err feat_label(struct feat_world *w, const struct label *l);

/* INT64_MIN before the first event. */
int64_t feat_world_clock_us(const struct feat_world *w);
const struct feature_params *feat_world_params(const struct feat_world *w);
void feat_world_counters(const struct feat_world *w, struct feat_world_counters *out);
/* Bytes that the place's record and history take; 0 if unknown. */
size_t feat_place_bytes(const struct feat_world *w, uint64_t place);

#define FEAT_AREAS_MAX 8
/* The memory whose bytes are the whole state (base/area.h): out [FEAT_AREAS_MAX]; returns how many.
 * `bytes` are those in use now; the list itself stays good as long as the world. */
size_t feat_world_areas(const struct feat_world *w, struct area *out);
/* After the bytes of another world's areas (same parameters and limits) were written into those of
 * this one, freshly created: makes what is derived; from here on both behave alike for ever.
 * ERR_CORRUPT numbers and bounds do not fit together: free it. */
FD_MUSTCHECK enum err feat_world_restored(struct feat_world *w, struct errmsg *e);

#endif
