#include "daemon/bus_refusal.h"

#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Of the latest certificate that was not accepted; the process's, since the words that come with
 * the error name neither. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int certificate_error;

/* The library's threads call it, for each certificate of a chain; its signature is theirs. */
/* NOLINTNEXTLINE(readability-function-size) */
static int on_certificate(rd_kafka_t *rk, const char *broker, int32_t id, int *error, int depth,
                          const char *der, size_t size, char *text, size_t text_size, void *opaque)
{
    (void)rk;
    (void)broker;
    (void)id;
    (void)depth;
    (void)der;
    (void)size;
    (void)opaque;
    if (*error == X509_V_OK) {
        return 1;
    }
    snprintf(text, text_size, "%s", X509_verify_cert_error_string(*error));
    pthread_mutex_lock(&lock);
    certificate_error = *error;
    pthread_mutex_unlock(&lock);
    return 0;
}

void bus_refusal_watch(rd_kafka_conf_t *conf)
{
    (void)rd_kafka_conf_set_ssl_cert_verify_cb(conf, on_certificate);
}

/* "sasl_ssl://host:9093/bootstrap: what happened (after 5ms in state ..)" in its parts. */
static void take_apart(const char *words, char *broker, size_t broker_size, char *what,
                       size_t what_size)
{
    const char *name = strstr(words, "://");
    name = name != NULL ? name + 3 : words;
    snprintf(broker, broker_size, "%.*s", (int)strcspn(name, "/ "), name);
    const char *from = strstr(name, ": ");
    from = from != NULL ? from + 2 : words;
    const char *to = strstr(from, " (after ");
    snprintf(what, what_size, "%.*s", (int)(to != NULL ? (size_t)(to - from) : strlen(from)), from);
}

static bool is_certificate(const char *words)
{
    return strstr(words, "certificate verify failed") != NULL;
}

static const char *remedy_of_certificate(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "have it renewed at the broker, and check this machine's clock";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "name the broker in `brokers` as its certificate does";
    default:
        return "kafka.ssl.ca.location must name the file of the authority that signed it";
    }
}

static void tell_certificate(const char *broker, struct errmsg *e)
{
    pthread_mutex_lock(&lock);
    const int error = certificate_error;
    pthread_mutex_unlock(&lock);
    (void)err_set(e, ERR_REFUSED, "the certificate of Kafka at %s is not accepted: %s; %s", broker,
                  X509_verify_cert_error_string(error), remedy_of_certificate(error));
}

bool bus_refusal_of(rd_kafka_resp_err_t code, const char *words, struct errmsg *e)
{
    char broker[160];
    char what[240];
    take_apart(words, broker, sizeof broker, what, sizeof what);
    if (code == RD_KAFKA_RESP_ERR__SSL && is_certificate(words)) {
        tell_certificate(broker, e);
        return true;
    }
    /* an error of OpenSSL's, not a connection that broke on the way */
    if (code == RD_KAFKA_RESP_ERR__SSL && strstr(words, "handshake failed: error:") != NULL) {
        (void)err_set(e, ERR_REFUSED,
                      "no TLS connection to Kafka at %s: %s; check kafka.security.protocol, the "
                      "port in `brokers` and kafka.ssl.*",
                      broker, what);
        return true;
    }
    /* a broker that goes away half-way says nothing about the password */
    if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION && strstr(words, "Request failed: ") == NULL) {
        (void)err_set(e, ERR_REFUSED,
                      "Kafka at %s refused the user: %s; check kafka.sasl.username, "
                      "kafka.sasl.password and kafka.sasl.mechanism",
                      broker, what);
        return true;
    }
    return false;
}
