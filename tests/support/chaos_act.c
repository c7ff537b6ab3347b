/* What happens to the processes of a simulation. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/score_private.h"
#include "tests/support/chaos_private.h"

int chaos_number_of(const struct chaos *s, const struct member *one)
{
    return (int)(one - s->member);
}

/* ---- processes ---- */

static bool go_on(void *ctx)
{
    const struct member *one = ctx;
    return !one->stunned && !one->stops;
}

/* What a file says by now. */
static struct bounds draw_bounds(struct chaos *s)
{
    struct bounds b = {s->conf.pipeline.threshold, 0};
    b.alert.budget = 1 + (double)rng_below(&s->r, 4) * 5;
    b.alert.floor = chaos_one_in(s, 2) ? .995 : .3;
    b.alert.decline = chaos_one_in(s, 2) ? .99 : .9;
    b.alert.decline_cost = chaos_one_in(s, 3) ? 100 : 0;
    b.max_future_us = (int64_t)(100 + rng_below(&s->r, 300)) * TIME_S;
    return b;
}

void chaos_start(struct chaos *s, struct member *one)
{
    struct score_conf c = s->conf;
    const struct bounds b = draw_bounds(s);
    const struct chaos_file *file = chaos_file(rng_below(&s->r, FILES));
    *one = (struct member){.life = RUNS, .chaos = s};
    rng_init(&one->thin, rng_next(&s->r));
    c.batch_max = 1 + rng_below(&s->r, 32);
    c.pipeline.threshold = b.alert;
    c.pipeline.max_future_us = b.max_future_us;
    c.pipeline.model = file->model;
    c.model_bytes = file->bytes;
    c.model_len = file->len;
    for (size_t i = 0; i < sizeof c.writer.bytes; i++) {
        c.writer.bytes[i] = (uint8_t)rng_next(&s->r);
    }
    hand_begin(&s->hand[chaos_number_of(s, one)]);
    c.hand = &s->hand[chaos_number_of(s, one)];
    c.go_on = go_on;
    c.ctx = one;
    scorer_open(&one->process, s->m, &c);
    chaos_keep(s, one);
    if (!s->calm) {
        bus_mem_thin(&one->process.bus, &one->thin);
        bus_mem_hold_journal(&one->process.bus, s->journal == HELD);
        bus_mem_journal_travels(&one->process.bus, s->journal == TRAVELS);
    }
    s->tally->starts++;
    chaos_trace(s, "%d starts, batches of %zu", chaos_number_of(s, one), c.batch_max);
    chaos_rebalance(s);
}

static void forget(struct chaos *s, struct member *one)
{
    one->life = GONE;
    for (int32_t p = 0; p < s->partitions; p++) {
        if (s->owner[p] == chaos_number_of(s, one)) {
            s->owner[p] = -1;
            s->revoking[p] = false;
        }
    }
    chaos_rebalance(s);
}

void chaos_end(struct chaos *s, struct member *one)
{
    struct errmsg e = {""};
    chaos_trace(s, "%d ends", chaos_number_of(s, one));
    s->tally->ends++;
    one->life = INSIDE; /* its bus may stop it here, too */
    enum err err = score_finish(one->process.score, 200, &e);
    if (s->calm && err != ERR_OK) {
        chaos_fail(s, "an end in peace: %s", e.text);
    }
    if (!one->stunned && err == ERR_OK) {
        score_keep_end(one->process.score, 0);
        chaos_disk_look(s, one);
    }
    if (one->stunned) {
        chaos_die(s, one);
        return;
    }
    chaos_check_process(s, one);
    chaos_disk_dead(s, one);
    bus_mem_at_call(&one->process.bus, 0, NULL, NULL);
    scorer_end(&one->process);
    forget(s, one);
}

void chaos_die(struct chaos *s, struct member *one)
{
    chaos_trace(s, "%d dies", chaos_number_of(s, one));
    s->tally->deaths++;
    if (one->planted) { /* as it was then */
        s->hand[chaos_number_of(s, one)] = s->dead_hand[chaos_number_of(s, one)];
    }
    chaos_check_process(s, one);
    chaos_disk_dead(s, one);
    bus_mem_crash(&one->process.bus, &s->r);
    score_free(one->process.score);
    forget(s, one);
}

void chaos_turn(struct chaos *s, struct member *one)
{
    one->life = INSIDE;
    size_t n = score_turn(one->process.score);
    chaos_disk_look(s, one);
    chaos_trace(s, "%d turns: %zu messages", chaos_number_of(s, one), n);
    one->life = RUNS;
    one->stopped = false;
    if (one->stunned) {
        chaos_die(s, one);
    } else if (score_failed(one->process.score)) {
        if (!one->refused && !bus_mem_fell(&one->process.bus)) {
            chaos_fail(s, "process %d gave up", chaos_number_of(s, one));
        }
        chaos_end(s, one);
    }
}

/* ---- the group ---- */

void chaos_rebalance(struct chaos *s)
{
    int able[MEMBERS];
    uint64_t n = 0;
    for (int k = 0; k < s->member_count; k++) {
        if (s->member[k].life == RUNS || (s->member[k].life == INSIDE && !s->member[k].stopped)) {
            able[n++] = k;
        }
    }
    for (int32_t p = 0; p < s->partitions; p++) {
        if (n == 0 || s->wanted[p] < 0 || chaos_one_in(s, 2) ||
            s->member[s->wanted[p]].life == GONE || s->member[s->wanted[p]].stopped) {
            s->wanted[p] = n > 0 ? able[rng_below(&s->r, n)] : -1;
        }
    }
}

void chaos_expel(struct chaos *s, int32_t p)
{
    const struct bus *bus = &s->member[s->owner[p]].process.bus;
    chaos_trace(s, "%d loses partition %d", s->owner[p], (int)p);
    bus_mem_fence(bus, TOPIC_TRANSACTIONS, p);
    bus_mem_revoke(bus, TOPIC_TRANSACTIONS, p, true);
    s->owner[p] = -1;
    s->revoking[p] = false;
}

static void take_back(struct chaos *s, int32_t p)
{
    const struct member *one = &s->member[s->owner[p]];
    bool owned = bus_mem_owned(&one->process.bus, TOPIC_TRANSACTIONS, p);
    if (s->revoking[p] && !owned) {
        s->owner[p] = -1;
        s->revoking[p] = false;
    } else if (one->stopped && chaos_one_in(s, 4)) {
        chaos_expel(s, p);
    } else if (!s->revoking[p] && owned && !one->stopped) {
        if (chaos_one_in(s, 8)) {
            chaos_expel(s, p); /* it was too slow */
        } else {
            bus_mem_revoke(&one->process.bus, TOPIC_TRANSACTIONS, p, false);
            s->revoking[p] = true;
        }
    }
}

void chaos_coordinate(struct chaos *s)
{
    for (int32_t p = 0; p < s->partitions; p++) {
        int to = s->wanted[p];
        if (s->owner[p] >= 0 && (s->revoking[p] || (s->owner[p] != to && to >= 0))) {
            take_back(s, p);
        }
        if (s->owner[p] < 0 && to >= 0 && s->member[to].life != GONE && !s->member[to].stopped) {
            scorer_assign(&s->member[to].process, p);
            s->owner[p] = to;
            s->tally->moves++;
            chaos_trace(s, "%d gets partition %d, committed %" PRId64, to, (int)p,
                        bus_mem_committed(s->m, TOPIC_TRANSACTIONS, p));
        }
    }
}

/* ---- what goes wrong ---- */

static void stun(void *ctx)
{
    struct member *one = ctx;
    one->stunned = true;
    one->chaos->disk.crashed = true; /* nor does it write anything more */
    bus_mem_stun(&one->process.bus);
    chaos_trace(one->chaos, "%d is dead from here on", chaos_number_of(one->chaos, one));
}

void chaos_fault(void *ctx, const void *of)
{
    struct chaos *s = ctx;
    for (int k = 0; k < s->member_count; k++) {
        struct member *one = &s->member[k];
        const struct score *score = one->life != GONE ? one->process.score : NULL;
        if (score == NULL || (score->pipeline != of && score->world != of)) {
            continue;
        }
        if (!one->stunned) {
            hand_mark(&s->hand[k]);
            s->dead_hand[k] = s->hand[k];
            one->planted = true;
            s->tally->faults++;
            stun(one);
        }
        return;
    }
    chaos_fail(s, "who decides again meets what is planted");
}

/* The process is stopped within a call of the bus; the others go on. */
static void stop(void *ctx)
{
    struct member *one = ctx;
    struct chaos *s = one->chaos;
    if (s->calm || s->depth == DEPTH_MAX) {
        return;
    }
    chaos_trace(s, "%d is stopped", chaos_number_of(s, one));
    s->tally->stops++;
    s->depth++;
    one->stopped = true;
    if (!chaos_one_in(s, 4)) {
        chaos_rebalance(s);
    }
    for (uint64_t n = 3 + rng_below(&s->r, 40); n > 0 && !s->failed; n--) {
        chaos_step(s);
    }
    one->stopped = false;
    s->depth--;
    chaos_trace(s, "%d goes on", chaos_number_of(s, one));
}

/* How the brokers are to a process during its next turn. */
static void draw_weather(struct chaos *s, struct member *one)
{
    const struct bus *bus = &one->process.bus;
    bus_mem_hold_acks(bus, !chaos_one_in(s, 3));
    bus_mem_ack(bus, chaos_one_in(s, 2) ? rng_below(&s->r, 12) : 0);
    bus_mem_ack_on_wait(bus, rng_below(&s->r, 4));
    if (chaos_one_in(s, 4)) {
        static const enum bus_topic OUT[] = {TOPIC_DECISIONS, TOPIC_ALERTS, TOPIC_DEAD_LETTERS,
                                             TOPIC_JOURNAL};
        bus_mem_ack_topic(bus, OUT[rng_below(&s->r, 4)]);
    }
    chaos_disk_weather(s);
    bus_mem_full(bus, chaos_one_in(s, 4) ? rng_below(&s->r, 5) : 0);
    bus_mem_fail_commits(bus, chaos_one_in(s, 5));
    bus_mem_hold_topic(bus, TOPIC_LABELS, chaos_one_in(s, 3));
    bus_mem_hold_topic(bus, TOPIC_NOTICES, chaos_one_in(s, 3));
    if (chaos_one_in(s, 12)) {
        bus_mem_at_call(bus, rng_below(&s->r, 40), stun, one);
    } else if (chaos_one_in(s, 6)) {
        bus_mem_at_call(bus, rng_below(&s->r, 40), stop, one);
    }
}

void chaos_turn_of_one(struct chaos *s, struct member *one)
{
    draw_weather(s, one);
    chaos_turn(s, one);
}

void chaos_reload_one(struct chaos *s, struct member *one)
{
    struct errmsg e = {""};
    const struct bounds b = draw_bounds(s);
    const struct chaos_file *file = chaos_file(rng_below(&s->r, FILES));
    one->life = INSIDE;
    enum err err =
        score_tell(one->process.score, &b, chaos_one_in(s, 3) ? file->bytes : NULL, file->len, &e);
    one->life = RUNS;
    one->stopped = false;
    s->tally->reloads++;
    chaos_trace(s, "%d reads its settings again: %s", chaos_number_of(s, one), err_name(err));
    if (one->stunned) {
        chaos_die(s, one);
    } else if (err != ERR_OK && err != ERR_UNAVAILABLE) {
        chaos_fail(s, "settings were refused: %s", e.text);
    }
}

static void end_of_one(struct chaos *s, struct member *one)
{
    switch (rng_below(&s->r, 4)) {
    case 0:
        chaos_end(s, one);
        break;
    case 1: /* its queue is full, and it is asked to end */
        bus_mem_room(&one->process.bus, rng_below(&s->r, 8));
        one->stops = true;
        for (int i = 0; i < 3 && one->life == RUNS; i++) {
            chaos_turn(s, one);
        }
        if (one->life == RUNS) {
            chaos_end(s, one);
        }
        break;
    case 2: /* its records are refused: it gives up */
        one->refused = true;
        bus_mem_refuse(&one->process.bus, chaos_one_in(s, 2) ? TOPIC_DECISIONS : TOPIC_JOURNAL,
                       ERR_INVALID);
        break;
    default:
        chaos_die(s, one);
    }
}

/* ---- what comes from outside ---- */

void chaos_append(struct chaos *s, size_t n)
{
    for (; n > 0 && s->appended < s->all.n; n--) {
        const size_t i = s->appended++;
        const char *key = s->all.m[i].key;
        int32_t p = key[strlen(key) - 1] % s->partitions; /* by card */
        const struct bus_message message = messages_get(&s->all, i, p, 0);
        (void)bus_mem_append(s->m, TOPIC_TRANSACTIONS, p, &message);
        s->placed[p][s->placed_count[p]++] = (struct placed){.message = i};
    }
}

static void append_bytes(struct chaos *s, enum bus_topic topic, const void *bytes, size_t len)
{
    const struct bus_message message = {
        .timestamp_us = SCORER_WALL_US, .value = bytes, .value_len = len};
    (void)bus_mem_append(s->m, topic, 0, &message);
}

void chaos_append_label(struct chaos *s)
{
    static const char *const VERDICTS[] = {"fraud", "fraud", "fraud", "legitimate", "withdrawn"};
    struct rng *r = &s->r;
    char json[512];
    s->labels += !chaos_one_in(s, 8); /* else a number comes again */
    int n =
        snprintf(json, sizeof json,
                 "{\"source\":\"s\",\"number\":%" PRIu64 ",\"tx\":\"t%" PRIu64
                 "\",\"verdict\":\"%s\",\"ts\":\"2026-01-01T00:00:00Z\",\"known\":"
                 "\"2026-01-01T0%" PRIu64 ":%02" PRIu64 ":00Z\",\"card\":\"c%" PRIu64
                 "\",\"terminal\":\"p%" PRIu64 "\",\"merchant\":\"m%" PRIu64
                 "\",\"amount\":5000,\"currency\":\"EUR\",\"amount_ratio\":9%s%s",
                 s->labels, rng_below(r, s->all.n), VERDICTS[rng_below(r, 5)], rng_below(r, 3),
                 rng_below(r, 60), rng_below(r, s->cards), rng_below(r, 60), rng_below(r, 30),
                 chaos_one_in(s, 40) ? ",\"plant\":\"label\"" : "", chaos_one_in(s, 10) ? "" : "}");
    const struct bus_message message = {
        /* now and then such that max_future decides whether it is one */
        .timestamp_us = chaos_one_in(s, 6) ? MESSAGES_START_US - (int64_t)rng_below(r, 400) * TIME_S
                                           : SCORER_WALL_US,
        .value = json,
        .value_len = (size_t)n};
    (void)bus_mem_append(s->m, TOPIC_LABELS, 0, &message);
}

void chaos_append_notice(struct chaos *s)
{
    if (chaos_one_in(s, 4)) {
        append_bytes(s, TOPIC_NOTICES, "no notice", 9);
        return;
    }
    const size_t model = rng_below(&s->r, MODELS);
    const size_t before = bus_mem_size(s->m, TOPIC_NOTICES, 0);
    bus_mem_append_copy(s->m, TOPIC_NOTICES, 0,
                        chaos_notice(before % 2 == 0 ? model : MODELS + before / 2 % CONTROLS));
}

/* Damage in the journal: nonsense, or an entry with a bit turned, after the entry itself. */
static void append_damage(struct chaos *s)
{
    size_t n = bus_mem_size(s->m, TOPIC_JOURNAL, 0);
    const struct mem_record *of =
        n > 0 ? bus_mem_record(s->m, TOPIC_JOURNAL, 0, rng_below(&s->r, n)) : NULL;
    if (of == NULL || of->value_len == 0) {
        append_bytes(s, TOPIC_JOURNAL, "fdj", rng_below(&s->r, 4));
        return;
    }
    char *bytes = malloc(of->value_len);
    if (bytes == NULL) {
        abort();
    }
    memcpy(bytes, of->value, of->value_len);
    if (!chaos_one_in(s, 3)) { /* else a second copy, late */
        bytes[rng_below(&s->r, of->value_len)] ^= (char)(1 << rng_below(&s->r, 7));
    }
    append_bytes(s, TOPIC_JOURNAL, bytes, of->value_len);
    free(bytes);
}

/* How far all living processes have applied the journal: retention is days, they are not so far
 * behind. */
static int64_t all_applied(const struct chaos *s)
{
    int64_t end = (int64_t)bus_mem_size(s->m, TOPIC_JOURNAL, 0);
    for (int k = 0; k < s->member_count; k++) {
        struct score_stats t = {.journal_next = end};
        if (s->member[k].life != GONE) {
            score_stats(s->member[k].process.score, &t);
        }
        end = t.journal_next < end ? t.journal_next : end;
    }
    return end;
}

static bool all_committed(const struct chaos *s, const struct journal_entry *e)
{
    for (size_t i = 0; e->kind == JOURNAL_BATCH && i < e->part_count; i++) {
        const struct journal_part *p = &e->parts[i];
        if (p->last >= bus_mem_committed(s->m, TOPIC_TRANSACTIONS, p->partition)) {
            return false;
        }
    }
    return true;
}

/* Where the journal may begin: no later than what the writers had not seen of entries with
 * something that is not committed (daemon/journal_order.h), unless a process was away for longer
 * than the journal is kept. */
static int64_t needed_from(const struct chaos *s, int64_t low)
{
    static struct journal_entry entry;
    struct errmsg e;
    int64_t end = bus_mem_travelling(s->m) == 0 ? all_applied(s) : low;
    for (int64_t i = low; i < (int64_t)bus_mem_size(s->m, TOPIC_JOURNAL, 0); i++) {
        const struct mem_record *r = bus_mem_record(s->m, TOPIC_JOURNAL, 0, (size_t)i);
        if (journal_decode(r->value, r->value_len, &entry, &e) == ERR_OK &&
            !all_committed(s, &entry)) {
            end = entry.seen + 1 < end ? entry.seen + 1 : end;
        }
    }
    return end;
}

/* Retention: what is committed may go, and what all have applied of the journal. */
static void trim(struct chaos *s)
{
    int32_t p = (int32_t)rng_below(&s->r, (uint64_t)s->partitions);
    int64_t low = bus_mem_low(s->m, TOPIC_TRANSACTIONS, p);
    int64_t committed = bus_mem_committed(s->m, TOPIC_TRANSACTIONS, p);
    if (committed > low) {
        low += (int64_t)rng_below(&s->r, (uint64_t)(committed - low) + 1);
        chaos_trace(s, "partition %d begins at %" PRId64 " now", (int)p, low);
        bus_mem_trim(s->m, TOPIC_TRANSACTIONS, p, low);
    }
    low = bus_mem_low(s->m, TOPIC_JOURNAL, 0);
    int64_t end = needed_from(s, low);
    if (end > low && chaos_one_in(s, 2)) {
        low += (int64_t)rng_below(&s->r, (uint64_t)(end - low) + 1);
        chaos_trace(s, "the journal begins at %" PRId64 " now", low);
        bus_mem_trim(s->m, TOPIC_JOURNAL, 0, low);
    }
}

void chaos_move_journal(struct chaos *s)
{
    for (size_t n = 1 + rng_below(&s->r, 3); n > 0 && bus_mem_travelling(s->m) > 0; n--) {
        size_t i = rng_below(&s->r, bus_mem_travelling(s->m));
        if (chaos_one_in(s, 6)) {
            bus_mem_vanish(s->m, i);
        } else {
            bus_mem_arrive(s->m, i, chaos_one_in(s, 8));
        }
    }
}

static void pass_time(struct chaos *s)
{
    chaos_now_us += (int64_t)rng_below(&s->r, chaos_one_in(s, 4) ? 15000000 : 20000);
    s->brokers_us += (int64_t)rng_below(&s->r, 2000000);
    bus_mem_now(s->m, s->brokers_us);
}

void chaos_step(struct chaos *s)
{
    struct member *one = &s->member[rng_below(&s->r, (uint64_t)s->member_count)];
    chaos_coordinate(s);
    uint64_t what = rng_below(&s->r, 100);
    if (what < 12) {
        chaos_append(s, 1 + rng_below(&s->r, 12));
    } else if (what < 16) {
        chaos_append_label(s);
    } else if (what < 18) {
        chaos_append_notice(s);
    } else if (what < 19) {
        append_damage(s);
    } else if (what < 20) {
        chaos_rebalance(s);
    } else if (what < 21) {
        if (chaos_one_in(s, 3)) {
            chaos_power(s);
        }
    } else if (what < 23 && s->weak) {
        trim(s);
    } else if (what < 35) {
        chaos_move_journal(s);
    } else if (what < 41) {
        pass_time(s);
    } else if (one->life == GONE) {
        chaos_start(s, one);
    } else if (one->life == RUNS && what < 43) {
        end_of_one(s, one);
    } else if (one->life == RUNS && what < 45) {
        chaos_reload_one(s, one);
    } else if (one->life == RUNS && what < 47) {
        chaos_read_late(s);
    } else if (one->life == RUNS && what < 49) {
        chaos_come_late(s);
    } else if (one->life == RUNS && what < 51) {
        chaos_inherit(s);
    } else if (one->life == RUNS) {
        chaos_turn_of_one(s, one);
    }
}

void chaos_calm(struct chaos *s)
{
    s->calm = true;
    s->disk.fail_at = s->disk.crash_at = 0;
    s->disk.room = UINT64_MAX;
    chaos_trace(s, "calm");
    chaos_append(s, SIZE_MAX);
    while (bus_mem_travelling(s->m) > 0) {
        bus_mem_arrive(s->m, 0, false);
    }
    for (int k = 0; k < s->member_count; k++) {
        struct member *one = &s->member[k];
        const struct bus *bus = &one->process.bus;
        if (one->life == GONE) {
            continue;
        }
        if (one->refused) {
            chaos_die(s, one);
            continue;
        }
        bus_mem_at_call(bus, 0, NULL, NULL);
        bus_mem_hold_acks(bus, false);
        bus_mem_hold_journal(bus, false);
        bus_mem_journal_travels(bus, false);
        bus_mem_ack(bus, SIZE_MAX);
        bus_mem_full(bus, 0);
        bus_mem_fail_commits(bus, false);
        bus_mem_hold_topic(bus, TOPIC_LABELS, false);
        bus_mem_hold_topic(bus, TOPIC_NOTICES, false);
        bus_mem_thin(bus, NULL);
    }
    chaos_rebalance(s);
}
