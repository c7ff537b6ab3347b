/* See rates.h.
 *
 * 1. A table is complete or refused: no partly read one ever leaves rates_parse.
 * 2. slot[] maps three letters to 1 + index of the entry, 0 where there is none. */
#include "daemon/rates.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "daemon/wire.h"

#define FILE_MAX ((size_t)256 * 1024)
#define UNIT_E9_MAX UINT64_C(1000000000000000)
#define SLOTS (26 * 26 * 26)

__extension__ typedef unsigned __int128 uint128;

struct rates {
    uint32_t version;
    char reference[4];
    size_t count;
    struct rate rate[RATES_MAX];
    uint8_t slot[SLOTS];
};

static const uint64_t POWER10[] = {1,
                                   10,
                                   100,
                                   1000,
                                   10000,
                                   100000,
                                   1000000,
                                   10000000,
                                   100000000,
                                   1000000000,
                                   UINT64_C(10000000000),
                                   UINT64_C(100000000000)};

/* Slot of three capital letters, or -1. */
static int slot_of(const char *code)
{
    int slot = 0;
    for (int i = 0; i < 3; i++) {
        if (code[i] < 'A' || code[i] > 'Z') {
            return -1;
        }
        slot = slot * 26 + (code[i] - 'A');
    }
    return slot;
}

struct words {
    const char *at[4];
    size_t len[4];
    int count; /* 4 means too many */
};

static void split(const char *line, size_t len, struct words *w)
{
    size_t i = 0;
    w->count = 0;
    while (i < len && line[i] != '#' && w->count < 4) {
        if (line[i] == ' ' || line[i] == '\t' || line[i] == '\r') {
            i++;
            continue;
        }
        size_t start = i;
        while (i < len && line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != '#') {
            i++;
        }
        w->at[w->count] = line + start;
        w->len[w->count++] = i - start;
    }
}

static bool word_is(const struct words *w, int i, const char *text)
{
    return w->len[i] == strlen(text) && memcmp(w->at[i], text, w->len[i]) == 0;
}

/* A decimal number in 10^-decimals units; false: other characters, more decimals, above 10^15. */
static bool take_decimal(const char *p, size_t len, int decimals, uint64_t *out)
{
    uint64_t v = 0;
    int after = -1;
    size_t digits = 0;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '.' && after < 0) {
            after = 0;
            continue;
        }
        if (p[i] < '0' || p[i] > '9' || after == decimals || v > UNIT_E9_MAX) {
            return false;
        }
        v = v * 10 + (uint64_t)(p[i] - '0');
        after += after >= 0;
        digits++;
    }
    for (int i = after < 0 ? 0 : after; i < decimals && v <= UNIT_E9_MAX; i++) {
        v *= 10;
    }
    *out = v;
    return digits > 0 && after != 0 && v <= UNIT_E9_MAX;
}

static enum err add_rate(struct rates *r, const struct words *w, struct errmsg *e)
{
    uint64_t exponent = 0;
    uint64_t unit_e9 = 0;
    int slot = w->len[0] == 3 ? slot_of(w->at[0]) : -1;
    if (slot < 0) {
        return err_set(e, ERR_INVALID, "\"%.*s\" is not a currency code of three capital letters",
                       (int)(w->len[0] < 20 ? w->len[0] : 20), w->at[0]);
    }
    if (r->slot[slot] != 0) {
        return err_set(e, ERR_INVALID, "%.3s is there twice", w->at[0]);
    }
    if (r->count == RATES_MAX) {
        return err_set(e, ERR_INVALID, "more than %d currencies", RATES_MAX);
    }
    if (!take_decimal(w->at[1], w->len[1], 0, &exponent) || exponent > WIRE_EXPONENT_MAX) {
        return err_set(e, ERR_INVALID, "the decimals of %.3s must be 0 to %d", w->at[0],
                       WIRE_EXPONENT_MAX);
    }
    if (!take_decimal(w->at[2], w->len[2], 9, &unit_e9) || unit_e9 == 0) {
        return err_set(
            e, ERR_INVALID,
            "the value of %.3s must be above 0, at most 1000000, with at most 9 decimals",
            w->at[0]);
    }
    struct rate *entry = &r->rate[r->count++];
    memcpy(entry->code, w->at[0], 3);
    entry->exponent = (uint8_t)exponent;
    entry->unit_e9 = unit_e9;
    r->slot[slot] = (uint8_t)r->count;
    return ERR_OK;
}

static enum err take_line(struct rates *r, const struct words *w, struct errmsg *e)
{
    uint64_t version = 0;
    if (w->count == 0) {
        return ERR_OK;
    }
    if (w->count == 2 && word_is(w, 0, "version")) {
        if (r->version != 0 || !take_decimal(w->at[1], w->len[1], 0, &version) || version == 0 ||
            version > UINT32_MAX) {
            return err_set(e, ERR_INVALID, "the version must be there once, 1 to 4294967295");
        }
        r->version = (uint32_t)version;
        return ERR_OK;
    }
    if (w->count == 2 && word_is(w, 0, "reference")) {
        if (r->reference[0] != '\0' || w->len[1] != 3 || slot_of(w->at[1]) < 0) {
            return err_set(e, ERR_INVALID,
                           "the reference must be there once, a currency code of three letters");
        }
        memcpy(r->reference, w->at[1], 3);
        return ERR_OK;
    }
    if (w->count != 3) {
        return err_set(e, ERR_INVALID, "expected \"CODE DECIMALS VALUE\", such as \"USD 2 0.92\"");
    }
    return add_rate(r, w, e);
}

static enum err check_whole(const struct rates *r, struct errmsg *e)
{
    if (r->version == 0) {
        return err_set(e, ERR_INVALID, "exchange rates: there is no \"version N\" line");
    }
    if (r->reference[0] == '\0') {
        return err_set(e, ERR_INVALID, "exchange rates: there is no \"reference CODE\" line");
    }
    const struct rate *reference = rates_find(r, r->reference);
    if (reference == NULL || reference->unit_e9 != POWER10[9]) {
        return err_set(e, ERR_INVALID,
                       "exchange rates: the reference %s needs an entry with the value 1",
                       r->reference);
    }
    return ERR_OK;
}

enum err rates_parse(const char *text, size_t len, struct rates **out, struct errmsg *e)
{
    enum err code = ERR_OK;
    struct rates *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return err_set(e, ERR_NOMEM, "exchange rates: no memory for %zu bytes", sizeof *r);
    }
    size_t line = 1;
    for (size_t at = 0; at < len; line++) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line_len = end != NULL ? (size_t)(end - (text + at)) : len - at;
        struct words words;
        split(text + at, line_len, &words);
        code = take_line(r, &words, e);
        if (code != ERR_OK) {
            (void)err_prefix(e, code, "exchange rates, line %zu", line);
            goto out;
        }
        at += line_len + 1;
    }
    code = check_whole(r, e);
    if (code == ERR_OK) {
        *out = r;
        r = NULL;
    }
out:
    rates_free(r);
    return code;
}

enum err rates_load(const char *path, struct rates **out, struct errmsg *e)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err code = file_read(path, FILE_MAX, &bytes, &len, e);
    if (code == ERR_OK) {
        code = rates_parse((const char *)bytes, len, out, e);
        if (code != ERR_OK) {
            (void)err_prefix(e, code, "%s", path);
        }
    }
    free(bytes);
    return code;
}

enum err rates_create_default(struct rates **out, struct errmsg *e)
{
    return rates_parse(RATES_DEFAULT, strlen(RATES_DEFAULT), out, e);
}

void rates_free(struct rates *r)
{
    free(r);
}

uint32_t rates_version(const struct rates *r)
{
    return r->version;
}

const char *rates_reference(const struct rates *r)
{
    return r->reference;
}

const struct rate *rates_find(const struct rates *r, const char *code)
{
    int slot = slot_of(code);
    return slot < 0 || r->slot[slot] == 0 ? NULL : &r->rate[r->slot[slot] - 1];
}

uint32_t rates_convert(const struct rate *rate, int64_t amount_minor, uint8_t exponent)
{
    uint64_t amount = (uint64_t)amount_minor;
    uint64_t divisor = POWER10[7 + exponent];
    uint64_t product = 0;
    if (!__builtin_mul_overflow(amount, rate->unit_e9, &product) &&
        product <= UINT64_MAX - divisor) {
        uint64_t small = (product + divisor / 2) / divisor;
        return small < UINT32_MAX ? (uint32_t)small : UINT32_MAX;
    }
    uint128 large = ((uint128)amount * rate->unit_e9 + divisor / 2) / divisor;
    return large < UINT32_MAX ? (uint32_t)large : UINT32_MAX;
}
