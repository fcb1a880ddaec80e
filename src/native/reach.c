/* Which candidates of an image are in reach of the threshold, and where it lies; the same as
   foveal/topk/reach.py does in PyTorch. */

#include <stdlib.h>

#include "numbers.h"
#include "selection.h"

#define GRAIN 16             /* points of the lattice to a sigma */
#define LATTICE (32 * GRAIN) /* ... from -16 to 16 sigma */
#define NEGLIGIBLE 1e-9      /* chance of a threshold outside, of a choice out of reach */

static double tail(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }

static void sift(double *heap, int64_t k, int64_t i) {
    for (int64_t child; (child = 2 * i + 1) < k; i = child) {
        if (child + 1 < k && heap[child + 1] < heap[child]) child++;
        if (heap[i] <= heap[child]) return;
        double swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
    }
}

static int kth_largest(const void *scores, int wide, int64_t n, int64_t k, double *value) {
    double *heap = malloc(sizeof(double) * (size_t)k);
    if (!heap) return -1;
    for (int64_t i = 0; i < k; i++) heap[i] = at(scores, wide, i);
    for (int64_t i = k / 2; i-- > 0;) sift(heap, k, i);
    for (int64_t i = k; i < n; i++) {
        double score = at(scores, wide, i);
        if (score > heap[0]) {
            heap[0] = score;
            sift(heap, k, 0);
        }
    }
    *value = heap[0];
    free(heap);
    return 0;
}

/* The lattice point at or below x, counted from its lower end. */
static int64_t point(double x) {
    if (x >= LATTICE / (2 * GRAIN)) return LATTICE;
    if (x < -LATTICE / (2 * GRAIN)) return -1;
    return (int64_t)((x + LATTICE / (2 * GRAIN)) * GRAIN);
}

/* The mean number of candidates above lattice point a, each moved up by `up` lattice steps. */
static double mean_above(const double *counts, const double *phi, int64_t a, int up) {
    double sum = counts[LATTICE];
    for (int64_t b = 0; b < LATTICE; b++) sum += counts[b] * phi[b + up - a + LATTICE];
    return sum;
}

int foveal_reach(const void *scores, int wide, int64_t n, int64_t k, double sigma, double few,
                 double many, double *plan, int64_t *found) {
    double counts[LATTICE + 1] = {0}, phi[2 * LATTICE + 2], below = 0, kth;
    if (kth_largest(scores, wide, n, k, &kth)) return -1;
    for (int64_t i = 0; i < 2 * LATTICE + 2; i++) phi[i] = tail((double)(i - LATTICE) / GRAIN);
    for (int64_t i = 0; i < n; i++) {
        int64_t b = point((at(scores, wide, i) - kth) / sigma);
        if (b < 0) {
            below += 1;
        } else {
            counts[b] += 1;
        }
    }
    int64_t low = 0, high = LATTICE;
    while (low + 1 < high) { /* the last point with surely k or more above it */
        int64_t middle = (low + high) / 2;
        int surely = mean_above(counts, phi, middle, 0) > many;
        *(surely ? &low : &high) = middle;
    }
    int64_t lowest = low; /* Chernoff says little of few candidates: each of the k best falls short */
    double short_of = NEGLIGIBLE / (double)k;
    for (int64_t a = LATTICE / 2; a > lowest; a--)
        if (phi[a - LATTICE / 2 + LATTICE] < short_of) {
            lowest = a;
            break;
        }
    high = LATTICE;
    low = lowest;
    while (low + 1 < high) { /* the first point with surely fewer than k above it */
        int64_t middle = (low + high) / 2;
        int surely = mean_above(counts, phi, middle, 1) < few;
        *(surely ? &high : &low) = middle;
    }
    for (int64_t a = LATTICE / 2; a < high; a++)
        if ((double)n * phi[LATTICE / 2 + LATTICE - a] < NEGLIGIBLE) {
            high = a;
            break;
        }
    int64_t cut = 0; /* what lies below this point has together no chance to be chosen */
    double chance = below * phi[LATTICE - lowest];
    while (cut < lowest) {
        chance += counts[cut] * phi[cut + 1 - lowest + LATTICE];
        if (chance > NEGLIGIBLE) break;
        cut++;
    }
    if (below * phi[LATTICE - lowest] > NEGLIGIBLE) cut = -1;
    double floor = cut < 0 ? -INFINITY : (double)(cut - LATTICE / 2) / GRAIN;
    int64_t many_in_reach = 0;
    for (int64_t i = 0; i < n; i++) many_in_reach += (at(scores, wide, i) - kth) / sigma >= floor;
    plan[0] = kth;
    plan[1] = (double)(lowest - LATTICE / 2) / GRAIN;
    plan[2] = (double)(high - LATTICE / 2) / GRAIN;
    plan[3] = floor;
    *found = many_in_reach;
    return 0;
}

void foveal_candidates(const void *scores, int wide, int64_t n, double sigma, const double *plan,
                       int64_t *candidates) {
    for (int64_t i = 0; i < n; i++)
        if ((at(scores, wide, i) - plan[0]) / sigma >= plan[3]) *candidates++ = i;
}
