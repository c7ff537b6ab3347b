/* Full card numbers in text: finding and masking them.  Pure; any thread.
 *
 * A card number is 13 to 19 digits that do not begin with 0, pass Luhn's check (ISO/IEC 7812-1,
 * annex B) and are no part of a longer run of digits.  In free text it may also stand in groups as
 * cards are printed and people type: 4 digits, then groups of 3 to 6 (the last one of 1 to 6), each
 * after the same single space or hyphen.  Letters may stand right before or behind it, unless all
 * of them are hexadecimal: one in 600 random UUIDs without hyphens holds such digits by chance.
 * One number of 13 to 19 digits in ten passes by chance. */
#ifndef FD_DAEMON_CARD_NUMBER_H
#define FD_DAEMON_CARD_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/wire.h"

#define CARD_DIGITS_MIN 13
#define CARD_DIGITS_MAX 19

/* Whether the whole text is one card number: the digits, with any spaces and hyphens among them.
 * Returns how many digits went to out_digits (no zero behind them); 0: it is none. */
size_t card_number_read(struct slice text, char out_digits[CARD_DIGITS_MAX]);

/* Whether the text has a card number in it; in_json: the same, looking through JSON's escapes. */
bool card_number_in(struct slice text);
bool card_number_in_json(struct slice text);

/* Whether an amount or counter, written in digits, is one. */
bool card_number_is(int64_t value);

/* Copies len bytes with the digits of every card number but its last four as '*'.  JSON's escapes
 * (\u0034) count as what they stand for.  out: [len], may be text.  Returns whether there was one.
 */
bool card_number_mask(const char *text, size_t len, char *out);

#endif
