#include "daemon/model_document.h"

#include <inttypes.h>
#include <math.h>

#include "base/timefmt.h"
#include "features/schema.h"
#include "model/model_format.h"
#include "model/stability.h"

static void print_purpose(FILE *f, const struct model_lineage *l)
{
    fprintf(f,
            "# Model %s\n"
            "%s%s\n\n"
            "## Purpose\n"
            "The probability that a card payment is fraud, within milliseconds of it, from the "
            "payment and the card's own\n"
            "history. It orders alerts for analysts, and declines where the settings say so "
            "(`decline.*`). It is made for\n"
            "nothing else: it does not judge a person's credit, and a score of another stream of "
            "payments than the one it\n"
            "learnt means nothing.\n\n",
            l->version,
            l->parent[0] != '\0' ? "An update of model " : "A full training, without a parent",
            l->parent);
}

static void print_data(FILE *f, const struct model_lineage *l)
{
    char from[TIME_TEXT_MAX];
    char until[TIME_TEXT_MAX];
    char maturity[TIME_TEXT_MAX];
    time_format(from, l->data_from_us);
    time_format(until, l->data_until_us);
    duration_format(maturity, l->maturity_us);
    fprintf(f,
            "## Data\n"
            "- Payments from %s to %s, not included; labels known by then.\n"
            "- %" PRIu64 " training rows, %" PRIu64 " of them frauds (%.3f %%); their hash is "
            "%016" PRIx64 ".\n"
            "- A payment without a verdict counts as legitimate %s after it.\n"
            "- Money in one currency by exchange-rate table %" PRIu32 "; columns of schema "
            "%016" PRIx64 " (blame ratio %g, tail %g).\n\n"
            "Left out: payments declined and without a verdict (nobody knows what they were), "
            "messages sent twice, and\n"
            "what the dead-letter topic has. Refunds and reversals change the history and are not "
            "learnt from.\n\n",
            from, until, l->rows, l->frauds,
            l->rows > 0 ? 100 * (double)l->frauds / (double)l->rows : 0, l->rows_hash, maturity,
            l->rates_version, l->schema_hash, (double)l->blame_ratio, (double)l->blame_tail);
}

static void print_network(FILE *f, const struct model *m)
{
    const struct net_shape *s = model_shape(m);
    const struct model_lineage *l = model_lineage(m);
    fprintf(f,
            "## Network\n"
            "- %" PRIu32 " columns in %" PRIu32 " bins together; %" PRIu32 " layers of width "
            "%" PRIu32 "; latent attention over the card's last\n"
            "  %" PRIu32 " events (%" PRIu32 " heads, latents of %" PRIu32 "); %" PRIu32
            " experts, %" PRIu32 " chosen an event, one shared.\n"
            "- INT8 weights; probabilities calibrated on held-out payments.\n"
            "- Seed %" PRIu64 ", program %s, OpenBLAS core %s, file hash %016" PRIx64 ".\n\n",
            s->columns, s->bins, s->layers, s->width, s->window, s->heads, s->rank, s->experts,
            s->top, l->seed, l->code_version, l->blas_core, model_hash(m));
}

static void print_measure(FILE *f, const char *name, double v)
{
    if (isfinite(v)) {
        fprintf(f, "| %s | %.4f |\n", name, v);
    } else {
        fprintf(f, "| %s | none |\n", name);
    }
}

static void print_tests(FILE *f, const struct model_lineage *l)
{
    bool known = false;
    fputs("## Tests\n"
          "On payments of the last stretch before the end of the data, which were not learnt "
          "from:\n\n"
          "| measure | value |\n|---|---|\n",
          f);
    print_measure(f, "area under the ROC curve", l->holdout_auc);
    print_measure(f, "average precision", l->holdout_ap);
    print_measure(f, "Brier score", l->holdout_brier);
    for (int b = 0; b < SCORE_BANDS; b++) {
        known = known || l->score_share[b] > 0;
    }
    if (known) {
        fputs("\nTheir scores:\n\n| up to | share |\n|---|---|\n", f);
    }
    for (int b = 0; known && b < SCORE_BANDS; b++) {
        fprintf(f, "| %g | %.5f |\n", b + 1 < SCORE_BANDS ? (double)SCORE_BAND_TOP[b] : 1,
                (double)l->score_share[b]);
    }
    fputs("\nIntervals, calibration and segments on any stretch: `fraudd backtest --segment ..`. "
          "What it was worth in\n"
          "service, by segment and band of score: `fraudd outcomes`. How far the stream has moved "
          "since: metric\n"
          "`fraudd_score_drift`, and `fraudd train --report` of the next update.\n\n",
          f);
}

static void print_columns(FILE *f, const struct model *m)
{
    const struct net_encoding *en = model_encoding(m);
    size_t constant = 0;
    fputs("## Columns\n| group | columns | what of the payment |\n|---|---|---|\n", f);
    for (int g = 0; g < GROUP_COUNT; g++) {
        size_t n = 0;
        for (size_t c = 0; c < FEAT_DIM; c++) {
            n += feature_info(c)->group == (enum feature_group)g;
        }
        fprintf(f, "| %s | %zu | %s |\n", feature_group_name((enum feature_group)g), n,
                feature_group_words((enum feature_group)g));
    }
    fputs("\nNo name, age, sex, origin or address of a person is among them. `fraudd rules fields` "
          "has the formula of each.\n\n"
          "Without variance in training, so without weight:",
          f);
    for (uint32_t c = 0; c < en->columns && c < FEAT_DIM; c++) {
        if (!(fabsf(en->inv_sd[c]) > 0)) {
            fprintf(f, "%s %s", constant++ > 0 ? "," : "", feature_info(c)->name);
        }
    }
    fputs(constant > 0 ? ".\n\n" : " none.\n\n", f);
}

void model_document_print(FILE *f, const struct model *m)
{
    print_purpose(f, model_lineage(m));
    print_data(f, model_lineage(m));
    print_network(f, m);
    print_tests(f, model_lineage(m));
    print_columns(f, m);
    fputs(
        "## Limits\n"
        "- A card's first payments are judged by merchant, place and amount alone; what a card "
        "usually does is not known yet.\n"
        "- A pattern of fraud that is not in the data is seen only as far as it looks unusual; it "
        "is learnt after its labels come.\n"
        "- Labels say what was noticed. Fraud that nobody reports teaches that it is legitimate.\n"
        "- Between full trainings columns are scaled as they were, and bins only split: a column "
        "that leaves them (drift past `update.drift`) asks for a new one.\n"
        "- Reasons of an alert say which columns moved the score, not what caused the fraud.\n",
        f);
}
