/* make chaos: the simulation (tests/support/chaos.h) over many seeds.
 *
 *   chaos [--from N] [--seeds N] [--without SAFEGUARD] [--seed N]
 *
 * --seed runs one and prints what happens.  Exit status 1: a seed failed; the first is printed and
 * ends it. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "tests/support/chaos.h"

static enum safeguard named(const char *name)
{
    for (int i = 0; i < SAFE_COUNT; i++) {
        if (strcmp(name, SAFEGUARD_NAMES[i]) == 0) {
            return (enum safeguard)i;
        }
    }
    fprintf(stderr, "chaos: no safeguard is named %s; there are\n", name);
    for (int i = 1; i < SAFE_COUNT; i++) {
        fprintf(stderr, "  %-10s %s\n", SAFEGUARD_NAMES[i], SAFEGUARD_TEXTS[i]);
    }
    exit(64);
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

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {{"from", required_argument, NULL, 'f'},
                                            {"seeds", required_argument, NULL, 'n'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"without", required_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    uint64_t from = 0;
    uint64_t seeds = 1000;
    bool trace = false;
    enum safeguard without = SAFE_ALL;
    struct chaos_tally tally = {0};
    char why[2000] = "";
    for (int o = 0; (o = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (o) {
        case 'f':
            from = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            seeds = strtoull(optarg, NULL, 10);
            break;
        case 's':
            from = strtoull(optarg, NULL, 10);
            seeds = 1;
            trace = true;
            break;
        case 'w':
            without = named(optarg);
            break;
        default:
            return 64;
        }
    }
    chaos_open();
    const int64_t start_us = progress_now_us();
    bool good = true;
    for (uint64_t i = from; good && i < from + seeds; i++) {
        good = chaos_run(i, without, trace, &tally, why, sizeof why);
        if (!good) {
            printf("seed %" PRIu64 ": %s\n", i, why);
            printf("once more, with all that happens: %s --seed %" PRIu64 "%s%s\n", argv[0], i,
                   without != SAFE_ALL ? " --without " : "",
                   without != SAFE_ALL ? SAFEGUARD_NAMES[without] : "");
        }
    }
    print_tally(&tally, progress_now_us() - start_us);
    chaos_close();
    return good ? 0 : 1;
}
