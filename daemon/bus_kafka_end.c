/* Closing the reading half, and ending the library's handles.  rd_kafka_destroy waits until every
 * request on its way has been answered or has timed out, a minute where a broker hangs; a process
 * that is told to stop has 5 s. So each handle is ended by a thread of its own, and who closes the
 * bus waits for them a bounded time.  What is still ending then is left to the end of the process.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <time.h>

#include "daemon/bus_kafka.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static int ending; /* handles not ended yet */

/* A handle on its way out. */
struct leaver {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue; /* of a consumer that leaves its group, or NULL */
};

/* Leaves the group.  The partitions' going away comes as an event, not to the callback, and the
 * group is left only once it is answered: else the others wait until the session is over.
 * Destroying a handle that is in the middle of it makes the library spin. */
static void leave(const struct leaver *l)
{
    while (!rd_kafka_consumer_closed(l->rk)) {
        rd_kafka_event_t *ev = rd_kafka_queue_poll(l->queue, 20); /* callbacks run inside */
        if (ev != NULL) {
            if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_REBALANCE) {
                (void)rd_kafka_assign(l->rk, NULL);
            }
            rd_kafka_event_destroy(ev);
        }
    }
    rd_kafka_queue_destroy(l->queue);
}

static void *end(void *arg)
{
    struct leaver *l = arg;
    if (l->queue != NULL) {
        leave(l);
    }
    rd_kafka_destroy_flags(l->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(l);
    pthread_mutex_lock(&lock);
    ending--;
    pthread_cond_broadcast(&ended);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void start(rd_kafka_t *rk, rd_kafka_queue_t *queue)
{
    pthread_t thread;
    struct leaver *l = malloc(sizeof *l);
    if (l == NULL) {
        return; /* left to the end of the process */
    }
    *l = (struct leaver){rk, queue};
    pthread_mutex_lock(&lock);
    ending++;
    pthread_mutex_unlock(&lock);
    if (pthread_create(&thread, NULL, end, l) == 0) {
        pthread_detach(thread);
    } else {
        (void)end(l);
    }
}

void bus_kafka_end(rd_kafka_t *rk)
{
    start(rk, NULL);
}

void bus_kafka_leave(rd_kafka_t *group)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(group);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(group, queue);
    if (error != NULL) { /* a fatal error closed it already */
        rd_kafka_error_destroy(error);
        rd_kafka_queue_destroy(queue);
        queue = NULL;
    }
    start(group, queue);
}

bool bus_kafka_ended(int timeout_ms)
{
    struct timespec until;
    int why = 0;
    clock_gettime(CLOCK_REALTIME, &until); /* the clock of condition variables */
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&lock);
    while (ending > 0 && why != ETIMEDOUT) {
        why = pthread_cond_timedwait(&ended, &lock, &until);
    }
    bool all = ending == 0;
    pthread_mutex_unlock(&lock);
    return all;
}

/* Everything of ours goes away, as in a rebalance: the owner commits. */
static void give_up_all(struct bus_kafka *b)
{
    struct errmsg e;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; b->plan.group_topic[t] && p < b->parts[t].count; p++) {
            if (b->parts[t].part[p].ours && b->events.revoked != NULL) {
                b->events.revoked(b->events.ctx, (enum bus_topic)t, p, false);
            }
        }
    }
    if (b->group != NULL && b->commit_wanted && bus_kafka_commit_now(b, &e) != ERR_OK) {
        bus_kafka_trouble(b, false, "closing: %s; its messages will be read again", e.text);
    }
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; b->plan.group_topic[t] && p < b->parts[t].count; p++) {
            b->parts[t].part[p].ours = false;
        }
    }
}

static void end_queue(rd_kafka_queue_t *q)
{
    if (q != NULL) {
        rd_kafka_queue_io_event_enable(q, -1, NULL, 0); /* writes to our eventfd no longer */
        rd_kafka_queue_destroy(q);
    }
}

void bus_kafka_read_close(struct bus_kafka *b)
{
    bus_kafka_release(b);
    give_up_all(b);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; b->whole_topic[t] != NULL && p < b->parts[t].count; p++) {
            if (b->parts[t].part[p].ours && !b->parts[t].part[p].refused) {
                rd_kafka_consume_stop(b->whole_topic[t], p);
            }
        }
        if (b->whole_topic[t] != NULL) {
            rd_kafka_topic_destroy(b->whole_topic[t]);
        }
    }
    end_queue(b->whole_queue);
    end_queue(b->group_queue);
    if (b->ready >= 0) {
        close(b->ready);
    }
    if (b->group != NULL) {
        bus_kafka_leave(b->group);
    }
    if (b->whole != NULL) {
        bus_kafka_end(b->whole);
    }
}
