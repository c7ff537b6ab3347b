#include "daemon/outcomes.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *setting, *words;
    enum figure figure;
    bool most; /* the bound is the highest value allowed, else the lowest */
} BOUND[OUTCOMES_BOUNDS] = {
    [OUTCOMES_PRECISION] = {"outcomes.precision", "precision of its alerts", FIGURE_PRECISION,
                            false},
    [OUTCOMES_VALUE] = {"outcomes.value", "share of the fraud value found", FIGURE_VALUE, false},
    [OUTCOMES_EXPECTED_LOW] = {"outcomes.expected-low", "expected over observed frauds",
                               FIGURE_EXPECTED, false},
    [OUTCOMES_EXPECTED_HIGH] = {"outcomes.expected-high", "expected over observed frauds",
                                FIGURE_EXPECTED, true},
};

void outcomes_bounds(const struct conf *c, struct outcomes_conf *out)
{
    for (int b = 0; b < OUTCOMES_BOUNDS; b++) {
        out->bound[b] = conf_real(c, BOUND[b].setting);
    }
    out->frauds_min = (size_t)conf_int(c, "outcomes.frauds");
}

enum err outcomes_init(struct outcomes *o, const struct outcomes_conf *c, struct errmsg *e)
{
    memset(o, 0, sizeof *o);
    o->conf = *c;
    o->by_segment = calloc((size_t)UINT16_MAX + 1, sizeof *o->by_segment);
    return o->by_segment != NULL ? ERR_OK : err_set(e, ERR_NOMEM, "cannot judge: no memory");
}

void outcomes_done(struct outcomes *o)
{
    for (size_t v = 0; v < o->versions; v++) {
        figures_done(&o->version[v].figures);
    }
    free(o->judged);
    free(o->by_segment);
    memset(o, 0, sizeof *o);
}

static void sums_add(struct outcome_sums *s, const struct outcome_row *row)
{
    const double amount = (double)row->tx->amount_ref / 100;
    s->payments++;
    s->expected += isfinite(row->probability) ? row->probability : 0;
    s->frauds += row->fraud;
    s->value += row->fraud ? amount : 0;
    s->alerts += row->alerted;
    s->caught += row->alerted && row->fraud;
    s->caught_value += row->alerted && row->fraud ? amount : 0;
}

static void sums_join(struct outcome_sums *to, const struct outcome_sums *s)
{
    to->payments += s->payments;
    to->frauds += s->frauds;
    to->alerts += s->alerts;
    to->caught += s->caught;
    to->expected += s->expected;
    to->value += s->value;
    to->caught_value += s->caught_value;
}

static enum err version_of(struct outcomes *o, const char *name, size_t *out, struct errmsg *e)
{
    for (*out = 0; *out < o->versions; (*out)++) {
        if (strncmp(o->version[*out].name, name, OUTCOMES_VERSION_MAX - 1) == 0) {
            return ERR_OK;
        }
    }
    if (o->versions == OUTCOMES_VERSIONS) {
        return err_set(e, ERR_MISMATCH,
                       "more than %d model versions decided in this stretch; choose a shorter one",
                       OUTCOMES_VERSIONS);
    }
    struct outcomes_version *v = &o->version[o->versions++];
    size_t len = strnlen(name, OUTCOMES_VERSION_MAX - 1);
    memcpy(v->name, name, len);
    v->name[len] = '\0';
    return ERR_OK;
}

static enum err judge(struct outcomes *o, const struct outcome_row *row, struct errmsg *e)
{
    size_t version = 0;
    enum err err = version_of(o, row->model, &version, e);
    if (err != ERR_OK) {
        return err;
    }
    if (o->n == o->room) {
        const size_t room = o->room > 0 ? 2 * o->room : 4096;
        struct judged *more = realloc(o->judged, room * sizeof *more);
        if (more == NULL) {
            return err_set(e, ERR_NOMEM, "cannot judge %zu payments: no memory", o->n + 1);
        }
        o->judged = more;
        o->room = room;
    }
    o->judged[o->n++] = (struct judged){.card = row->tx->card,
                                        .event_us = row->tx->event_us,
                                        .amount = (double)row->tx->amount_ref / 100,
                                        .score = (float)row->probability,
                                        .segment = (uint16_t)version,
                                        .fraud = row->fraud,
                                        .alert = row->alerted};
    sums_add(&o->band[score_band((float)row->probability)], row);
    sums_add(&o->by_segment[segment_of(o->conf.segment, row->tx)], row);
    return ERR_OK;
}

enum err outcomes_add(struct outcomes *o, const struct outcome_row *row, struct errmsg *e)
{
    if (!tx_is_payment(row->tx) && row->tx->type != TX_CHECK) {
        o->others++;
    } else if (row->declined && !row->has_verdict) {
        o->unknown++;
    } else if (row->controlled) {
        sums_add(&o->controlled, row);
    } else if (!isfinite(row->probability)) {
        o->unscored++;
    } else {
        return judge(o, row, e);
    }
    return ERR_OK;
}

/* ---- figures ---- */

static bool of_version(const struct judged *j, void *ctx)
{
    const size_t *version = ctx;
    return j->segment == *version;
}

static void hold_bounds(const struct outcomes *o, struct outcomes_version *v)
{
    for (int b = 0; b < OUTCOMES_BOUNDS && v->figures.frauds >= o->conf.frauds_min; b++) {
        const double value = v->figures.value[BOUND[b].figure];
        const bool missed =
            BOUND[b].most ? value > o->conf.bound[b] : value < o->conf.bound[b]; /* NAN: no */
        v->breach[b] = missed ? BOUND[b].setting : NULL;
    }
}

static enum err measure_version(struct outcomes *o, size_t v, struct errmsg *e)
{
    struct judged_set *set = NULL;
    enum err err = judged_set_create(o->judged, o->n, of_version, &v, &set, e);
    if (err == ERR_OK) {
        err = evaluate(set, &o->conf.evaluate, &o->version[v].figures, e);
    }
    if (err == ERR_OK) {
        hold_bounds(o, &o->version[v]);
    }
    judged_set_free(set);
    return err;
}

/* The segments with the most payments, the largest first; the rest together. */
static void choose_segments(struct outcomes *o)
{
    struct outcomes_segment rest = {"other", {0}};
    for (size_t k = 0; k + 1 < OUTCOMES_SEGMENTS; k++) {
        uint16_t best = 0;
        for (uint32_t i = 1; i <= UINT16_MAX; i++) {
            best = o->by_segment[i].payments > o->by_segment[best].payments ? (uint16_t)i : best;
        }
        if (o->by_segment[best].payments == 0) {
            return;
        }
        struct outcomes_segment *s = &o->segment[o->segments++];
        segment_name(o->conf.segment, best, s->name);
        s->sums = o->by_segment[best];
        o->by_segment[best] = (struct outcome_sums){0};
    }
    for (uint32_t i = 0; i <= UINT16_MAX; i++) {
        sums_join(&rest.sums, &o->by_segment[i]);
    }
    if (rest.sums.payments > 0) {
        o->segment[o->segments++] = rest;
    }
}

enum err outcomes_measure(struct outcomes *o, struct errmsg *e)
{
    enum err err = ERR_OK;
    for (size_t v = 0; v < o->versions && err == ERR_OK; v++) {
        err = measure_version(o, v, e);
    }
    choose_segments(o);
    return err;
}

size_t outcomes_breaches(const struct outcomes *o)
{
    size_t n = 0;
    for (size_t v = 0; v < o->versions; v++) {
        for (int b = 0; b < OUTCOMES_BOUNDS; b++) {
            n += o->version[v].breach[b] != NULL;
        }
    }
    return n;
}

void outcomes_breach_text(const struct outcomes *o, const struct outcomes_version *v,
                          enum outcomes_bound b, char out[OUTCOMES_TEXT_MAX])
{
    snprintf(out, OUTCOMES_TEXT_MAX, "%s is %.4f; %s asks for at %s %g", BOUND[b].words,
             v->figures.value[BOUND[b].figure], BOUND[b].setting, BOUND[b].most ? "most" : "least",
             o->conf.bound[b]);
}
