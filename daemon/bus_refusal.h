/* Brokers that refuse us and brokers that we cannot trust: no outage, since asking again does not
 * help.  Private to the parts of daemon/ that use librdkafka. */
#ifndef FD_DAEMON_BUS_REFUSAL_H
#define FD_DAEMON_BUS_REFUSAL_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "base/err.h"

/* Has the reason kept for which a broker's certificate is not accepted: the library tells it to its
 * log alone.  What is accepted stays the same. */
void bus_refusal_watch(rd_kafka_conf_t *conf);

/* Whether an error that the library told (its code and words) is a refusal.  Then e says who
 * refused, why and what to do, and ERR_REFUSED is what it amounts to.  Any thread. */
bool bus_refusal_of(rd_kafka_resp_err_t code, const char *words, struct errmsg *e);

#endif
