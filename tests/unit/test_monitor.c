/* Status pages over real sockets: answers, health by the loop's turns, and a reader that never sees
 * a half-filled page while the loop publishes as fast as it can (TSan runs this). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/http.h"
#include "daemon/monitor.h"

static _Atomic int64_t now_us;

static int64_t fake_now(void)
{
    return now_us;
}

/* Sends one request and reads the whole answer. */
static size_t ask(unsigned port, const char *request, char *out, size_t size)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((in_port_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t len = 0;
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    for (;;) {
        ssize_t n = read(fd, out + len, size - 1 - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    close(fd);
    out[len] = '\0';
    return len;
}

static const char *get(unsigned port, const char *path)
{
    static char answer[1 << 20];
    char request[256];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             path);
    (void)ask(port, request, answer, sizeof answer);
    return answer;
}

static void expect_status(const char *answer, const char *status, const char *words)
{
    if (strncmp(answer, status, strlen(status)) != 0 || strstr(answer, words) == NULL) {
        fail_msg("expected %s with \"%s\", got: %s", status, words, answer);
    }
}

static struct monitor *make(void)
{
    struct monitor *m = NULL;
    struct errmsg e = {""};
    now_us = 1000000;
    if (monitor_create("127.0.0.1:0", 5000000, fake_now, &m, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return m;
}

static void test_monitor_answers(void **state)
{
    (void)state;
    struct monitor *m = make();
    unsigned port = monitor_port(m);
    expect_status(get(port, "/readyz"), "HTTP/1.1 503", "not ready: starting");
    struct metrics_page *p = monitor_page(m);
    metrics_put(p, METRIC_LAG, 42);
    p->ready = true;
    expect_status(get(port, "/readyz"), "HTTP/1.1 503", "starting"); /* not published yet */
    monitor_publish(m);
    expect_status(get(port, "/readyz"), "HTTP/1.1 200", "ready\n");
    expect_status(get(port, "/metrics"), "HTTP/1.1 200", "\nfraudd_kafka_lag 42\n");
    expect_status(get(port, "/metrics?x=1"), "HTTP/1.1 200", "text/plain; version=0.0.4");
    expect_status(get(port, "/metrics"), "HTTP/1.1 200", "\nprocess_resident_memory_bytes ");
    expect_status(get(port, "/"), "HTTP/1.1 404", "/healthz");
    char answer[4096];
    (void)ask(port, "POST /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n", answer, sizeof answer);
    expect_status(answer, "HTTP/1.1 405", "Allow: GET, HEAD");
    (void)ask(port, "HEAD /readyz HTTP/1.0\r\n\r\n", answer, sizeof answer);
    expect_status(answer, "HTTP/1.1 200", "Content-Length: 6");
    monitor_free(m);
}

static void test_monitor_health_follows_the_loop(void **state)
{
    (void)state;
    struct monitor *m = make();
    unsigned port = monitor_port(m);
    now_us += 5000000;
    expect_status(get(port, "/healthz"), "HTTP/1.1 200", "ok");
    now_us += 1;
    expect_status(get(port, "/healthz"), "HTTP/1.1 503", "stalled");
    monitor_alive(m);
    expect_status(get(port, "/healthz"), "HTTP/1.1 200", "0.0 s ago");
    monitor_free(m);
}

static void test_http_start_tells_a_port_in_use(void **state)
{
    (void)state;
    struct monitor *m = make();
    struct monitor *second = NULL;
    struct errmsg e = {""};
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%u", monitor_port(m));
    assert_int_equal(monitor_create(address, 1, fake_now, &second, &e), ERR_REFUSED);
    assert_null(second);
    assert_non_null(strstr(e.text, address));
    assert_non_null(strstr(e.text, "another program"));
    assert_int_equal(monitor_create("192.0.2.1:9", 1, fake_now, &second, &e), ERR_REFUSED);
    assert_int_equal(monitor_create("nonsense", 1, fake_now, &second, &e), ERR_INVALID);
    assert_int_equal(monitor_create("", 1, fake_now, &second, &e), ERR_OK); /* no server */
    assert_int_equal(monitor_port(second), 0);
    monitor_publish(second);
    monitor_free(second);
    monitor_free(m);
}

static void test_http_address_parse(void **state)
{
    (void)state;
    struct sockaddr_storage at;
    socklen_t len = 0;
    static const char *const BAD[] = {"",       ":1",         "1",          "127.0.0.1",
                                      "::1:80", "[::1]",      "127.0.0.1:", "127.0.0.1:65536",
                                      "a.b:80", "1.2.3.4:8x", "[]:1",       "1.2.3.4:-1"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_int_equal(http_address_parse(BAD[i], NULL, NULL), ERR_INVALID);
    }
    assert_int_equal(http_address_parse("localhost:9464", &at, &len), ERR_OK);
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)&at;
    assert_int_equal(len, sizeof *four);
    assert_int_equal(ntohl(four->sin_addr.s_addr), INADDR_LOOPBACK);
    assert_int_equal(ntohs(four->sin_port), 9464);
    assert_int_equal(http_address_parse("[::1]:80", &at, &len), ERR_OK);
    assert_int_equal(at.ss_family, AF_INET6);
    assert_int_equal(len, sizeof(struct sockaddr_in6));
}

/* Connections beyond the bound, and one that never sends, do not keep others out for long. */
static void test_http_bounds_its_connections(void **state)
{
    (void)state;
    struct monitor *m = make();
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((in_port_t)monitor_port(m)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd[HTTP_CONNECTIONS_MAX / 2];
    for (size_t i = 0; i < sizeof fd / sizeof *fd; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd[i], (struct sockaddr *)&at, sizeof at), 0);
    }
    expect_status(get(monitor_port(m), "/healthz"), "HTTP/1.1 200", "ok");
    for (size_t i = 0; i < sizeof fd / sizeof *fd; i++) {
        close(fd[i]);
    }
    monitor_free(m);
}

struct race {
    struct monitor *m;
    _Atomic bool stop;
};

/* The loop: every page holds one number many times, so a mixed page would show. */
static void *publish_fast(void *arg)
{
    struct race *r = arg;
    for (int i = 1; !r->stop; i++) {
        struct metrics_page *p = monitor_page(r->m);
        for (int k = 0; k < 64; k++) {
            metrics_put(p, METRIC_LAG, i);
        }
        p->ready = i % 2 == 0;
        snprintf(p->why, sizeof p->why, "turn %d", i);
        monitor_alive(r->m);
        monitor_publish(r->m);
    }
    return NULL;
}

static void test_monitor_publish_never_shows_half_a_page(void **state)
{
    (void)state;
    struct race r = {.m = make()};
    pthread_t loop;
    long last = 0;
    assert_int_equal(pthread_create(&loop, NULL, publish_fast, &r), 0);
    for (int round = 0; round < 200; round++) {
        const char *at = get(monitor_port(r.m), "/metrics");
        long first = -1;
        int seen = 0;
        while ((at = strstr(at, "\nfraudd_kafka_lag ")) != NULL) {
            at += strlen("\nfraudd_kafka_lag ");
            long v = strtol(at, NULL, 10);
            assert_true(first < 0 || v == first);
            first = v;
            seen++;
        }
        assert_true(seen == 64 || (seen == 0 && last == 0));
        assert_true(first >= last || seen == 0); /* never an older page after a newer one */
        last = first > 0 ? first : last;
    }
    r.stop = true;
    pthread_join(loop, NULL);
    assert_true(last > 0);
    monitor_free(r.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monitor_answers),
        cmocka_unit_test(test_monitor_health_follows_the_loop),
        cmocka_unit_test(test_http_start_tells_a_port_in_use),
        cmocka_unit_test(test_http_address_parse),
        cmocka_unit_test(test_http_bounds_its_connections),
        cmocka_unit_test(test_monitor_publish_never_shows_half_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
