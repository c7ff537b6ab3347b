#include "storage/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ROW_BYTES                                                                                  \
    "convert_to(jsonb_build_array(c.seq, a.id, (extract(epoch FROM a.at) * 1000000)::bigint, "     \
    "a.who, a.role, a.what, a.object, a.detail)::text, 'UTF8')"

/* Each entry is held against the one before it as it stands, so that all can be checked at once. */
static const char FIRST_WRONG[] =
    "SELECT c.seq, coalesce(a.id, c.audit_id), c.seq <> c.before + 1 AS gap, a.id IS NULL "
    "FROM (SELECT seq, audit_id, hash, lag(seq, 1, 0::bigint) OVER w AS before, "
    "lag(hash, 1, ''::bytea) OVER w AS hash_before FROM audit_chain WINDOW w AS (ORDER BY seq)) c "
    "LEFT JOIN audit a ON a.id = c.audit_id "
    "WHERE c.seq <> c.before + 1 OR a.id IS NULL OR c.hash <> sha256(c.hash_before || " ROW_BYTES
    ") ORDER BY c.seq LIMIT 1";

static const char FIRST_FOREIGN[] =
    "SELECT a.id FROM audit a WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit_id = a.id) "
    "AND NOT EXISTS (SELECT FROM audit_pending p WHERE p.audit_id = a.id) ORDER BY a.id LIMIT 1";

static int64_t number(const struct db_rows *rows, int column)
{
    const char *text = db_rows_text(rows, 0, column);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

enum err audit_note(struct db *d, const struct audit_notice *n, struct errmsg *e)
{
    char changes[24];
    char hash[24];
    snprintf(changes, sizeof changes, "%" PRIu64, n->changes);
    snprintf(hash, sizeof hash, "%016" PRIx64, n->hash);
    const char *const params[] = {n->who, n->what, n->object, changes, hash, n->text};
    return db_exec(d,
                   "INSERT INTO audit (who, what, object, detail) VALUES ($1, $2, $3, "
                   "jsonb_strip_nulls(jsonb_build_object('changes', $4::bigint, 'hash', $5::text, "
                   "'notice', $6::text)))",
                   6, params, NULL, e);
}

enum err audit_words(struct db *d, const char *who, const char *what, const char *object,
                     const char *words, struct errmsg *e)
{
    const char *const params[] = {who, what, object, words};
    return db_exec(d,
                   "INSERT INTO audit (who, what, object, detail) VALUES ($1, $2, $3, "
                   "jsonb_build_object('words', $4::text))",
                   4, params, NULL, e);
}

enum err audit_seal(struct db *d, bool wait, int64_t *out_count, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = db_exec(d, wait ? "SELECT audit_seal()" : "SELECT audit_seal(wait => false)", 0,
                           NULL, &rows, e);
    if (err == ERR_OK) {
        *out_count = number(rows, 0);
    }
    db_rows_free(rows);
    return err;
}

static enum err find_head(struct db *d, struct audit_report *r, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = db_exec(d,
                           "SELECT count(*), (SELECT seq FROM audit_chain ORDER BY seq DESC LIMIT "
                           "1), (SELECT encode(hash, 'hex') FROM audit_chain ORDER BY seq DESC "
                           "LIMIT 1) FROM audit_chain",
                           0, NULL, &rows, e);
    if (err == ERR_OK) {
        const char *hash = db_rows_text(rows, 0, 2);
        r->rows = number(rows, 0);
        r->head.seq = number(rows, 1);
        snprintf(r->head.hash, sizeof r->head.hash, "%s", hash != NULL ? hash : "");
    }
    db_rows_free(rows);
    return err;
}

static enum err check_chain(struct db *d, struct audit_report *r, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = db_exec(d, FIRST_WRONG, 0, NULL, &rows, e);
    if (err == ERR_OK && db_rows_count(rows) > 0) {
        r->seq = number(rows, 0);
        r->id = number(rows, 1);
        r->finding = db_rows_text(rows, 0, 2)[0] == 't'   ? AUDIT_GAP
                     : db_rows_text(rows, 0, 3)[0] == 't' ? AUDIT_REMOVED
                                                          : AUDIT_ALTERED;
    }
    db_rows_free(rows);
    return err;
}

static enum err check_foreign(struct db *d, struct audit_report *r, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = db_exec(d, FIRST_FOREIGN, 0, NULL, &rows, e);
    if (err == ERR_OK && db_rows_count(rows) > 0) {
        r->finding = AUDIT_FOREIGN;
        r->id = number(rows, 0);
    }
    db_rows_free(rows);
    return err;
}

static enum err check_anchor(struct db *d, const struct audit_anchor *a, struct audit_report *r,
                             struct errmsg *e)
{
    char seq[24];
    struct db_rows *rows = NULL;
    snprintf(seq, sizeof seq, "%" PRId64, a->seq);
    const char *const params[] = {seq, a->hash};
    enum err err = db_exec(d,
                           "SELECT hash = decode($2, 'hex'), audit_id FROM audit_chain "
                           "WHERE seq = $1::bigint",
                           2, params, &rows, e);
    if (err == ERR_OK && db_rows_count(rows) == 0) {
        r->finding = AUDIT_CUT_OFF;
        r->seq = a->seq;
    } else if (err == ERR_OK && db_rows_text(rows, 0, 0)[0] != 't') {
        r->finding = AUDIT_REWRITTEN;
        r->seq = a->seq;
        r->id = number(rows, 1);
    }
    db_rows_free(rows);
    return err;
}

static enum err check_all(struct db *d, const struct audit_anchor *anchors, size_t n,
                          struct audit_report *r, struct errmsg *e)
{
    enum err err = find_head(d, r, e);
    if (err == ERR_OK) {
        err = check_chain(d, r, e);
    }
    if (err == ERR_OK && r->finding == AUDIT_INTACT) {
        err = check_foreign(d, r, e);
    }
    for (size_t i = 0; i < n && err == ERR_OK && r->finding == AUDIT_INTACT; i++) {
        err = check_anchor(d, &anchors[i], r, e);
    }
    return err;
}

enum err audit_verify(struct db *d, const struct audit_anchor *anchors, size_t n,
                      struct audit_report *out, struct errmsg *e)
{
    struct audit_report r = {.finding = AUDIT_INTACT};
    enum err err = ERR_OK;
    for (int64_t sealed = 1; err == ERR_OK && sealed > 0;) {
        err = audit_seal(d, true, &sealed, e);
    }
    if (err == ERR_OK) {
        err = db_script(d, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", e);
    }
    if (err == ERR_OK) {
        err = check_all(d, anchors, n, &r, e);
        enum err ended = db_script(d, "ROLLBACK", NULL);
        (void)ended; /* nothing was changed */
    }
    if (err == ERR_OK) {
        *out = r;
    }
    return err;
}

enum err audit_list(struct db *d, const struct audit_filter *f, struct db_rows **out,
                    struct errmsg *e)
{
    char limit[24];
    snprintf(limit, sizeof limit, "%" PRId64, f->limit);
    const char *const params[] = {f->who, f->what, f->object, limit};
    return db_exec(d,
                   "SELECT c.seq, a.id, iso_time(a.at) AS at, a.who, a.role, a.what, a.object, "
                   "a.detail FROM audit a LEFT JOIN audit_chain c ON c.audit_id = a.id "
                   "WHERE ($1::text IS NULL OR a.who = $1) AND ($2::text IS NULL OR a.what = $2) "
                   "AND ($3::text IS NULL OR a.object = $3) ORDER BY a.id DESC LIMIT $4::bigint",
                   4, params, out, e);
}
