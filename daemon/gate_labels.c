/* The labels as the model in service sees them.  It was calibrated on labels that passed; where new
 * ones contradict it beyond chance and beyond what a week may bring, they are wrong, or the world
 * has changed so much that somebody should look.
 *
 * News and sealed payments are judged apart, since wrong labels may be in one of them alone, and
 * the worse counts. */
#include "daemon/gate_labels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "daemon/segments.h"

#define SURE 0.5
#define UNLIKELY 0.02
#define EXPECTED_MIN 10 /* frauds that must be expected before their number says anything */
#define DEVIATIONS 2    /* that chance may take, of a stretch .. */
#define DEVIATIONS_OF 3 /* .. and of one of many groups */
#define PARTS 16U       /* of all merchants, by hash */
#define GROUPS 65536U   /* values of a segment */

enum stretch { STRETCH_NEWS, STRETCH_SEALED, STRETCHES };
static const char *const STRETCH[STRETCHES] = {"new payments", "sealed payments"};

struct band {
    double expected, variance, labelled;
};

static void add(struct band *b, double p, uint8_t label)
{
    b->expected += p;
    b->variance += p * (1 - p);
    b->labelled += label;
}

/* The stretch of a kept row, or -1. */
static int stretch_of(const struct update_rows *r, size_t i)
{
    return r->use[i] == USE_NEWS                                 ? STRETCH_NEWS
           : r->use[i] == USE_CALIBRATE || r->use[i] == USE_GATE ? STRETCH_SEALED
                                                                 : -1;
}

/* The ratio that chance allows to be claimed: nearer to 1 by so many deviations. */
static double ratio_of(const struct band *b, double deviations)
{
    return (b->labelled + deviations * sqrt(b->variance)) / b->expected;
}

/* Takes the band for the row if it is worse.  lowest: the smaller ratio is. */
static bool take_worse(struct gate_row *row, const struct band *b, double deviations, bool lowest)
{
    double ratio = ratio_of(b, deviations);
    if (b->expected < EXPECTED_MIN ||
        !(isnan(row->value) || (lowest ? ratio < row->value : ratio > row->value))) {
        return false;
    }
    row->value = ratio;
    row->served = b->expected;
    row->made = b->labelled;
    return true;
}

static void judge_bands(const struct update_rows *r, const float *served, struct gate_report *g)
{
    struct band sure[STRETCHES] = {{0}};
    struct band unlikely[STRETCHES] = {{0}};
    for (size_t i = 0; i < r->n; i++) {
        int stretch = stretch_of(r, i);
        double p = (double)served[i];
        if (stretch >= 0 && (p >= SURE || p < UNLIKELY)) {
            add(p >= SURE ? &sure[stretch] : &unlikely[stretch], p, r->label[i]);
        }
    }
    for (int s = 0; s < STRETCHES; s++) {
        struct gate_row *row = &g->row[GATE_LABEL_SURE];
        if (take_worse(row, &sure[s], DEVIATIONS, true)) {
            snprintf(row->where, sizeof row->where, "%s", STRETCH[s]);
        }
        row = &g->row[GATE_LABEL_UNLIKELY];
        if (take_worse(row, &unlikely[s], -DEVIATIONS, false)) {
            snprintf(row->where, sizeof row->where, "%s", STRETCH[s]);
        }
    }
}

static void judge_rate(const struct update_rows *r, struct gate_report *g)
{
    double old[2] = {0, 0}; /* weight of all, of frauds */
    double fresh[STRETCHES][2] = {{0, 0}, {0, 0}};
    struct gate_row *row = &g->row[GATE_LABEL_RATE];
    for (size_t i = 0; i < r->n; i++) {
        int stretch = stretch_of(r, i);
        double weight = stretch >= 0 ? 1 : (double)r->weight[i];
        double *sum = stretch >= 0 ? fresh[stretch] : old;
        sum[0] += weight;
        sum[1] += r->label[i] ? weight : 0;
    }
    double before = old[0] > 0 ? old[1] / old[0] : 0;
    for (int s = 0; s < STRETCHES; s++) {
        double now = fresh[s][0] > 0 ? fresh[s][1] / fresh[s][0] : 0;
        if (before * fresh[s][0] >= EXPECTED_MIN &&
            (isnan(row->value) || now / before > row->value)) {
            *row = (struct gate_row){.value = now / before, .served = before, .made = now};
            snprintf(row->where, sizeof row->where, "%s", STRETCH[s]);
        }
    }
}

/* ---- groups ---- */

/* Kinds of groups: the segments, then merchants (terminals, where no merchant is told) by hash. */
#define KIND_PARTS SEGMENT_KINDS

static uint16_t group_of(int kind, const struct tx *t)
{
    if (kind < KIND_PARTS) {
        return segment_of((enum segment_kind)kind, t);
    }
    return (uint16_t)(hash_pair(t->merchant != 0 ? t->merchant : t->terminal, 0x67726f7570U) %
                      PARTS);
}

static void name_group(int kind, uint16_t group, int stretch, struct gate_row *row)
{
    char name[SEGMENT_NAME_MAX];
    if (kind < KIND_PARTS) {
        segment_name((enum segment_kind)kind, group, name);
        snprintf(row->where, sizeof row->where, "%s, %s %s", STRETCH[stretch], SEGMENT_KIND[kind],
                 name);
    } else {
        snprintf(row->where, sizeof row->where, "%s, merchants, part %u of %u", STRETCH[stretch],
                 (unsigned)group + 1, PARTS);
    }
}

static void judge_kind(const struct update_rows *r, const float *served, int kind,
                       struct band *band, struct gate_row *row)
{
    for (size_t i = 0; i < (size_t)STRETCHES * GROUPS; i++) {
        band[i] = (struct band){0, 0, 0};
    }
    for (size_t i = 0; i < r->n; i++) {
        int stretch = stretch_of(r, i);
        if (stretch >= 0 && (double)served[i] >= SURE) {
            uint16_t group = group_of(kind, &r->past->rows[r->from[i]].tx);
            add(&band[(size_t)stretch * GROUPS + group], (double)served[i], r->label[i]);
        }
    }
    for (size_t i = 0; i < (size_t)STRETCHES * GROUPS; i++) {
        if (take_worse(row, &band[i], DEVIATIONS_OF, true)) {
            name_group(kind, (uint16_t)(i % GROUPS), (int)(i / GROUPS), row);
        }
    }
}

enum err gate_labels_judge(const struct update_rows *r, const float *served, struct gate_report *g,
                           struct errmsg *e)
{
    struct band *band = calloc((size_t)STRETCHES * GROUPS, sizeof *band);
    if (band == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to judge the labels of %zu payments", r->n);
    }
    for (int i = GATE_LABEL_RATE; i <= GATE_LABEL_GROUP; i++) {
        g->row[i] =
            (struct gate_row){.value = (double)NAN, .served = (double)NAN, .made = (double)NAN};
    }
    judge_rate(r, g);
    judge_bands(r, served, g);
    for (int kind = 0; kind <= KIND_PARTS; kind++) {
        judge_kind(r, served, kind, band, &g->row[GATE_LABEL_GROUP]);
    }
    free(band);
    return ERR_OK;
}
