#include "features/panes.h"

#include <string.h>

/* a pane may span this share of its age */
#define PANE_SHARE 16

static struct pane *panes_of(const struct region *r, const struct history *h)
{
    return region_at(r, h->panes);
}

static uint32_t capacity(const struct history *h)
{
    return h->panes == 0 ? 0
                         : (uint32_t)(((size_t)REGION_UNIT << h->pane_class) / sizeof(struct pane));
}

int64_t panes_end(const struct region *r, const struct history *h)
{
    return h->pane_count > 0 ? panes_of(r, h)[h->pane_count - 1].to_us : INT64_MIN;
}

static void drop(struct region *r, struct history *h, uint32_t count)
{
    struct pane *p = panes_of(r, h);
    memmove(p, p + count, (h->pane_count - count) * sizeof *p);
    h->pane_count = (uint16_t)(h->pane_count - count);
}

void panes_forget(struct region *r, struct history *h, int64_t after_us)
{
    uint32_t gone = 0;
    while (gone < h->pane_count && panes_of(r, h)[gone].to_us <= after_us) {
        gone++;
    }
    if (gone > 0) {
        drop(r, h, gone);
    }
}

void panes_merge(struct region *r, struct history *h, int64_t now_us)
{
    struct pane *p = panes_of(r, h);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < h->pane_count; i++) {
        int64_t age = now_us - p[i].to_us;
        if (p[i].to_us - p[kept].from_us <= age / PANE_SHARE) {
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

/* A block twice as large with the same content; false: no memory or at the bound. */
static bool grow(struct region *r, struct history *h)
{
    unsigned larger = h->panes == 0 ? 0 : h->pane_class + 1U;
    uint32_t block = capacity(h) < PANES_MAX ? region_alloc(r, larger) : 0;
    if (block == 0) {
        return false;
    }
    if (h->panes != 0) {
        memcpy(region_at(r, block), panes_of(r, h), h->pane_count * sizeof(struct pane));
        region_free(r, h->panes, h->pane_class);
    }
    h->panes = block;
    h->pane_class = (uint8_t)larger;
    return true;
}

void panes_add(struct region *r, struct history *h, const struct entry *e, int64_t now_us)
{
    if (h->pane_count == capacity(h)) {
        panes_merge(r, h, now_us);
        /* half full after merging: the next merge would come too soon */
        if (h->pane_count * 2U >= capacity(h) && !grow(r, h) && h->pane_count == capacity(h)) {
            if (h->panes == 0) {
                return;
            }
            drop(r, h, 1); /* no memory left: the oldest pane makes room */
        }
    }
    double amount = (e->tag & ENTRY_PAYMENT) != 0 ? (double)e->amount : 0;
    panes_of(r, h)[h->pane_count++] = (struct pane){
        e->time_us, e->time_us, (e->tag & ENTRY_PAYMENT) != 0 ? 1 : 0, amount, amount * amount};
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

void panes_sum(const struct view *v, int64_t from_us, int64_t to_us, struct sums *out)
{
    const struct pane *p = panes_of(v->region, v->history);
    for (uint32_t i = v->history->pane_count; i-- > 0 && p[i].to_us > from_us;) {
        double share = share_between(&p[i], from_us, to_us);
        out->pane_n += share * p[i].count;
        out->pane_sum += share * p[i].sum;
        out->pane_square += share * p[i].square;
    }
}

int64_t panes_latest(const struct view *v, int64_t to_us)
{
    const struct pane *p = panes_of(v->region, v->history);
    if (to_us <= v->after_us) {
        return INT64_MIN;
    }
    for (uint32_t i = v->history->pane_count; i-- > 0 && p[i].to_us > v->after_us;) {
        if (p[i].from_us <= to_us && p[i].count > 0) {
            return p[i].to_us < to_us ? p[i].to_us : to_us;
        }
    }
    return INT64_MIN;
}
