/* The recurrences over candidates; the mathematics is in foveal/topk/exact.py.

   States are rows of LANES numbers, one for each threshold t of a bundle; row c of A is the chance
   that c candidates are above t and none stands at it, row c of D (A' in the text) that c + 1 are
   chosen and one of them stands at t. */

#ifndef FOVEAL_STATES_H
#define FOVEAL_STATES_H

#include <string.h>

#include "numbers.h"

#define LANES 16
#define TRIMMED 1e-25 /* chance of a count that is left out */

/* Rows may be written in place, but no lane reads what another one wrote. */
#if defined(__clang__)
#define ONE_BY_ONE _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define ONE_BY_ONE _Pragma("GCC ivdep")
#else
#define ONE_BY_ONE
#endif
#define EACH_LANE ONE_BY_ONE for (int q = 0; q < LANES; q++)

typedef struct {
    int64_t from, to; /* counts outside have no chance */
    double *rows;     /* (k, kinds, LANES) */
} State;

/* Thresholds at even steps, and what the density needs of them. */
typedef struct {
    double t[LANES], step, shrink[LANES];
} Bundle;

INLINE double total(const double *lanes) {
    double half[LANES / 2];
    for (int q = 0; q < LANES / 2; q++) half[q] = lanes[q] + lanes[q + LANES / 2];
    for (int width = LANES / 4; width; width /= 2)
        for (int q = 0; q < width; q++) half[q] += half[q + width];
    return half[0];
}

/* (1 - Phi(a)) / phi(a) x (a + 5) as a polynomial in (a - 5) / (a + 5), a >= 0, by interpolation at
   Chebyshev's points; its relative error is below 1e-12. */
static const double MILLS[] = {
    1.9280810471531524e+00, -1.6678665952019192e+00, 1.2415470615981952e+00, -7.8591107492277235e-01,
    4.1364471457845942e-01, -1.7325474288233250e-01, 5.2125518624022614e-02, -7.5032268311276250e-03,
    -2.0000650886041189e-03, 1.3656685694386896e-03, -1.4848179796819966e-04, -1.2436233794100541e-04,
    4.1125305172284656e-05, 9.5462559124361378e-06, -6.1518937773173071e-06, -5.5593865158287055e-07,
    5.7481125093096854e-07,
};

/* Of a candidate at x: p = Phi(x - t) and f = phi(x - t). */
INLINE void tails(double x, const Bundle *bundle, double *restrict p, double *restrict f) {
    const double *t = bundle->t;
    double z = x - t[0], ratio = exp(z * bundle->step), power = ratio;
    f[0] = exp(-0.5 * z * z); /* phi(z - q step) = phi(z) ratio^q exp(-(q step)^2 / 2) */
    for (int width = 1; width < LANES; width *= 2, power *= power)
        for (int q = 0; q < width; q++) f[q + width] = f[q] * power;
    EACH_LANE f[q] *= bundle->shrink[q];
    EACH_LANE {
        double a = fabs(x - t[q]), inverse = 1 / (a + 5), u = (a - 5) * inverse, sum = MILLS[16];
        for (int i = 15; i >= 0; i--) sum = sum * u + MILLS[i];
        p[q] = f[q] * sum * inverse;
    }
    EACH_LANE p[q] = x < t[q] ? p[q] : 1 - p[q];
}

INLINE void begin(State *s, int64_t k, int kinds) {
    memset(s->rows, 0, sizeof(double) * (size_t)(k * kinds * LANES));
    EACH_LANE s->rows[q] = 1;
    s->from = 0;
    s->to = 1;
}

INLINE void copy(State *to, const State *from, int kinds) {
    int64_t row = kinds * LANES, first = from->from * row;
    memcpy(to->rows + first, from->rows + first,
           sizeof(double) * (size_t)((from->to - from->from) * row));
    to->from = from->from;
    to->to = from->to;
}

/* Leave out counts at both ends that have no chance, so that the work follows the others. */
INLINE void trim(State *s, int kinds) {
    while (s->to - s->from > 1) {
        double *row = s->rows + (s->to - 1) * kinds * LANES, most = 0;
        EACH_LANE most += row[q] + row[(kinds / 2) * LANES + q];
        if (most > TRIMMED) break;
        s->to--;
    }
    while (s->to - s->from > 1) {
        double *row = s->rows + s->from * kinds * LANES, most = 0;
        EACH_LANE most += row[q] + row[(kinds / 2) * LANES + q];
        if (most > TRIMMED) break;
        s->from++;
    }
}

/* The counts after one more candidate. */
INLINE void grow(State *to, const State *from, int64_t k) {
    int64_t top = from->to < k ? from->to + 1 : k;
    to->from = from->from;
    to->to = top;
}

/* Rows (A, D), from one candidate to the next; in place where from is to. */
INLINE void pass(State *to, const State *from, int64_t k, const double *p, const double *f) {
    int64_t lowest = from->from, above = from->to;
    grow(to, from, k);
    for (int64_t c = to->to - 1; c >= lowest; c--) {
        const double *a = from->rows + c * 2 * LANES, *d = a + LANES;
        const double *a1 = a - 2 * LANES, *d1 = a - LANES;
        double *to_a = to->rows + c * 2 * LANES, *to_d = to_a + LANES;
        if (c == above) {
            EACH_LANE {
                to_d[q] = p[q] * d1[q];
                to_a[q] = p[q] * a1[q];
            }
        } else if (c == lowest) {
            EACH_LANE {
                to_d[q] = d[q] - p[q] * d[q] + f[q] * a[q];
                to_a[q] = a[q] - p[q] * a[q];
            }
        } else {
            EACH_LANE {
                to_d[q] = d[q] + p[q] * (d1[q] - d[q]) + f[q] * a[q];
                to_a[q] = a[q] + p[q] * (a1[q] - a[q]);
            }
        }
    }
}

/* Rows (A, V, D, E): V and E are A and D times the incoming gradient summed over the slots filled
   so far. g + c * step is that of the slot which the candidate fills after c others. */
INLINE void pass_values(State *to, const State *from, int64_t k, const double *p, const double *f,
                        const double *g, int64_t step) {
    int64_t lowest = from->from, above = from->to;
    grow(to, from, k);
    for (int64_t c = to->to - 1; c >= lowest; c--) {
        const double *a = from->rows + c * 4 * LANES, *v = a + LANES, *d = v + LANES, *e = d + LANES;
        const double *a1 = a - 4 * LANES, *v1 = v - 4 * LANES, *d1 = d - 4 * LANES, *e1 = a - LANES;
        double *to_a = to->rows + c * 4 * LANES, *to_v = to_a + LANES, *to_d = to_v + LANES;
        double *to_e = to_d + LANES;
        double own = g[c * step], before = c > lowest ? g[(c - 1) * step] : 0;
        if (c == above) {
            EACH_LANE {
                to_e[q] = p[q] * (e1[q] + own * d1[q]);
                to_d[q] = p[q] * d1[q];
                to_v[q] = p[q] * (v1[q] + before * a1[q]);
                to_a[q] = p[q] * a1[q];
            }
        } else if (c == lowest) {
            EACH_LANE {
                to_e[q] = e[q] - p[q] * e[q] + f[q] * (v[q] + own * a[q]);
                to_d[q] = d[q] - p[q] * d[q] + f[q] * a[q];
                to_v[q] = v[q] - p[q] * v[q];
                to_a[q] = a[q] - p[q] * a[q];
            }
        } else {
            EACH_LANE {
                to_e[q] = e[q] + p[q] * (e1[q] + own * d1[q] - e[q]) + f[q] * (v[q] + own * a[q]);
                to_d[q] = d[q] + p[q] * (d1[q] - d[q]) + f[q] * a[q];
                to_v[q] = v[q] + p[q] * (v1[q] + before * a1[q] - v[q]);
                to_a[q] = a[q] + p[q] * (a1[q] - a[q]);
            }
        }
    }
}

#endif
