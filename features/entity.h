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
#include "features/known.h"

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
    uint64_t id; /* 0: free */
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

struct entities {
    char *records;   /* [max, record_bytes] */
    uint32_t *slots; /* open addressing; record number + 1, 0: empty */
    size_t max, record_bytes;
    uint64_t mask;
    uint32_t count; /* records ever used */
    uint32_t live;  /* of them in use */
    uint32_t hand;
    uint32_t free_head; /* record number + 1 of a freed record; chained through first_us */
    uint64_t evicted;
};

FD_MUSTCHECK enum err entities_init(struct entities *t, size_t max, size_t record_bytes,
                                    struct errmsg *e);
void entities_done(struct entities *t);

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
uint32_t entities_number(const struct entities *t, const void *record);

/* Moves id to the front of the latest; returns how it was before (id 0: not there). */
struct seen seen_touch(struct seen *latest, uint32_t id, int64_t at_us);
/* Distinct ones first seen at or before at_us and last after at_us - window_us, in whole seconds.
 */
uint32_t seen_count(const struct seen *latest, int64_t at_us, int64_t window_us);
bool seen16_touch(uint16_t *latest, uint16_t id);
bool seen32_touch(uint32_t *latest, uint32_t id);

#endif
