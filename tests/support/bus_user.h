/* A reader or writer of a Kafka bus in tests, and what the bus told it.  Values are numbers in
 * text. Failures end the test. */
#ifndef FD_TESTS_BUS_USER_H
#define FD_TESTS_BUS_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/bus.h"
#include "tests/support/cluster.h"

#define USER_PARTITIONS 4 /* of the topics that user_fill fills */
#define USER_PARTS_MAX 8
#define USER_IDS_MAX 40000
#define USER_PATIENCE_US (180 * TIME_S)
#define USER_NOBODY ((struct user *)NULL)

struct user {
    struct bus bus;
    bool open;
    enum bus_topic topic;
    int64_t start; /* what `assigned` answers; -1: committed or low */
    bool owns[USER_PARTS_MAX];
    int64_t committed[USER_PARTS_MAX], low[USER_PARTS_MAX], high[USER_PARTS_MAX],
        next[USER_PARTS_MAX];
    int assigned, revoked, lost;
    bool commit_on_revoke;
    uint32_t count[USER_IDS_MAX]; /* messages read, by the number that is their value */
    size_t taken, different;
    int troubles, fatal;
    char told[512]; /* the last fatal trouble, or the last one */
};

struct user *user_make(void);
/* settings: {name, value, .., NULL} or NULL. */
void user_open(const struct cluster *cluster, struct user *u, const struct bus_plan *plan,
               const char *const *settings);
/* A member of a group that shares `topic`; with settings as above. */
struct user *user_member(const struct cluster *cluster, const char *topic, const char *group);
struct user *user_member_set(const struct cluster *cluster, const char *topic, const char *group,
                             const char *const *settings);
struct user *user_writer(const struct cluster *cluster, const char *topic);
void user_close(struct user *u);

/* The number that a value is. */
uint32_t user_number(const void *value, size_t len);
/* One poll; every message must be the next one of a partition that is ours. */
size_t user_turn(struct user *u, int timeout_ms);
/* Partitions that are ours. */
int user_owns(const struct user *u);

/* Queues number `n` as a value; waits for room. */
void user_write(struct user *u, uint32_t n, int32_t partition);
/* Until all that is queued is acknowledged. */
void user_drain(struct user *u);
/* Numbers [from, to) over the partitions in turn, acknowledged. */
void user_fill(const struct cluster *cluster, const char *topic, uint32_t from, uint32_t to);
/* Both (or one) have read each number of [from, to) once. */
void user_each_once(const struct user *u, const struct user *v, uint32_t from, uint32_t to);

/* Polls both (or one) until the condition holds. */
#define USER_UNTIL(u, v, condition)                                                                \
    do {                                                                                           \
        int64_t until_us_ = progress_now_us() + USER_PATIENCE_US;                                  \
        while (!(condition)) {                                                                     \
            if (progress_now_us() > until_us_) {                                                   \
                fail_msg("never: %s (last trouble: %s)", #condition, (u)->told);                   \
            }                                                                                      \
            user_turn(u, 20);                                                                      \
            if ((v) != NULL) {                                                                     \
                user_turn(v, 20);                                                                  \
            }                                                                                      \
        }                                                                                          \
    } while (0)

#endif
