/* Simulated payments as JSON messages in memory, for benchmarks.  One thread. */
#ifndef FD_TESTS_SIM_MESSAGES_H
#define FD_TESTS_SIM_MESSAGES_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/bus.h"
#include "daemon/simulate.h"

#define SIM_MESSAGES_BATCH 256 /* at most in one batch */

struct sim_message {
    size_t at; /* in text */
    uint32_t len, card, merchant;
    int64_t event_us;
};

struct sim_messages {
    struct sim_message *message; /* [n] */
    size_t n, room;
    char *text;
    size_t text_len, text_room;
    char key[SIM_MESSAGES_BATCH][SIM_ID_MAX]; /* of the latest batch */
};

/* Fills `m`, which is zero; an error ends the program.  Free with sim_messages_done. */
void sim_messages_make(struct sim_messages *m, uint32_t cards, uint32_t days);
void sim_messages_done(struct sim_messages *m);

/* Messages [from, from + n) of a log's partition, n at most SIM_MESSAGES_BATCH; borrowed from m
 * until the next batch. */
void sim_messages_batch(struct sim_messages *m, size_t from, size_t n, struct bus_message *out);

#endif
