/* When state may be written to the disk, and when what lies there may be used. */
#include "daemon/score_keep_private.h"

bool score_keep_may_write(const struct score *s)
{
    const struct score_keep *k = s->keep;
    return k->writer != NULL && !s->rebuild && !s->applying.begun && !s->failed &&
           s->order->position >= s->rebuilt_until && (uint64_t)s->order->position > k->written;
}

bool score_keep_is_committed(const struct score *s)
{
    for (int32_t p = 0; p < s->partition_top; p++) {
        const struct owned *o = &s->owned[p];
        if (o->lane != NULL &&
            (s->order->turns[p].placed == 0 || s->order->turns[p].next > o->emit_from)) {
            return false;
        }
    }
    return true;
}

size_t score_keep_alike(const struct score_keep *k, size_t first)
{
    size_t end = first;
    while (end < k->candidate_count && k->candidate[end].position == k->candidate[first].position) {
        end++;
    }
    return end;
}
