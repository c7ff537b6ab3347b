/* fraudd model: the registry of models. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/actions.h"
#include "daemon/cmd.h"
#include "daemon/model_document.h"
#include "daemon/model_roles.h"
#include "daemon/model_view.h"
#include "daemon/promotion.h"
#include "storage/audit.h"

#define VERSION                                                                                    \
    {                                                                                              \
        "version", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,                            \
            "the model, as `fraudd model list` names it"                                           \
    }
#define TIMEOUT                                                                                    \
    {                                                                                              \
        "timeout", CONF_DURATION, 0, "30s", 1, 3600, "how long to wait for the brokers"            \
    }

#define SCORE                                                                                      \
    {                                                                                              \
        "score", CONF_TEXT, 0, NULL, 0, 0,                                                         \
            "addresses of all scoring processes' metrics, by commas; else http.listen of the "     \
            "settings"                                                                             \
    }

static const char *const DATABASE[] = {"database", NULL};
static const char *const LIST_SETTINGS[] = {"database", "http.listen", NULL};
static const char *const DATABASE_AND_KAFKA[] = {"database", "brokers", "topics.notices", NULL};

static enum err open_database(const struct conf *c, struct db **out, struct errmsg *e)
{
    return db_open(conf_text(c, "database"), out, e);
}

static const char *addresses(const struct conf *c)
{
    const char *pages = conf_text(c, "score");
    return pages != NULL ? pages : conf_text(c, "http.listen");
}

static const struct conf_option LIST_OPTIONS[] = {SCORE, ACTION_JSON, ACTION_END};

/* What the scoring processes say of the model in shadow. */
static void print_shadow(const struct conf *c, const char *version, const char *since)
{
    char words[PROMOTION_TEXT_MAX];
    struct promotion_figures f;
    struct errmsg e = {""};
    char *text = NULL;
    int pages = 0;
    printf("\nin shadow: %s since %s\n", version, since);
    if (promotion_pages(addresses(c), &text, &pages, &e) == ERR_OK) {
        promotion_figures(text, &f);
        printf("  %s\n", promotion_figures_text(&f, words));
    } else {
        printf("  how it compares is not known: %s\n", e.text);
    }
    free(text);
}

static enum err list(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct db *db = NULL;
    struct db_rows *rows = NULL;
    (void)exit_code;
    enum err err = open_database(c, &db, e);
    if (err == ERR_OK) {
        err = registry_list(db, &rows, e);
    }
    if (err == ERR_OK) {
        table_print(stdout, rows, actions_form(c));
    }
    for (int i = 0; err == ERR_OK && i < db_rows_count(rows); i++) {
        const char *since = db_rows_text(rows, i, 10);
        if (actions_form(c) == TABLE_ALIGNED &&
            strcmp(db_rows_text(rows, i, 1), "challenger") == 0) {
            print_shadow(c, db_rows_text(rows, i, 0), since != NULL ? since : "?");
        }
    }
    db_rows_free(rows);
    db_close(db);
    return err;
}

static const struct conf_option SHOW_OPTIONS[] = {{"version", CONF_TEXT,
                                                   CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,
                                                   "a version of the registry, or a model file"},
                                                  ACTION_JSON,
                                                  ACTION_END};

/* A model file, or a version of the registry and then its row. */
static enum err look(const struct conf *c, struct model_view *out, struct db_rows **row,
                     struct errmsg *e)
{
    const char *what = conf_text(c, "version");
    struct db *db = NULL;
    if (access(what, F_OK) == 0 || strchr(what, '/') != NULL) {
        return model_view_file(what, out, e);
    }
    enum err err = open_database(c, &db, e);
    if (err == ERR_OK) {
        err = registry_row(db, what, row, e);
    }
    if (err == ERR_OK) {
        err = model_view_registry(db, what, out, e);
    }
    db_close(db);
    return err;
}

static enum err show(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct model_view v = {0};
    struct db_rows *row = NULL;
    enum err err = look(c, &v, &row, e);
    (void)exit_code;
    if (err == ERR_OK) {
        model_view_print(stdout, &v, row, actions_form(c));
    }
    model_view_done(&v);
    db_rows_free(row);
    return err;
}

static const struct conf_option DOCUMENT_OPTIONS[] = {
    {"version", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,
     "a version of the registry, or a model file"},
    ACTION_END};

static enum err document(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct model_view v = {0};
    struct db_rows *row = NULL;
    enum err err = look(c, &v, &row, e);
    (void)exit_code;
    if (err == ERR_OK) {
        model_document_print(stdout, v.model);
    }
    model_view_done(&v);
    db_rows_free(row);
    return err;
}

static const struct conf_option IMPORT_OPTIONS[] = {
    {"file", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,
     "model file; FILE.state is its training state"},
    ACTION_AS,
    ACTION_END};

static enum err import(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *who = NULL;
    struct model_view v = {0};
    struct db *db = NULL;
    bool is_new = false;
    (void)exit_code;
    enum err err = actions_who(c, &who, e);
    if (err == ERR_OK) {
        err = model_view_file(conf_text(c, "file"), &v, e);
    }
    if (err == ERR_OK) {
        err = open_database(c, &db, e);
    }
    if (err == ERR_OK) {
        err = registry_add(db, &v.bytes, model_lineage(v.model), model_hash(v.model), who, &is_new,
                           e);
    }
    if (err == ERR_OK) {
        printf("model %s is %s%s\n", model_lineage(v.model)->version,
               is_new ? "a candidate" : "there already",
               is_new && v.bytes.state == NULL ? ", without a training state" : "");
    }
    model_view_done(&v);
    db_close(db);
    return err;
}

static const struct conf_option EXPORT_OPTIONS[] = {
    VERSION,
    {"out", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,
     "file to write; the training state goes to FILE.state"},
    ACTION_END};

static enum err export_model(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *path = conf_text(c, "out");
    char state[PATH_MAX];
    struct model_view v = {0};
    struct db *db = NULL;
    (void)exit_code;
    if ((size_t)snprintf(state, sizeof state, "%s.state", path) >= sizeof state) {
        return err_set(e, ERR_INVALID, "--out %.60s.. is too long", path);
    }
    enum err err = open_database(c, &db, e);
    if (err == ERR_OK) {
        err = model_view_registry(db, conf_text(c, "version"), &v, e);
    }
    if (err == ERR_OK && v.bytes.state != NULL) {
        err = file_write(state, v.bytes.state, v.bytes.state_len, e);
    }
    if (err == ERR_OK) {
        err = file_write(path, v.bytes.model, v.bytes.model_len, e);
    }
    if (err == ERR_OK) {
        printf("wrote %s (%zu bytes)%s\n", path, v.bytes.model_len,
               v.bytes.state != NULL ? " and its training state" : "");
    }
    model_view_done(&v);
    db_close(db);
    return err;
}

/* r->db is open, whatever came of it. */
static enum err open_roles(const struct conf *c, struct roles *r, struct errmsg *e)
{
    *r = (struct roles){.conf = c, .timeout_us = conf_duration_us(c, "timeout")};
    enum err err = actions_who(c, &r->who, e);
    return err == ERR_OK ? open_database(c, &r->db, e) : err;
}

/* The same, in a SQL transaction. */
static enum err begin(const struct conf *c, struct roles *r, struct errmsg *e)
{
    enum err err = open_roles(c, r, e);
    return err == ERR_OK ? registry_begin(r->db, e) : err;
}

static const char *const PROMOTE_SETTINGS[] = {
    "database", "brokers", "http.listen", "partitions", "promote.complete", "promote.rule", NULL};
static const struct conf_option PROMOTE_OPTIONS[] = {
    {"version", CONF_TEXT, CONF_OPERAND, NULL, 0, 0,
     "the model, as `fraudd model list` names it; by rule: the one in shadow"},
    {"by-rule", CONF_BOOL, 0, "false", 0, 0,
     "promote the one in shadow if it keeps the bounds promote.*; else the exit code is 1"},
    SCORE,
    {"incomplete", CONF_TEXT, 0, NULL, 0, 0,
     "why it is promoted though it is not in shadow or has not seen enough of the cards; is "
     "audited"},
    TIMEOUT,
    ACTION_AS,
    ACTION_END};

/* Whether it may take the champion's place: it knows the cards, or somebody says why not. */
static enum err may_promote(const struct roles *r, const char *version, struct errmsg *e)
{
    const struct conf *c = r->conf;
    const char *why = conf_text(c, "incomplete");
    if (why != NULL && why[0] != '\0') {
        return registry_note_incomplete(r->db, version, r->who, why, e);
    }
    enum err err = promotion_check(addresses(c), (long)conf_int(c, "partitions"), version,
                                   conf_real(c, "promote.complete") / 100, e);
    return err == ERR_OK ? err
                         : err_prefix(e, err,
                                      "nothing is changed (--incomplete 'REASON' promotes all the "
                                      "same, and many cards may begin without their histories)");
}

static void tell_promoted(const char *version, const char *before, const char *how)
{
    printf("model %s is champion%s%s%s\n", version, before[0] != '\0' ? " in place of " : "",
           before, how);
}

static enum err promote_by_hand(const struct conf *c, const char *version, struct errmsg *e)
{
    char before[32] = "";
    struct roles r;
    enum err err = begin(c, &r, e);
    if (err == ERR_OK) {
        err = registry_promote(r.db, version, r.who, before, e);
    }
    if (err == ERR_OK && before[0] != '\0') {
        err = may_promote(&r, version, e);
    }
    if (err == ERR_OK) {
        err = roles_install(&r, version, "model", e);
    }
    if (err == ERR_OK) {
        tell_promoted(version, before, "");
    }
    db_close(r.db); /* what was not committed is undone */
    return err;
}

/* Makes the one in shadow champion, with the figures in the audit trail. */
static enum err rule_says_yes(const struct roles *r, const char *version, const char *text,
                              struct errmsg *e)
{
    char before[32] = "";
    char words[PROMOTION_TEXT_MAX];
    struct promotion_figures f;
    promotion_figures(text, &f);
    enum err err = registry_begin(r->db, e);
    if (err == ERR_OK) {
        err = registry_promote(r->db, version, r->who, before, e);
    }
    if (err == ERR_OK) {
        err = audit_words(r->db, r->who, "model promote by rule", version,
                          promotion_figures_text(&f, words), e);
    }
    if (err == ERR_OK) {
        err = roles_install(r, version, "model", e);
    }
    if (err == ERR_OK) {
        tell_promoted(version, before, ", by rule");
        printf("  %s\n", words);
    }
    return err;
}

static enum err promote_by_rule(const struct conf *c, int *exit_code, struct errmsg *e)
{
    char missed[PROMOTION_TEXT_MAX];
    struct promotion_rule rule;
    struct registry_challenger in;
    struct roles r;
    char *text = NULL;
    int pages = 0;
    enum err err = open_roles(c, &r, e);
    r.who = "rule";
    if (err == ERR_OK) {
        err = promotion_rule_read(c, &rule, e);
    }
    if (err == ERR_OK) {
        err = registry_challenger(r.db, rule.outcomes_us, &in, e);
    }
    if (err == ERR_NOTFOUND) {
        puts("no model is in shadow: nothing to promote");
        err = ERR_OK;
        goto out;
    }
    if (err == ERR_OK && rule.agree) {
        err = promotion_pages(addresses(c), &text, &pages, e);
    }
    if (err == ERR_OK) {
        const struct promotion_case known = {
            in.version, in.shadow_s, in.missed[0] != '\0' ? in.missed : NULL,
            text,       pages,       (long)conf_int(c, "partitions")};
        if (promotion_misses(&rule, &known, missed) > 0) {
            printf("model %s is not promoted: %s\n", in.version, missed);
            *exit_code = EXIT_FAILED;
        } else {
            err = rule_says_yes(&r, in.version, text, e);
        }
    }
out:
    free(text);
    db_close(r.db); /* what was not committed is undone */
    return err;
}

static enum err promote(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *version = conf_text(c, "version");
    if (conf_bool(c, "by-rule") == (version != NULL)) {
        return err_set(e, ERR_INVALID, "name the model to promote, or say --by-rule, not both");
    }
    return version != NULL ? promote_by_hand(c, version, e) : promote_by_rule(c, exit_code, e);
}

static const struct conf_option ROLLBACK_OPTIONS[] = {TIMEOUT, ACTION_AS, ACTION_END};

static enum err rollback(const struct conf *c, int *exit_code, struct errmsg *e)
{
    char version[32] = "";
    struct roles r;
    (void)exit_code;
    enum err err = begin(c, &r, e);
    if (err == ERR_OK) {
        err = registry_rollback(r.db, r.who, version, e);
    }
    if (err == ERR_OK) {
        err = roles_install(&r, version, "model", e);
    }
    if (err == ERR_OK) {
        printf("model %s is champion again\n", version);
    }
    db_close(r.db);
    return err;
}

static const struct conf_option SHADOW_OPTIONS[] = {VERSION, TIMEOUT, ACTION_AS, ACTION_END};

static enum err shadow(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *version = conf_text(c, "version");
    char before[32] = "";
    struct roles r;
    (void)exit_code;
    enum err err = open_roles(c, &r, e);
    if (err == ERR_OK) {
        err = roles_shadow(&r, version, before, e);
    }
    if (err == ERR_OK) {
        printf("model %s is in shadow%s%s\n", version, before[0] != '\0' ? " in place of " : "",
               before);
    }
    db_close(r.db);
    return err;
}

static enum err unshadow(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *version = conf_text(c, "version");
    struct roles r;
    (void)exit_code;
    enum err err = open_roles(c, &r, e);
    if (err == ERR_OK) {
        err = roles_unshadow(&r, version, e);
    }
    if (err == ERR_OK) {
        printf("model %s is not in shadow\n", version);
    }
    db_close(r.db);
    return err;
}

static const struct action ACTIONS[] = {
    {"list", "the registry, the newest first", "[OPTIONS]", NULL,
     "fraudd model list --database 'host=localhost dbname=fraudd'", LIST_OPTIONS, LIST_SETTINGS,
     list},
    {"show", "lineage, measures and sizes of a model", "VERSION|FILE [OPTIONS]", NULL,
     "fraudd model show model.fraudd", SHOW_OPTIONS, DATABASE, show},
    {"document", "purpose, data, limits, columns and tests of a model, in Markdown",
     "VERSION|FILE [OPTIONS]", NULL, "fraudd model document model.fraudd >model.md",
     DOCUMENT_OPTIONS, DATABASE, document},
    {"import", "takes a model file into the registry, as a candidate", "FILE [OPTIONS]", NULL,
     "fraudd model import model.fraudd --as ada", IMPORT_OPTIONS, DATABASE, import},
    {"export", "writes a model of the registry to a file", "VERSION FILE [OPTIONS]", NULL,
     "fraudd model export 20260401-8f3a12cd model.fraudd", EXPORT_OPTIONS, DATABASE, export_model},
    {"shadow", "lets a model score beside the champion, without deciding", "VERSION [OPTIONS]",
     "Sends the model by the notices topic; from a recorded place on every `fraudd score` scores\n"
     "each payment with both, and its metrics compare them.  No decision changes.  It takes the\n"
     "place of the one that was in shadow; `fraudd model promote` makes it champion without a gap\n"
     "in what it knows of the cards.",
     "fraudd model shadow 20260401-8f3a12cd --as ada", SHADOW_OPTIONS, DATABASE_AND_KAFKA, shadow},
    {"unshadow", "takes a model out of shadow, and gives its memory back", "VERSION [OPTIONS]",
     "For a challenger that is not wanted, and for a former champion before rollback.keep is "
     "over:\n"
     "what it knows of the cards is gone then, and after a rollback to it cards begin without\n"
     "histories.",
     "fraudd model unshadow 20260401-8f3a12cd --as ada", SHADOW_OPTIONS, DATABASE_AND_KAFKA,
     unshadow},
    {"promote", "makes a model champion and sends it to the scoring processes",
     "VERSION|--by-rule [OPTIONS]",
     "Marks the model champion, the one before it former, and sends it by the notices topic; "
     "every\n"
     "`fraudd score` takes it over between two payments.  Nothing is changed unless the brokers\n"
     "have it.  Where another one is champion it must be in shadow, in all processes, and have "
     "seen\n"
     "enough of promote.complete percent of the cards: that their metrics say.  The champion "
     "itself\n"
     "may be sent again.\n"
     "With --by-rule and promote.rule = \"agree\" the one in shadow is promoted if it has been "
     "there\n"
     "long enough and its scores and alerts are near enough to the champion's (settings "
     "promote.*),\n"
     "and `fraudd outcomes` found no bound missed lately.  Else the exit code is 1, and the "
     "output\n"
     "says which bounds are missed and by how much.  For a timer; in the audit trail `rule` did "
     "it.",
     "fraudd model promote 20260401-8f3a12cd --as ada", PROMOTE_OPTIONS, PROMOTE_SETTINGS, promote},
    {"rollback", "brings the former champion back", "[OPTIONS]",
     "Withdraws the champion and sends the one before it by the notices topic.  A second rollback\n"
     "goes one further.",
     "fraudd model rollback --as ada", ROLLBACK_OPTIONS, DATABASE_AND_KAFKA, rollback},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

int cmd_model(int argc, char **argv)
{
    return actions_run("Which models there are, and which one serves.", ACTIONS, argc, argv);
}
