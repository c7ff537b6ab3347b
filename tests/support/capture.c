#include "tests/support/capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 32

static void must(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

/* Cuts text into arguments; returns how many. */
static int split(char *text, char **argv)
{
    int n = 0;
    char *p = text;
    while (*(p += strspn(p, " ")) != '\0') {
        must(n < ARGS_MAX, "too many arguments");
        char quote = *p == '\'' ? '\'' : ' ';
        p += quote == '\'';
        argv[n++] = p;
        p += strcspn(p, quote == '\'' ? "'" : " ");
        if (*p != '\0') {
            *p++ = '\0';
        }
    }
    argv[n] = NULL;
    return n;
}

/* Sends a stream to a file of its own; returns the descriptor that restores it. */
static int redirect(FILE *stream, FILE *to)
{
    must(fflush(stream) == 0, "fflush");
    int kept = dup(fileno(stream));
    must(kept >= 0 && dup2(fileno(to), fileno(stream)) >= 0, "dup");
    return kept;
}

static char *restore(FILE *stream, FILE *from, int kept)
{
    must(fflush(stream) == 0 && dup2(kept, fileno(stream)) >= 0, "dup2");
    close(kept);
    long len = ftell(from);
    must(fseek(from, 0, SEEK_END) == 0 && (len = ftell(from)) >= 0, "ftell");
    rewind(from);
    char *text = calloc(1, (size_t)len + 1);
    must(text != NULL && fread(text, 1, (size_t)len, from) == (size_t)len, "read");
    fclose(from);
    return text;
}

int capture_run(struct capture *c, int (*verb)(int argc, char **argv), const char *line)
{
    char *argv[ARGS_MAX + 1];
    char *text = strdup(line);
    FILE *out = tmpfile();
    FILE *err = tmpfile();
    must(text != NULL && out != NULL && err != NULL, "tmpfile");
    int argc = split(text, argv);
    int kept_out = redirect(stdout, out);
    int kept_err = redirect(stderr, err);
    int code = verb(argc, argv);
    capture_done(c);
    c->out = restore(stdout, out, kept_out);
    c->err = restore(stderr, err, kept_err);
    free(text);
    return code;
}

void capture_done(struct capture *c)
{
    free(c->out);
    free(c->err);
    c->out = c->err = NULL;
}
