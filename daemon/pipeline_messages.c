/* How messages come into the pipeline. */
#include <string.h>

#include "daemon/pipeline_private.h"

static enum dead_reason decode(struct pipeline *p, const struct bus_message *m, struct tx *t,
                               struct tx_strings *strings)
{
    return decode_tx(p->decoder, m->value, m->value_len, m->key != NULL ? m->key : "", m->key_len,
                     m->timestamp_us, p->conf.max_future_us, t, strings);
}

/* Decodes the next few messages and has their cards and places fetched. */
static void look_ahead(struct pipeline *p, const struct lane *l, const struct bus_message *m,
                       size_t n)
{
    struct lookahead *a = &p->ahead;
    uint64_t start = pipeline_now(p);
    for (size_t i = 0; i < n; i++) {
        struct tx_strings strings;
        a->reason[i] = decode(p, &m[i], &a->tx[i], &strings);
        if (a->reason[i] != DEAD_NONE) {
            a->tx[i] = (struct tx){.id = 0};
            continue;
        }
        a->id_len[i] = strings.id.len;
        memcpy(a->id[i], strings.id.at, strings.id.len);
    }
    uint64_t decoded = pipeline_now(p);
    feat_prefetch(l->features, a->tx, n);
    p->stage_ns[STAGE_DECODE] += decoded - start;
    p->stage_ns[STAGE_FEATURES] += pipeline_now(p) - decoded;
}

static void refuse(struct pipeline *p, const struct bus_message *m)
{
    struct tx t;
    struct tx_strings strings;
    /* once more: what the decoder said of this one it has said of others since */
    enum dead_reason reason = decode(p, m, &t, &strings);
    pipeline_dead_letter(p, reason, m);
}

/* Takes message i of those looked at. */
static void take(struct pipeline *p, struct lane *l, const struct bus_message *m, size_t i,
                 bool emit)
{
    const struct lookahead *a = &p->ahead;
    p->counters.received += emit;
    if (a->reason[i] != DEAD_NONE) {
        if (emit) {
            refuse(p, m);
        }
        return;
    }
    if (pipeline_must_flush(p, l, &a->tx[i])) {
        pipeline_flush(p); /* here, so that its time is not counted as the features' */
    }
    uint64_t start = pipeline_now(p);
    struct slot *s = pipeline_push(p, l, &a->tx[i]);
    memcpy(s->id, a->id[i], a->id_len[i]);
    s->id_len = a->id_len[i];
    s->message = m;
    s->offset = m->offset;
    s->emit = emit;
    p->stage_ns[STAGE_FEATURES] += pipeline_now(p) - start;
}

void pipeline_messages(struct pipeline *p, struct lane *l, const struct bus_message *m, size_t n,
                       int64_t emit_from)
{
    for (size_t at = 0; at < n; at += FEAT_PREFETCH_MAX) {
        size_t few = n - at < FEAT_PREFETCH_MAX ? n - at : FEAT_PREFETCH_MAX;
        look_ahead(p, l, m + at, few);
        for (size_t i = 0; i < few; i++) {
            take(p, l, &m[at + i], i, m[at + i].offset >= emit_from);
        }
    }
    pipeline_flush(p);
}

bool pipeline_label_message(struct pipeline *p, struct feat_world *const *worlds, size_t n,
                            const struct bus_message *m, bool emit, struct label *out)
{
    struct label label;
    struct label_strings strings;
    enum dead_reason reason = decode_label(p->decoder, m->value, m->value_len, m->timestamp_us,
                                           p->conf.max_future_us, &label, &strings);
    if (reason != DEAD_NONE) {
        p->counters.bad_labels++;
        if (emit) {
            pipeline_dead_letter(p, reason, m);
        }
        return false;
    }
    p->counters.labels++;
    for (size_t i = 0; i < n; i++) {
        enum err err = feat_label(worlds[i], &label);
        p->counters.labels_lost += err != ERR_OK;
    }
    if (out != NULL) {
        *out = label;
    }
    return true;
}
