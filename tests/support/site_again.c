#include "tests/support/site_again.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <signal.h>

#include "tests/support/decision_copies.h"
#include "tests/support/until.h"

void site_ended_well(struct child *c)
{
    if (!child_wait(c, CHILD_END_MS) || child_code(c) != 0) {
        child_show(c);
        fail_msg("%s did not end well", c->log);
    }
}

void site_decide_again(const struct site *s, int64_t decisions, int64_t patience_us)
{
    char log[128];
    struct child c = {0};
    snprintf(log, sizeof log, "%s/again.log", s->folder);
    child_start(&c, log, (const char *const[]){"score", "--config", s->conf_again, NULL});
    UNTIL_OR_SHOW(site_size(s, &s->topics_again, TOPIC_DECISIONS) >= decisions, patience_us, {
        child_show(&c);
        child_end(&c);
    });
    child_signal(&c, SIGTERM);
    site_ended_well(&c);
}

uint64_t site_check_again(const struct site *s, enum bus_topic which, uint64_t *out_repeats)
{
    struct decision_copies first;
    struct decision_copies again;
    const char *transactions = s->topics.name[TOPIC_TRANSACTIONS];
    decision_copies_read(&first, &s->cluster, SITE_LOG, transactions, SITE_PARTITIONS,
                         s->topics.name[which]);
    decision_copies_read(&again, &s->cluster, SITE_LOG, transactions, SITE_PARTITIONS,
                         s->topics_again.name[which]);
    assert_int_equal(first.differing, 0);
    assert_int_equal(first.strangers, 0);
    assert_int_equal(again.strangers, 0);
    assert_int_equal(again.repeats, 0);
    assert_int_equal(again.ids, first.ids);
    assert_int_equal(decision_copies_unlike(&first, &again), 0);
    uint64_t ids = first.ids;
    *out_repeats = first.repeats;
    decision_copies_done(&first);
    decision_copies_done(&again);
    return ids;
}
