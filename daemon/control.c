#include "daemon/control.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/members.h"

#define FIRST_LINE "fraudd-control 1"
#define RULES_FIRST_LINE "fraudd-rules 1"

static const char *const MODE_NAMES[CONTROL_MODES] = {"live", "observe", "kill"};

struct mode_change {
    int64_t offset;
    uint32_t about;
    enum control_mode mode;
};

/* Rules as they were sent, compiled while they are in force. */
struct sent_rules {
    int64_t offset;
    uint32_t about;
    char *text; /* owned */
    size_t len;
};

struct controls {
    struct control_lists *lists;
    struct sent_rules sent[CONTROL_RULE_SETS]; /* the latest */
    size_t sent_count;
    struct rule_set *rules; /* in force, or NULL */
    int64_t rules_offset;   /* of their notice; -1: none */
    uint32_t rules_about;
    struct control_about *abouts;
    size_t about_count, about_room;
    struct mode_change *modes;
    size_t mode_count, mode_room;
    int64_t taken; /* offset of the latest notice */
    int64_t position;
    const struct mode_change *mode; /* in force; NULL: live */
};

const char *control_mode_name(enum control_mode m)
{
    return MODE_NAMES[m];
}

enum err controls_create(bool keep_values, struct controls **out, struct errmsg *e)
{
    struct controls *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return err_set(e, ERR_NOMEM, "cannot start: no memory");
    }
    enum err err = control_lists_create(keep_values, &c->lists, e);
    if (err != ERR_OK) {
        free(c);
        return err;
    }
    c->taken = c->rules_offset = -1;
    *out = c;
    return ERR_OK;
}

void controls_free(struct controls *c)
{
    if (c != NULL) {
        control_lists_free(c->lists);
        rule_set_free(c->rules);
        for (size_t i = 0; i < c->sent_count; i++) {
            free(c->sent[i].text);
        }
        free(c->abouts);
        free(c->modes);
        free(c);
    }
}

/* ---- notices ---- */

/* What a notice has said so far. */
struct reading {
    struct controls *to;
    bool apply; /* else only looked at */
    int64_t offset, expires_us;
    struct control_about about;
    uint32_t about_number; /* + 1; 0: not kept yet */
};

/* One more at the end of an array that grows. */
static void *one_more(void **array, size_t *room, size_t count, size_t size)
{
    if (count == *room) {
        const size_t wanted = *room > 0 ? *room * 2 : 16;
        void *grown = realloc(*array, wanted * size);
        if (grown == NULL) {
            return NULL;
        }
        *array = grown;
        *room = wanted;
    }
    return (char *)*array + count * size;
}

static enum err keep_about(struct reading *r, uint32_t *out, struct errmsg *e)
{
    struct controls *c = r->to;
    if (r->about_number == 0) {
        void *array = c->abouts;
        struct control_about *a =
            one_more(&array, &c->about_room, c->about_count, sizeof *c->abouts);
        c->abouts = array;
        if (a == NULL) {
            return err_set(e, ERR_NOMEM, "cannot keep who said something: no memory");
        }
        *a = r->about;
        r->about_number = (uint32_t)++c->about_count;
    }
    *out = r->about_number - 1;
    return ERR_OK;
}

static bool is_word(struct slice s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.at, word, s.len) == 0;
}

/* The bytes up to the next tab; *s is what follows it. */
static struct slice next_word(struct slice *s)
{
    const char *tab = s->len > 0 ? memchr(s->at, '\t', s->len) : NULL;
    const size_t n = tab != NULL ? (size_t)(tab - s->at) : s->len;
    const struct slice word = {s->at, n};
    const size_t gone = tab != NULL ? n + 1 : n;
    *s = (struct slice){s->at + gone, s->len - gone};
    return word;
}

/* UTF-8 without control characters. */
static bool plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.at[i] < 0x20 || s.at[i] == 0x7f) {
            return false;
        }
    }
    return members_utf8(s.at, s.len);
}

static enum err take_text(struct slice s, const char *what, char *out, size_t max, struct errmsg *e)
{
    if (s.len == 0 || s.len > max || !plain(s)) {
        return err_set(e, ERR_CORRUPT, "%s needs 1 to %zu bytes of text without control characters",
                       what, max);
    }
    memcpy(out, s.at, s.len);
    out[s.len] = '\0';
    return ERR_OK;
}

static enum err take_until(struct reading *r, struct slice s, struct errmsg *e)
{
    if (is_word(s, "-")) {
        r->expires_us = LISTS_FOREVER;
        return ERR_OK;
    }
    if (time_parse(s.at, s.len, &r->expires_us) != ERR_OK) {
        return err_set(e, ERR_CORRUPT, "\"%.*s\" is no time", (int)(s.len < 40 ? s.len : 40), s.at);
    }
    return ERR_OK;
}

static enum err take_entry(struct reading *r, bool add, struct slice rest, struct errmsg *e)
{
    const struct slice list = next_word(&rest);
    const struct slice field = next_word(&rest);
    const int list_number = list_kind_find(list);
    const int field_number = list_field_find(field);
    bool was = false;
    if (list_number < 0 || field_number < 0 || rest.len == 0 || rest.len > WIRE_ID_MAX ||
        !plain(rest)) {
        return err_set(e, ERR_CORRUPT, "no list, field and value of 1 to %d bytes", WIRE_ID_MAX);
    }
    struct list_change change = {.list = (enum list_kind)list_number,
                                 .field = (enum list_field)field_number,
                                 .value = rest,
                                 .offset = r->offset,
                                 .expires_us = r->expires_us};
    if (!r->apply) {
        return control_lists_check(&change, e);
    }
    if (!add) {
        return control_lists_remove(r->to->lists, &change, &was, e);
    }
    enum err err = keep_about(r, &change.about, e);
    return err == ERR_OK ? control_lists_add(r->to->lists, &change, e) : err;
}

static enum err take_mode(struct reading *r, struct slice word, struct errmsg *e)
{
    struct controls *c = r->to;
    struct mode_change change = {.offset = r->offset};
    int mode = 0;
    while (mode < CONTROL_MODES && !is_word(word, MODE_NAMES[mode])) {
        mode++;
    }
    if (mode == CONTROL_MODES) {
        return err_set(e, ERR_CORRUPT, "a mode is live, observe or kill");
    }
    change.mode = (enum control_mode)mode;
    if (!r->apply) {
        return ERR_OK;
    }
    enum err err = keep_about(r, &change.about, e);
    if (err != ERR_OK) {
        return err;
    }
    void *array = c->modes;
    struct mode_change *m = one_more(&array, &c->mode_room, c->mode_count, sizeof *c->modes);
    c->modes = array;
    if (m == NULL) {
        return err_set(e, ERR_NOMEM, "cannot keep a mode: no memory");
    }
    *m = change;
    c->mode_count++;
    return ERR_OK;
}

static enum err take_line(struct reading *r, struct slice line, struct errmsg *e)
{
    const struct slice word = next_word(&line);
    if (is_word(word, "by")) {
        r->about_number = 0;
        return take_text(line, "by", r->about.by, CONTROL_BY_MAX, e);
    }
    if (is_word(word, "why")) {
        r->about_number = 0;
        return take_text(line, "why", r->about.why, CONTROL_WHY_MAX, e);
    }
    if (is_word(word, "until")) {
        return take_until(r, line, e);
    }
    if (r->about.by[0] == '\0' || r->about.why[0] == '\0') {
        return err_set(e, ERR_CORRUPT, "a change comes before by and why");
    }
    if (is_word(word, "add") || is_word(word, "remove")) {
        return take_entry(r, word.at[0] == 'a', line, e);
    }
    if (is_word(word, "mode")) {
        return take_mode(r, line, e);
    }
    return err_set(e, ERR_CORRUPT, "\"%.*s\" is not known", (int)(word.len < 20 ? word.len : 20),
                   word.at);
}

static enum err take_all(struct controls *c, int64_t offset, struct slice text, bool apply,
                         struct errmsg *e)
{
    struct reading r = {
        .to = c, .apply = apply, .offset = offset, .expires_us = LISTS_FOREVER, .about_number = 0};
    for (size_t number = 1; text.len > 0; number++) {
        const char *end = memchr(text.at, '\n', text.len);
        const size_t n = end != NULL ? (size_t)(end - text.at) : text.len;
        const struct slice line = {text.at, n};
        enum err err = ERR_OK;
        if (number == 1) {
            err = is_word(line, FIRST_LINE)
                      ? ERR_OK
                      : err_set(e, ERR_CORRUPT, "it does not begin with \"" FIRST_LINE "\"");
        } else {
            err = take_line(&r, line, e);
        }
        if (err != ERR_OK) {
            return err_prefix(e, err, "line %zu of a control notice", number);
        }
        const size_t gone = end != NULL ? n + 1 : n;
        text = (struct slice){text.at + gone, text.len - gone};
    }
    return ERR_OK;
}

/* The rules sent last below the position. */
static enum err settle_rules(struct controls *c, struct errmsg *e)
{
    const struct sent_rules *sent = NULL;
    struct rule_set *rules = NULL;
    for (size_t i = 0; i < c->sent_count && c->sent[i].offset < c->position; i++) {
        sent = &c->sent[i];
    }
    if ((sent != NULL ? sent->offset : -1) == c->rules_offset) {
        return ERR_OK;
    }
    if (sent != NULL) {
        enum err err = rule_set_create(sent->text, sent->len, &rules, e);
        if (err != ERR_OK) {
            return err; /* memory: the text was good when it came */
        }
    }
    rule_set_free(c->rules);
    c->rules = rules;
    c->rules_offset = sent != NULL ? sent->offset : -1;
    c->rules_about = sent != NULL ? sent->about : 0;
    return ERR_OK;
}

/* What is in force: arrays may have moved, and something new may be below the position. */
static void settle_mode(struct controls *c)
{
    c->mode = NULL;
    for (size_t i = c->mode_count; i > 0 && c->mode == NULL; i--) {
        c->mode = c->modes[i - 1].offset < c->position ? &c->modes[i - 1] : NULL;
    }
}

/* Whether the notice is one to take: what was read before is passed. */
static bool is_new(struct controls *c, int64_t offset)
{
    if (offset <= c->taken) {
        return false;
    }
    c->taken = offset;
    return true;
}

enum err controls_take(struct controls *c, int64_t offset, const char *text, size_t len,
                       struct errmsg *e)
{
    if (!is_new(c, offset)) {
        return ERR_OK;
    }
    if (len == 0) {
        return err_set(e, ERR_CORRUPT, "an empty control notice");
    }
    const struct slice all = {text, len};
    enum err err = take_all(c, offset, all, false, e);
    if (err == ERR_OK) {
        err = take_all(c, offset, all, true, e);
    }
    settle_mode(c);
    return err;
}

size_t controls_rules_head(const char *by, const char *why, char *out)
{
    return (size_t)snprintf(out, CONTROL_HEAD_MAX, RULES_FIRST_LINE "\nby\t%s\nwhy\t%s\n\n", by,
                            why);
}

/* Takes the head off; the rest is the rules. */
static enum err take_head(struct slice *text, struct control_about *out, struct errmsg *e)
{
    struct slice lines[4];
    for (size_t i = 0; i < 4; i++) {
        const char *end = text->len > 0 ? memchr(text->at, '\n', text->len) : NULL;
        if (end == NULL) {
            return err_set(e, ERR_CORRUPT, "a rules notice ends within its head");
        }
        const size_t n = (size_t)(end - text->at);
        lines[i] = (struct slice){text->at, n};
        *text = (struct slice){end + 1, text->len - n - 1};
    }
    const struct slice by = next_word(&lines[1]);
    const struct slice why = next_word(&lines[2]);
    if (!is_word(lines[0], RULES_FIRST_LINE) || !is_word(by, "by") || !is_word(why, "why") ||
        lines[3].len > 0) {
        return err_set(e, ERR_CORRUPT,
                       "a rules notice does not begin with \"" RULES_FIRST_LINE
                       "\", by, why and an empty line");
    }
    enum err err = take_text(lines[1], "by", out->by, CONTROL_BY_MAX, e);
    return err == ERR_OK ? take_text(lines[2], "why", out->why, CONTROL_WHY_MAX, e) : err;
}

static enum err keep_rules(struct controls *c, struct sent_rules *n, struct slice text,
                           struct errmsg *e)
{
    n->text = malloc(text.len + 1);
    if (n->text == NULL) {
        return err_set(e, ERR_NOMEM, "cannot keep rules: no memory");
    }
    memcpy(n->text, text.at, text.len);
    n->len = text.len;
    if (c->sent_count == CONTROL_RULE_SETS) {
        free(c->sent[0].text);
        memmove(&c->sent[0], &c->sent[1], (CONTROL_RULE_SETS - 1) * sizeof c->sent[0]);
        c->sent_count--;
    }
    c->sent[c->sent_count++] = *n;
    return ERR_OK;
}

enum err controls_take_rules(struct controls *c, int64_t offset, const char *text, size_t len,
                             struct errmsg *e)
{
    struct reading r = {.to = c};
    struct sent_rules n = {.offset = offset};
    struct slice rest = {text, len};
    struct rule_set *trial = NULL;
    if (!is_new(c, offset)) {
        return ERR_OK;
    }
    enum err err = take_head(&rest, &r.about, e);
    if (err == ERR_OK) {
        err = rule_set_create(rest.at, rest.len, &trial, e);
    }
    rule_set_free(trial);
    if (err == ERR_OK) {
        err = keep_about(&r, &n.about, e);
    }
    return err == ERR_OK ? keep_rules(c, &n, rest, e) : err;
}

enum err controls_at(struct controls *c, int64_t position, struct errmsg *e)
{
    const int64_t before = c->position;
    c->position = position;
    enum err err = settle_rules(c, e);
    if (err != ERR_OK) {
        c->position = before;
        return err;
    }
    settle_mode(c);
    return ERR_OK;
}

/* ---- answers ---- */

static void by_list(struct control_answer *out, const struct list_entry *entry,
                    enum outcome outcome)
{
    out->by = CONTROL_LIST;
    out->list = (enum list_kind)entry->list;
    out->entry = entry;
    out->outcome = outcome;
}

static void judge_rules(const struct controls *c, const struct control_ask *ask,
                        struct control_answer *out)
{
    struct rule_facts facts;
    if (c->rules == NULL) {
        return;
    }
    rule_facts_fill(&facts, ask->tx, ask->x, ask->probability);
    const struct rule *rule = rule_set_find(c->rules, &facts, ask->clock_us);
    if (rule == NULL || (rule->action == OUTCOME_REVIEW && out->outcome == OUTCOME_DECLINE)) {
        return;
    }
    out->by = CONTROL_RULE;
    out->rule = rule;
    out->outcome = rule->action;
}

static void judge_live(const struct controls *c, const struct control_ask *ask,
                       struct control_answer *out)
{
    const struct list_entry *found[LIST_KINDS];
    control_lists_find(c->lists, ask->tx, c->position, ask->clock_us, found);
    if (found[LIST_BLOCK] != NULL) {
        by_list(out, found[LIST_BLOCK], OUTCOME_DECLINE);
        return;
    }
    if (found[LIST_ALLOW] != NULL) {
        by_list(out, found[LIST_ALLOW], OUTCOME_APPROVE);
        return;
    }
    judge_rules(c, ask, out);
    if (found[LIST_WATCH] != NULL && out->outcome == OUTCOME_APPROVE) {
        by_list(out, found[LIST_WATCH], OUTCOME_REVIEW);
    }
}

void controls_judge(const struct controls *c, const struct control_ask *ask,
                    struct control_answer *out)
{
    const enum control_mode mode = c->mode != NULL ? c->mode->mode : CONTROL_LIVE;
    *out = (struct control_answer){.outcome = ask->model, .by = CONTROL_NONE};
    if (mode == CONTROL_KILL) {
        out->outcome = OUTCOME_APPROVE;
        out->by = CONTROL_MODE;
    } else {
        judge_live(c, ask, out);
    }
    out->would = out->outcome;
    if (mode == CONTROL_OBSERVE) {
        out->observed = true;
        out->outcome = OUTCOME_APPROVE;
    }
}

void controls_prefetch(const struct controls *c, const struct tx *t)
{
    control_lists_prefetch(c->lists, t);
}

/* Cuts at the end of a character. */
static void cut(char *text, size_t max)
{
    size_t n = strlen(text);
    if (n < max) {
        return;
    }
    for (n = max - 1; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;) {
        n--;
    }
    text[n] = '\0';
}

void controls_tell(const struct controls *c, const struct control_answer *a,
                   char name[CONTROL_NAME_MAX + 1], char text[CONTROL_TEXT_MAX])
{
    char all[2 * CONTROL_TEXT_MAX + CONTROL_BY_MAX];
    assert(a->by != CONTROL_NONE);
    if (a->by == CONTROL_LIST) {
        const struct list_entry *n = a->entry;
        const struct control_about *about = &c->abouts[n->about];
        const char *list = list_kind_name((enum list_kind)n->list);
        const char *field = list_field_name((enum list_field)n->field);
        snprintf(name, CONTROL_NAME_MAX + 1, "%s/%s@%" PRId64, list, field, n->from);
        snprintf(all, sizeof all, "the %s is on the %s list: %s (%s)", field, list, about->why,
                 about->by);
    } else if (a->by == CONTROL_RULE) {
        snprintf(name, CONTROL_NAME_MAX + 1, "rule/%s@%" PRId64, a->rule->name, c->rules_offset);
        snprintf(all, sizeof all, "rule %s: %s (%s)", a->rule->name, a->rule->why,
                 c->abouts[c->rules_about].by);
    } else {
        const struct control_about *about = &c->abouts[c->mode->about];
        snprintf(name, CONTROL_NAME_MAX + 1, "%s@%" PRId64, MODE_NAMES[c->mode->mode],
                 c->mode->offset);
        snprintf(all, sizeof all, "everything is approved: %s (%s)", about->why, about->by);
    }
    cut(all, CONTROL_TEXT_MAX);
    memcpy(text, all, strlen(all) + 1);
}

const struct rule_set *controls_rules(const struct controls *c,
                                      const struct control_about **out_about, int64_t *out_notice)
{
    if (c->rules != NULL) {
        *out_about = &c->abouts[c->rules_about];
        *out_notice = c->rules_offset;
    }
    return c->rules;
}

const struct control_lists *controls_lists(const struct controls *c)
{
    return c->lists;
}

const struct control_about *controls_about(const struct controls *c, uint32_t about)
{
    assert(about < c->about_count);
    return &c->abouts[about];
}

enum control_mode controls_mode(const struct controls *c, const struct control_about **out_about)
{
    if (out_about != NULL) {
        *out_about = c->mode != NULL ? &c->abouts[c->mode->about] : NULL;
    }
    return c->mode != NULL ? c->mode->mode : CONTROL_LIVE;
}
