/* Scenes of a simulation: what chance alone brings together in one seed of hundreds, and what a
 * safeguard is for. */
#include "tests/support/chaos_private.h"

/* Two that run; false: there are no two. */
static bool draw_two(struct chaos *s, struct member **out_one, struct member **out_other)
{
    struct member *found[2] = {NULL, NULL};
    size_t n = 0;
    const uint64_t first = rng_below(&s->r, MEMBERS);
    for (uint64_t i = 0; i < MEMBERS && n < 2; i++) {
        struct member *one = &s->member[(first + i) % MEMBERS];
        if (one->life == RUNS) {
            found[n++] = one;
        }
    }
    const bool turned = chaos_one_in(s, 2);
    *out_one = found[turned];
    *out_other = found[!turned];
    return n == 2;
}

/* The brokers are as good as can be to a process, but for acknowledgements. */
static void settle(struct member *one)
{
    const struct bus *bus = &one->process.bus;
    bus_mem_at_call(bus, 0, NULL, NULL);
    bus_mem_thin(bus, NULL);
    bus_mem_full(bus, 0);
    bus_mem_hold_acks(bus, true);
    bus_mem_hold_topic(bus, TOPIC_LABELS, false);
    bus_mem_hold_topic(bus, TOPIC_NOTICES, false);
}

/* A turn of which notices and journal come into their logs, and nothing else is acknowledged. */
static void turn_and_record(struct chaos *s, struct member *one)
{
    chaos_turn(s, one);
    if (one->life == RUNS) {
        bus_mem_ack_topic(&one->process.bus, TOPIC_NOTICES);
        bus_mem_ack_topic(&one->process.bus, TOPIC_JOURNAL);
    }
    while (bus_mem_travelling(s->m) > 0) {
        bus_mem_arrive(s->m, 0, false);
    }
}

/* One process reads labels and notices
 * late, new ones come, another one decides by them and dies, and the late one has its partitions.
 */
void chaos_read_late(struct chaos *s)
{
    struct member *late = NULL;
    struct member *dies = NULL;
    if (!draw_two(s, &late, &dies)) {
        return;
    }
    chaos_trace(s, "%d reads late", chaos_number_of(s, late));
    settle(late);
    settle(dies);
    bus_mem_hold_topic(&late->process.bus, TOPIC_LABELS, true);
    bus_mem_hold_topic(&late->process.bus, TOPIC_NOTICES, true);
    for (int i = 0; i < 3; i++) {
        chaos_append_label(s);
        chaos_append_notice(s);
    }
    chaos_reload_one(s, dies);
    chaos_append(s, 12);
    for (int i = 0; i < 8 && dies->life == RUNS && !s->failed; i++) {
        turn_and_record(s, dies);
    }
    if (dies->life == RUNS) {
        chaos_die(s, dies);
    }
    for (int i = 0; i < 8 && late->life == RUNS && !s->failed; i++) {
        for (int32_t p = 0; p < s->partitions; p++) {
            s->wanted[p] = s->owner[p] < 0 ? chaos_number_of(s, late) : s->wanted[p];
        }
        chaos_coordinate(s);
        turn_and_record(s, late);
    }
    if (late->life == RUNS) {
        bus_mem_thin(&late->process.bus, &late->thin);
    }
}

/* An owner's batch is on its way while its partitions move, and arrives between
 * the claim of the new owner and the new owner's first batch. */
void chaos_come_late(struct chaos *s)
{
    struct member *old = NULL;
    struct member *fresh = NULL;
    if (s->journal != TRAVELS || !draw_two(s, &old, &fresh)) {
        return;
    }
    while (bus_mem_travelling(s->m) > 0) {
        bus_mem_arrive(s->m, 0, false);
    }
    settle(old);
    settle(fresh);
    chaos_append(s, 12);
    for (int i = 0; i < 8 && old->life == RUNS && bus_mem_travelling(s->m) == 0; i++) {
        chaos_turn(s, old);
    }
    for (int32_t p = 0; p < s->partitions; p++) {
        if (s->owner[p] == chaos_number_of(s, old)) {
            chaos_expel(s, p);
            s->wanted[p] = chaos_number_of(s, fresh);
        }
    }
    chaos_coordinate(s);
    chaos_append_label(s); /* the new owner knows more */
    chaos_append_notice(s);
    const size_t before = bus_mem_travelling(s->m);
    for (int i = 0; i < 8 && fresh->life == RUNS && bus_mem_travelling(s->m) == before; i++) {
        chaos_turn(s, fresh);
    }
    while (bus_mem_travelling(s->m) > before) {
        bus_mem_arrive(s->m, bus_mem_travelling(s->m) - 1, false);
    }
    chaos_move_journal(s);
    if (old->life == RUNS) {
        bus_mem_thin(&old->process.bus, &old->thin);
    }
    if (fresh->life == RUNS) {
        bus_mem_thin(&fresh->process.bus, &fresh->thin);
    }
}

/* Two write their state at different places of the journal, since the disk is full for one and then
 * for the other; one dies, and the other has to make do with what both have left. */
void chaos_inherit(struct chaos *s)
{
    struct member *two[2] = {NULL, NULL};
    if (!s->keeps || !draw_two(s, &two[0], &two[1])) {
        return;
    }
    s->disk.fail_at = s->disk.crash_at = 0;
    for (int k = 0; k < 2; k++) {
        settle(two[k]);
        bus_mem_hold_acks(&two[k]->process.bus, false);
    }
    for (int i = 0; i < 12 && two[0]->life == RUNS && two[1]->life == RUNS; i++) {
        chaos_append(s, i % 3 == 0 ? 6 : 0);
        s->brokers_us += TIME_S;
        bus_mem_now(s->m, s->brokers_us);
        for (int k = 0; k < 2 && two[k]->life == RUNS; k++) {
            s->disk.room = (i / 2 + k) % 2 == 0 ? UINT64_MAX : 0;
            turn_and_record(s, two[k]);
        }
    }
    s->disk.room = UINT64_MAX;
    if (two[0]->life == RUNS) {
        chaos_die(s, two[0]);
    }
    for (int i = 0; i < 6 && two[1]->life == RUNS && !s->failed; i++) {
        for (int32_t p = 0; p < s->partitions; p++) {
            s->wanted[p] = s->owner[p] < 0 ? chaos_number_of(s, two[1]) : s->wanted[p];
        }
        chaos_coordinate(s);
        turn_and_record(s, two[1]);
    }
    if (two[1]->life == RUNS) {
        bus_mem_thin(&two[1]->process.bus, &two[1]->thin);
    }
}
