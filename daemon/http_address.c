#include "daemon/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Splits "host:port" and "[host]:port". */
static enum err split(const char *text, char *host, size_t size, in_port_t *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text) {
        return ERR_INVALID;
    }
    size_t len = (size_t)(colon - text);
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return ERR_INVALID; /* IPv6 without brackets: which colon is the port's? */
    }
    char *end = NULL;
    unsigned long number = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || number > 65535 || len == 0 ||
        len >= size) {
        return ERR_INVALID;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    *port = (in_port_t)number;
    return ERR_OK;
}

enum err http_address_parse(const char *text, struct sockaddr_storage *out, socklen_t *out_len)
{
    char host[64];
    in_port_t port = 0;
    if (split(text, host, sizeof host, &port) != ERR_OK) {
        return ERR_INVALID;
    }
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const char *numeric = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    bool is_four = inet_pton(AF_INET, numeric, &four.sin_addr) == 1;
    if (!is_four && inet_pton(AF_INET6, numeric, &six.sin6_addr) != 1) {
        return ERR_INVALID;
    }
    if (out != NULL) {
        memset(out, 0, sizeof *out);
        if (is_four) {
            memcpy(out, &four, sizeof four);
        } else {
            memcpy(out, &six, sizeof six);
        }
        *out_len = is_four ? sizeof four : sizeof six;
    }
    return ERR_OK;
}
