#include "daemon/produce.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/encode.h"

#define BATCH 64   /* payments that share one batch number of the bus */
#define NAP_US 250 /* shorter sleeps cost more than they keep */
#define ACK_WAIT_MS 100

struct produce {
    const struct produce_conf *c;
    const struct bus *bus;
    struct feed *feed;
    struct verdicts *verdicts;
    const volatile sig_atomic_t *stop;
    struct produce_stats *stats;
    struct progress progress;
    int64_t start_us;      /* monotonic */
    int64_t start_wall_us; /* the same moment since 1970 */
    uint64_t acked_before;
    char framed[ENCODE_MAX]; /* a payment that is no JSON */
};

int64_t produce_due(int64_t start_us, double rate, uint64_t i)
{
    return rate > 0 ? start_us + (int64_t)((double)i * 1e6 / rate) : start_us;
}

static int64_t now_us(const struct produce *p)
{
    return p->c->clock.now_us(p->c->clock.ctx);
}

static void count_acked(struct produce *p)
{
    struct bus_counters n;
    p->bus->counters(p->bus->self, &n);
    p->stats->acked = n.acked - p->acked_before;
}

static enum err send(struct produce *p, const struct bus_record *r, struct errmsg *e)
{
    const struct bus *b = p->bus;
    enum err err = b->send(b->self, r, e);
    while (err == ERR_FULL && *p->stop < 2) {
        (void)b->wait(b->self, 10);
        err = b->send(b->self, r, e);
    }
    return err;
}

/* Labels known at or before until_us; those known before from_us are not sent, they only take
 * effect on the amount ratios of later ones. */
static enum err send_labels(struct produce *p, int64_t until_us, struct errmsg *e)
{
    struct verdict v;
    enum err err = ERR_OK;
    while (*p->stop == 0 && (err = verdicts_next(p->verdicts, until_us, &v, e)) == ERR_OK) {
        if (v.known_us < p->c->from_us) {
            continue;
        }
        const struct bus_record r = {.topic = TOPIC_LABELS,
                                     .partition = -1,
                                     .key = v.card.at,
                                     .key_len = v.card.len,
                                     .value = v.json.at,
                                     .value_len = v.json.len,
                                     .batch = p->stats->sent / BATCH};
        err = send(p, &r, e);
        if (err != ERR_OK) {
            return err;
        }
        p->stats->labels++;
    }
    return err == ERR_END ? ERR_OK : err;
}

/* Sleeps until the next payment is due, serving acknowledgements.  Returns when it is due. */
static int64_t await_due(struct produce *p)
{
    const struct bus *b = p->bus;
    int64_t due_us = produce_due(p->start_us, p->c->rate, p->stats->sent);
    int64_t left_us = due_us - now_us(p);
    if (p->c->rate <= 0) {
        (void)b->wait(b->self, 0);
    }
    for (; p->c->rate > 0 && left_us > 0 && *p->stop == 0; left_us = due_us - now_us(p)) {
        (void)b->wait(b->self, 0);
        int64_t nap_us = left_us < NAP_US ? NAP_US : left_us > TIME_S / 10 ? TIME_S / 10 : left_us;
        p->c->clock.sleep_us(p->c->clock.ctx, nap_us);
    }
    return due_us;
}

/* The message of a payment; JSON is sent as it came. */
static enum err make_value(struct produce *p, const struct feed_item *item, struct slice *out,
                           struct errmsg *e)
{
    *out = item->json;
    if (p->c->format == FORMAT_JSON) {
        return ERR_OK;
    }
    out->at = p->framed;
    return schemas_write(p->c->format, p->c->schema, &item->tx, &item->strings, p->framed,
                         sizeof p->framed, &out->len) == ERR_OK
               ? ERR_OK
               : err_set(e, ERR_INVALID, "line %" PRIu64 " gives more than %zu bytes",
                         feed_line(p->feed), sizeof p->framed);
}

static enum err send_payment(struct produce *p, const struct feed_item *item, struct errmsg *e)
{
    const struct produce_conf *c = p->c;
    struct slice value;
    enum err err = make_value(p, item, &value, e);
    if (err != ERR_OK) {
        return err;
    }
    int64_t due_us = await_due(p);
    if (*p->stop != 0) {
        return ERR_END;
    }
    struct bus_record r = {.topic = TOPIC_TRANSACTIONS,
                           .partition = -1,
                           .key = item->strings.card.at,
                           .key_len = item->strings.card.len,
                           .value = value.at,
                           .value_len = value.len,
                           .batch = p->stats->sent / BATCH};
    if (c->rate > 0) {
        int64_t late_us = now_us(p) - due_us;
        latency_add(&p->stats->lateness, late_us > 0 ? (uint64_t)late_us * 1000 : 0);
        r.timestamp_us = c->stamp_due ? p->start_wall_us + due_us - p->start_us : 0;
    }
    err = send(p, &r, e);
    p->stats->sent += err == ERR_OK;
    return err;
}

static void show(struct produce *p)
{
    char detail[64];
    if (p->stats->sent % 256 != 0) {
        return;
    }
    count_acked(p);
    double share = p->c->share_known ? feed_share(p->feed) : 0;
    if (p->c->expected == 0) {
        p->progress.total = share > 0 ? (double)p->stats->sent / share : 0;
    }
    snprintf(detail, sizeof detail, "acknowledged=%" PRIu64, p->stats->acked);
    progress_update(&p->progress, (double)p->stats->sent, detail);
}

static enum err check_date(const struct produce *p, const struct feed_item *item, struct errmsg *e)
{
    char text[TIME_TEXT_MAX];
    int64_t wall_us = p->c->clock.wall_us(p->c->clock.ctx);
    if (item->tx.event_us <= wall_us + p->c->future_us) {
        return ERR_OK;
    }
    time_format(text, item->tx.event_us);
    return err_set(e, ERR_INVALID,
                   "line %" PRIu64 " is dated %s, which is in the future: scoring refuses such "
                   "payments; --shift moves the file's times by whole weeks so that they end now",
                   feed_line(p->feed), text);
}

/* One payment of the file; ERR_END: no more are to be sent. */
static enum err one(struct produce *p, struct errmsg *e)
{
    struct feed_item item;
    enum err err = feed_next(p->feed, &item, e);
    if (err != ERR_OK || item.tx.event_us >= p->c->to_us) {
        return err;
    }
    if (p->verdicts != NULL) {
        err = send_labels(p, item.tx.event_us, e);
        if (err == ERR_OK) {
            err = verdicts_see(p->verdicts, &item, e);
        }
    }
    if (err != ERR_OK || item.tx.event_us < p->c->from_us) {
        return err;
    }
    err = check_date(p, &item, e);
    if (err == ERR_OK) {
        err = send_payment(p, &item, e);
        show(p);
    }
    return err;
}

static enum err await_acks(struct produce *p, struct errmsg *e)
{
    const struct bus *b = p->bus;
    while (*p->stop < 2 && b->wait(b->self, ACK_WAIT_MS) != UINT64_MAX) {
        count_acked(p);
    }
    count_acked(p);
    uint64_t open = p->stats->sent + p->stats->labels - p->stats->acked;
    if (open > 0) {
        return err_set(e, ERR_UNAVAILABLE,
                       "stopped while %" PRIu64 " messages were not acknowledged; they may or may "
                       "not be in the topic",
                       open);
    }
    return ERR_OK;
}

enum err produce_run(const struct produce_conf *c, const struct bus *bus, struct feed *f,
                     struct verdicts *v, const volatile sig_atomic_t *stop,
                     struct produce_stats *out, struct errmsg *e)
{
    struct produce p = {.c = c, .bus = bus, .feed = f, .verdicts = v, .stop = stop, .stats = out};
    struct errmsg waited;
    enum err err = ERR_OK;
    memset(out, 0, sizeof *out);
    count_acked(&p);
    p.acked_before = out->acked;
    p.start_us = now_us(&p);
    p.start_wall_us = c->clock.wall_us(c->clock.ctx);
    progress_begin(&p.progress, c->job,
                   (double)(c->limit > 0 && (c->limit < c->expected || c->expected == 0)
                                ? c->limit
                                : c->expected));
    while (err == ERR_OK && *stop == 0 && (c->limit == 0 || out->sent < c->limit)) {
        err = one(&p, e);
    }
    if (err == ERR_END && *stop == 0 && v != NULL) { /* the file's end: what is known by now */
        int64_t wall_us = c->clock.wall_us(c->clock.ctx);
        err = send_labels(&p, c->to_us - 1 < wall_us ? c->to_us - 1 : wall_us, e);
    }
    progress_end(&p.progress, (double)out->sent);
    enum err acked = await_acks(&p, &waited);
    out->elapsed_us = now_us(&p) - p.start_us;
    if (err == ERR_OK || err == ERR_END) {
        if (acked != ERR_OK) {
            *e = waited;
        }
        return acked;
    }
    return err;
}
