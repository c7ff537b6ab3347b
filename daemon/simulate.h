/* Synthetic card payments with labels: seeded, repeatable to the bit, in order of time.
 *
 * Cards live: they have an amount level, hours, a home, favourite merchants, devices,
 * subscriptions, journeys, shopping sprees and big one-off purchases.  Fraud is laid over this life
 * in episodes of seven patterns.  The idea of customers, terminals and compromised terminals is the
 * Fraud Detection Handbook's (Le Borgne et al. 2022, chapter 3); the patterns go further.
 *
 * 1. Same configuration, same SIMULATOR_VERSION: the same bytes on every machine (base/rng,
 *    base/detmath, integers in the output).
 * 2. Rows come in order of time; equal times in the order they were planned in.
 * 3. A card's legitimate life on a day depends on the seed, the card and the day alone, apart from
 *    what a fraud changes in it (a new card number, a stolen card that its owner cannot use).
 * 4. Memory is proportional to cards + merchants + what is planned ahead, not to days.
 *
 * A struct sim belongs to one thread. */
#ifndef FD_DAEMON_SIMULATE_H
#define FD_DAEMON_SIMULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "features/tx.h"

/* Raised with any change of the rows that a configuration gives. */
#define SIMULATOR_VERSION 1

enum sim_pattern {
    SIM_LEGITIMATE = 0,
    SIM_STOLEN,    /* the plastic is stolen and used nearby until the owner notices */
    SIM_TERMINAL,  /* a compromised terminal: its visitors' cards are charged there and elsewhere */
    SIM_TAKEOVER,  /* somebody else's device buys with the account */
    SIM_TESTING,   /* small payments or checks first, then a big one */
    SIM_MULE,      /* cash and transfers that grow over weeks */
    SIM_COLLUSION, /* a merchant charges earlier visitors again */
    SIM_FRIENDLY,  /* the card's owner denies a payment of his own */
    SIM_PATTERN_COUNT
};

struct sim_conf {
    uint64_t seed;
    uint32_t cards;               /* 10 .. 2,000,000 people */
    uint32_t merchants;           /* 100 .. 1,000,000 */
    uint32_t days;                /* 1 .. 3660 */
    int64_t start_us;             /* midnight UTC of the first day */
    uint64_t transactions;        /* rows to aim at, 0: what the cards make of their own accord */
    int64_t drift_us;             /* the fraud mix changes here; 0: never */
    enum sim_pattern new_pattern; /* nobody commits it before new_from_us; SIM_LEGITIMATE: none */
    int64_t new_from_us;          /* midnight UTC; frauds of the others stay as many as they are */
    double fraud_share;           /* of all rows, 0 .. .05 */
    uint32_t label_max_days;      /* the latest label comes so long after its payment, 1 .. 365 */
};

/* One row.  A plain value without strings; sim_write.c makes the text. */
struct sim_tx {
    uint64_t number;  /* 1, 2, .. in order of time */
    int64_t event_us; /* a multiple of 1000 */
    int64_t label_us; /* when the fraud becomes known; 0 where legitimate */
    int64_t amount_minor;
    uint64_t device; /* 0: missing */
    uint32_t card;   /* number of the card, not of its owner: a replaced card is a new one */
    uint32_t merchant;
    uint32_t terminal; /* 0: missing */
    uint32_t ip;       /* IPv4; 0: missing */
    int32_t lat_e4;    /* degrees * 10,000 */
    int32_t lon_e4;
    uint16_t mcc;
    uint8_t type;         /* enum tx_type */
    uint8_t channel;      /* enum tx_channel */
    uint8_t entry;        /* enum tx_entry */
    uint8_t pattern;      /* enum sim_pattern */
    uint8_t minor_digits; /* of the currency */
    bool has_location;
    char currency[4];
    char country[4]; /* two letters */
};

struct sim;

/* 5,000 cards, 2,000 merchants, 180 days from 2026-01-01, .7 % of fraud, labels within
 * 120 days, seed 1. */
void sim_conf_default(struct sim_conf *conf);

/* ERR_INVALID (which value, its bounds) or ERR_NOMEM.  Copies conf; returns owned. */
FD_MUSTCHECK enum err sim_create(const struct sim_conf *conf, struct sim **out_sim,
                                 struct errmsg *e);
void sim_free(struct sim *s);

/* The next row.  ERR_END after the last one, ERR_NOMEM. */
FD_MUSTCHECK enum err sim_next(struct sim *s, struct sim_tx *out_tx, struct errmsg *e);

/* How many rows it will be, roughly: for a progress line. */
double sim_expected_rows(const struct sim_conf *conf);

/* Lower case, static: "stolen"; "" for legitimate. */
const char *sim_pattern_name(enum sim_pattern p);
/* The fraud pattern of that name; SIM_LEGITIMATE: there is none. */
enum sim_pattern sim_pattern_find(const char *name);

/* ---- text (sim_write.c) ---- */

/* Longer than any row, its newline and zero included. */
#define SIM_ROW_MAX 640
/* Longer than any identity. */
#define SIM_ID_MAX 32

/* The CSV header with its newline: static. */
const char *sim_csv_header(void);
/* Write one line with its newline and a zero; return its length without the zero. */
size_t sim_csv_row(const struct sim_tx *t, char out[SIM_ROW_MAX]);
/* The same in the wire format of the transactions topic; no label in it. */
size_t sim_json_row(const struct sim_tx *t, char out[SIM_ROW_MAX]);
/* The identities as they stand in both. */
void sim_tx_id(const struct sim_tx *t, char out[SIM_ID_MAX]);
void sim_card_id(uint32_t card, char out[SIM_ID_MAX]);
void sim_merchant_id(uint32_t merchant, char out[SIM_ID_MAX]);
/* "2026-01-01T00:00:00.000Z"; 25 bytes with the zero. */
void sim_time_text(int64_t us, char out[SIM_ID_MAX]);

#endif
