#include "storage/outbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "outbox" in ASCII */
#define LOCK "122550254464888"

enum err outbox_lock(struct db *d, bool *out_ours, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = db_exec(d, "SELECT pg_try_advisory_lock(" LOCK ")", 0, NULL, &rows, e);
    if (err == ERR_OK) {
        *out_ours = db_rows_text(rows, 0, 0)[0] == 't';
    }
    db_rows_free(rows);
    return err;
}

enum err outbox_read(struct db *d, int64_t max, struct db_rows **out, struct errmsg *e)
{
    char limit[24];
    snprintf(limit, sizeof limit, "%" PRId64, max);
    const char *const params[] = {limit};
    return db_exec(d,
                   "SELECT id, body ->> 'card', body FROM label_outbox ORDER BY id "
                   "LIMIT $1::bigint",
                   1, params, out, e);
}

/* By their ids, not "up to the last": a smaller id may have become visible since. */
enum err outbox_remove(struct db *d, const struct db_rows *rows, struct errmsg *e)
{
    int n = db_rows_count(rows);
    size_t size = (size_t)n * 24 + 3;
    size_t len = 0;
    char *ids = malloc(size);
    if (ids == NULL) {
        return err_set(e, ERR_NOMEM, "cannot name %d published labels: no memory", n);
    }
    for (int i = 0; i < n; i++) {
        len += (size_t)snprintf(ids + len, size - len, "%c%s", i == 0 ? '{' : ',',
                                db_rows_text(rows, i, 0));
    }
    snprintf(ids + len, size - len, "%s", n == 0 ? "{}" : "}");
    const char *const params[] = {ids};
    enum err err =
        db_exec(d, "DELETE FROM label_outbox WHERE id = ANY ($1::bigint[])", 1, params, NULL, e);
    free(ids);
    return err;
}
