/* Times and durations as text.  Times are microseconds since 1970-01-01 UTC, proleptic Gregorian
 * calendar, no leap seconds.  Pure functions; no locale, no time zone of the machine. */
#ifndef FD_BASE_TIMEFMT_H
#define FD_BASE_TIMEFMT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TIME_S INT64_C(1000000)
#define TIME_MIN (60 * TIME_S)
#define TIME_HOUR (60 * TIME_MIN)
#define TIME_DAY (24 * TIME_HOUR)

#define TIME_TEXT_MAX 40

/* Reads "2026-04-01", "2026-04-01T12:30:05", with an optional fraction of up to 9 digits (cut to
 * microseconds), "Z" or "+02:00" (none means UTC); a blank may stand for the T.  Years 1 to 9999.
 * Returns ERR_INVALID for anything else; the whole text must be used. */
FD_MUSTCHECK enum err time_parse(const char *text, size_t len, int64_t *out_us);

/* The same, or a plain number of seconds with an optional fraction. */
FD_MUSTCHECK enum err time_parse_loose(const char *text, size_t len, int64_t *out_us);

/* "2026-04-01T12:30:05.123456Z", the fraction left out where it is zero; milliseconds where they
 * suffice.  Returns the length. */
size_t time_format(char out[TIME_TEXT_MAX], int64_t us);

/* "2026-04-01" */
size_t time_format_date(char out[TIME_TEXT_MAX], int64_t us);

/* Day number of a time, rounding down. */
int64_t time_day(int64_t us);

/* Reads "250ms", "5s", "10m", "36h", "7d", "0"; a number without unit is refused unless 0. */
FD_MUSTCHECK enum err duration_parse(const char *text, int64_t *out_us);
/* The shortest text of that kind. */
size_t duration_format(char out[TIME_TEXT_MAX], int64_t us);

#endif
