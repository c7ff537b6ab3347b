#include "features/known.h"

#include <string.h>

#define DAY_US 86400e6
#define NEVER_DAYS 400.0F

static struct fraud *all(const struct region *r, const struct frauds *f)
{
    return region_at(r, f->block);
}

static uint32_t room(const struct frauds *f)
{
    return f->block == 0
               ? 0
               : (uint32_t)(((size_t)REGION_UNIT << f->size_class) / sizeof(struct fraud));
}

static bool grow(struct region *r, struct frauds *f)
{
    unsigned larger = f->block == 0 ? 0 : f->size_class + 1U;
    uint32_t block = region_alloc(r, larger);
    if (block == 0) {
        return false;
    }
    if (f->block != 0) {
        memcpy(region_at(r, block), all(r, f), f->n * sizeof(struct fraud));
        region_free(r, f->block, f->size_class);
    }
    f->block = block;
    f->size_class = (uint8_t)larger;
    return true;
}

static void remove_at(const struct region *r, struct frauds *f, uint32_t i)
{
    struct fraud *a = all(r, f);
    memmove(a + i, a + i + 1, (f->n - i - 1U) * sizeof *a);
    f->n--;
}

bool frauds_add(struct region *r, struct frauds *f, const struct fraud *fraud)
{
    if (f->n == FRAUDS_MAX) {
        remove_at(r, f, 0);
    }
    if (f->n == room(f) && !grow(r, f)) {
        return false;
    }
    all(r, f)[f->n++] = *fraud;
    return true;
}

bool frauds_remove(struct region *r, struct frauds *f, uint64_t tx, struct fraud *out)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (all(r, f)[i].tx == tx) {
            *out = all(r, f)[i];
            remove_at(r, f, i);
            return true;
        }
    }
    return false;
}

const struct fraud *frauds_find(const struct region *r, const struct frauds *f, uint64_t tx)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (all(r, f)[i].tx == tx) {
            return &all(r, f)[i];
        }
    }
    return NULL;
}

void frauds_free(struct region *r, struct frauds *f)
{
    region_free(r, f->block, f->size_class);
    memset(f, 0, sizeof *f);
}

uint32_t frauds_known_in(const struct region *r, const struct frauds *f, int64_t at_us,
                         int64_t window_us, bool blamed_only)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        const struct fraud *a = &all(r, f)[i];
        n += a->known_us > at_us - window_us && a->known_us <= at_us &&
             (!blamed_only || (a->tag & FRAUD_BLAMED) != 0);
    }
    return n;
}

/* Latest event time <= at_us, or INT64_MIN. */
static int64_t latest(const struct region *r, const struct frauds *f, int64_t at_us,
                      bool blamed_only)
{
    int64_t best = INT64_MIN;
    for (uint32_t i = 0; i < f->n; i++) {
        const struct fraud *a = &all(r, f)[i];
        if (a->event_us <= at_us && a->event_us > best &&
            (!blamed_only || (a->tag & FRAUD_BLAMED) != 0)) {
            best = a->event_us;
        }
    }
    return best;
}

static float days_between(int64_t from_us, int64_t to_us)
{
    return from_us == INT64_MIN ? NEVER_DAYS : (float)((double)(to_us - from_us) / DAY_US);
}

float frauds_days(const struct region *r, const struct frauds *f, int64_t at_us, bool blamed_only)
{
    return days_between(latest(r, f, at_us, blamed_only), at_us);
}

float frauds_risk(const struct view *v, const struct frauds *f, int64_t window_us,
                  int64_t maturity_us)
{
    uint32_t known = frauds_known_in(v->region, f, v->at_us, window_us, false);
    if (known == 0) {
        return 0;
    }
    int64_t to_us = v->at_us - maturity_us;
    return (float)(known / (view_count_unmarked(v, to_us - window_us, to_us) + known));
}

void known_state(const struct view *v, const struct frauds *f, int64_t maturity_us,
                 float out[KNOWN_STATE_DIM])
{
    int64_t known_to = v->at_us - maturity_us;
    int64_t fraud = f->n > 0 ? latest(v->region, f, v->at_us, true) : INT64_MIN;
    int64_t legit = view_latest_legitimate(v, known_to);
    out[0] = days_between(fraud, v->at_us);
    out[1] = days_between(legit, v->at_us);
    out[2] = NEVER_DAYS;
    out[3] = 0;
    out[4] = legit != INT64_MIN ? 0.0F : -1.0F;
    out[5] = -1.0F;
    if (fraud == INT64_MIN) {
        return;
    }
    /* the run: blamed frauds after the last known legitimate payment before the latest of them */
    int64_t before = view_latest_legitimate(v, fraud < known_to ? fraud : known_to);
    before = before > v->after_us ? before : v->after_us;
    int64_t first = fraud;
    uint32_t length = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        const struct fraud *a = &all(v->region, f)[i];
        if ((a->tag & FRAUD_BLAMED) != 0 && a->event_us <= fraud && a->event_us > before) {
            first = a->event_us < first ? a->event_us : first;
            length++;
        }
    }
    length += length == 0; /* the latest is one, though forgotten or beside a legitimate payment */
    out[2] = days_between(first, v->at_us);
    out[3] = (float)length;
    out[4] = fraud >= legit ? 1.0F : 0.0F;
    out[5] = fraud < known_to ? (float)view_count_unmarked(v, fraud, known_to) : 0.0F;
}
