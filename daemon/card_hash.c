#include "daemon/card_hash.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/card_number.h"

#define KEY_MIN 32 /* bytes: as many as the hash has */
#define KEY_MAX 64 /* one block of SHA-256: HMAC hashes a longer key down */
#define MAC_BYTES 32
#define NAME_DIGITS 8
#define MEMO 4096 /* a power of two; more than the payments on their way at once */

struct card_key {
    uint8_t bytes[KEY_MAX];
    size_t len;
    char name[CARD_KEY_NAME_MAX];
};

struct remembered {
    uint64_t number; /* 0: none */
    char hash[(size_t)2 * MAC_BYTES];
};

struct card_hash {
    EVP_MAC_CTX *mac; /* with the key */
    char name[CARD_KEY_NAME_MAX];
    char token[CARD_KEY_NAME_MAX + (size_t)2 * MAC_BYTES];
    struct remembered memo[MEMO];
};

static void write_hex(const uint8_t *bytes, size_t len, char *out)
{
    static const char HEX[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = HEX[bytes[i] >> 4];
        out[2 * i + 1] = HEX[bytes[i] & 15];
    }
}

/* A context with the key in it, owned; NULL: no memory, or a libcrypto without HMAC-SHA-256. */
static EVP_MAC_CTX *mac_create(const struct card_key *k)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = algorithm != NULL ? EVP_MAC_CTX_new(algorithm) : NULL;
    EVP_MAC_free(algorithm);
    if (mac != NULL && EVP_MAC_init(mac, k->bytes, k->len, params) != 1) {
        EVP_MAC_CTX_free(mac);
        return NULL;
    }
    return mac;
}

static bool mac_make(EVP_MAC_CTX *mac, const char *text, size_t len, uint8_t out[MAC_BYTES])
{
    size_t n = 0;
    return EVP_MAC_init(mac, NULL, 0, NULL) == 1 &&
           EVP_MAC_update(mac, (const unsigned char *)text, len) == 1 &&
           EVP_MAC_final(mac, out, &n, MAC_BYTES) == 1 && n == MAC_BYTES;
}

/* The line's digits as bytes. */
static enum err parse_key(const char *text, size_t len, const char *path, struct card_key *k,
                          struct errmsg *e)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
        len--;
    }
    bool good = len % 2 == 0 && len >= (size_t)2 * KEY_MIN && len <= (size_t)2 * KEY_MAX;
    for (size_t i = 0; i < len && good; i++) {
        char c = text[i];
        int v = c >= '0' && c <= '9'                 ? c - '0'
                : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                     : -1;
        good = v >= 0;
        k->bytes[i / 2] = (uint8_t)(k->bytes[i / 2] * 16 + v);
    }
    k->len = len / 2;
    return good ? ERR_OK
                : err_set(e, ERR_CORRUPT,
                          "%s is no key: one line of %d to %d hexadecimal digits "
                          "(`openssl rand -hex 32` makes it)",
                          path, 2 * KEY_MIN, 2 * KEY_MAX);
}

static enum err name_key(struct card_key *k, struct errmsg *e)
{
    static const char WHAT[] = "fraudd key name";
    uint8_t sum[MAC_BYTES] = {0};
    EVP_MAC_CTX *mac = mac_create(k);
    bool made = mac != NULL && mac_make(mac, WHAT, sizeof WHAT - 1, sum);
    EVP_MAC_CTX_free(mac);
    if (!made) {
        return err_set(e, ERR_MISMATCH, "libcrypto has no HMAC-SHA-256");
    }
    k->name[0] = 'k';
    write_hex(sum, NAME_DIGITS / 2, k->name + 1);
    return ERR_OK;
}

enum err card_key_read(const char *path, struct card_key **out, struct errmsg *e)
{
    char text[2 * KEY_MAX + 3]; /* a byte more than a key with its line's end */
    struct card_key *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return err_set(e, ERR_NOMEM, "cannot read %s: no memory", path);
    }
    enum err err = ERR_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        err = file_errno(e, errno, "open", path);
        goto out;
    }
    err = file_check_private(fd, path, e);
    if (err != ERR_OK) {
        goto out;
    }
    ssize_t n = read(fd, text, sizeof text);
    err = n < 0 ? file_errno(e, errno, "read", path) : parse_key(text, (size_t)n, path, k, e);
    if (err == ERR_OK) {
        err = name_key(k, e);
    }
    if (err == ERR_OK) {
        *out = k;
        k = NULL;
    }
out:
    OPENSSL_cleanse(text, sizeof text);
    if (fd >= 0) {
        close(fd);
    }
    card_key_free(k);
    return err;
}

void card_key_free(struct card_key *k)
{
    if (k != NULL) {
        OPENSSL_cleanse(k, sizeof *k);
        free(k);
    }
}

const char *card_key_name(const struct card_key *k)
{
    return k->name;
}

enum err card_hash_create(const struct card_key *k, struct card_hash **out, struct errmsg *e)
{
    struct card_hash *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hash card numbers: no memory");
    }
    h->mac = mac_create(k);
    if (h->mac == NULL) {
        free(h);
        return err_set(e, ERR_MISMATCH, "libcrypto has no HMAC-SHA-256");
    }
    memcpy(h->name, k->name, sizeof h->name);
    *out = h;
    return ERR_OK;
}

void card_hash_free(struct card_hash *h)
{
    if (h != NULL) {
        EVP_MAC_CTX_free(h->mac); /* wipes the key */
        OPENSSL_cleanse(h, sizeof *h);
        free(h);
    }
}

/* A place of the memo: numbers of one bank differ in their middle digits. */
static struct remembered *place_of(struct card_hash *h, uint64_t number)
{
    return &h->memo[(number * UINT64_C(0x9e3779b97f4a7c15)) >> 52];
}

struct slice card_hash_token(struct card_hash *h, const char *digits, size_t n)
{
    uint64_t number = 0;
    assert(n >= CARD_DIGITS_MIN && n <= CARD_DIGITS_MAX && digits[0] != '0');
    for (size_t i = 0; i < n; i++) {
        number = number * 10 + (uint64_t)(digits[i] - '0');
    }
    struct remembered *r = place_of(h, number);
    if (r->number != number) {
        uint8_t sum[MAC_BYTES];
        bool made = mac_make(h->mac, digits, n, sum);
        assert(made); /* going on would let the number through */
        write_hex(sum, sizeof sum, r->hash);
        r->number = number;
    }
    size_t name_len = strlen(h->name);
    memcpy(h->token, h->name, name_len);
    h->token[name_len] = '-';
    memcpy(h->token + name_len + 1, r->hash, sizeof r->hash);
    return (struct slice){h->token, name_len + 1 + sizeof r->hash};
}
