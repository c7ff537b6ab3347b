/* What every wire format shares: slices of text and the bounds of what comes from outside. */
#ifndef FD_DAEMON_WIRE_H
#define FD_DAEMON_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Text without a terminating zero, borrowed from whoever made it; {NULL, 0} where missing. */
struct slice {
    const char *at;
    size_t len;
};

#define WIRE_MESSAGE_MAX ((size_t)64 * 1024) /* bytes of one message */
#define WIRE_ID_MAX 128                      /* bytes of one identity: id, card, merchant, .. */
#define WIRE_LOG_MAX 64                      /* bytes of a log's name */
#define WIRE_MODEL_MAX 32                    /* bytes of a model's version */
#define WIRE_CONTROL_MAX 96                  /* bytes of a control's name */
#define WIRE_AMOUNT_MAX INT64_C(1000000000000000)   /* minor units: 10^15 */
#define WIRE_EXPONENT_MAX 4                         /* decimals of a currency */
#define WIRE_TIME_FIRST_US INT64_C(946684800000000) /* 2000-01-01T00:00:00Z */
#define WIRE_TIME_END_US INT64_C(4102444800000000)  /* 2100-01-01T00:00:00Z, not included */

/* Strings of a payment that features know only as hashes. */
struct tx_strings {
    struct slice id, card, merchant, terminal, device, ip;
    uint8_t exponent; /* decimals of amount_minor */
};

/* Strings and amounts of a label that features do not need. */
struct label_strings {
    struct slice source, tx, card, merchant, terminal, device, ip;
    int64_t amount_minor; /* meaningless where currency is empty */
    char currency[4];
    uint8_t exponent;
};

#endif
