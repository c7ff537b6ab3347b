/* Rows as CSV and as JSON lines.  Integers only, no locale: the same bytes everywhere.
 *
 * 1. What is missing is an empty CSV field, and no member at all in JSON.
 * 2. No row is longer than SIM_ROW_MAX: every field has a fixed longest form. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/timefmt.h"
#include "daemon/simulate.h"

static const char *const TYPE_NAME[] = {"purchase", "cash", "refund", "reversal", "check"};
static const char *const CHANNEL_NAME[] = {"", "pos", "atm", "ecommerce", "moto", "recurring"};
static const char *const ENTRY_NAME[] = {"",          "chip",   "contactless",
                                         "magstripe", "manual", "credential_on_file"};
static const char *const PATTERN_NAME[SIM_PATTERN_COUNT] = {
    "", "stolen", "terminal", "takeover", "testing", "mule", "collusion", "friendly"};

const char *sim_pattern_name(enum sim_pattern p)
{
    return (unsigned)p < SIM_PATTERN_COUNT ? PATTERN_NAME[p] : "";
}

enum sim_pattern sim_pattern_find(const char *name)
{
    for (unsigned p = SIM_LEGITIMATE + 1; p < SIM_PATTERN_COUNT; p++) {
        if (strcmp(name, PATTERN_NAME[p]) == 0) {
            return (enum sim_pattern)p;
        }
    }
    return SIM_LEGITIMATE;
}

const char *sim_csv_header(void)
{
    return "tx_id,ts,card_id,type,amount,currency,merchant_id,terminal_id,mcc,country,channel,"
           "entry,"
           "device_id,ip,lat,lon,fraud,label_ts,pattern\n";
}

/* ---- pieces ---- */

/* The end of a buffer that is being filled. */
struct pen {
    char *at;
    char *end;
};

static void put(struct pen *p, const char *text)
{
    size_t len = strlen(text);
    assert(p->at + len < p->end);
    memcpy(p->at, text, len);
    p->at += len;
}

/* At least `width` digits. */
static void put_number(struct pen *p, uint64_t v, int width)
{
    char digit[24];
    char *d = digit + sizeof digit;
    *--d = '\0';
    for (; v > 0 || width > 0; v /= 10, width--) {
        *--d = (char)('0' + v % 10);
    }
    put(p, d);
}

static void put_amount(struct pen *p, int64_t minor, unsigned digits)
{
    assert(minor >= 0 && digits <= 2);
    uint64_t unit = digits == 2 ? 100 : digits == 1 ? 10 : 1;
    put_number(p, (uint64_t)minor / unit, 1);
    if (digits > 0) {
        put(p, ".");
        put_number(p, (uint64_t)minor % unit, (int)digits);
    }
}

static void put_degrees(struct pen *p, int32_t e4)
{
    put(p, e4 < 0 ? "-" : "");
    uint64_t v = (uint64_t)(e4 < 0 ? -(int64_t)e4 : e4);
    put_number(p, v / 10000, 1);
    put(p, ".");
    put_number(p, v % 10000, 4);
}

static void put_time(struct pen *p, int64_t us)
{
    char date[TIME_TEXT_MAX];
    time_format_date(date, us);
    int64_t ms = us / 1000 % 86400000;
    put(p, date);
    put(p, "T");
    put_number(p, (uint64_t)(ms / 3600000), 2);
    put(p, ":");
    put_number(p, (uint64_t)(ms / 60000 % 60), 2);
    put(p, ":");
    put_number(p, (uint64_t)(ms / 1000 % 60), 2);
    put(p, ".");
    put_number(p, (uint64_t)(ms % 1000), 3);
    put(p, "Z");
}

static void put_named(struct pen *p, const char *prefix, uint64_t v, int width)
{
    put(p, prefix);
    put_number(p, v, width);
}

/* Hashed: the order of making says nothing about the maker. */
static void put_device(struct pen *p, uint64_t device)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t h = hash_pair(device, 0);
    char text[20] = "d";
    for (int i = 0; i < 12; i++) {
        text[i + 1] = hex[h >> (4 * i) & 15];
    }
    put(p, text);
}

static void put_ip(struct pen *p, uint32_t ip)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        put_number(p, ip >> shift & 255, 1);
        put(p, shift > 0 ? "." : "");
    }
}

static struct pen pen_on(char *out, size_t size)
{
    return (struct pen){out, out + size};
}

void sim_tx_id(const struct sim_tx *t, char out[SIM_ID_MAX])
{
    struct pen p = pen_on(out, SIM_ID_MAX);
    put_named(&p, "t", t->number, 9);
    *p.at = '\0';
}

void sim_card_id(uint32_t card, char out[SIM_ID_MAX])
{
    struct pen p = pen_on(out, SIM_ID_MAX);
    put_named(&p, "c", card, 7);
    *p.at = '\0';
}

void sim_merchant_id(uint32_t merchant, char out[SIM_ID_MAX])
{
    struct pen p = pen_on(out, SIM_ID_MAX);
    put_named(&p, "m", merchant, 6);
    *p.at = '\0';
}

void sim_time_text(int64_t us, char out[SIM_ID_MAX])
{
    struct pen p = pen_on(out, SIM_ID_MAX);
    put_time(&p, us);
    *p.at = '\0';
}

/* ---- rows ---- */

static void put_csv_origin(struct pen *p, const struct sim_tx *t)
{
    if (t->device != 0) {
        put_device(p, t->device);
    }
    put(p, ",");
    if (t->ip != 0) {
        put_ip(p, t->ip);
    }
    put(p, ",");
    if (t->has_location) {
        put_degrees(p, t->lat_e4);
    }
    put(p, ",");
    if (t->has_location) {
        put_degrees(p, t->lon_e4);
    }
}

size_t sim_csv_row(const struct sim_tx *t, char out[SIM_ROW_MAX])
{
    struct pen p = pen_on(out, SIM_ROW_MAX);
    put_named(&p, "t", t->number, 9);
    put(&p, ",");
    put_time(&p, t->event_us);
    put_named(&p, ",c", t->card, 7);
    put(&p, ",");
    put(&p, TYPE_NAME[t->type]);
    put(&p, ",");
    put_amount(&p, t->amount_minor, t->minor_digits);
    put(&p, ",");
    put(&p, t->currency);
    put_named(&p, ",m", t->merchant, 6);
    if (t->terminal != 0) {
        put_named(&p, ",t", t->terminal, 6);
    } else {
        put(&p, ",");
    }
    put_named(&p, ",", t->mcc, 4);
    put(&p, ",");
    put(&p, t->country);
    put(&p, ",");
    put(&p, CHANNEL_NAME[t->channel]);
    put(&p, ",");
    put(&p, ENTRY_NAME[t->entry]);
    put(&p, ",");
    put_csv_origin(&p, t);
    put(&p, t->pattern != SIM_LEGITIMATE ? ",1," : ",0,");
    if (t->label_us != 0) {
        put_time(&p, t->label_us);
    }
    put(&p, ",");
    put(&p, PATTERN_NAME[t->pattern]);
    put(&p, "\n");
    *p.at = '\0';
    return (size_t)(p.at - out);
}

static void put_member(struct pen *p, const char *name, const char *text)
{
    put(p, name);
    put(p, text);
    put(p, "\"");
}

size_t sim_json_row(const struct sim_tx *t, char out[SIM_ROW_MAX])
{
    struct pen p = pen_on(out, SIM_ROW_MAX);
    put_named(&p, "{\"id\":\"t", t->number, 9);
    put(&p, "\",\"ts\":\"");
    put_time(&p, t->event_us);
    put_named(&p, "\",\"card\":\"c", t->card, 7);
    put_member(&p, "\",\"type\":\"", TYPE_NAME[t->type]);
    put(&p, ",\"amount\":\"");
    put_amount(&p, t->amount_minor, t->minor_digits);
    put(&p, "\",\"currency\":\"");
    put(&p, t->currency);
    put_named(&p, "\",\"merchant\":\"m", t->merchant, 6);
    if (t->terminal != 0) {
        put_named(&p, "\",\"terminal\":\"t", t->terminal, 6);
    }
    put_named(&p, "\",\"mcc\":\"", t->mcc, 4);
    put_member(&p, "\",\"country\":\"", t->country);
    put_member(&p, ",\"channel\":\"", CHANNEL_NAME[t->channel]);
    put_member(&p, ",\"entry\":\"", ENTRY_NAME[t->entry]);
    if (t->device != 0) {
        put(&p, ",\"device\":\"");
        put_device(&p, t->device);
        put(&p, "\"");
    }
    if (t->ip != 0) {
        put(&p, ",\"ip\":\"");
        put_ip(&p, t->ip);
        put(&p, "\"");
    }
    if (t->has_location) {
        put(&p, ",\"lat\":");
        put_degrees(&p, t->lat_e4);
        put(&p, ",\"lon\":");
        put_degrees(&p, t->lon_e4);
    }
    put(&p, "}\n");
    *p.at = '\0';
    return (size_t)(p.at - out);
}
