/* Time an event takes in features/, and the bytes it leaves, on three streams:
 *   simulated   every field present (daemon/simulate.h), 60 days measured after 120
 *   sparse      card, terminal, time, amount: the density of the handbook stream, 1.9 payments a
 * card and day, 5,000 cards, 10,000 terminals; 30 days measured after 90 cold        600,000 cards
 * in random order with every field: nothing of a card is in a cache Prefetched as the pipeline
 * does, and not.  CPU time of this thread; best of RUNS for `sparse` and `simulated`, whose state
 * is made anew each time. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "base/timefmt.h"
#include "daemon/simulate.h"
#include "features/state.h"
#include "tests/support/machine.h"

#define RUNS 3
#define MATURITY_US (7 * TIME_DAY)
/* what the pipeline keeps in a card: latents of two layers, the latest answers */
#define CALLER_BYTES 2048

struct events {
    struct tx *tx;
    int64_t *label_us; /* when its fraud becomes known; 0: none */
    size_t n, room;
};

static void *must(void *p)
{
    if (p == NULL) {
        fputs("no memory\n", stderr);
        exit(1);
    }
    return p;
}

static void add(struct events *e, const struct tx *t, int64_t label_us)
{
    if (e->n == e->room) {
        e->room = e->room == 0 ? 65536 : e->room * 2;
        e->tx = must(realloc(e->tx, e->room * sizeof *e->tx));
        e->label_us = must(realloc(e->label_us, e->room * sizeof *e->label_us));
    }
    e->tx[e->n] = *t;
    e->label_us[e->n++] = label_us;
}

static uint64_t identity(uint64_t kind, uint64_t number)
{
    return number != 0 ? hash_pair(kind, number) | 1 : 0;
}

static struct tx from_simulated(const struct sim_tx *s)
{
    return (struct tx){.id = identity(1, s->number),
                       .card = identity(2, s->card + UINT64_C(1)),
                       .merchant = identity(3, s->merchant + UINT64_C(1)),
                       .terminal = identity(4, s->terminal),
                       .device = identity(5, s->device),
                       .ip = identity(6, s->ip),
                       .event_us = s->event_us,
                       .amount_minor = s->amount_minor,
                       .amount_ref = (uint32_t)s->amount_minor,
                       .mcc = s->mcc,
                       .country = (uint16_t)(s->country[0] << 8 | s->country[1]),
                       .type = s->type,
                       .channel = s->channel,
                       .entry = s->entry,
                       .has_location = s->has_location,
                       .lat = (float)s->lat_e4 / 1e4F,
                       .lon = (float)s->lon_e4 / 1e4F};
}

static void make_simulated(struct events *e)
{
    struct sim_conf conf;
    struct sim *sim = NULL;
    struct sim_tx row;
    struct errmsg err;
    sim_conf_default(&conf);
    enum err code = sim_create(&conf, &sim, &err);
    while (code == ERR_OK && (code = sim_next(sim, &row, &err)) == ERR_OK) {
        struct tx t = from_simulated(&row);
        add(e, &t, row.label_us);
    }
    sim_free(sim);
    if (code != ERR_END) {
        fprintf(stderr, "simulating: %s\n", err.text);
        exit(1);
    }
}

static void make_sparse(struct events *e)
{
    struct rng g;
    rng_init(&g, 1);
    int64_t at_us = INT64_C(1522540800) * TIME_S;
    for (uint64_t i = 1; i <= UINT64_C(5000) * 228; i++) { /* 120 days */
        at_us += (int64_t)(rng_exponential(&g) * 120.0 / (5000 * 228) * (double)TIME_DAY);
        struct tx t = {.id = identity(1, i),
                       .card = identity(2, 1 + rng_below(&g, 5000)),
                       .terminal = identity(4, 1 + rng_below(&g, 10000)),
                       .event_us = at_us,
                       .amount_ref = (uint32_t)(rng_exponential(&g) * 6000)};
        add(e, &t, rng_below(&g, 120) == 0 ? at_us + 7 * TIME_DAY : 0);
    }
}

static void make_cold(struct events *e)
{
    struct rng g;
    rng_init(&g, 2);
    int64_t at_us = INT64_C(1522540800) * TIME_S;
    for (uint64_t i = 1; i <= 3000000; i++) { /* five a card in 30 days */
        at_us += (int64_t)(30 * TIME_DAY / 3000000);
        uint64_t card = 1 + rng_below(&g, 600000);
        struct tx t = {.id = identity(1, i),
                       .card = identity(2, card),
                       .merchant = identity(3, 1 + rng_below(&g, 30000)),
                       .terminal = identity(4, 1 + rng_below(&g, 100000)),
                       .device = identity(5, card * 2 + rng_below(&g, 2)),
                       .ip = identity(6, card * 3 + rng_below(&g, 3)),
                       .event_us = at_us,
                       .amount_ref = (uint32_t)(rng_exponential(&g) * 6000),
                       .mcc = (uint16_t)(5000 + rng_below(&g, 200)),
                       .country = (uint16_t)('D' << 8 | 'E'),
                       .channel = CHANNEL_POS,
                       .entry = ENTRY_CHIP,
                       .has_location = true,
                       .lat = (float)(50 + rng_uniform(&g)),
                       .lon = (float)(10 + rng_uniform(&g))};
        add(e, &t, rng_below(&g, 400) == 0 ? at_us + 7 * TIME_DAY : 0);
    }
}

static void give_label(struct feat_world *w, const struct tx *t, int64_t known_us, float ratio,
                       uint64_t number)
{
    const struct label l = {.source = 1,
                            .number = number,
                            .tx_id = t->id,
                            .card = t->card,
                            .merchant = t->merchant,
                            .terminal = t->terminal,
                            .device = t->device,
                            .ip = t->ip,
                            .event_us = t->event_us,
                            .known_us = known_us,
                            .amount_ref = t->amount_ref,
                            .usual_ratio = ratio,
                            .mcc = t->mcc,
                            .country = t->country,
                            .verdict = LABEL_FRAUD};
    if (feat_label(w, &l) != ERR_OK) {
        fputs("the label queue is full\n", stderr);
        exit(1);
    }
}

struct features {
    struct feat_world *w;
    struct feat_state *s;
};

static struct features create(void)
{
    struct feature_params p;
    struct feat_world_limits wl;
    struct feat_limits l;
    struct features f = {NULL, NULL};
    struct errmsg e;
    feature_params_default(&p);
    p.maturity_us = MATURITY_US;
    feat_world_limits_default(&wl);
    feat_limits_default(&l);
    wl.place_max = 4000000;
    l.card_extra_bytes = CALLER_BYTES;
    if (feat_world_create(&p, &wl, &f.w, &e) != ERR_OK ||
        feat_state_create(f.w, &l, &f.s, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    return f;
}

/* Events [from, to); returns ns an event and mixes the rows into *hash. */
static double run(const struct features *f, const struct events *e, size_t from, size_t to,
                  bool prefetch, uint64_t *hash)
{
    float x[FEAT_DIM];
    struct feat_facts facts;
    double start = (double)machine_thread_ns();
    for (size_t i = from; i < to; i++) {
        if (prefetch && (i - from) % FEAT_PREFETCH_MAX == 0) {
            feat_prefetch(f->s, &e->tx[i], to - i);
        }
        feat_extract(f->s, &e->tx[i], x, &facts);
        if (e->label_us[i] != 0) {
            give_label(f->w, &e->tx[i], e->label_us[i], facts.usual_ratio, i + 1);
        }
        *hash = *hash * 31 + (uint64_t)(x[FEAT_card_count_7d] * 1000);
    }
    return ((double)machine_thread_ns() - start) / (double)(to - from);
}

static int by_size(const void *a, const void *b)
{
    size_t x = *(const size_t *)a;
    size_t y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

struct of_card {
    uint64_t card;
    int64_t event_us;
};

static int by_card(const void *a, const void *b)
{
    const struct of_card *x = a;
    const struct of_card *y = b;
    if (x->card != y->card) {
        return x->card < y->card ? -1 : 1;
    }
    return x->event_us < y->event_us ? -1 : x->event_us > y->event_us;
}

/* Bytes of every card and of the largest merchant; how many cards are over their bound. */
static void print_bytes(const struct features *f, const struct events *e)
{
    struct of_card *all = must(malloc(e->n * sizeof *all));
    size_t *bytes = must(calloc(e->n, sizeof *bytes));
    size_t n = 0;
    size_t largest = 0;
    size_t over = 0;
    for (size_t i = 0; i < e->n; i++) {
        all[i] = (struct of_card){e->tx[i].card,
                                  e->tx[i].event_us > feat_clock_us(f->s) - 90 * TIME_DAY};
        size_t m = e->tx[i].merchant != 0 ? feat_place_bytes(f->w, e->tx[i].merchant) : 0;
        largest = m > largest ? m : largest;
    }
    qsort(all, e->n, sizeof *all, by_card);
    for (size_t i = 0, first = 0; i < e->n; i++) {
        if (i + 1 < e->n && all[i + 1].card == all[i].card) {
            continue;
        }
        /* the longest window: payments whose label became known in 90 days, at the card's last
         * event */
        int64_t from_us = all[i].event_us - 90 * TIME_DAY - MATURITY_US;
        while (all[first].card != all[i].card || all[first].event_us <= from_us) {
            first++;
        }
        bytes[n] = feat_card_bytes(f->s, all[i].card);
        over += bytes[n++] > 4096 + 16 * (i + 1 - first);
    }
    qsort(bytes, n, sizeof *bytes, by_size);
    struct feat_counters c;
    struct feat_world_counters w;
    feat_counters(f->s, &c);
    feat_world_counters(f->w, &w);
    printf(
        "  bytes a card, %d of them for the caller: p50 %zu p99 %zu max %zu; of %zu cards %zu are "
        "over 4,096 + 16 an event of 97 days; largest merchant %zu; all %.1f MB\n",
        CALLER_BYTES, bytes[n / 2], bytes[n * 99 / 100], bytes[n - 1], n, over, largest,
        (double)(c.bytes + w.bytes) / 1e6);
    free(all);
    free(bytes);
}

static void measure(const char *name, void (*make)(struct events *), double warm_share, int runs)
{
    struct events e = {NULL, NULL, 0, 0};
    make(&e);
    size_t warm = (size_t)((double)e.n * warm_share);
    double best[2] = {1e30, 1e30};
    uint64_t hash[2] = {0, 0};
    for (int r = 0; r < 2 * runs; r++) {
        struct features f = create();
        bool prefetch = r % 2 == 1;
        hash[prefetch] = 0;
        (void)run(&f, &e, 0, warm, prefetch, &hash[prefetch]);
        double ns = run(&f, &e, warm, e.n, prefetch, &hash[prefetch]);
        best[prefetch] = ns < best[prefetch] ? ns : best[prefetch];
        if (r == 0) {
            printf("%s: %zu events, %zu of them measured\n", name, e.n, e.n - warm);
            print_bytes(&f, &e);
        }
        feat_state_free(f.s);
        feat_world_free(f.w);
    }
    printf("  %.0f ns an event, prefetched %.0f ns (%.0f a second)%s\n", best[0], best[1],
           1e9 / best[1], hash[0] == hash[1] ? "" : " ROWS DIFFER");
    fflush(stdout);
    free(e.tx);
    free(e.label_us);
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    if (strcmp(only, "") == 0 || strcmp(only, "simulated") == 0) {
        measure("simulated", make_simulated, 2.0 / 3, RUNS);
    }
    if (strcmp(only, "") == 0 || strcmp(only, "sparse") == 0) {
        measure("sparse", make_sparse, 0.75, RUNS);
    }
    if (strcmp(only, "") == 0 || strcmp(only, "cold") == 0) {
        measure("cold", make_cold, 0.8, 1);
    }
    return 0;
}
