/* make chaos: the simulations of scoring processes (tests/support/chaos.h) and, with --sink, of the
 * sink (tests/support/sink_chaos.h) over many seeds.
 *
 *   chaos [--sink] [--from N] [--seeds N] [--without SAFEGUARD] [--seed N]
 *
 * --seed runs one and, of scoring processes, prints what happens.  Exit status 1: a seed failed;
 * the first is printed and ends it. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "tests/support/chaos.h"
#include "tests/support/scorer.h"
#include "tests/support/sink_chaos.h"

struct options {
    uint64_t from, seeds;
    bool trace, sink;
    const char *without; /* a safeguard's name; NULL: none */
};

/* The safeguard's number, 0 for none; ends with 64 where it has no such name. */
static int named(const char *name, const char *const *names, const char *const *texts, int n)
{
    for (int i = 0; i < n && name != NULL; i++) {
        if (strcmp(name, names[i]) == 0) {
            return i;
        }
    }
    if (name == NULL) {
        return 0;
    }
    fprintf(stderr, "chaos: no safeguard is named %s; there are\n", name);
    for (int i = 1; i < n; i++) {
        fprintf(stderr, "  %-10s %s\n", names[i], texts[i]);
    }
    exit(64);
}

static void print_seed(const struct options *o, uint64_t seed, const char *program, const char *why)
{
    printf("seed %" PRIu64 ": %s\n", seed, why);
    printf("once more%s: %s%s --seed %" PRIu64 "%s%s\n", o->sink ? "" : ", with all that happens",
           program, o->sink ? " --sink" : "", seed, o->without != NULL ? " --without " : "",
           o->without != NULL ? o->without : "");
}

static void print_tally(const struct chaos_tally *t, int64_t took_us)
{
    printf("%" PRIu64 " seeds in %.0f s: %" PRIu64 " messages, %" PRIu64 " decisions sent, %" PRIu64
           " of them repeated with the same bytes\n",
           t->seeds, (double)took_us / 1e6, t->messages, t->decisions, t->repeated);
    printf("%" PRIu64 " starts, %" PRIu64 " ends, %" PRIu64 " deaths"
           " (%" PRIu64 " by planted messages), %" PRIu64 " stopped and woken, %" PRIu64
           " reloads, %" PRIu64 " partitions assigned, %" PRIu64 " commits\n",
           t->starts, t->ends, t->deaths, t->faults, t->stops, t->reloads, t->moves, t->commits);
    printf("%" PRIu64 " checkpoints written, %" PRIu64 " read, %" PRIu64 " losses of power\n",
           t->checkpoints, t->checkpoints_read, t->powers);
    printf("%" PRIu64 " entries applied, %" PRIu64 " parts not counted, %" PRIu64
           " entries damaged; %" PRIu64 " seeds without the comparison (retention, short memory)\n",
           t->entries, t->not_counted, t->damaged, t->weak);
}

static bool run_scores(const struct options *o, const char *program)
{
    const int64_t start_us = progress_now_us();
    const enum safeguard without =
        (enum safeguard)named(o->without, SAFEGUARD_NAMES, SAFEGUARD_TEXTS, SAFE_COUNT);
    struct chaos_tally tally = {0};
    char why[2000] = "";
    bool good = true;
    chaos_open();
    for (uint64_t i = o->from; good && i < o->from + o->seeds; i++) {
        good = chaos_run(i, without, o->trace, &tally, why, sizeof why);
        if (!good) {
            print_seed(o, i, program, why);
        }
    }
    print_tally(&tally, progress_now_us() - start_us);
    chaos_close();
    return good;
}

static bool run_sink(const struct options *o, const char *program)
{
    const int64_t start_us = progress_now_us();
    const enum sink_safeguard without = (enum sink_safeguard)named(
        o->without, SINK_SAFEGUARD_NAMES, SINK_SAFEGUARD_TEXTS, SINK_SAFE_COUNT);
    struct sink_chaos_tally t = {0};
    char why[300] = "";
    bool good = true;
    (void)scorer_setup(NULL);
    sink_chaos_open();
    for (uint64_t i = o->from; good && i < o->from + o->seeds; i++) {
        good = sink_chaos_run(i, without, &t, why, sizeof why);
        if (!good) {
            print_seed(o, i, program, why);
        }
    }
    printf("sink: %" PRIu64 " seeds in %.0f s: %" PRIu64 " rows, %" PRIu64
           " of them refused by the database; %" PRIu64 " SQL transactions\n",
           t.seeds, (double)(progress_now_us() - start_us) / 1e6, t.rows, t.rejected, t.commits);
    printf("%" PRIu64 " connections lost, %" PRIu64 " deaths with them, %" PRIu64
           " failovers that lost what was committed, found %" PRIu64 " times by a process; %" PRIu64
           " partitions moved\n",
           t.lost, t.deaths, t.failovers, t.taken_back, t.moves);
    sink_chaos_close();
    (void)scorer_teardown(NULL);
    return good;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"from", required_argument, NULL, 'f'},    {"seeds", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},    {"sink", no_argument, NULL, 'k'},
        {"without", required_argument, NULL, 'w'}, {NULL, 0, NULL, 0}};
    struct options o = {.seeds = 1000};
    for (int c = 0; (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (c) {
        case 'f':
            o.from = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            o.seeds = strtoull(optarg, NULL, 10);
            break;
        case 's':
            o.from = strtoull(optarg, NULL, 10);
            o.seeds = 1;
            o.trace = true;
            break;
        case 'k':
            o.sink = true;
            break;
        case 'w':
            o.without = optarg;
            break;
        default:
            return 64;
        }
    }
    return (o.sink ? run_sink(&o, argv[0]) : run_scores(&o, argv[0])) ? 0 : 1;
}
