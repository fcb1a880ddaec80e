/* Loops over one image; scores are float (wide = 0) or double (wide = 1). Functions that may run out
   of memory return -1 then, else 0. */

#ifndef FOVEAL_SELECTION_H
#define FOVEAL_SELECTION_H

#include <stdint.h>

/* plan (4): the k-th largest score; where the threshold lies, from and to, and the lowest candidate
   in reach, in units of sigma from there. found: how many are in reach. few, many: mean numbers of
   candidates above a threshold at which surely fewer than k, or k and more, are. */
int foveal_reach(const void *scores, int wide, int64_t n, int64_t k, double sigma, double few,
                 double many, double *plan, int64_t *found);

void foveal_candidates(const void *scores, int wide, int64_t n, double sigma, const double *plan,
                       int64_t *candidates);

/* weights (k, row), the first m of each row; bundles: how many were needed, at most `most`, a power
   of two, for the rows to sum to one within the tolerance. */
int foveal_weights(const void *scores, int wide, double sigma, int64_t k, const double *plan,
                   const int64_t *candidates, int64_t m, double tolerance, int64_t most,
                   void *weights, int64_t row, int64_t *bundles);

/* gradient (n), set at the candidates; incoming is laid out as the weights. */
int foveal_slopes(const void *scores, int wide, double sigma, int64_t k, const double *plan,
                  const int64_t *candidates, int64_t m, int64_t bundles, const void *weights,
                  const void *incoming, int64_t row, void *gradient, double *to_sigma);

#endif
