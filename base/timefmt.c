#include "base/timefmt.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Days since 1970-01-01 of a civil date (Hinnant, "chrono-compatible low-level date algorithms").
 */
static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, int64_t *m, int64_t *d)
{
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = doy - (153 * mp + 2) / 5 + 1;
    *m = mp + (mp < 10 ? 3 : -9);
    *y = yoe + era * 400 + (*m <= 2);
}

struct cursor {
    const char *p;
    const char *end;
};

static bool take_digits(struct cursor *c, int count, int64_t *out)
{
    int64_t v = 0;
    if (c->end - c->p < count) {
        return false;
    }
    for (int i = 0; i < count; i++, c->p++) {
        if (*c->p < '0' || *c->p > '9') {
            return false;
        }
        v = v * 10 + (*c->p - '0');
    }
    *out = v;
    return true;
}

static bool take_char(struct cursor *c, char wanted)
{
    if (c->p == c->end || *c->p != wanted) {
        return false;
    }
    c->p++;
    return true;
}

/* Up to nine digits after the point, as microseconds. */
static bool take_fraction(struct cursor *c, int64_t *out_us)
{
    int64_t unit = 100000;
    int digits = 0;
    *out_us = 0;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        *out_us += (*c->p - '0') * unit;
        unit /= 10;
        c->p++;
        if (++digits > 9) {
            return false;
        }
    }
    return digits > 0;
}

static bool take_date(struct cursor *c, int64_t *out_days)
{
    static const int64_t LENGTH[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t y = 0;
    int64_t m = 0;
    int64_t d = 0;
    if (!take_digits(c, 4, &y) || !take_char(c, '-') || !take_digits(c, 2, &m) ||
        !take_char(c, '-') || !take_digits(c, 2, &d)) {
        return false;
    }
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (y < 1 || m < 1 || m > 12 || d < 1 || d > LENGTH[m - 1] + (m == 2 && leap)) {
        return false;
    }
    *out_days = days_from_civil(y, m, d);
    return true;
}

static bool take_clock(struct cursor *c, int64_t *out_us)
{
    int64_t h = 0;
    int64_t min = 0;
    int64_t s = 0;
    int64_t fraction = 0;
    if (!take_digits(c, 2, &h) || !take_char(c, ':') || !take_digits(c, 2, &min)) {
        return false;
    }
    if (take_char(c, ':')) {
        if (!take_digits(c, 2, &s) || (take_char(c, '.') && !take_fraction(c, &fraction))) {
            return false;
        }
    }
    if (h > 23 || min > 59 || s > 59) {
        return false;
    }
    *out_us = h * TIME_HOUR + min * TIME_MIN + s * TIME_S + fraction;
    return true;
}

static bool take_zone(struct cursor *c, int64_t *out_us)
{
    int64_t h = 0;
    int64_t min = 0;
    *out_us = 0;
    if (c->p == c->end || take_char(c, 'Z')) {
        return true;
    }
    bool east = take_char(c, '+');
    if (!east && !take_char(c, '-')) {
        return false;
    }
    if (!take_digits(c, 2, &h)) {
        return false;
    }
    (void)take_char(c, ':');
    if (!take_digits(c, 2, &min) || h > 14 || min > 59) {
        return false;
    }
    *out_us = (east ? 1 : -1) * (h * TIME_HOUR + min * TIME_MIN);
    return true;
}

enum err time_parse(const char *text, size_t len, int64_t *out_us)
{
    struct cursor c = {text, text + len};
    int64_t days = 0;
    int64_t clock = 0;
    int64_t zone = 0;
    if (!take_date(&c, &days)) {
        return ERR_INVALID;
    }
    if (c.p < c.end) {
        if ((!take_char(&c, 'T') && !take_char(&c, ' ')) || !take_clock(&c, &clock) ||
            !take_zone(&c, &zone)) {
            return ERR_INVALID;
        }
    }
    if (c.p != c.end) {
        return ERR_INVALID;
    }
    *out_us = days * TIME_DAY + clock - zone;
    return ERR_OK;
}

enum err time_parse_loose(const char *text, size_t len, int64_t *out_us)
{
    struct cursor c = {text, text + len};
    int64_t seconds = 0;
    int64_t fraction = 0;
    int digits = 0;
    bool negative = take_char(&c, '-');
    while (c.p < c.end && *c.p >= '0' && *c.p <= '9' && digits < 12) {
        seconds = seconds * 10 + (*c.p - '0');
        c.p++;
        digits++;
    }
    if (digits > 0 && c.p < c.end && *c.p == '.') {
        c.p++;
        if (c.p < c.end && !take_fraction(&c, &fraction)) {
            return ERR_INVALID;
        }
    }
    if (digits == 0 || c.p != c.end) {
        return time_parse(text, len, out_us);
    }
    int64_t us = seconds * TIME_S + fraction;
    *out_us = negative ? -us : us;
    return ERR_OK;
}

int64_t time_day(int64_t us)
{
    return us / TIME_DAY - (us % TIME_DAY < 0);
}

size_t time_format_date(char out[TIME_TEXT_MAX], int64_t us)
{
    int64_t y = 0;
    int64_t m = 0;
    int64_t d = 0;
    civil_from_days(time_day(us), &y, &m, &d);
    return (size_t)snprintf(out, TIME_TEXT_MAX, "%04" PRId64 "-%02" PRId64 "-%02" PRId64, y, m, d);
}

size_t time_format(char out[TIME_TEXT_MAX], int64_t us)
{
    size_t at = time_format_date(out, us);
    int64_t in_day = us - time_day(us) * TIME_DAY;
    at += (size_t)snprintf(out + at, TIME_TEXT_MAX - at, "T%02" PRId64 ":%02" PRId64 ":%02" PRId64,
                           in_day / TIME_HOUR, in_day / TIME_MIN % 60, in_day / TIME_S % 60);
    int64_t fraction = in_day % TIME_S;
    if (fraction % 1000 != 0) {
        at += (size_t)snprintf(out + at, TIME_TEXT_MAX - at, ".%06" PRId64, fraction);
    } else if (fraction != 0) {
        at += (size_t)snprintf(out + at, TIME_TEXT_MAX - at, ".%03" PRId64, fraction / 1000);
    }
    return at + (size_t)snprintf(out + at, TIME_TEXT_MAX - at, "Z");
}

struct unit {
    const char *name;
    int64_t us;
};

static const struct unit UNITS[] = {{"us", 1},       {"ms", 1000},     {"s", TIME_S},
                                    {"m", TIME_MIN}, {"h", TIME_HOUR}, {"d", TIME_DAY}};
#define UNIT_COUNT (sizeof UNITS / sizeof UNITS[0])

enum err duration_parse(const char *text, int64_t *out_us)
{
    int64_t v = 0;
    const char *p = text;
    while (*p >= '0' && *p <= '9' && p - text < 9) {
        v = v * 10 + (*p++ - '0');
    }
    if (p == text) {
        return ERR_INVALID;
    }
    if (*p == '\0' && v == 0) {
        *out_us = 0;
        return ERR_OK;
    }
    for (size_t i = 0; i < UNIT_COUNT; i++) {
        if (strcmp(p, UNITS[i].name) == 0 && v <= INT64_MAX / 4 / UNITS[i].us) {
            *out_us = v * UNITS[i].us;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

size_t duration_format(char out[TIME_TEXT_MAX], int64_t us)
{
    size_t best = 0;
    for (size_t i = 0; i < UNIT_COUNT; i++) {
        if (us % UNITS[i].us == 0 && us != 0) {
            best = i;
        }
    }
    if (us == 0) {
        return (size_t)snprintf(out, TIME_TEXT_MAX, "0");
    }
    return (size_t)snprintf(out, TIME_TEXT_MAX, "%" PRId64 "%s", us / UNITS[best].us,
                            UNITS[best].name);
}
