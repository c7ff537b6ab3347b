/* Population stability index: how far shares of a population have moved, without labels.
 *
 * index = sum over bins of (new - old) ln(new / old); by custom below .1 is little, above .25 much.
 */
#ifndef FD_MODEL_STABILITY_H
#define FD_MODEL_STABILITY_H

#include <stddef.h>

/* Bands of a probability: two or three a decade below one half, where nearly all payments are. */
#define SCORE_BANDS 13
/* Upper end of each but the last, itself in it. */
extern const float SCORE_BAND_TOP[SCORE_BANDS - 1];

size_t score_band(float probability);

/* old, fresh: [bins] shares, of so many observations.  Half an observation more is put in each bin:
 * an empty one would make the index infinite. */
double stability_index(const double *old, double old_count, const double *fresh, double fresh_count,
                       size_t bins);

#endif
