/* The analysts' side of a demo: the most urgent alerts are claimed and judged, and their labels
 * come back to `score` and PostgreSQL by the labels topic. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/demo.h"
#include "storage/queue.h"

#define ANALYST "ana"
#define CLAIMED 3
#define LEASE_US (15 * TIME_MIN)

/* What the simulator knows of a payment, and an analyst finds out by calling the card's owner. */
static enum sim_pattern truth_of(const struct demo_data *d, const char *tx_id)
{
    size_t row = demo_data_row(d, tx_id);
    return row < d->n ? (enum sim_pattern)d->rows[row].pattern : SIM_LEGITIMATE;
}

static enum err judge_all(const struct demo_stream *s, const struct db_rows *rows, struct errmsg *e)
{
    enum err err = ERR_OK;
    for (int i = 0; i < db_rows_count(rows) && err == ERR_OK; i++) {
        const char *alert = db_rows_text(rows, i, 0);
        enum sim_pattern truth = truth_of(s->data, db_rows_text(rows, i, 4));
        const char *verdict = truth == SIM_LEGITIMATE ? "legitimate" : "fraud";
        err = queue_resolve(s->servers->db, alert, ANALYST, verdict, "called the card's owner",
                            false, e);
        printf("  %-18s %s  %14s  probability %s  resolved as %s%s%s%s\n", alert,
               db_rows_text(rows, i, 3), db_rows_text(rows, i, 5), db_rows_text(rows, i, 6),
               verdict, truth != SIM_LEGITIMATE ? " (" : "", sim_pattern_name(truth),
               truth != SIM_LEGITIMATE ? ")" : "");
    }
    return err;
}

/* Waits until the labels of the verdicts are stored as they came by their topic. */
static enum err await_labels(struct demo_stream *s, uint64_t wanted, struct errmsg *e)
{
    int64_t start_us = progress_now_us();
    enum err err = ERR_OK;
    s->changed_us = start_us;
    while (err == ERR_OK && s->stored_labels < (int64_t)wanted) {
        err = demo_stream_look(s, e);
    }
    if (err == ERR_OK) {
        printf("  %" PRIu64 " labels of source analysts came back by the labels topic, %.1f s\n",
               wanted - s->labels, (double)(progress_now_us() - start_us) / 1e6);
        s->labels = wanted;
    }
    return err;
}

enum err demo_analyst_run(struct demo_stream *s, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = queue_claim(s->servers->db, ANALYST, CLAIMED, LEASE_US, &rows, e);
    if (err != ERR_OK) {
        return err;
    }
    int n = db_rows_count(rows);
    printf("\nQueue: %s claims the %d most urgent alerts (by expected loss and age)\n", ANALYST, n);
    err = judge_all(s, rows, e);
    db_rows_free(rows);
    return err == ERR_OK ? await_labels(s, s->labels + (uint64_t)n, e) : err;
}
