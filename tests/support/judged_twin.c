#include "tests/support/judged_twin.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/rng.h"
#include "base/timefmt.h"

#define CARDS 256

/* Whether the row is one of the test: of the days tested, its card not known by then. */
static bool *choose(const struct judged *j, size_t n, int64_t first_day, int leave_out_known)
{
    bool *in = calloc(n + 1, 1);
    int64_t last = n > 0 ? time_day(j[n - 1].event_us) : 0;
    for (int64_t d = first_day; d <= last; d++) {
        bool known[CARDS] = {false};
        for (size_t i = 0; i < n; i++) {
            int64_t day = time_day(j[i].event_us);
            bool training = day >= first_day - 14 && day < first_day - 7;
            bool since = day >= first_day - 7 && day <= d - 8;
            known[j[i].card] |= j[i].fraud && (training || since);
        }
        for (size_t i = 0; i < n; i++) {
            bool today = time_day(j[i].event_us) == d;
            in[i] |= today && !(leave_out_known && known[j[i].card]);
        }
    }
    return in;
}

static void rank(const struct judged *j, const bool *in, size_t n, struct twin_figures *out)
{
    double above = 0;
    double precision = 0;
    for (size_t i = 0; i < n; i++) {
        if (!in[i]) {
            continue;
        }
        out->payments++;
        if (!j[i].fraud) {
            continue;
        }
        double hit = 0;
        double all = 0;
        out->frauds++;
        for (size_t k = 0; k < n; k++) {
            if (in[k] && !j[k].fraud) {
                above += j[i].score > j[k].score ? 1 : j[i].score < j[k].score ? 0 : 0.5;
            }
            if (in[k] && j[k].score >= j[i].score) {
                all++;
                hit += j[k].fraud;
            }
        }
        precision += hit / all;
    }
    double frauds = (double)out->frauds;
    out->auc = above / (frauds * ((double)out->payments - frauds));
    out->ap = precision / frauds;
}

/* Frauds among the day's best cards; marks them. */
static size_t examine(const struct judged *j, const bool *in, size_t n, int64_t day, size_t k,
                      bool found[CARDS])
{
    bool left[CARDS] = {false};
    bool hit[CARDS] = {false};
    float best[CARDS];
    size_t first[CARDS];
    size_t hits = 0;
    for (size_t i = n; i-- > 0;) {
        uint64_t c = j[i].card;
        if (in[i] && time_day(j[i].event_us) == day && !found[c]) {
            best[c] = left[c] && best[c] > j[i].score ? best[c] : j[i].score;
            hit[c] |= j[i].fraud;
            first[c] = i;
            left[c] = true;
        }
    }
    for (size_t rank = 0; rank < k; rank++) {
        int top = -1;
        for (int c = 0; c < CARDS; c++) {
            if (left[c] && (top < 0 || best[c] > best[top] ||
                            (!(best[c] < best[top]) && first[c] < first[top]))) {
                top = c;
            }
        }
        if (top >= 0) {
            left[top] = false;
            hits += hit[top];
            found[top] |= hit[top];
        }
    }
    return hits;
}

struct twin_figures twin_handbook(const struct judged *history, size_t n, int64_t first_day,
                                  int leave_out_known, size_t top_cards)
{
    struct twin_figures out = {0};
    bool *in = choose(history, n, first_day, leave_out_known);
    bool found[CARDS] = {false};
    double sum = 0;
    size_t days = 0;
    rank(history, in, n, &out);
    for (int64_t d = first_day; n > 0 && d <= time_day(history[n - 1].event_us); d++) {
        bool any = false;
        for (size_t i = 0; i < n; i++) {
            any |= in[i] && time_day(history[i].event_us) == d;
        }
        days += any;
        sum += (double)examine(history, in, n, d, top_cards, found) / (double)top_cards;
    }
    out.card_precision = sum / (double)days;
    free(in);
    return out;
}

size_t twin_judged(uint64_t seed, int64_t first_day, size_t days, struct judged *out, size_t n)
{
    struct rng rng;
    int64_t at = first_day * TIME_DAY;
    int64_t end = at + (int64_t)days * TIME_DAY;
    int64_t streak[CARDS];
    size_t made = 0;
    rng_init(&rng, seed);
    for (int c = 0; c < CARDS; c++) { /* each card's three bad days */
        streak[c] = first_day + (int64_t)rng_below(&rng, days + 20);
    }
    double step = (double)(end - at) / (double)n;
    for (; made < n; made++) {
        at += (int64_t)(step * rng_exponential(&rng));
        if (at >= end) {
            break;
        }
        uint64_t card = rng_below(&rng, 60);
        int64_t late = time_day(at) - streak[card];
        bool fraud = late >= 0 && late < 3 && rng_below(&rng, 3) == 0;
        double z = 1.5 * rng_normal(&rng) - 3 + (fraud ? 3 : 0);
        out[made] =
            (struct judged){.card = card,
                            .event_us = at,
                            .amount = (double)(1 + rng_below(&rng, 20000)) / 100,
                            .score = (float)(floor(64 / (1 + exp(-z))) + 0.5) / 64, /* many ties */
                            .fraud = fraud,
                            .alert = z > -1};
    }
    return made;
}
