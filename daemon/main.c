/* The verb table. */
#include <stdio.h>
#include <string.h>

#include "daemon/cmd.h"
#include "daemon/version.h"
#include "model/train.h"

static const struct cmd COMMANDS[] = {
    {"simulate", "writes synthetic card payments with labels", cmd_simulate},
    {"produce", "pushes a history or JSON lines to Kafka at a chosen rate", cmd_produce},
    {"score", "the scoring daemon: transactions in, decisions, alerts and dead letters out",
     cmd_score},
    {"sink", "writes transactions, decisions, alerts and labels to PostgreSQL", cmd_sink},
    {"train", "makes a model from a history", cmd_train},
    {"backtest", "scores a stretch of history and says what the scores were worth", cmd_backtest},
    {"model", "the registry: list, show, import, export, promote, rollback", cmd_model},
    {"alerts", "the analysts' queue: list, show, claim, resolve, snooze, release", cmd_alerts},
    {"audit", "who did what, and whether that record is intact", cmd_audit},
    {"explain", "derives a past decision again, and shows what it came from", cmd_explain},
    {"outcomes", "what decisions were worth, by the verdicts that came since", cmd_outcomes},
    {"console", "the analysts' page over the queue, for browsers", cmd_console},
    {"lists", "allow, block and watch lists: add, remove, import, list", cmd_lists},
    {"rules", "rules beside the model: test, diff, apply, list; observing, kill switch", cmd_rules},
    {"labels", "verdicts: import of chargebacks, list", cmd_labels},
    {"migrate", "brings the database to this program's schema", cmd_migrate},
    {"demo", "shows everything on this machine, with servers of its own", cmd_demo},
    {"top", "what score and sink do, live: rates, lag, latency, budget, models", cmd_top},
    {"check", "looks at settings, model, database and topics, and says what to mend", cmd_check},
    {NULL, NULL, NULL}, /* the end */
};

static void print_help(FILE *f)
{
    fputs("usage: fraudd VERB [OPTIONS]\n\nverbs:\n", f);
    for (const struct cmd *c = COMMANDS; c->name != NULL; c++) {
        fprintf(f, "  %-10s %s\n", c->name, c->summary);
    }
    fputs("\n`fraudd VERB --help` explains a verb and gives an example.\n", f);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("fraudd %s, decision revision %d\n", version_revision(), FD_DECISION_REVISION);
        return EXIT_OK;
    }
    for (const struct cmd *c = COMMANDS; c->name != NULL; c++) {
        if (strcmp(argv[1], c->name) == 0) {
            if (c->run == cmd_train || c->run == cmd_demo) {
                train_blas_suit(argv);
            }
            return c->run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "fraudd: there is no verb \"%s\"; `fraudd --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
