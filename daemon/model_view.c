#include "daemon/model_view.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/notice.h"
#include "features/schema.h"
#include "model/model_format.h"

#define STATE_MAX_BYTES ((size_t)1 << 30)
#define FIELDS_MAX 48

/* Loads the bytes and holds model and state together. */
static enum err check(struct model_view *v, struct errmsg *e)
{
    struct train_result state;
    uint64_t of_model = 0;
    enum err err = model_load(v->bytes.model, v->bytes.model_len, &v->model, e);
    if (err != ERR_OK || v->bytes.state == NULL) {
        return err;
    }
    err = train_state_load(v->bytes.state, v->bytes.state_len, &state, &of_model, e);
    if (err != ERR_OK) {
        return err_prefix(e, err, "training state");
    }
    train_result_done(&state);
    if (of_model != model_hash(v->model)) {
        return err_set(e, ERR_MISMATCH,
                       "the training state belongs to model %016" PRIx64
                       ", this one is %016" PRIx64,
                       of_model, model_hash(v->model));
    }
    return ERR_OK;
}

enum err model_view_file(const char *path, struct model_view *out, struct errmsg *e)
{
    struct model_view v = {0};
    char state[PATH_MAX];
    struct errmsg none = {""};
    if ((size_t)snprintf(state, sizeof state, "%s.state", path) >= sizeof state) {
        return err_set(e, ERR_INVALID, "the path %.60s.. is too long", path);
    }
    enum err err = file_read(path, NOTICE_MODEL_MAX, &v.bytes.model, &v.bytes.model_len, e);
    if (err == ERR_OK) {
        err = file_read(state, STATE_MAX_BYTES, &v.bytes.state, &v.bytes.state_len, &none);
        if (err == ERR_NOTFOUND) {
            err = ERR_OK;
        } else if (err != ERR_OK) {
            err = err_set(e, err, "%s", none.text);
        }
    }
    if (err == ERR_OK) {
        err = check(&v, e);
        if (err != ERR_OK) {
            err = err_prefix(e, err, "%s", path);
        }
    }
    if (err != ERR_OK) {
        model_view_done(&v);
        return err;
    }
    *out = v;
    return ERR_OK;
}

enum err model_view_registry(struct db *d, const char *version, struct model_view *out,
                             struct errmsg *e)
{
    struct model_view v = {0};
    enum err err = registry_read(d, version, &v.bytes, e);
    if (err == ERR_OK) {
        err = check(&v, e);
        if (err != ERR_OK) {
            err = err_prefix(e, err, "model %s of the registry", version);
        }
    }
    if (err != ERR_OK) {
        model_view_done(&v);
        return err;
    }
    *out = v;
    return ERR_OK;
}

void model_view_done(struct model_view *v)
{
    model_free(v->model);
    v->model = NULL;
    registry_bytes_done(&v->bytes);
}

static uint64_t schema_here(const struct model_lineage *l)
{
    const struct feature_params p = {l->maturity_us, l->blame_ratio, l->blame_tail,
                                     l->rates_version};
    return feature_schema_hash(&p);
}

enum err model_view_check_schema(const struct model_view *v, struct errmsg *e)
{
    const struct model_lineage *l = model_lineage(v->model);
    if (schema_here(l) == l->schema_hash) {
        return ERR_OK;
    }
    return err_set(e, ERR_MISMATCH,
                   "model %s was trained on feature schema %016" PRIx64
                   ", this program has %016" PRIx64 "; train it anew",
                   l->version, l->schema_hash, schema_here(l));
}

/* Fields and the memory of their texts. */
struct page {
    struct table_field field[FIELDS_MAX];
    char text[FIELDS_MAX][64];
    int n;
};

static void put(struct page *p, const char *name, int kind, const char *fmt, ...) FD_PRINTF(4, 5);
static void put(struct page *p, const char *name, int kind, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(p->text[p->n], sizeof p->text[0], fmt, args);
    va_end(args);
    p->field[p->n] =
        (struct table_field){name, p->text[p->n][0] != '\0' ? p->text[p->n] : NULL, (unsigned)kind};
    p->n++;
}

static void put_time(struct page *p, const char *name, int64_t us)
{
    char text[TIME_TEXT_MAX];
    time_format(text, us);
    put(p, name, TABLE_TEXT, "%s", text);
}

static void put_measure(struct page *p, const char *name, double v)
{
    put(p, name, TABLE_NUMBER, isfinite(v) ? "%.4f" : "", v);
}

static void put_lineage(struct page *p, const struct model_lineage *l)
{
    char maturity[TIME_TEXT_MAX];
    duration_format(maturity, l->maturity_us);
    put(p, "version", TABLE_TEXT, "%s", l->version);
    put(p, "parent", TABLE_TEXT, "%s", l->parent);
    put_time(p, "data_from", l->data_from_us);
    put_time(p, "data_until", l->data_until_us);
    put(p, "rows", TABLE_NUMBER, "%" PRIu64, l->rows);
    put(p, "frauds", TABLE_NUMBER, "%" PRIu64, l->frauds);
    put(p, "rows_hash", TABLE_TEXT, "%016" PRIx64, l->rows_hash);
    put(p, "seed", TABLE_NUMBER, "%" PRIu64, l->seed);
    put_measure(p, "held_out_auc", l->holdout_auc);
    put_measure(p, "held_out_ap", l->holdout_ap);
    put_measure(p, "held_out_brier", l->holdout_brier);
    put(p, "schema", TABLE_TEXT, "%016" PRIx64, l->schema_hash);
    put(p, "schema_is_ours", TABLE_BOOL, "%s", schema_here(l) == l->schema_hash ? "true" : "false");
    put(p, "maturity", TABLE_TEXT, "%s", maturity);
    put(p, "blame_ratio", TABLE_NUMBER, "%g", (double)l->blame_ratio);
    put(p, "blame_tail", TABLE_NUMBER, "%g", (double)l->blame_tail);
    put(p, "rates_version", TABLE_NUMBER, "%" PRIu32, l->rates_version);
    put(p, "code", TABLE_TEXT, "%s", l->code_version);
    put(p, "blas_core", TABLE_TEXT, "%s", l->blas_core);
}

static void put_sizes(struct page *p, const struct model_view *v)
{
    const struct net_shape *s = model_shape(v->model);
    put(p, "hash", TABLE_TEXT, "%016" PRIx64, model_hash(v->model));
    put(p, "bytes", TABLE_NUMBER, "%zu", v->bytes.model_len);
    put(p, "state_bytes", TABLE_NUMBER, "%zu", v->bytes.state_len);
    put(p, "cache_bytes_a_card", TABLE_NUMBER, "%zu", model_cache_bytes(v->model));
    put(p, "columns", TABLE_NUMBER, "%" PRIu32, s->columns);
    put(p, "bins", TABLE_NUMBER, "%" PRIu32, s->bins);
    put(p, "width", TABLE_NUMBER, "%" PRIu32, s->width);
    put(p, "layers", TABLE_NUMBER, "%" PRIu32, s->layers);
    put(p, "heads", TABLE_TEXT, "%" PRIu32 " of %" PRIu32 " + %" PRIu32 " rotary", s->heads,
        s->head_dim, s->rope);
    put(p, "latent", TABLE_NUMBER, "%" PRIu32, s->rank);
    put(p, "experts", TABLE_TEXT,
        "%" PRIu32 " of %" PRIu32 ", %" PRIu32 " used, one of %" PRIu32 " shared", s->experts,
        s->expert_hidden, s->top, s->shared_hidden);
    put(p, "window", TABLE_NUMBER, "%" PRIu32, s->window);
}

/* Columns that were the same in every training row: the model cannot use them.  As JSON, or by
 * blanks. */
static void list_constant(const struct net_encoding *en, bool json, char *out, size_t size)
{
    size_t at = 0;
    size_t found = 0;
    for (uint32_t c = 0; c < en->columns && c < FEAT_DIM && at < size; c++) {
        if (!(fabsf(en->inv_sd[c]) > 0)) {
            const char *before = found > 0 ? (json ? ", " : " ") : (json ? "[" : "");
            const char *quote = json ? "\"" : "";
            at += (size_t)snprintf(out + at, size - at, "%s%s%s%s", before, quote,
                                   feature_info(c)->name, quote);
            found++;
        }
    }
    if (at < size) {
        snprintf(out + at, size - at, "%s",
                 json        ? (found > 0 ? "]" : "[]")
                 : found > 0 ? ""
                             : "none");
    }
}

void model_view_print(FILE *f, const struct model_view *v, const struct db_rows *row,
                      enum table_form form)
{
    struct page p = {.n = 0};
    char constant[FEAT_DIM * 40];
    put_lineage(&p, model_lineage(v->model));
    for (int c = 0; row != NULL && c < db_rows_columns(row); c++) {
        p.field[p.n++] =
            (struct table_field){db_rows_name(row, c), db_rows_text(row, 0, c), TABLE_TEXT};
    }
    put_sizes(&p, v);
    list_constant(model_encoding(v->model), form == TABLE_JSON, constant, sizeof constant);
    p.field[p.n++] = (struct table_field){"columns_without_variance", constant,
                                          form == TABLE_JSON ? TABLE_RAW : TABLE_TEXT};
    table_print_fields(f, p.field, p.n, form, false);
}
