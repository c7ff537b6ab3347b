#include "features/history.h"

#include <string.h>

#define PANES_MAX 512U
/* a pane may span this share of its age */
#define PANE_SHARE 16
/* of the entries, this share is folded at once when the limit is reached */
#define FOLD_SHARE 4U

static uint32_t capacity(uint8_t size_class, size_t size)
{
    return (uint32_t)(((size_t)REGION_UNIT << size_class) / size);
}

static struct pane *panes_of(const struct region *r, const struct history *h)
{
    return region_at(r, h->panes);
}

/* A block twice as large with the same content; false: no memory, nothing changed. */
static bool grow(struct region *r, uint32_t *block, uint8_t *size_class)
{
    unsigned larger = *block == 0 ? 0 : *size_class + 1U;
    uint32_t b = larger < REGION_CLASSES ? region_alloc(r, larger) : 0;
    if (b == 0) {
        return false;
    }
    if (*block != 0) {
        memcpy(region_at(r, b), region_at(r, *block), (size_t)REGION_UNIT << *size_class);
        region_free(r, *block, *size_class);
    }
    *block = b;
    *size_class = (uint8_t)larger;
    return true;
}

static void drop_panes(struct region *r, struct history *h, int64_t before_us)
{
    struct pane *p = panes_of(r, h);
    uint32_t gone = 0;
    while (gone < h->pane_count && p[gone].to_us < before_us) {
        gone++;
    }
    memmove(p, p + gone, (h->pane_count - gone) * sizeof *p);
    h->pane_count = (uint16_t)(h->pane_count - gone);
}

/* Merges neighbours while the result stays narrow against its age at now_us. */
static void merge_panes(struct region *r, struct history *h, int64_t now_us)
{
    struct pane *p = panes_of(r, h);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < h->pane_count; i++) {
        int64_t age = now_us - p[i].to_us;
        if (p[i].to_us - p[kept].from_us <= age / PANE_SHARE || h->pane_count >= PANES_MAX) {
            p[kept].to_us = p[i].to_us;
            p[kept].count += p[i].count;
            p[kept].sum += p[i].sum;
            p[kept].square += p[i].square;
        } else {
            p[++kept] = p[i];
        }
    }
    h->pane_count = (uint16_t)(h->pane_count > 0 ? kept + 1 : 0);
}

/* Turns the `count` oldest entries into panes. */
static void fold(struct region *r, struct history *h, uint32_t count, int64_t now_us,
                 int64_t horizon_us)
{
    struct entry *e = history_entries(r, h);
    if (h->pane_count > 0) {
        drop_panes(r, h, now_us - horizon_us);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (e[i].time_us <= now_us - horizon_us) {
            continue;
        }
        if (h->panes == 0 || h->pane_count == capacity(h->pane_class, sizeof(struct pane))) {
            merge_panes(r, h, now_us);
            if ((h->panes == 0 ||
                 h->pane_count * 2U > capacity(h->pane_class, sizeof(struct pane))) &&
                !grow(r, &h->panes, &h->pane_class) &&
                (h->panes == 0 || h->pane_count == capacity(h->pane_class, sizeof(struct pane)))) {
                continue; /* no memory: this event is forgotten */
            }
        }
        struct pane *p = panes_of(r, h) + h->pane_count++;
        double amount = (double)e[i].amount / 100;
        double payment = (e[i].tag & ENTRY_PAYMENT) != 0 ? 1 : 0;
        *p = (struct pane){e[i].time_us, e[i].time_us, payment, payment * amount,
                           payment * amount * amount};
    }
    merge_panes(r, h, now_us);
    memmove(e, e + count, (h->n - count) * sizeof *e);
    h->n -= count;
}

static void drop_old_entries(struct region *r, struct history *h, int64_t before_us)
{
    struct entry *e = history_entries(r, h);
    uint32_t gone = 0;
    while (gone < h->n && e[gone].time_us <= before_us) {
        gone++;
    }
    if (gone > 0) {
        memmove(e, e + gone, (h->n - gone) * sizeof *e);
        h->n -= gone;
    }
}

static bool make_room(struct region *r, struct history *h, const struct history_limits *l,
                      int64_t now_us)
{
    if (h->entries != 0 && h->n < capacity(h->entry_class, sizeof(struct entry)) &&
        h->n < l->entries_max) {
        return true;
    }
    if (h->n > 0) {
        drop_old_entries(r, h, now_us - l->horizon_us);
    }
    if (h->n >= l->entries_max) {
        fold(r, h, l->entries_max / FOLD_SHARE, now_us, l->horizon_us);
        return true;
    }
    if (h->entries != 0 && h->n < capacity(h->entry_class, sizeof(struct entry))) {
        return true;
    }
    if (grow(r, &h->entries, &h->entry_class)) {
        return true;
    }
    if (h->n == 0) {
        return false;
    }
    /* no memory left: the oldest event makes room */
    drop_old_entries(r, h, history_entries(r, h)[0].time_us);
    return true;
}

bool history_add(struct region *r, struct history *h, const struct history_limits *l,
                 const struct entry *e)
{
    int64_t newest = h->n > 0 ? history_entries(r, h)[h->n - 1].time_us : e->time_us;
    if (e->time_us < newest) {
        bool before_entries = e->time_us < history_entries(r, h)[0].time_us;
        if (e->time_us <= newest - l->horizon_us || (h->pane_count > 0 && before_entries)) {
            return false;
        }
    }
    if (!make_room(r, h, l, e->time_us > newest ? e->time_us : newest)) {
        return false;
    }
    struct entry *all = history_entries(r, h);
    uint32_t at = h->n;
    while (at > 0 && all[at - 1].time_us > e->time_us) {
        at--;
    }
    memmove(all + at + 1, all + at, (h->n - at) * sizeof *all);
    all[at] = *e;
    h->n++;
    return true;
}

uint32_t history_upper(const struct region *r, const struct history *h, int64_t at_us)
{
    const struct entry *e = history_entries(r, h);
    uint32_t at = h->n;
    /* almost always the end */
    while (at > 0 && e[at - 1].time_us > at_us) {
        at--;
    }
    return at;
}

/* Share of a pane inside (from, to]. */
static double share_between(const struct pane *p, int64_t from_us, int64_t to_us)
{
    if (p->from_us > from_us && p->to_us <= to_us) {
        return 1;
    }
    if (p->to_us <= from_us || p->from_us > to_us) {
        return 0;
    }
    int64_t low = p->from_us > from_us ? p->from_us : from_us;
    int64_t high = p->to_us < to_us ? p->to_us : to_us;
    return (double)(high - low) / (double)(p->to_us - p->from_us + 1);
}

static void add_panes(const struct region *r, const struct history *h, int64_t at_us,
                      int64_t window_us, struct sums *out)
{
    const struct pane *p = panes_of(r, h);
    for (uint32_t i = h->pane_count; i-- > 0 && p[i].to_us > at_us - window_us;) {
        double share = share_between(&p[i], at_us - window_us, at_us);
        out->n += share * p[i].count;
        out->sum += share * p[i].sum;
        out->square += share * p[i].square;
    }
}

void history_windows(const struct region *r, const struct history *h, int64_t at_us,
                     const int64_t *window_us, size_t count, struct sums *out)
{
    const struct entry *e = history_entries(r, h);
    struct sums s = {0, 0, 0};
    size_t k = 0;
    for (uint32_t i = history_upper(r, h, at_us); i-- > 0 && k < count;) {
        while (k < count && e[i].time_us <= at_us - window_us[k]) {
            out[k++] = s;
        }
        if ((e[i].tag & ENTRY_PAYMENT) != 0) {
            double amount = (double)e[i].amount / 100;
            s.n += 1;
            s.sum += amount;
            s.square += amount * amount;
        }
    }
    while (k < count) {
        out[k] = s;
        if (h->pane_count > 0) {
            add_panes(r, h, at_us, window_us[k], &out[k]);
        }
        k++;
    }
}

double history_count_between(const struct region *r, const struct history *h, int64_t from_us,
                             int64_t to_us)
{
    const struct entry *e = history_entries(r, h);
    double n = 0;
    uint32_t i = history_upper(r, h, to_us);
    for (; i > 0 && e[i - 1].time_us > from_us; i--) {
        n += (e[i - 1].tag & ENTRY_PAYMENT) != 0 ? 1 : 0;
    }
    if (i == 0 && h->pane_count > 0) {
        struct sums s = {0, 0, 0};
        add_panes(r, h, to_us, to_us - from_us, &s);
        n += s.n;
    }
    return n;
}

void history_mark(struct region *r, struct history *h, int64_t time_us, uint32_t amount,
                  uint32_t set, uint32_t clear)
{
    struct entry *e = history_entries(r, h);
    for (uint32_t i = history_upper(r, h, time_us); i-- > 0 && e[i].time_us == time_us;) {
        if (e[i].amount == amount && ((e[i].tag & ~clear) | set) != e[i].tag) {
            e[i].tag = (e[i].tag & ~clear) | set;
            return;
        }
    }
}

void history_free(struct region *r, struct history *h)
{
    region_free(r, h->entries, h->entry_class);
    region_free(r, h->panes, h->pane_class);
    memset(h, 0, sizeof *h);
}

size_t history_bytes(const struct history *h)
{
    return (h->entries != 0 ? (size_t)REGION_UNIT << h->entry_class : 0) +
           (h->panes != 0 ? (size_t)REGION_UNIT << h->pane_class : 0);
}
