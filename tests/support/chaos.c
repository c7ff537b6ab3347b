#include "tests/support/chaos.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "daemon/score_private.h"
#include "tests/support/chaos_private.h"
#include "tests/support/random_model.h"

#define REST_ROUNDS 600 /* turns after which all must be decided; most seeds need about 20 */

int64_t chaos_now_us;

static struct chaos_file files[FILES];
static struct bus_mem *notices; /* [MODELS + CONTROLS] one message each */

void chaos_open(void)
{
    /* tables are mapped anew a thousand times a second, and little of them is touched */
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    (void)scorer_setup(NULL);
    for (size_t i = 0; i < FILES; i++) {
        struct errmsg e;
        files[i].bytes = random_model_bytes(24 + i, i == 0 ? "file" : "newer", 0, &files[i].len);
        if (model_load(files[i].bytes, files[i].len, &files[i].model, &e) != ERR_OK) {
            abort();
        }
    }
    notices = bus_mem_create();
    scorer_append_model(notices, 21, "first", 0);
    scorer_append_model(notices, 22, "second", 0);
    scorer_append_model(notices, 23, "alien", 4711); /* of another schema: refused */
    scorer_append_shadow(notices, 21, "first");
    scorer_append_shadow(notices, 22, "second");
    scorer_append_end(notices, 21, "first");
    scorer_append_control(notices, "add\tblock\tcard\tc0\nadd\tblock\tcard\tc1\n");
    scorer_append_control(notices, "remove\tblock\tcard\tc0\nadd\tallow\tmerchant\tm1\n");
    scorer_append_control(notices, "until\t2026-01-01T06:00:00Z\nadd\twatch\tcard\tc2\n");
    scorer_append_control(notices, "mode\tobserve\n");
    scorer_append_control(notices, "mode\tlive\n");
    scorer_append_control(notices, "mode\tkill\n");
}

void chaos_close(void)
{
    bus_mem_free(notices);
    for (size_t i = 0; i < FILES; i++) {
        free(files[i].bytes);
        model_free(files[i].model);
    }
    (void)scorer_teardown(NULL);
}

const struct mem_record *chaos_notice(size_t i)
{
    return bus_mem_record(notices, TOPIC_NOTICES, 0, i);
}

const struct chaos_file *chaos_file(size_t i)
{
    return &files[i];
}

void chaos_fail(struct chaos *s, const char *fmt, ...)
{
    if (!s->failed) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(s->why, s->why_size, fmt, args);
        va_end(args);
        chaos_trace(s, "FAILED: %s", s->why);
    }
    s->failed = true;
}

void chaos_trace(const struct chaos *s, const char *fmt, ...)
{
    if (s->trace) {
        va_list args;
        va_start(args, fmt);
        printf("%*s", 2 * s->depth, "");
        vprintf(fmt, args);
        va_end(args);
        printf("\n");
        fflush(stdout);
    }
}

bool chaos_one_in(struct chaos *s, uint64_t n)
{
    return rng_below(&s->r, n) == 0;
}

static int64_t now_us(void)
{
    return chaos_now_us;
}

/* Offsets that no log has any more. */
static void begin_late(struct chaos *s, enum bus_topic topic, int32_t partition, int64_t begin)
{
    char none[] = "";
    const struct mem_record nothing = {.value = none, .lost = true};
    for (int64_t i = 0; i < begin; i++) {
        bus_mem_append_copy(s->m, topic, partition, &nothing);
    }
    bus_mem_trim(s->m, topic, partition, begin);
}

static void plant_in(struct made_message *m, const char *members)
{
    char *value = NULL;
    int n = asprintf(&value, "{%s%s", members, m->value + 1);
    if (n < 0) {
        abort();
    }
    free(m->value);
    m->value = value;
    m->value_len = (size_t)n;
    m->reason = DEAD_CRASH;
}

/* Puts a fault of the program into a payment and its repeats. */
static void plant(struct chaos *s, int64_t which)
{
    static const char *const PLANTS[] = {"\"plant\":\"admit\",", "\"plant\":\"execute\",",
                                         "\"plant\":\"follow\",\"mcc\":\"9998\","};
    const char *members = PLANTS[rng_below(&s->r, 3)];
    struct made_message *m = s->all.m;
    if (m[which].reason != DEAD_NONE || m[which].of >= 0 ||
        strstr(m[which].value, "\"mcc\"") != NULL) {
        return;
    }
    for (int64_t i = which; i < (int64_t)s->all.n; i++) {
        if (i == which || m[i].of == which) {
            plant_in(&m[i], members);
        }
    }
}

static void draw_world(struct chaos *s)
{
    struct rng *r = &s->r;
    s->conf = scorer_conf();
    s->conf.now_us = now_us;
    s->conf.world.verdict_max = 1000;
    s->conf.world.bytes_max = (size_t)64 << 20;
    s->conf.pipeline.inputs = s->seed % 3 == 0 ? 1 + s->seed % 40 : 0;
    s->conf.world.place_max = 64 + rng_below(r, 200);
    s->conf.pipeline.threshold.budget = 1 + (double)rng_below(r, 20);
    s->partitions = 1 + (int32_t)rng_below(r, PARTITIONS_MAX);
    s->member_count = 1 + (int)rng_below(r, MEMBERS);
    s->journal = rng_below(r, 3);
    s->weak = chaos_one_in(s, 6);
    s->keeps = !chaos_one_in(s, 3);
    s->keep_every_us = chaos_one_in(s, 2) ? 0 : TIME_S;
    if (s->weak && chaos_one_in(s, 2)) { /* the payments are 40 days old */
        s->conf.warm_us = 40 * TIME_DAY - (int64_t)rng_below(r, 7200) * TIME_S;
    }
    const bool late = chaos_one_in(s, 3);
    for (int32_t p = 0; late && p < s->partitions; p++) {
        s->begin[p] = (int64_t)rng_below(r, 9);
        begin_late(s, TOPIC_TRANSACTIONS, p, s->begin[p]);
    }
    for (int t = TOPIC_TRANSACTIONS; late && t < TOPIC_COUNT; t++) {
        if (t == TOPIC_LABELS || t == TOPIC_NOTICES || t == TOPIC_JOURNAL) {
            begin_late(s, (enum bus_topic)t, 0, (int64_t)rng_below(r, 9));
        }
    }
    s->cards = 3 + (uint32_t)rng_below(r, 20);
    s->all = messages_make(rng_next(r), 16 + rng_below(r, MESSAGES_MAX - 16), s->cards, true, true);
    while (chaos_one_in(s, 3)) {
        plant(s, (int64_t)rng_below(r, s->all.n));
    }
    for (size_t i = 0; i < s->all.n; i++) {
        if (chaos_one_in(s, 10)) { /* from the future, but not all processes take it as too far */
            s->all.m[i].timestamp_us -= (int64_t)rng_below(r, 400) * TIME_S;
        }
    }
    chaos_trace(s, "partitions %d members %d journal %d weak %d messages %zu cards %u",
                (int)s->partitions, s->member_count, (int)s->journal, s->weak, s->all.n, s->cards);
}

/* A label with a fault in it has ended whom it ends by then. */
static bool all_labels_read(const struct chaos *s)
{
    const struct member *one = &s->member[0];
    return one->life == RUNS &&
           one->process.score->labels.next == (int64_t)bus_mem_size(s->m, TOPIC_LABELS, 0);
}

/* Faults are over: all must be decided. */
static void come_to_rest(struct chaos *s)
{
    chaos_calm(s);
    for (int i = 0; i < REST_ROUNDS && !s->failed; i++) {
        chaos_now_us += TIME_S;
        if (s->member[0].life == GONE) { /* it may have given up only now */
            chaos_start(s, &s->member[0]);
        }
        chaos_coordinate(s);
        for (int k = 0; k < s->member_count && !s->failed; k++) {
            if (s->member[k].life == RUNS) {
                chaos_turn(s, &s->member[k]);
            }
        }
        if (chaos_all_committed(s) && all_labels_read(s)) {
            return;
        }
    }
    char text[1000] = "";
    size_t n = 0;
    for (int32_t p = 0; p < s->partitions; p++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "; partition %d of %d: %" PRId64 " of %zu",
                              (int)p, s->owner[p], bus_mem_committed(s->m, TOPIC_TRANSACTIONS, p),
                              bus_mem_size(s->m, TOPIC_TRANSACTIONS, p));
    }
    for (int k = 0; k < s->member_count; k++) {
        struct score_stats t = {.ready = false};
        if (s->member[k].life != GONE) {
            score_stats(s->member[k].process.score, &t);
            n += (size_t)snprintf(text + n, sizeof text - n, "; process %d: %s, %d of the queue", k,
                                  t.why, (int)t.bus.queued);
        }
    }
    chaos_fail(s, "it does not come to rest%s", text);
}

static void run(struct chaos *s)
{
    draw_world(s);
    s->brokers_us = SCORER_WALL_US - TIME_HOUR;
    bus_mem_now(s->m, s->brokers_us);
    for (size_t steps = 20 + rng_below(&s->r, 150); steps > 0 && !s->failed; steps--) {
        chaos_step(s);
    }
    if (!s->failed) {
        come_to_rest(s);
    }
    for (int k = 0; k < s->member_count; k++) {
        if (s->member[k].life != GONE) {
            chaos_end(s, &s->member[k]);
        }
    }
    if (!s->failed) {
        chaos_check(s);
    }
}

bool chaos_run(uint64_t seed, enum safeguard without, bool trace, struct chaos_tally *tally,
               char *why, size_t why_size)
{
    struct chaos *s = calloc(1, sizeof *s);
    if (s == NULL) {
        abort();
    }
    s->seed = seed;
    s->without = without;
    s->trace = trace;
    s->tally = tally;
    s->why = why;
    s->why_size = why_size;
    s->m = bus_mem_create();
    for (int p = 0; p < PARTITIONS_MAX; p++) {
        s->owner[p] = s->wanted[p] = -1;
    }
    log_set_level(trace ? FD_LOG_INFO : FD_LOG_ERROR + 1);
    rng_init(&s->r, seed);
    chaos_disk_begin(s);
    chaos_now_us = (int64_t)rng_below(&s->r, 1000000000);
    const struct bus_mem_watch watch = chaos_watch(s);
    bus_mem_watch(s->m, &watch);
    unsafe_plant(chaos_fault, s);
    unsafe_without(without);
    unsafe_bus(s->m, without);
    run(s);
    unsafe_without(SAFE_ALL);
    unsafe_plant(NULL, NULL);
    bool good = !s->failed;
    tally->seeds++;
    tally->weak += s->weak;
    tally->messages += s->all.n;
    messages_done(&s->all);
    chaos_disk_end(s);
    bus_mem_free(s->m);
    free(s);
    return good;
}
