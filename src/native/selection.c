/* The smoothed Top-K of one image and its gradient; the mathematics is in foveal/topk/exact.py.

   The states before each candidate are kept where they are few. Else they are kept at every block-th
   one and worked out again from there, so that memory grows with sqrt(M). */

#include "selection.h"

#include <math.h>
#include <stdlib.h>

#include "states.h"

#define FAR 25.0   /* Phi(-FAR) is 0 beside 1 */
#define KEPT (1 << 19) /* numbers in the states of all candidates that are kept (4 MiB) */
#define TINY 1e-10 /* weights below are 0, which spares their crops */

/* The integrand of one candidate's weights, added up over the lanes: A B', A' B and A B. */
INLINE void weigh(const State *before, const State *after, int64_t k, const double *restrict p,
                  const double *restrict f, double *restrict weights) {
    for (int64_t c = before->from; c <= before->to && c < k; c++) {
        int64_t r = k - 1 - c; /* so many come after it */
        const double *a = before->rows + c * 2 * LANES, *b = after->rows + r * 2 * LANES;
        int has_a = c < before->to, has_b = r >= after->from && r < after->to;
        int has_d = c > before->from, has_db = r > after->from && r <= after->to;
        double sum[LANES] = {0};
        if (has_a && has_b && has_d && has_db) {
            EACH_LANE sum[q] = f[q] * a[q] * b[q] + p[q] * (a[q - LANES] * b[q] + a[q] * b[q - LANES]);
        } else {
            if (has_a && has_b) EACH_LANE sum[q] += f[q] * a[q] * b[q];
            if (has_d && has_b) EACH_LANE sum[q] += p[q] * a[q - LANES] * b[q];
            if (has_a && has_db) EACH_LANE sum[q] += p[q] * a[q] * b[q - LANES];
        }
        weights[c] += total(sum);
    }
}

/* The gradient's integrand, added up over the lanes: i above the threshold, less i left out, and
   what i's own density adds; dp = f dx, df = -z f dx. */
INLINE double slope(const State *before, const State *after, int64_t k, double x, const double *t,
                    const double *restrict f, const double *restrict g) {
    double sum[LANES] = {0}, at[LANES] = {0};
    for (int64_t c = before->from; c < before->to; c++) {
        int64_t r = k - 1 - c;
        const double *restrict a = before->rows + c * 4 * LANES, *restrict v = a + LANES;
        const double *restrict d = a + 2 * LANES, *restrict e = a + 3 * LANES;
        double own = g[c];
        if (r >= after->from && r < after->to) {
            const double *restrict b = after->rows + r * 4 * LANES, *restrict u = b + LANES;
            const double *restrict m = b + 2 * LANES, *restrict w = b + 3 * LANES;
            EACH_LANE {
                at[q] += (v[q] + own * a[q]) * b[q] + a[q] * u[q];
                sum[q] -= d[q] * u[q] + e[q] * b[q] + a[q] * w[q] + v[q] * m[q];
            }
        }
        if (r - 1 >= after->from && r - 1 < after->to) { /* i fills one slot of the others' k - 1 */
            const double *restrict b = after->rows + (r - 1) * 4 * LANES, *restrict u = b + LANES;
            const double *restrict m = b + 2 * LANES, *restrict w = b + 3 * LANES;
            double following = g[c + 1];
            EACH_LANE {
                sum[q] += (v[q] + own * a[q]) * m[q] + a[q] * w[q];
                sum[q] += (e[q] + following * d[q]) * b[q] + d[q] * u[q];
            }
        }
    }
    EACH_LANE sum[q] = (sum[q] - (x - t[q]) * at[q]) * f[q];
    return total(sum);
}

/* ---- one image */

typedef struct {
    int64_t m, k, block;
    int kinds;
    State now, after, *marks, *inside;
    double *memory, *p, *f;
} Work;

static int prepare(Work *w, int64_t m, int64_t k, int kinds) {
    size_t state = (size_t)(k * kinds * LANES);
    w->m = m, w->k = k, w->kinds = kinds;
    w->block = m <= KEPT / (int64_t)state ? m : (int64_t)ceil(sqrt((double)m));
    size_t states = (size_t)(2 * w->block + 2);
    w->memory = malloc(sizeof(double) * (state * states + 2 * (size_t)w->block * LANES));
    w->marks = malloc(sizeof(State) * (size_t)(2 * w->block));
    if (!w->memory || !w->marks) return -1;
    w->inside = w->marks + w->block;
    w->now.rows = w->memory;
    w->after.rows = w->memory + state;
    for (int64_t i = 0; i < 2 * w->block; i++) w->marks[i].rows = w->memory + (size_t)(i + 2) * state;
    w->p = w->memory + state * states;
    w->f = w->p + w->block * LANES;
    return 0;
}

static void finish(Work *w) {
    free(w->memory);
    free(w->marks);
}

/* The thresholds of a bundle. Bundle 0 has LANES of them over the interval, 1 those halfway between,
   2 and 3 those halfway between all of these, and so on: each power of two is a finer rule. */
static Bundle thresholds(int64_t bundle, double low, double high) {
    Bundle made;
    double step = (high - low) / LANES, start = step / 2;
    if (bundle == 1) start = 0;
    if (bundle > 1) {
        int64_t level = 2;
        while (2 * level <= bundle) level *= 2; /* bundles level .. 2 level - 1 have one rule */
        step /= (double)level;
        start = step / 2 + step * (double)((bundle - level) * LANES);
    }
    made.step = step;
    EACH_LANE made.t[q] = start + low + step * q;
    EACH_LANE made.shrink[q] = exp(-0.5 * step * step * q * q) * 0.39894228040143267794;
    return made;
}

/* Visit the candidates last to first, each with the states before and after it. */
#define SWEEP(PASS_BEFORE, PASS_AFTER, VISIT)                                                    \
    begin(&w->now, k, w->kinds);                                                                 \
    copy(&w->marks[0], &w->now, w->kinds);                                                       \
    for (int64_t i = 0; i < w->m && w->block < w->m; i++) {                                      \
        if (i % w->block == 0) {                                                                 \
            trim(&w->now, w->kinds);                                                             \
            copy(&w->marks[i / w->block], &w->now, w->kinds);                                    \
        }                                                                                        \
        tails(x[i], &bundle, w->p, w->f);                                                        \
        PASS_BEFORE(&w->now, &w->now, w->p, w->f);                                               \
    }                                                                                            \
    begin(&w->after, k, w->kinds);                                                               \
    for (int64_t b = (w->m - 1) / w->block; b >= 0; b--) {                                       \
        int64_t first = b * w->block, end = first + w->block < w->m ? first + w->block : w->m;   \
        trim(&w->after, w->kinds);                                                               \
        copy(&w->inside[0], &w->marks[b], w->kinds);                                             \
        for (int64_t i = first; i < end; i++) {                                                  \
            State *here = &w->inside[i - first];                                                 \
            double *p = w->p + (i - first) * LANES, *f = w->f + (i - first) * LANES;             \
            tails(x[i], &bundle, p, f);                                                          \
            if (i + 1 < end) PASS_BEFORE(here + 1, here, p, f);                                  \
        }                                                                                        \
        for (int64_t i = end - 1; i >= first; i--) {                                             \
            const State *before = &w->inside[i - first];                                         \
            double *p = w->p + (i - first) * LANES, *f = w->f + (i - first) * LANES;             \
            VISIT;                                                                               \
            PASS_AFTER(&w->after, &w->after, p, f);                                              \
        }                                                                                        \
    }

FOR_EVERY_PROCESSOR
static void add_weights(Work *w, const double *x, Bundle bundle, double *weights) {
    int64_t k = w->k;
#define PASS(to, from, p, f) pass(to, from, k, p, f)
    SWEEP(PASS, PASS, weigh(before, &w->after, k, p, f, weights + i * k))
#undef PASS
}

FOR_EVERY_PROCESSOR
static void add_slopes(Work *w, const double *x, Bundle bundle, const double *g,
                       double *slopes) {
    int64_t k = w->k;
#define BEFORE(to, from, p, f) pass_values(to, from, k, p, f, g + i * k, 1)
#define AFTER(to, from, p, f) pass_values(to, from, k, p, f, g + i * k + k - 1, -1)
    SWEEP(BEFORE, AFTER, slopes[i] += slope(before, &w->after, k, x[i], bundle.t, f, g + i * k))
#undef BEFORE
#undef AFTER
}

static void near(const void *scores, int wide, double sigma, const double *plan,
                 const int64_t *candidates, int64_t m, double *x) {
    for (int64_t i = 0; i < m; i++) {
        double z = (at(scores, wide, candidates[i]) - plan[0]) / sigma;
        x[i] = z > FAR ? FAR : z < -FAR ? -FAR : z;
    }
}

int foveal_weights(const void *scores, int wide, double sigma, int64_t k, const double *plan,
                   const int64_t *candidates, int64_t m, double tolerance, int64_t most,
                   void *weights, int64_t row, int64_t *bundles) {
    Work work;
    double *x = malloc(sizeof(double) * (size_t)m);
    double *sums = calloc((size_t)(m * k), sizeof(double));
    int failed = prepare(&work, m, k, 2) || !x || !sums;
    int64_t done = 0;
    double step = 0;
    if (!failed) near(scores, wide, sigma, plan, candidates, m, x);
    while (!failed && done < most) {
        int64_t until = done ? 2 * done : 1;
        for (; done < until; done++)
            add_weights(&work, x, thresholds(done, plan[1], plan[2]), sums);
        step = (plan[2] - plan[1]) / (double)(LANES * done);
        double worst = 0;
        for (int64_t c = 0; c < k; c++) {
            double sum = 0;
            for (int64_t i = 0; i < m; i++) sum += sums[i * k + c];
            worst = fmax(worst, fabs(step * sum - 1));
        }
        if (worst < tolerance) break;
    }
    for (int64_t c = 0; c < k && !failed; c++)
        for (int64_t i = 0; i < m; i++) {
            double weight = step * sums[i * k + c];
            put(weights, wide, c * row + i, weight < TINY ? 0 : weight);
        }
    *bundles = done;
    finish(&work);
    free(x);
    free(sums);
    return failed ? -1 : 0;
}

int foveal_slopes(const void *scores, int wide, double sigma, int64_t k, const double *plan,
                  const int64_t *candidates, int64_t m, int64_t bundles, const void *weights,
                  const void *incoming, int64_t row, void *gradient, double *to_sigma) {
    Work work;
    double *x = malloc(sizeof(double) * (size_t)m);
    double *g = malloc(sizeof(double) * (size_t)(m * k));
    double *slopes = calloc((size_t)m, sizeof(double));
    int failed = prepare(&work, m, k, 4) || !x || !g || !slopes;
    if (!failed) {
        near(scores, wide, sigma, plan, candidates, m, x);
        for (int64_t c = 0; c < k; c++) { /* rows sum to one: a constant changes but the rounding */
            double mean = 0;
            for (int64_t i = 0; i < m; i++)
                mean += at(weights, wide, c * row + i) * at(incoming, wide, c * row + i);
            for (int64_t i = 0; i < m; i++) g[i * k + c] = at(incoming, wide, c * row + i) - mean;
        }
        for (int64_t bundle = 0; bundle < bundles; bundle++)
            add_slopes(&work, x, thresholds(bundle, plan[1], plan[2]), g, slopes);
        double step = (plan[2] - plan[1]) / (double)(LANES * bundles) / sigma;
        *to_sigma = 0;
        for (int64_t i = 0; i < m; i++) {
            double slope = step * slopes[i];
            *to_sigma -= slope * x[i];
            put(gradient, wide, candidates[i], slope);
        }
    }
    finish(&work);
    free(x);
    free(g);
    free(slopes);
    return failed ? -1 : 0;
}
