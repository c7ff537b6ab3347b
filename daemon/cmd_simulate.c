/* fraudd simulate: writes synthetic card payments with labels. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/conf.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/simulate.h"

static const struct conf_option OPTIONS[] = {
    {"seed", CONF_INT, 0, "1", 0, 9e15, "same seed and options: same bytes"},
    {"cards", CONF_INT, 0, NULL, 10, 2e6,
     "people with a card [5000, or what --transactions takes]"},
    {"merchants", CONF_INT, 0, NULL, 100, 1e6, "shops, on the street and online [.4 a card]"},
    {"days", CONF_INT, 0, "180", 1, 3660, "length"},
    {"start", CONF_DATE, 0, "2026-01-01", 0, 0, "first day, UTC"},
    {"transactions", CONF_INT, 0, NULL, 1, 1e10, "rows to aim at, within some percent"},
    {"drift", CONF_DATE, 0, NULL, 0, 0, "the mix of fraud patterns changes on this day"},
    {"new-pattern", CONF_TEXT, 0, NULL, 0, 0,
     "a fraud pattern that nobody commits before --new-pattern-from: stolen, terminal, takeover, "
     "testing, mule, collusion or friendly"},
    {"new-pattern-from", CONF_DATE, 0, NULL, 0, 0, "the day on which it sets in"},
    {"fraud-share", CONF_REAL, 0, ".007", 0, .05, "share of the rows that are fraud"},
    {"label-delay-max", CONF_DURATION, 0, "120d", 86400, 365 * 86400.0,
     "latest label after its payment, whole days; the other delays shrink in proportion"},
    {"format", CONF_TEXT, 0, "csv", 0, 0,
     "csv (with labels) or jsonl (the transactions topic's format, without)"},
    {"out", CONF_TEXT, 0, NULL, 0, 0, "file to write [standard output]"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {OPTIONS, NULL};

static void print_help(void)
{
    fputs("usage: fraudd simulate [OPTIONS]\n\n"
          "Writes synthetic card payments in order of time: cards with habits, merchants, and "
          "seven\nfraud patterns whose labels arrive late.\n\n",
          stdout);
    conf_print_help(stdout, TABLES);
    fputs("\nexample: two years of about two million payments, another fraud mix from the second "
          "year on\n"
          "  fraudd simulate --seed=7 --transactions=2000000 --days=730 --drift=2027-01-01 "
          "--out=payments.csv\n",
          stdout);
}

/* Options into a simulator's configuration; the number of cards follows the wanted rows. */
static void fill_conf(const struct conf *c, struct sim_conf *out)
{
    sim_conf_default(out);
    out->seed = (uint64_t)conf_int(c, "seed");
    out->days = (uint32_t)conf_int(c, "days");
    out->start_us = conf_date_us(c, "start");
    out->transactions = conf_given(c, "transactions") ? (uint64_t)conf_int(c, "transactions") : 0;
    out->drift_us = conf_given(c, "drift") ? conf_date_us(c, "drift") : 0;
    if (conf_given(c, "new-pattern")) {
        out->new_pattern = sim_pattern_find(conf_text(c, "new-pattern"));
        out->new_from_us = conf_date_us(c, "new-pattern-from");
    }
    out->fraud_share = conf_real(c, "fraud-share");
    out->label_max_days = (uint32_t)(conf_duration_us(c, "label-delay-max") / TIME_DAY);
    if (conf_given(c, "cards")) {
        out->cards = (uint32_t)conf_int(c, "cards");
    } else if (out->transactions > 0) {
        double cards = (double)out->transactions / (1.1 * out->days);
        out->cards = cards < 10.0 ? 10 : cards > 2e6 ? 2000000 : (uint32_t)cards;
    }
    uint32_t merchants = out->cards / 5 * 2;
    merchants = merchants < 500 ? 500 : merchants > 1000000 ? 1000000 : merchants;
    out->merchants = conf_given(c, "merchants") ? (uint32_t)conf_int(c, "merchants") : merchants;
}

/* Whether a day on which something changes, where one is given, is one of those simulated. */
static enum err check_day(const struct conf *c, const char *option, struct errmsg *e)
{
    if (!conf_given(c, option)) {
        return ERR_OK;
    }
    int64_t first_us = conf_date_us(c, "start");
    int64_t day_us = conf_date_us(c, option);
    if (day_us <= first_us || day_us >= first_us + conf_int(c, "days") * TIME_DAY) {
        return err_set(e, ERR_INVALID,
                       "--%s=%s lies outside the simulated days: choose one of the %" PRId64
                       " days after --start, or more --days",
                       option, conf_text(c, option), conf_int(c, "days") - 1);
    }
    return ERR_OK;
}

static enum err check_options(const struct conf *c, struct errmsg *e)
{
    const char *format = conf_text(c, "format");
    if (strcmp(format, "csv") != 0 && strcmp(format, "jsonl") != 0) {
        return err_set(e, ERR_INVALID, "--format=%s: it is csv or jsonl", format);
    }
    if (conf_given(c, "new-pattern") != conf_given(c, "new-pattern-from")) {
        return err_set(e, ERR_INVALID, "--new-pattern and --new-pattern-from go together");
    }
    const char *pattern = conf_text(c, "new-pattern");
    if (pattern != NULL && sim_pattern_find(pattern) == SIM_LEGITIMATE) {
        return err_set(e, ERR_INVALID,
                       "--new-pattern=%s: it is stolen, terminal, takeover, testing, mule, "
                       "collusion or friendly",
                       pattern);
    }
    enum err err = check_day(c, "drift", e);
    return err == ERR_OK ? check_day(c, "new-pattern-from", e) : err;
}

struct counts {
    uint64_t rows;
    uint64_t frauds[SIM_PATTERN_COUNT];
};

static enum err write_rows(struct sim *s, double expected, bool csv, FILE *f, const char *path,
                           struct counts *n, struct errmsg *e)
{
    char row[SIM_ROW_MAX];
    struct sim_tx t;
    struct progress p;
    progress_begin(&p, "simulate", expected);
    enum err err = ERR_OK;
    bool good = !csv || fputs(sim_csv_header(), f) >= 0;
    while (good && (err = sim_next(s, &t, e)) == ERR_OK) {
        size_t len = csv ? sim_csv_row(&t, row) : sim_json_row(&t, row);
        good = fwrite(row, 1, len, f) == len;
        n->frauds[t.pattern]++;
        if (++n->rows % 16384 == 0) {
            progress_update(&p, (double)n->rows, NULL);
        }
    }
    progress_end(&p, (double)n->rows);
    if (!good || fflush(f) != 0) {
        return file_errno(e, errno, "write", path);
    }
    return err == ERR_END ? ERR_OK : err;
}

static void print_summary(const struct counts *n)
{
    uint64_t frauds = n->rows - n->frauds[SIM_LEGITIMATE];
    fprintf(stderr, "fraudd simulate: %" PRIu64 " rows, %" PRIu64 " frauds (%.3f %%):", n->rows,
            frauds, n->rows > 0 ? 100.0 * (double)frauds / (double)n->rows : 0.0);
    for (unsigned i = SIM_STOLEN; i < SIM_PATTERN_COUNT; i++) {
        fprintf(stderr, " %s %" PRIu64, sim_pattern_name((enum sim_pattern)i), n->frauds[i]);
    }
    fputc('\n', stderr);
}

static enum err simulate(const struct conf *c, struct errmsg *e)
{
    struct sim *s = NULL;
    struct sim_conf conf;
    struct counts n = {0};
    const char *path = conf_text(c, "out");
    FILE *f = stdout;
    enum err err = check_options(c, e);
    if (err != ERR_OK) {
        return err;
    }
    fill_conf(c, &conf);
    err = sim_create(&conf, &s, e);
    if (err != ERR_OK) {
        return err;
    }
    if (path != NULL && (f = fopen(path, "w")) == NULL) {
        err = file_errno(e, errno, "create", path);
        goto out;
    }
    bool csv = strcmp(conf_text(c, "format"), "csv") == 0;
    err = write_rows(s, sim_expected_rows(&conf), csv, f, path != NULL ? path : "standard output",
                     &n, e);
    if (f != stdout && fclose(f) != 0 && err == ERR_OK) {
        err = file_errno(e, errno, "write", path);
    }
    if (err == ERR_OK) {
        print_summary(&n);
    }
out:
    sim_free(s);
    return err;
}

int cmd_simulate(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e;
    enum err err = conf_create(TABLES, NULL, &c, &e);
    if (err == ERR_OK) {
        err = conf_read_args(c, argc, argv, &e);
    }
    if (err == ERR_END) {
        print_help();
        conf_free(c);
        return EXIT_OK;
    }
    if (err == ERR_OK) {
        err = simulate(c, &e);
    }
    conf_free(c);
    return err == ERR_OK ? EXIT_OK : cmd_fail("simulate", err, &e);
}
