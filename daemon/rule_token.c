/* The words of rules. */
#include <string.h>

#include "daemon/rule_expr.h"

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Blanks, line ends, comments. */
static void skip_blanks(struct slice *at)
{
    while (at->len > 0) {
        const char c = at->at[0];
        if (c == '#') {
            const char *end = memchr(at->at, '\n', at->len);
            const size_t n = end != NULL ? (size_t)(end - at->at) : at->len;
            *at = (struct slice){at->at + n, at->len - n};
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            *at = (struct slice){at->at + 1, at->len - 1};
        } else {
            return;
        }
    }
}

/* Digits, a point, digits: as many as a double holds exactly are enough. */
static size_t read_number(struct slice s, double *out)
{
    double v = 0;
    double scale = 1;
    size_t n = 0;
    size_t digits = 0;
    bool point = false;
    for (; n < s.len && (is_digit(s.at[n]) || (s.at[n] == '.' && !point)); n++) {
        if (s.at[n] == '.') {
            point = true;
            continue;
        }
        v = v * 10 + (s.at[n] - '0');
        scale = point ? scale * 10 : scale;
        digits++;
    }
    *out = v / scale;
    return digits > 0 && digits <= 15 ? n : 0;
}

static struct rule_token take(struct slice *at, enum rule_token_kind kind, size_t n)
{
    const struct rule_token t = {kind, {at->at, n}, 0};
    *at = (struct slice){at->at + n, at->len - n};
    return t;
}

static struct rule_token take_text(struct slice *at)
{
    const char *end = memchr(at->at + 1, at->at[0], at->len - 1);
    const char *line = memchr(at->at + 1, '\n', at->len - 1);
    if (end == NULL || (line != NULL && line < end)) {
        return take(at, TOKEN_BAD, at->len);
    }
    const size_t n = (size_t)(end - at->at);
    const struct rule_token t = {TOKEN_TEXT, {at->at + 1, n - 1}, 0};
    *at = (struct slice){at->at + n + 1, at->len - n - 1};
    return t;
}

struct rule_token rule_next(struct slice *at)
{
    size_t n = 0;
    double number = 0;
    skip_blanks(at);
    if (at->len == 0) {
        return (struct rule_token){TOKEN_END, {at->at, 0}, 0};
    }
    const char c = at->at[0];
    if (is_letter(c)) {
        while (n < at->len && (is_letter(at->at[n]) || is_digit(at->at[n]))) {
            n++;
        }
        return take(at, TOKEN_NAME, n);
    }
    if (is_digit(c) || c == '.') {
        n = read_number(*at, &number);
        struct rule_token t = take(at, n > 0 ? TOKEN_NUMBER : TOKEN_BAD, n > 0 ? n : 1);
        t.number = number;
        return t;
    }
    if (c == '\'' || c == '"') {
        return take_text(at);
    }
    if ((c == '<' || c == '>' || c == '!') && at->len > 1 && at->at[1] == '=') {
        return take(at, TOKEN_SIGN, 2);
    }
    return take(at, strchr("=<>+-*/(),", c) != NULL && c != '\0' ? TOKEN_SIGN : TOKEN_BAD, 1);
}

bool rule_token_is(const struct rule_token *t, const char *word)
{
    return (t->kind == TOKEN_NAME || t->kind == TOKEN_SIGN) && t->text.len == strlen(word) &&
           memcmp(t->text.at, word, t->text.len) == 0;
}
