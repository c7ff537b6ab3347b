#include "tests/support/sink_chaos.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/progress.h"
#include "base/rng.h"
#include "daemon/outbox.h"
#include "daemon/sink.h"
#include "daemon/upkeep.h"
#include "storage/migrate.h"
#include "tests/support/database_mem.h"
#include "tests/support/scorer.h"

#define SINKS 2
#define LABELS 60
#define STANDBYS 4 /* states that a failover can go back to */
#define STEPS 400
#define STEPS_CALM 1500
#define LOG_ROWS 4096

const char *const SINK_SAFEGUARD_NAMES[SINK_SAFE_COUNT] = {
    [SINK_SAFE_ALL] = "none",
    [SINK_SAFE_TOGETHER] = "sink-together",
    [SINK_SAFE_CONFLICT] = "sink-conflict",
    [SINK_SAFE_KNOWN] = "sink-known",
    [SINK_SAFE_DOUBT] = "sink-doubt",
};

const char *const SINK_SAFEGUARD_TEXTS[SINK_SAFE_COUNT] = {
    [SINK_SAFE_ALL] = "nothing is removed",
    [SINK_SAFE_TOGETHER] = "positions are in the SQL transaction of their rows",
    [SINK_SAFE_CONFLICT] = "a row that is there already changes nothing",
    [SINK_SAFE_KNOWN] = "a position is written over the one that is known to be there only",
    [SINK_SAFE_DOUBT] = "after a lost connection all positions are compared",
};

static const enum bus_topic TOPICS[] = {TOPIC_TRANSACTIONS, TOPIC_DECISIONS, TOPIC_ALERTS,
                                        TOPIC_LABELS};
static const char *const TOPIC_NAMES[TOPIC_COUNT] = {"0", "1", "2", "3", "4", "5", "6"};

struct one_sink {
    struct sink *sink; /* NULL: not running */
    struct bus bus;
    struct rng thin;
    bool dead;
};

struct partition {
    enum bus_topic topic;
    int32_t number;
    int owner;
};

/* Of the logs, from a run of one sink that writes each message by itself. */
static struct {
    struct bus_mem *log;
    uint64_t key[TOPIC_COUNT][BUS_MEM_PARTITIONS][LOG_ROWS]; /* of the message's row; 0: none */
    struct database_rows end;
} known;

static struct {
    bool runs;      /* the clock is ours */
    bool recording; /* rows are noted in known.key */
    bool unpaired;  /* only positions that change are written */
    bool calm;
    int64_t now_us;
    struct rng r;
    struct database_mem database;
    struct database_rows standby[STANDBYS];
    size_t standbys;
    struct one_sink one[SINKS];
    struct one_sink *turn; /* whose turn it is */
    struct partition part[TOPIC_COUNT * BUS_MEM_PARTITIONS];
    size_t parts;
    struct sink_chaos_tally *tally;
    char why[300]; /* "": no check has failed */
} sim;

static bool one_in(uint64_t n)
{
    return rng_below(&sim.r, n) == 0;
}

static void found(const char *what, enum bus_topic topic, int32_t partition, int64_t offset)
{
    if (sim.why[0] == '\0') {
        snprintf(sim.why, sizeof sim.why, "%s: topic %d, partition %d, offset %lld", what, topic,
                 partition, (long long)offset);
    }
}

/* ---- what is checked ---- */

static bool is_stored(const struct database_rows *r, enum bus_topic topic, int32_t partition,
                      int64_t offset)
{
    uint64_t key = known.key[topic][partition][offset];
    return key == 0 || database_mem_has(r, key) ||
           database_mem_has(r, database_mem_reject_key(TOPIC_NAMES[topic], partition, offset));
}

static void on_committed(void *ctx, const struct database_rows *r)
{
    (void)ctx;
    if (sim.recording) {
        return;
    }
    sim.tally->commits++;
    for (size_t i = 0; i < sim.parts; i++) {
        const struct partition *p = &sim.part[i];
        for (int64_t at = 0; at < r->next[p->topic][p->number]; at++) {
            if (!is_stored(r, p->topic, p->number, at)) {
                found("a position is ahead of a row that is not there", p->topic, p->number, at);
                return;
            }
        }
    }
    sim.standby[sim.standbys++ % STANDBYS] = *r;
}

static bool same_rows(const struct database_rows *a, const struct database_rows *b)
{
    for (size_t i = 0; i < DATABASE_MEM_ROWS; i++) {
        if (a->key[i] != 0 && !database_mem_has(b, a->key[i])) {
            return false;
        }
    }
    uint64_t lines[2] = {0, 0};
    for (size_t i = 0; i < DATABASE_MEM_ROWS; i++) {
        lines[0] += a->key[i] * (a->line[i] | 1);
        lines[1] += b->key[i] * (b->line[i] | 1);
    }
    return a->count == b->count && a->rejected == b->rejected && lines[0] == lines[1];
}

/* ---- what happens ---- */

static enum database_fate on_statement(void *ctx)
{
    (void)ctx;
    if (sim.turn != NULL && sim.turn->dead) {
        return FATE_LOST_BEFORE;
    }
    if (sim.calm || sim.recording || !one_in(60)) {
        return FATE_NONE;
    }
    const bool after = one_in(2);
    sim.tally->lost++;
    if (one_in(3) && sim.turn != NULL) {
        sim.turn->dead = true;
        sim.tally->deaths++;
    }
    if (one_in(3)) {
        sim.database.away = true;
    }
    return after ? FATE_LOST_AFTER : FATE_LOST_BEFORE;
}

static bool go_on(void *ctx)
{
    const struct one_sink *o = ctx;
    return !o->dead;
}

static void start(struct one_sink *o, size_t batch)
{
    struct sink_conf c = {.conninfo = "",
                          .rates = scorer_conf().pipeline.rates,
                          .log = {SCORER_LOG, strlen(SCORER_LOG)},
                          .max_future_us = scorer_conf().pipeline.max_future_us,
                          .batch_max = batch,
                          .go_on = go_on,
                          .ctx = o};
    struct errmsg e = {""};
    const struct bus_plan plan = {.group_topic = {[TOPIC_TRANSACTIONS] = true,
                                                  [TOPIC_DECISIONS] = true,
                                                  [TOPIC_ALERTS] = true,
                                                  [TOPIC_LABELS] = true},
                                  .produces = true};
    memcpy(c.topic_name, TOPIC_NAMES, sizeof c.topic_name);
    o->dead = false;
    if (sink_create(&c, &o->sink, &e) != ERR_OK) {
        o->sink = NULL; /* the database is away: later */
        return;
    }
    const struct bus_events events = sink_events(o->sink);
    o->bus = bus_mem_open(known.log, &plan, &events);
    sink_attach(o->sink, o->bus);
    rng_init(&o->thin, rng_next(&sim.r));
    if (!sim.recording) {
        bus_mem_thin(&o->bus, &o->thin);
    }
    for (size_t i = 0; i < sim.parts; i++) {
        if (&sim.one[sim.part[i].owner] == o) {
            bus_mem_assign(&o->bus, sim.part[i].topic, sim.part[i].number);
        }
    }
}

static void end(struct one_sink *o)
{
    if (o->sink != NULL) {
        struct sink_stats s;
        sink_stats(o->sink, &s);
        sim.tally->taken_back += s.taken_back;
        bus_mem_kill(&o->bus);
        sink_free(o->sink);
        o->sink = NULL;
    }
}

static void move_one(void)
{
    struct partition *p = &sim.part[rng_below(&sim.r, sim.parts)];
    struct one_sink *from = &sim.one[p->owner];
    struct one_sink *to = &sim.one[!p->owner];
    if (from->sink == NULL || to->sink == NULL || !bus_mem_owned(&from->bus, p->topic, p->number)) {
        return;
    }
    if (one_in(3)) { /* it reads on for one turn more */
        bus_mem_fence(&from->bus, p->topic, p->number);
        (void)sink_turn(from->sink);
    }
    bus_mem_revoke(&from->bus, p->topic, p->number, false);
    bus_mem_assign(&to->bus, p->topic, p->number);
    p->owner = !p->owner;
    sim.tally->moves++;
}

/* What was committed last is lost; both know nothing of it but that their connection is gone. */
static void fail_over(void)
{
    if (sim.standbys >= STANDBYS) {
        sim.database.durable = sim.standby[rng_below(&sim.r, STANDBYS)];
        for (size_t i = 0; i < STANDBYS; i++) {
            sim.standby[i] = sim.database.durable;
        }
        database_mem_cut(&sim.database);
        sim.tally->failovers++;
    }
}

static void step(void)
{
    sim.database.away = sim.database.away && !sim.calm && !one_in(3);
    if (!sim.calm && one_in(25)) {
        move_one();
    }
    if (!sim.calm && one_in(60)) {
        fail_over();
    }
    struct one_sink *o = &sim.one[rng_below(&sim.r, SINKS)];
    sim.turn = o;
    if (o->dead) {
        end(o);
    }
    if (o->sink == NULL) {
        start(o, 1 + (size_t)rng_below(&sim.r, 64));
    } else {
        (void)sink_turn(o->sink);
    }
    sim.turn = NULL;
}

static bool all_written(void)
{
    for (size_t i = 0; i < sim.parts; i++) {
        const struct partition *p = &sim.part[i];
        if (sim.database.durable.next[p->topic][p->number] !=
            (int64_t)bus_mem_size(known.log, p->topic, p->number)) {
            return false;
        }
    }
    return true;
}

static void list_parts(void)
{
    sim.parts = 0;
    for (size_t t = 0; t < sizeof TOPICS / sizeof TOPICS[0]; t++) {
        for (int32_t p = 0; p < BUS_MEM_PARTITIONS; p++) {
            if (bus_mem_size(known.log, TOPICS[t], p) > 0) {
                assert(bus_mem_size(known.log, TOPICS[t], p) <= LOG_ROWS);
                sim.part[sim.parts] = (struct partition){TOPICS[t], p, (int)(sim.parts % SINKS)};
                sim.parts++;
            }
        }
    }
}

static void begin(uint64_t seed)
{
    memset(&sim, 0, sizeof sim);
    sim.runs = true;
    sim.now_us = TIME_S;
    rng_init(&sim.r, seed);
    sim.database.fate = on_statement;
    sim.database.committed = on_committed;
    database_mem_use(&sim.database);
    list_parts();
}

void sink_chaos_open(void)
{
    static struct sink_chaos_tally unwanted;
    known.log = scorer_undisturbed(LABELS);
    begin(0);
    sim.tally = &unwanted;
    sim.recording = true;
    for (size_t i = 0; i < sim.parts; i++) {
        sim.part[i].owner = 0;
    }
    start(&sim.one[0], 1);
    for (int i = 0; i < 2 * LOG_ROWS * SINKS && !all_written(); i++) {
        (void)sink_turn(sim.one[0].sink);
    }
    assert(all_written() && sim.database.durable.rejected > 0);
    end(&sim.one[0]);
    known.end = sim.database.durable;
    sim.runs = false;
}

void sink_chaos_close(void)
{
    bus_mem_free(known.log);
}

static void remove_safeguard(enum sink_safeguard without)
{
    sim.database.breaks.apart = without == SINK_SAFE_TOGETHER;
    sim.database.breaks.conflict = without == SINK_SAFE_CONFLICT;
    sim.database.breaks.known = without == SINK_SAFE_KNOWN;
    sim.unpaired = without == SINK_SAFE_DOUBT;
}

bool sink_chaos_run(uint64_t seed, enum sink_safeguard without, struct sink_chaos_tally *tally,
                    char *why, size_t why_size)
{
    begin(seed);
    sim.tally = tally;
    remove_safeguard(without);
    for (int i = 0; i < STEPS && sim.why[0] == '\0'; i++) {
        step();
    }
    sim.calm = true;
    for (int i = 0; i < STEPS_CALM && sim.why[0] == '\0' && !all_written(); i++) {
        step();
    }
    if (sim.why[0] == '\0' && !all_written()) {
        snprintf(sim.why, sizeof sim.why, "it does not come to its end");
    } else if (sim.why[0] == '\0' && !same_rows(&sim.database.durable, &known.end)) {
        snprintf(sim.why, sizeof sim.why,
                 "%zu rows, %zu of them rejects, are not the %zu, %zu of an undisturbed run",
                 sim.database.durable.count, sim.database.durable.rejected, known.end.count,
                 known.end.rejected);
    }
    for (int i = 0; i < SINKS; i++) {
        end(&sim.one[i]);
    }
    tally->seeds++;
    tally->rows += sim.database.durable.count;
    tally->rejected += sim.database.durable.rejected;
    sim.runs = false;
    snprintf(why, why_size, "%s", sim.why);
    return sim.why[0] == '\0';
}

/* ---- in the place of the program's own, at the linker ---- */

enum err __real_sink_write(struct db *d, const struct sink_row *rows, size_t n,
                           const struct sink_position *positions, size_t position_count,
                           size_t *out_rejected, struct errmsg *e);
enum err __wrap_sink_write(struct db *d, const struct sink_row *rows, size_t n,
                           const struct sink_position *positions, size_t position_count,
                           size_t *out_rejected, struct errmsg *e);
enum err __wrap_migrate_check(struct db *d, struct errmsg *e);
enum err __wrap_outbox_turn(struct outbox *o, struct db *d, const struct bus *bus, int64_t now_us,
                            struct errmsg *e);
enum err __wrap_upkeep_turn(struct upkeep *u, struct db *d, int64_t now_us, struct errmsg *e);
int __real_nanosleep(const struct timespec *t, struct timespec *left);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left);
int64_t __real_progress_now_us(void);
int64_t __wrap_progress_now_us(void);

enum err __wrap_sink_write(struct db *d, const struct sink_row *rows, size_t n,
                           const struct sink_position *positions, size_t position_count,
                           size_t *out_rejected, struct errmsg *e)
{
    static struct sink_position changed[TOPIC_COUNT * BUS_MEM_PARTITIONS];
    for (size_t i = 0; i < n && sim.recording; i++) {
        const long topic = strtol(rows[i].topic, NULL, 10);
        known.key[topic][rows[i].partition][rows[i].offset] =
            database_mem_key(rows[i].table, rows[i].line, rows[i].line_len);
    }
    if (!sim.unpaired) {
        return __real_sink_write(d, rows, n, positions, position_count, out_rejected, e);
    }
    size_t k = 0;
    for (size_t i = 0; i < position_count; i++) {
        if (positions[i].next_offset != positions[i].known) {
            changed[k++] = positions[i];
        }
    }
    return __real_sink_write(d, rows, n, changed, k, out_rejected, e);
}

enum err __wrap_migrate_check(struct db *d, struct errmsg *e)
{
    (void)d;
    (void)e;
    return ERR_OK;
}

enum err __wrap_outbox_turn(struct outbox *o, struct db *d, const struct bus *bus, int64_t now_us,
                            struct errmsg *e)
{
    (void)o;
    (void)d;
    (void)bus;
    (void)now_us;
    (void)e;
    return ERR_OK;
}

enum err __wrap_upkeep_turn(struct upkeep *u, struct db *d, int64_t now_us, struct errmsg *e)
{
    (void)u;
    (void)now_us;
    return database_mem_ask(d, e);
}

int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
    if (!sim.runs) {
        return __real_nanosleep(t, left);
    }
    sim.now_us += t->tv_sec * TIME_S + t->tv_nsec / 1000;
    sim.database.away = sim.database.away && sim.now_us % 7 != 0;
    return 0;
}

int64_t __wrap_progress_now_us(void)
{
    return sim.runs ? sim.now_us++ : __real_progress_now_us();
}
