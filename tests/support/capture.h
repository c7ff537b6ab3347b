/* Runs a verb inside the test and keeps what it prints. */
#ifndef FD_TESTS_SUPPORT_CAPTURE_H
#define FD_TESTS_SUPPORT_CAPTURE_H

/* A plain value: zero before the first use; each run replaces the texts, capture_done frees. */
struct capture {
    char *out; /* what went to standard output */
    char *err; /* .. to standard error */
};

/* `line`: arguments by blanks, the first one the verb; an argument with blanks in 'quotes'. Returns
 * the verb's exit code. */
int capture_run(struct capture *c, int (*verb)(int argc, char **argv), const char *line);
void capture_done(struct capture *c);

#endif
