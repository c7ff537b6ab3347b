/* Errors: one enum for every folder, one message a failure.
 *
 * The function that fails fills a struct errmsg (what was tried, with which value, what to do;
 * lower case, no full stop) and returns the code; only daemon/ prints it, once.  Results travel
 * through `out_` parameters, which a failure leaves untouched. */
#ifndef FD_BASE_ERR_H
#define FD_BASE_ERR_H

#include <stdarg.h>

#define FD_MUSTCHECK __attribute__((warn_unused_result))
#define FD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum err {
    ERR_OK = 0,
    ERR_INVALID,     /* an argument, option or input value is out of its range */
    ERR_NOMEM,       /* a bound of memory was reached */
    ERR_IO,          /* a file or device failed */
    ERR_CORRUPT,     /* bytes that fail their checksum or their format */
    ERR_MISMATCH,    /* two things that must agree do not: schema hash, version, partition count */
    ERR_NOTFOUND,    /* the named thing does not exist */
    ERR_REFUSED,     /* understood and declined: permission, gate, lock held elsewhere */
    ERR_UNAVAILABLE, /* a broker or database is away: try again later */
    ERR_NUMERIC,     /* a value is not finite */
    ERR_FULL,        /* a queue or table has no room at the moment */
    ERR_END          /* no more input */
};

/* The text of one failure.  A plain value; callers keep one on their stack. */
struct errmsg {
    char text[512];
};

/* Fills e (NULL is allowed) and returns `code`, so that a failing function can `return
 * err_set(..)`. */
enum err err_set(struct errmsg *e, enum err code, const char *fmt, ...) FD_PRINTF(3, 4);

/* Puts "<context>: " before the text in e and returns `code`. */
enum err err_prefix(struct errmsg *e, enum err code, const char *fmt, ...) FD_PRINTF(3, 4);

/* Returns the code's stable name, such as "corrupt".  Static memory. */
const char *err_name(enum err code);

/* Whether trying again later may succeed without anybody changing anything. */
int err_is_retriable(enum err code);

#endif
