#include "base/log_limit.h"

#include <stddef.h>

#define STEP_FIRST_US INT64_C(1000000)
#define STEP_MOST_US INT64_C(60000000)

/* FNV-1a without digits; never 0. */
static uint64_t kind_of(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9') {
            h = (h ^ (uint64_t)(unsigned char)*p) * UINT64_C(0x100000001b3);
        }
    }
    return h | 1;
}

bool log_limit_pass(struct log_limit *l, const char *text, int64_t now_us, uint64_t *out_held)
{
    const uint64_t wanted = kind_of(text);
    struct log_limit_kind *k = &l->kind[0];
    *out_held = 0;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < LOG_LIMIT_KINDS && k->text != wanted; i++) {
        struct log_limit_kind *other = &l->kind[i];
        if (other->text == wanted || other->text == 0 ||
            (k->text != 0 && other->last_us < k->last_us)) {
            k = other;
        }
    }
    bool known = k->text == wanted;
    /* calm for longer than the longest pause: as if it were new */
    bool anew = !known || now_us - k->last_us > 2 * STEP_MOST_US;
    bool pass = anew || now_us >= k->next_us;
    if (pass) {
        *out_held = known ? k->held : 0;
        int64_t step = anew ? STEP_FIRST_US : 2 * k->step_us;
        *k = (struct log_limit_kind){.text = wanted,
                                     .step_us = step < STEP_MOST_US ? step : STEP_MOST_US};
        k->next_us = now_us + k->step_us;
    } else {
        k->held++;
    }
    k->last_us = now_us;
    pthread_mutex_unlock(&l->lock);
    return pass;
}
