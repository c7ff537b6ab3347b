#include "daemon/drift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/bins.h"

/* Weight of the old and the new payments in each bin, later their shares. */
struct counts {
    double *bin[2]; /* [bins of all columns] */
    double score[2][SCORE_BANDS];
    double weight[2];
    size_t bins;
};

static void count_rows(const struct update_rows *r, const struct net_encoding *enc,
                       const struct bins_finder *finder, const float *served, struct counts *c,
                       struct drift *d)
{
    uint32_t bin[FEAT_DIM];
    for (size_t i = 0; i < r->n; i++) {
        bool fresh = r->use[i] > USE_YOUNG;
        double weight = fresh ? 1 : (double)r->weight[i];
        if (r->use[i] == USE_CONTEXT) {
            continue;
        }
        bins_find_row(finder, (const float *)r->columns.base + i * FEAT_DIM, bin);
        for (size_t k = 0; k < FEAT_DIM; k++) {
            c->bin[fresh][enc->first_row[k] + bin[k]] += weight;
        }
        c->score[fresh][score_band(served[i])] += weight;
        c->weight[fresh] += weight;
        *(fresh ? &d->fresh : &d->old) += 1;
    }
}

static void make_shares(struct counts *c)
{
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < c->bins; i++) {
            c->bin[s][i] /= c->weight[s];
        }
        for (size_t i = 0; i < SCORE_BANDS; i++) {
            c->score[s][i] /= c->weight[s];
        }
    }
}

static void fill(const struct counts *c, const struct net_encoding *enc, struct drift *d)
{
    size_t columns[GROUP_COUNT] = {0};
    double sum[GROUP_COUNT] = {0};
    double old = (double)d->old;
    double fresh = (double)d->fresh;
    for (size_t k = 0; k < FEAT_DIM; k++) {
        size_t first = enc->first_row[k];
        size_t bins = enc->first_row[k + 1] - first;
        enum feature_group g = feature_info(k)->group;
        d->column[k] = stability_index(c->bin[0] + first, old, c->bin[1] + first, fresh, bins);
        sum[g] += bins > 1 ? d->column[k] : 0;
        columns[g] += bins > 1;
    }
    for (size_t g = 0; g < GROUP_COUNT; g++) {
        d->group[g] = columns[g] > 0 ? sum[g] / (double)columns[g] : (double)NAN;
    }
    d->score = stability_index(c->score[0], old, c->score[1], fresh, SCORE_BANDS);
    memcpy(d->share, c->score, sizeof d->share);
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
    struct counts c = {.bins = enc->first_row[FEAT_DIM]};
    struct bins_finder finder = {0};
    struct drift d = {.score = (double)NAN};
    c.bin[0] = calloc(c.bins, sizeof *c.bin[0]);
    c.bin[1] = calloc(c.bins, sizeof *c.bin[1]);
    if (c.bin[0] == NULL || c.bin[1] == NULL) {
        free(c.bin[0]);
        free(c.bin[1]);
        return err_set(e, ERR_NOMEM, "no memory to count %zu bins", c.bins);
    }
    enum err err = bins_finder_init(&finder, enc, e);
    if (err == ERR_OK) {
        count_rows(r, enc, &finder, served, &c, &d);
        make_shares(&c);
        fill(&c, enc, &d);
        find_top(&d);
        *out = d;
    }
    bins_finder_done(&finder);
    free(c.bin[0]);
    free(c.bin[1]);
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
        fprintf(
            f,
            "  %zu columns have moved further than %g (update.drift); an update scales them as the "
            "last full training did: run one (fraudd train --full)\n",
            above, bound);
    }
}
