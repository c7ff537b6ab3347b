/* Every column by its text in features/columns.def, with plain loops over all events. */
#include <math.h>

#include "tests/support/naive_internal.h"

/* What of an event a sum is over. */
enum what { PAYMENTS, NOT_FRAUD };

/* In 1/100 units: whole numbers below 2^64, which long double holds exactly. */
struct total {
    long double n, sum, square, largest;
};

static double amount_of(const struct tx *t)
{
    return (double)t->amount_ref / 100;
}

double naive_days(int64_t us)
{
    return (double)us / (double)NAIVE_DAY;
}

bool naive_holds(const struct look *l, const struct naive_event *e, enum naive_holder h)
{
    uint64_t id = naive_holder_id(l->t, h);
    return id != 0 && e->in[h] != NAIVE_NOT_IN && naive_holder_id(&e->tx, h) == id &&
           e->tx.event_us <= l->t->event_us;
}

int64_t naive_window_start(const struct look *l, enum naive_holder h, int64_t window_us)
{
    int64_t forgotten = naive_forgotten(l->n, h, naive_holder_id(l->t, h), l->t->event_us);
    int64_t start = l->t->event_us - window_us;
    return start > forgotten ? start : forgotten;
}

/* Payments of the holder in the window ending at t. */
static struct total window(const struct look *l, enum naive_holder h, int64_t window_us,
                           enum what what)
{
    struct total s = {0, 0, 0, 0};
    int64_t start = naive_window_start(l, h, window_us);
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct naive_event *e = &l->n->events[i];
        if (naive_holds(l, e, h) && e->tx.event_us > start && naive_is_payment(&e->tx) &&
            !(what == NOT_FRAUD && e->fraud[h])) {
            long double a = e->tx.amount_ref;
            s.n += 1;
            s.sum += a;
            s.square += a * a;
            s.largest = e->in[h] == NAIVE_KEPT && a > s.largest ? a : s.largest;
        }
    }
    return s;
}

/* Events kept one by one that `is` says yes to. */
static double events(const struct look *l, enum naive_holder h, int64_t window_us,
                     bool (*is)(const struct look *l, const struct naive_event *e))
{
    double found = 0;
    int64_t start = naive_window_start(l, h, window_us);
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct naive_event *e = &l->n->events[i];
        found +=
            naive_holds(l, e, h) && e->in[h] == NAIVE_KEPT && e->tx.event_us > start && is(l, e);
    }
    return found;
}

static struct total with_this(const struct look *l, struct total s)
{
    if (naive_is_payment(l->t)) {
        s.n += 1;
        s.sum += l->t->amount_ref;
    }
    return s;
}

/* ---- forms of columns ---- */

static double mean(struct total s)
{
    return (double)(s.sum / s.n) / 100;
}

static double sd(struct total s)
{
    return (double)(sqrtl(s.n * s.square - s.sum * s.sum) / s.n) / 100;
}

static float count_of(const struct look *l, struct total s)
{
    return (float)log((double)(1 + with_this(l, s).n));
}

static float mean_of(const struct look *l, struct total s)
{
    s = with_this(l, s);
    return s.n > 0 ? (float)log(1 + mean(s)) : 0;
}

static float ratio_to(const struct look *l, double usual)
{
    return (float)log(fmax(amount_of(l->t), 0.01) / fmax(usual, 0.1));
}

static float ratio_of(const struct look *l, struct total s)
{
    return s.n > 0 ? ratio_to(l, mean(s)) : 0;
}

static float z_of(const struct look *l, struct total s)
{
    return s.n >= 2 ? (float)((amount_of(l->t) - mean(s)) / fmax(sd(s), 1)) : 0;
}

/* ---- amount, calendar ---- */

static void amount(const struct look *l)
{
    const struct tx *t = l->t;
    float *x = l->x;
    x[FEAT_amount] = (float)amount_of(t);
    x[FEAT_amount_log] = (float)log(1 + amount_of(t));
    x[FEAT_amount_tail] = (float)naive_amount_tail(l->n, t->amount_ref);
    x[FEAT_amount_cents] = (float)fmod((double)t->amount_ref, 100) / 100;
    x[FEAT_amount_round] = t->amount_ref != 0 && t->amount_ref % 1000 == 0;
    x[FEAT_is_cash] = t->type == TX_CASH;
    x[FEAT_is_check] = t->type == TX_CHECK;
    x[FEAT_is_refund] = t->type == TX_REFUND || t->type == TX_REVERSAL;
    double share = naive_days(t->event_us) - floor(naive_days(t->event_us));
    x[FEAT_day_sin] = (float)sin(2 * NAIVE_PI * share);
    x[FEAT_day_cos] = (float)cos(2 * NAIVE_PI * share);
    x[FEAT_weekday] = (float)((naive_day(t->event_us) + 3) % 7); /* 1970-01-01 was a Thursday */
}

/* ---- the card ---- */

static bool is_near(const struct look *l, const struct naive_event *e)
{
    double a = naive_days(l->t->event_us) - floor(naive_days(l->t->event_us));
    double b = naive_days(e->tx.event_us) - floor(naive_days(e->tx.event_us));
    double apart = fabs(a - b);
    apart = fmin(apart, 1 - apart);
    /* half a microsecond for the roundings above: times are whole ones */
    return naive_is_payment(&e->tx) && apart <= (90 * 60 + 5e-7) / 86400;
}

static bool is_payment(const struct look *l, const struct naive_event *e)
{
    (void)l;
    return naive_is_payment(&e->tx);
}

static bool is_same_amount(const struct look *l, const struct naive_event *e)
{
    return naive_is_payment(&e->tx) && e->tx.amount_ref == l->t->amount_ref;
}

static bool is_check(const struct look *l, const struct naive_event *e)
{
    (void)l;
    return e->tx.type == TX_CHECK;
}

static bool is_refund(const struct look *l, const struct naive_event *e)
{
    (void)l;
    return e->tx.type == TX_REFUND || e->tx.type == TX_REVERSAL;
}

static uint64_t place_of(const struct tx *t)
{
    return t->terminal != 0 ? t->terminal : t->merchant;
}

static bool is_here(const struct look *l, const struct naive_event *e)
{
    return naive_is_payment(&e->tx) && place_of(&e->tx) == place_of(l->t);
}

/* Seconds since the k-th event back in 90 days, or -1. */
static double gap(const struct look *l, enum naive_holder h, size_t k)
{
    double found = -1;
    int64_t start = naive_window_start(l, h, 90 * NAIVE_DAY);
    /* the k-th back is the earliest event that has fewer than k at or after it */
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct naive_event *e = &l->n->events[i];
        if (!naive_holds(l, e, h) || e->in[h] != NAIVE_KEPT || e->tx.event_us <= start) {
            continue;
        }
        size_t later = 0;
        for (size_t j = 0; j < l->n->event_count; j++) {
            const struct naive_event *o = &l->n->events[j];
            later +=
                naive_holds(l, o, h) && o->in[h] == NAIVE_KEPT &&
                (o->tx.event_us > e->tx.event_us || (o->tx.event_us == e->tx.event_us && j > i));
        }
        if (later == k - 1) {
            found = (double)(l->t->event_us - e->tx.event_us) / 1e6;
        }
    }
    return found;
}

static int64_t first_seen(const struct look *l, enum naive_holder h)
{
    for (size_t i = 0; i < l->n->event_count; i++) {
        if (naive_holder_id(&l->n->events[i].tx, h) == naive_holder_id(l->t, h)) {
            return l->n->events[i].tx.event_us;
        }
    }
    return l->t->event_us;
}

static float age(const struct look *l, enum naive_holder h)
{
    return (float)log(1 + fmax(naive_days(l->t->event_us - first_seen(l, h)), 0));
}

static void intervals(const struct look *l)
{
    float *x = l->x;
    double gaps[] = {gap(l, HOLD_CARD, 1), gap(l, HOLD_CARD, 2), gap(l, HOLD_CARD, 5)};
    for (size_t i = 0; i < 3; i++) {
        if (gaps[i] >= 0) {
            x[FEAT_card_gap + i] = (float)log(1 + gaps[i]);
        }
    }
    double month = events(l, HOLD_CARD, 30 * NAIVE_DAY, is_payment);
    double with = month + (naive_is_payment(l->t) ? 1 : 0);
    if (gaps[0] >= 0) {
        x[FEAT_card_gap_ratio] = (float)log((1 + gaps[0]) / (1 + 30 * 86400 / fmax(with, 1)));
    }
    x[FEAT_card_age] = age(l, HOLD_CARD);
    double near = events(l, HOLD_CARD, 30 * NAIVE_DAY, is_near);
    x[FEAT_hour_habit] = (float)log((near + 1) / (month + 8) / (1.0 / 8));
}

/* Payments in a day, this one included, below a tenth of the month's mean. */
static double small(const struct look *l, struct total month)
{
    month = with_this(l, month);
    double bound = month.n > 0 ? (double)month.sum / (double)month.n / 10 : 0;
    double found = naive_is_payment(l->t) && l->t->amount_ref < bound;
    int64_t start = naive_window_start(l, HOLD_CARD, NAIVE_DAY);
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct naive_event *e = &l->n->events[i];
        found += naive_holds(l, e, HOLD_CARD) && e->in[HOLD_CARD] == NAIVE_KEPT &&
                 e->tx.event_us > start && naive_is_payment(&e->tx) && e->tx.amount_ref < bound;
    }
    return found;
}

static void card_windows(const struct look *l)
{
    static const int64_t HOURS[] = {1, 6, 24, 72, 168, 336, 720, 2160};
    struct total s[8];
    float *x = l->x;
    for (size_t k = 0; k < 8; k++) {
        s[k] = window(l, HOLD_CARD, HOURS[k] * NAIVE_HOUR, PAYMENTS);
        x[FEAT_card_count_1h + k] = count_of(l, s[k]);
    }
    static const size_t MEAN[] = {2, 4, 6, 7};
    for (size_t k = 0; k < 4; k++) {
        x[FEAT_card_mean_1d + k] = mean_of(l, s[MEAN[k]]);
    }
    static const size_t RATIO[] = {1, 2, 3, 4, 6, 7};
    for (size_t k = 0; k < 6; k++) {
        x[FEAT_card_ratio_6h + k] = ratio_of(l, s[RATIO[k]]);
    }
    static const size_t Z[] = {4, 6, 7};
    for (size_t k = 0; k < 3; k++) {
        x[FEAT_card_z_7d + k] = z_of(l, s[Z[k]]);
    }
    if (events(l, HOLD_CARD, 30 * NAIVE_DAY, is_payment) > 0) {
        x[FEAT_card_max_ratio] = ratio_to(l, (double)s[6].largest / 100);
    }
    x[FEAT_card_same_amount_1d] = (float)log(1 + events(l, HOLD_CARD, NAIVE_DAY, is_same_amount));
    x[FEAT_card_small_1d] = (float)log(1 + small(l, s[6]));
    x[FEAT_card_checks_1d] = (float)log(1 + events(l, HOLD_CARD, NAIVE_DAY, is_check) +
                                        (l->t->type == TX_CHECK ? 1 : 0));
    x[FEAT_card_refunds_30d] =
        (float)log(1 + events(l, HOLD_CARD, 30 * NAIVE_DAY, is_refund) +
                   (l->t->type == TX_REFUND || l->t->type == TX_REVERSAL ? 1 : 0));
}

static void usual(const struct look *l, struct naive_facts *out)
{
    struct total s = window(l, HOLD_CARD, 90 * NAIVE_DAY, NOT_FRAUD);
    if (s.n > 0) {
        l->x[FEAT_usual_ratio] = ratio_of(l, s);
        l->x[FEAT_usual_z] = z_of(l, s);
        l->x[FEAT_usual_mean] = (float)log(1 + mean(s));
        l->x[FEAT_usual_sd] = (float)log(1 + sd(s));
        out->usual_ratio = (float)(amount_of(l->t) / fmax(mean(s), 0.1));
    }
}

static void pair(const struct look *l)
{
    float *x = l->x;
    if (place_of(l->t) == 0) {
        x[FEAT_pair_days] = -1;
        return;
    }
    double this = naive_is_payment(l->t) ? 1 : 0;
    x[FEAT_pair_count_30d] = (float)log(1 + events(l, HOLD_CARD, 30 * NAIVE_DAY, is_here) + this);
    x[FEAT_pair_count_90d] = (float)log(1 + events(l, HOLD_CARD, 90 * NAIVE_DAY, is_here) + this);
    int64_t last = INT64_MIN;
    int64_t start = naive_window_start(l, HOLD_CARD, 90 * NAIVE_DAY);
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct naive_event *e = &l->n->events[i];
        if (naive_holds(l, e, HOLD_CARD) && e->in[HOLD_CARD] == NAIVE_KEPT && is_here(l, e) &&
            e->tx.event_us > start && e->tx.event_us > last) {
            last = e->tx.event_us;
        }
    }
    if (last != INT64_MIN) {
        x[FEAT_pair_days] = (float)log(1 + naive_days(l->t->event_us - last));
    }
}

/* ---- terminal and merchant ---- */

static void place_windows(const struct look *l)
{
    float *x = l->x;
    static const int64_t HOURS[] = {1, 24, 168, 720, 2160};
    struct total s[5];
    if (l->t->terminal != 0) {
        for (size_t k = 0; k < 5; k++) {
            s[k] = window(l, HOLD_TERMINAL, HOURS[k] * NAIVE_HOUR, PAYMENTS);
            x[FEAT_terminal_count_1h + k] = count_of(l, s[k]);
        }
        x[FEAT_terminal_mean_30d] = mean_of(l, s[3]);
        for (size_t k = 0; k < 3; k++) {
            x[FEAT_terminal_ratio_1d + k] = ratio_of(l, s[k + 1]);
        }
        x[FEAT_terminal_z_30d] = z_of(l, s[3]);
        x[FEAT_terminal_age] = age(l, HOLD_TERMINAL);
    }
    if (l->t->merchant != 0) {
        for (size_t k = 0; k < 4; k++) {
            s[k] = window(l, HOLD_MERCHANT, HOURS[k] * NAIVE_HOUR, PAYMENTS);
        }
        x[FEAT_merchant_count_1h] = count_of(l, s[0]);
        x[FEAT_merchant_count_1d] = count_of(l, s[1]);
        x[FEAT_merchant_count_30d] = count_of(l, s[3]);
        x[FEAT_merchant_mean_30d] = mean_of(l, s[3]);
        x[FEAT_merchant_ratio_7d] = ratio_of(l, s[2]);
        x[FEAT_merchant_ratio_30d] = ratio_of(l, s[3]);
    }
    static const enum naive_holder PLACE[] = {HOLD_TERMINAL, HOLD_MERCHANT};
    for (size_t k = 0; k < 2; k++) {
        double seconds = gap(l, PLACE[k], 1);
        if (seconds >= 0) {
            x[FEAT_terminal_gap + k] = (float)log(1 + seconds);
        }
    }
}

void naive_columns(const struct naive *n, const struct tx *t, float *x, struct naive_facts *out)
{
    const struct look l = {n, t, x};
    for (size_t i = 0; i < FEAT_DIM; i++) {
        x[i] = feature_info(i)->missing;
    }
    for (size_t i = 0; i < n->event_count; i++) {
        out->card_events += n->events[i].tx.card == t->card;
    }
    amount(&l);
    intervals(&l);
    card_windows(&l);
    usual(&l, out);
    pair(&l);
    place_windows(&l);
    naive_known(&l);
    naive_latest(&l);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        x[i] = fminf(fmaxf(x[i], feature_info(i)->low), feature_info(i)->high);
    }
}
