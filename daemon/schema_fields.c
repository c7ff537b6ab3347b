#include "daemon/schema_fields.h"

#include <string.h>

#include "daemon/decode_fields.h"

enum member schema_member(const char *name, size_t len)
{
    for (int i = 0; i < MEMBER_COUNT; i++) {
        const enum member m = (enum member)i;
        if ((FIELD_TX_NAMED & MEMBER_BIT(m)) != 0 && strlen(member_name(m)) == len &&
            memcmp(member_name(m), name, len) == 0) {
            return m;
        }
    }
    return MEMBER_COUNT;
}

unsigned schema_takes(enum member m)
{
    switch (m) { /* NOLINT(bugprone-branch-clone): one line a kind */
    case MEMBER_TS:
        return TAKES_TEXT | TAKES_INTEGER | TAKES_MICROS;
    case MEMBER_AMOUNT:
        return TAKES_TEXT | TAKES_INTEGER | TAKES_DECIMAL;
    case MEMBER_EXPONENT:
        return TAKES_INTEGER;
    case MEMBER_MCC:
        return TAKES_TEXT | TAKES_INTEGER;
    case MEMBER_LAT:
    case MEMBER_LON:
        return TAKES_INTEGER | TAKES_REAL;
    default:
        return TAKES_TEXT;
    }
}

const char *schema_takes_words(enum member m)
{
    switch (m) {
    case MEMBER_TS:
        return "a time in milliseconds or microseconds, or text";
    case MEMBER_AMOUNT:
        return "an integer, text or an exact decimal";
    case MEMBER_EXPONENT:
        return "an integer";
    case MEMBER_MCC:
        return "an integer or text";
    case MEMBER_LAT:
    case MEMBER_LON:
        return "a number";
    default:
        return "text";
    }
}

enum member schema_lacks(uint64_t present)
{
    const uint64_t missing = FIELD_TX_REQUIRED & ~present;
    return missing == 0 ? MEMBER_COUNT : (enum member)__builtin_ctzll(missing);
}
