/* A state of three areas for tests of checkpoints: it changes at random, grows and shrinks, and its
 * whole content has a hash.  Failures end the test by cmocka's fail(). */
#ifndef FD_TESTS_SUPPORT_MEMORY_STATE_H
#define FD_TESTS_SUPPORT_MEMORY_STATE_H

#include <stdint.h>

#include "base/area.h"
#include "base/checkpoint.h"
#include "base/rng.h"

#define MEMORY_AREAS 3

struct memory_state {
    struct area areas[MEMORY_AREAS]; /* "cards", "sketch", "clock" */
    struct pool *pool;               /* borrowed; NULL: one thread reads */
};

/* Bounds in bytes; nothing in use. */
void memory_state_init(struct memory_state *s, size_t cards, size_t sketch, size_t clock);
void memory_state_done(struct memory_state *s);
/* Writes here and there, sometimes grows or shrinks an area; what is given up is zeroed. */
void memory_state_change(struct memory_state *s, struct rng *rng);
void memory_state_resize(struct memory_state *s, size_t area, size_t bytes);
/* Of sizes and of everything up to bytes_max. */
uint64_t memory_state_hash(const struct memory_state *s);

/* Settings for a folder "d" of this disk, stem "world", written in the process. */
struct checkpoint_conf memory_state_conf(const struct disk *disk);
/* A writer for the state, which must come to be. */
struct checkpoint *memory_state_writer(const struct memory_state *s,
                                       const struct checkpoint_conf *conf);
/* Writes one at this position with the state's hash as header.  Says how it ended. */
enum checkpoint_state memory_state_write(const struct memory_state *s, struct checkpoint *c,
                                         uint64_t position, struct checkpoint_result *out,
                                         struct errmsg *e);
/* The same, which must be done. */
struct checkpoint_result memory_state_written(const struct memory_state *s, struct checkpoint *c,
                                              uint64_t position);

/* What memory_state_load was told. */
struct memory_refused {
    int count;
    char first[128]; /* name */
    char why[512];   /* of the first */
};
/* Loads the newest of "d", "world".  What is read must have the hash that its header names.  With a
 * pool it is loaded twice, by one thread and by the pool's: both must come to the same, in words
 * too. */
enum err memory_state_load(struct memory_state *s, const struct disk *disk, uint64_t position_max,
                           uint64_t *out_position, struct memory_refused *out_refused,
                           struct errmsg *e);

#endif
