/* Alerts for tests of the queue.  They end the test program where the database refuses. */
#ifndef FD_TESTS_SUPPORT_ALERTS_H
#define FD_TESTS_SUPPORT_ALERTS_H

#include "storage/db.h"

/* Empties what the queue's tests fill. */
void alerts_empty(struct db *db);

/* Alert log-1/0/offset of 100.00 USD times `amount`, with a whole body; score below 0: none. */
void alert_add_of(struct db *db, const char *card, long offset, double score, int amount,
                  const char *when);
/* The same, of card "card \"OFFSET\"". */
void alert_add(struct db *db, long offset, double score, int amount, const char *when);

/* Claims up to `count` cases for 15 minutes: the first alert, "" for none; returns how many alerts
 * came. */
int alert_claim(struct db *db, const char *who, int count, char out[32]);

#endif
