/* One model, or two side by side, on a stretch of history: replay through the pipeline that serves,
 * then figures by population and by segment.  Shown as text, as JSON (backtest_print.c) and as a
 * page (report.h).  One owner. */
#ifndef FD_DAEMON_BACKTEST_H
#define FD_DAEMON_BACKTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "daemon/evaluate.h"
#include "daemon/judged.h"
#include "daemon/past.h"
#include "daemon/pipeline.h"
#include "daemon/segments.h"
#include "model/model.h"

#define BACKTEST_SIDES 2 /* the model, and the one it is compared with */
#define BACKTEST_POPULATIONS 2
#define BACKTEST_SEGMENTS 24 /* with more, those with the fewest payments become "other" */

struct backtest_conf {
    const struct past *past; /* borrowed; labels of all of it are known */
    int64_t from_us;         /* first payment that counts */
    int64_t to_us;           /* end of it, not included */
    const char *input;       /* name of the history, borrowed */
    uint32_t rates_version;  /* of the table that converted the history's amounts */
    double budget;           /* alerts a day */
    bool leave_out_known;    /* the handbook's population too */
    int segment;             /* enum segment_kind, or -1 */
    struct evaluate_conf evaluate;
};

struct backtest_population {
    const char *name;  /* in JSON: "all" */
    const char *title; /* "all payments" */
    struct judged_set *set[BACKTEST_SIDES];
    struct figures figures[BACKTEST_SIDES];
};

struct backtest_segment {
    char name[SEGMENT_NAME_MAX];
    struct figures figures[BACKTEST_SIDES];
};

struct backtest {
    struct backtest_conf conf;
    size_t sides;
    const struct model *model[BACKTEST_SIDES]; /* borrowed */
    const char *file[BACKTEST_SIDES];          /* their names, borrowed */
    struct judged *judged[BACKTEST_SIDES];     /* [n] */
    size_t n;
    size_t unlabelled; /* of n: no verdict, counted as legitimate */
    size_t populations;
    struct backtest_population population[BACKTEST_POPULATIONS];
    size_t segments;
    struct backtest_segment segment[BACKTEST_SEGMENTS];
};

/* What a replay shows of each payment of the stretch, refunds and reversals too; id is not
 * terminated. */
typedef void (*backtest_visit)(void *ctx, const struct past_row *row, const char *id,
                               const struct scored *s);

void backtest_init(struct backtest *b, const struct backtest_conf *c);
void backtest_done(struct backtest *b);

/* Replays one more side (two at most).  m: borrowed; NULL writes columns only and adds no side.
 * file: the model's name, borrowed.  visit may be NULL.  Refunds and reversals are never alerted
 * and are not judged.
 * ERR_MISMATCH the sides did not judge the same payments, or the model has other columns or rates;
 * or as replay_run */
FD_MUSTCHECK enum err backtest_replay(struct backtest *b, const struct model *m, const char *file,
                                      backtest_visit visit, void *ctx, struct errmsg *e);

/* Fills populations and segments from what was replayed. */
FD_MUSTCHECK enum err backtest_measure(struct backtest *b, struct errmsg *e);

void backtest_print(const struct backtest *b, FILE *f);
void backtest_print_json(const struct backtest *b, FILE *f);

/* "AUC", "CP@100": the figure's name for people. */
#define BACKTEST_TEXT_MAX 32
void backtest_figure_text(const struct figures *g, enum figure f, char out[BACKTEST_TEXT_MAX]);
/* A JSON object of a model's figures with their intervals. */
void backtest_json_figures(FILE *f, const struct figures *g);

#endif
