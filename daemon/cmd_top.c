/* fraudd top: the daemons at a glance, live. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/scrape.h"
#include "daemon/settings.h"
#include "daemon/top_view.h"

#define ANSWER_MS 1000
#define ADDRESSES_MAX 64

static const struct conf_option OWN[] = {
    {"score", CONF_TEXT, 0, NULL, 0, 0,
     "addresses of scoring processes, by commas; else http.listen of the settings"},
    {"sink", CONF_TEXT, 0, NULL, 0, 0, "the same of sinks; else http.sink-listen"},
    {"every", CONF_DURATION, 0, "2s", .2, 3600, "time between two readings"},
    {"count", CONF_INT, 0, "0", 0, 1e9, "readings, then end; 0: until stopped"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {SETTINGS_FILE, OWN, SETTINGS, NULL};
static const struct conf_option *const SHOWN[] = {SETTINGS_FILE, OWN, NULL};

static const struct verb VERB = {
    "top", "fraudd top [--config FILE] [OPTIONS]",
    "Shows what score and sink do, from their pages of metrics: rates, lag, latency, thresholds,\n"
    "the day's budget, models.  Several processes are added up.  In a terminal it is a page, and "
    "q\n"
    "ends it; otherwise it prints a line for each daemon and reading.",
    "fraudd top --score 10.0.0.4:9464,10.0.0.5:9464 --sink 10.0.0.4:9465"};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void on_resize(int number)
{
    (void)number; /* ends the wait */
}

/* What is read of a kind: addresses, and the pages of the latest reading and the one before. */
struct kind {
    char *addresses; /* owned, cut at the commas */
    const char *address[ADDRESSES_MAX];
    int count;
    char *text[2]; /* owned: before, now */
    struct top_reading reading[2];
};

static enum err kind_begin(struct kind *k, const char *addresses, struct errmsg *e)
{
    char *rest = NULL;
    *k = (struct kind){.addresses = strdup(addresses)};
    if (k->addresses == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold the addresses: no memory");
    }
    for (char *a = strtok_r(k->addresses, ", ", &rest); a != NULL;
         a = strtok_r(NULL, ", ", &rest)) {
        if (k->count == ADDRESSES_MAX) {
            return err_set(e, ERR_INVALID, "at most %d addresses can be watched", ADDRESSES_MAX);
        }
        k->address[k->count++] = a;
    }
    return ERR_OK;
}

static void kind_done(struct kind *k)
{
    free(k->addresses);
    free(k->text[0]);
    free(k->text[1]);
}

/* Reads all pages of a kind; one that does not answer is told in the reading. */
static enum err kind_read(struct kind *k, struct errmsg *e)
{
    size_t len = 0;
    struct top_reading r = {.text = "", .asked = k->count};
    free(k->text[0]);
    k->text[0] = k->text[1];
    k->text[1] = NULL;
    k->reading[0] = k->reading[1];
    for (int i = 0; i < k->count; i++) {
        enum err err = scrape_fetch(k->address[i], ANSWER_MS, &k->text[1], &len, e);
        if (err != ERR_OK && err != ERR_UNAVAILABLE) {
            return err;
        }
        r.answered += err == ERR_OK;
        if (err != ERR_OK && r.silent[0] == '\0') {
            snprintf(r.silent, sizeof r.silent, "%.120s", e->text);
        }
    }
    r.text = k->text[1] != NULL ? k->text[1] : "";
    k->reading[1] = r;
    return ERR_OK;
}

struct screen {
    bool on;
    struct termios before;
};

static bool in_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && term != NULL && term[0] != '\0' &&
           strcmp(term, "dumb") != 0;
}

/* Another page of the terminal, no cursor, keys at once. */
static void screen_begin(struct screen *s)
{
    struct termios raw;
    if (!in_terminal() || tcgetattr(STDIN_FILENO, &s->before) != 0) {
        return;
    }
    raw = s->before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    s->on = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    if (s->on) {
        fputs("\033[?1049h\033[?25l", stdout);
    }
}

static void screen_end(const struct screen *s)
{
    if (s->on) {
        fputs("\033[?25h\033[?1049l", stdout);
        fflush(stdout);
        tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
    }
}

static void look_at_terminal(struct top_view *v)
{
    struct winsize size = {0};
    const char *names[] = {getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")};
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    v->columns = known ? size.ws_col : 80;
    v->rows = known ? size.ws_row : 24;
    v->color = getenv("NO_COLOR") == NULL;
    for (size_t i = 0; i < 3; i++) { /* the first one that is set counts */
        if (names[i] != NULL && names[i][0] != '\0') {
            v->utf8 = strstr(names[i], "UTF-8") != NULL || strstr(names[i], "utf8") != NULL;
            return;
        }
    }
}

/* Waits until `until_us`; in a terminal a key or another size ends it early.  False: to end. */
static bool wait_until(const struct screen *s, int64_t until_us)
{
    while (!stopping) {
        int64_t left_ms = (until_us - progress_now_us()) / 1000;
        struct pollfd p = {.fd = s->on ? STDIN_FILENO : -1, .events = POLLIN};
        char key = '\0';
        if (left_ms <= 0) {
            return true;
        }
        int n = poll(&p, 1, left_ms > 1000 ? 1000 : (int)left_ms);
        if (n == 1 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q')) {
            return false;
        }
        if (n < 0 && errno == EINTR) {
            return !stopping; /* draws in the new size */
        }
    }
    return false;
}

static double wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void remember(struct top_view *v)
{
    if (v->past_count == TOP_PAST) {
        memmove(v->past, v->past + 1, (TOP_PAST - 1) * sizeof *v->past);
        v->past_count--;
    }
    v->past[v->past_count++] = top_rate(v);
}

static void show(struct top_view *v, const struct screen *s)
{
    if (s->on) {
        look_at_terminal(v);
        top_draw(v, stdout);
    } else {
        top_print(v, stdout);
    }
}

static enum err watch(const struct conf *c, struct kind *score, struct kind *sink, struct errmsg *e)
{
    static struct top_view view; /* large */
    struct screen screen = {.on = false};
    const int64_t every_us = conf_duration_us(c, "every");
    const int64_t count = conf_int(c, "count");
    int64_t read_us = 0;
    enum err err = ERR_OK;
    screen_begin(&screen);
    view.every_s = (double)every_us / TIME_S;
    for (int64_t n = 0; err == ERR_OK && (count == 0 || n <= count); n++) {
        if (n > 0 && !wait_until(&screen, read_us + every_us)) {
            break;
        }
        const int64_t before_us = read_us;
        read_us = progress_now_us();
        err = kind_read(score, e);
        if (err == ERR_OK) {
            err = kind_read(sink, e);
        }
        if (err == ERR_OK && n > 0) { /* rates need two readings */
            view.before = (struct top_readings){score->reading[0], sink->reading[0]};
            view.now = (struct top_readings){score->reading[1], sink->reading[1]};
            view.seconds = (double)(read_us - before_us) / TIME_S;
            view.now_s = wall_s();
            remember(&view);
            show(&view, &screen);
        }
    }
    screen_end(&screen);
    return err;
}

int cmd_top(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    struct kind score = {.addresses = NULL};
    struct kind sink = {.addresses = NULL};
    int code = settings_begin(&VERB, TABLES, SHOWN, argc, argv, &c);
    if (code >= 0) {
        return code;
    }
    const struct sigaction stop = {.sa_handler = on_signal};
    const struct sigaction resize = {.sa_handler = on_resize};
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGWINCH, &resize, NULL);
    enum err err =
        kind_begin(&score, conf_text(c, conf_given(c, "score") ? "score" : "http.listen"), &e);
    if (err == ERR_OK) {
        err = kind_begin(&sink, conf_text(c, conf_given(c, "sink") ? "sink" : "http.sink-listen"),
                         &e);
    }
    if (err == ERR_OK) {
        err = watch(c, &score, &sink, &e);
    }
    kind_done(&score);
    kind_done(&sink);
    conf_free(c);
    return err == ERR_OK ? EXIT_OK : cmd_fail(VERB.name, err, &e);
}
