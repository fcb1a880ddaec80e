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

/* A version for newer processors beside the one for all, chosen when the program starts. */
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && \
    defined(__linux__)
#define FOR_EVERY_PROCESSOR \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EVERY_PROCESSOR
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
