/* Commits of the Kafka bus: what the owner asks, many partitions in one request.
 *
 * Invariants
 *  1. Only offsets that `commit` named are committed, and only of partitions that are ours.
 *  2. A commit that fails is sent again unless a later offset waits or the partition went away. */
#include "daemon/bus_kafka.h"

#include "base/progress.h"

/* Waited for when a partition goes away or the process ends: what is not committed then is decided
 * again, identically, and SIGTERM must end a process within 5 s whatever the broker does. */
#define COMMIT_TIMEOUT_MS 1000
/* A commit is a request that the broker writes to a log of its own: not one a batch.  What is not
 * committed yet when a process dies is decided again, identically. */
#define COMMIT_EVERY_US 200000

/* What is committed soon, taken out of the parts; NULL: nothing.  Owned. */
static rd_kafka_topic_partition_list_t *take_commits(struct bus_kafka *b)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; b->plan.group_topic[t] && p < b->parts[t].count; p++) {
            struct bus_part *part = &b->parts[t].part[p];
            if (part->ours && part->commit >= 0) {
                list = list != NULL ? list : rd_kafka_topic_partition_list_new(p + 1);
                rd_kafka_topic_partition_list_add(list, b->names[t], p)->offset = part->commit;
                part->commit = -1;
            }
        }
    }
    b->commit_wanted = false;
    return list;
}

/* A commit of these failed: they are sent again, unless later offsets are already waiting. */
static void want_again(struct bus_kafka *b, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; list != NULL && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *e = &list->elems[i];
        int topic = bus_kafka_topic_of(b, e->topic);
        struct bus_part *part = topic >= 0 ? bus_kafka_part(b, topic, e->partition) : NULL;
        if (part != NULL && part->ours && part->commit < e->offset) {
            part->commit = e->offset;
            b->commit_wanted = true;
        }
    }
    b->commit_us = progress_now_us() + 5 * (int64_t)COMMIT_EVERY_US;
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t why,
                      rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct bus_kafka *b = opaque;
    (void)rk;
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR && why != RD_KAFKA_RESP_ERR__NO_OFFSET && !b->closing) {
        b->counters.broker_errors++;
        bus_kafka_trouble(b, false, "committing: %s; trying again", rd_kafka_err2str(why));
        want_again(b, list);
    }
}

void bus_kafka_tend_commits(struct bus_kafka *b)
{
    if (!b->commit_wanted || progress_now_us() < b->commit_us) {
        return;
    }
    b->commit_us = progress_now_us() + COMMIT_EVERY_US;
    rd_kafka_topic_partition_list_t *list = take_commits(b);
    if (list == NULL) {
        return;
    }
    rd_kafka_resp_err_t why = rd_kafka_commit_queue(b->group, list, b->group_queue, on_commit, b);
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
        on_commit(b->group, why, list, b);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* COMMIT_TIMEOUT_MS at most: rd_kafka_commit has no bound. */
enum err bus_kafka_commit_now(struct bus_kafka *b, struct errmsg *e)
{
    rd_kafka_topic_partition_list_t *list = take_commits(b);
    if (list == NULL) {
        return ERR_OK;
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(b->group);
    rd_kafka_resp_err_t why = rd_kafka_commit_queue(b->group, list, queue, NULL, NULL);
    if (why == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_event_t *ev = rd_kafka_queue_poll(queue, COMMIT_TIMEOUT_MS);
        why = ev != NULL ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        if (ev != NULL) {
            rd_kafka_event_destroy(ev);
        }
    }
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
        want_again(b, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    if (why == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return ERR_OK;
    }
    b->counters.broker_errors++;
    return err_set(e, ERR_UNAVAILABLE, "cannot commit offsets of group \"%s\": %s", b->plan.group,
                   rd_kafka_err2str(why));
}

enum err bus_kafka_commit(void *self, enum bus_topic topic, int32_t partition, int64_t next_offset,
                          bool sync, struct errmsg *e)
{
    struct bus_kafka *b = self;
    struct bus_part *p = bus_kafka_part(b, (int)topic, partition);
    if (b->group == NULL || !b->plan.group_topic[topic] || p == NULL || !p->ours) {
        return err_set(e, ERR_INVALID,
                       "only offsets of shared topics' partitions that are ours are committed");
    }
    p->commit = next_offset;
    b->commit_wanted = true;
    return sync ? bus_kafka_commit_now(b, e) : ERR_OK;
}
