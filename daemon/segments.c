#include "daemon/segments.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "daemon/decode_fields.h"

const char *const SEGMENT_KIND[SEGMENT_KINDS] = {"channel", "country", "mcc", "type", "amount"};

/* Upper ends of the amount bands, reference units: two a decade, whatever the stream. */
static const uint32_t BAND[] = {3, 10, 30, 100, 300, 1000, 3000, 10000};
#define BANDS (sizeof BAND / sizeof *BAND)

int segment_find(const char *name)
{
    for (int i = 0; i < SEGMENT_KINDS; i++) {
        if (strcmp(name, SEGMENT_KIND[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static uint16_t band_of(uint32_t amount_ref)
{
    uint16_t band = 0;
    while (band < BANDS && amount_ref >= BAND[band] * 100) {
        band++;
    }
    return band;
}

uint16_t segment_of(enum segment_kind kind, const struct tx *t)
{
    switch (kind) {
    case SEGMENT_CHANNEL:
        return t->channel;
    case SEGMENT_COUNTRY:
        return t->country;
    case SEGMENT_MCC:
        return t->mcc;
    case SEGMENT_TYPE:
        return t->type;
    case SEGMENT_AMOUNT:
        return band_of(t->amount_ref);
    case SEGMENT_KINDS:
        break;
    }
    return 0;
}

static void band_name(uint16_t band, char out[SEGMENT_NAME_MAX])
{
    if (band == 0) {
        snprintf(out, SEGMENT_NAME_MAX, "below %u", BAND[0]);
    } else if (band < BANDS) {
        snprintf(out, SEGMENT_NAME_MAX, "%u to %u", BAND[band - 1], BAND[band]);
    } else {
        snprintf(out, SEGMENT_NAME_MAX, "from %u", BAND[BANDS - 1]);
    }
}

void segment_name(enum segment_kind kind, uint16_t segment, char out[SEGMENT_NAME_MAX])
{
    const char *word = segment == SEGMENT_OTHER ? "other" : "missing";
    if (kind == SEGMENT_CHANNEL && segment >= CHANNEL_POS &&
        segment < CHANNEL_POS + FIELD_CHANNELS) {
        word = FIELD_CHANNEL[segment - CHANNEL_POS];
    } else if (kind == SEGMENT_TYPE && segment < FIELD_TYPES) {
        word = FIELD_TYPE[segment];
    } else if (kind == SEGMENT_MCC && segment != 0 && segment != SEGMENT_OTHER) {
        snprintf(out, SEGMENT_NAME_MAX, "%04u", (unsigned)segment);
        return;
    } else if (kind == SEGMENT_COUNTRY && segment != 0 && segment != SEGMENT_OTHER) {
        snprintf(out, SEGMENT_NAME_MAX, "%c%c", segment >> 8, segment & 0xff);
        return;
    } else if (kind == SEGMENT_AMOUNT && segment != SEGMENT_OTHER) {
        band_name(segment, out);
        return;
    }
    snprintf(out, SEGMENT_NAME_MAX, "%s", word);
}
