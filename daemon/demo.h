/* `fraudd demo`: the whole system on one machine, with servers of its own.  Private to cmd_demo.c
 * and demo_*.c; one thread.
 *
 * demo_servers.c: a throwaway PostgreSQL, an embedded Kafka broker, `score` and `sink` on them.
 *
 * demo_data.c: simulated payments, the history that training sees, what labels say.
 *
 * demo_stream.c: payments and labels to Kafka, paced by what has been stored.
 *
 * demo_hostile.c: messages that must end as dead letters.
 *
 * demo_analyst.c: alerts claimed and judged, labels that come back.
 *
 * demo_update.c: another model, in shadow and promoted while `score` runs.
 *
 * demo_report.c: counts, quality, budget, latency and top alerts, from PostgreSQL. */
#ifndef FD_DAEMON_DEMO_H
#define FD_DAEMON_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/latency.h"
#include "daemon/bus.h"
#include "daemon/decode.h"
#include "daemon/learn.h"
#include "daemon/past.h"
#include "daemon/simulate.h"
#include "daemon/verdicts.h"
#include "storage/db.h"
#include "storage/throwaway.h"

#define DEMO_LOG "demo-1"
#define DEMO_MATURITY_DAYS 7
/* Payments sent and not yet stored, at most: the embedded broker keeps 5 MiB a partition, and no
 * payment or decision of ours is above 500 bytes. */
#define DEMO_WINDOW 10000

struct rd_kafka_s;

/* What a run is made of. */
struct demo_plan {
    struct sim_conf sim;
    uint32_t epochs; /* of a fit at most */
    uint32_t budget; /* alerts a day */
    uint32_t rate;   /* payments a second of the part that measures latency */
    bool keep;
    const volatile int *stop; /* a signal came */
    int64_t until_us;         /* training reads nothing at or after this */
    int64_t stream_us;        /* the streamed part begins: until_us plus the maturity of labels */
    int64_t update_us;        /* payments from here on are sent after the update of the model */
    int64_t end_us;           /* the last midnight */
};

/* ---- demo_data.c ---- */

struct demo_data {
    struct sim_tx *rows; /* [n] in order of time */
    size_t n;
    size_t stream_from; /* first row of the streamed part */
    size_t frauds;
    struct rates *rates;
    struct decoder *decoder;
};

FD_MUSTCHECK enum err demo_data_make(const struct demo_plan *p, struct demo_data *out,
                                     struct errmsg *e);
/* What one training may see, and where its model goes. */
struct demo_lesson {
    int64_t until_us;    /* payments before this */
    int64_t known_by_us; /* labels known by then */
    bool final_fit;      /* also learns the held-out week, which takes as long again */
    const char *path;    /* of the model file */
};

/* ERR_REFUSED: stopped by a signal. */
FD_MUSTCHECK enum err demo_data_learn(const struct demo_plan *p, const struct demo_data *d,
                                      const struct demo_lesson *lesson, struct learnt *out,
                                      struct errmsg *e);
/* First row at or after a time. */
size_t demo_data_find(const struct demo_data *d, int64_t at_us);
/* Row `i` as its payment; the strings hold until the next call. */
void demo_data_decode(const struct demo_data *d, size_t i, char json[SIM_ROW_MAX], size_t *out_len,
                      struct tx *out, struct tx_strings *out_strings);
/* Row of a simulated payment's id ("t000000017"); n where it is none. */
size_t demo_data_row(const struct demo_data *d, const char *tx_id);
/* Feature parameters of the run. */
void demo_data_params(const struct demo_data *d, struct feature_params *out);
void demo_data_free(struct demo_data *d);

/* ---- demo_servers.c ---- */

struct demo_process {
    const char *verb;
    pid_t pid; /* 0: not running */
    char log[300];
    char *command; /* as one would type it; owned */
};

struct demo_servers {
    char folder[256]; /* model and logs of this run */
    struct throwaway postgres;
    struct db *db;
    struct rd_kafka_s *broker; /* its mock cluster listens as long as it lives */
    char brokers[64];
    char page[32];     /* address of score's metrics */
    struct conf *conf; /* settings of the daemons, with our broker */
    struct demo_process score, sink;
};

/* PostgreSQL with our schema, the broker with our topics.  ERR_NOTFOUND PostgreSQL is not
 * installed; ERR_IO, ERR_REFUSED: no port, folder or room, named. */
FD_MUSTCHECK enum err demo_servers_start(struct demo_servers *s, struct errmsg *e);
/* Starts this very program as `score` and `sink`. */
FD_MUSTCHECK enum err demo_processes_start(struct demo_servers *s, const struct demo_plan *p,
                                           const char *model, struct errmsg *e);
/* ERR_UNAVAILABLE one of them ended; told with the last line of its log. */
FD_MUSTCHECK enum err demo_processes_check(struct demo_servers *s, struct errmsg *e);
/* SIGTERM, and waits for both. ERR_UNAVAILABLE: one did not end well. */
FD_MUSTCHECK enum err demo_processes_stop(struct demo_servers *s, struct errmsg *e);
/* Runs this very program with other arguments (args[0]: "fraudd") to its end.  ERR_UNAVAILABLE it
 * did not end well; told with the last line it wrote. */
FD_MUSTCHECK enum err demo_verb_run(const struct demo_servers *s, const char *const *args, size_t n,
                                    struct errmsg *e);
/* `fraudd model ACTION ARGUMENT` on these servers, such as "promote VERSION". */
FD_MUSTCHECK enum err demo_model_run(const struct demo_servers *s, const char *action,
                                     const char *argument, struct errmsg *e);
/* Ends everything and removes the folders. */
void demo_servers_stop(struct demo_servers *s);

/* ---- demo_stream.c ---- */

struct demo_stream {
    const struct demo_plan *plan;
    const struct demo_data *data;
    struct demo_servers *servers;
    struct bus bus; /* ours: writes payments and labels, reads dead letters */
    bool open;
    char *hostile; /* [DEMO_HOSTILE_MAX] */
    struct verdicts *verdicts;
    size_t next;       /* row to send */
    size_t planted;    /* hostile messages sent */
    uint64_t sent;     /* messages to the transactions topic */
    uint64_t repeated; /* of them payments sent a second time */
    uint64_t labels;
    uint64_t dead, dead_by_reason[DEAD_REASON_COUNT]; /* read from the dead letters */
    int64_t stored_transactions, stored_decisions, stored_labels, stored_alerts; /* positions */
    int64_t asked_us;   /* monotonic: when the positions were read */
    int64_t changed_us; /* when they last moved */
    int64_t checked_us; /* when processes and logs were last looked at */
    /* figures */
    double history_per_s, fast_per_s; /* decided and stored */
    double paced_s;                   /* length of the open loop */
    bool rate_held;
    int64_t
        *due_ms; /* [data->n] Kafka timestamp of an open-loop payment: when it was due; 0 else */
    struct latency latency;
};

/* Sends the payments before the update and waits until they are stored.  ERR_UNAVAILABLE a process
 * ended, or nothing moved for half a minute; ERR_REFUSED: stopped by a signal. */
FD_MUSTCHECK enum err demo_stream_run(struct demo_stream *s, struct errmsg *e);
/* The same with half of what is left. */
FD_MUSTCHECK enum err demo_stream_half(struct demo_stream *s, struct errmsg *e);
/* The same with the rest. */
FD_MUSTCHECK enum err demo_stream_rest(struct demo_stream *s, struct errmsg *e);
void demo_stream_done(struct demo_stream *s);
/* First and next offset of a topic. */
FD_MUSTCHECK enum err demo_stream_bounds(const struct demo_stream *s, enum bus_topic topic,
                                         int64_t *out_low, int64_t *out_high, struct errmsg *e);

/* Looks around for some milliseconds: acknowledgements, dead letters, positions, processes.  Errors
 * as demo_stream_run. */
FD_MUSTCHECK enum err demo_stream_look(struct demo_stream *s, struct errmsg *e);

/* ---- demo_analyst.c ---- */

/* Claims the most urgent alerts, judges them and waits for their labels. */
FD_MUSTCHECK enum err demo_analyst_run(struct demo_stream *s, struct errmsg *e);

/* ---- demo_update.c ---- */

/* The weekly update: trains on what has matured; the new model scores half of the payments that are
 * left in shadow, is promoted while `score` runs, and decides the others. */
FD_MUSTCHECK enum err demo_update_run(struct demo_stream *s, struct errmsg *e);

/* ---- demo_hostile.c ---- */

#define DEMO_HOSTILE_MAX ((size_t)128 * 1024)

size_t demo_hostile_count(void);
/* Writes hostile message k < demo_hostile_count() and its key; returns its length.  card: of a good
 * payment.  now_us: wall clock. */
size_t demo_hostile_make(size_t k, const char *card, int64_t now_us, char *out,
                         char key[SIM_ID_MAX]);

/* ---- demo_report.c ---- */

/* Prints counts and returns whether they agree; the lines say which do not. */
FD_MUSTCHECK enum err demo_report_counts(const struct demo_stream *s, bool *out_agree,
                                         struct errmsg *e);
/* Quality, budget, speed and the top alerts. */
FD_MUSTCHECK enum err demo_report_figures(const struct demo_stream *s, struct errmsg *e);

/* "2026-09-15 to 2026-10-26": the days in [from_us, to_us); returns out. */
#define DEMO_DAYS_MAX 32
const char *demo_days(char out[DEMO_DAYS_MAX], int64_t from_us, int64_t to_us);
/* "1,234,567"; returns out. */
#define DEMO_NUMBER_MAX 32
const char *demo_number(char out[DEMO_NUMBER_MAX], uint64_t v);

#endif
