#include "daemon/recovery.h"

#include <inttypes.h>
#include <stdio.h>

void recovery_begin(struct recovery *r, int64_t now_us)
{
    if (!r->open) {
        *r = (struct recovery){.open = true, .at_us = {now_us}, .reached = RECOVERY_BEGUN};
    }
}

void recovery_reach(struct recovery *r, enum recovery_step step, int64_t now_us)
{
    if (!r->open) {
        return;
    }
    for (int i = (int)r->reached + 1; i <= (int)step; i++) { /* passed over: they took no time */
        r->at_us[i] = r->at_us[r->reached];
    }
    r->at_us[step] = now_us;
    r->reached = step;
}

void recovery_pass(struct recovery *r, enum recovery_step step, int64_t now_us)
{
    if (r->open && r->reached < step) {
        recovery_reach(r, step, now_us);
    }
}

bool recovery_end(struct recovery *r, char *out, size_t size)
{
    static const char *const NAME[RECOVERY_STEPS] = {"",      "group",  "logs",  "unpack",
                                                     "index", "repeat", "decide"};
    size_t at = 0;
    if (!r->open || r->reached != RECOVERY_DECIDED) {
        return false;
    }
    r->open = false;
    for (int i = RECOVERY_ASSIGNED; i < RECOVERY_STEPS && at < size; i++) {
        at += (size_t)snprintf(out + at, size - at, "%s_ms=%" PRId64 " ", NAME[i],
                               (r->at_us[i] - r->at_us[i - 1]) / 1000);
    }
    if (at < size) {
        snprintf(out + at, size - at, "all_ms=%" PRId64,
                 (r->at_us[RECOVERY_DECIDED] - r->at_us[RECOVERY_BEGUN]) / 1000);
    }
    return true;
}
