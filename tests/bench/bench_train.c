/* Speed of training: events a second of the passes over a history, and the most memory held.
 *
 *   bench_train HISTORY UNTIL [EPOCHS] [THREADS] [DIR]
 *
 * Rows, constants and bins are written to DIR for tests/bench/train_torch.py, which trains the same
 * network in PyTorch (train_speed.sh runs both).  Without arguments it says so and ends. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "tests/support/history.h"

#define WARMUP_DAYS 30 /* of `train`: first stretch of the history with weight zero */

struct clocks {
    double wall_s, cpu_s; /* all threads' */
};

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct clocks clocks_now(void)
{
    return (struct clocks){seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

struct watch {
    uint64_t events[2]; /* after the first and the latest step */
    struct clocks at[2];
    double loss;
};

static int on_step(void *ctx, const struct train_progress *p)
{
    struct watch *w = ctx;
    int i = p->step > 1;
    w->events[i] = p->events;
    w->at[i] = clocks_now();
    w->loss = p->loss;
    return 0;
}

static void write_array(const char *dir, const char *name, const void *bytes, size_t len)
{
    char path[4096];
    struct errmsg e;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    history_check(file_write(path, bytes, len, &e), &e);
}

static void write_rows(const char *dir, const struct train_rows *r, const struct net_encoding *en)
{
    size_t d = r->columns;
    write_array(dir, "x.f32", r->x, r->n * d * sizeof *r->x);
    write_array(dir, "event_us.i64", r->event_us, r->n * sizeof *r->event_us);
    write_array(dir, "card.u32", r->card, r->n * sizeof *r->card);
    write_array(dir, "label.u8", r->label, r->n);
    write_array(dir, "weight.f32", r->weight, r->n * sizeof *r->weight);
    write_array(dir, "mean.f32", en->mean, d * sizeof *en->mean);
    write_array(dir, "inv_sd.f32", en->inv_sd, d * sizeof *en->inv_sd);
    write_array(dir, "first_row.u32", en->first_row, (d + 1) * sizeof *en->first_row);
    write_array(dir, "edges.f32", en->edges, (en->first_row[d] - d) * sizeof *en->edges);
}

static void print_speed(const struct watch *w, const struct train_conf *c)
{
    struct rusage use;
    double events = (double)(w->events[1] - w->events[0]);
    double wall = w->at[1].wall_s - w->at[0].wall_s;
    double cpu = w->at[1].cpu_s - w->at[0].cpu_s;
    getrusage(RUSAGE_SELF, &use);
    printf("fraudd   %u threads: %.0f events in %.1f s, %.0f events/s (%.1f s of CPU, %.2f us an "
           "event); loss %.4f; peak memory %.2f GiB\n",
           c->threads, events, wall, events / wall, cpu, cpu / events * 1e6, w->loss,
           (double)use.ru_maxrss / (1 << 20));
}

static void run(int argc, char **argv)
{
    struct history h;
    struct train_conf c;
    struct train_result r;
    struct watch w = {{0}, {{0, 0}, {0, 0}}, 0};
    struct feature_params params;
    struct errmsg e;
    feature_params_default(&params);
    train_conf_default(&c);
    history_read(&h, argv[1], history_date(argv[2]), INT64_MIN, params);
    for (size_t i = 0; i < h.past.n; i++) {
        int64_t first_us = h.past.rows[0].tx.event_us;
        h.weight[i] = h.event_us[i] < first_us + WARMUP_DAYS * TIME_DAY ? 0 : h.weight[i];
    }
    const struct train_rows rows = history_rows(&h);
    c.epochs = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 1;
    c.threads =
        argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    c.final_fit = false;
    c.holdout_from_us = INT64_MAX;
    history_check(train_run(&c, &rows, on_step, &w, &r, &e), &e);
    print_speed(&w, &c);
    if (argc > 5) {
        write_rows(argv[5], &rows, &r.encoding);
    }
    train_result_done(&r);
    history_done(&h);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        printf("needs a history: %s HISTORY UNTIL [EPOCHS] [THREADS] [DIR]\n", argv[0]);
        return 0;
    }
    train_blas_suit(argv);
    run(argc, argv);
    return 0;
}
