#include "daemon/promotion.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/scrape.h"

#define ANSWER_MS 2000

/* Pages that have this model in shadow. */
static int pages_with(const char *text, const char *version)
{
    struct scrape_sample s;
    char is[64];
    int n = 0;
    while (scrape_next(&text, "fraudd_shadow_info", &s)) {
        n += scrape_label(&s, "version", is, sizeof is) && strcmp(is, version) == 0;
    }
    return n;
}

/* Whether every page knows how many cards are complete. */
static bool all_looked(const char *text, int pages)
{
    struct scrape_sample s;
    int n = 0;
    while (scrape_next(&text, "fraudd_shadow_cards", &s)) {
        n += !isnan(s.value);
    }
    return n >= 2 * pages;
}

enum err promotion_judge(const char *text, int pages, long partitions, const char *version,
                         double share, struct errmsg *e)
{
    const double read = scrape_sum(text, "fraudd_partitions", NULL, NULL);
    const int shadows = pages_with(text, version);
    if (!(fabs(read - (double)partitions) < .5)) {
        return err_set(e, ERR_REFUSED,
                       "the %d scoring processes asked have %.0f of %ld partitions between them; "
                       "name all with --score HOST:PORT,..",
                       pages, isnan(read) ? 0 : read, partitions);
    }
    if (shadows < pages) {
        return err_set(e, ERR_REFUSED,
                       "model %s is in shadow in %d of %d scoring processes; `fraudd model shadow "
                       "%s` puts it there",
                       version, shadows, pages, version);
    }
    const double whole = scrape_sum(text, "fraudd_shadow_cards", "cache", "complete");
    const double part = scrape_sum(text, "fraudd_shadow_cards", "cache", "incomplete");
    if (!all_looked(text, pages)) {
        return err_set(
            e, ERR_REFUSED,
            "not all scoring processes have looked at all their cards yet; wait a minute");
    }
    if (whole < share * (whole + part)) {
        return err_set(e, ERR_REFUSED,
                       "model %s has seen enough of %.2f %% of the cards active in 90 days, and "
                       "promote.complete asks for %g %%",
                       version, 100 * whole / (whole + part), 100 * share);
    }
    return ERR_OK;
}

enum err promotion_check(const char *addresses, long partitions, const char *version, double share,
                         struct errmsg *e)
{
    char *text = NULL;
    char *rest = NULL;
    char *own = strdup(addresses);
    size_t len = 0;
    int pages = 0;
    enum err err = own != NULL ? ERR_OK : err_set(e, ERR_NOMEM, "cannot hold the addresses");
    for (char *a = own != NULL ? strtok_r(own, ", ", &rest) : NULL; a != NULL && err == ERR_OK;
         a = strtok_r(NULL, ", ", &rest)) {
        err = scrape_fetch(a, ANSWER_MS, &text, &len, e);
        pages++;
    }
    if (err == ERR_OK) {
        err = promotion_judge(text != NULL ? text : "", pages, partitions, version, share, e);
    }
    free(own);
    free(text);
    return err;
}
