/* Any bytes through the message decoders: bounds hold, what is accepted is written and read back
 * the same.  The first byte chooses the format. */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "daemon/encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct decoder *decoder;
static char out[ENCODE_MAX], again[ENCODE_MAX];

static void start(void)
{
    struct rates *rates = NULL;
    struct errmsg e;
    enum err code = rates_create_default(&rates, &e);
    assert(code == ERR_OK);
    code = decoder_create(rates, WIRE_MESSAGE_MAX, &decoder, &e);
    assert(code == ERR_OK);
}

static void fuzz_tx(const char *json, size_t len)
{
    struct tx t, back;
    struct tx_strings s;
    size_t n = 0;
    if (decode_tx(decoder, json, len, NULL, 0, 0, -1, &t, &s) != DEAD_NONE) {
        assert(decode_detail(decoder)[0] != '\0');
        return;
    }
    assert(t.card != 0 && t.id != 0 && t.amount_minor >= 0 && t.amount_minor <= WIRE_AMOUNT_MAX);
    assert(t.event_us >= WIRE_TIME_FIRST_US && t.event_us < WIRE_TIME_END_US);
    assert(isfinite(t.lat) && isfinite(t.lon) && t.mcc <= 9999);
    enum err code = encode_tx(&t, &s, out, sizeof out, &n);
    assert(code == ERR_OK);
    enum dead_reason r = decode_tx(decoder, out, n, NULL, 0, 0, -1, &back, &s);
    assert(r == DEAD_NONE && back.card == t.card && back.device == t.device);
    assert(back.amount_minor == t.amount_minor && back.event_us == t.event_us);
    assert(back.amount_ref == t.amount_ref);
}

static void fuzz_label(const char *json, size_t len)
{
    struct label l, back;
    struct label_strings s;
    size_t n = 0;
    if (decode_label(decoder, json, len, 0, -1, &l, &s) != DEAD_NONE) {
        return;
    }
    assert(l.known_us >= l.event_us && l.usual_ratio >= 0);
    enum err code = encode_label(&l, &s, out, sizeof out, &n);
    assert(code == ERR_OK);
    enum dead_reason r = decode_label(decoder, out, n, 0, -1, &back, &s);
    assert(r == DEAD_NONE && back.tx_id == l.tx_id && back.amount_ref == l.amount_ref);
}

static void fuzz_alert(const char *json, size_t len)
{
    struct decision d;
    struct tx t;
    struct tx_strings s;
    size_t n = 0;
    size_t m = 0;
    if (decode_alert(decoder, json, len, &d, &t, &s) == DEAD_NONE) {
        enum err code = encode_alert(&d, &t, &s, out, sizeof out, &n);
        assert(code == ERR_OK);
        enum dead_reason r = decode_alert(decoder, out, n, &d, &t, &s);
        assert(r == DEAD_NONE);
    } else if (decode_decision(decoder, json, len, &d) == DEAD_NONE) {
        enum err code = encode_decision(&d, out, sizeof out, &n);
        assert(code == ERR_OK);
        enum dead_reason r = decode_decision(decoder, out, n, &d);
        assert(r == DEAD_NONE);
        code = encode_decision(&d, again, sizeof again, &m);
        assert(code == ERR_OK && n == m && memcmp(out, again, n) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (decoder == NULL) {
        start();
    }
    const char *json = (const char *)bytes + (len > 0);
    size_t n = len > 0 ? len - 1 : 0;
    switch (len > 0 ? bytes[0] % 3 : 0) {
    case 0:
        fuzz_tx(json, n);
        break;
    case 1:
        fuzz_label(json, n);
        break;
    default:
        fuzz_alert(json, n);
        break;
    }
    return 0;
}
