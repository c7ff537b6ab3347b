/* Columns of what is known of labels, by their text in features/columns.def. */
#include <math.h>

#include "tests/support/naive_internal.h"

/* Where the holder's history begins: before it all is forgotten. */
static int64_t all_of(const struct look *l, enum naive_holder h)
{
    return naive_window_start(l, h, INT64_MAX / 4);
}

static bool fraud_at(const struct look *l, const struct naive_fraud *f, enum naive_holder h)
{
    return f->live && f->holder == h && f->holder_id == naive_holder_id(l->t, h) &&
           f->holder_id != 0;
}

/* Frauds that became known in the window. */
static double known_in(const struct look *l, enum naive_holder h, int64_t window_us,
                       bool blamed_only)
{
    double found = 0;
    for (size_t i = 0; i < l->n->fraud_count; i++) {
        const struct naive_fraud *f = &l->n->frauds[i];
        found += fraud_at(l, f, h) && f->known_us > l->t->event_us - window_us &&
                 f->known_us <= l->t->event_us && (f->blamed || !blamed_only);
    }
    return found;
}

/* Event time of the latest known fraud at or before t, or INT64_MIN. */
static int64_t latest_fraud(const struct look *l, enum naive_holder h, bool blamed_only)
{
    int64_t last = INT64_MIN;
    for (size_t i = 0; i < l->n->fraud_count; i++) {
        const struct naive_fraud *f = &l->n->frauds[i];
        if (fraud_at(l, f, h) && (f->blamed || !blamed_only) && f->event_us <= l->t->event_us &&
            f->event_us > last) {
            last = f->event_us;
        }
    }
    return last;
}

static float fraud_days(const struct look *l, enum naive_holder h, bool blamed_only)
{
    int64_t last = latest_fraud(l, h, blamed_only);
    return last == INT64_MIN ? 400 : (float)naive_days(l->t->event_us - last);
}

static float risk(const struct look *l, enum naive_holder h, int64_t window_us)
{
    double k = known_in(l, h, window_us, false);
    int64_t to = l->t->event_us - l->n->params.maturity_us;
    double legitimate = 0;
    int64_t start = all_of(l, h);
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct naive_event *e = &l->n->events[i];
        legitimate += naive_holds(l, e, h) && naive_is_payment(&e->tx) && !e->fraud[h] &&
                      e->tx.event_us > to - window_us && e->tx.event_us <= to &&
                      e->tx.event_us > start;
    }
    return k > 0 ? (float)(k / (k + legitimate)) : 0;
}

/* start: where the history begins */
static bool known_legitimate(const struct look *l, const struct naive_event *e, enum naive_holder h,
                             int64_t start)
{
    return naive_holds(l, e, h) && naive_is_payment(&e->tx) && !e->fraud[h] &&
           e->tx.event_us > start && e->tx.event_us <= l->t->event_us - l->n->params.maturity_us;
}

/* Time of the latest known legitimate payment at or before to_us, or INT64_MIN. */
static int64_t latest_legitimate(const struct look *l, enum naive_holder h, int64_t to_us)
{
    int64_t last = INT64_MIN;
    int64_t start = all_of(l, h);
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct naive_event *e = &l->n->events[i];
        if (known_legitimate(l, e, h, start) && e->tx.event_us <= to_us && e->tx.event_us > last) {
            last = e->tx.event_us;
        }
    }
    return last;
}

/* The six columns of what is known; x: fraud_days of the group. */
static void state_of(const struct look *l, enum naive_holder h, float *x)
{
    int64_t fraud = latest_fraud(l, h, true);
    int64_t legitimate = latest_legitimate(l, h, INT64_MAX);
    x[0] = fraud_days(l, h, true);
    x[1] = legitimate == INT64_MIN ? 400 : (float)naive_days(l->t->event_us - legitimate);
    if (fraud == INT64_MIN) {
        x[4] = legitimate == INT64_MIN ? -1 : 0;
        return;
    }
    int64_t before = latest_legitimate(l, h, fraud);
    int64_t first = fraud;
    int64_t start = all_of(l, h);
    double run = 0;
    for (size_t i = 0; i < l->n->fraud_count; i++) {
        const struct naive_fraud *f = &l->n->frauds[i];
        if (fraud_at(l, f, h) && f->blamed && f->event_us <= fraud && f->event_us > before &&
            f->event_us > start) {
            run += 1;
            first = f->event_us < first ? f->event_us : first;
        }
    }
    x[2] = (float)naive_days(l->t->event_us - first);
    x[3] = (float)log(1 + fmax(run, 1));
    x[4] = fraud >= legitimate ? 1 : 0;
    x[5] = 0;
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct naive_event *e = &l->n->events[i];
        x[5] += known_legitimate(l, e, h, start) && e->tx.event_us > fraud ? 1.0F : 0.0F;
    }
}

static float ln_known(const struct look *l, enum naive_holder h, int64_t window_days, bool blamed)
{
    return (float)log(1 + known_in(l, h, window_days * NAIVE_DAY, blamed));
}

static double category_fraud(const struct look *l, uint16_t mcc, uint16_t country)
{
    double frauds = 0;
    double payments = 0;
    int64_t today = naive_day(l->n->clock_us);
    int64_t maturity_days = (int64_t)ceil(naive_days(l->n->params.maturity_us));
    for (size_t i = 0; i < l->n->category_count; i++) {
        const struct naive_category_fraud *c = &l->n->categories[i];
        frauds += c->live && (mcc == 0 || c->mcc == mcc) &&
                  (country == 0 || c->country == country) && c->known_day > today - 30;
    }
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct naive_event *e = &l->n->events[i];
        payments += naive_is_payment(&e->tx) && (mcc == 0 || e->tx.mcc == mcc) &&
                    (country == 0 || e->tx.country == country) &&
                    e->clock_day <= today - maturity_days &&
                    e->clock_day > today - maturity_days - 30;
    }
    return frauds > 0 ? fmin(frauds / fmax(payments, 1e-9), 1) : 0;
}

void naive_known(const struct look *l)
{
    static const int64_t SPAN[] = {7, 30, 90};
    static const int64_t BLAMED[] = {7, 14, 28};
    static const int64_t SHORT[] = {1, 7, 30};
    float *x = l->x;
    state_of(l, HOLD_CARD, x + FEAT_card_fraud_days);
    if (l->t->terminal != 0) {
        state_of(l, HOLD_TERMINAL, x + FEAT_terminal_fraud_days);
    }
    for (size_t k = 0; k < 3; k++) {
        x[FEAT_card_fraud_7d + k] = ln_known(l, HOLD_CARD, SPAN[k], false);
        x[FEAT_card_risk_7d + k] = risk(l, HOLD_CARD, SPAN[k] * NAIVE_DAY);
        x[FEAT_terminal_blamed_7d + k] = ln_known(l, HOLD_TERMINAL, BLAMED[k], true);
        x[FEAT_terminal_fraud_1d + k] = ln_known(l, HOLD_TERMINAL, SHORT[k], false);
        x[FEAT_terminal_risk_7d + k] = risk(l, HOLD_TERMINAL, SPAN[k] * NAIVE_DAY);
    }
    x[FEAT_merchant_fraud_days] = fraud_days(l, HOLD_MERCHANT, true);
    x[FEAT_merchant_blamed_7d] = ln_known(l, HOLD_MERCHANT, 7, true);
    x[FEAT_merchant_blamed_30d] = ln_known(l, HOLD_MERCHANT, 30, true);
    x[FEAT_merchant_risk_30d] = risk(l, HOLD_MERCHANT, 30 * NAIVE_DAY);
    x[FEAT_device_fraud_days] = fraud_days(l, HOLD_DEVICE, false);
    x[FEAT_device_fraud_90d] = ln_known(l, HOLD_DEVICE, 90, false);
    x[FEAT_ip_fraud_days] = fraud_days(l, HOLD_IP, false);
    x[FEAT_ip_fraud_90d] = ln_known(l, HOLD_IP, 90, false);
    x[FEAT_mcc_risk_30d] = l->t->mcc != 0 ? (float)category_fraud(l, l->t->mcc, 0) : 0;
    x[FEAT_country_risk_30d] = l->t->country != 0 ? (float)category_fraud(l, 0, l->t->country) : 0;
}
