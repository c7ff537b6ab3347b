/* Whether a model in shadow may become champion: it must be in shadow everywhere and know the
 * cards; by rule, it must also have scored as the champion does for long enough.  One place
 * decides: `fraudd model promote`. */
#ifndef FD_DAEMON_PROMOTION_H
#define FD_DAEMON_PROMOTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"

/* Adds up the pages of metrics at these addresses, by commas: *text is owned by the caller,
 * whatever is returned.  ERR_UNAVAILABLE one does not answer. */
FD_MUSTCHECK enum err promotion_pages(const char *addresses, char **text, int *pages,
                                      struct errmsg *e);

/* Judges pages of metrics of all scoring processes, one behind the other (daemon/scrape.h).
 * pages: how many; partitions: of the transactions topic, so that none is missing; share: of the
 * cards active in 90 days that must have a complete latent cache, in [0, 1].
 * ERR_REFUSED says what is missing. */
FD_MUSTCHECK enum err promotion_judge(const char *text, int pages, long partitions,
                                      const char *version, double share, struct errmsg *e);
/* The same of the pages at these addresses, by commas.  ERR_UNAVAILABLE one does not answer. */
FD_MUSTCHECK enum err promotion_check(const char *addresses, long partitions, const char *version,
                                      double share, struct errmsg *e);

/* Champion and challenger, as pages of metrics compare them. */
struct promotion_figures {
    double payments;             /* that both scored since the two came together */
    double champion, challenger; /* alerts that each would raise */
    double alike;                /* of all alerts of either, those of both: in [0, 1]; NaN: none */
    double shift;                /* challenger's mean probability less the champion's, that of the
                                    process where it is largest; NaN: not known */
    double complete, incomplete; /* cards; NaN: not looked at yet */
};
void promotion_figures(const char *text, struct promotion_figures *out);
/* In words; returns out. */
#define PROMOTION_TEXT_MAX 2048
const char *promotion_figures_text(const struct promotion_figures *f, char out[PROMOTION_TEXT_MAX]);

/* Bounds of a promotion by rule. */
struct promotion_rule {
    bool agree; /* false: nothing is promoted by rule */
    double complete, shadow_s, payments, alike, shift, alerts;
    int64_t outcomes_us; /* no bound of `fraudd outcomes` was missed for so long */
};

/* The options "promote.*": a part of the settings' table. */
#define PROMOTE_SETTINGS_TABLE                                                                     \
    {"promote.complete",                                                                           \
     CONF_REAL,                                                                                    \
     0,                                                                                            \
     "99.9",                                                                                       \
     0,                                                                                            \
     100,                                                                                          \
     "percent of the cards active in 90 days of whom a model in shadow must have seen enough "     \
     "before `fraudd model promote` makes it champion"},                                           \
        {"promote.rule",                                                                           \
         CONF_TEXT,                                                                                \
         0,                                                                                        \
         "never",                                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         "what `fraudd model promote --by-rule` does: never (nothing), or agree (promotes the "    \
         "model in shadow where it keeps all bounds promote.*)"},                                  \
        {"promote.shadow-time",                                                                    \
         CONF_DURATION,                                                                            \
         0,                                                                                        \
         "3d",                                                                                     \
         0,                                                                                        \
         31536000,                                                                                 \
         "by rule: time in shadow, at least"},                                                     \
        {"promote.payments",                                                                       \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         "10000",                                                                                  \
         0,                                                                                        \
         1e12,                                                                                     \
         "by rule: payments that both models have scored, at least (a restart of `score` counts "  \
         "anew)"},                                                                                 \
        {"promote.alike",                                                                          \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         "50",                                                                                     \
         0,                                                                                        \
         100,                                                                                      \
         "by rule: percent of the alerts that either model would raise which both would, at "      \
         "least"},                                                                                 \
        {"promote.shift",                                                                          \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         ".01",                                                                                    \
         0,                                                                                        \
         1,                                                                                        \
         "by rule: difference of the two mean probabilities, at most"},                            \
        {"promote.alerts",                                                                         \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         "25",                                                                                     \
         0,                                                                                        \
         1000,                                                                                     \
         "by rule: percent by which its alerts may be more or fewer than the champion's"},         \
    {                                                                                              \
        "promote.outcomes", CONF_DURATION, 0, "8d", 0, 31536000,                                   \
            "by rule: for so long `fraudd outcomes` must not have found a bound missed"            \
    }
/* ERR_INVALID promote.rule is neither. */
FD_MUSTCHECK enum err promotion_rule_read(const struct conf *c, struct promotion_rule *out,
                                          struct errmsg *e);

/* What is known of the one in shadow. */
struct promotion_case {
    const char *version;
    double shadow_s;    /* in shadow */
    const char *missed; /* the bound that outcomes missed lately; NULL: none */
    const char *text;   /* pages of all scoring processes */
    int pages;
    long partitions;
};
/* Which bounds are missed, and by how much, as sentences apart by "; ": returns how many. */
size_t promotion_misses(const struct promotion_rule *r, const struct promotion_case *c,
                        char out[PROMOTION_TEXT_MAX]);

#endif
