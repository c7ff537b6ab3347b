#include "tests/support/sim_messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what)
{
    fprintf(stderr, "simulated payments: %s\n", what);
    exit(1);
}

static void *grow(void *p, size_t *room, size_t need, size_t size)
{
    if (need <= *room) {
        return p;
    }
    *room = *room * 2 > need ? *room * 2 : need;
    p = realloc(p, *room * size);
    if (p == NULL) {
        die("no memory");
    }
    return p;
}

void sim_messages_make(struct sim_messages *m, uint32_t cards, uint32_t days)
{
    struct sim_conf conf;
    struct sim *sim = NULL;
    struct sim_tx t;
    struct errmsg e;
    sim_conf_default(&conf);
    conf.cards = cards;
    conf.merchants = cards * 2 / 5;
    conf.days = days;
    if (sim_create(&conf, &sim, &e) != ERR_OK) {
        die(e.text);
    }
    while (sim_next(sim, &t, &e) == ERR_OK) {
        m->text = grow(m->text, &m->text_room, m->text_len + SIM_ROW_MAX, 1);
        m->message = grow(m->message, &m->room, m->n + 1, sizeof *m->message);
        size_t len = sim_json_row(&t, m->text + m->text_len);
        m->message[m->n++] =
            (struct sim_message){m->text_len, (uint32_t)(len - 1), t.card, t.merchant, t.event_us};
        m->text_len += len;
    }
    sim_free(sim);
}

void sim_messages_done(struct sim_messages *m)
{
    free(m->text);
    free(m->message);
    *m = (struct sim_messages){0};
}

void sim_messages_batch(struct sim_messages *m, size_t from, size_t n, struct bus_message *out)
{
    for (size_t k = 0; k < n; k++) {
        const struct sim_message *s = &m->message[from + k];
        sim_card_id(s->card, m->key[k]);
        out[k] = (struct bus_message){.topic = TOPIC_TRANSACTIONS,
                                      .offset = (int64_t)(from + k),
                                      .timestamp_us = s->event_us,
                                      .key = m->key[k],
                                      .key_len = strlen(m->key[k]),
                                      .value = m->text + s->at,
                                      .value_len = s->len};
    }
}
