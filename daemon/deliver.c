#include "daemon/deliver.h"

#include <inttypes.h>
#include <string.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/bus_admin.h"
#include "daemon/bus_trouble.h"
#include "daemon/notice.h"
#include "daemon/settings.h"

static void on_trouble(void *ctx, bool fatal, const char *text)
{
    (void)ctx;
    bus_trouble_log(NULL, fatal, text);
}

static enum err check_topic(const struct conf *c, int64_t timeout_us, struct errmsg *e)
{
    const char *name = settings_topic(c, TOPIC_NOTICES);
    struct bus_topic_facts facts = {0};
    struct bus_admin *a = NULL;
    enum err err = bus_admin_open(c, &a, e);
    if (err == ERR_OK) {
        err = bus_admin_facts(a, &name, 1, &facts, (int)(timeout_us / 1000), e);
    }
    bus_admin_close(a);
    if (err == ERR_OK && !facts.exists) {
        err = err_set(e, ERR_NOTFOUND,
                      "topic \"%s\" does not exist at %s; `fraudd check` prints the command that "
                      "makes it",
                      name, conf_text(c, "brokers"));
    } else if (err == ERR_OK && facts.partitions != 1) {
        err = err_set(e, ERR_MISMATCH,
                      "topic \"%s\" has %" PRId32 " partitions, and notices need one order: make "
                      "it anew with one",
                      name, facts.partitions);
    }
    return err;
}

static enum err wait_acknowledged(const struct bus *bus, int64_t timeout_us, struct errmsg *e)
{
    int64_t until_us = progress_now_us() + timeout_us;
    while (bus->wait(bus->self, 100) != UINT64_MAX) {
        if (progress_now_us() > until_us) {
            return err_set(e, ERR_UNAVAILABLE,
                           "no broker acknowledged it within %" PRId64 " s; it may still arrive",
                           timeout_us / TIME_S);
        }
    }
    return ERR_OK;
}

/* Waits for room in the queue. */
static enum err send_one(struct bus *bus, const struct deliver_notice *n, uint64_t batch,
                         int64_t until_us, struct errmsg *e)
{
    if (strcmp(n->kind, "control") != 0 && strcmp(n->kind, "shadow-end") != 0) {
        return notice_send(bus, n->kind, n->bytes, n->len, e);
    }
    enum err err = ERR_FULL;
    while ((err = notice_send_text(bus, n->kind, (const char *)n->bytes, n->len, batch, e)) ==
               ERR_FULL &&
           progress_now_us() < until_us) {
        (void)bus->wait(bus->self, 50);
    }
    return err;
}

enum err deliver_notices(const struct conf *c, const struct deliver_notice *notices, size_t n,
                         int64_t timeout_us, struct errmsg *e)
{
    struct bus bus = {0};
    const struct bus_events events = {.trouble = on_trouble};
    const struct bus_plan plan = {
        .client = "fraudd-notices",
        .topic_name = {[TOPIC_NOTICES] = settings_topic(c, TOPIC_NOTICES)},
        .produces = true};
    const int64_t until_us = progress_now_us() + timeout_us;
    enum err err = check_topic(c, timeout_us, e);
    if (err == ERR_OK) {
        err = bus_kafka_open(c, &plan, &events, &bus, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        err = send_one(&bus, &notices[i], i, until_us, e);
    }
    if (err == ERR_OK) {
        err = wait_acknowledged(&bus, timeout_us, e);
    }
    bus.close(bus.self);
    return err;
}

enum err deliver_model(const struct conf *c, const char *kind, const uint8_t *model, size_t len,
                       int64_t timeout_us, struct errmsg *e)
{
    const struct deliver_notice n = {kind, model, len};
    return deliver_notices(c, &n, 1, timeout_us, e);
}
