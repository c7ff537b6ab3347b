/* fraudd rules: checked, tried, compared, sent; and the mode in which everything is decided. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/timefmt.h"
#include "daemon/actions.h"
#include "daemon/card_number.h"
#include "daemon/cmd.h"
#include "daemon/control_draft.h"
#include "daemon/past_db.h"
#include "daemon/rule_trial.h"
#include "features/schema.h"

#define MODEL_MAX_BYTES ((size_t)256 << 20)

static const char *const SEND_SETTINGS[] = {"database", "brokers", "topics.notices", NULL};
static const char *const READ_SETTINGS[] = {"brokers", "topics.notices", NULL};
static const char *const TEST_SETTINGS[] = {"database", "model", "alert.budget", "alert.floor",
                                            NULL};
static const char *const NO_SETTINGS[] = {NULL};

#define FILE_OPERAND                                                                               \
    {                                                                                              \
        "file", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0, "the rules"                   \
    }
#define WHY                                                                                        \
    {                                                                                              \
        "why", CONF_TEXT, CONF_REQUIRED, NULL, 0, 0, "the reason"                                  \
    }
#define TIMEOUT                                                                                    \
    {                                                                                              \
        "timeout", CONF_DURATION, 0, "30s", 1, 3600, "how long to wait for the brokers"            \
    }

/* Reads and checks a file of rules.  Returns owned text and set. */
static enum err read_rules(const char *path, char **out_text, size_t *out_len,
                           struct rule_set **out, struct errmsg *e)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, RULES_TEXT_MAX, &bytes, &len, e);
    if (err != ERR_OK) {
        return err;
    }
    if (card_number_in((struct slice){(const char *)bytes, len})) {
        err = err_set(e, ERR_CORRUPT,
                      "%s: it has a full card number in it; cards are named by "
                      "their tokens",
                      path);
    } else {
        err = rule_set_create((const char *)bytes, len, out, e);
        if (err != ERR_OK) {
            err = err_prefix(e, err == ERR_INVALID ? ERR_CORRUPT : err, "%s", path);
        }
    }
    if (err != ERR_OK) {
        free(bytes);
        return err;
    }
    *out_text = (char *)bytes;
    *out_len = len;
    return ERR_OK;
}

/* ---- test ---- */

static const struct conf_option TEST_OPTIONS[] = {
    FILE_OPERAND,
    {"from", CONF_DATE, 0, NULL, 0, 0, "first UTC time to try them on; without, only checked"},
    {"to", CONF_DATE, 0, NULL, 0, 0, "end of it, not included (default: a day later)"},
    {"input", CONF_TEXT, 0, NULL, 0, 0, "history in CSV (default: that in the database)"},
    {"days", CONF_INT, 0, "30", 1, 400, "days before --from that build state, from the database"},
    {"label-delay", CONF_DURATION, 0, "7d", 0, 8.2e6,
     "after which a verdict is known, where a CSV does not say"},
    {"alerts", CONF_TEXT, 0, NULL, 0, 0, "file for the alerts they would have raised"},
    {"alerts-max", CONF_INT, 0, "100000", 1, 1e9, "lines of it"},
    ACTION_END};

static enum err load_model(const struct conf *c, struct model **out, struct errmsg *e)
{
    const char *path = conf_text(c, "model");
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (path == NULL || path[0] == '\0') {
        return err_set(e, ERR_INVALID, "--model is needed to try rules");
    }
    enum err err = file_read(path, MODEL_MAX_BYTES, &bytes, &len, e);
    if (err == ERR_OK) {
        err = model_load(bytes, len, out, e);
        err = err == ERR_OK ? err : err_prefix(e, err, "%s", path);
    }
    free(bytes);
    return err;
}

static enum err read_history(const struct conf *c, const struct rates *rates,
                             const struct rule_trial_conf *t, struct past *past, struct errmsg *e)
{
    struct db *db = NULL;
    if (conf_text(c, "input") != NULL) {
        return past_read_csv(past, conf_text(c, "input"), rates, t->to_us,
                             conf_duration_us(c, "label-delay"), false, e);
    }
    enum err err = db_open(conf_text(c, "database"), &db, e);
    if (err == ERR_OK) {
        err = past_read_db(past, db, rates, t->from_us - conf_int(c, "days") * TIME_DAY, t->to_us,
                           model_lineage(t->model)->maturity_us, e);
    }
    db_close(db);
    return err;
}

static void print_trial(const struct rule_trial_conf *c, const struct rule_trial *t)
{
    uint64_t raised = 0;
    uint64_t frauds = 0;
    printf("rule\taction\tholds first\tnew alerts\tfrauds of them\n");
    for (size_t i = 0; i < rule_set_count(c->rules); i++) {
        const struct rule *r = rule_set_rule(c->rules, i);
        if (t->of[i].first > 0) {
            printf("%s\t%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n", r->name,
                   rule_action_name(r->action), t->of[i].first, t->of[i].raised,
                   t->of[i].raised_frauds);
        }
        raised += t->of[i].raised;
        frauds += t->of[i].raised_frauds;
    }
    printf("%" PRIu64 " payments, %" PRIu64 " of them frauds; the model alerts on %" PRIu64
           ", the rules on %" PRIu64 " more, %" PRIu64 " of them frauds\n",
           t->payments, t->frauds, t->model_alerts, raised, frauds);
}

static enum err open_alerts(const struct conf *c, FILE **out, struct errmsg *e)
{
    const char *path = conf_text(c, "alerts");
    if (path == NULL) {
        return ERR_OK;
    }
    *out = fopen(path, "we");
    return *out != NULL ? ERR_OK : err_set(e, ERR_IO, "cannot write %s", path);
}

static enum err try_rules(const struct conf *c, const struct rule_set *rules, struct errmsg *e)
{
    struct rule_trial_conf t = {.rules = rules,
                                .from_us = conf_date_us(c, "from"),
                                .alerts_max = (size_t)conf_int(c, "alerts-max"),
                                .threshold = {.budget = (double)conf_int(c, "alert.budget"),
                                              .burst = 1.5,
                                              .floor = conf_real(c, "alert.floor"),
                                              .decline = 2}};
    struct rule_trial result = {.of = NULL};
    struct rates *rates = NULL;
    struct model *model = NULL;
    struct past past = {0};
    t.to_us = conf_given(c, "to") ? conf_date_us(c, "to") : t.from_us + TIME_DAY;
    t.past = &past;
    enum err err = load_model(c, &model, e);
    if (err == ERR_OK) {
        t.model = model;
        err = rates_create_default(&rates, e);
    }
    if (err == ERR_OK) {
        t.rates_version = rates_version(rates);
        err = read_history(c, rates, &t, &past, e);
    }
    if (err == ERR_OK) {
        past_sort(&past);
        err = open_alerts(c, &t.alerts, e);
    }
    if (err == ERR_OK) {
        err = rule_trial_run(&t, &result, e);
    }
    if (err == ERR_OK) {
        print_trial(&t, &result);
    }
    if (t.alerts != NULL && fclose(t.alerts) != 0 && err == ERR_OK) {
        err = err_set(e, ERR_IO, "cannot write %s", conf_text(c, "alerts"));
    }
    rule_trial_done(&result);
    past_done(&past);
    rates_free(rates);
    model_free(model);
    return err;
}

static enum err test(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct rule_set *rules = NULL;
    char *text = NULL;
    size_t len = 0;
    (void)exit_code;
    enum err err = read_rules(conf_text(c, "file"), &text, &len, &rules, e);
    if (err == ERR_OK) {
        printf("%zu rules; one payment can cost %" PRIu32 " of %d units\n", rule_set_count(rules),
               rule_set_cost(rules), RULES_COST_MAX);
    }
    if (err == ERR_OK && conf_given(c, "from")) {
        err = try_rules(c, rules, e);
    }
    rule_set_free(rules);
    free(text);
    return err;
}

/* ---- diff ---- */

/* The rule's text without what lies behind it. */
static struct slice trimmed(struct slice s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.at[s.len - 1]) != NULL) {
        s.len--;
    }
    return s;
}

static const struct rule *find_rule(const struct rule_set *s, const char *name)
{
    for (size_t i = 0; s != NULL && i < rule_set_count(s); i++) {
        if (strcmp(rule_set_rule(s, i)->name, name) == 0) {
            return rule_set_rule(s, i);
        }
    }
    return NULL;
}

static void print_rule(char sign, const struct rule *r)
{
    const struct slice s = trimmed(r->text);
    printf("%c ", sign);
    for (size_t i = 0; i < s.len; i++) {
        putchar(s.at[i]);
        if (s.at[i] == '\n') {
            printf("%c ", sign);
        }
    }
    putchar('\n');
}

static bool same_rule(const struct rule *a, const struct rule *b)
{
    const struct slice x = trimmed(a->text);
    const struct slice y = trimmed(b->text);
    return x.len == y.len && memcmp(x.at, y.at, x.len) == 0;
}

/* Returns how many differ. */
static size_t print_difference(const struct rule_set *old, const struct rule_set *new)
{
    size_t n = 0;
    for (size_t i = 0; old != NULL && i < rule_set_count(old); i++) {
        const struct rule *was = rule_set_rule(old, i);
        const struct rule *is = find_rule(new, was->name);
        if (is == NULL || !same_rule(was, is)) {
            print_rule('-', was);
            n++;
        }
        if (is != NULL && !same_rule(was, is)) {
            print_rule('+', is);
        }
    }
    for (size_t i = 0; i < rule_set_count(new); i++) {
        if (find_rule(old, rule_set_rule(new, i)->name) == NULL) {
            print_rule('+', rule_set_rule(new, i));
            n++;
        }
    }
    return n;
}

static const struct conf_option DIFF_OPTIONS[] = {FILE_OPERAND, ACTION_END};

static enum err diff(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct rule_set *rules = NULL;
    struct controls *all = NULL;
    const struct control_about *about = NULL;
    int64_t notice = 0;
    char *text = NULL;
    size_t len = 0;
    (void)exit_code;
    enum err err = read_rules(conf_text(c, "file"), &text, &len, &rules, e);
    if (err == ERR_OK) {
        err = control_read(c, &all, e);
    }
    if (err == ERR_OK) {
        printf("%zu rules differ\n", print_difference(controls_rules(all, &about, &notice), rules));
    }
    controls_free(all);
    rule_set_free(rules);
    free(text);
    return err;
}

/* ---- apply ---- */

static const struct conf_option APPLY_OPTIONS[] = {FILE_OPERAND, WHY, TIMEOUT, ACTION_AS,
                                                   ACTION_END};

static enum err send_rules(const struct conf *c, const char *who, const char *text, size_t len,
                           size_t count, struct errmsg *e)
{
    char *all = malloc(CONTROL_HEAD_MAX + len);
    if (all == NULL) {
        return err_set(e, ERR_NOMEM, "cannot send rules: no memory");
    }
    const size_t head = controls_rules_head(who, conf_text(c, "why"), all);
    memcpy(all + head, text, len);
    const struct deliver_notice n = {"rules", (const uint8_t *)all, head + len};
    const struct control_deed deed = {
        .who = who, .what = "rules apply", .object = conf_text(c, "file"), .changes = count};
    enum err err = control_send(c, &n, 1, &deed, e);
    free(all);
    return err;
}

static enum err apply(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct control_draft draft = {.by = NULL}; /* checks author and reason */
    struct rule_set *rules = NULL;
    const char *who = NULL;
    char *text = NULL;
    size_t len = 0;
    (void)exit_code;
    enum err err = actions_who(c, &who, e);
    if (err == ERR_OK) {
        err = control_draft_init(&draft, who, conf_text(c, "why"), e);
    }
    if (err == ERR_OK) {
        err = read_rules(conf_text(c, "file"), &text, &len, &rules, e);
    }
    if (err == ERR_OK) {
        err = send_rules(c, who, text, len, rule_set_count(rules), e);
    }
    if (err == ERR_OK) {
        printf("%zu rules sent in the place of those before\n", rule_set_count(rules));
    }
    rule_set_free(rules);
    free(text);
    return err;
}

/* ---- list, fields ---- */

static const struct conf_option LIST_OPTIONS[] = {
    {"text", CONF_BOOL, 0, "false", 0, 0, "the rules themselves, as apply takes them"}, ACTION_END};

static void print_mode(const struct controls *all)
{
    const struct control_about *about = NULL;
    const enum control_mode mode = controls_mode(all, &about);
    printf("mode %s", control_mode_name(mode));
    if (about != NULL) {
        printf(": %s (%s)", about->why, about->by);
    }
    putchar('\n');
}

static enum err list(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct controls *all = NULL;
    const struct control_about *about = NULL;
    int64_t notice = 0;
    (void)exit_code;
    enum err err = control_read(c, &all, e);
    if (err != ERR_OK) {
        return err;
    }
    const struct rule_set *rules = controls_rules(all, &about, &notice);
    const bool text = conf_bool(c, "text");
    if (!text) {
        print_mode(all);
    }
    if (!text && rules != NULL) {
        printf("%zu rules by notice %" PRId64 ": %s (%s); one payment can cost %" PRIu32
               " of %d units\nrule\taction\tfound by\tcost\treason\n",
               rule_set_count(rules), notice, about->why, about->by, rule_set_cost(rules),
               RULES_COST_MAX);
    }
    for (size_t i = 0; rules != NULL && i < rule_set_count(rules); i++) {
        const struct rule *r = rule_set_rule(rules, i);
        const struct slice s = trimmed(r->text);
        if (text) {
            printf("%.*s\n", (int)s.len, s.at);
        } else {
            printf("%s\t%s\t%s\t%" PRIu32 "\t%s\n", r->name, rule_action_name(r->action),
                   rule_set_found_by(rules, i), r->cost, r->why);
        }
    }
    controls_free(all);
    return ERR_OK;
}

static const struct conf_option FIELDS_OPTIONS[] = {ACTION_END};

static enum err fields(const struct conf *c, int *exit_code, struct errmsg *e)
{
    (void)c;
    (void)exit_code;
    (void)e;
    for (int i = 0; i < RULE_IDS; i++) {
        printf("%s\ttext: = != in, has(%s)\n", rule_id_name((enum rule_id)i),
               rule_id_name((enum rule_id)i));
    }
    for (int i = 0; i < RULE_NUMBERS; i++) {
        printf("%s\t%s\n", rule_number_name((enum rule_number)i),
               rule_number_words((enum rule_number)i));
    }
    for (size_t i = 0; i < FEAT_DIM; i++) {
        const struct feature_info *f = feature_info(i);
        printf("%s\t%s: %s\n", f->name, f->unit, f->formula);
    }
    return ERR_OK;
}

/* ---- mode ---- */

static const struct conf_option MODE_OPTIONS[] = {
    {"mode", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0, "live, observe or kill"},
    WHY,
    TIMEOUT,
    ACTION_AS,
    ACTION_END};

static enum err mode(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct control_draft draft = {.by = NULL};
    const char *word = conf_text(c, "mode");
    const char *who = NULL;
    int m = 0;
    (void)exit_code;
    while (m < CONTROL_MODES && strcmp(word, control_mode_name((enum control_mode)m)) != 0) {
        m++;
    }
    if (m == CONTROL_MODES) {
        return err_set(e, ERR_INVALID, "\"%.40s\" is no mode: live, observe or kill", word);
    }
    enum err err = actions_who(c, &who, e);
    if (err == ERR_OK) {
        err = control_draft_init(&draft, who, conf_text(c, "why"), e);
    }
    if (err == ERR_OK) {
        err = control_draft_mode(&draft, (enum control_mode)m, e);
    }
    if (err == ERR_OK) {
        const struct control_deed deed = {
            .who = who, .what = "mode", .object = word, .changes = 1, .urgent = true};
        err = control_send(c, draft.notices, draft.count, &deed, e);
    }
    if (err == ERR_OK) {
        printf("mode %s is sent\n", word);
    }
    control_draft_done(&draft);
    return err;
}

static const struct action ACTIONS[] = {
    {"test", "checks a file of rules, and tries it on a past day", "FILE [--from DATE] [OPTIONS]",
     "Without --from: whether `score` would take them, and what a payment can cost.  With it: how\n"
     "often each would have been the first to hold, and the alerts it would have raised beside "
     "the\n"
     "model's.  etc/rules.conf has an example of the language.",
     "fraudd rules test rules.conf --from 2026-04-01 --model model.fraudd --alerts raised.csv",
     TEST_OPTIONS, TEST_SETTINGS, test},
    {"diff", "compares a file with the rules in force", "FILE [OPTIONS]", NULL,
     "fraudd rules diff rules.conf", DIFF_OPTIONS, READ_SETTINGS, diff},
    {"apply", "puts a file's rules in the place of those in force", "FILE --why TEXT",
     "Sent by the notices topic: every `fraudd score` decides what it reads after it by them.  An\n"
     "empty file takes all rules away.",
     "fraudd rules apply rules.conf --why 'new devices abroad' --as ada", APPLY_OPTIONS,
     SEND_SETTINGS, apply},
    {"list", "the rules and the mode in force", "[OPTIONS]", NULL, "fraudd rules list",
     LIST_OPTIONS, READ_SETTINGS, list},
    {"fields", "what rules can speak of", "", NULL, "fraudd rules fields", FIELDS_OPTIONS,
     NO_SETTINGS, fields},
    {"mode", "live; observe: approve all, say what would have been; kill: approve all",
     "MODE --why TEXT",
     "observe is for the weeks before anybody relies on the decisions.  kill is for an emergency:\n"
     "neither lists nor rules are asked.  The model scores in each of them.  Sent also where the\n"
     "database is away; the audit then lacks it, the notices topic has it.",
     "fraudd rules mode kill --why 'declines everything since noon' --as ada", MODE_OPTIONS,
     SEND_SETTINGS, mode},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

int cmd_rules(int argc, char **argv)
{
    return actions_run("Rules beside the model, and the mode in which everything is decided.",
                       ACTIONS, argc, argv);
}
