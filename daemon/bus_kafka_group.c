/* Group topics: a consumer group with range assignment (cooperative-sticky can loop or hang in
 * librdkafka 2.0.2). */
#include <stdlib.h>

#include "base/progress.h"
#include "daemon/bus_kafka.h"

#define JOIN_PATIENCE_US 30000000

/* Fills committed offsets and bounds of the new partitions.  Tries again while the brokers are
 * away, up to JOIN_PATIENCE_US. */
static bool ask_bounds(struct bus_kafka *b, rd_kafka_topic_partition_list_t *list, int64_t *low,
                       int64_t *high)
{
    int64_t until_us = progress_now_us() + JOIN_PATIENCE_US;
    for (;;) {
        rd_kafka_resp_err_t why = rd_kafka_committed(b->group, list, BUS_ASK_MS);
        for (int i = 0; why == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) {
            why = list->elems[i].err;
            if (why == RD_KAFKA_RESP_ERR_NO_ERROR) {
                why = rd_kafka_query_watermark_offsets(b->group, list->elems[i].topic,
                                                       list->elems[i].partition, &low[i], &high[i],
                                                       BUS_ASK_MS);
            }
        }
        if (why == RD_KAFKA_RESP_ERR_NO_ERROR) {
            b->answered = true;
            return true;
        }
        b->counters.broker_errors++;
        bus_kafka_trouble(b, false, "cannot ask for the offsets of %d partitions: %s", list->cnt,
                          rd_kafka_err2str(why));
        if (progress_now_us() >= until_us) {
            return false;
        }
        rd_kafka_poll(b->whole, 200); /* a pause that serves callbacks */
    }
}

static void assign(struct bus_kafka *b, rd_kafka_topic_partition_list_t *list)
{
    int64_t *low = calloc((size_t)list->cnt * 2 + 1, sizeof *low);
    if (low == NULL || !ask_bounds(b, list, low, low + list->cnt)) {
        rd_kafka_assign(b->group, NULL);
        b->rejoin = true;
        free(low);
        return;
    }
    rd_kafka_topic_partition_list_t *take = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *t = &list->elems[i];
        int topic = bus_kafka_topic_of(b, t->topic);
        int64_t committed = t->offset >= 0 ? t->offset : -1;
        if (topic >= 0 &&
            bus_kafka_start(b, topic, t->partition, committed, low[i], low[list->cnt + i])) {
            rd_kafka_topic_partition_list_add(take, t->topic, t->partition)->offset =
                bus_kafka_part(b, topic, t->partition)->next;
        }
    }
    rd_kafka_resp_err_t why = rd_kafka_assign(b->group, take);
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
        bus_kafka_trouble(b, true, "cannot take %d partitions: %s", take->cnt,
                          rd_kafka_err2str(why));
    }
    for (int i = 0; i < take->cnt; i++) {
        int topic = bus_kafka_topic_of(b, take->elems[i].topic);
        if (bus_kafka_part(b, topic, take->elems[i].partition)->paused) {
            bus_kafka_pause(b, (enum bus_topic)topic, take->elems[i].partition, true);
        }
    }
    rd_kafka_topic_partition_list_destroy(take);
    free(low);
}

static void revoke_all(struct bus_kafka *b, const rd_kafka_topic_partition_list_t *list)
{
    bool lost = rd_kafka_assignment_lost(b->group) != 0;
    for (int i = 0; i < list->cnt; i++) {
        int topic = bus_kafka_topic_of(b, list->elems[i].topic);
        struct bus_part *p = topic >= 0 ? bus_kafka_part(b, topic, list->elems[i].partition) : NULL;
        if (p == NULL || !p->ours) {
            continue;
        }
        if (b->events.revoked != NULL) {
            b->events.revoked(b->events.ctx, (enum bus_topic)topic, list->elems[i].partition, lost);
        }
        p->ours = false;
    }
    rd_kafka_assign(b->group, NULL);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct bus_kafka *b = opaque;
    if (b->closing) { /* from the background: everything was given up before */
        rd_kafka_assign(rk, NULL);
        return;
    }
    b->counters.rebalances++;
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assign(b, list);
    } else {
        if (what != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
            bus_kafka_trouble(b, false, "the group's rebalance failed: %s", rd_kafka_err2str(what));
        }
        revoke_all(b, list);
    }
}

enum err bus_kafka_group_join(struct bus_kafka *b, struct errmsg *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(TOPIC_COUNT);
    for (int i = 0; i < TOPIC_COUNT; i++) {
        if (b->plan.group_topic[i]) {
            rd_kafka_topic_partition_list_add(list, b->names[i], RD_KAFKA_PARTITION_UA);
        }
    }
    rd_kafka_resp_err_t why = rd_kafka_subscribe(b->group, list);
    rd_kafka_topic_partition_list_destroy(list);
    return why == RD_KAFKA_RESP_ERR_NO_ERROR
               ? ERR_OK
               : err_set(e, ERR_INVALID, "cannot join group \"%s\": %s", b->plan.group,
                         rd_kafka_err2str(why));
}

/* A member with a name, unless the settings give it one. */
static const char *member_name(const struct bus_kafka *b)
{
    char text[256] = "";
    size_t size = sizeof text;
    const bool told = rd_kafka_conf_get(b->base[USE_GROUP], "group.instance.id", text, &size) ==
                          RD_KAFKA_CONF_OK &&
                      text[0] != '\0';
    return !told && b->plan.member != NULL && b->plan.member[0] != '\0' ? b->plan.member : NULL;
}

enum err bus_kafka_group_open(struct bus_kafka *b, struct errmsg *e)
{
    const char *const member = member_name(b);
    const char *const properties[] = {"group.id",
                                      b->plan.group,
                                      "enable.auto.commit",
                                      "false",
                                      "enable.auto.offset.store",
                                      "false",
                                      "auto.offset.reset",
                                      "error",
                                      "partition.assignment.strategy",
                                      "range",
                                      member != NULL ? "group.instance.id" : NULL,
                                      member,
                                      NULL};
    rd_kafka_conf_set_rebalance_cb(b->base[USE_GROUP], on_rebalance);
    enum err err = bus_kafka_handle(b, USE_GROUP, properties, &b->group, e);
    if (err != ERR_OK) {
        return err;
    }
    rd_kafka_poll_set_consumer(b->group);
    b->group_queue = rd_kafka_queue_get_consumer(b->group);
    return bus_kafka_group_join(b, e);
}
