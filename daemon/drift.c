#include "daemon/drift.h"

#include <math.h>
#include <stdlib.h>

#include "model/bins.h"

const float DRIFT_SCORE_EDGES[DRIFT_SCORE_BINS - 1] = {.0002F, .0005F, .001F, .002F, .005F, .01F,
                                                       .02F,   .05F,   .1F,   .2F,   .5F,   .8F};

/* Weight of the old and the new payments in a bin. */
struct counted {
    double old, fresh;
};

struct counts {
    struct counted *bin; /* [bins of all columns] */
    struct counted score[DRIFT_SCORE_BINS];
    double old_weight, fresh_weight;
};

static size_t score_bin(float p)
{
    size_t bin = 0;
    while (bin < DRIFT_SCORE_BINS - 1 && p > DRIFT_SCORE_EDGES[bin]) {
        bin++;
    }
    return bin;
}

static void add(struct counted *c, bool fresh, double weight)
{
    *(fresh ? &c->fresh : &c->old) += weight;
}

static void count_rows(const struct update_rows *r, const struct net_encoding *enc,
                       const struct bins_finder *finder, const float *served, struct counts *c,
                       struct drift *d)
{
    uint32_t bin[FEAT_DIM];
    for (size_t i = 0; i < r->n; i++) {
        bool fresh = r->use[i] != USE_REPLAY;
        double weight = fresh ? 1 : (double)r->weight[i];
        if (r->use[i] == USE_CONTEXT) {
            continue;
        }
        bins_find_row(finder, (const float *)r->columns.base + i * FEAT_DIM, bin);
        for (size_t k = 0; k < FEAT_DIM; k++) {
            add(&c->bin[enc->first_row[k] + bin[k]], fresh, weight);
        }
        add(&c->score[score_bin(served[i])], fresh, weight);
        *(fresh ? &c->fresh_weight : &c->old_weight) += weight;
        *(fresh ? &d->fresh : &d->old) += 1;
    }
}

/* Half a payment more in each bin: an empty one would make the index infinite. */
static double index_of(const struct counted *bin, size_t bins, const struct counts *c,
                       const struct drift *d)
{
    double sum = 0;
    double n = (double)bins / 2;
    for (size_t i = 0; i < bins; i++) {
        double old = (bin[i].old / c->old_weight * (double)d->old + .5) / ((double)d->old + n);
        double fresh =
            (bin[i].fresh / c->fresh_weight * (double)d->fresh + .5) / ((double)d->fresh + n);
        sum += (fresh - old) * log(fresh / old);
    }
    return sum;
}

static void fill(const struct counts *c, const struct net_encoding *enc, struct drift *d)
{
    size_t columns[GROUP_COUNT] = {0};
    double sum[GROUP_COUNT] = {0};
    for (size_t k = 0; k < FEAT_DIM; k++) {
        size_t bins = enc->first_row[k + 1] - enc->first_row[k];
        enum feature_group g = feature_info(k)->group;
        d->column[k] = index_of(c->bin + enc->first_row[k], bins, c, d);
        sum[g] += bins > 1 ? d->column[k] : 0;
        columns[g] += bins > 1;
    }
    for (size_t g = 0; g < GROUP_COUNT; g++) {
        d->group[g] = columns[g] > 0 ? sum[g] / (double)columns[g] : (double)NAN;
    }
    d->score = index_of(c->score, DRIFT_SCORE_BINS, c, d);
    for (size_t i = 0; i < DRIFT_SCORE_BINS; i++) {
        d->share[0][i] = c->score[i].old / c->old_weight;
        d->share[1][i] = c->score[i].fresh / c->fresh_weight;
    }
}

/* The next smaller one each time, the first column of equals first. */
static void find_top(struct drift *d)
{
    bool taken[FEAT_DIM] = {false};
    for (size_t i = 0; i < DRIFT_TOP; i++) {
        size_t best = FEAT_DIM;
        for (size_t k = 0; k < FEAT_DIM; k++) {
            if (!taken[k] && (best == FEAT_DIM || d->column[k] > d->column[best])) {
                best = k;
            }
        }
        d->top[i] = best;
        taken[best] = true;
    }
}

enum err drift_measure(const struct update_rows *r, const struct net_encoding *enc,
                       const float *served, struct drift *out, struct errmsg *e)
{
    struct counts c = {.bin = calloc(enc->first_row[FEAT_DIM], sizeof *c.bin)};
    struct bins_finder finder = {0};
    struct drift d = {.score = (double)NAN};
    enum err err = ERR_OK;
    if (c.bin == NULL) {
        err = err_set(e, ERR_NOMEM, "no memory to count %u bins", enc->first_row[FEAT_DIM]);
    }
    if (err == ERR_OK) {
        err = bins_finder_init(&finder, enc, e);
    }
    if (err == ERR_OK) {
        count_rows(r, enc, &finder, served, &c, &d);
        fill(&c, enc, &d);
        find_top(&d);
        *out = d;
    }
    bins_finder_done(&finder);
    free(c.bin);
    return err;
}

size_t drift_count_above(const struct drift *d, double bound)
{
    size_t n = 0;
    for (size_t k = 0; k < FEAT_DIM; k++) {
        n += d->column[k] > bound;
    }
    return n;
}

void drift_print(const struct drift *d, double bound, FILE *f)
{
    size_t above = drift_count_above(d, bound);
    fprintf(f, "drift from %zu older payments to %zu new ones (stability index): score %.3f",
            d->old, d->fresh, d->score);
    for (size_t g = 0; g < GROUP_COUNT; g++) {
        if (!isnan(d->group[g])) {
            fprintf(f, ", %s %.3f", feature_group_name((enum feature_group)g), d->group[g]);
        }
    }
    fputs("\n  columns that moved most:", f);
    for (size_t i = 0; i < DRIFT_TOP; i++) {
        fprintf(f, "%s %s %.3f", i > 0 ? "," : "", feature_info(d->top[i])->name,
                d->column[d->top[i]]);
    }
    fputc('\n', f);
    if (above > 0) {
        fprintf(f,
                "  %zu columns have moved further than %g (update.drift); their bins stay those of "
                "the last full training: run one (fraudd train --full)\n",
                above, bound);
    }
}
