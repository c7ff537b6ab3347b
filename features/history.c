#include "features/history.h"

#include <math.h>
#include <string.h>

#include "features/chunk_kernel.h"
#include "features/panes.h"

/* 512 B: 30 entries */
#define CHUNK_CLASS_MAX 3U
/* of the entries, this share is folded at once when the limit is reached */
#define FOLD_SHARE 4U

static uint32_t capacity(const struct chunk *c)
{
    return (uint32_t)((((size_t)REGION_UNIT << c->size_class) - sizeof *c) / sizeof c->entry[0]);
}

static struct chunk *chunk_at(struct region *r, uint32_t block)
{
    return region_at(r, block);
}

static wide_sum square_of(const struct chunk *c)
{
    return (wide_sum)c->square_high << 64 | c->square_low;
}

/* Takes an entry into the chunk's sums, or out of them. */
static void account(struct chunk *c, const struct entry *e, bool in)
{
    if ((e->tag & ENTRY_PAYMENT) == 0) {
        return;
    }
    uint8_t fraud = (e->tag & ENTRY_FRAUD) != 0;
    wide_sum square = (uint64_t)e->amount * e->amount;
    square = in ? square_of(c) + square : square_of(c) - square;
    c->square_low = (uint64_t)square;
    c->square_high = (uint8_t)(square >> 64);
    c->sum = in ? c->sum + e->amount : c->sum - e->amount;
    c->payments = (uint8_t)(in ? c->payments + 1 : c->payments - 1);
    c->frauds = (uint8_t)(in ? c->frauds + fraud : c->frauds - fraud);
}

static void free_oldest_chunk(struct region *r, struct history *h)
{
    struct chunk *c = chunk_at(r, h->oldest);
    uint32_t newer = c->newer;
    h->n -= c->n;
    region_free(r, h->oldest, c->size_class);
    h->oldest = newer;
    if (newer != 0) {
        chunk_at(r, newer)->older = 0;
    } else {
        h->newest = 0;
    }
}

/* Removes the `count` oldest entries of the oldest chunk. */
static void drop_entries(struct region *r, struct history *h, uint32_t count)
{
    struct chunk *c = chunk_at(r, h->oldest);
    if (count >= c->n) {
        free_oldest_chunk(r, h);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        account(c, &c->entry[i], false);
    }
    memmove(c->entry, c->entry + count, (c->n - count) * sizeof c->entry[0]);
    c->n = (uint8_t)(c->n - count);
    h->n -= count;
}

/* Gives back what is forgotten. */
static void trim(struct region *r, struct history *h, int64_t after_us)
{
    while (h->oldest != 0) {
        const struct chunk *c = chunk_at(r, h->oldest);
        uint32_t gone = 0;
        while (gone < c->n && c->entry[gone].time_us <= after_us) {
            gone++;
        }
        if (gone == 0) {
            return;
        }
        drop_entries(r, h, gone);
    }
}

/* Turns the `count` oldest entries into panes. */
static void fold(struct region *r, struct history *h, uint32_t count, int64_t now_us,
                 int64_t after_us)
{
    panes_forget(r, h, after_us);
    while (count > 0 && h->oldest != 0) {
        const struct chunk *c = chunk_at(r, h->oldest);
        uint32_t here = count < c->n ? count : c->n;
        for (uint32_t i = 0; i < here; i++) {
            panes_add(r, h, &c->entry[i], now_us);
        }
        drop_entries(r, h, here);
        count -= here;
    }
    panes_merge(r, h, now_us);
}

/* The block of a chunk of that class between two neighbours, or 0: no memory. */
static uint32_t link_chunk(struct region *r, struct history *h, uint32_t older, uint32_t newer,
                           unsigned size_class)
{
    uint32_t block = region_alloc(r, size_class);
    if (block == 0) {
        return 0;
    }
    struct chunk *c = chunk_at(r, block);
    c->older = older;
    c->newer = newer;
    c->size_class = (uint8_t)size_class;
    *(older != 0 ? &chunk_at(r, older)->newer : &h->oldest) = block;
    *(newer != 0 ? &chunk_at(r, newer)->older : &h->newest) = block;
    return block;
}

/* Makes a full chunk the next size. */
static bool grow_chunk(struct region *r, struct history *h, uint32_t block)
{
    const struct chunk *c = chunk_at(r, block);
    uint32_t larger = link_chunk(r, h, c->older, c->newer, c->size_class + 1U);
    if (larger == 0) {
        return false;
    }
    struct chunk *to = chunk_at(r, larger);
    uint8_t size_class = to->size_class;
    memcpy(to, c, sizeof *c + c->n * sizeof c->entry[0]);
    to->size_class = size_class;
    region_free(r, block, c->size_class);
    return true;
}

/* Moves the newer half of a full chunk into one of its own. */
static bool split_chunk(struct region *r, struct history *h, uint32_t block)
{
    struct chunk *c = chunk_at(r, block);
    uint32_t half = link_chunk(r, h, block, c->newer, CHUNK_CLASS_MAX);
    if (half == 0) {
        return false;
    }
    struct chunk *to = chunk_at(r, half);
    to->n = (uint8_t)(c->n / 2);
    c->n = (uint8_t)(c->n - to->n);
    memcpy(to->entry, c->entry + c->n, to->n * sizeof c->entry[0]);
    for (uint32_t i = 0; i < to->n; i++) {
        account(c, &to->entry[i], false);
        account(to, &to->entry[i], true);
    }
    return true;
}

/* The newest chunk that begins at or before the time, else the oldest; 0: there is none. */
static uint32_t chunk_for(struct region *r, const struct history *h, int64_t time_us)
{
    uint32_t block = h->newest;
    while (block != 0) {
        const struct chunk *c = chunk_at(r, block);
        if (c->older == 0 || c->entry[0].time_us <= time_us) {
            return block;
        }
        block = c->older;
    }
    return 0;
}

/* Room for an entry of that time near `block`; false: no memory. */
static bool make_room(struct region *r, struct history *h, uint32_t block, int64_t time_us)
{
    if (block == 0) {
        return link_chunk(r, h, 0, 0, 0) != 0;
    }
    const struct chunk *c = chunk_at(r, block);
    if (c->size_class < CHUNK_CLASS_MAX) {
        return grow_chunk(r, h, block);
    }
    if (c->newer == 0 && c->entry[c->n - 1].time_us <= time_us) {
        return link_chunk(r, h, block, 0, 0) != 0;
    }
    return split_chunk(r, h, block);
}

static void insert(struct chunk *c, const struct entry *e)
{
    uint32_t at = c->n;
    while (at > 0 && c->entry[at - 1].time_us > e->time_us) {
        at--;
    }
    memmove(c->entry + at + 1, c->entry + at, (c->n - at) * sizeof *e);
    c->entry[at] = *e;
    c->n++;
    account(c, e, true);
}

bool history_add(struct region *r, struct history *h, const struct history_limits *l,
                 const struct entry *e)
{
    const struct chunk *newest = history_chunk(r, h->newest);
    int64_t now_us = e->time_us;
    if (newest != NULL && newest->entry[newest->n - 1].time_us > now_us) {
        now_us = newest->entry[newest->n - 1].time_us;
    }
    int64_t after_us = now_us - l->horizon_us;
    if (e->time_us <= after_us || e->time_us < panes_end(r, h)) {
        return false;
    }
    if (newest != NULL && (h->n >= l->entries_max || newest->n == capacity(newest))) {
        trim(r, h, after_us);
        if (h->n >= l->entries_max) {
            fold(r, h, l->entries_max / FOLD_SHARE, now_us, after_us);
            if (e->time_us < panes_end(r, h)) {
                return false;
            }
        }
    }
    for (;;) {
        uint32_t block = chunk_for(r, h, e->time_us);
        if (block != 0 && chunk_at(r, block)->n < capacity(chunk_at(r, block))) {
            insert(chunk_at(r, block), e);
            h->n++;
            return true;
        }
        if (!make_room(r, h, block, e->time_us)) {
            /* no memory left: the oldest events make room */
            if (h->oldest == 0) {
                return false;
            }
            drop_entries(r, h, h->oldest == h->newest ? 1 : UINT16_MAX);
        }
    }
}

struct view history_view(const struct region *r, const struct history *h,
                         const struct history_limits *l, int64_t at_us)
{
    const struct chunk *c = history_chunk(r, h->newest);
    struct view v = {r, h, at_us, at_us - l->horizon_us, NULL, 0};
    if (c == NULL) {
        return v;
    }
    int64_t newest_us = c->entry[c->n - 1].time_us;
    if (newest_us > at_us) {
        v.after_us = newest_us - l->horizon_us;
    }
    while (c != NULL && c->entry[0].time_us > at_us) {
        c = history_chunk(r, c->older);
    }
    if (c != NULL) {
        v.top = c;
        v.top_n = c->n;
        while (c->entry[v.top_n - 1].time_us > at_us) {
            v.top_n--;
        }
    }
    return v;
}

/* Where the window begins that ends at the view's event. */
static int64_t window_edge(const struct view *v, int64_t window_us)
{
    int64_t edge = v->at_us - window_us;
    return edge > v->after_us ? edge : v->after_us;
}

static inline void add_chunk(struct sums *s, const struct chunk *c)
{
    s->n += c->payments;
    s->sum += c->sum;
    s->square += square_of(c);
}

void view_windows(const struct view *v, const int64_t *window_us, size_t count, struct sums *out)
{
    const struct chunk_kernel *kernel = chunk_kernel_best();
    const struct chunk *c = v->top;
    struct sums s = {0}; /* of the chunks that lie wholly inside the window */
    for (size_t k = 0; k < count; k++) {
        int64_t edge_us = window_edge(v, window_us[k]);
        for (; c != NULL && c->entry[0].time_us > edge_us; c = view_older(v, c)) {
            if (view_count_in(v, c) == c->n) {
                add_chunk(&s, c);
            } else {
                kernel->window_part(c->entry, view_count_in(v, c), edge_us, &s);
            }
        }
        out[k] = s;
        if (c != NULL && c->entry[view_count_in(v, c) - 1].time_us > edge_us) {
            kernel->window_part(c->entry, view_count_in(v, c), edge_us, &out[k]);
        }
    }
    for (size_t k = 0; k < count && v->history->pane_count > 0; k++) {
        panes_sum(v, window_edge(v, window_us[k]), v->at_us, &out[k]);
    }
}

int64_t view_place(const struct view *v, uint32_t place, const int64_t *window_us, size_t count,
                   uint32_t *out)
{
    const struct chunk_kernel *kernel = chunk_kernel_best();
    int64_t end_us = window_edge(v, window_us[count - 1]);
    int64_t latest_us = INT64_MIN;
    memset(out, 0, count * sizeof *out);
    for (const struct chunk *c = v->top; c != NULL; c = view_older(v, c)) {
        uint32_t n = view_count_in(v, c);
        if (c->entry[n - 1].time_us <= end_us) {
            break;
        }
        for (uint32_t found = kernel->at_place(c->entry, n, place); found != 0;) {
            uint32_t i = 31U - (uint32_t)__builtin_clz(found);
            int64_t age = v->at_us - c->entry[i].time_us;
            found &= ~(1U << i);
            if (c->entry[i].time_us <= end_us) {
                break;
            }
            latest_us = latest_us == INT64_MIN ? c->entry[i].time_us : latest_us;
            for (size_t k = 0; k < count; k++) {
                out[k] += age < window_us[k];
            }
        }
    }
    return latest_us;
}

double view_count_unmarked(const struct view *v, int64_t from_us, int64_t to_us)
{
    struct sums s = {0};
    from_us = from_us > v->after_us ? from_us : v->after_us;
    for (const struct chunk *c = v->top; c != NULL; c = view_older(v, c)) {
        if (c->entry[0].time_us > to_us) {
            continue;
        }
        if (c->entry[0].time_us > from_us && c->entry[c->n - 1].time_us <= to_us) {
            s.n += (uint32_t)(c->payments - c->frauds);
            continue;
        }
        for (uint32_t i = c->n; i-- > 0;) {
            if (c->entry[i].time_us <= from_us) {
                return (double)s.n; /* panes lie before */
            }
            s.n += c->entry[i].time_us <= to_us &&
                   (c->entry[i].tag & (ENTRY_PAYMENT | ENTRY_FRAUD)) == ENTRY_PAYMENT;
        }
    }
    panes_sum(v, from_us, to_us, &s);
    return sums_n(&s);
}

int64_t view_latest_legitimate(const struct view *v, int64_t to_us)
{
    for (const struct chunk *c = v->top; c != NULL; c = view_older(v, c)) {
        if (c->entry[0].time_us > to_us || c->payments == c->frauds) {
            continue;
        }
        for (uint32_t i = c->n; i-- > 0;) {
            if (c->entry[i].time_us <= v->after_us) {
                return INT64_MIN;
            }
            if (c->entry[i].time_us <= to_us &&
                (c->entry[i].tag & (ENTRY_PAYMENT | ENTRY_FRAUD)) == ENTRY_PAYMENT) {
                return c->entry[i].time_us;
            }
        }
    }
    return panes_latest(v, to_us);
}

/* Replaces `from` by `to`, each ENTRY_FRAUD or 0, in the latest entry that fits. */
static void change(struct region *r, const struct history *h, const struct entry_key *key,
                   uint32_t from, uint32_t to)
{
    for (uint32_t block = h->newest; block != 0; block = chunk_at(r, block)->older) {
        struct chunk *c = chunk_at(r, block);
        for (uint32_t i = c->n; i-- > 0;) {
            struct entry *e = &c->entry[i];
            if (e->time_us < key->time_us) {
                return;
            }
            if (e->time_us == key->time_us && e->amount == key->amount &&
                (e->tag & (ENTRY_PAYMENT | ENTRY_FRAUD)) == (ENTRY_PAYMENT | from) &&
                (key->place == 0 || e->tag >> 8 == key->place)) {
                account(c, e, false);
                e->tag = (e->tag & ~(uint32_t)ENTRY_FRAUD) | to;
                account(c, e, true);
                return;
            }
        }
    }
}

void history_mark(struct region *r, const struct history *h, const struct entry_key *key)
{
    change(r, h, key, 0, ENTRY_FRAUD);
}

void history_unmark(struct region *r, const struct history *h, const struct entry_key *key)
{
    change(r, h, key, ENTRY_FRAUD, 0);
}

void history_free(struct region *r, struct history *h)
{
    while (h->oldest != 0) {
        free_oldest_chunk(r, h);
    }
    region_free(r, h->panes, h->pane_class);
    memset(h, 0, sizeof *h);
}

size_t history_bytes(const struct region *r, const struct history *h)
{
    size_t bytes = h->panes != 0 ? (size_t)REGION_UNIT << h->pane_class : 0;
    for (const struct chunk *c = history_chunk(r, h->newest); c != NULL;
         c = history_chunk(r, c->older)) {
        bytes += (size_t)REGION_UNIT << c->size_class;
    }
    return bytes;
}

double sums_mean(const struct sums *s)
{
    double n = sums_n(s);
    return n > 0 ? ((double)s->sum + s->pane_sum) / n / 100 : 0;
}

double sums_deviation(const struct sums *s)
{
    double n = sums_n(s);
    if (!(n > 0)) {
        return 0;
    }
    double variance = 0; /* n^2 times that of the amounts */
    if (s->pane_n > 0) {
        double sum = (double)s->sum + s->pane_sum;
        variance = n * ((double)s->square + s->pane_square) - sum * sum;
    } else {
        variance = (double)(s->n * s->square - (wide_sum)s->sum * s->sum);
    }
    return variance > 0 ? sqrt(variance) / n / 100 : 0;
}
