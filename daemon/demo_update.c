/* The model's update in a demo: what has matured meanwhile is learnt, the new model enters the
 * registry and goes out by the notices topic, and `score` takes it over between two payments. */
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/demo.h"

/* Decisions of the payments after the update, by the model that made them. */
static enum err print_models(const struct demo_stream *s, struct errmsg *e)
{
    char from[TIME_TEXT_MAX];
    struct db_rows *rows = NULL;
    time_format(from, s->plan->update_us);
    const char *const params[] = {from};
    enum err err = db_exec(s->servers->db,
                           "SELECT model, count(*) FROM decisions WHERE event_time >= "
                           "$1::timestamptz AND NOT repeated GROUP BY model "
                           "ORDER BY min(log_offset)",
                           1, params, &rows, e);
    if (err != ERR_OK) {
        return err;
    }
    printf("  promoted by the notices topic while score ran; the last day's decisions:");
    for (int i = 0; i < db_rows_count(rows); i++) {
        printf("%s %s by %s", i > 0 ? "," : "", db_rows_text(rows, i, 1), db_rows_text(rows, i, 0));
    }
    printf("\n");
    db_rows_free(rows);
    return ERR_OK;
}

enum err demo_update_run(struct demo_stream *s, struct errmsg *e)
{
    const struct demo_plan *p = s->plan;
    int64_t until_us = p->update_us - DEMO_MATURITY_DAYS * TIME_DAY;
    int64_t start_us = progress_now_us();
    char path[300];
    char number[DEMO_NUMBER_MAX];
    char days[DEMO_DAYS_MAX];
    struct learnt learnt = {0};
    /* without the second fit: an update is a week's news, and a demo has minutes */
    const struct demo_lesson lesson = {until_us, p->update_us, false, path};
    snprintf(path, sizeof path, "%s/update.fraudd", s->servers->folder);
    enum err err = demo_data_learn(p, s->data, &lesson, &learnt, e);
    if (err == ERR_OK) {
        printf("\nUpdate (%.1f s)\n  model %s from %s payments, %s; held-out week: AUC %.3f, "
               "AP %.3f\n",
               (double)(progress_now_us() - start_us) / 1e6, learnt.version,
               demo_number(number, learnt.rows), demo_days(days, p->sim.start_us, until_us),
               learnt.holdout_auc, learnt.holdout_ap);
        err = demo_model_promote(s->servers, path, learnt.version, e);
    }
    if (err == ERR_OK) {
        err = demo_stream_rest(s, e);
    }
    if (err == ERR_OK) {
        err = print_models(s, e);
    }
    learnt_done(&learnt);
    return err;
}
