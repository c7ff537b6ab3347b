/* The whole way in process, on one core: JSON messages of simulated cards to encoded decisions,
 * with a network of random weights (speed does not depend on their values).  Prints time by stage
 * and what a card and the busiest merchant cost in memory; then stretches without and with a
 * checkpoint of the state being written meanwhile (in $TMPDIR, by a child, as `score` does it), in
 * turns: what one costs, and how long a batch takes while it is written.  Last, with the columns of
 * each card's latest payments kept (state.inputs): what that costs, and what a challenger costs
 * that comes half way and is run over them as cards pay.
 *
 *   bench_pipeline [CARDS [DAYS]] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checkpoint.h"
#include "base/hash.h"
#include "base/latency.h"
#include "base/progress.h"
#include "daemon/pipeline.h"
#include "daemon/rates.h"
#include "daemon/simulate.h"
#include "model/model_format.h"
#include "tests/support/machine.h"
#include "tests/support/net_twin.h"
#include "tests/support/sim_messages.h"

#define BATCH SIM_MESSAGES_BATCH
#define BUDGET 100
#define TURNS 12      /* stretches, every second one with a checkpoint */
#define EVERY_US 60e6 /* state.every */
#define INPUTS 32

struct bench {
    struct sim_messages in;
    uint64_t records, bytes;
    struct latency *batch; /* NULL, or gets the time that passes in each batch */
};

static void die(const char *what)
{
    fprintf(stderr, "bench_pipeline: %s\n", what);
    exit(1);
}

static void count_record(void *ctx, const struct bus_record *r)
{
    struct bench *b = ctx;
    b->records++;
    b->bytes += r->value_len;
}

/* Messages [from, to) through a lane; returns nanoseconds. */
static uint64_t feed(struct bench *b, struct pipeline *p, struct lane *lane, size_t from, size_t to)
{
    static struct bus_message m[BATCH];
    uint64_t spent = 0;
    for (size_t i = from; i < to; i += BATCH) {
        size_t n = to - i < BATCH ? to - i : BATCH;
        sim_messages_batch(&b->in, i, n, m);
        uint64_t start = machine_thread_ns();
        int64_t from_us = progress_now_us();
        pipeline_messages(p, lane, m, NULL, n, 0);
        spent += machine_thread_ns() - start;
        if (b->batch != NULL) {
            latency_add(b->batch, (uint64_t)(progress_now_us() - from_us) * 1000);
        }
    }
    return spent;
}

static struct model *random_model(uint64_t seed, struct errmsg *e)
{
    struct net_shape shape;
    struct feature_params params;
    struct model *m = NULL;
    uint8_t *bytes = NULL;
    size_t len = 0;
    net_shape_default(&shape, FEAT_DIM, FEAT_DIM);
    feature_params_default(&params);
    struct train_result *r = twin_random(&shape, FEAT_DIM, 20, seed);
    const struct model_lineage l = {.schema_hash = feature_schema_hash(&params),
                                    .maturity_us = params.maturity_us,
                                    .blame_ratio = params.blame_ratio,
                                    .blame_tail = params.blame_tail,
                                    .rates_version = params.rates_version};
    if (model_pack(r, &l, &bytes, &len, e) != ERR_OK || model_load(bytes, len, &m, e) != ERR_OK) {
        die(e->text);
    }
    free(bytes);
    twin_free(r);
    return m;
}

static int by_size(const void *a, const void *b)
{
    size_t x = *(const size_t *)a;
    size_t y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

static void print_memory(const struct bench *b, const struct feat_world *world,
                         const struct lane *lane, uint32_t cards)
{
    const struct feat_state *s = lane_features(lane);
    size_t *size = calloc((size_t)cards * 4 + 1, sizeof *size);
    uint32_t *payments = calloc((size_t)cards * 4 + 1, sizeof *payments);
    size_t n = 0;
    uint32_t busiest = 0;
    char name[SIM_ID_MAX];
    if (size == NULL || payments == NULL) {
        die("no memory");
    }
    for (uint32_t c = 0; c < cards * 4; c++) {
        sim_card_id(c, name);
        size_t bytes = feat_card_bytes(s, hash_id(name, strlen(name)));
        if (bytes > 0) {
            size[n++] = bytes;
        }
    }
    for (size_t i = 0; i < b->in.n; i++) {
        uint32_t merchant = b->in.message[i].merchant;
        if (merchant < cards * 4 && ++payments[merchant] > payments[busiest]) {
            busiest = merchant;
        }
    }
    qsort(size, n, sizeof *size, by_size);
    sim_merchant_id(busiest, name);
    if (n > 0) {
        printf("state a card, latents and answers included: p50 %zu, p99 %zu, max %zu bytes; "
               "busiest merchant (%" PRIu32 " payments) %zu bytes\n",
               size[n / 2], size[n * 99 / 100], size[n - 1], payments[busiest],
               feat_place_bytes(world, hash_id(name, strlen(name))));
    }
    free(size);
    free(payments);
}

/* ---- while checkpoints are written ---- */

struct keeper {
    char dir[256];
    struct checkpoint *c;
    struct area area[2 * FEAT_AREAS_MAX];
    char name[FEAT_AREAS_MAX][CHECKPOINT_NAME_MAX + 1];
};

static size_t list_areas(struct keeper *k, const struct feat_world *world, const struct lane *lane)
{
    size_t n = feat_world_areas(world, k->area);
    size_t lanes = lane_areas(lane, k->area + n);
    for (size_t i = 0; i < lanes; i++) {
        snprintf(k->name[i], sizeof k->name[i], "lane.%.32s", k->area[n + i].name);
        k->area[n + i].name = k->name[i];
    }
    return n + lanes;
}

static void open_keeper(struct keeper *k, const struct feat_world *world, const struct lane *lane)
{
    const char *parent = getenv("TMPDIR");
    struct errmsg e;
    snprintf(k->dir, sizeof k->dir, "%s/bench-pipeline-XXXXXX", parent != NULL ? parent : "/tmp");
    if (mkdtemp(k->dir) == NULL) {
        die("cannot make a folder for checkpoints");
    }
    const struct checkpoint_conf c = {.disk = &DISK_REAL,
                                      .dir = k->dir,
                                      .stem = "bench",
                                      .increments_max = 20,
                                      .increments_share = 1,
                                      .nice = 10};
    size_t n = list_areas(k, world, lane);
    if (checkpoint_create(&c, k->area, n, &k->c, &e) != ERR_OK) {
        die(e.text);
    }
}

static void remove_one(void *arg, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    unlink(path);
}

static void close_keeper(struct keeper *k)
{
    checkpoint_free(k->c);
    (void)DISK_REAL.list(NULL, k->dir, remove_one, k->dir);
    rmdir(k->dir);
}

/* One stretch; returns the CPU time of the thread that scores, the fork included. */
static uint64_t stretch(struct bench *b, struct pipeline *p, struct lane *lane, size_t from,
                        size_t to, struct keeper *k, const struct feat_world *world)
{
    struct checkpoint_result r;
    struct errmsg e;
    uint64_t start = machine_thread_ns();
    if (k != NULL) {
        (void)list_areas(k, world, lane);
        if (checkpoint_begin(k->c, from, k->area, NULL, 0, &e) != ERR_OK) {
            die(e.text);
        }
    }
    uint64_t spent = machine_thread_ns() - start + feed(b, p, lane, from, to);
    if (k != NULL && checkpoint_wait(k->c, &r, &e) != CHECKPOINT_DONE) {
        die(e.text);
    }
    return spent;
}

static void run_turns(struct bench *b, struct pipeline *p, const struct feat_world *world,
                      struct lane *lane, size_t warm)
{
    static struct latency batch[2];
    struct keeper k = {.c = NULL};
    uint64_t spent[2] = {0, 0};
    size_t len = (b->in.n - warm) / TURNS;
    open_keeper(&k, world, lane);
    for (size_t t = 0; t < TURNS; t++) {
        size_t from = warm + t * len;
        b->batch = &batch[t % 2];
        spent[t % 2] += stretch(b, p, lane, from, from + len, t % 2 == 1 ? &k : NULL, world);
    }
    b->batch = NULL;
    close_keeper(&k);
    double ns[2] = {(double)spent[0] / (double)(len * TURNS / 2),
                    (double)spent[1] / (double)(len * TURNS / 2)};
    double one_us = (ns[1] - ns[0]) * (double)len / 1e3;
    printf(
        "in turns: %.0f ns a message without, %.0f with a checkpoint every %zu messages: one costs "
        "%.1f ms of the scoring thread, %.3f %% if there is one a minute\n",
        ns[0], ns[1], len, one_us / 1e3, one_us / EVERY_US * 100);
    for (int i = 0; i < 2; i++) {
        printf("  time of a batch of %d %s: p50 %.1f, p99 %.1f, p99.9 %.1f ms\n", BATCH,
               i == 0 ? "without" : "while one is written",
               (double)latency_quantile(&batch[i], .5) / 1e6,
               (double)latency_quantile(&batch[i], .99) / 1e6,
               (double)latency_quantile(&batch[i], .999) / 1e6);
    }
}

/* A challenger comes when the cards have their histories. */
static void run_arrival(struct bench *b, struct pipeline *p, struct lane *lane,
                        const struct pipeline_models *models, size_t warm)
{
    static struct latency batch[2];
    struct errmsg e;
    const size_t n = (b->in.n - warm) / 2;
    uint64_t spent[2];
    for (int i = 0; i < 2; i++) {
        if (i == 1 && pipeline_set_models(p, &lane, 1, models, &e) != ERR_OK) {
            die(e.text);
        }
        b->batch = &batch[i];
        spent[i] = feed(b, p, lane, warm + (size_t)i * n, warm + (size_t)(i + 1) * n);
    }
    b->batch = NULL;
    const uint64_t late = pipeline_counters(p)->caught_up;
    printf(
        "inputs of %d payments a card kept: %.0f ns a message; then a challenger comes: %.0f ns, "
        "%" PRIu64 " payments of before it run over\n",
        INPUTS, (double)spent[0] / (double)n, (double)spent[1] / (double)n, late);
    for (int i = 0; i < 2; i++) {
        printf("  time of a batch of %d %s: p50 %.1f, p99 %.1f, most %.1f ms\n", BATCH,
               i == 0 ? "before" : "from then on", (double)latency_quantile(&batch[i], .5) / 1e6,
               (double)latency_quantile(&batch[i], .99) / 1e6,
               (double)latency_quantile(&batch[i], 1) / 1e6);
    }
}

enum what { BY_STAGE, WHOLE, IN_TURNS, BY_STAGE_SHADOW, WHOLE_SHADOW, ARRIVAL };

static void run(struct bench *b, const struct model *const m[2], const struct rates *rates,
                enum what what, uint32_t cards)
{
    const bool by_stage = what == BY_STAGE || what == BY_STAGE_SHADOW;
    const bool shadow = what == BY_STAGE_SHADOW || what == WHOLE_SHADOW;
    struct pipeline_conf conf = {
        .model = m[0],
        .rates = rates,
        .threshold = {.budget = BUDGET, .burst = 1.5, .floor = 1, .decline = 2},
        .inputs = what == ARRIVAL ? INPUTS : 0,
        .log = {"bench", 5},
        .max_future_us = -1,
        .message_max = WIRE_MESSAGE_MAX};
    const struct pipeline_out out = {.ctx = b, .record = count_record};
    struct pipeline *p = NULL;
    struct feat_world *world = NULL;
    struct lane *lane = NULL;
    struct feat_world_limits limits;
    struct errmsg e;
    feature_params_default(&conf.params);
    feat_limits_default(&conf.limits);
    feat_world_limits_default(&limits);
    if (pipeline_create(&conf, &out, by_stage ? machine_thread_ns : NULL, &p, &e) != ERR_OK ||
        feat_world_create(&conf.params, &limits, &world, &e) != ERR_OK ||
        lane_create(p, world, 0, &lane, &e) != ERR_OK) {
        die(e.text);
    }
    const struct pipeline_models models = {m[0], shadow ? m[1] : NULL};
    if (pipeline_set_models(p, &lane, 1, &models, &e) != ERR_OK) {
        die(e.text);
    }
    size_t warm = b->in.n / 2;
    feed(b, p, lane, 0, warm);
    uint64_t records = b->records;
    uint64_t sum[STAGE_COUNT];
    uint64_t count[STAGE_COUNT];
    for (int s = 0; s < STAGE_COUNT; s++) {
        const struct latency *h = pipeline_stage_times(p, (enum pipeline_stage)s);
        sum[s] = h->sum_ns;
        count[s] = h->count;
    }
    if (what == ARRIVAL) {
        run_arrival(b, p, lane, &(const struct pipeline_models){m[0], m[1]}, warm);
        print_memory(b, world, lane, cards);
        goto out;
    }
    double ns =
        what == IN_TURNS ? 0 : (double)feed(b, p, lane, warm, b->in.n) / (double)(b->in.n - warm);
    if (what == IN_TURNS) {
        run_turns(b, p, world, lane, warm);
    } else if (by_stage) {
        for (int s = 0; s < STAGE_COUNT; s++) {
            const struct latency *h = pipeline_stage_times(p, (enum pipeline_stage)s);
            if (h->count == count[s]) {
                continue; /* no shadow */
            }
            printf("  %-10s %7.0f ns a message\n", PIPELINE_STAGE_NAMES[s],
                   (double)(h->sum_ns - sum[s]) / (double)(h->count - count[s]));
        }
    } else {
        printf("whole pipeline%s: %.0f ns a message, %.0f messages/s on one core; %" PRIu64
               " decisions and alerts of %.0f bytes\n",
               shadow ? ", a challenger in shadow" : "", ns, 1e9 / ns, b->records - records,
               (double)b->bytes / (double)b->records);
        print_memory(b, world, lane, cards);
    }
out:
    lane_free(lane);
    feat_world_free(world);
    pipeline_free(p);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct errmsg e;
    struct rates *rates = NULL;
    uint32_t cards = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 20000;
    uint32_t days = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 40;
    if (rates_create_default(&rates, &e) != ERR_OK) {
        die(e.text);
    }
    struct model *challenger = random_model(2, &e);
    struct model *champion = random_model(1, &e);
    const struct model *const m[2] = {champion, challenger};
    machine_print();
    sim_messages_make(&b.in, cards, days);
    printf("%zu messages of %.0f bytes, %" PRIu32 " cards, %" PRIu32
           " days; the second half is timed\n",
           b.in.n, (double)b.in.text_len / (double)b.in.n, cards, days);
    run(&b, m, rates, BY_STAGE, cards);
    run(&b, m, rates, WHOLE, cards);
    run(&b, m, rates, BY_STAGE_SHADOW, cards);
    run(&b, m, rates, WHOLE_SHADOW, cards);
    run(&b, m, rates, IN_TURNS, cards);
    run(&b, m, rates, ARRIVAL, cards);
    model_free(champion);
    model_free(challenger);
    rates_free(rates);
    sim_messages_done(&b.in);
    return 0;
}
