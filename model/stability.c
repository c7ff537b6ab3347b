#include "model/stability.h"

#include <math.h>

const float SCORE_BAND_TOP[SCORE_BANDS - 1] = {.0002F, .0005F, .001F, .002F, .005F, .01F,
                                               .02F,   .05F,   .1F,   .2F,   .5F,   .8F};

size_t score_band(float probability)
{
    size_t band = 0;
    while (band < SCORE_BANDS - 1 && probability > SCORE_BAND_TOP[band]) {
        band++;
    }
    return band;
}

double stability_index(const double *old, double old_count, const double *fresh, double fresh_count,
                       size_t bins)
{
    double sum = 0;
    double more = (double)bins / 2;
    for (size_t i = 0; i < bins; i++) {
        double a = (old[i] * old_count + .5) / (old_count + more);
        double b = (fresh[i] * fresh_count + .5) / (fresh_count + more);
        sum += (b - a) * log(b / a);
    }
    return sum;
}
