#include "daemon/card_number.h"

#include <string.h>

#define FIRST_GROUP 4
#define GROUP_MIN 3 /* of a group that another one follows */
#define GROUP_MAX 6
#define SHOWN 4 /* digits that a mask leaves */

/* Text as its characters: one byte each, six where JSON escapes one. */
struct text {
    const char *at;
    size_t len;
    bool escaped; /* has escapes that are looked through */
};

/* A number found: its bytes and its digits. */
struct found {
    size_t from, to;
    size_t n;
    char digits[CARD_DIGITS_MAX];
};

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The character at i and where the next one begins; 0 at the end. */
static int character(const struct text *t, size_t i, size_t *out_next)
{
    *out_next = i + 1;
    if (i >= t->len) {
        return 0;
    }
    if (t->escaped && t->len - i >= 6 && memcmp(t->at + i, "\\u00", 4) == 0) {
        int high = hex_value(t->at[i + 4]);
        int low = hex_value(t->at[i + 5]);
        if (high >= 0 && low >= 0) {
            *out_next = i + 6;
            return high * 16 + low;
        }
    }
    return (unsigned char)t->at[i];
}

static bool passes(const char *digits, size_t n)
{
    unsigned sum = 0;
    if (n < CARD_DIGITS_MIN || n > CARD_DIGITS_MAX || digits[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(digits[n - 1 - i] - '0') << (i & 1);
        sum += d > 9 ? d - 9 : d;
    }
    return sum % 10 == 0;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Whether the bytes stand in a word of digits and the letters a to f, with a letter in it. */
static bool in_hex_word(const struct text *t, size_t from, size_t to)
{
    size_t letters = 0;
    for (; from > 0 && (is_letter(t->at[from - 1]) || is_digit(t->at[from - 1])); from--) {
        if (hex_value(t->at[from - 1]) < 0) {
            return false;
        }
        letters += is_letter(t->at[from - 1]);
    }
    for (; to < t->len && (is_letter(t->at[to]) || is_digit(t->at[to])); to++) {
        if (hex_value(t->at[to]) < 0) {
            return false;
        }
        letters += is_letter(t->at[to]);
    }
    return letters > 0;
}

/* Adds the digits from i on, counting all and keeping those that fit.  Returns their number. */
static size_t take_run(const struct text *t, size_t i, struct found *f)
{
    size_t n = 0;
    size_t next = i;
    for (int c = character(t, i, &next); is_digit(c); c = character(t, i, &next)) {
        if (f->n < CARD_DIGITS_MAX) {
            f->digits[f->n] = (char)c;
        }
        f->n++;
        n++;
        i = next;
    }
    f->to = i;
    return n;
}

/* Goes on behind a first group; true where the groups so far make a number. */
static bool take_groups(const struct text *t, struct found *f)
{
    size_t next = f->to;
    const int separator = character(t, f->to, &next);
    if (separator != ' ' && separator != '-') {
        return false;
    }
    for (;;) {
        size_t n = take_run(t, next, f);
        if (n == 0 || n > GROUP_MAX || f->n > CARD_DIGITS_MAX) {
            return false;
        }
        if (passes(f->digits, f->n)) {
            return true;
        }
        if (n < GROUP_MIN || character(t, f->to, &next) != separator) {
            return false;
        }
    }
}

/* The next number at or behind `from`, which is no place inside a run of digits. */
static bool find(const struct text *t, size_t from, struct found *out)
{
    size_t i = from;
    while (i + CARD_DIGITS_MIN <= t->len) {
        /* a number begins with four digits, so without one here none begins before here */
        if (!t->escaped && !is_digit(t->at[i + FIRST_GROUP - 1])) {
            i += FIRST_GROUP;
            continue;
        }
        size_t next = i;
        if (!is_digit(character(t, i, &next))) {
            i = next;
            continue;
        }
        struct found f = {.from = i};
        size_t n = take_run(t, i, &f);
        size_t end = f.to;
        if ((passes(f.digits, n) || (n == FIRST_GROUP && take_groups(t, &f))) &&
            !in_hex_word(t, f.from, f.to)) {
            *out = f;
            return true;
        }
        i = end;
    }
    return false;
}

size_t card_number_read(struct slice text, char out_digits[CARD_DIGITS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c == ' ' || c == '-') {
            continue;
        }
        if (!is_digit(c) || n == CARD_DIGITS_MAX) {
            return 0;
        }
        out_digits[n++] = c;
    }
    return passes(out_digits, n) ? n : 0;
}

#define BYTES(c) (UINT64_C(0x0101010101010101) * (c))

/* Of eight characters, the first one lowest: a bit for each that is a digit, a space or a hyphen.
 */
static uint64_t number_bits(const char *at)
{
    uint64_t w = 0;
    memcpy(&w, at, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    /* the top bit of each byte: it is not below 10, not 0 */
    const uint64_t digit = w ^ BYTES('0');
    const uint64_t space = w ^ BYTES(' ');
    const uint64_t hyphen = w ^ BYTES('-');
    const uint64_t others = (((digit & BYTES(0x7f)) + BYTES(0x76)) | digit) &
                            (((space & BYTES(0x7f)) + BYTES(0x7f)) | space) &
                            (((hyphen & BYTES(0x7f)) + BYTES(0x7f)) | hyphen) & BYTES(0x80);
    const uint64_t ours = (others ^ BYTES(0x80)) >> 7;
    return (ours * UINT64_C(0x0102040810204080)) >> 56;
}

/* Whether the text has CARD_DIGITS_MIN characters in a row that numbers are made of.  Identities
 * mostly have not, and this look costs half of what the search does. */
static bool may_hold_one(const char *at, size_t len)
{
    char tail[8] = "";
    uint64_t bits = 0; /* of the latest 64 characters */
    size_t i = 0;
    bool any = false;
    for (; i < len; i += 8) {
        if (len - i < 8) {
            memcpy(tail, at + i, len - i);
        }
        bits = bits >> 8 | number_bits(len - i < 8 ? tail : at + i) << 56;
        uint64_t run = bits & bits >> 1; /* of 2, 4, 8, 13 */
        run &= run >> 2;
        run &= run >> 4;
        any |= (run & run >> 5) != 0;
    }
    return any;
}

bool card_number_in(struct slice text)
{
    if (!may_hold_one(text.at, text.len)) {
        return false;
    }
    const struct text t = {text.at, text.len, false};
    struct found f;
    return find(&t, 0, &f);
}

static struct text json_text(const char *at, size_t len)
{
    return (struct text){at, len, len > 0 && memmem(at, len, "\\u00", 4) != NULL};
}

bool card_number_in_json(struct slice text)
{
    const struct text t = json_text(text.at, text.len);
    struct found f;
    return find(&t, 0, &f);
}

bool card_number_is(int64_t value)
{
    char digits[CARD_DIGITS_MAX];
    size_t n = 0;
    for (int64_t v = value; v > 0; v /= 10) {
        n++;
    }
    if (n < CARD_DIGITS_MIN) {
        return false;
    }
    for (size_t i = n; i > 0; i--) {
        digits[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return passes(digits, n);
}

bool card_number_mask(const char *text, size_t len, char *out)
{
    if (len == 0) {
        return false;
    }
    if (out != text) {
        memcpy(out, text, len);
    }
    const struct text t = json_text(out, len);
    struct found f;
    size_t from = 0;
    bool any = false;
    while (find(&t, from, &f)) {
        size_t left = f.n - SHOWN;
        for (size_t i = f.from, next = 0; left > 0; i = next) {
            if (is_digit(character(&t, i, &next))) {
                memset(out + i, '*', next - i);
                left--;
            }
            from = next; /* the four left may begin another one, in groups */
        }
        any = true;
    }
    return any;
}
