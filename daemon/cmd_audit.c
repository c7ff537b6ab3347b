/* fraudd audit: who did what, and whether that record is what it was. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "daemon/actions.h"
#include "daemon/cmd.h"
#include "storage/audit.h"

#define ANCHORS_BYTES_MAX (64 << 20)

static const char *const SHOWN[] = {"database", NULL};

static const struct conf_option LIST_OPTIONS[] = {
    {"who", CONF_TEXT, 0, NULL, 0, 0, "only this person's"},
    {"what", CONF_TEXT, 0, NULL, 0, 0, "only this action, such as \"alert resolve\""},
    {"object", CONF_TEXT, 0, NULL, 0, 0, "only of this alert, case, model or source"},
    {"limit", CONF_INT, 0, "20", 1, 1e6, "rows at most"},
    ACTION_JSON,
    ACTION_END};

static enum err list(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const struct audit_filter f = {conf_text(c, "who"), conf_text(c, "what"),
                                   conf_text(c, "object"), conf_int(c, "limit")};
    struct db *db = NULL;
    struct db_rows *rows = NULL;
    (void)exit_code;
    enum err err = db_open(conf_text(c, "database"), &db, e);
    if (err == ERR_OK) {
        err = audit_list(db, &f, &rows, e);
    }
    if (err == ERR_OK) {
        table_print(stdout, rows, actions_form(c));
    }
    db_rows_free(rows);
    db_close(db);
    return err;
}

/* A growing list of anchors, as a file has them: "NUMBER HASH" a line. */
struct anchors {
    struct audit_anchor *at;
    size_t n;
};

/* "NUMBER HASH"; false: it is something else. */
static bool parse_anchor(const char *line, struct audit_anchor *out)
{
    char *end = NULL;
    errno = 0;
    out->seq = strtoll(line, &end, 10);
    if (errno != 0 || out->seq < 1 || *end != ' ') {
        return false;
    }
    const char *hash = end + 1;
    size_t len = strspn(hash, "0123456789abcdef");
    if (len != AUDIT_HASH_TEXT - 1 || hash[len] != '\0') {
        return false;
    }
    memcpy(out->hash, hash, AUDIT_HASH_TEXT);
    return true;
}

static enum err add_line(struct anchors *a, const char *path, size_t line_number, const char *line,
                         struct errmsg *e)
{
    struct audit_anchor *more = realloc(a->at, (a->n + 1) * sizeof *more);
    if (more == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold %zu anchors: no memory", a->n + 1);
    }
    a->at = more;
    if (!parse_anchor(line, &a->at[a->n])) {
        return err_set(e, ERR_CORRUPT, "%s line %zu: \"%.80s\" is no anchor (NUMBER HASH)", path,
                       line_number, line);
    }
    a->n++;
    return ERR_OK;
}

/* A file that is not there has none. */
static enum err read_anchors(const char *path, struct anchors *out, struct errmsg *e)
{
    uint8_t *text = NULL;
    size_t len = 0;
    size_t lines = 0;
    enum err err = file_read(path, ANCHORS_BYTES_MAX, &text, &len, e);
    if (err == ERR_NOTFOUND) {
        return ERR_OK;
    }
    char *line = (char *)text;
    while (err == ERR_OK && *line != '\0') {
        char *end = line + strcspn(line, "\n");
        char *next = *end == '\n' ? end + 1 : end;
        *end = '\0';
        err = add_line(out, path, ++lines, line, e);
        line = next;
    }
    free(text);
    return err;
}

/* Appends: a file that takes nothing else (chattr +a, write-once media) will do. */
static enum err append_anchor(const char *path, const struct audit_anchor *a, struct errmsg *e)
{
    FILE *f = fopen(path, "ae");
    if (f == NULL) {
        return err_set(e, ERR_IO, "cannot append to %s: %s", path, strerror(errno));
    }
    bool written = fprintf(f, "%" PRId64 " %s\n", a->seq, a->hash) > 0;
    if (fclose(f) != 0 || !written) {
        return err_set(e, ERR_IO, "cannot append to %s: %s", path, strerror(errno));
    }
    return ERR_OK;
}

static void print_finding(const struct audit_report *r)
{
    switch (r->finding) {
    case AUDIT_INTACT:
        printf("%" PRId64 " rows as they were chained\nhead %" PRId64 " %s\n", r->rows, r->head.seq,
               r->head.seq > 0 ? r->head.hash : "(nothing)");
        break;
    case AUDIT_ALTERED:
        printf("entry %" PRId64 ": row %" PRId64
               " is not what was chained: altered, or in another one's place\n",
               r->seq, r->id);
        break;
    case AUDIT_REMOVED:
        printf("entry %" PRId64 ": row %" PRId64 " was removed\n", r->seq, r->id);
        break;
    case AUDIT_GAP:
        printf("entry %" PRId64 ": those before it were removed or moved\n", r->seq);
        break;
    case AUDIT_FOREIGN:
        printf("row %" PRId64 " was put in beside the chain\n", r->id);
        break;
    case AUDIT_CUT_OFF:
        printf("the chain ends at entry %" PRId64 ", an anchor has entry %" PRId64
               ": its end was cut off\n",
               r->head.seq, r->seq);
        break;
    case AUDIT_REWRITTEN:
        printf("entry %" PRId64 ": another hash than the anchor's; the chain was made anew\n",
               r->seq);
        break;
    }
}

static const struct conf_option VERIFY_OPTIONS[] = {
    {"anchors", CONF_TEXT, 0, NULL, 0, 0,
     "file of earlier heads, which must be in the chain; the new one is added"},
    ACTION_END};

static enum err verify(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *path = conf_text(c, "anchors");
    struct anchors a = {NULL, 0};
    struct audit_report r = {.finding = AUDIT_INTACT};
    struct db *db = NULL;
    enum err err = path != NULL ? read_anchors(path, &a, e) : ERR_OK;
    if (err == ERR_OK) {
        err = db_open(conf_text(c, "database"), &db, e);
    }
    if (err == ERR_OK) {
        err = audit_verify(db, a.at, a.n, &r, e);
    }
    if (err == ERR_OK) {
        print_finding(&r);
        *exit_code = r.finding == AUDIT_INTACT ? EXIT_OK : EXIT_FAILED;
    }
    bool moved = a.n == 0 || a.at[a.n - 1].seq != r.head.seq;
    if (err == ERR_OK && r.finding == AUDIT_INTACT && path != NULL && r.head.seq > 0 && moved) {
        err = append_anchor(path, &r.head, e);
    }
    free(a.at);
    db_close(db);
    return err;
}

static const struct action ACTIONS[] = {
    {"list", "who did what, the newest first", "[OPTIONS]", NULL,
     "fraudd audit list --who ada --database 'host=localhost dbname=fraudd'", LIST_OPTIONS, SHOWN,
     list},
    {"verify", "whether a row was altered, removed or moved", "[OPTIONS]",
     "Looks at every row of the audit trail and names the first one that is not what was chained.\n"
     "Exit code 1: there is one.  That the end was cut off, or the whole chain made anew by\n"
     "somebody with the owner's rights, only anchors tell: keep their file where those who may\n"
     "write to the database may not.",
     "fraudd audit verify --anchors /mnt/auditor/fraudd.anchors", VERIFY_OPTIONS, SHOWN, verify},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

int cmd_audit(int argc, char **argv)
{
    return actions_run("Who did what to alerts, labels and models: an append-only, hash-chained "
                       "table.",
                       ACTIONS, argc, argv);
}
