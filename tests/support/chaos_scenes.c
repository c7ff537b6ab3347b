/* Scenes of a simulation: what chance alone brings together in one seed of hundreds, and what a
 * safeguard is for. */
#include "tests/support/chaos_private.h"

/* One process reads labels and notices
 * late, new ones come, another one decides by them and dies, and the late one has its partitions.
 */
void chaos_read_late(struct chaos *s)
{
    struct member *late = &s->member[rng_below(&s->r, (uint64_t)s->member_count)];
    struct member *dies = &s->member[rng_below(&s->r, (uint64_t)s->member_count)];
    if (late == dies || late->life != RUNS || dies->life != RUNS) {
        return;
    }
    chaos_trace(s, "%d reads late", chaos_number_of(s, late));
    late->late = true;
    for (int i = 0; i < 6; i++) {
        chaos_append_label(s);
        chaos_append_notice(s);
    }
    chaos_append(s, 12);
    for (int i = 0; i < 6 && dies->life == RUNS && !s->failed; i++) {
        bus_mem_hold_acks(&dies->process.bus, true);
        bus_mem_ack_topic(&dies->process.bus, TOPIC_JOURNAL);
        bus_mem_hold_topic(&dies->process.bus, TOPIC_LABELS, false);
        bus_mem_hold_topic(&dies->process.bus, TOPIC_NOTICES, false);
        chaos_turn(s, dies);
        chaos_move_journal(s);
    }
    if (dies->life == RUNS) {
        chaos_die(s, dies);
    }
    for (int i = 0; i < 8 && late->life == RUNS && !s->failed; i++) {
        chaos_coordinate(s);
        chaos_turn_of_one(s, late);
    }
    late->late = false;
}

/* An owner's batch is on its way while its partitions move, and arrives between
 * the claim of the new owner and the new owner's first batch. */
void chaos_come_late(struct chaos *s)
{
    struct member *old = &s->member[rng_below(&s->r, (uint64_t)s->member_count)];
    const int to = (int)rng_below(&s->r, (uint64_t)s->member_count);
    struct member *fresh = &s->member[to];
    if (s->journal != TRAVELS || old == fresh || old->life != RUNS || fresh->life != RUNS) {
        return;
    }
    while (bus_mem_travelling(s->m) > 0) {
        bus_mem_arrive(s->m, 0, false);
    }
    chaos_append(s, 12);
    for (int i = 0; i < 8 && old->life == RUNS && bus_mem_travelling(s->m) == 0; i++) {
        chaos_turn(s, old);
    }
    for (int32_t p = 0; p < s->partitions; p++) {
        if (s->owner[p] == chaos_number_of(s, old)) {
            chaos_expel(s, p);
            s->wanted[p] = to;
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
}
