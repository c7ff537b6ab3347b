#include "daemon/past.h"

#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/row_csv.h"

#define ROOM_MIN ((size_t)1 << 18) /* bytes that an array grows by at least */

/* Room for `more` bytes after the first `used`; an array grows by a quarter at a time. */
static enum err make_room(struct past *p, struct scratch_array *a, size_t used, size_t more,
                          struct errmsg *e)
{
    if (used + more <= a->size_bytes) {
        return ERR_OK;
    }
    enum err err =
        scratch_grow(p->scratch, a, used + more + (used / 4 > ROOM_MIN ? used / 4 : ROOM_MIN), e);
    return err == ERR_OK ? err : err_prefix(e, err, "cannot hold more than %zu payments", p->n);
}

enum err past_add(struct past *p, const struct tx *t, struct slice id, bool has_label, bool fraud,
                  int64_t known_us, struct errmsg *e)
{
    size_t text = p->without_ids ? 0 : id.len;
    enum err err = make_room(p, &p->row_array, p->n * sizeof *p->rows, sizeof *p->rows, e);
    if (err == ERR_OK) {
        err = make_room(p, &p->text_array, p->text_len, text, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    p->rows = p->row_array.base;
    if (text > 0) {
        memcpy((char *)p->text_array.base + p->text_len, id.at, text);
    }
    p->rows[p->n] = (struct past_row){.tx = *t,
                                      .id_at = p->without_ids ? p->n : p->text_len,
                                      .known_us = has_label ? known_us : INT64_MAX,
                                      .id_len = (uint16_t)text,
                                      .fraud = has_label && fraud};
    p->n++;
    p->text_len += text;
    return ERR_OK;
}

static enum err read_rows(struct past *p, struct row_csv *r, int64_t until_us,
                          int64_t label_delay_us, struct errmsg *e)
{
    struct progress progress;
    struct row row;
    enum err err = ERR_OK;
    size_t seen = 0;
    progress_begin(&progress, "reading history", 1);
    while ((err = row_csv_next(r, &row, e)) == ERR_OK) {
        if (++seen % 4096 == 0) {
            progress_update(&progress, csv_share(r->csv), NULL);
        }
        if (row.tx.event_us >= until_us) {
            continue;
        }
        int64_t known = row.label_us != 0 ? row.label_us : row.tx.event_us + label_delay_us;
        err = past_add(p, &row.tx, row.strings.id, row.has_label, row.fraud, known, e);
        if (err != ERR_OK) {
            return err;
        }
    }
    progress_end(&progress, 1);
    return err == ERR_END ? ERR_OK : err;
}

enum err past_read_csv(struct past *p, const char *path, const struct rates *rates,
                       int64_t until_us, int64_t label_delay_us, bool need_label, struct errmsg *e)
{
    struct csv *csv = NULL;
    struct row_csv r;
    enum err err = csv_open(path, &csv, e);
    if (err == ERR_OK) {
        err = row_csv_init(&r, csv, rates, need_label, e);
    }
    if (err == ERR_OK) {
        err = read_rows(p, &r, until_us, label_delay_us, e);
    }
    csv_close(csv);
    if (err == ERR_OK) {
        past_sort(p);
    }
    return err;
}

static int by_time(const void *a, const void *b)
{
    const struct past_row *x = a;
    const struct past_row *y = b;
    if (x->tx.event_us != y->tx.event_us) {
        return x->tx.event_us < y->tx.event_us ? -1 : 1;
    }
    /* text is appended in order of arrival */
    return x->id_at < y->id_at ? -1 : x->id_at > y->id_at;
}

void past_sort(struct past *p)
{
    bool sorted = true;
    for (size_t i = 1; i < p->n && sorted; i++) {
        sorted = p->rows[i - 1].tx.event_us <= p->rows[i].tx.event_us;
    }
    if (!sorted) {
        qsort(p->rows, p->n, sizeof *p->rows, by_time);
    }
    p->sorted = true;
}

static int by_card(const void *a, const void *b, void *ctx)
{
    const struct past_row *rows = ctx;
    const uint32_t i = *(const uint32_t *)a;
    const uint32_t k = *(const uint32_t *)b;
    uint64_t x = rows[i].tx.card;
    uint64_t y = rows[k].tx.card;
    if (x != y) {
        return x < y ? -1 : 1;
    }
    return i < k ? -1 : i > k; /* the rows are in order of time */
}

void past_order(const struct past *p, uint32_t *out)
{
    for (size_t i = 0; i < p->n; i++) {
        out[i] = (uint32_t)i;
    }
    qsort_r(out, p->n, sizeof *out, by_card, p->rows);
}

void past_done(struct past *p)
{
    scratch_free(p->scratch, &p->row_array);
    scratch_free(p->scratch, &p->text_array);
    memset(p, 0, sizeof *p);
}

size_t past_find(const struct past *p, int64_t at_us)
{
    size_t low = 0;
    size_t high = p->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->rows[middle].tx.event_us < at_us) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
