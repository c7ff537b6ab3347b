#include "storage/registry.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"

#define FIELDS 18
#define FIELD_BYTES 64

/* Lineage and measures as text parameters, in the order of the statement below; NULL where there is
 * no value. */
struct fields {
    char text[FIELDS][FIELD_BYTES];
    const char *at[FIELDS];
    int n;
};

static void put(struct fields *f, const char *fmt, ...) FD_PRINTF(2, 3);
static void put(struct fields *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->text[f->n], FIELD_BYTES, fmt, args);
    va_end(args);
    f->at[f->n] = f->text[f->n];
    f->n++;
}

static void put_measure(struct fields *f, double v)
{
    put(f, "%.9g", v);
    if (!isfinite(v)) {
        f->at[f->n - 1] = NULL;
    }
}

static void put_time(struct fields *f, int64_t us)
{
    char text[TIME_TEXT_MAX];
    time_format(text, us);
    put(f, "%s", text);
}

static void fill(struct fields *f, const struct model_lineage *l, uint64_t hash)
{
    f->n = 0;
    put(f, "%s", l->version);
    put(f, "%s", l->parent);
    put_time(f, l->data_from_us);
    put_time(f, l->data_until_us);
    put(f, "%016" PRIx64, l->rows_hash);
    put(f, "%" PRIu64, l->rows);
    put(f, "%" PRIu64, l->frauds);
    put(f, "%" PRIu64, l->seed);
    put(f, "%016" PRIx64, l->schema_hash);
    put(f, "%" PRId64, l->maturity_us / TIME_S);
    put(f, "%.9g", (double)l->blame_ratio);
    put(f, "%.9g", (double)l->blame_tail);
    put(f, "%" PRIu32, l->rates_version);
    put(f, "%s", l->code_version);
    put(f, "%016" PRIx64, hash);
    put_measure(f, l->holdout_auc);
    put_measure(f, l->holdout_ap);
    put_measure(f, l->holdout_brier);
}

static enum err describe(struct db *d, const struct model_lineage *l, uint64_t hash,
                         struct errmsg *e)
{
    struct fields f;
    fill(&f, l, hash);
    return db_exec(d,
                   "UPDATE models SET lineage = jsonb_build_object("
                   "'parent', nullif($2, ''), 'data_from', $3::text, 'data_until', $4::text, "
                   "'rows_hash', $5::text, 'rows', $6::numeric, 'frauds', $7::numeric, "
                   "'seed', $8::numeric, 'schema', $9::text, 'maturity_s', $10::bigint, "
                   "'blame_ratio', $11::float8, 'blame_tail', $12::float8, "
                   "'rates_version', $13::bigint, 'code', $14::text, 'hash', $15::text), "
                   "metrics = jsonb_build_object('auc', $16::float8, 'ap', $17::float8, "
                   "'brier', $18::float8) WHERE version = $1",
                   f.n, f.at, NULL, e);
}

/* ERR_REFUSED unless the registry's model of this version has these very bytes. */
static enum err check_same(struct db *d, const struct registry_bytes *b, const char *version,
                           struct errmsg *e)
{
    struct registry_bytes there;
    enum err err = registry_read(d, version, &there, e);
    if (err != ERR_OK) {
        return err;
    }
    if (there.model_len != b->model_len || memcmp(there.model, b->model, b->model_len) != 0) {
        err = err_set(e, ERR_REFUSED,
                      "the registry has another model of version %s (%zu bytes, this one has %zu)",
                      version, there.model_len, b->model_len);
    }
    registry_bytes_done(&there);
    return err;
}

static enum err insert(struct db *d, const struct registry_bytes *b, const struct model_lineage *l,
                       uint64_t hash, const char *who, struct errmsg *e)
{
    const char *const params[] = {l->version, NULL, who};
    enum err err = db_exec_bytes(d,
                                 "INSERT INTO models (version, weights, lineage, metrics) "
                                 "VALUES ($1, $2, '{}', '{}')",
                                 2, params, 1, b->model, b->model_len, e);
    if (err == ERR_OK && b->state != NULL) {
        err = db_exec_bytes(d, "UPDATE models SET training = $2 WHERE version = $1", 2, params, 1,
                            b->state, b->state_len, e);
    }
    if (err == ERR_OK) {
        err = describe(d, l, hash, e);
    }
    if (err == ERR_OK) {
        const char *const noted[] = {who, l->version};
        err = db_exec(d,
                      "INSERT INTO audit (who, what, object, detail) SELECT $1, 'model add', "
                      "version, metrics FROM models WHERE version = $2",
                      2, noted, NULL, e);
    }
    return err;
}

enum err registry_add(struct db *d, const struct registry_bytes *bytes,
                      const struct model_lineage *lineage, uint64_t hash, const char *who,
                      bool *out_new, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    const char *const params[] = {lineage->version};
    enum err err = db_script(d, "BEGIN; SELECT model_lock()", e);
    if (err == ERR_OK) {
        err = db_exec(d, "SELECT FROM models WHERE version = $1", 1, params, &rows, e);
    }
    bool there = err == ERR_OK && db_rows_count(rows) > 0;
    if (err == ERR_OK) {
        err = there ? check_same(d, bytes, lineage->version, e)
                    : insert(d, bytes, lineage, hash, who, e);
    }
    if (err == ERR_OK) {
        err = registry_commit(d, e);
    }
    if (err == ERR_OK) {
        *out_new = !there;
    } else {
        registry_undo(d);
    }
    db_rows_free(rows);
    return err;
}

enum err registry_list(struct db *d, struct db_rows **out, struct errmsg *e)
{
    return db_exec(d,
                   "SELECT version, state, lineage ->> 'data_until' AS data_until, "
                   "lineage ->> 'parent' AS parent, (lineage -> 'rows')::bigint AS rows, "
                   "(lineage -> 'frauds')::bigint AS frauds, "
                   "round((metrics ->> 'auc')::numeric, 4) AS auc, "
                   "round((metrics ->> 'ap')::numeric, 4) AS ap, iso_time(created) AS created, "
                   "iso_time(promoted) AS promoted, iso_time(shadowed) AS shadowed "
                   "FROM models ORDER BY created DESC, version DESC",
                   0, NULL, out, e);
}

static enum err one_row(struct db *d, const char *sql, const char *version, struct db_rows **out,
                        struct errmsg *e)
{
    struct db_rows *rows = NULL;
    const char *const params[] = {version};
    enum err err = db_exec(d, sql, 1, params, &rows, e);
    if (err == ERR_OK && db_rows_count(rows) == 0) {
        db_rows_free(rows);
        return err_set(e, ERR_NOTFOUND, "there is no model %s; `fraudd model list` shows them",
                       version);
    }
    if (err == ERR_OK) {
        *out = rows;
    }
    return err;
}

enum err registry_row(struct db *d, const char *version, struct db_rows **out, struct errmsg *e)
{
    return one_row(d,
                   "SELECT state, iso_time(created) AS created, iso_time(promoted) AS promoted, "
                   "iso_time(retired) AS retired, iso_time(shadowed) AS shadowed "
                   "FROM models WHERE version = $1",
                   version, out, e);
}

enum err registry_is_untried(struct db *d, const char *version, bool *out, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = one_row(d,
                           "SELECT state = 'candidate' AND shadowed IS NULL AND promoted IS NULL "
                           "FROM models WHERE version = $1",
                           version, &rows, e);
    if (err == ERR_OK) {
        *out = strcmp(db_rows_text(rows, 0, 0), "t") == 0;
    }
    db_rows_free(rows);
    return err;
}

enum err registry_challenger(struct db *d, int64_t within_us, struct registry_challenger *out,
                             struct errmsg *e)
{
    struct db_rows *rows = NULL;
    char within[48];
    const char *const params[] = {within};
    snprintf(within, sizeof within, "%" PRId64 " microseconds", within_us);
    enum err err = db_exec(d,
                           "SELECT version, coalesce(seconds, 0), coalesce(left(missed, 400), '') "
                           "FROM model_challenger($1::interval)",
                           1, params, &rows, e);
    if (err == ERR_OK && db_rows_count(rows) == 0) {
        err = err_set(e, ERR_NOTFOUND, "no model is in shadow");
    }
    if (err == ERR_OK) {
        snprintf(out->version, sizeof out->version, "%s", db_rows_text(rows, 0, 0));
        out->shadow_s = strtod(db_rows_text(rows, 0, 1), NULL);
        snprintf(out->missed, sizeof out->missed, "%s", db_rows_text(rows, 0, 2));
    }
    db_rows_free(rows);
    return err;
}

enum err registry_read(struct db *d, const char *version, struct registry_bytes *out,
                       struct errmsg *e)
{
    struct db_rows *rows = NULL;
    struct registry_bytes b = {0};
    enum err err =
        one_row(d, "SELECT weights, training FROM models WHERE version = $1", version, &rows, e);
    if (err == ERR_OK) {
        err = db_rows_bytes(rows, 0, 0, &b.model, &b.model_len, e);
    }
    if (err == ERR_OK && db_rows_text(rows, 0, 1) != NULL) {
        err = db_rows_bytes(rows, 0, 1, &b.state, &b.state_len, e);
    }
    db_rows_free(rows);
    if (err != ERR_OK) {
        registry_bytes_done(&b);
        return err;
    }
    *out = b;
    return ERR_OK;
}

void registry_bytes_done(struct registry_bytes *b)
{
    free(b->model);
    free(b->state);
    memset(b, 0, sizeof *b);
}

enum err registry_begin(struct db *d, struct errmsg *e)
{
    return db_script(d, "BEGIN", e);
}

/* A version from a function that returns one. */
static enum err version_of(struct db *d, const char *sql, int n, const char *const *params,
                           char out[32], struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = db_exec(d, sql, n, params, &rows, e);
    if (err == ERR_OK) {
        const char *text = db_rows_text(rows, 0, 0);
        snprintf(out, 32, "%s", text != NULL ? text : "");
    }
    db_rows_free(rows);
    return err;
}

enum err registry_promote(struct db *d, const char *version, const char *who, char out_before[32],
                          struct errmsg *e)
{
    const char *const params[] = {version, who};
    return version_of(d, "SELECT model_promote($1, $2)", 2, params, out_before, e);
}

enum err registry_rollback(struct db *d, const char *who, char out_version[32], struct errmsg *e)
{
    const char *const params[] = {who};
    return version_of(d, "SELECT model_rollback($1)", 1, params, out_version, e);
}

enum err registry_shadow(struct db *d, const char *version, const char *who, char out_before[32],
                         struct errmsg *e)
{
    const char *const params[] = {version, who};
    return version_of(d, "SELECT model_shadow($1, $2)", 2, params, out_before, e);
}

enum err registry_unshadow(struct db *d, const char *version, const char *who, struct errmsg *e)
{
    const char *const params[] = {version, who};
    return db_exec(d, "SELECT model_unshadow($1, $2)", 2, params, NULL, e);
}

enum err registry_note_incomplete(struct db *d, const char *version, const char *who,
                                  const char *why, struct errmsg *e)
{
    const char *const params[] = {who, version, why};
    return db_exec(d,
                   "INSERT INTO audit (who, what, object, detail) VALUES ($1, "
                   "'model promote incomplete', $2, jsonb_build_object('why', $3::text))",
                   3, params, NULL, e);
}

enum err registry_champion(struct db *d, char out_version[32], struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err =
        db_exec(d, "SELECT version FROM models WHERE state = 'champion'", 0, NULL, &rows, e);
    if (err == ERR_OK && db_rows_count(rows) == 0) {
        err = err_set(e, ERR_NOTFOUND, "no model of the registry is in service");
    }
    if (err == ERR_OK) {
        snprintf(out_version, 32, "%s", db_rows_text(rows, 0, 0));
    }
    db_rows_free(rows);
    return err;
}

enum err registry_commit(struct db *d, struct errmsg *e)
{
    return db_script(d, "COMMIT", e);
}

void registry_undo(struct db *d)
{
    enum err err = db_script(d, "ROLLBACK", NULL);
    (void)err; /* a lost connection rolls back by itself */
}
