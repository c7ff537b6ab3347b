#include "tests/support/spoil.h"

#include "base/hash.h"

#define ONE_IN 10

const char *const SPOIL_NAME[SPOIL_KINDS] = {
    "a tenth of all labels flipped", "a tenth of the frauds swapped", "a tenth of the merchants"};

static bool is_in_group(const struct tx *t, uint64_t seed)
{
    return hash_pair(seed ^ 0x73706f696cU, t->merchant != 0 ? t->merchant : t->terminal) % ONE_IN ==
           0;
}

/* `most` of the stretch's legitimate payments, evenly spread, that were none of the frauds before.
 */
static size_t add_frauds(struct past *p, size_t from, size_t to, size_t legitimate, size_t most)
{
    size_t seen = 0;
    size_t made = 0;
    for (size_t i = from; i < to && made < most; i++) {
        if (p->rows[i].fraud) {
            continue;
        }
        if (++seen % (legitimate / most) == 0) {
            p->rows[i].fraud = true;
            made++;
        }
    }
    return made;
}

size_t spoil_labels(struct past *p, enum spoil kind, int64_t from_us, int64_t to_us, uint64_t seed)
{
    size_t from = past_find(p, from_us);
    size_t to = past_find(p, to_us);
    size_t changed = 0;
    size_t legitimate = 0;
    uint64_t candidate = seed;
    for (size_t i = from; i < to; i++) {
        struct past_row *r = &p->rows[i];
        bool may = r->fraud || kind == SPOIL_FLIP;
        bool drawn =
            kind == SPOIL_GROUP ? is_in_group(&r->tx, seed) : may && ++candidate % ONE_IN == 0;
        legitimate += !r->fraud;
        if (may && drawn) {
            r->fraud = !r->fraud;
            changed++;
        }
    }
    if (kind == SPOIL_SWAP && changed > 0) {
        changed += add_frauds(p, from, to, legitimate, changed);
    }
    return changed;
}
