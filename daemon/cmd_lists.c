/* fraudd lists: what is blocked, allowed and watched. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/actions.h"
#include "daemon/cmd.h"
#include "daemon/control_draft.h"

static const char *const SEND_SETTINGS[] = {
    "database", "brokers", "topics.notices", "card.numbers", "card.key-file", "card.digits", NULL};
static const char *const READ_SETTINGS[] = {"brokers", "topics.notices", NULL};

#define LIST_OPERAND                                                                               \
    {                                                                                              \
        "list", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0, "block, allow or watch"       \
    }
#define FIELD_OPERAND                                                                              \
    {                                                                                              \
        "field", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,                              \
            "card, merchant, terminal, device, ip or country"                                      \
    }
#define VALUE_OPERAND                                                                              \
    {                                                                                              \
        "value", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0, "as payments have it"        \
    }
#define WHY                                                                                        \
    {                                                                                              \
        "why", CONF_TEXT, CONF_REQUIRED, NULL, 0, 0, "the reason: told with every decision"        \
    }
#define UNTIL                                                                                      \
    {                                                                                              \
        "until", CONF_DATE, 0, NULL, 0, 0, "when it ends, by the payments' time (default: never)"  \
    }
#define TIMEOUT                                                                                    \
    {                                                                                              \
        "timeout", CONF_DURATION, 0, "30s", 1, 3600, "how long to wait for the brokers"            \
    }

static struct slice text_of(const char *s)
{
    return (struct slice){s, s != NULL ? strlen(s) : 0};
}

static enum err find_names(const char *list, const char *field, struct control_draft_entry *out,
                           struct errmsg *e)
{
    const int k = list_kind_find(text_of(list));
    const int f = list_field_find(text_of(field));
    if (k < 0) {
        return err_set(e, ERR_INVALID, "\"%.40s\" is no list: block, allow or watch", list);
    }
    if (f < 0) {
        return err_set(e, ERR_INVALID,
                       "\"%.40s\" is no field: card, merchant, terminal, device, ip or country",
                       field);
    }
    out->list = (enum list_kind)k;
    out->field = (enum list_field)f;
    return ERR_OK;
}

/* Card numbers are seen to as `score` does. */
static enum err open_guard(const struct conf *c, struct card_guard **out, struct errmsg *e)
{
    struct card_rules cards = {.key = NULL};
    enum err err = card_rules_read(c, &cards, e);
    if (err == ERR_OK) {
        err = card_guard_create(&cards, out, e);
    }
    card_rules_done(&cards);
    return err;
}

/* ---- add, remove ---- */

static enum err change(const struct conf *c, bool add, struct errmsg *e)
{
    struct control_draft draft = {.by = NULL};
    struct card_guard *guard = NULL;
    struct control_draft_entry entry = {
        .add = add, .value = text_of(conf_text(c, "value")), .expires_us = LISTS_FOREVER};
    const char *who = NULL;
    char object[64];
    enum err err = find_names(conf_text(c, "list"), conf_text(c, "field"), &entry, e);
    if (err == ERR_OK) {
        err = actions_who(c, &who, e);
    }
    if (err == ERR_OK) {
        err = control_draft_init(&draft, who, conf_text(c, "why"), e);
    }
    if (err == ERR_OK) {
        err = open_guard(c, &guard, e);
    }
    if (err == ERR_OK) {
        entry.expires_us = add && conf_given(c, "until") ? conf_date_us(c, "until") : LISTS_FOREVER;
        err = control_draft_entry(&draft, guard, &entry, e);
    }
    if (err == ERR_OK) {
        snprintf(object, sizeof object, "%s/%s", list_kind_name(entry.list),
                 list_field_name(entry.field));
        const struct control_deed deed = {
            .who = who, .what = add ? "list add" : "list remove", .object = object, .changes = 1};
        err = control_send(c, draft.notices, draft.count, &deed, e);
    }
    if (err == ERR_OK) {
        printf("%s %s the %s list\n", list_field_name(entry.field),
               add ? "is sent to" : "is taken off", list_kind_name(entry.list));
    }
    card_guard_free(guard);
    control_draft_done(&draft);
    return err;
}

static const struct conf_option ADD_OPTIONS[] = {
    LIST_OPERAND, FIELD_OPERAND, VALUE_OPERAND, WHY, UNTIL, TIMEOUT, ACTION_AS, ACTION_END};

static enum err add(const struct conf *c, int *exit_code, struct errmsg *e)
{
    (void)exit_code;
    return change(c, true, e);
}

static const struct conf_option REMOVE_OPTIONS[] = {LIST_OPERAND, FIELD_OPERAND, VALUE_OPERAND, WHY,
                                                    TIMEOUT,      ACTION_AS,     ACTION_END};

static enum err remove_entry(const struct conf *c, int *exit_code, struct errmsg *e)
{
    (void)exit_code;
    return change(c, false, e);
}

/* ---- import ---- */

static const struct conf_option IMPORT_OPTIONS[] = {
    {"input", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,
     "CSV, plain or .gz, .xz, .zst: list, field, value, optionally until, why"},
    WHY,
    UNTIL,
    TIMEOUT,
    ACTION_AS,
    ACTION_END};

struct columns {
    int list, field, value, until, why;
};

static enum err find_columns(const struct csv *csv, struct columns *out, struct errmsg *e)
{
    *out = (struct columns){csv_column(csv, "list"), csv_column(csv, "field"),
                            csv_column(csv, "value"), csv_column(csv, "until"),
                            csv_column(csv, "why")};
    if (out->list < 0 || out->field < 0 || out->value < 0) {
        return err_set(e, ERR_CORRUPT, "the header needs the columns list, field and value");
    }
    return ERR_OK;
}

static enum err take_row(const struct csv_field *row, const struct columns *at, int64_t until_us,
                         struct control_draft *draft, struct card_guard *guard, struct errmsg *e)
{
    struct control_draft_entry entry = {.add = true, .expires_us = until_us};
    enum err err = find_names(row[at->list].p, row[at->field].p, &entry, e);
    if (err == ERR_OK && at->until >= 0 && row[at->until].len > 0 &&
        time_parse(row[at->until].p, row[at->until].len, &entry.expires_us) != ERR_OK) {
        err = err_set(e, ERR_INVALID, "until \"%.40s\" is no time", row[at->until].p);
    }
    if (err == ERR_OK) {
        entry.value = (struct slice){row[at->value].p, row[at->value].len};
        entry.why = at->why >= 0 && row[at->why].len > 0 ? row[at->why].p : NULL;
        err = control_draft_entry(draft, guard, &entry, e);
    }
    return err;
}

static enum err read_file(const struct conf *c, struct control_draft *draft,
                          struct card_guard *guard, struct errmsg *e)
{
    struct csv *csv = NULL;
    struct columns at;
    const struct csv_field *row = NULL;
    struct progress progress;
    const int64_t until_us = conf_given(c, "until") ? conf_date_us(c, "until") : LISTS_FOREVER;
    enum err err = csv_open(conf_text(c, "input"), &csv, e);
    if (err == ERR_OK) {
        err = find_columns(csv, &at, e);
    }
    progress_begin(&progress, "reading entries", 1);
    while (err == ERR_OK && (err = csv_next(csv, &row, e)) == ERR_OK) {
        err = take_row(row, &at, until_us, draft, guard, e);
        if (err != ERR_OK) {
            err = err_prefix(e, ERR_CORRUPT, "line %" PRIu64, csv_line(csv));
        } else if (draft->changes % 4096 == 0) {
            progress_update(&progress, csv_share(csv), NULL);
        }
    }
    csv_close(csv);
    if (err != ERR_END) {
        return err;
    }
    progress_end(&progress, 1);
    return draft->changes > 0 ? ERR_OK : err_set(e, ERR_CORRUPT, "there is no entry in it");
}

static enum err import(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct control_draft draft = {.by = NULL};
    struct card_guard *guard = NULL;
    const char *who = NULL;
    (void)exit_code;
    enum err err = actions_who(c, &who, e);
    if (err == ERR_OK) {
        err = control_draft_init(&draft, who, conf_text(c, "why"), e);
    }
    if (err == ERR_OK) {
        err = open_guard(c, &guard, e);
    }
    if (err == ERR_OK) {
        err = read_file(c, &draft, guard, e);
    }
    if (err == ERR_OK) {
        const struct control_deed deed = {.who = who,
                                          .what = "list import",
                                          .object = conf_text(c, "input"),
                                          .changes = draft.changes};
        err = control_send(c, draft.notices, draft.count, &deed, e);
    }
    if (err == ERR_OK) {
        printf("%" PRIu64 " entries sent in %zu notices\n", draft.changes, draft.count);
    }
    card_guard_free(guard);
    control_draft_done(&draft);
    return err;
}

/* ---- list ---- */

static const struct conf_option LIST_OPTIONS[] = {
    {"list", CONF_TEXT, 0, NULL, 0, 0, "only this one: block, allow or watch"},
    {"field", CONF_TEXT, 0, NULL, 0, 0, "only this field"},
    {"value", CONF_TEXT, 0, NULL, 0, 0, "only this value (a card as payments' tokens have it)"},
    ACTION_JSON,
    ACTION_END};

static bool wanted(const struct conf *c, const struct list_entry *n, struct slice value)
{
    const char *list = conf_text(c, "list");
    const char *field = conf_text(c, "field");
    const char *only = conf_text(c, "value");
    return n->until == INT64_MAX &&
           (list == NULL || strcmp(list, list_kind_name((enum list_kind)n->list)) == 0) &&
           (field == NULL || strcmp(field, list_field_name((enum list_field)n->field)) == 0) &&
           (only == NULL || (strlen(only) == value.len && memcmp(only, value.at, value.len) == 0));
}

/* A field of CSV; what is on lists has no line ends. */
static void print_csv(struct slice s)
{
    const bool quoted = memchr(s.at, ',', s.len) != NULL || memchr(s.at, '"', s.len) != NULL;
    if (!quoted) {
        fwrite(s.at, 1, s.len, stdout);
        return;
    }
    putchar('"');
    for (size_t i = 0; i < s.len; i++) {
        fputs(s.at[i] == '"' ? "\"" : "", stdout);
        putchar(s.at[i]);
    }
    putchar('"');
}

static void print_entry(const struct controls *all, const struct list_entry *n, struct slice value,
                        bool json, bool first)
{
    static const char *const NAMES[] = {"list", "field", "value", "until", "why", "by", "notice"};
    const struct control_about *about = controls_about(all, n->about);
    char until[TIME_TEXT_MAX] = "";
    char notice[24];
    char text[WIRE_ID_MAX + 1] = "";
    if (n->expires_us != LISTS_FOREVER) {
        (void)time_format(until, n->expires_us);
    }
    snprintf(notice, sizeof notice, "%" PRId64, n->from);
    memcpy(text, value.at, value.len);
    text[value.len] = '\0';
    const char *const fields[] = {list_kind_name((enum list_kind)n->list),
                                  list_field_name((enum list_field)n->field),
                                  text,
                                  until,
                                  about->why,
                                  about->by,
                                  notice};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (json) {
            fputs(i > 0 ? ", " : first ? "[{" : ",\n {", stdout);
            printf("\"%s\": ", NAMES[i]);
            table_print_json(stdout, fields[i]);
        } else {
            fputs(i > 0 ? "," : "", stdout);
            print_csv(text_of(fields[i]));
        }
    }
    fputs(json ? "}" : "\n", stdout);
}

static enum err list(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct controls *all = NULL;
    const bool json = conf_bool(c, "json");
    bool first = true;
    (void)exit_code;
    enum err err = control_read(c, &all, e);
    if (err != ERR_OK) {
        return err;
    }
    const struct control_lists *l = controls_lists(all);
    fputs(json ? "" : "list,field,value,until,why,by,notice\n", stdout);
    for (size_t i = 0; i < control_lists_count(l); i++) {
        const struct list_entry *n = control_lists_at(l, i);
        const struct slice value = control_lists_value(l, n);
        if (wanted(c, n, value)) {
            print_entry(all, n, value, json, first);
            first = false;
        }
    }
    fputs(json ? (first ? "[]\n" : "]\n") : "", stdout);
    controls_free(all);
    return ERR_OK;
}

static const struct action ACTIONS[] = {
    {"add", "puts a value on a list, or changes its end and reason", "LIST FIELD VALUE --why TEXT",
     "Sent by the notices topic: every `fraudd score` decides what it reads after it by it.  A\n"
     "block declines; an allow approves unless blocked; a watch has analysts see what would be\n"
     "approved.  A card is given as it is sent in payments; full numbers are hashed or refused as\n"
     "the setting card.numbers says.",
     "fraudd lists add block card c4711 --why 'reported stolen' --until 2026-12-31 --as ada",
     ADD_OPTIONS, SEND_SETTINGS, add},
    {"remove", "takes a value off a list", "LIST FIELD VALUE --why TEXT", NULL,
     "fraudd lists remove block card c4711 --why 'card was found' --as ada", REMOVE_OPTIONS,
     SEND_SETTINGS, remove_entry},
    {"import", "puts many values on lists", "FILE --why TEXT",
     "A bad line refuses the file.  Half a MiB of entries is in force at once, the rest follows.",
     "fraudd lists import stolen.csv --why 'weekly file of the scheme' --as ada", IMPORT_OPTIONS,
     SEND_SETTINGS, import},
    {"list", "what is on the lists, as CSV that import takes", "[OPTIONS]",
     "Read from the notices topic.  An entry whose end has passed is shown until it is removed:\n"
     "it ends by the payments' time.",
     "fraudd lists list --list block --field card", LIST_OPTIONS, READ_SETTINGS, list},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

int cmd_lists(int argc, char **argv)
{
    return actions_run("What is blocked, allowed and watched, whatever the model says.", ACTIONS,
                       argc, argv);
}
