/* Messages that no bank should send: each must end as a dead letter, whatever else goes on. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/demo.h"

#define LARGE_BYTES (WIRE_MESSAGE_MAX + 4096)

enum hostile {
    CUT_SHORT,
    NOT_UTF8,
    WRONG_TYPE,
    NOT_A_NUMBER,
    NEGATIVE,
    TEN_TO_300,
    YEAR_1900,
    YEAR_2100,
    TOMORROW, /* later than max-future allows */
    EMPTY,
    NO_CARD,
    OTHER_KEY, /* the message's key is not its card */
    NO_CURRENCY,
    TOO_LARGE,
    HOSTILE_COUNT
};

size_t demo_hostile_count(void)
{
    return HOSTILE_COUNT;
}

static size_t payment(char *out, size_t room, const char *card, const char *ts, const char *amount,
                      const char *currency)
{
    return (size_t)snprintf(out, room,
                            "{\"id\":\"hostile\",\"ts\":%s,\"card\":\"%s\",\"type\":\"purchase\","
                            "\"amount\":%s,\"currency\":\"%s\"}",
                            ts, card, amount, currency);
}

size_t demo_hostile_make(size_t k, const char *card, int64_t now_us, char *out,
                         char key[SIM_ID_MAX])
{
    static const char GOOD_TS[] = "\"2026-01-02T03:04:05Z\"";
    char tomorrow[32];
    const char *ts = GOOD_TS;
    const char *amount = "\"12.50\"";
    const char *currency = "EUR";
    snprintf(key, SIM_ID_MAX, "%s", card);
    snprintf(tomorrow, sizeof tomorrow, "%" PRId64, now_us / 1000 + 86400000);
    switch ((enum hostile)k) {
    case CUT_SHORT:
        return payment(out, DEMO_HOSTILE_MAX, card, ts, amount, currency) / 2;
    case NOT_UTF8:
        currency = "\xff\xfe";
        break;
    case WRONG_TYPE:
        amount = "true";
        break;
    case NOT_A_NUMBER:
        amount = "NaN";
        break;
    case NEGATIVE:
        amount = "-5";
        break;
    case TEN_TO_300:
        amount = "1e300";
        break;
    case YEAR_1900:
        ts = "\"1900-01-01T00:00:00Z\"";
        break;
    case YEAR_2100:
        ts = "\"2100-01-01T00:00:00Z\"";
        break;
    case TOMORROW:
        ts = tomorrow;
        break;
    case EMPTY:
        return 0;
    case NO_CARD:
        return (size_t)snprintf(out, DEMO_HOSTILE_MAX,
                                "{\"id\":\"hostile\",\"ts\":%s,\"type\":\"purchase\","
                                "\"amount\":%s,\"currency\":\"%s\"}",
                                ts, amount, currency);
    case OTHER_KEY:
        snprintf(key, SIM_ID_MAX, "not-%.20s", card);
        break;
    case NO_CURRENCY:
        currency = "XXX";
        break;
    case TOO_LARGE:
        memset(out, ' ', LARGE_BYTES);
        return LARGE_BYTES;
    case HOSTILE_COUNT:
        break;
    }
    return payment(out, DEMO_HOSTILE_MAX, card, ts, amount, currency);
}
