/* The model's update in a demo: what has matured meanwhile is learnt, the new model enters the
 * registry, scores beside the champion, and then takes its place between two payments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/demo.h"
#include "daemon/promotion.h"

#define LOOK_PATIENCE_US (30 * TIME_S)
#define COMPLETE .999 /* as promote.complete */

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

/* Waits until `score` has looked at all its cards, and says how the two compare. */
static enum err print_comparison(const struct demo_stream *s, const char *version, struct errmsg *e)
{
    const int64_t until_us = progress_now_us() + LOOK_PATIENCE_US;
    char words[PROMOTION_TEXT_MAX];
    struct promotion_figures f;
    char *text = NULL;
    int pages = 0;
    enum err err = ERR_REFUSED;
    while (err == ERR_REFUSED && progress_now_us() < until_us) {
        free(text);
        err = promotion_pages(s->servers->page, &text, &pages, e);
        if (err == ERR_OK) {
            err = promotion_judge(text, pages, 1, version, COMPLETE, e);
        }
        if (err == ERR_REFUSED) {
            const struct timespec pause = {0, 100000000};
            nanosleep(&pause, NULL);
        }
    }
    if (err == ERR_OK) {
        promotion_figures(text, &f);
        printf("  in shadow: %s\n", promotion_figures_text(&f, words));
    }
    free(text);
    return err;
}

/* In shadow, compared, promoted. */
static enum err bring_into_service(struct demo_stream *s, const char *path, const char *version,
                                   struct errmsg *e)
{
    enum err err = demo_model_run(s->servers, "import", path, e);
    if (err == ERR_OK) {
        err = demo_model_run(s->servers, "shadow", version, e);
    }
    if (err == ERR_OK) {
        err = demo_stream_half(s, e);
    }
    if (err == ERR_OK) {
        err = print_comparison(s, version, e);
    }
    return err == ERR_OK ? demo_model_run(s->servers, "promote", version, e) : err;
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
        err = bring_into_service(s, path, learnt.version, e);
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
