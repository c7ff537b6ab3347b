#include "daemon/sink_lines.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/decode_fields.h"
#include "daemon/evidence.h"
#include "storage/sink_writer.h"

static void put(struct sink_line *l, const char *text, size_t len)
{
    l->len = copy_text(l->start, l->len, text, len);
}

static void put_slice(struct sink_line *l, struct slice s)
{
    put(l, s.len > 0 ? s.at : NULL, s.len);
}

static void put_text(struct sink_line *l, const char *text)
{
    put(l, text, strlen(text));
}

static void put_int(struct sink_line *l, int64_t v)
{
    char text[24];
    put(l, text, (size_t)snprintf(text, sizeof text, "%" PRId64, v));
}

static void put_real(struct sink_line *l, double v)
{
    char text[40];
    int n = snprintf(text, sizeof text, "%.9g", v);
    put(l, isfinite(v) ? text : NULL, (size_t)n);
}

static void put_time(struct sink_line *l, int64_t us)
{
    char text[TIME_TEXT_MAX];
    put(l, text, time_format(text, us));
}

static void put_optional(struct sink_line *l, const char *text)
{
    put(l, text[0] != '\0' ? text : NULL, strlen(text));
}

void sink_transaction_line(struct sink_line *l, struct slice log, const struct bus_message *m,
                           const struct tx *t, const struct tx_strings *n)
{
    const char country[3] = {(char)(t->country >> 8), (char)(t->country & 0xff), '\0'};
    put_time(l, t->event_us);
    put_slice(l, log);
    put_int(l, m->partition);
    put_int(l, m->offset);
    put_slice(l, n->id);
    put_slice(l, n->card);
    put_text(l, FIELD_TYPE[t->type]);
    put_int(l, t->amount_minor);
    put_text(l, t->currency);
    put_int(l, n->exponent);
    put_int(l, t->amount_ref);
    put_slice(l, n->merchant);
    put_slice(l, n->terminal);
    if (t->mcc != 0) {
        put_int(l, t->mcc);
    } else {
        put(l, NULL, 0);
    }
    put_optional(l, country);
    put_optional(l, t->channel == CHANNEL_MISSING ? "" : FIELD_CHANNEL[t->channel - 1]);
    put_optional(l, t->entry == ENTRY_MISSING ? "" : FIELD_ENTRY[t->entry - 1]);
    put_slice(l, n->device);
    put_slice(l, n->ip);
    put_real(l, t->has_location ? (double)t->lat : (double)NAN);
    put_real(l, t->has_location ? (double)t->lon : (double)NAN);
}

/* Places in the logs and columns, as an array; nulls where the message does not carry them. */
static void put_evidence(struct sink_line *l, const struct bus_message *m)
{
    struct positions at;
    float x[FEAT_DIM];
    char text[FEAT_DIM * 18 + 3] = "{";
    size_t n = 1;
    if (!evidence_read(m->headers, m->header_count, &at, x)) {
        for (int i = 0; i < 4; i++) {
            put(l, NULL, 0);
        }
        return;
    }
    put_int(l, at.journal);
    put_int(l, at.labels_next);
    put_int(l, at.notices_next);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.9g", i > 0 ? "," : "", (double)x[i]);
    }
    text[n++] = '}';
    put(l, text, n);
}

void sink_decision_line(struct sink_line *l, const struct bus_message *m, const struct decision *d)
{
    char schema[20];
    snprintf(schema, sizeof schema, "%016" PRIx64, d->schema_hash);
    put_time(l, d->event_us);
    put_slice(l, d->log);
    put_int(l, d->partition);
    put_int(l, d->offset);
    put_slice(l, d->tx);
    put_real(l, d->probability);
    put_real(l, d->threshold);
    put_text(l, decision_outcome_name(d->outcome));
    put_slice(l, d->model);
    put_text(l, schema);
    put_int(l, d->revision);
    put_text(l, d->repeat ? "t" : "f");
    put_real(l, (double)d->amount_ratio);
    put_evidence(l, m);
    put_slice(l, d->control);
    put_optional(l, d->observed ? decision_outcome_name(d->would) : "");
}

void sink_alert_line(struct sink_line *l, struct slice body, const struct decision *d,
                     const struct tx *t, const struct tx_strings *n)
{
    put_slice(l, d->log);
    put_int(l, d->partition);
    put_int(l, d->offset);
    put_time(l, d->event_us);
    put_slice(l, d->tx);
    put_slice(l, n->card);
    put_int(l, t->amount_minor);
    put_text(l, t->currency);
    put_int(l, n->exponent);
    put_int(l, t->amount_ref);
    put_real(l, d->probability);
    put_text(l, decision_outcome_name(d->outcome));
    put_slice(l, d->model);
    put_slice(l, body);
}

void sink_label_line(struct sink_line *l, struct slice body, const struct label *b,
                     const struct label_strings *n)
{
    put_slice(l, n->source);
    put_int(l, (int64_t)b->number);
    put_slice(l, n->tx);
    put_text(l, FIELD_VERDICT[b->verdict]);
    put_time(l, b->event_us);
    put_time(l, b->known_us);
    put_slice(l, n->card);
    put_slice(l, body);
}
