/* Weighted sums of the crops of one image, and their gradients, without ever holding a crop. */

#ifndef FOVEAL_EXTRACTION_H
#define FOVEAL_EXTRACTION_H

#include <stdint.h>

enum { BYTES, SINGLE, DOUBLE };
typedef enum { SUMS, PRODUCTS, SPREAD } Work;

/* A stored number x means scale x + offset, but at least low and at most high. */
typedef struct {
    double scale, offset, low, high;
} Tone;

typedef struct {
    void *pixels;
    int kind;
    int64_t height, width, strides[3]; /* of channel, row and column, in pixels */
    Tone tone;
} Image;

/* The units first .. last of one image, a unit being `rows` rows of all slots in one channel. */
typedef struct {
    Image image;
    int64_t crops;
    const int64_t *corners; /* (crops, 2): top, left */
    const void *weights;    /* (slots, row), filled up to an even number of slots and 4 | row */
    double *dots;           /* the same */
    int64_t row;
    void *patches; /* (slots, channels, height, width) */
    int wide;      /* patches and weights are double, else float */
    int64_t slots, channels, height, width, rows, first, last;
} Job;

/* SUMS: patches[k] += sum_m weights[k, m] crop_m. PRODUCTS: dots[k, m] += <patches[k], crop_m>.
   SPREAD: crop_m += sum_k weights[k, m] patches[k]. Returns -1 if memory ran out, else 0. */
int foveal_crops(const Job *job, Work what);

#endif
