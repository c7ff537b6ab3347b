#include "daemon/rule_trial.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/timefmt.h"
#include "daemon/decision.h"
#include "daemon/replay.h"

struct trial {
    const struct rule_trial_conf *conf;
    struct rule_trial *out;
    uint64_t told;
};

static void tell(struct trial *t, const struct rule *rule, const struct past_row *row,
                 const struct scored *s)
{
    char time[TIME_TEXT_MAX];
    if (t->conf->alerts == NULL || t->told++ >= t->conf->alerts_max) {
        return;
    }
    (void)time_format(time, row->tx.event_us);
    fprintf(t->conf->alerts, "%s,%s,%.*s,%s,%.2f,%.6f,%d\n", rule->name,
            rule_action_name(rule->action), (int)row->id_len, past_id(t->conf->past, s->tag), time,
            (double)row->tx.amount_ref / 100, s->probability, row->fraud);
}

static void on_payment(void *ctx, const struct scored *s)
{
    struct trial *t = ctx;
    const struct past_row *row = &t->conf->past->rows[s->tag];
    struct rule_facts facts;
    if (row->tx.event_us < t->conf->from_us || row->tx.event_us >= t->conf->to_us ||
        !(tx_is_payment(&row->tx) || row->tx.type == TX_CHECK)) {
        return;
    }
    t->out->payments++;
    t->out->frauds += row->fraud;
    t->out->model_alerts += s->outcome != OUTCOME_APPROVE;
    rule_facts_fill(&facts, s->tx, s->x, (double)(float)s->probability);
    /* history is in order of time: its clock is the payment's */
    const struct rule *rule = rule_set_find(t->conf->rules, &facts, row->tx.event_us);
    if (rule == NULL) {
        return;
    }
    struct rule_trial_counts *n = &t->out->of[rule - rule_set_rule(t->conf->rules, 0)];
    n->first++;
    if (s->outcome == OUTCOME_APPROVE && rule->action != OUTCOME_APPROVE) {
        n->raised++;
        n->raised_frauds += row->fraud;
        tell(t, rule, row, s);
    }
}

enum err rule_trial_run(const struct rule_trial_conf *c, struct rule_trial *out, struct errmsg *e)
{
    struct trial t = {c, out, 0};
    const struct model_lineage *l = model_lineage(c->model);
    const struct replay_conf conf = {
        .model = c->model,
        .params = {l->maturity_us, l->blame_ratio, l->blame_tail, c->rates_version},
        .threshold = c->threshold,
        .job = "trying the rules"};
    *out = (struct rule_trial){.payments = 0};
    out->of = calloc(rule_set_count(c->rules) + 1, sizeof *out->of);
    if (out->of == NULL) {
        return err_set(e, ERR_NOMEM, "cannot try rules: no memory");
    }
    if (c->alerts != NULL) {
        fputs("rule,action,tx,ts,amount,score,fraud\n", c->alerts);
    }
    enum err err = replay_run(c->past, &conf, on_payment, &t, e);
    if (err != ERR_OK) {
        rule_trial_done(out);
    }
    return err;
}

void rule_trial_done(struct rule_trial *t)
{
    free(t->of);
    t->of = NULL;
}
