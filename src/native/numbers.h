/* What the loops share. Functions that may run out of memory return -1 then, else 0. */

#ifndef FOVEAL_NUMBERS_H
#define FOVEAL_NUMBERS_H

#include <math.h>
#include <stdint.h>

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* Entry i of an array of float (wide = 0) or double (wide = 1). */
INLINE double at(const void *values, int wide, int64_t i) {
    return wide ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

INLINE void put(void *values, int wide, int64_t i, double value) {
    if (wide) {
        ((double *)values)[i] = value;
    } else {
        ((float *)values)[i] = (float)value;
    }
}

#endif
