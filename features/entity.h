/* The records of cards and places: found by identity, bounded in number, the longest unseen gives
 * way.
 *
 * Records never move.  When a table is full, the record with the oldest latest event among the next
 * ENTITY_LOOK of a hand that goes round is given up: a pure function of the events so far. */
#ifndef FD_FEATURES_ENTITY_H
#define FD_FEATURES_ENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/region.h"
#include "features/history.h"
#include "features/id_index.h"
#include "features/known.h"
#include "features/tx.h"

#define ENTITY_LOOK 64
#define LATEST_MAX 8

enum place_kind { PLACE_TERMINAL = 1, PLACE_MERCHANT, PLACE_DEVICE, PLACE_IP };

/* One of the latest distinct things seen; in seconds, because a device's age in days needs no more.
 */
struct seen {
    uint32_t id; /* low half of the identity, never 0 */
    uint32_t first_s, last_s;
};

struct entity {
    uint64_t id; /* 0: free; first, for the index */
    int64_t first_us, last_us;
    struct history history;
    struct frauds frauds;
};

struct place {
    struct entity e;
    struct seen cards[LATEST_MAX];
};

struct card {
    struct entity e;
    uint32_t events; /* of any type so far, saturating */
    struct seen devices[LATEST_MAX];
    uint32_t ips[LATEST_MAX];
    uint16_t countries[LATEST_MAX];
    uint16_t mccs[LATEST_MAX];
    int64_t located_us; /* of the latest event with a location */
    uint32_t located;   /* events with one so far */
    float lat, lon;     /* of the latest */
    float home_lat, home_lon;
};

/* How much of a table is in use: all of it that is not in the records. */
struct entities_fill {
    uint32_t count; /* records ever used */
    uint32_t live;  /* of them in use */
    uint32_t hand;
    uint32_t free_head; /* record number + 1 of a freed record; chained through first_us */
    uint64_t evicted;
};

struct entities {
    char *records; /* [max, record_bytes] */
    size_t max, record_bytes;
    struct id_index index;
    struct entities_fill *fill; /* borrowed */
};

/* fill: zeroes; borrowed. */
FD_MUSTCHECK enum err entities_init(struct entities *t, size_t max, size_t record_bytes,
                                    struct entities_fill *fill, struct errmsg *e);
void entities_done(struct entities *t);
/* The records in use.  name: static. */
struct area entities_area(const struct entities *t, const char *name);
/* After records and fill were read back, with the blocks of r: makes the index.  Returns false
 * where they cannot have been written by these functions; what is inside a history is not looked
 * at. */
bool entities_restored(struct entities *t, const struct region *r);
/* Bytes that the records in use and their index take. */
size_t entities_bytes(const struct entities *t);

/* Record of that identity, or NULL. */
void *entities_find(const struct entities *t, uint64_t id);
/* Records that must not give way, because the event at hand uses them. */
struct pinned {
    const void *record[4];
    size_t n;
};

/* The same as entities_find, made where it is missing (out_new).  Memory of a record that gives way
 * returns to r. */
void *entities_get(struct entities *t, struct region *r, uint64_t id, const struct pinned *pinned,
                   bool *out_new);
/* Gives the longest unseen of the next few up, pinned ones excepted; false: there is none. */
bool entities_evict(struct entities *t, struct region *r, const struct pinned *pinned);
/* Gives up a few at most until r has room for what one event may need, before it looks for its
 * records: so none that it touches gives way while it is used. */
void entities_make_room(struct entities *t, struct region *r);
/* How many records entities_make_room and entities_get of that identity may look at for one to give
 * up, from the hand on; 0: none gives way. */
uint32_t entities_looks(const struct entities *t, const struct region *r, uint64_t id);
/* Whether a record is among the next `looks`. */
bool entities_is_near(const struct entities *t, const void *record, uint32_t looks);
uint32_t entities_number(const struct entities *t, const void *record);

/* Puts an event into a record's history; a payment whose label came before it is marked.  place: of
 * the event in a card's history, 0 in a place's.  False: it came too late, as history_add. */
bool entity_remember(struct region *r, struct entity *e, const struct history_limits *l,
                     const struct tx *t, uint32_t place);
/* The latest event of the record is not before this. */
static inline void entity_seen(struct entity *e, int64_t event_us)
{
    e->last_us = event_us > e->last_us ? event_us : e->last_us;
}
/* Bytes of its history and frauds. */
size_t entity_bytes(const struct region *r, const struct entity *e);

/* Moves id to the front of the latest; returns how it was before (id 0: not there). */
struct seen seen_touch(struct seen *latest, uint32_t id, int64_t at_us);
/* Distinct ones first seen at or before at_us and last after at_us - window_us, in whole seconds.
 */
uint32_t seen_count(const struct seen *latest, int64_t at_us, int64_t window_us);
bool seen16_touch(uint16_t *latest, uint16_t id);
bool seen32_touch(uint32_t *latest, uint32_t id);

#endif
