/* Where `fraudd score`, `sink` and `produce` run in a test that disturbs them: a broker, a
 * throwaway PostgreSQL, a simulated history, a random model, topics, settings; and beside them
 * topics and settings for another `score` that decides the same transactions again by the same
 * journal. Failures end the test by cmocka's fail(). */
#ifndef FD_TESTS_SUPPORT_SITE_H
#define FD_TESTS_SUPPORT_SITE_H

#include <stdint.h>

#include "daemon/bus.h"
#include "storage/db.h"
#include "storage/throwaway.h"
#include "tests/support/cluster.h"

#define SITE_PARTITIONS 8
#define SITE_LOG "torture"
#define SITE_BATCH 8

struct site_topics {
    char name[TOPIC_COUNT][96];
};

struct site {
    struct cluster cluster;
    struct throwaway postgres;
    struct db *db;
    char folder[64], payments[96], model[96]; /* payments: CSV with labels */
    struct site_topics topics;
    struct site_topics topics_again; /* other decisions, alerts and dead letters */
    int batch;
    char group[96], conf[96], conf_again[96];
};

/* Call it before the program has threads.  payments: how many the history has, about; batch:
 * messages that `score` decides at once, SITE_BATCH where many entries of the journal count. */
void site_make(struct site *s, int payments, int batch);
/* keep: the folder, with its logs, stays. */
void site_free(struct site *s, bool keep);

/* Messages of a topic, of the site's or those again. */
int64_t site_size(const struct site *s, const struct site_topics *topics, enum bus_topic which);
/* Transactions whose offset the group has not committed. */
int64_t site_score_lag(const struct site *s);
/* Messages that the sink has not stored. */
int64_t site_sink_lag(const struct site *s);
/* A query's one number.  parameter: $1, or NULL. */
int64_t site_count(const struct site *s, const char *sql, const char *parameter);
/* Lines of the logs of all `score` so far that tell of this event. */
int64_t site_score_lines(const struct site *s, const char *event);
/* Another model, to the notices topic. */
void site_send_model(const struct site *s, uint64_t seed);

#endif
