/* fraudd sink: Kafka to PostgreSQL. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/settings.h"
#include "daemon/sink.h"
#include "daemon/wire.h"

#define STATUS_EVERY_US (10 * TIME_S)

static const struct conf_option OWN[] = {
    {"until-idle", CONF_DURATION, 0, "0", 0, 86400,
     "end after nothing came for so long; 0: run until stopped"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {SETTINGS_FILE, OWN, SETTINGS, NULL};

static volatile int stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void print_help(void)
{
    puts("usage: fraudd sink [--config FILE] [OPTIONS]\n\n"
         "Reads transactions, decisions, alerts and labels from Kafka and writes them to\n"
         "PostgreSQL, rows and positions in one transaction.  A database that is away is waited "
         "for.\n"
         "\noptions:");
    conf_print_help(stdout, TABLES);
    puts("\nexample:\n  fraudd sink --brokers localhost:9092 --database 'host=localhost "
         "dbname=fraudd'");
}

static void log_status(const struct sink *s)
{
    struct sink_stats t;
    sink_stats(s, &t);
    log_line(FD_LOG_INFO, "status",
             "rows=%" PRIu64 " rejected=%" PRIu64 " undecodable=%" PRIu64 " transactions=%" PRIu64
             " outages=%" PRIu64 " lag=%" PRId64,
             t.rows, t.rejected, t.undecodable, t.transactions, t.outages, t.bus.lag);
}

static void serve(struct sink *s, int64_t idle_us)
{
    int64_t shown = progress_now_us();
    int64_t busy = shown;
    sd_notify(0, "READY=1");
    while (!stopping) {
        size_t rows = sink_turn(s, &stopping);
        int64_t now = progress_now_us();
        busy = rows > 0 ? now : busy;
        if (now - shown >= STATUS_EVERY_US) {
            log_status(s);
            shown = now;
        }
        if (idle_us > 0 && now - busy > idle_us) {
            break;
        }
    }
    sd_notify(0, "STOPPING=1");
    log_status(s);
}

static enum err run(const struct conf *c, struct errmsg *e)
{
    struct rates *rates = NULL;
    struct sink *sink = NULL;
    struct bus bus = {0};
    struct sink_conf sc = {.conninfo = conf_text(c, "database"),
                           .log = {conf_text(c, "log"), strlen(conf_text(c, "log"))},
                           .max_future_us = conf_duration_us(c, "max-future"),
                           .batch_max = (size_t)conf_int(c, "sink.batch"),
                           .poll_ms = 100};
    struct bus_plan plan = {.client = "fraudd-sink",
                            .group = conf_text(c, "sink-group"),
                            .group_topic = {[TOPIC_TRANSACTIONS] = true,
                                            [TOPIC_LABELS] = true,
                                            [TOPIC_DECISIONS] = true,
                                            [TOPIC_ALERTS] = true}};
    for (int i = 0; i < TOPIC_COUNT; i++) {
        sc.topic_name[i] = plan.topic_name[i] = settings_topic(c, (enum bus_topic)i);
    }
    enum err err = rates_create_default(&rates, e);
    sc.rates = rates;
    if (err == ERR_OK) {
        err = sink_create(&sc, &sink, e);
    }
    if (err == ERR_OK) {
        const struct bus_events events = sink_events(sink);
        err = bus_kafka_open(c, &plan, &events, &bus, e);
    }
    if (err == ERR_OK) {
        sink_attach(sink, bus);
        serve(sink, conf_duration_us(c, "until-idle"));
        bus.close(bus.self);
    }
    sink_free(sink);
    rates_free(rates);
    return err;
}

int cmd_sink(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    enum err err = settings_load(TABLES, argc, argv, &c, &e);
    if (err == ERR_END) {
        print_help();
        return EXIT_OK;
    }
    if (err == ERR_OK) {
        struct sigaction action = {.sa_handler = on_signal};
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGINT, &action, NULL);
        log_set_level((enum log_level)log_level_find(conf_text(c, "log-level")));
        err = run(c, &e);
    }
    conf_free(c);
    return err == ERR_OK ? EXIT_OK : cmd_fail("sink", err, &e);
}
