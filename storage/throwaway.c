#include "storage/throwaway.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child's exit status before it became one of PostgreSQL's programs. */
#define CANNOT_ENTER 126
#define PROGRAM_MAX 160 /* a path of one */

static enum err find_programs(struct throwaway *t, struct errmsg *e)
{
    glob_t g;
    enum err err = ERR_OK;
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &g) != 0 || g.gl_pathc == 0) {
        return err_set(
            e, ERR_NOTFOUND,
            "PostgreSQL is not installed (no /usr/lib/postgresql/*/bin/initdb); run `make "
            "deps`");
    }
    const char *path = g.gl_pathv[g.gl_pathc - 1]; /* the newest version */
    size_t len = strlen(path) - strlen("/initdb");
    if (len >= sizeof t->bin) {
        err = err_set(e, ERR_INVALID, "the path %s is too long", path);
    } else {
        memcpy(t->bin, path, len);
        t->bin[len] = '\0';
    }
    globfree(&g);
    return err;
}

int throwaway_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int port = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &len) == 0) {
        port = ntohs(a.sin_port);
    }
    if (fd >= 0) {
        close(fd);
    }
    return port;
}

/* In the child: drops root for user postgres and sends all output to the log. */
static void become_server_user(const struct throwaway *t)
{
    char log[512];
    snprintf(log, sizeof log, "%s/commands.log", t->folder);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd >= 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
    }
    if (getuid() == 0) {
        const struct passwd *p = getpwnam("postgres");
        if (p == NULL || setgid(p->pw_gid) != 0 || setuid(p->pw_uid) != 0) {
            _exit(CANNOT_ENTER);
        }
    }
    if (chdir(t->folder) != 0) {
        _exit(CANNOT_ENTER);
    }
}

static void program_path(const struct throwaway *t, const char *name, char out[PROGRAM_MAX])
{
    snprintf(out, PROGRAM_MAX, "%s/%s", t->bin, name);
}

/* The last line of a file in the folder: what a program that failed had to say. */
static bool last_line(const struct throwaway *t, const char *name, char *out, size_t size)
{
    char path[300];
    char tail[512];
    snprintf(path, sizeof path, "%s/%s", t->folder, name);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    if (fseek(f, 1 - (long)sizeof tail, SEEK_END) != 0) {
        rewind(f); /* shorter than that */
    }
    size_t len = fread(tail, 1, sizeof tail - 1, f);
    fclose(f);
    while (len > 0 && tail[len - 1] == '\n') {
        len--;
    }
    tail[len] = '\0';
    const char *line = strrchr(tail, '\n');
    snprintf(out, size, "%s", line != NULL ? line + 1 : tail);
    return len > 0;
}

static enum err failed(const struct throwaway *t, const char *path, int status, struct errmsg *e)
{
    char line[512];
    if (status == CANNOT_ENTER) {
        return err_set(e, ERR_REFUSED,
                       "user postgres, as whom root runs PostgreSQL, cannot enter %s; choose a "
                       "folder that it can",
                       t->folder);
    }
    if (!last_line(t, "server.log", line, sizeof line) &&
        !last_line(t, "commands.log", line, sizeof line)) {
        snprintf(line, sizeof line, "it said nothing");
    }
    return err_set(e, ERR_IO, "%s failed with status %d: %s", path, status, line);
}

/* Runs one of PostgreSQL's programs to its end.  argv[0]: its whole path, by which it finds the
 * others. */
static enum err run(const struct throwaway *t, char *const *argv, struct errmsg *e)
{
    const char *path = argv[0];
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        become_server_user(t);
        execv(path, argv);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return err_set(e, ERR_IO, "cannot run %s: %s", path, strerror(errno));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return failed(t, path, WIFEXITED(status) ? WEXITSTATUS(status) : -1, e);
    }
    return ERR_OK;
}

static enum err make_folder(struct throwaway *t, const char *parent, struct errmsg *e)
{
    snprintf(t->folder, sizeof t->folder, "%s/fraudd-pg-XXXXXX", parent);
    if (mkdtemp(t->folder) == NULL) {
        enum err err =
            err_set(e, ERR_IO, "cannot make a folder in %s: %s", parent, strerror(errno));
        t->folder[0] = '\0';
        return err;
    }
    if (getuid() == 0) {
        const struct passwd *p = getpwnam("postgres");
        if (p == NULL || chown(t->folder, p->pw_uid, p->pw_gid) != 0) {
            return err_set(e, ERR_REFUSED, "cannot give %s to user postgres", t->folder);
        }
    }
    return ERR_OK;
}

enum err throwaway_resume(struct throwaway *t, struct errmsg *e)
{
    char data[300];
    char log[300];
    char options[512];
    snprintf(data, sizeof data, "%s/data", t->folder);
    snprintf(log, sizeof log, "%s/server.log", t->folder);
    snprintf(options, sizeof options,
             "-c listen_addresses=127.0.0.1 -c port=%d -c unix_socket_directories= -c fsync=off "
             "-c synchronous_commit=off -c full_page_writes=off -c max_wal_size=4GB "
             "-c shared_buffers=128MB",
             t->port);
    char program[PROGRAM_MAX];
    program_path(t, "pg_ctl", program);
    char start[] = "start";
    char wait[] = "-w";
    char quiet[] = "-s";
    char d_flag[] = "-D";
    char l_flag[] = "-l";
    char o_flag[] = "-o";
    char *const argv[] = {program, start, wait,   quiet,   d_flag, data,
                          l_flag,  log,   o_flag, options, NULL};
    return run(t, argv, e);
}

static enum err stop(struct throwaway *t, const char *how, struct errmsg *e)
{
    char data[300];
    char mode[32];
    snprintf(data, sizeof data, "%s/data", t->folder);
    snprintf(mode, sizeof mode, "%s", how);
    char program[PROGRAM_MAX];
    program_path(t, "pg_ctl", program);
    char verb[] = "stop";
    char wait[] = "-w";
    char quiet[] = "-s";
    char d_flag[] = "-D";
    char m_flag[] = "-m";
    char *const argv[] = {program, verb, wait, quiet, d_flag, data, m_flag, mode, NULL};
    return run(t, argv, e);
}

enum err throwaway_pause(struct throwaway *t, struct errmsg *e)
{
    return stop(t, "fast", e);
}

enum err throwaway_start(struct throwaway *t, const char *parent, struct errmsg *e)
{
    memset(t, 0, sizeof *t);
    char data[300];
    enum err err = find_programs(t, e);
    if (err == ERR_OK) {
        err = make_folder(t, parent, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    snprintf(data, sizeof data, "%s/data", t->folder);
    char program[PROGRAM_MAX];
    program_path(t, "initdb", program);
    char d_flag[] = "-D";
    char auth[] = "--auth=trust";
    char user[] = "--username=fraudd";
    char encoding[] = "--encoding=UTF8";
    char locale[] = "--locale=C";
    char no_sync[] = "--no-sync";
    char *const argv[] = {program, d_flag, data, auth, user, encoding, locale, no_sync, NULL};
    err = run(t, argv, e);
    t->port = throwaway_port();
    if (err == ERR_OK) {
        err = throwaway_resume(t, e);
    }
    if (err != ERR_OK) {
        throwaway_stop(t);
        return err;
    }
    snprintf(t->conninfo, sizeof t->conninfo,
             "host=127.0.0.1 port=%d user=fraudd dbname=postgres connect_timeout=5", t->port);
    return ERR_OK;
}

void throwaway_stop(struct throwaway *t)
{
    char data[300];
    if (t->folder[0] == '\0') {
        return;
    }
    snprintf(data, sizeof data, "%s/data/postmaster.pid", t->folder);
    if (access(data, F_OK) == 0) {
        enum err err = stop(t, "immediate", NULL);
        (void)err; /* it may have ended by itself */
    }
    pid_t child = fork();
    if (child == 0) {
        execlp("rm", "rm", "-rf", t->folder, (char *)NULL);
        _exit(127);
    }
    if (child > 0) {
        waitpid(child, NULL, 0);
    }
    t->folder[0] = '\0';
}
