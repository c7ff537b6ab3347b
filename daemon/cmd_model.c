/* fraudd model: the registry of models. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/actions.h"
#include "daemon/cmd.h"
#include "daemon/deliver.h"
#include "daemon/model_document.h"
#include "daemon/model_view.h"
#include "daemon/models.h"
#include "daemon/promotion.h"

#define VERSION                                                                                    \
    {                                                                                              \
        "version", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,                            \
            "the model, as `fraudd model list` names it"                                           \
    }
#define TIMEOUT                                                                                    \
    {                                                                                              \
        "timeout", CONF_DURATION, 0, "30s", 1, 3600, "how long to wait for the brokers"            \
    }

static const char *const DATABASE[] = {"database", NULL};
static const char *const DATABASE_AND_KAFKA[] = {"database", "brokers", "topics.notices", NULL};

static enum err open_database(const struct conf *c, struct db **out, struct errmsg *e)
{
    return db_open(conf_text(c, "database"), out, e);
}

static const struct conf_option LIST_OPTIONS[] = {ACTION_JSON, ACTION_END};

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

/* Commits what the brokers know by now. */
static enum err commit_sent(struct db *db, const char *version, struct errmsg *e)
{
    enum err err = registry_commit(db, e);
    return err == ERR_OK ? err
                         : err_prefix(e, err,
                                      "model %s was sent, but the registry does not say so yet (do "
                                      "this again)",
                                      version);
}

/* Reads the model inside the open SQL transaction and sends it, kind "model" or "shadow"; the
 * change is committed when the brokers have it. */
static enum err install(const struct conf *c, struct db *db, const char *version, const char *kind,
                        struct errmsg *e)
{
    struct model_view v = {0};
    enum err err = model_view_registry(db, version, &v, e);
    if (err == ERR_OK) {
        err = model_view_check_schema(&v, e);
    }
    if (err == ERR_OK) {
        err = deliver_model(c, kind, v.bytes.model, v.bytes.model_len,
                            conf_duration_us(c, "timeout"), e);
    }
    if (err == ERR_OK) {
        err = commit_sent(db, version, e);
    }
    model_view_done(&v);
    return err;
}

/* Begins a change of the registry; *out is open, whatever came of it. */
static enum err begin(const struct conf *c, const char **who, struct db **out, struct errmsg *e)
{
    enum err err = actions_who(c, who, e);
    if (err == ERR_OK) {
        err = open_database(c, out, e);
    }
    return err == ERR_OK ? registry_begin(*out, e) : err;
}

static const char *const PROMOTE_SETTINGS[] = {
    "database", "brokers", "topics.notices", "http.listen", "partitions", "promote.complete", NULL};
static const struct conf_option PROMOTE_OPTIONS[] = {
    VERSION,
    {"score", CONF_TEXT, 0, NULL, 0, 0,
     "addresses of all scoring processes' metrics, by commas; else http.listen of the settings"},
    {"incomplete", CONF_TEXT, 0, NULL, 0, 0,
     "why it is promoted though it is not in shadow or has not seen enough of the cards; is "
     "audited"},
    TIMEOUT,
    ACTION_AS,
    ACTION_END};

/* Whether it may take the champion's place: it knows the cards, or somebody says why not. */
static enum err may_promote(const struct conf *c, struct db *db, const char *version,
                            const char *who, struct errmsg *e)
{
    const char *why = conf_text(c, "incomplete");
    const char *pages = conf_text(c, "score");
    if (why != NULL && why[0] != '\0') {
        return registry_note_incomplete(db, version, who, why, e);
    }
    enum err err = promotion_check(pages != NULL ? pages : conf_text(c, "http.listen"),
                                   (long)conf_int(c, "partitions"), version,
                                   conf_real(c, "promote.complete") / 100, e);
    return err == ERR_OK ? err
                         : err_prefix(e, err,
                                      "nothing is changed (--incomplete 'REASON' promotes all the "
                                      "same, and many cards may begin without their histories)");
}

static enum err promote(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *version = conf_text(c, "version");
    const char *who = NULL;
    char before[32] = "";
    struct db *db = NULL;
    (void)exit_code;
    enum err err = begin(c, &who, &db, e);
    if (err == ERR_OK) {
        err = registry_promote(db, version, who, before, e);
    }
    if (err == ERR_OK && before[0] != '\0') {
        err = may_promote(c, db, version, who, e);
    }
    if (err == ERR_OK) {
        err = install(c, db, version, "model", e);
    }
    if (err == ERR_OK) {
        printf("model %s is champion%s%s\n", version, before[0] != '\0' ? " in place of " : "",
               before);
    }
    db_close(db); /* what was not committed is undone */
    return err;
}

static const struct conf_option ROLLBACK_OPTIONS[] = {TIMEOUT, ACTION_AS, ACTION_END};

static enum err rollback(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *who = NULL;
    char version[32] = "";
    struct db *db = NULL;
    (void)exit_code;
    enum err err = begin(c, &who, &db, e);
    if (err == ERR_OK) {
        err = registry_rollback(db, who, version, e);
    }
    if (err == ERR_OK) {
        err = install(c, db, version, "model", e);
    }
    if (err == ERR_OK) {
        printf("model %s is champion again\n", version);
    }
    db_close(db);
    return err;
}

static const struct conf_option SHADOW_OPTIONS[] = {VERSION, TIMEOUT, ACTION_AS, ACTION_END};

static enum err shadow(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *version = conf_text(c, "version");
    const char *who = NULL;
    char before[32] = "";
    struct db *db = NULL;
    (void)exit_code;
    enum err err = begin(c, &who, &db, e);
    if (err == ERR_OK) {
        err = registry_shadow(db, version, who, before, e);
    }
    if (err == ERR_OK) {
        err = install(c, db, version, "shadow", e);
    }
    if (err == ERR_OK) {
        printf("model %s is in shadow%s%s\n", version, before[0] != '\0' ? " in place of " : "",
               before);
    }
    db_close(db);
    return err;
}

static enum err send_end(const struct conf *c, struct db *db, const char *version, struct errmsg *e)
{
    struct model_view v = {0};
    char text[MODELS_END_MAX];
    enum err err = model_view_registry(db, version, &v, e);
    if (err == ERR_OK) {
        const size_t len = models_write_end(model_hash(v.model), -1, text);
        const struct deliver_notice n = {"shadow-end", (const uint8_t *)text, len};
        err = deliver_notices(c, &n, 1, conf_duration_us(c, "timeout"), e);
    }
    model_view_done(&v);
    return err == ERR_OK ? commit_sent(db, version, e) : err;
}

static enum err unshadow(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *version = conf_text(c, "version");
    const char *who = NULL;
    struct db *db = NULL;
    (void)exit_code;
    enum err err = begin(c, &who, &db, e);
    if (err == ERR_OK) {
        err = registry_unshadow(db, version, who, e);
    }
    if (err == ERR_OK) {
        err = send_end(c, db, version, e);
    }
    if (err == ERR_OK) {
        printf("model %s is not in shadow\n", version);
    }
    db_close(db);
    return err;
}

static const struct action ACTIONS[] = {
    {"list", "the registry, the newest first", "[OPTIONS]", NULL,
     "fraudd model list --database 'host=localhost dbname=fraudd'", LIST_OPTIONS, DATABASE, list},
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
    {"promote", "makes a model champion and sends it to the scoring processes", "VERSION [OPTIONS]",
     "Marks the model champion, the one before it former, and sends it by the notices topic; "
     "every\n"
     "`fraudd score` takes it over between two payments.  Nothing is changed unless the brokers\n"
     "have it.  Where another one is champion it must be in shadow, in all processes, and have "
     "seen\n"
     "enough of promote.complete percent of the cards: that their metrics say.  The champion "
     "itself\n"
     "may be sent again.",
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
