/* One payment event and one label, decoded: plain values, no strings, the same for Kafka, CSV and
 * PostgreSQL input.  Identities are XXH3-64 of the original bytes (base/hash.h), 0 where the field
 * is missing.  The original strings stay with the message; features never need them. */
#ifndef FD_FEATURES_TX_H
#define FD_FEATURES_TX_H

#include <stdbool.h>
#include <stdint.h>

enum tx_type {
    TX_PURCHASE = 0,
    TX_CASH,
    TX_REFUND,
    TX_REVERSAL,
    TX_CHECK /* account check: no money moves */
};

enum tx_channel {
    CHANNEL_MISSING = 0,
    CHANNEL_POS,
    CHANNEL_ATM,
    CHANNEL_ECOMMERCE,
    CHANNEL_MOTO, /* mail or telephone order */
    CHANNEL_RECURRING
};

enum tx_entry {
    ENTRY_MISSING = 0,
    ENTRY_CHIP,
    ENTRY_CONTACTLESS,
    ENTRY_MAGSTRIPE,
    ENTRY_MANUAL,
    ENTRY_CREDENTIAL_ON_FILE
};

/* A payment.  Times in microseconds since 1970-01-01 UTC. */
struct tx {
    uint64_t id;   /* hash of the transaction id */
    uint64_t card; /* never 0 */
    uint64_t merchant;
    uint64_t terminal;
    uint64_t device;
    uint64_t ip;
    int64_t event_us;
    int64_t amount_minor; /* in the currency's minor units, as sent; >= 0 */
    uint32_t amount_ref;  /* 1/100 of the reference currency, saturating at UINT32_MAX */
    char currency[4];     /* ISO 4217 letters, zero-terminated */
    uint16_t mcc;         /* 0 where missing */
    uint16_t country;     /* two letters: first * 256 + second; 0 where missing */
    uint8_t type;         /* enum tx_type */
    uint8_t channel;      /* enum tx_channel */
    uint8_t entry;        /* enum tx_entry */
    bool has_location;
    bool foreign_currency; /* currency is not the reference currency */
    float lat;             /* degrees; 0 where missing */
    float lon;
};

enum label_verdict {
    LABEL_FRAUD = 0,
    LABEL_LEGITIMATE,
    LABEL_WITHDRAWN /* takes the earlier verdict of this transaction back */
};

/* What somebody learned of a payment, with the facts that features need, so that a label can be
 * applied without looking the payment up. */
struct label {
    uint64_t source; /* hash of the source's name */
    uint64_t number; /* rises per source; a number seen before is a repeat */
    uint64_t tx_id;  /* hash of the transaction id */
    uint64_t card;
    uint64_t merchant;
    uint64_t terminal;
    uint64_t device;
    uint64_t ip;
    int64_t event_us; /* when the payment happened */
    int64_t known_us; /* when the verdict became known */
    uint32_t amount_ref;
    float usual_ratio; /* amount over the card's usual amount then; 0 where unknown */
    uint16_t mcc;
    uint16_t country;
    uint8_t verdict;  /* enum label_verdict */
    uint8_t spare[3]; /* fills the struct up: equal labels have equal bytes; taken as 0 */
};

/* Whether the event moves money out of the account: what amount windows count. */
static inline bool tx_is_payment(const struct tx *t)
{
    return t->type == TX_PURCHASE || t->type == TX_CASH;
}

#endif
