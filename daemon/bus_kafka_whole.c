/* Whole topics: every partition is read, through a handle without a group. */
#include "base/progress.h"
#include "daemon/bus_kafka.h"

#define WHOLE_CHECK_US 30000000

/* Asks how many partitions a whole topic has.  By the producer's connection where there is one: a
 * broker answers the requests of a connection in turn, and on the reader's one a fetch waits for
 * half a second, during which nothing would be decided. */
static rd_kafka_resp_err_t ask_partitions(const struct bus_kafka *b, int topic, int32_t *count)
{
    const struct rd_kafka_metadata *meta = NULL;
    rd_kafka_t *rk = b->producer[WRITER_BULK] != NULL ? b->producer[WRITER_BULK] : b->whole;
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, b->names[topic], NULL);
    *count = 0;
    if (t == NULL) {
        return rd_kafka_last_error();
    }
    rd_kafka_resp_err_t why = rd_kafka_metadata(rk, 0, t, &meta, 1000);
    rd_kafka_topic_destroy(t);
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return why;
    }
    if (meta->topic_cnt == 1) {
        why = meta->topics[0].err;
        *count = meta->topics[0].partition_cnt;
    }
    rd_kafka_metadata_destroy(meta);
    return why;
}

/* Starts the partitions of a whole topic that are not read yet; false: ask again soon. */
static bool start_whole(struct bus_kafka *b, int topic)
{
    int32_t count = 0;
    rd_kafka_resp_err_t why = ask_partitions(b, topic, &count);
    bool good = why == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0;
    for (int32_t p = 0; good && p < count; p++) {
        const struct bus_part *part = bus_kafka_part(b, topic, p);
        if (part != NULL && (part->ours || part->refused)) {
            continue;
        }
        int64_t low = 0;
        int64_t high = 0;
        why = rd_kafka_query_watermark_offsets(b->whole, b->names[topic], p, &low, &high, 1000);
        if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
            good = false;
            break;
        }
        b->answered = true;
        if (!bus_kafka_start(b, topic, p, -1, low, high)) {
            continue;
        }
        if (rd_kafka_consume_start_queue(b->whole_topic[topic], p,
                                         bus_kafka_part(b, topic, p)->next, b->whole_queue) != 0) {
            bus_kafka_part(b, topic, p)->ours = false;
            good = false;
        } else if (bus_kafka_part(b, topic, p)->paused) { /* said from inside `assigned` */
            bus_kafka_pause(b, (enum bus_topic)topic, p, true);
        }
    }
    if (!good) {
        b->counters.broker_errors++;
        bus_kafka_trouble(b, false, "cannot start reading \"%s\": %s; trying again",
                          b->names[topic], rd_kafka_err2str(why));
    }
    return good;
}

/* Starts whole topics, and finds partitions that were added to them. */
void bus_kafka_whole_tend(struct bus_kafka *b)
{
    int64_t now_us = progress_now_us();
    if (now_us < b->whole_check_us) {
        return;
    }
    bool good = true;
    for (int i = 0; i < TOPIC_COUNT && good; i++) {
        good = b->whole_topic[i] == NULL || start_whole(b, i);
    }
    b->whole_check_us = progress_now_us() + (good ? WHOLE_CHECK_US : BUS_RETRY_US);
}
