/* The servers of a demo and the daemons on them.
 *
 * 1. PostgreSQL starts before anything with threads: it is forked from here.
 * 2. The daemons are this program again, executed as `fraudd score` and `fraudd sink`, and end with
 *    us whatever ends us. */
#include <errno.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/demo.h"
#include "daemon/settings.h"
#include "storage/migrate.h"

#define ROOM_BYTES ((uint64_t)2 << 30) /* tables, their log and what sorting needs */
#define ARGS_MAX 32
#define STOP_PATIENCE_US (8 * TIME_S)

static const char *parent_folder(void)
{
    const char *dir = getenv("TMPDIR");
    return dir != NULL && dir[0] != '\0' ? dir : "/tmp";
}

static enum err make_folder(struct demo_servers *s, struct errmsg *e)
{
    const char *parent = parent_folder();
    struct statvfs v;
    if (statvfs(parent, &v) != 0) {
        return file_errno(e, errno, "use", parent);
    }
    uint64_t room = (uint64_t)v.f_bavail * v.f_frsize;
    if (room < ROOM_BYTES) {
        return err_set(e, ERR_IO,
                       "%s has %llu MiB left, the demo needs %llu; make room or set TMPDIR to "
                       "another folder",
                       parent, (unsigned long long)(room >> 20),
                       (unsigned long long)(ROOM_BYTES >> 20));
    }
    snprintf(s->folder, sizeof s->folder, "%.200s/fraudd-demo-XXXXXX", parent);
    if (mkdtemp(s->folder) == NULL) {
        s->folder[0] = '\0';
        return file_errno(e, errno, "make a folder in", parent);
    }
    return ERR_OK;
}

static enum err start_postgres(struct demo_servers *s, struct errmsg *e)
{
    int applied = 0;
    enum err err = throwaway_start(&s->postgres, parent_folder(), e);
    if (err == ERR_OK) {
        err = db_open(s->postgres.conninfo, &s->db, e);
    }
    return err == ERR_OK ? migrate(s->db, &applied, e) : err;
}

static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    (void)rk; /* the embedded broker's own client has nothing to tell that its users do not see */
    (void)level;
    (void)fac;
    (void)text;
}

/* One broker inside this process.  Every topic has one partition: records of terminals, merchants
 * and devices are kept a partition, so more of them would know less. */
static enum err start_broker(struct demo_servers *s, struct errmsg *e)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", text, sizeof text) !=
        RD_KAFKA_CONF_OK) {
        rd_kafka_conf_destroy(conf);
        return err_set(e, ERR_NOTFOUND, "this librdkafka has no embedded broker: %s", text);
    }
    s->broker = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (s->broker == NULL) {
        rd_kafka_conf_destroy(conf);
        return err_set(e, ERR_IO, "cannot start the embedded broker: %s", text);
    }
    rd_kafka_mock_cluster_t *mock = rd_kafka_handle_mock_cluster(s->broker);
    if (mock == NULL) {
        return err_set(e, ERR_IO, "the embedded broker found no free port on 127.0.0.1");
    }
    snprintf(s->brokers, sizeof s->brokers, "%s", rd_kafka_mock_cluster_bootstraps(mock));
    for (unsigned t = 0; t < TOPIC_COUNT; t++) {
        const char *name = settings_topic(s->conf, (enum bus_topic)t);
        rd_kafka_resp_err_t why = rd_kafka_mock_topic_create(mock, name, 1, 1);
        if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return err_set(e, ERR_IO, "the embedded broker refuses topic \"%s\": %s", name,
                           rd_kafka_err2str(why));
        }
    }
    return conf_set(s->conf, "brokers", s->brokers, e);
}

enum err demo_servers_start(struct demo_servers *s, struct errmsg *e)
{
    static const struct conf_option *const TABLES[] = {SETTINGS, NULL};
    memset(s, 0, sizeof *s);
    enum err err = make_folder(s, e);
    if (err == ERR_OK) {
        err = start_postgres(s, e);
    }
    if (err == ERR_OK) {
        err = conf_create(TABLES, "kafka.", &s->conf, e);
    }
    /* an empty fetch at the embedded broker waits this long whatever arrives meanwhile */
    if (err == ERR_OK) {
        err = conf_set(s->conf, "kafka.fetch.wait.max.ms", "2", e);
    }
    return err == ERR_OK ? start_broker(s, e) : err;
}

/* ---- processes ---- */

/* The environment without our settings: what somebody set for a real daemon must not reach these.
 */
static char **clean_environment(void)
{
    size_t n = 0;
    while (environ[n] != NULL) {
        n++;
    }
    char **out = calloc(n + 1, sizeof(char *));
    size_t kept = 0;
    for (size_t i = 0; out != NULL && i < n; i++) {
        if (strncmp(environ[i], "FRAUDD_", 7) != 0) {
            out[kept++] = environ[i];
        }
    }
    return out;
}

/* The program that runs, by its path where it has one still: that is what `top` shows. */
static void own_path(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    if (access(out, X_OK) != 0) {
        snprintf(out, PATH_MAX, "/proc/self/exe");
    }
}

/* In the child: only calls that are safe after a fork of a process with threads. */
static void become(const char *path, const char *log, char *const *argv, char *const *environment,
                   pid_t parent)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) {
        _exit(126);
    }
    /* our own keyboard interrupt is ours to pass on */
    if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent) {
        _exit(126);
    }
    execve(path, argv, environment);
    _exit(127);
}

static char *command_text(const char *const *args, size_t n)
{
    size_t room = 16;
    for (size_t i = 0; i < n; i++) {
        room += strlen(args[i]) + 3;
    }
    char *text = calloc(1, room);
    size_t len = 0;
    for (size_t i = 0; text != NULL && i < n; i++) {
        bool quote = strchr(args[i], ' ') != NULL;
        len += (size_t)snprintf(text + len, room - len, "%s%s%s%s", i > 0 ? " " : "",
                                quote ? "'" : "", args[i], quote ? "'" : "");
    }
    return text;
}

static enum err spawn(const struct demo_servers *s, struct demo_process *p, const char *verb,
                      const char *const *args, size_t n, struct errmsg *e)
{
    char path[PATH_MAX];
    char *copy[ARGS_MAX + 1] = {NULL};
    enum err err = ERR_OK;
    char **environment = clean_environment();
    p->verb = verb;
    snprintf(p->log, sizeof p->log, "%s/%s.log", s->folder, verb);
    p->command = command_text(args, n);
    for (size_t i = 0; i < n; i++) {
        copy[i] = strdup(args[i]);
    }
    if (environment == NULL || p->command == NULL || copy[n - 1] == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot start `fraudd %s`: no memory", verb);
        goto out;
    }
    own_path(path);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        become(path, p->log, copy, environment, parent);
    }
    if (child < 0) {
        err = err_set(e, ERR_IO, "cannot start `fraudd %s`: %s", verb, strerror(errno));
    } else {
        p->pid = child;
    }
out:
    for (size_t i = 0; i < n; i++) {
        free(copy[i]);
    }
    free((void *)environment);
    return err;
}

enum err demo_processes_start(struct demo_servers *s, const struct demo_plan *p, const char *model,
                              struct errmsg *e)
{
    char budget[16];
    const int port = throwaway_port();
    if (port <= 0) {
        return err_set(e, ERR_IO, "no free port on 127.0.0.1 for the page of `fraudd score`");
    }
    snprintf(s->page, sizeof s->page, "127.0.0.1:%d", port);
    snprintf(budget, sizeof budget, "%u", p->budget);
    const char *const score[] = {"fraudd",
                                 "score",
                                 "--brokers",
                                 s->brokers,
                                 "--kafka.fetch.wait.max.ms",
                                 "2",
                                 "--log",
                                 DEMO_LOG,
                                 "--model",
                                 model,
                                 "--alert.budget",
                                 budget,
                                 "--state.cards",
                                 "100000",
                                 "--state.inputs",
                                 "32",
                                 "--http.listen",
                                 s->page};
    const char *const sink[] = {
        "fraudd", "sink",   "--brokers",  s->brokers,           "--kafka.fetch.wait.max.ms", "2",
        "--log",  DEMO_LOG, "--database", s->postgres.conninfo, "--http.sink-listen="};
    enum err err = spawn(s, &s->score, "score", score, sizeof score / sizeof score[0], e);
    if (err == ERR_OK) {
        err = spawn(s, &s->sink, "sink", sink, sizeof sink / sizeof sink[0], e);
    }
    return err;
}

/* The last line of a log: what a process that ended had to say. */
static void last_line(const char *path, char *out, size_t size)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    snprintf(out, size, "it said nothing");
    if (file_read(path, (size_t)64 << 20, &bytes, &len, NULL) != ERR_OK) {
        return;
    }
    while (len > 0 && bytes[len - 1] == '\n') {
        bytes[--len] = '\0';
    }
    size_t from = len;
    while (from > 0 && bytes[from - 1] != '\n') {
        from--;
    }
    if (len > from) {
        snprintf(out, size, "%s", (const char *)bytes + from);
    }
    free(bytes);
}

static enum err told_end(const struct demo_process *p, int status, struct errmsg *e)
{
    char line[300];
    last_line(p->log, line, sizeof line);
    if (WIFSIGNALED(status)) {
        return err_set(e, ERR_UNAVAILABLE, "`fraudd %s` was ended by signal %d (%s); %s", p->verb,
                       WTERMSIG(status), strsignal(WTERMSIG(status)), line);
    }
    return err_set(e, ERR_UNAVAILABLE, "`fraudd %s` ended with status %d: %s", p->verb,
                   WEXITSTATUS(status), line);
}

enum err demo_verb_run(const struct demo_servers *s, const char *const *args, size_t n,
                       struct errmsg *e)
{
    struct demo_process p = {0};
    int status = 0;
    enum err err = spawn(s, &p, args[1], args, n, e);
    if (err == ERR_OK && waitpid(p.pid, &status, 0) != p.pid) {
        err = err_set(e, ERR_IO, "cannot wait for `fraudd %s`: %s", p.verb, strerror(errno));
    } else if (err == ERR_OK && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        err = told_end(&p, status, e);
    }
    free(p.command);
    return err;
}

enum err demo_model_run(const struct demo_servers *s, const char *action, const char *argument,
                        struct errmsg *e)
{
    const char *const args[] = {
        "fraudd",    "model",    action,          argument, "--database", s->postgres.conninfo,
        "--brokers", s->brokers, "--http.listen", s->page};
    return demo_verb_run(s, args, sizeof args / sizeof args[0], e);
}

static enum err check(struct demo_process *p, struct errmsg *e)
{
    int status = 0;
    if (p->pid > 0 && waitpid(p->pid, &status, WNOHANG) == p->pid) {
        p->pid = 0;
        return told_end(p, status, e);
    }
    return ERR_OK;
}

enum err demo_processes_check(struct demo_servers *s, struct errmsg *e)
{
    enum err err = check(&s->score, e);
    return err == ERR_OK ? check(&s->sink, e) : err;
}

/* Asks a process to end and waits; kills it where it does not. */
static enum err end(struct demo_process *p, struct errmsg *e)
{
    int status = 0;
    if (p->pid <= 0) {
        return ERR_OK;
    }
    kill(p->pid, SIGTERM);
    int64_t until_us = progress_now_us() + STOP_PATIENCE_US;
    pid_t ended = 0;
    while ((ended = waitpid(p->pid, &status, WNOHANG)) == 0 && progress_now_us() < until_us) {
        const struct timespec pause = {0, 5000000};
        nanosleep(&pause, NULL);
    }
    if (ended == 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, &status, 0);
    }
    p->pid = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ERR_OK : told_end(p, status, e);
}

enum err demo_processes_stop(struct demo_servers *s, struct errmsg *e)
{
    enum err first = end(&s->score, e);
    enum err second = end(&s->sink, first == ERR_OK ? e : NULL);
    return first != ERR_OK ? first : second;
}

static void remove_folder(const char *folder)
{
    pid_t child = fork();
    if (child == 0) {
        execlp("rm", "rm", "-rf", folder, (char *)NULL);
        _exit(127);
    }
    if (child > 0) {
        waitpid(child, NULL, 0);
    }
}

void demo_servers_stop(struct demo_servers *s)
{
    struct errmsg ignored; /* told already, or of no interest to one who wants to end */
    if (demo_processes_stop(s, &ignored) != ERR_OK) {
        s->score.pid = s->sink.pid = 0;
    }
    free(s->score.command);
    free(s->sink.command);
    if (s->broker != NULL) {
        rd_kafka_destroy(s->broker);
    }
    db_close(s->db);
    conf_free(s->conf);
    throwaway_stop(&s->postgres);
    if (s->folder[0] != '\0') {
        remove_folder(s->folder);
    }
    memset(s, 0, sizeof *s);
}
