/* A strip of rows of all slots in one channel is summed over the candidates in their order, so that
   neighbours find their rows in the nearest cache. */

#include "extraction.h"

#include <stdlib.h>
#include <string.h>

#include "numbers.h"

#define WIDTH 16 /* numbers that are worked on at once; strips are filled up to a multiple */
#define HALF 8   /* of them in products, whose sums have to stay in registers */

typedef struct {
    int64_t top, bottom, width; /* rows of a patch */
} Strip;

typedef struct {
    int64_t y0, y1, x0, x1;
} Common;

static int64_t between(int64_t low, int64_t value, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

/* Which rows and columns of a window lie in the image. */
static Common shared(const Image *image, const int64_t *corner, Strip strip) {
    Common common;
    common.y0 = between(strip.top, -corner[0], strip.bottom);
    common.x0 = between(0, -corner[1], strip.width);
    common.y1 = between(common.y0, image->height - corner[0], strip.bottom);
    common.x1 = between(common.x0, image->width - corner[1], strip.width);
    return common;
}

static int64_t place(const Image *image, int64_t channel, int64_t y, int64_t x) {
    return channel * image->strides[0] + y * image->strides[1] + x * image->strides[2];
}

static int64_t within(const Job *job, int64_t k, int64_t channel, int64_t y) {
    return ((k * job->channels + channel) * job->height + y) * job->width;
}

#define REAL float
#define NAME(name) name##_single
#include "crops.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) name##_double
#include "crops.h"

int foveal_crops(const Job *job, Work what) {
    return job->wide ? run_double(job, what) : run_single(job, what);
}
