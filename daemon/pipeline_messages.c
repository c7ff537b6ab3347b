/* How messages come into the pipeline. */
#include <string.h>

#include "daemon/pipeline_private.h"

static enum dead_reason decode(struct pipeline *p, const struct bus_message *m,
                               int64_t max_future_us, struct tx *t, struct tx_strings *strings)
{
    return decode_tx(p->decoder, m->value, m->value_len, m->key != NULL ? m->key : "", m->key_len,
                     m->timestamp_us, max_future_us, t, strings);
}

/* What the recorded fate makes of a message: max_future is a setting, and it was another one maybe
 * when the fate was found. */
static enum dead_reason decode_as(struct pipeline *p, const struct bus_message *m,
                                  const uint8_t *fate, struct tx *t, struct tx_strings *strings)
{
    if (fate == NULL) {
        return decode(p, m, p->conf.max_future_us, t, strings);
    }
    enum dead_reason reason = decode(p, m, -1, t, strings);
    if (*fate != JOURNAL_DEAD_LETTER || reason != DEAD_NONE) {
        p->counters.diverged += *fate != JOURNAL_DEAD_LETTER && reason != DEAD_NONE;
        return reason;
    }
    /* readable: so it was dated too far ahead, its schema unknown, or refused by a setting that has
     * changed since */
    reason = decode(p, m, 0, t, strings);
    return reason != DEAD_NONE ? reason : p->conf.schemas != NULL ? DEAD_SCHEMA : DEAD_CARD_NUMBER;
}

/* Decodes the next few messages and has their cards and places fetched. */
static void look_ahead(struct pipeline *p, const struct lane *l, const struct bus_message *m,
                       const uint8_t *fate, size_t n)
{
    struct lookahead *a = &p->ahead;
    uint64_t start = pipeline_now(p);
    for (size_t i = 0; i < n; i++) {
        struct tx_strings strings;
        a->reason[i] = decode_as(p, &m[i], fate != NULL ? &fate[i] : NULL, &a->tx[i], &strings);
        if (a->reason[i] != DEAD_NONE) {
            a->tx[i] = (struct tx){.id = 0};
            continue;
        }
        a->id_len[i] = strings.id.len;
        memcpy(a->id[i], strings.id.at, strings.id.len);
    }
    uint64_t decoded = pipeline_now(p);
    feat_prefetch(l->features, a->tx, n);
    for (size_t i = 0; i < n && p->conf.controls != NULL; i++) {
        controls_prefetch(p->conf.controls, &a->tx[i]);
    }
    p->stage_ns[STAGE_DECODE] += decoded - start;
    p->stage_ns[STAGE_FEATURES] += pipeline_now(p) - decoded;
}

static void refuse(struct pipeline *p, const struct bus_message *m, const uint8_t *fate)
{
    struct tx t;
    struct tx_strings strings;
    /* once more: what the decoder said of this one it has said of others since */
    enum dead_reason reason = decode_as(p, m, fate, &t, &strings);
    pipeline_dead_letter(p, reason, m);
}

static enum push push_of(const uint8_t *fate)
{
    if (fate == NULL) {
        return PUSH_LOOK;
    }
    return *fate == JOURNAL_REPEAT ? PUSH_AGAIN : PUSH_FRESH;
}

/* Takes message i of those looked at. */
static void take(struct pipeline *p, struct lane *l, const struct bus_message *m,
                 const uint8_t *fate, size_t i, bool emit)
{
    const struct lookahead *a = &p->ahead;
    p->counters.received += emit;
    if (a->reason[i] != DEAD_NONE) {
        if (emit) {
            refuse(p, m, fate);
        }
        return;
    }
    if (pipeline_must_flush(p, l, &a->tx[i])) {
        pipeline_flush(p); /* here, so that its time is not counted as the features' */
    }
    uint64_t start = pipeline_now(p);
    struct slot *s = pipeline_push(p, l, &a->tx[i], push_of(fate));
    p->stage_ns[STAGE_FEATURES] += pipeline_now(p) - start;
    if (s == NULL) {
        if (emit) { /* the card gave way to others within its own batch */
            pipeline_dead_letter(p, DEAD_ANSWER_LOST, m);
        }
        return;
    }
    memcpy(s->id, a->id[i], a->id_len[i]);
    s->id_len = a->id_len[i];
    s->message = m;
    s->offset = m->offset;
    s->emit = emit;
}

void pipeline_messages(struct pipeline *p, struct lane *l, const struct bus_message *m,
                       const uint8_t *fate, size_t n, int64_t emit_from)
{
    for (size_t at = 0; at < n; at += FEAT_PREFETCH_MAX) {
        size_t few = n - at < FEAT_PREFETCH_MAX ? n - at : FEAT_PREFETCH_MAX;
        const uint8_t *fates = fate != NULL ? fate + at : NULL;
        look_ahead(p, l, m + at, fates, few);
        for (size_t i = 0; i < few; i++) {
            take(p, l, &m[at + i], fates != NULL ? fates + i : NULL, i,
                 m[at + i].offset >= emit_from);
        }
    }
    pipeline_flush(p);
}

void pipeline_admit_begin(struct pipeline *p)
{
    if (++p->admission.turn == 0) { /* once in four thousand million batches */
        memset(&p->admission, 0, sizeof p->admission);
        p->admission.turn = 1;
    }
}

/* The slot of a card (tx 0) or payment, taken where there was none; a batch's payments fill half of
 * them at most. */
static struct admit_slot *admit_slot(struct admission *a, uint64_t card, uint64_t tx)
{
    for (uint64_t i = card ^ (tx * UINT64_C(0x9e3779b97f4a7c15));; i++) {
        struct admit_slot *s = &a->slot[(i ^ (i >> 32)) % ADMIT_SLOTS];
        if (s->turn != a->turn) {
            *s = (struct admit_slot){.card = card, .tx = tx, .turn = a->turn};
            return s;
        }
        if (s->card == card && s->tx == tx) {
            return s;
        }
    }
}

enum journal_fate pipeline_admit(struct pipeline *p, const struct lane *l,
                                 const struct bus_message *m, struct tx *out_tx)
{
    struct tx_strings strings;
    uint32_t age = 0;
    if (decode(p, m, p->conf.max_future_us, out_tx, &strings) != DEAD_NONE) {
        return JOURNAL_DEAD_LETTER;
    }
    /* a card keeps its latest ANSWERS_MAX answers: those there now, then those of this batch */
    struct admit_slot *card = admit_slot(&p->admission, out_tx->card, 0);
    struct admit_slot *tx = admit_slot(&p->admission, out_tx->card, out_tx->id);
    bool again = tx->count > 0 ? card->count - tx->count < ANSWERS_MAX
                               : pipeline_find_answer(p, l, out_tx, &age) != NULL &&
                                     age + card->count < ANSWERS_MAX;
    if (again) {
        return JOURNAL_REPEAT;
    }
    tx->count = ++card->count;
    return JOURNAL_DECIDED;
}

bool pipeline_label_message(struct pipeline *p, const struct bus_message *m, bool emit,
                            struct label *out)
{
    struct label_strings strings;
    enum dead_reason reason = decode_label(p->decoder, m->value, m->value_len, m->timestamp_us,
                                           p->conf.max_future_us, out, &strings);
    if (reason != DEAD_NONE) {
        p->counters.bad_labels++;
        if (emit) {
            pipeline_dead_letter(p, reason, m);
        }
        return decode_label(p->decoder, m->value, m->value_len, m->timestamp_us, -1, out,
                            &strings) == DEAD_NONE;
    }
    p->counters.labels++;
    return true;
}

bool pipeline_label_ahead(const struct pipeline *p, const struct label *label, int64_t timestamp_us)
{
    const int64_t max_us = p->conf.max_future_us;
    return max_us >= 0 && (timestamp_us < 0 || label->known_us - max_us > timestamp_us);
}

void pipeline_label(struct pipeline *p, struct feat_world *w, const struct label *label)
{
    p->counters.labels_lost += feat_label(w, label) != ERR_OK;
}
