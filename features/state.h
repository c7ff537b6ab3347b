/* The cards of one partition: their histories, known labels, the caller's bytes; and the columns of
 * a payment, computed from its card and the world that the card set is attached to
 * (features/world.h).  Bounded memory, reserved at creation: no malloc after.
 *
 * Invariants
 *  1. An event's columns see itself and events that arrived before it with event time <= its own;
 *     never its own label, never a label with known_us > the world's clock.
 *  2. A card set's clock is the largest event time of its own events so far: it says what is late.
 *  3. A late event (event time < clock) is computed at its own time and put in its place, ties
 * after earlier arrivals; one older than what a history still holds event by event is counted only.
 *  4. The same events and labels in the same order give the same bytes, whatever the machine.
 * The world's thread owns its card sets. */
#ifndef FD_FEATURES_STATE_H
#define FD_FEATURES_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/area.h"
#include "base/err.h"
#include "features/schema.h"
#include "features/tx.h"
#include "features/world.h"

struct feat_state;

struct feat_limits {
    size_t card_max;         /* cards remembered; beyond it the longest-unseen gives way, counted */
    size_t history_max;      /* events of one history kept one by one; older ones become panes */
    size_t bytes_max;        /* ceiling of the histories */
    size_t card_extra_bytes; /* room in each card for the caller (recent answers), zeroed at first
                                sight, 64-byte aligned */
    size_t card_side_bytes;  /* the same in each of FEAT_SIDES further arrays (latent caches), which
                                take memory only while they are in use */
};

#define FEAT_SIDES 2

/* What extraction learned besides the columns. */
struct feat_facts {
    void *card_extra;     /* the card's caller bytes; valid until the next feat_extract */
    bool in_order;        /* not before any event of this card so far */
    float usual_ratio;    /* amount over the card's usual amount; 0 without one */
    uint32_t card_events; /* events of this card so far, before this one */
    bool late;            /* event time < clock */
    bool dropped_late;    /* too old to be put in its place: counted only */
};

struct feat_counters {
    uint64_t events, late, late_dropped, cards, cards_evicted, bytes;
};

/* 1,000,000 cards, 16 GiB: reserved, not used, so that a thousand partitions fit into the address
 * space of one process. */
void feat_limits_default(struct feat_limits *l);

/* Returns an owned card set, attached to w (borrowed; must outlive it, or be left by
 * feat_state_move).  ERR_INVALID a limit is out of range (named); ERR_NOMEM. */
FD_MUSTCHECK enum err feat_state_create(struct feat_world *w, const struct feat_limits *l,
                                        struct feat_state **out, struct errmsg *e);
/* Detaches it from its world. */
void feat_state_free(struct feat_state *s);
/* Attaches it to another world, a copy that has seen the same; the parameters must be the same. */
void feat_state_move(struct feat_state *s, struct feat_world *to);

/* Applies due labels, computes the columns of t, then adds t to the histories of card and world.
 * out_x: [FEAT_DIM], finite and inside the clip ranges, whatever the input.  Never fails: when a
 * pool is exhausted the longest-unseen card or place gives way. */
void feat_extract(struct feat_state *s, const struct tx *t, float *out_x, struct feat_facts *out);

/* The caller's bytes of a card, or NULL if the card is not known.  Does not touch the state. */
void *feat_card_extra(const struct feat_state *s, uint64_t card);

/* Whether the next event may make cards give way, if it is of this card: how far it may look for
 * them; 0: none gives way. */
uint32_t feat_reach(const struct feat_state *s, uint64_t card);
/* Whether this card may be among them.  True for one that is not known. */
bool feat_within_reach(const struct feat_state *s, uint64_t card, uint32_t reach);

/* All of the caller's bytes of a card; NULL in sides that are not in use.  False: not known. */
struct feat_room {
    void *extra, *side[FEAT_SIDES];
};
bool feat_card_room(const struct feat_state *s, uint64_t card, struct feat_room *out);
/* Takes a side of all cards into use, all zero; or out of it: what was there is gone and its memory
 * is given back.  None is in use at first. */
void feat_side_use(struct feat_state *s, unsigned side, bool used);
/* Looks at up to `most` cards from record number *at on, in no particular order; moves *at behind
 * them, to 0 after the last.  last_us: the card's latest event. */
void feat_cards_look(const struct feat_state *s, uint32_t *at, size_t most,
                     void (*look)(void *ctx, int64_t last_us, const struct feat_room *room),
                     void *ctx);

/* Starts loading what the next n events (FEAT_PREFETCH_MAX at most; t: [n]) need into the cache.
 * Changes nothing; best called with as many as possible, then feat_extract for each. */
#define FEAT_PREFETCH_MAX 16
void feat_prefetch(const struct feat_state *s, const struct tx *t, size_t n);

/* INT64_MIN before the first event. */
int64_t feat_clock_us(const struct feat_state *s);
void feat_counters(const struct feat_state *s, struct feat_counters *out);

/* Bytes that the card's record and history take; 0 if unknown. */
size_t feat_card_bytes(const struct feat_state *s, uint64_t card);

/* As feat_world_areas and feat_world_restored, of a card set.  Of sides: the caller names them
 * (feat_side_area), and takes those into use that were read back, after that. */
size_t feat_state_areas(const struct feat_state *s, struct area *out);
struct area feat_side_area(const struct feat_state *s, unsigned side, const char *name);
FD_MUSTCHECK enum err feat_state_restored(struct feat_state *s, struct errmsg *e);

#endif
