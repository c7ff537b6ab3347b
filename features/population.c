#include "features/population.h"

#include <string.h>

#include "base/detmath.h"
#include "base/region.h"

#define RISK_DAYS 30

void amounts_init(struct amounts *a)
{
    memset(a, 0, sizeof *a);
    a->day = INT64_MIN;
}

/* 32 buckets an octave, linear inside it. */
static uint32_t bucket_of(uint32_t amount)
{
    if (amount < 32) {
        return amount;
    }
    uint32_t octave = 31 - (uint32_t)__builtin_clz(amount);
    return (octave - 4) * 32 + ((amount >> (octave - 5)) & 31);
}

/* Days from a point before any time that there is: positive, and 0 is before all of them. */
#define DAY_OFFSET (INT64_C(1) << 40)

static uint32_t *pane_of(struct amounts *a, int64_t day)
{
    return a->pane[(uint64_t)(day + DAY_OFFSET) % (AMOUNT_DAYS + 1)];
}

void amounts_advance(struct amounts *a, int64_t day)
{
    if (day <= a->day) {
        return;
    }
    int64_t first_new = a->day == INT64_MIN ? day - AMOUNT_DAYS : a->day + 1;
    if (first_new < day - AMOUNT_DAYS) {
        first_new = day - AMOUNT_DAYS;
    }
    for (int64_t d = first_new; d <= day; d++) {
        memset(pane_of(a, d), 0, sizeof a->pane[0]);
    }
    a->day = day;
    memset(a->same, 0, sizeof a->same);
    for (int64_t d = day - AMOUNT_DAYS; d < day; d++) {
        const uint32_t *p = pane_of(a, d);
        for (uint32_t b = 0; b < AMOUNT_BUCKETS; b++) {
            a->same[b] += p[b];
        }
    }
    uint64_t above = 0;
    for (uint32_t b = AMOUNT_BUCKETS; b-- > 0;) {
        a->above[b] = above;
        above += a->same[b];
    }
    a->total = above;
    for (uint32_t b = 0; b < AMOUNT_BUCKETS && above > 0; b++) {
        double larger = (double)a->above[b] + (double)a->same[b] / 2 + 0.5;
        a->tail[b] = (float)-det_log10(larger / (double)(above + 1));
    }
}

void amounts_add(struct amounts *a, uint32_t amount)
{
    pane_of(a, a->day)[bucket_of(amount)]++;
}

float amounts_tail(const struct amounts *a, uint32_t amount)
{
    return a->total > 0 ? a->tail[bucket_of(amount)] : 0;
}

enum err categories_init(struct categories *c, uint16_t *place, uint32_t *count, struct errmsg *e)
{
    *c = (struct categories){region_array(CATEGORY_MAX, sizeof *c->all), place, count};
    return c->all != NULL
               ? ERR_OK
               : err_set(e, ERR_NOMEM, "cannot reserve room for %d categories", CATEGORY_MAX);
}

void categories_done(struct categories *c)
{
    region_array_free(c->all, CATEGORY_MAX, sizeof *c->all);
    c->all = NULL;
}

struct category *categories_get(struct categories *c, uint16_t code)
{
    if (c->place[code] == 0) {
        c->place[code] = (uint16_t)++ * c->count;
    }
    return &c->all[c->place[code] - 1];
}

bool categories_fit(const struct categories *c)
{
    uint32_t used = 0;
    for (uint32_t code = 0; code < CATEGORY_MAX; code++) {
        used += c->place[code] != 0;
        if (c->place[code] > *c->count) {
            return false;
        }
    }
    return used == *c->count && c->place[0] == 0;
}

/* category.day and the days below are DAY_OFFSET days later than UTC's. */
static void category_advance(struct category *c, int64_t day)
{
    if (day <= c->day) {
        return;
    }
    int64_t first = c->day + 1 > day - CATEGORY_DAYS ? c->day + 1 : day - CATEGORY_DAYS + 1;
    for (int64_t d = first; d <= day; d++) {
        c->payments[(uint64_t)d % CATEGORY_DAYS] = 0;
        c->frauds[(uint64_t)d % CATEGORY_DAYS] = 0;
    }
    c->day = day;
    c->risk_fits = false;
}

void category_add_payment(struct category *c, int64_t clock_day)
{
    category_advance(c, clock_day + DAY_OFFSET);
    c->payments[(uint64_t)c->day % CATEGORY_DAYS]++;
    /* today's payments count where the maturity is less than a day */
    c->risk_fits &= c->risk_maturity_days > 0;
}

void category_add_fraud(struct category *c, int64_t clock_day, int64_t known_day, int count)
{
    int64_t day = known_day + DAY_OFFSET;
    category_advance(c, clock_day + DAY_OFFSET);
    if (day <= c->day - CATEGORY_DAYS || day > c->day) {
        return;
    }
    uint32_t *f = &c->frauds[(uint64_t)day % CATEGORY_DAYS];
    *f = count > 0 ? *f + 1 : *f - (*f > 0);
    c->risk_fits = false;
}

static float compute_risk(const struct category *c, int64_t maturity_days)
{
    uint64_t frauds = 0;
    uint64_t payments = 0;
    for (int64_t d = 0; d < RISK_DAYS; d++) {
        frauds += c->frauds[(uint64_t)(c->day - d) % CATEGORY_DAYS];
        payments += c->payments[(uint64_t)(c->day - d - maturity_days) % CATEGORY_DAYS];
    }
    if (frauds == 0) {
        return 0;
    }
    return frauds < payments ? (float)((double)frauds / (double)payments) : 1.0F;
}

float category_risk(struct category *c, int64_t clock_day, int64_t maturity_days)
{
    category_advance(c, clock_day + DAY_OFFSET);
    if (!c->risk_fits || c->risk_maturity_days != maturity_days) {
        c->risk = compute_risk(c, maturity_days);
        c->risk_maturity_days = maturity_days;
        c->risk_fits = true;
    }
    return c->risk;
}
