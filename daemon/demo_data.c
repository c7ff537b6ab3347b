/* What a demo is about: simulated payments, the history that training may see, and labels.
 *
 * 1. A payment is trained on as it is served: every row goes through its JSON and the decoder.
 * 2. Training sees labels that were known at its time, and no others; a fraud that nobody had
 * noticed by then is a good payment to it, as it would be to a bank. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/demo.h"
#include "daemon/rates.h"

void demo_data_decode(const struct demo_data *d, size_t i, char json[SIM_ROW_MAX], size_t *out_len,
                      struct tx *out, struct tx_strings *out_strings)
{
    size_t len = sim_json_row(&d->rows[i], json) - 1; /* without the newline */
    json[len] = '\0';
    enum dead_reason r = decode_tx(d->decoder, json, len, NULL, 0, 0, -1, out, out_strings);
    if (r != DEAD_NONE) {
        abort(); /* a simulated row that cannot be decoded is a bug; a unit test holds them together
                  */
    }
    *out_len = len;
}

size_t demo_data_row(const struct demo_data *d, const char *tx_id)
{
    uint64_t number = tx_id[0] == 't' ? strtoull(tx_id + 1, NULL, 10) : 0;
    return number >= 1 && number <= d->n ? (size_t)number - 1 : d->n;
}

static enum err add_row(struct demo_data *d, size_t *room, const struct sim_tx *t, struct errmsg *e)
{
    if (d->n == *room) {
        size_t more = *room == 0 ? 65536 : *room * 2;
        struct sim_tx *rows = realloc(d->rows, more * sizeof *rows);
        if (rows == NULL) {
            return err_set(e, ERR_NOMEM, "cannot hold %zu simulated payments in memory", more);
        }
        d->rows = rows;
        *room = more;
    }
    d->rows[d->n++] = *t;
    d->frauds += t->pattern != SIM_LEGITIMATE;
    return ERR_OK;
}

static enum err simulate(const struct demo_plan *p, struct demo_data *d, struct errmsg *e)
{
    struct sim *sim = NULL;
    struct sim_tx t;
    struct progress progress;
    size_t room = 0;
    enum err err = sim_create(&p->sim, &sim, e);
    progress_begin(&progress, "simulating", sim_expected_rows(&p->sim));
    while (err == ERR_OK && (err = sim_next(sim, &t, e)) == ERR_OK) {
        err = add_row(d, &room, &t, e);
        if (d->n % 16384 == 0) {
            progress_update(&progress, (double)d->n, NULL);
        }
    }
    progress_end(&progress, (double)d->n);
    sim_free(sim);
    return err == ERR_END ? ERR_OK : err;
}

/* The first n rows as history.  A label counts as such if it is known by known_by_us. */
static enum err make_past(const struct demo_data *d, size_t n, int64_t known_by_us,
                          struct past *out, struct errmsg *e)
{
    char json[SIM_ROW_MAX];
    struct tx t;
    struct tx_strings strings;
    size_t len = 0;
    enum err err = ERR_OK;
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        const struct sim_tx *row = &d->rows[i];
        bool fraud = row->pattern != SIM_LEGITIMATE && row->label_us <= known_by_us;
        int64_t known_us = fraud ? row->label_us : row->event_us + DEMO_MATURITY_DAYS * TIME_DAY;
        demo_data_decode(d, i, json, &len, &t, &strings);
        err = past_add(out, &t, strings.id, true, fraud, known_us, e);
    }
    if (err == ERR_OK) {
        past_sort(out);
    }
    return err;
}

void demo_data_params(const struct demo_data *d, struct feature_params *out)
{
    feature_params_default(out);
    out->maturity_us = DEMO_MATURITY_DAYS * TIME_DAY;
    out->rates_version = rates_version(d->rates);
}

enum err demo_data_make(const struct demo_plan *p, struct demo_data *out, struct errmsg *e)
{
    struct demo_data d = {0};
    enum err err = rates_create_default(&d.rates, e);
    if (err == ERR_OK) {
        err = decoder_create(d.rates, WIRE_MESSAGE_MAX, &d.decoder, e);
    }
    if (err == ERR_OK) {
        err = simulate(p, &d, e);
        d.stream_from = demo_data_find(&d, p->stream_us);
    }
    if (err != ERR_OK) {
        demo_data_free(&d);
        return err;
    }
    *out = d;
    return ERR_OK;
}

struct training {
    struct progress progress;
    const volatile int *stop;
};

static int on_progress(void *ctx, const struct train_progress *p)
{
    struct training *t = ctx;
    learn_show(p, &t->progress);
    return *t->stop;
}

size_t demo_data_find(const struct demo_data *d, int64_t at_us)
{
    size_t n = 0;
    while (n < d->n && d->rows[n].event_us < at_us) {
        n++;
    }
    return n;
}

enum err demo_data_learn(const struct demo_plan *p, const struct demo_data *d,
                         const struct demo_lesson *lesson, struct learnt *out, struct errmsg *e)
{
    struct past past = {0};
    struct learn_conf c;
    struct training training = {.stop = p->stop};
    learn_conf_default(&c);
    demo_data_params(d, &c.params);
    c.until_us = lesson->until_us;
    c.train.final_fit = lesson->final_fit;
    c.train.threads = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    c.train.seed = p->sim.seed;
    c.train.epochs = p->epochs;
    enum err err = make_past(d, demo_data_find(d, lesson->until_us), lesson->known_by_us, &past, e);
    if (err == ERR_OK) {
        progress_begin(&training.progress, "training", 0);
        err = learn(&past, &c, on_progress, &training, out, e);
        progress_end(&training.progress, training.progress.total);
    }
    if (err == ERR_OK) {
        err = learnt_write(out, lesson->path, e);
    }
    past_done(&past);
    return err;
}

void demo_data_free(struct demo_data *d)
{
    free(d->rows);
    decoder_free(d->decoder);
    rates_free(d->rates);
    memset(d, 0, sizeof *d);
}
