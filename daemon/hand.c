#include "daemon/hand.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"

#define MAGIC "fdhand1"
#define FILES_MAX 64 /* processes of one name in one folder */
#define STACK_BYTES ((size_t)64 * 1024)

static const int FAULTS[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
#define FAULT_COUNT (sizeof FAULTS / sizeof *FAULTS)

/* A signal's handler has no other way to know. */
static struct {
    struct hand_page *page;
    pid_t pid; /* a child that writes a checkpoint has the handlers, too */
    pthread_t thread;
    void *stack;
} watched;

const char *hand_step_name(enum hand_step step)
{
    static const char *const NAMES[HAND_STEP_COUNT] = {"nothing", "look", "follow", "refuse"};
    return NAMES[step];
}

void hand_mark(struct hand_page *p)
{
    if (p->note.step != HAND_NOTHING) {
        p->marked = 1;
    }
}

void hand_begin(struct hand_page *p)
{
    if (memcmp(p->magic, MAGIC, sizeof p->magic) != 0) {
        memset(p, 0, sizeof *p);
        memcpy(p->magic, MAGIC, sizeof p->magic);
    }
    if (p->marked != 0 && p->note.step > HAND_NOTHING && p->note.step < HAND_STEP_COUNT) {
        p->suspect = p->note;
        p->condemned = p->note.alone;
    }
    p->note = (struct hand_note){.step = HAND_NOTHING};
    p->marked = 0;
}

void hand_clear(struct hand_page *p)
{
    p->suspect = (struct hand_note){.step = HAND_NOTHING};
    p->condemned = 0;
}

void hand_passed(struct hand_page *p)
{
    if (p->note.last >= p->suspect.last) {
        hand_clear(p);
    }
}

/* ---- the file ---- */

/* Whether the file is ours alone, and still has its name. */
static bool is_good(int fd)
{
    struct stat s;
    return fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid() && s.st_nlink == 1;
}

/* Opens and locks a file; -1: another one's, or none. */
static int take_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_good(fd))) {
        close(fd);
        errno = EBUSY;
        return -1;
    }
    return fd;
}

enum err hand_open(struct hand *h, const char *dir, const char *name, struct errmsg *e)
{
    int why = ENAMETOOLONG;
    *h = (struct hand){.fd = -1};
    for (int i = 0; i < FILES_MAX && h->fd < 0; i++) {
        int n = snprintf(h->path, sizeof h->path, "%s/%s.%d", dir, name, i);
        if (n < 0 || (size_t)n >= sizeof h->path) {
            break;
        }
        h->fd = take_file(h->path);
        why = errno;
    }
    if (h->fd < 0) {
        return err_set(e, why == ENOENT ? ERR_NOTFOUND : ERR_REFUSED,
                       "cannot use a file %s/%s.N for notes of what is in hand: %s", dir, name,
                       strerror(why));
    }
    void *at = MAP_FAILED;
    if (ftruncate(h->fd, sizeof *h->page) == 0) {
        at = mmap(NULL, sizeof *h->page, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
    }
    if (at == MAP_FAILED) {
        why = errno;
        close(h->fd);
        h->fd = -1;
        return err_set(e, ERR_IO, "cannot use %s: %s", h->path, strerror(why));
    }
    h->page = at;
    hand_begin(h->page);
    return ERR_OK;
}

void hand_open_for(struct hand *h, const char *dir, const char *what, const char *const *which)
{
    char name[64];
    char quoted[600];
    struct errmsg e = {""};
    const char *state = getenv("STATE_DIRECTORY");
    uint64_t hash = 0;
    for (; *which != NULL; which++) {
        hash = hash_bytes(*which, strlen(*which), hash);
    }
    snprintf(name, sizeof name, "fraudd-%s-%016" PRIx64, what, hash);
    if (dir == NULL || dir[0] == '\0') {
        dir = state != NULL && state[0] == '/' ? state : "/tmp";
    }
    if (hand_open(h, dir, name, &e) != ERR_OK) {
        log_line(FD_LOG_WARN, "no_notes",
                 "detail=%s effect=\"a message that ends this process is "
                 "not found out\"",
                 log_quote(quoted, sizeof quoted, e.text));
    }
}

/* The disposition is the system's again by then: what comes back ends us. */
static void on_fault(int number)
{
    if (watched.page != NULL && watched.pid == getpid() &&
        pthread_equal(watched.thread, pthread_self())) {
        hand_mark(watched.page);
    }
    (void)raise(number);
}

void hand_watch(struct hand *h)
{
    struct sigaction a = {.sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND | SA_ONSTACK};
    watched.page = h->page;
    watched.pid = getpid();
    watched.thread = pthread_self();
    watched.stack = malloc(STACK_BYTES);
    if (watched.stack != NULL) { /* for a stack that overflows */
        const stack_t s = {.ss_sp = watched.stack, .ss_size = STACK_BYTES};
        (void)sigaltstack(&s, NULL);
    }
    sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        (void)sigaction(FAULTS[i], &a, NULL);
    }
}

static void end_watch(void)
{
    const stack_t none = {.ss_flags = SS_DISABLE};
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        (void)signal(FAULTS[i], SIG_DFL);
    }
    watched.page = NULL;
    (void)sigaltstack(&none, NULL);
    free(watched.stack);
    watched.stack = NULL;
}

void hand_close(struct hand *h)
{
    if (h->page == NULL) {
        return;
    }
    if (watched.page == h->page) {
        end_watch();
    }
    if (h->page->suspect.step == HAND_NOTHING) {
        (void)unlink(h->path);
    }
    (void)munmap(h->page, sizeof *h->page);
    close(h->fd);
    *h = (struct hand){.fd = -1};
}
