#include "daemon/rule_set.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/members.h"
#include "daemon/rule_set_private.h"
#include "features/schema.h"

static const char *const ACTIONS[] = {"approve", "review", "decline"};

const char *rule_action_name(enum outcome action)
{
    return ACTIONS[action];
}

void rule_set_free(struct rule_set *s)
{
    if (s != NULL) {
        free(s->text);
        free(s->rules);
        free(s->hot);
        free(s->ops);
        free(s->filters);
        free(s->found_by);
        free(s->wanted);
        free(s->bounds);
        free(s->ladders);
        free(s->always);
        free(s->slots);
        free(s->words);
        free(s->tries);
        free(s->try_filters);
        free(s);
    }
}

bool rule_set_room(void **array, size_t *room, size_t need, size_t size)
{
    if (*array != NULL && need <= *room) {
        return true;
    }
    const size_t wanted = 1 + (need > 2 * *room ? need : 2 * *room);
    void *grown = realloc(*array, wanted * size);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *room = wanted;
    return true;
}

enum err rule_set_no_memory(struct errmsg *e)
{
    return err_set(e, ERR_NOMEM, "cannot hold the rules: no memory");
}

/* ---- reading ---- */

struct reader {
    struct slice rest; /* of the rule, behind the token */
    struct rule_token token;
    struct rule *rule;
    struct errmsg *e;
};

static enum err wrong(const struct reader *r, const char *what)
{
    return err_set(r->e, ERR_INVALID, "%s", what);
}

static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        const char c = s.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_' || c == '.')) {
            return false;
        }
    }
    return s.len > 0 && s.len <= RULE_NAME_MAX;
}

/* "name:" */
static enum err read_name(struct reader *r)
{
    const char *colon = memchr(r->rest.at, ':', r->rest.len);
    const struct slice name = {r->rest.at, colon != NULL ? (size_t)(colon - r->rest.at) : 0};
    if (!is_name(name)) {
        return wrong(r, "a rule begins with its name and a colon: up to 48 letters, digits, - _ .");
    }
    memcpy(r->rule->name, name.at, name.len);
    r->rule->name[name.len] = '\0';
    r->rest = (struct slice){colon + 1, r->rest.len - name.len - 1};
    return ERR_OK;
}

static enum err read_action(struct reader *r)
{
    r->token = rule_next(&r->rest);
    for (size_t i = 0; i < sizeof ACTIONS / sizeof *ACTIONS; i++) {
        if (rule_token_is(&r->token, ACTIONS[i])) {
            r->rule->action = (enum outcome)i;
            r->token = rule_next(&r->rest);
            return rule_token_is(&r->token, "when")
                       ? ERR_OK
                       : wrong(r, "the word when is missing behind the action");
        }
    }
    return wrong(r, "an action is missing: approve, review or decline");
}

static enum err read_because(struct reader *r)
{
    r->token = rule_next(&r->rest);
    if (!rule_token_is(&r->token, "because")) {
        return err_set(r->e, ERR_INVALID, "because \"..\" is missing before \"%.*s\"",
                       (int)(r->token.text.len < 30 ? r->token.text.len : 30), r->token.text.at);
    }
    r->token = rule_next(&r->rest);
    const struct slice s = r->token.text;
    bool good = r->token.kind == TOKEN_TEXT && s.len > 0 && s.len <= RULE_WHY_MAX &&
                members_utf8(s.at, s.len);
    for (size_t i = 0; good && i < s.len; i++) {
        good = (unsigned char)s.at[i] >= 0x20 && s.at[i] != 0x7f;
    }
    if (!good) {
        return wrong(r, "because needs a text of 1 to 100 bytes in quotes");
    }
    memcpy(r->rule->why, s.at, s.len);
    r->rule->why[s.len] = '\0';
    return ERR_OK;
}

/* "until TIME", up to the line's end or a comment. */
static enum err read_until(struct reader *r)
{
    struct slice look = r->rest;
    const struct rule_token t = rule_next(&look);
    r->rule->expires_us = INT64_MAX;
    if (t.kind == TOKEN_END) {
        return ERR_OK;
    }
    if (!rule_token_is(&t, "until")) {
        return err_set(r->e, ERR_INVALID, "nothing but until may follow the reason, not \"%.*s\"",
                       (int)(t.text.len < 30 ? t.text.len : 30), t.text.at);
    }
    size_t from = 0;
    while (from < look.len && (look.at[from] == ' ' || look.at[from] == '\t')) {
        from++;
    }
    size_t end = from;
    while (end < look.len && look.at[end] > ' ' && look.at[end] != '#') {
        end++;
    }
    if (time_parse(look.at + from, end - from, &r->rule->expires_us) != ERR_OK) {
        return err_set(r->e, ERR_INVALID, "until \"%.*s\" is no time",
                       (int)(end - from < 40 ? end - from : 40), look.at + from);
    }
    look = (struct slice){look.at + end, look.len - end};
    return rule_next(&look).kind == TOKEN_END ? ERR_OK : wrong(r, "nothing may follow until");
}

static enum err read_rule(struct rule_set *s, struct slice text, struct rule_program *p,
                          struct errmsg *e)
{
    struct rule *rule = &s->rules[s->count];
    struct reader r = {.rest = text, .rule = rule, .e = e};
    enum err err = read_name(&r);
    if (err == ERR_OK) {
        err = read_action(&r);
    }
    if (err == ERR_OK) {
        err = rule_compile(&r.rest, p, e);
    }
    if (err == ERR_OK) {
        err = read_because(&r);
    }
    if (err == ERR_OK) {
        err = read_until(&r);
    }
    if (err != ERR_OK) {
        return err;
    }
    void *array = s->ops;
    const bool good = rule_set_room(&array, &s->op_room, s->op_count + p->count, sizeof *s->ops);
    s->ops = array;
    if (!good) {
        return rule_set_no_memory(e);
    }
    memcpy(s->ops + s->op_count, p->op, p->count * sizeof *s->ops);
    s->hot[s->count] = (struct hot){.expires_us = rule->expires_us,
                                    .rule = (uint32_t)s->count,
                                    .op = (uint32_t)s->op_count,
                                    .filter = (uint32_t)s->filter_count,
                                    .op_count = p->count};
    rule->cost = p->cost;
    rule->text = text;
    s->op_count += p->count;
    return rule_index_add(s, (uint32_t)s->count, p, e);
}

/* Whether the line at `at` begins a rule: not blank, not a comment, not indented. */
static bool begins_rule(struct slice at)
{
    return at.len > 0 && strchr(" \t\r\n#", at.at[0]) == NULL;
}

static struct slice next_line(struct slice at)
{
    const char *end = memchr(at.at, '\n', at.len);
    const size_t n = end != NULL ? (size_t)(end - at.at) + 1 : at.len;
    return (struct slice){at.at + n, at.len - n};
}

/* Whether the line holds nothing, or a comment. */
static bool says_nothing(struct slice at)
{
    size_t i = 0;
    while (i < at.len && (at.at[i] == ' ' || at.at[i] == '\t' || at.at[i] == '\r')) {
        i++;
    }
    return i == at.len || at.at[i] == '\n' || at.at[i] == '#';
}

static enum err read_rules(struct rule_set *s, size_t len, struct rule_program *p, struct errmsg *e)
{
    struct slice at = {s->text, len};
    uint32_t line = 1;
    while (at.len > 0) {
        struct slice end = next_line(at);
        uint32_t lines = 1;
        if (!begins_rule(at)) {
            if (!says_nothing(at)) {
                return err_set(e, ERR_INVALID, "line %" PRIu32 ": no rule goes on here", line);
            }
        } else {
            while (end.len > 0 && !begins_rule(end) && end.at[0] != '#') {
                end = next_line(end);
                lines++;
            }
            if (s->count == RULES_MAX) {
                return err_set(e, ERR_INVALID, "line %" PRIu32 ": more than %d rules", line,
                               RULES_MAX);
            }
            s->rules[s->count].line = line;
            enum err err = read_rule(s, (struct slice){at.at, at.len - end.len}, p, e);
            if (err != ERR_OK) {
                return err_prefix(e, err, "line %" PRIu32 ": rule %.48s", line,
                                  s->rules[s->count].name);
            }
            s->count++;
        }
        at = end;
        line += lines;
    }
    return ERR_OK;
}

struct named {
    const char *name;
    uint32_t line;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a;
    const struct named *y = b;
    return strcmp(x->name, y->name);
}

static enum err check_names(const struct rule_set *s, struct errmsg *e)
{
    struct named *sorted = malloc((s->count + 1) * sizeof *sorted);
    if (sorted == NULL) {
        return rule_set_no_memory(e);
    }
    for (size_t i = 0; i < s->count; i++) {
        sorted[i] = (struct named){s->rules[i].name, s->rules[i].line};
    }
    qsort(sorted, s->count, sizeof *sorted, by_name);
    enum err err = ERR_OK;
    for (size_t i = 1; err == ERR_OK && i < s->count; i++) {
        if (strcmp(sorted[i - 1].name, sorted[i].name) == 0) {
            err = err_set(e, ERR_INVALID,
                          "two rules are called %s (lines %" PRIu32 " and %" PRIu32 ")",
                          sorted[i].name, sorted[i - 1].line, sorted[i].line);
        }
    }
    free(sorted);
    return err;
}

static enum err fill(struct rule_set *s, const char *text, size_t len, struct errmsg *e)
{
    struct rule_program *p = malloc(sizeof *p);
    s->text = malloc(len + 1);
    size_t lines = 1;
    for (size_t i = 0; i < len; i++) {
        lines += text[i] == '\n';
    }
    const size_t max = lines < RULES_MAX ? lines : RULES_MAX;
    s->rules = calloc(max + 1, sizeof *s->rules);
    s->hot = calloc(max + 1, sizeof *s->hot);
    s->found_by = calloc(max + 1, 1);
    s->bounds = malloc((max + 1) * sizeof *s->bounds);
    s->always = malloc((max + 1) * sizeof *s->always);
    enum err err = ERR_OK;
    if (p == NULL || s->text == NULL || s->rules == NULL || s->hot == NULL || s->found_by == NULL ||
        s->bounds == NULL || s->always == NULL) {
        err = rule_set_no_memory(e);
    } else {
        memcpy(s->text, text, len);
        s->text[len] = '\0';
        err = read_rules(s, len, p, e);
    }
    free(p);
    if (err == ERR_OK) {
        err = check_names(s, e);
    }
    if (err == ERR_OK) {
        err = rule_index_make(s, e);
    }
    return err;
}

enum err rule_set_create(const char *text, size_t len, struct rule_set **out, struct errmsg *e)
{
    struct rule_set *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return rule_set_no_memory(e);
    }
    enum err err =
        len <= RULES_TEXT_MAX && memchr(text, '\0', len) == NULL
            ? fill(s, text, len, e)
            : err_set(e, ERR_INVALID, "rules are text of at most %zu bytes, without zeros",
                      RULES_TEXT_MAX);
    if (err != ERR_OK) {
        rule_set_free(s);
        return err;
    }
    *out = s;
    return ERR_OK;
}

/* ---- answers ---- */

size_t rule_set_count(const struct rule_set *s)
{
    return s->count;
}

const struct rule *rule_set_rule(const struct rule_set *s, size_t i)
{
    assert(i < s->count);
    return &s->rules[i];
}

uint32_t rule_set_cost(const struct rule_set *s)
{
    return s->cost;
}

const char *rule_set_found_by(const struct rule_set *s, size_t i)
{
    const unsigned by = s->found_by[i];
    if (by == 0) {
        return "every payment";
    }
    if (by >= 128) {
        return feature_info(by - 128)->name;
    }
    return by >= 64 ? rule_number_name((enum rule_number)(by - 64))
                    : rule_id_name((enum rule_id)(by - 1));
}
