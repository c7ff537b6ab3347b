/* What the pipeline sends: decisions, alerts with reasons, dead letters. */
#include <string.h>

#include "daemon/card_number.h"
#include "daemon/pipeline_private.h"
#include "daemon/reasons.h"
#include "daemon/schemas.h"
#include "daemon/version.h"

#define KEY_MAX 1024 /* bytes of a refused message's key that its dead letter keeps */

static void send_record(struct pipeline *p, enum bus_topic topic, const struct slot *s,
                        const char *bytes, size_t len, const struct bus_header *header)
{
    if (p->out.record == NULL) {
        return;
    }
    const struct slice key = decode_key(p->decoder, s->message->key, s->message->key_len);
    const struct bus_record r = {.topic = topic,
                                 .partition = topic == TOPIC_DECISIONS ? p->lane->partition : -1,
                                 .key = key.at,
                                 .key_len = key.len,
                                 .value = bytes,
                                 .value_len = len,
                                 .headers = header,
                                 .header_count = header != NULL};
    p->out.record(p->out.ctx, &r);
}

static void explain(struct pipeline *p, const struct slot *s, const float *x, const void *cache,
                    struct decision *d)
{
    float group[GROUP_COUNT];
    const struct model_groups groups = {p->group_of, GROUP_COUNT, NULL};
    model_attribute(p->conf.model, p->work, x, s->tx.event_us, cache, &groups, group);
    struct reason made[DECISION_REASONS_MAX];
    const size_t n = reasons_make(x, group, &s->facts, made);
    for (size_t i = 0; i < n && d->reason_count < DECISION_REASONS_MAX; i++) {
        d->reasons[d->reason_count++] = made[i];
    }
}

/* Says which control decided, as the first reason. */
static void tell_control(const struct pipeline *p, const struct control_answer *c,
                         char name[CONTROL_NAME_MAX + 1], struct decision *d)
{
    _Static_assert(sizeof d->reasons[0].text == CONTROL_TEXT_MAX, "one number in two layers");
    _Static_assert(CONTROL_NAME_MAX == WIRE_CONTROL_MAX, "one number in two layers");
    struct reason *r = &d->reasons[d->reason_count++];
    r->group = REASON_CONTROL;
    r->weight = 0;
    controls_tell(p->conf.controls, c, name, r->text);
    d->control = (struct slice){name, strlen(name)};
}

/* Alerts carry the payment; its text is read again from the message, because alerts are rare. */
static void emit_alert(struct pipeline *p, const struct slot *s, const struct decision *d)
{
    struct tx t;
    struct tx_strings strings;
    const struct bus_message *m = s->message;
    size_t len = 0;
    if (decode_tx(p->decoder, m->value, m->value_len, m->key, m->key_len, m->timestamp_us, -1, &t,
                  &strings) == DEAD_NONE &&
        encode_alert(d, &t, &strings, p->json, sizeof p->json, &len) == ERR_OK) {
        send_record(p, TOPIC_ALERTS, s, p->json, len, NULL);
    }
}

static void emit_decision(struct pipeline *p, const struct slot *s, const struct decision *d,
                          const float *x)
{
    uint8_t bytes[EVIDENCE_BYTES];
    const struct bus_header header = {EVIDENCE_HEADER, bytes, sizeof bytes};
    size_t len = 0;
    /* a repeat was computed from nothing */
    const bool kept = p->at.journal >= 0 && !d->repeat &&
                      (decision_is_alert(d) ||
                       evidence_sampled(d->log, d->partition, d->offset, p->conf.evidence_share));
    if (encode_decision(d, p->json, sizeof p->json, &len) != ERR_OK) {
        return;
    }
    if (kept) {
        evidence_write(&p->at, x, bytes);
    }
    send_record(p, TOPIC_DECISIONS, s, p->json, len, kept ? &header : NULL);
}

static void tell_explained(struct pipeline *p, const struct slot *s, const struct decision *d,
                           const float *x, const void *cache, bool has_reasons)
{
    struct decision full = *d;
    if (!has_reasons && !d->repeat && cache != NULL) {
        explain(p, s, x, cache, &full);
    }
    const struct explained e = {&full, d->repeat ? NULL : x, p->at};
    p->out.explained(p->out.ctx, &e);
}

void pipeline_emit_decision(struct pipeline *p, const struct slot *s, const struct answer *a,
                            const struct control_answer *control, const float *x, const void *cache)
{
    char name[CONTROL_NAME_MAX + 1];
    struct decision d = {.tx = {s->id, s->id_len},
                         .log = p->conf.log,
                         .partition = p->lane->partition,
                         .offset = s->offset,
                         .event_us = s->tx.event_us,
                         .probability = (double)a->probability,
                         .threshold = (double)a->threshold,
                         .outcome = (enum decision_outcome)a->outcome,
                         .schema_hash = p->schema_hash,
                         .observed = a->would > 0,
                         .would = (enum decision_outcome)(a->would > 0 ? a->would - 1 : 0),
                         .revision = FD_DECISION_REVISION,
                         .repeat = s->repeat.tx != 0,
                         .amount_ratio = a->amount_ratio};
    const char *version = model_lineage(p->conf.model)->version;
    d.model = (struct slice){version, strlen(version)};
    bool alert = decision_is_alert(&d) && !d.repeat;
    if (control->by != CONTROL_NONE) {
        tell_control(p, control, name, &d);
    }
    const bool reasons = (alert || (d.observed && d.would != DECISION_APPROVE && !d.repeat));
    if (reasons && cache != NULL) {
        explain(p, s, x, cache, &d);
    }
    emit_decision(p, s, &d, x);
    if (alert) {
        p->counters.alerts++;
        emit_alert(p, s, &d);
    }
    if (p->out.explained != NULL) {
        tell_explained(p, s, &d, x, cache, reasons);
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The decoder's word is on the message that it saw last, which these may not be. */
static const char *detail_of(const struct pipeline *p, enum dead_reason reason)
{
    return reason == DEAD_CRASH         ? "it ended the process that looked into it"
           : reason == DEAD_ANSWER_LOST ? "the answer that it was to get again is gone"
           : reason == DEAD_SCHEMA && decode_detail(p->decoder)[0] == '\0'
               ? "the registry did not know its schema when it was looked at first"
               : decode_detail(p->decoder);
}

void pipeline_dead_letter(struct pipeline *p, enum dead_reason reason, const struct bus_message *m)
{
    struct dead_letter d;
    char key[KEY_MAX + 32]; /* as MASKED_MAX */
    bool masked = card_number_mask(m->value, least(m->value_len, MASKED_MAX), p->masked);
    (void)card_number_mask(m->key, least(m->key_len, sizeof key), key);
    encode_dead_letter(reason, detail_of(p, reason), p->conf.log, m->partition, m->offset,
                       masked ? p->masked : m->value, m->value_len, &d);
    /* No search finds every number in bytes: digits beside a tag that is one, or a varint. */
    const bool framed = p->conf.schemas != NULL && m->topic == TOPIC_TRANSACTIONS;
    d.value_len = least(d.value_len, framed ? SCHEMAS_HEADER : BUS_MESSAGE_BYTES);
    struct bus_header headers[DEAD_LETTER_HEADERS];
    for (size_t i = 0; i < DEAD_LETTER_HEADERS; i++) {
        headers[i] =
            (struct bus_header){d.header[i].name, d.header[i].text, strlen(d.header[i].text)};
    }
    p->counters.dead_letters++;
    p->counters.dead_by_reason[reason]++;
    if (p->out.record != NULL) {
        const struct bus_record r = {.topic = TOPIC_DEAD_LETTERS,
                                     .partition = -1,
                                     .key = m->key != NULL ? key : NULL,
                                     .key_len = least(m->key_len, KEY_MAX),
                                     .value = d.value,
                                     .value_len = d.value_len,
                                     .headers = headers,
                                     .header_count = DEAD_LETTER_HEADERS,
                                     .cut = true};
        p->out.record(p->out.ctx, &r);
    }
}

void pipeline_crashed(struct pipeline *p, const struct bus_message *m, bool whole)
{
    const struct bus_message bare = {.partition = m->partition, .offset = m->offset};
    p->counters.received += m->topic == TOPIC_TRANSACTIONS;
    pipeline_dead_letter(p, DEAD_CRASH, whole ? m : &bare);
}
