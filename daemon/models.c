#include "daemon/models.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_in_shadow(struct models *m, const struct model *shadow, bool former,
                          const struct models_notice *n)
{
    m->at.shadow = shadow;
    m->former = former;
    m->notice = n->offset;
    m->notice_us = n->timestamp_us;
}

static void end_shadow(struct models *m)
{
    m->at.shadow = NULL;
    m->former = false;
}

static void take_champion(struct models *m, const struct models_notice *n)
{
    const struct model *before = m->at.champion;
    const bool was_told = m->told;
    m->told = true;
    if (model_same(n->model, before)) {
        return;
    }
    m->at.champion = model_same(n->model, m->at.shadow) ? m->at.shadow : n->model;
    if (was_told) {
        put_in_shadow(m, before, true, n);
    }
}

void models_take(struct models *m, const struct models_notice *n)
{
    switch (n->kind) { /* before the first champion is told none is known to all */
    case MODELS_CHAMPION:
        take_champion(m, n);
        break;
    case MODELS_SHADOW:
        if (m->told && !model_same(n->model, m->at.champion)) {
            put_in_shadow(m, model_same(n->model, m->at.shadow) ? m->at.shadow : n->model, false,
                          n);
        }
        break;
    case MODELS_END:
        if (m->at.shadow != NULL && model_hash(m->at.shadow) == n->hash &&
            (n->began < 0 || n->began == m->notice)) {
            end_shadow(m);
        }
        break;
    }
}

size_t models_write_end(uint64_t hash, int64_t began, char out[MODELS_END_MAX])
{
    return (size_t)snprintf(out, MODELS_END_MAX,
                            "fraudd-shadow\t1\nend\t%016" PRIx64 "\t%" PRId64 "\n", hash, began);
}

enum err models_read_end(const char *text, size_t len, struct models_notice *out, struct errmsg *e)
{
    char line[MODELS_END_MAX] = "";
    char again[MODELS_END_MAX];
    uint64_t hash = 0;
    int64_t began = 0;
    if (len < sizeof line) {
        memcpy(line, text, len);
    }
    const char *at = strstr(line, "end\t");
    if (at != NULL) {
        char *end = NULL;
        hash = strtoull(at + 4, &end, 16);
        began = strtoll(end, NULL, 10);
    }
    /* what was read must be what would be written: so there is one form */
    if (models_write_end(hash, began, again) != len || memcmp(again, text, len) != 0) {
        return err_set(e, ERR_CORRUPT, "a shadow-end notice of %zu bytes is not one", len);
    }
    out->hash = hash;
    out->began = began;
    return ERR_OK;
}
