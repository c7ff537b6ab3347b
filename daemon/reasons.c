/* See reasons.h.  PHRASES is the whole vocabulary: a reason's text is the first two phrases of its
 * group that have something to say. */
#include "daemon/reasons.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/detmath.h"

#define NONE_DAYS 399.5F /* the label columns' "never" is 400 */
#define PHRASES_MAX 2    /* in one reason */

/* What the phrases look at. */
struct view {
    const float *x;
    const struct feat_facts *facts;
};

/* A number as text: one decimal below 10, none above; no locale. */
struct number {
    char text[24];
};

static struct number number_of(double v)
{
    struct number n;
    double size = v > 0 ? (v < 1e15 ? v : 1e15) : 0;
    uint64_t tenths = (uint64_t)(size * 10 + 0.5);
    if (tenths < 100 && tenths % 10 != 0) {
        (void)snprintf(n.text, sizeof n.text, "%" PRIu64 ".%" PRIu64, tenths / 10, tenths % 10);
    } else {
        (void)snprintf(n.text, sizeof n.text, "%" PRIu64, (uint64_t)(size + 0.5));
    }
    return n;
}

/* A column that holds ln(1 + v). */
static double unlog(float column)
{
    return det_exp((double)column) - 1;
}

static unsigned count_of(float column)
{
    double n = unlog(column) + 0.5;
    return n < 1e9 ? (unsigned)n : 1000000000U;
}

static const char *plural(unsigned n)
{
    return n == 1 ? "" : "s";
}

static bool say(struct reason *r, const char *fmt, ...) FD_PRINTF(2, 3);

/* Adds a phrase to the text, with "; " before it where it is not the first; true. */
static bool say(struct reason *r, const char *fmt, ...)
{
    va_list args;
    size_t at = strlen(r->text);
    if (at > 0) {
        at += (size_t)snprintf(r->text + at, sizeof r->text - at, "; ");
    }
    if (at < sizeof r->text) {
        va_start(args, fmt);
        (void)vsnprintf(r->text + at, sizeof r->text - at, fmt, args);
        va_end(args);
    }
    return true;
}

/* ---- amount and time ---- */

static bool amount_rank(const struct view *v, struct reason *r)
{
    double share = det_exp(-2.302585092994046 * (double)v->x[FEAT_amount_tail]) * 1000;
    if (v->x[FEAT_amount_tail] < 1.0F) {
        return false;
    }
    if (share < 1) {
        return say(r, "amount among the largest in 1000 payments");
    }
    return say(r, "amount among the largest %s in 1000 payments", number_of(share).text);
}

static bool amount_kind(const struct view *v, struct reason *r)
{
    if (v->x[FEAT_is_check] > 0) {
        return say(r, "account check, no money moves");
    }
    if (v->x[FEAT_is_cash] > 0) {
        return say(r, "cash of %s", number_of((double)v->x[FEAT_amount]).text);
    }
    if (v->x[FEAT_is_refund] > 0) {
        return say(r, "refund or reversal of %s", number_of((double)v->x[FEAT_amount]).text);
    }
    return false;
}

static bool amount_plain(const struct view *v, struct reason *r)
{
    return r->text[0] == '\0' && say(r, "amount %s", number_of((double)v->x[FEAT_amount]).text);
}

static bool hour_unusual(const struct view *v, struct reason *r)
{
    if (v->x[FEAT_hour_habit] > -0.7F) {
        return false;
    }
    return say(r, "this card pays %s times less often at this time of day",
               number_of(det_exp(-(double)v->x[FEAT_hour_habit])).text);
}

static bool card_first(const struct view *v, struct reason *r)
{
    return v->facts->card_events == 0 && say(r, "first event of this card");
}

static bool card_gap(const struct view *v, struct reason *r)
{
    double s = unlog(v->x[FEAT_card_gap]);
    if (v->facts->card_events == 0 || v->x[FEAT_card_gap] > 16.1F) {
        return false;
    }
    if (s < 120) {
        return say(r, "%s s after this card's previous event", number_of(s).text);
    }
    if (s < 7200) {
        return say(r, "%s min after this card's previous event", number_of(s / 60).text);
    }
    if (s < 172800) {
        return say(r, "%s h after this card's previous event", number_of(s / 3600).text);
    }
    return say(r, "%s days after this card's previous event", number_of(s / 86400).text);
}

/* ---- the card's own payments ---- */

static bool card_burst(const struct view *v, struct reason *r)
{
    static const struct {
        enum feature_column column;
        float days;
        const char *words;
    } WINDOWS[] = {{FEAT_card_count_1h, 1.0F / 24, "1 hour"},
                   {FEAT_card_count_6h, 0.25F, "6 hours"},
                   {FEAT_card_count_1d, 1, "1 day"},
                   {FEAT_card_count_3d, 3, "3 days"},
                   {FEAT_card_count_7d, 7, "7 days"}};
    double per_day = unlog(v->x[FEAT_card_count_90d]) / 90;
    for (size_t i = 0; i < sizeof WINDOWS / sizeof WINDOWS[0]; i++) {
        unsigned n = count_of(v->x[WINDOWS[i].column]);
        if (n >= 3 && n > 3 * per_day * (double)WINDOWS[i].days) {
            return say(r, "%u payments of this card in %s, against %s a day in 90 days", n,
                       WINDOWS[i].words, number_of(per_day).text);
        }
    }
    return false;
}

static bool card_tests(const struct view *v, struct reason *r)
{
    unsigned checks = count_of(v->x[FEAT_card_checks_1d]);
    unsigned small = count_of(v->x[FEAT_card_small_1d]);
    unsigned same = count_of(v->x[FEAT_card_same_amount_1d]);
    if (checks >= 2) {
        return say(r, "%u account checks of this card in 1 day", checks);
    }
    if (small >= 2) {
        return say(r, "%u unusually small payments of this card in 1 day", small);
    }
    return same > 0 && say(r, "this very amount %u time%s before in 1 day", same, plural(same));
}

static bool card_mean(const struct view *v, struct reason *r)
{
    float ratio = v->x[FEAT_card_ratio_30d];
    return (ratio > 0.4F || ratio < -0.4F) && say(r, "amount %s times this card's 30-day mean",
                                                  number_of(det_exp((double)ratio)).text);
}

static bool card_record(const struct view *v, struct reason *r)
{
    float ratio = v->x[FEAT_card_max_ratio];
    return ratio > 0.1F && say(r, "%s times this card's largest payment in 30 days",
                               number_of(det_exp((double)ratio)).text);
}

static bool usual_amount(const struct view *v, struct reason *r)
{
    double ratio = v->facts->usual_ratio > 0 ? (double)v->facts->usual_ratio
                                             : det_exp((double)v->x[FEAT_usual_ratio]);
    bool known = v->facts->usual_ratio > 0 || v->x[FEAT_usual_mean] > 0;
    return known && say(r, "amount %s times this card's usual", number_of(ratio).text);
}

static bool usual_spread(const struct view *v, struct reason *r)
{
    return v->x[FEAT_usual_z] > 2.0F &&
           say(r, "%s standard deviations above it", number_of((double)v->x[FEAT_usual_z]).text);
}

/* ---- places ---- */

static bool terminal_amount(const struct view *v, struct reason *r)
{
    float ratio = v->x[FEAT_terminal_ratio_30d];
    return (ratio > 0.4F || ratio < -0.4F) && say(r, "amount %s times this terminal's 30-day mean",
                                                  number_of(det_exp((double)ratio)).text);
}

static bool terminal_traffic(const struct view *v, struct reason *r)
{
    unsigned n = count_of(v->x[FEAT_terminal_count_1d]);
    return n > 0 && say(r, "%u payment%s at this terminal in 1 day, against %s a day in 30 days", n,
                        plural(n), number_of(unlog(v->x[FEAT_terminal_count_30d]) / 30).text);
}

static bool merchant_amount(const struct view *v, struct reason *r)
{
    float ratio = v->x[FEAT_merchant_ratio_30d];
    return (ratio > 0.4F || ratio < -0.4F) && say(r, "amount %s times this merchant's 30-day mean",
                                                  number_of(det_exp((double)ratio)).text);
}

static bool merchant_traffic(const struct view *v, struct reason *r)
{
    unsigned n = count_of(v->x[FEAT_merchant_count_1d]);
    return n > 0 && say(r, "%u payment%s at this merchant in 1 day, against %s a day in 30 days", n,
                        plural(n), number_of(unlog(v->x[FEAT_merchant_count_30d]) / 30).text);
}

static bool pair_first(const struct view *v, struct reason *r)
{
    return v->x[FEAT_pair_days] >= 5.99F && say(r, "first payment of this card here in 90 days");
}

static bool pair_count(const struct view *v, struct reason *r)
{
    unsigned n = count_of(v->x[FEAT_pair_count_30d]);
    return n > 1 && say(r, "%u payments of this card here in 30 days", n);
}

/* ---- known frauds ---- */

static bool days_ago(float days, const char *what, struct reason *r)
{
    if (days >= NONE_DAYS) {
        return false;
    }
    return days < 1 ? say(r, "%s less than a day ago", what)
                    : say(r, "%s %s days ago", what, number_of((double)days).text);
}

static bool frauds_known(float column, const char *where, const char *when, struct reason *r)
{
    unsigned n = count_of(column);
    return n > 0 && say(r, "%u fraud%s %s became known in %s", n, plural(n), where, when);
}

static bool risk_known(float share, const char *where, struct reason *r)
{
    return share >= 0.01F && say(r, "%s in 100 payments %s known as fraud in 30 days",
                                 number_of(100 * (double)share).text, where);
}

static bool card_fraud_last(const struct view *v, struct reason *r)
{
    return days_ago(v->x[FEAT_card_fraud_days], "fraud on this card", r);
}

static bool card_fraud_count(const struct view *v, struct reason *r)
{
    return frauds_known(v->x[FEAT_card_fraud_30d], "on this card", "30 days", r);
}

static bool terminal_fraud_last(const struct view *v, struct reason *r)
{
    return days_ago(v->x[FEAT_terminal_fraud_days], "fraud at this terminal", r);
}

static bool terminal_fraud_count(const struct view *v, struct reason *r)
{
    return frauds_known(v->x[FEAT_terminal_fraud_30d], "at this terminal", "30 days", r);
}

static bool merchant_fraud_last(const struct view *v, struct reason *r)
{
    return days_ago(v->x[FEAT_merchant_fraud_days], "fraud at this merchant", r);
}

static bool device_fraud_last(const struct view *v, struct reason *r)
{
    return days_ago(v->x[FEAT_device_fraud_days], "fraud with this device", r);
}

static bool ip_fraud_last(const struct view *v, struct reason *r)
{
    return days_ago(v->x[FEAT_ip_fraud_days], "fraud from this IP address", r);
}

static bool mcc_risk(const struct view *v, struct reason *r)
{
    return risk_known(v->x[FEAT_mcc_risk_30d], "of this merchant category", r);
}

static bool country_risk(const struct view *v, struct reason *r)
{
    return risk_known(v->x[FEAT_country_risk_30d], "in this country", r);
}

/* ---- device, place on earth, category ---- */

static bool device_first(const struct view *v, struct reason *r)
{
    return v->x[FEAT_device_new] > 0 && say(r, "first use of this device");
}

static bool device_shared(const struct view *v, struct reason *r)
{
    unsigned n = (unsigned)(v->x[FEAT_device_cards_30d] + 0.5F);
    return n > 1 && say(r, "%u cards with this device in 30 days", n);
}

static bool ip_first(const struct view *v, struct reason *r)
{
    return v->x[FEAT_ip_new] > 0 && say(r, "first use of this IP address");
}

static bool ip_shared(const struct view *v, struct reason *r)
{
    unsigned n = (unsigned)(v->x[FEAT_ip_cards_1d] + 0.5F);
    return n > 1 && say(r, "%u cards from this IP address in 1 day", n);
}

static bool devices_many(const struct view *v, struct reason *r)
{
    unsigned n = (unsigned)(v->x[FEAT_card_devices_30d] + 0.5F);
    return n > 2 && say(r, "%u devices of this card in 30 days", n);
}

static bool country_first(const struct view *v, struct reason *r)
{
    return v->x[FEAT_country_new] > 0 && say(r, "first payment of this card in this country");
}

static bool travel(const struct view *v, struct reason *r)
{
    double km = unlog(v->x[FEAT_geo_distance]);
    return v->x[FEAT_geo_distance] >= 0 && km >= 10 &&
           say(r, "%s km from the previous payment, %s km/h", number_of(km).text,
               number_of(unlog(v->x[FEAT_geo_speed])).text);
}

static bool far_from_home(const struct view *v, struct reason *r)
{
    double km = unlog(v->x[FEAT_geo_home]);
    return v->x[FEAT_geo_home] >= 0 && km >= 10 &&
           say(r, "%s km from where this card usually pays", number_of(km).text);
}

static bool mcc_first(const struct view *v, struct reason *r)
{
    return v->x[FEAT_mcc_new] > 0 && say(r, "first payment in this merchant category");
}

static bool currency_foreign(const struct view *v, struct reason *r)
{
    return v->x[FEAT_currency_foreign] > 0 && say(r, "foreign currency");
}

static bool channel_used(const struct view *v, struct reason *r)
{
    static const char *const CHANNELS[] = {"",
                                           "at a point of sale",
                                           "at a cash machine",
                                           "in electronic commerce",
                                           "by mail or telephone",
                                           "as a recurring payment"};
    static const char *const ENTRIES[] = {"",
                                          " by chip",
                                          ", contactless",
                                          " by magnetic stripe",
                                          ", typed in",
                                          " with stored card data"};
    unsigned channel = (unsigned)(v->x[FEAT_channel] + 0.5F);
    unsigned entry = (unsigned)(v->x[FEAT_entry_mode] + 0.5F);
    return channel >= 1 && channel <= 5 && entry <= 5 &&
           say(r, "made %s%s", CHANNELS[channel], ENTRIES[entry]);
}

static bool parts_missing(const struct view *v, struct reason *r)
{
    static const struct {
        enum feature_column column;
        const char *name;
    } PARTS[] = {{FEAT_no_terminal, "terminal"}, {FEAT_no_merchant, "merchant"},
                 {FEAT_no_device, "device"},     {FEAT_no_ip, "IP address"},
                 {FEAT_no_location, "location"}, {FEAT_no_mcc, "merchant category"},
                 {FEAT_no_country, "country"}};
    char list[96] = "";
    size_t len = 0;
    for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++) {
        if (v->x[PARTS[i].column] > 0) {
            len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len == 0 ? "" : ", ",
                                    PARTS[i].name);
        }
    }
    return len > 0 && say(r, "comes without %s", list);
}

/* The vocabulary; within a group the most telling phrase first. */
static const struct {
    enum feature_group group;
    bool (*say)(const struct view *v, struct reason *r);
} PHRASES[] = {
    {GROUP_AMOUNT, amount_kind},
    {GROUP_AMOUNT, amount_rank},
    {GROUP_AMOUNT, amount_plain},
    {GROUP_CALENDAR, hour_unusual},
    {GROUP_INTERVAL, card_first},
    {GROUP_INTERVAL, card_gap},
    {GROUP_CARD_WINDOW, card_tests},
    {GROUP_CARD_WINDOW, card_burst},
    {GROUP_CARD_WINDOW, card_mean},
    {GROUP_CARD_WINDOW, card_record},
    {GROUP_USUAL, usual_amount},
    {GROUP_USUAL, usual_spread},
    {GROUP_TERMINAL_WINDOW, terminal_amount},
    {GROUP_TERMINAL_WINDOW, terminal_traffic},
    {GROUP_MERCHANT_WINDOW, merchant_amount},
    {GROUP_MERCHANT_WINDOW, merchant_traffic},
    {GROUP_PAIR, pair_first},
    {GROUP_PAIR, pair_count},
    {GROUP_CARD_LABEL, card_fraud_count},
    {GROUP_CARD_LABEL, card_fraud_last},
    {GROUP_TERMINAL_LABEL, terminal_fraud_count},
    {GROUP_TERMINAL_LABEL, terminal_fraud_last},
    {GROUP_PLACE_LABEL, device_fraud_last},
    {GROUP_PLACE_LABEL, ip_fraud_last},
    {GROUP_PLACE_LABEL, merchant_fraud_last},
    {GROUP_PLACE_LABEL, mcc_risk},
    {GROUP_PLACE_LABEL, country_risk},
    {GROUP_DEVICE, device_first},
    {GROUP_DEVICE, device_shared},
    {GROUP_DEVICE, ip_first},
    {GROUP_DEVICE, ip_shared},
    {GROUP_DEVICE, devices_many},
    {GROUP_GEOGRAPHY, country_first},
    {GROUP_GEOGRAPHY, travel},
    {GROUP_GEOGRAPHY, far_from_home},
    {GROUP_CATEGORY, mcc_first},
    {GROUP_CATEGORY, currency_foreign},
    {GROUP_CATEGORY, channel_used},
    {GROUP_MISSING, parts_missing},
};

static void fill_text(const struct view *v, struct reason *r)
{
    unsigned said = 0;
    r->text[0] = '\0';
    for (size_t i = 0; i < sizeof PHRASES / sizeof PHRASES[0] && said < PHRASES_MAX; i++) {
        if (PHRASES[i].group == r->group) {
            said += PHRASES[i].say(v, r);
        }
    }
    if (said == 0) {
        (void)say(r, "unusual: %s", feature_group_words(r->group));
    }
}

size_t reasons_make(const float *x, const float *group, const struct feat_facts *facts,
                    struct reason out[DECISION_REASONS_MAX])
{
    struct view v = {x, facts};
    bool taken[GROUP_COUNT] = {false};
    size_t count = 0;
    for (; count < DECISION_REASONS_MAX; count++) {
        int best = -1;
        for (int g = 0; g < GROUP_COUNT; g++) {
            bool counts = !taken[g] && isfinite(group[g]) && group[g] > 0;
            if (counts && (best < 0 || group[g] > group[best])) {
                best = g;
            }
        }
        if (best < 0) {
            break;
        }
        taken[best] = true;
        memset(&out[count], 0, sizeof out[count]);
        out[count].group = (enum feature_group)best;
        out[count].weight = group[best];
        fill_text(&v, &out[count]);
    }
    return count;
}
