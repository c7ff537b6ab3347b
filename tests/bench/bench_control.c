/* What controls cost: the way from JSON messages of simulated cards to encoded decisions, side by
 * side without controls, with a million list entries and ten thousand rules.  The two take turns on
 * the same payments, a piece at a time, each with its own state.
 *
 *   bench_control [CARDS [DAYS]] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/notice.h"
#include "daemon/pipeline.h"
#include "daemon/rates.h"
#include "daemon/simulate.h"
#include "tests/support/machine.h"
#include "tests/support/random_model.h"
#include "tests/support/sim_messages.h"

#define BATCH SIM_MESSAGES_BATCH
#define PIECE ((size_t)BATCH * 40)
#define ENTRIES 1000000
#define RULES 10000

/* One of those compared. */
struct side {
    const char *name;
    struct controls *controls; /* NULL: none */
    struct pipeline *p;
    struct feat_world *world;
    struct lane *lane;
    uint64_t spent_ns, records;
};

static void die(const char *what)
{
    fprintf(stderr, "bench_control: %s\n", what);
    exit(1);
}

/* ---- controls ---- */

/* A third of them cards; few are of the stream, since what is told of an alert costs more than
 * finding it does, and alerts are rare. */
static size_t entry_text(size_t i, char *out, size_t size)
{
    static const char *const FIELDS[] = {"card", "card", "merchant", "terminal", "device", "ip"};
    static const char *const LISTS[] = {"block", "watch", "allow"};
    char name[SIM_ID_MAX];
    const char *field = FIELDS[i % 6];
    if (i % 6 == 0 && i < 6 * 4) {
        sim_card_id((uint32_t)(i / 6 * 501 + 3), name);
    } else if (i % 6 == 2 && i < 6 * 2) {
        sim_merchant_id((uint32_t)(i / 6 * 500), name);
    } else {
        snprintf(name, sizeof name, "x%zu", i);
    }
    return (size_t)snprintf(out, size, "add\t%s\t%s\t%s\n", LISTS[i % 3], field, name);
}

static void add_entries(struct controls *c, struct errmsg *e)
{
    char *text = malloc(NOTICE_PART_MAX);
    if (text == NULL) {
        die("no memory");
    }
    int64_t offset = 0;
    for (size_t i = 0; i < ENTRIES; offset++) {
        size_t len = (size_t)snprintf(text, NOTICE_PART_MAX,
                                      "fraudd-control 1\nby\tbench\nwhy\ta million entries\n");
        while (i < ENTRIES && len + 200 < NOTICE_PART_MAX) {
            len += entry_text(i++, text + len, NOTICE_PART_MAX - len);
        }
        if (controls_take(c, offset, text, len, e) != ERR_OK) {
            die(e->text);
        }
    }
    free(text);
}

/* Nine in ten about one merchant, terminal, device or card; of each of the others' merchant
 * categories and countries a few; 150 that have nothing but bounds to be found by. */
static size_t rule_text(size_t i, char *out, size_t size)
{
    static const int MCC[] = {5411, 5812, 5541, 5732, 5999, 4829, 7995, 6011, 5311, 5691,
                              4111, 7011, 4511, 5912, 5816, 5944, 5651, 5814, 5045, 6051};
    static const char *const COUNTRY[] = {"DE", "FR", "IT", "ES", "GB",
                                          "US", "PL", "NL", "AT", "CH"};
    char name[SIM_ID_MAX];
    const size_t n = i / 100;
    const size_t kind = i % 100;
    size_t len = (size_t)snprintf(out, size, "rule-%zu: review when ", i);
    if (kind < 60) {
        sim_merchant_id((uint32_t)(i * 7 % 20000), name);
        len += (size_t)snprintf(out + len, size - len,
                                "merchant = '%s' and amount > %zu and card_count_1h > ln(%zu)",
                                name, 400 + i % 900, 20 + i % 5);
    } else if (kind < 80) {
        len += (size_t)snprintf(out + len, size - len,
                                "terminal in ('t%zu', 't%zu') and amount_tail > 3", i, i + 1);
    } else if (kind < 92) {
        len += (size_t)snprintf(out + len, size - len, "device = 'd%zu' and amount > 50", i);
    } else if (kind < 95) {
        sim_card_id((uint32_t)(i * 3 % 40000), name);
        len += (size_t)snprintf(out + len, size - len, "card = '%s' and country = 'JP'", name);
    } else if (kind < 98) {
        len += (size_t)snprintf(
            out + len, size - len,
            "mcc = %d and country = '%s' and amount > %zu and card_count_6h > ln(20)", MCC[n % 20],
            COUNTRY[n / 20 % 10], 500 + 10 * n);
    } else if (kind < 99 || n % 2 == 0) {
        static const char *const BOUND[] = {"amount > %zu", "card_count_1h > ln(%zu)",
                                            "score > 0.%zu", "terminal_gap < ln(%zu)"};
        char bound[40];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(bound, sizeof bound, BOUND[n % 4], n % 4 == 0 ? 300 + 20 * n : 5 + n % 90);
#pragma GCC diagnostic pop
        len += (size_t)snprintf(out + len, size - len,
                                "%s and card_count_1d > ln(%zu) and hour < 6", bound, 40 + n % 9);
    } else {
        len += (size_t)snprintf(out + len, size - len, "merchant = 'm-%zu' and has(ip)", i);
    }
    return len + (size_t)snprintf(out + len, size - len, " because 'rule number %zu'\n", i);
}

static void add_rules(struct controls *c, int64_t offset, struct errmsg *e)
{
    const size_t size = RULES * 200;
    char *text = malloc(size);
    if (text == NULL) {
        die("no memory");
    }
    size_t len = controls_rules_head("bench", "ten thousand rules", text);
    for (size_t i = 0; i < RULES; i++) {
        len += rule_text(i, text + len, size - len);
    }
    if (controls_take_rules(c, offset, text, len, e) != ERR_OK) {
        die(e->text);
    }
    free(text);
}

static struct controls *make_controls(bool entries, bool rules)
{
    struct controls *c = NULL;
    struct errmsg e;
    const uint64_t start = machine_thread_ns();
    if (controls_create(false, &c, &e) != ERR_OK) {
        die(e.text);
    }
    if (entries) {
        add_entries(c, &e);
    }
    const uint64_t middle = machine_thread_ns();
    if (rules) {
        add_rules(c, INT64_MAX / 2, &e);
    }
    if (controls_at(c, INT64_MAX, &e) != ERR_OK) {
        die(e.text);
    }
    if (entries && rules) {
        const struct control_about *about = NULL;
        int64_t notice = 0;
        printf("%d entries read in %.2f s, %d rules in %.3f s (twice: checked, then in force); one "
               "payment can cost %" PRIu32 " units by rules\n",
               ENTRIES, (double)(middle - start) / 1e9, RULES,
               (double)(machine_thread_ns() - middle) / 1e9,
               rule_set_cost(controls_rules(c, &about, &notice)));
    }
    return c;
}

/* ---- the comparison ---- */

static void count_record(void *ctx, const struct bus_record *r)
{
    struct side *s = ctx;
    (void)r;
    s->records++;
}

static void open_side(struct side *s, const struct model *m, const struct rates *rates)
{
    struct pipeline_conf conf = {
        .model = m,
        .rates = rates,
        .controls = s->controls,
        .threshold = {.budget = 100, .burst = 1.5, .floor = 1, .decline = 2},
        .log = {"bench", 5},
        .max_future_us = -1,
        .message_max = WIRE_MESSAGE_MAX};
    const struct pipeline_out out = {.ctx = s, .record = count_record};
    struct feat_world_limits limits;
    struct errmsg e;
    feature_params_default(&conf.params);
    feat_limits_default(&conf.limits);
    feat_world_limits_default(&limits);
    if (pipeline_create(&conf, &out, NULL, &s->p, &e) != ERR_OK ||
        feat_world_create(&conf.params, &limits, &s->world, &e) != ERR_OK ||
        lane_create(s->p, s->world, 0, &s->lane, &e) != ERR_OK) {
        die(e.text);
    }
}

static void close_side(struct side *s)
{
    lane_free(s->lane);
    feat_world_free(s->world);
    pipeline_free(s->p);
    controls_free(s->controls);
}

static void feed(struct sim_messages *b, struct side *s, size_t from, size_t to)
{
    static struct bus_message m[BATCH];
    for (size_t i = from; i < to; i += BATCH) {
        size_t n = to - i < BATCH ? to - i : BATCH;
        sim_messages_batch(b, i, n, m);
        uint64_t start = machine_thread_ns();
        pipeline_messages(s->p, s->lane, m, NULL, n, 0);
        s->spent_ns += machine_thread_ns() - start;
    }
}

static void print_side(const struct side *s, const struct side *base, size_t n)
{
    const struct pipeline_counters *c = pipeline_counters(s->p);
    const double ns = (double)s->spent_ns / (double)n;
    const double base_ns = (double)base->spent_ns / (double)n;
    printf("%-28s %6.0f ns a message, %7.0f messages/s, %6.2f %% of the throughput without; by "
           "lists %" PRIu64 ", by rules %" PRIu64 "\n",
           s->name, ns, 1e9 / ns, 100 * base_ns / ns, c->controlled[CONTROL_LIST],
           c->controlled[CONTROL_RULE]);
}

/* Takes the controls. */
static void compare(struct sim_messages *b, const struct model *m, const struct rates *rates,
                    const char *name, struct controls *controls)
{
    struct side sides[] = {{.name = "without"}, {.name = name, .controls = controls}};
    const size_t warm = b->n / 2 / PIECE * PIECE;
    for (size_t k = 0; k < 2; k++) {
        open_side(&sides[k], m, rates);
    }
    for (size_t i = 0; i < b->n; i += PIECE) {
        for (size_t k = 0; k < 2; k++) {
            sides[k].spent_ns = i == warm ? 0 : sides[k].spent_ns;
            feed(b, &sides[k], i, i + PIECE < b->n ? i + PIECE : b->n);
        }
    }
    for (size_t k = 0; k < 2; k++) {
        print_side(&sides[k], &sides[0], b->n - warm);
    }
    close_side(&sides[0]);
    close_side(&sides[1]);
}

int main(int argc, char **argv)
{
    struct sim_messages b = {0};
    struct errmsg e;
    struct rates *rates = NULL;
    uint32_t cards = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 20000;
    uint32_t days = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 20;
    if (rates_create_default(&rates, &e) != ERR_OK) {
        die(e.text);
    }
    struct model *model = random_model(3);
    machine_print();
    sim_messages_make(&b, cards, days);
    printf("%zu messages, %" PRIu32 " cards, %" PRIu32 " days; the second half is timed\n", b.n,
           cards, days);
    compare(&b, model, rates, "1,000,000 list entries", make_controls(true, false));
    compare(&b, model, rates, "10,000 rules", make_controls(false, true));
    compare(&b, model, rates, "both", make_controls(true, true));
    model_free(model);
    rates_free(rates);
    sim_messages_done(&b);
    return 0;
}
