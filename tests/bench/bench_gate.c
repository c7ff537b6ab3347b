/* What the gate of an update does with wrong labels, week by week, on the models of weekly.sh.
 *
 *   bench_gate HISTORY.csv DIR FIRST_DAY LAST_DAY STEP
 *
 * HISTORY: the handbook's stream; DIR: weekly.sh's folder of a seed.  For each STEP-th day from
 * FIRST_DAY to LAST_DAY (72 + 7 k) the model that was in service then is updated by histories with
 * wrong labels of every kind (support/spoil.h), in the week that is learnt or in the sealed one.
 * Printed: stopped or passed, and the bounds that were missed.  What the gate says of right labels
 * is in weekly.sh's own update-DAY.log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/gate.h"
#include "daemon/past.h"
#include "daemon/settings.h"
#include "daemon/update.h"
#include "tests/support/spoil.h"

#define DAY_0 (INT64_C(17622) * TIME_DAY) /* 2018-04-01 */
#define FIRST_MODEL 58
#define FILE_MAX (1 << 26)

static int64_t day(int n)
{
    return DAY_0 + n * TIME_DAY;
}

static void must(enum err err, const struct errmsg *e)
{
    if (err != ERR_OK) {
        fprintf(stderr, "bench_gate: %s\n", e->text);
        exit(1);
    }
}

/* The model in service before `end`: the newest that passed. */
static void find_model(const char *dir, int end, char path[static 512])
{
    for (int at = end - 7; at > FIRST_MODEL; at -= 7) {
        snprintf(path, 512, "%s/update-%d.fraudd", dir, at);
        if (access(path, R_OK) == 0) {
            return;
        }
    }
    snprintf(path, 512, "%s/full-%d.fraudd", dir, FIRST_MODEL);
}

static void read_settings(struct update_conf *u)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    char name[] = "train";
    char *argv[] = {name, NULL};
    static const struct conf_option *const TABLES[] = {SETTINGS_FILE, SETTINGS, NULL};
    must(settings_load(TABLES, 1, argv, &c, NULL, &e), &e);
    update_conf_default(u);
    update_conf_read(c, u);
    conf_free(c);
}

static void print_missed(const struct gate_report *g)
{
    static const char *const SHORT[GATE_COUNT] = {
        "ap",           "card-precision", "precision",  "value",
        "expected-low", "expected-high",  "forgetting", "label-rate",
        "label-sure",   "label-unlikely", "label-group"};
    for (size_t i = 0; i < GATE_COUNT; i++) {
        if (g->row[i].measured && !g->row[i].passed) {
            printf(" %s %.3f", SHORT[i], g->row[i].value);
        }
    }
}

struct bench {
    struct past past;
    bool *fraud; /* [past.n] as the file has it */
    struct rates *rates;
};

/* One update from `base` by the history with wrong labels in one stretch. */
static void run(struct bench *b, const struct update_base *base, int end, enum spoil kind,
                bool sealed)
{
    struct past past = b->past;
    struct update_conf u;
    struct update_outcome o;
    struct errmsg e = {""};
    past.n = past_find(&b->past, day(end));
    read_settings(&u);
    u.learn.params.rates_version = rates_version(b->rates);
    u.learn.until_us = day(end);
    size_t n = spoil_labels(&past, kind, day(end - (sealed ? 7 : 14)), day(end - (sealed ? 0 : 7)),
                            (uint64_t)end);
    must(update_run(&past, &u, base, NULL, NULL, &o, &e), &e);
    printf("%5d  %-32s %-7s %6zu  %-7s", end, SPOIL_NAME[kind], sealed ? "sealed" : "new", n,
           o.gate.passed ? "PASSED" : "stopped");
    print_missed(&o.gate);
    printf("\n");
    fflush(stdout);
    update_outcome_done(&o);
    for (size_t i = 0; i < past.n; i++) {
        b->past.rows[i].fraud = b->fraud[i];
    }
}

static void run_week(struct bench *b, const char *dir, int end)
{
    char path[512];
    char state[520];
    uint8_t *bytes[2];
    struct update_base base;
    struct errmsg e = {""};
    find_model(dir, end, path);
    snprintf(state, sizeof state, "%s.state", path);
    must(file_read(path, FILE_MAX, &bytes[0], &base.model_len, &e), &e);
    must(file_read(state, FILE_MAX, &bytes[1], &base.state_len, &e), &e);
    base.model = bytes[0];
    base.state = bytes[1];
    for (int k = 0; k < 2 * SPOIL_KINDS; k++) {
        run(b, &base, end, (enum spoil)(k / 2), k % 2 != 0);
    }
    free(bytes[0]);
    free(bytes[1]);
}

int main(int argc, char **argv)
{
    struct bench b = {.past = {.without_ids = true}};
    struct errmsg e = {""};
    if (argc != 6) {
        puts("usage: bench_gate HISTORY.csv DIR FIRST_DAY LAST_DAY STEP (make bench-gate)");
        return 0;
    }
    int last = atoi(argv[4]);
    must(rates_create_default(&b.rates, &e), &e);
    must(past_read_csv(&b.past, argv[1], b.rates, day(last), 7 * TIME_DAY, true, &e), &e);
    b.fraud = calloc(b.past.n + 1, sizeof *b.fraud);
    must(b.fraud == NULL ? ERR_NOMEM : ERR_OK, &e);
    for (size_t i = 0; i < b.past.n; i++) {
        b.fraud[i] = b.past.rows[i].fraud;
    }
    puts("until  wrong labels                     where   labels  gate    bounds that were missed");
    for (int end = atoi(argv[3]); end <= last; end += atoi(argv[5])) {
        run_week(&b, argv[2], end);
    }
    free(b.fraud);
    past_done(&b.past);
    rates_free(b.rates);
    return 0;
}
