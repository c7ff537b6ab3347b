/* fraudd demo: everything on one machine. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/demo.h"
#include "daemon/options.h"

#define STREAM_SHARE .3 /* of the days are streamed; labels mature in the days before */

static const struct conf_option OPTIONS[] = {
    {"cards", CONF_INT, 0, "5000", 100, 100000, "simulated people with a card"},
    {"days", CONF_INT, 0, "70", 56, 365, "simulated days; the last three tenths are streamed"},
    {"seed", CONF_INT, 0, "1", 0, 1e9, "of the simulation and of training"},
    {"budget", CONF_INT, 0, "50", 1, 1e6, "alerts a day"},
    {"rate", CONF_INT, 0, "2000", 10, 100000,
     "payments a second of the part that measures latency"},
    {"epochs", CONF_INT, 0, "4", 1, 100, "passes of a fit at most; `train` takes more"},
    {"keep", CONF_BOOL, 0, "false", 0, 0,
     "leave the servers running at the end, until Ctrl-C, and say how to look"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {OPTIONS, NULL};

static const struct verb VERB = {
    "demo", "fraudd demo [OPTIONS]",
    "Shows everything on this machine, with servers of its own: simulates payments, trains a "
    "model\n"
    "on the first part, streams all of them through an embedded Kafka broker to `fraudd score` "
    "and\n"
    "`fraudd sink`, and judges what PostgreSQL then holds.  Needs PostgreSQL's programs; leaves\n"
    "nothing behind.  Exit status 0: every count agrees.",
    "fraudd demo --cards=2000 --days=56 --keep"};

static volatile int stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void make_plan(const struct conf *c, struct demo_plan *out)
{
    uint32_t days = (uint32_t)conf_int(c, "days");
    uint32_t streamed = (uint32_t)(STREAM_SHARE * days);
    *out = (struct demo_plan){.epochs = (uint32_t)conf_int(c, "epochs"),
                              .budget = (uint32_t)conf_int(c, "budget"),
                              .rate = (uint32_t)conf_int(c, "rate"),
                              .keep = conf_bool(c, "keep"),
                              .stop = &stopping};
    sim_conf_default(&out->sim);
    out->sim.seed = (uint64_t)conf_int(c, "seed");
    out->sim.cards = (uint32_t)conf_int(c, "cards");
    out->sim.merchants = out->sim.cards / 5 * 2 < 500 ? 500 : out->sim.cards / 5 * 2;
    out->sim.days = days;
    out->sim.label_max_days = 2 * DEMO_MATURITY_DAYS;
    /* the last payment is of yesterday, so that none is later than its Kafka timestamp */
    out->end_us = (int64_t)time(NULL) * TIME_S / TIME_DAY * TIME_DAY;
    out->sim.start_us = out->end_us - days * TIME_DAY;
    out->stream_us = out->end_us - streamed * TIME_DAY;
    out->update_us = out->end_us - TIME_DAY;
    out->until_us = out->stream_us - DEMO_MATURITY_DAYS * TIME_DAY;
}

static double seconds_since(int64_t start_us)
{
    return (double)(progress_now_us() - start_us) / 1e6;
}

static enum err prepare(const struct demo_plan *p, struct demo_servers *servers,
                        struct demo_data *data, struct errmsg *e)
{
    char number[DEMO_NUMBER_MAX];
    char days[DEMO_DAYS_MAX];
    int64_t start_us = progress_now_us();
    enum err err = demo_servers_start(servers, e);
    if (err != ERR_OK) {
        return err;
    }
    printf("Servers (%.1f s)\n"
           "  PostgreSQL  127.0.0.1:%d, throwaway\n"
           "  Kafka       %s, embedded (librdkafka's mock cluster), one partition a topic\n\n",
           seconds_since(start_us), servers->postgres.port, servers->brokers);
    fflush(stdout);
    start_us = progress_now_us();
    err = demo_data_make(p, data, e);
    if (err == ERR_OK) {
        printf("Payments (%.1f s)\n  %s simulated payments of %" PRIu32
               " people, %.2f %% fraud, %s\n\n",
               seconds_since(start_us), demo_number(number, data->n), p->sim.cards,
               100.0 * (double)data->frauds / (double)data->n,
               demo_days(days, p->sim.start_us, p->end_us));
        fflush(stdout);
    }
    return err;
}

static enum err train(const struct demo_plan *p, const struct demo_servers *servers,
                      const struct demo_data *data, const char *path, struct errmsg *e)
{
    char number[DEMO_NUMBER_MAX];
    char days[DEMO_DAYS_MAX];
    struct learnt learnt = {0};
    const struct demo_lesson lesson = {p->until_us, p->stream_us, true, path};
    int64_t start_us = progress_now_us();
    enum err err = demo_data_learn(p, data, &lesson, &learnt, e);
    if (err == ERR_OK) {
        printf("Training (%.1f s)\n  model %s from %s payments, %s, with the labels known a week "
               "later\n  %" PRIu64 " frauds; held-out week: AUC %.3f, AP %.3f; %zu bytes\n\n",
               seconds_since(start_us), learnt.version, demo_number(number, learnt.rows),
               demo_days(days, p->sim.start_us, p->until_us), learnt.frauds, learnt.holdout_auc,
               learnt.holdout_ap, learnt.model_len);
        fflush(stdout);
        err = demo_model_run(servers, "import", path, e);
    }
    if (err == ERR_OK) {
        err = demo_model_run(servers, "promote", learnt.version, e);
    }
    learnt_done(&learnt);
    return err;
}

static void keep_running(const struct demo_servers *s)
{
    printf("\nStill running until Ctrl-C:\n"
           "  psql '%s' -c 'select outcome, count(*) from decisions group by 1'\n"
           "  Kafka brokers %s\n  %s   (log: %s)\n  %s   (log: %s)\n",
           s->postgres.conninfo, s->brokers, s->score.command, s->score.log, s->sink.command,
           s->sink.log);
    fflush(stdout);
    while (!stopping) {
        const struct timespec pause = {0, 100000000};
        nanosleep(&pause, NULL);
    }
}

static enum err stream(const struct demo_plan *p, struct demo_servers *servers,
                       const struct demo_data *data, const char *model, bool *out_agree,
                       struct errmsg *e)
{
    char a[DEMO_NUMBER_MAX];
    char b[DEMO_NUMBER_MAX];
    char days[DEMO_DAYS_MAX];
    struct demo_stream s = {.plan = p, .data = data, .servers = servers};
    int64_t start_us = progress_now_us();
    enum err err = demo_processes_start(servers, p, model, e);
    if (err == ERR_OK) {
        err = demo_stream_run(&s, e);
    }
    if (err == ERR_OK) {
        printf("Stream (%.1f s)\n  %s payments of the days that fill the cards' histories, then %s "
               "of %s, which are judged\n",
               seconds_since(start_us), demo_number(a, data->stream_from),
               demo_number(b, s.next - data->stream_from),
               demo_days(days, p->stream_us, p->update_us));
        err = demo_analyst_run(&s, e);
    }
    if (err == ERR_OK) {
        fflush(stdout);
        err = demo_update_run(&s, e);
    }
    if (err == ERR_OK) {
        err = demo_report_counts(&s, out_agree, e);
    }
    if (err == ERR_OK) {
        err = demo_report_figures(&s, e);
    }
    if (p->keep && !stopping) {
        keep_running(servers);
    }
    demo_stream_done(&s);
    return err;
}

static enum err run(const struct demo_plan *p, bool *out_agree, struct errmsg *e)
{
    struct demo_servers servers = {0};
    struct demo_data data = {0};
    char model[300];
    enum err err = prepare(p, &servers, &data, e);
    snprintf(model, sizeof model, "%s/model.fraudd", servers.folder);
    if (err == ERR_OK) {
        err = train(p, &servers, &data, model, e);
    }
    if (err == ERR_OK) {
        err = stream(p, &servers, &data, model, out_agree, e);
    }
    if (err == ERR_OK) {
        err = demo_processes_stop(&servers, e);
    }
    demo_data_free(&data);
    demo_servers_stop(&servers);
    return err;
}

int cmd_demo(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    struct demo_plan plan;
    bool agree = false;
    int64_t start_us = progress_now_us();
    int code = options_read(&VERB, TABLES, argc, argv, &c);
    if (code >= 0) {
        return code;
    }
    make_plan(c, &plan);
    conf_free(c);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    printf("fraudd demo on %ld processors\n\n", sysconf(_SC_NPROCESSORS_ONLN));
    fflush(stdout);
    enum err err = run(&plan, &agree, &e);
    if (err != ERR_OK) {
        return cmd_fail(VERB.name, err, &e);
    }
    printf("\n%s in %.0f s\n", agree ? "every count agrees" : "COUNTS DIFFER (above)",
           seconds_since(start_us));
    return agree ? EXIT_OK : EXIT_FAILED;
}
