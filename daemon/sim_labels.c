/* When a fraud becomes known: a mixture of the owner's call (hours to days), the monthly statement
 * and the chargeback, whose time limit is about 120 days.  All delays shrink in proportion where
 * the configuration asks for a shorter longest one. */
#include "daemon/sim_world.h"

#define LONGEST_DAYS 120.0

static double call_days(struct rng *r)
{
    return .1 + 1.5 * rng_exponential(r);
}

static double statement_days(struct rng *r)
{
    return 3.0 + sim_between(r, 0.0, 30.0);
}

static double chargeback_days(struct rng *r)
{
    return sim_lognormal(r, 3.7, .45); /* median 40 */
}

int64_t sim_label_delay_us(struct sim *s, enum sim_pattern p)
{
    struct rng *r = &s->label_rng;
    /* A stolen card is missed at once; a double charge is found on the statement. */
    double call = p == SIM_STOLEN ? .6 : p == SIM_TAKEOVER ? .4 : p == SIM_FRIENDLY ? .0 : .2;
    double u = rng_uniform(r);
    double days = u < call                       ? call_days(r)
                  : u < call + .6 * (1.0 - call) ? statement_days(r)
                                                 : chargeback_days(r);
    days = days < LONGEST_DAYS ? days : LONGEST_DAYS;
    double scale = (double)s->conf.label_max_days / LONGEST_DAYS;
    int64_t ms = (int64_t)(days * (scale < 1.0 ? scale : 1.0) * 86400000.0);
    return ms * 1000;
}
