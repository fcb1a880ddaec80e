/* Loops over the crops of one image, for patches of one type: included once for each REAL. */

/* Read a line of pixels in their colours: x means scale x + offset, but at least low and at most high. */
FOR_EVERY_PROCESSOR
static void NAME(line)(REAL *restrict into, const Image *image, int64_t begin, int64_t count) {
    int64_t step = image->strides[2];
    REAL scale = (REAL)image->tone.scale, offset = (REAL)image->tone.offset;
    if (image->kind == BYTES) {
        const uint8_t *from = (const uint8_t *)image->pixels + begin;
        for (int64_t x = 0; x < count; x++) into[x] = scale * from[x * step] + offset;
    } else if (image->kind == SINGLE) {
        const float *from = (const float *)image->pixels + begin;
        for (int64_t x = 0; x < count; x++) into[x] = scale * (REAL)from[x * step] + offset;
    } else {
        const double *from = (const double *)image->pixels + begin;
        for (int64_t x = 0; x < count; x++) into[x] = scale * (REAL)from[x * step] + offset;
    }
    REAL low = (REAL)image->tone.low, high = (REAL)image->tone.high;
    for (int64_t x = 0; x < count; x++) {
        REAL value = into[x] < low ? low : into[x];
        into[x] = value > high ? high : value;
    }
}

/* Copy a window's rows one after the other, zero outside the image. */
static void NAME(read)(const Image *image, int64_t channel, const int64_t *corner, Strip strip,
                       REAL *row, int64_t length) {
    Common common = shared(image, corner, strip);
    if ((common.y1 - common.y0) * (common.x1 - common.x0) < length)
        memset(row, 0, sizeof(REAL) * (size_t)length);
    for (int64_t y = common.y0; y < common.y1; y++) {
        REAL *into = row + (y - strip.top) * strip.width + common.x0;
        int64_t begin = place(image, channel, corner[0] + y, corner[1] + common.x0);
        NAME(line)(into, image, begin, common.x1 - common.x0);
    }
}

/* Add to a window's rows where they lie in the image: the reverse. */
static void NAME(add)(const Image *image, int64_t channel, const int64_t *corner, Strip strip,
                      const REAL *row) {
    Common common = shared(image, corner, strip);
    for (int64_t y = common.y0; y < common.y1; y++) {
        const REAL *from = row + (y - strip.top) * strip.width + common.x0;
        int64_t begin = place(image, channel, corner[0] + y, corner[1] + common.x0);
        int64_t step = image->strides[2], count = common.x1 - common.x0;
        if (image->kind == SINGLE) {
            float *into = (float *)image->pixels + begin;
            for (int64_t x = 0; x < count; x++) into[x * step] += (float)from[x];
        } else {
            double *into = (double *)image->pixels + begin;
            for (int64_t x = 0; x < count; x++) into[x * step] += from[x];
        }
    }
}

/* A strip of all slots, filled up with zeros, out of the patches and added to them. */
static void NAME(take)(REAL *strips, const Job *job, int64_t channel, Strip strip, int64_t length) {
    int64_t size = (strip.bottom - strip.top) * strip.width;
    for (int64_t k = 0; k < job->slots; k++) {
        memcpy(strips + k * length, (REAL *)job->patches + within(job, k, channel, strip.top),
               sizeof(REAL) * (size_t)size);
        memset(strips + k * length + size, 0, sizeof(REAL) * (size_t)(length - size));
    }
}

static void NAME(give)(const REAL *strips, const Job *job, int64_t channel, Strip strip,
                       int64_t length) {
    int64_t size = (strip.bottom - strip.top) * strip.width;
    for (int64_t k = 0; k < job->slots; k++) {
        REAL *into = (REAL *)job->patches + within(job, k, channel, strip.top);
        for (int64_t x = 0; x < size; x++) into[x] += strips[k * length + x];
    }
}

/* Two slots meet four crops: eight products for eight accesses. */
FOR_EVERY_PROCESSOR
static void NAME(accumulate)(REAL *restrict a, REAL *restrict b, const REAL *restrict rows,
                             int64_t length, const REAL *u, const REAL *v) {
    REAL a0 = u[0], a1 = u[1], a2 = u[2], a3 = u[3], b0 = v[0], b1 = v[1], b2 = v[2], b3 = v[3];
    const REAL *r1 = rows + length, *r2 = r1 + length, *r3 = r2 + length;
    for (int64_t x = 0; x < length; x++) {
        REAL x0 = rows[x], x1 = r1[x], x2 = r2[x], x3 = r3[x];
        a[x] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3;
        b[x] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3;
    }
}

FOR_EVERY_PROCESSOR
static void NAME(multiply)(const REAL *restrict a, const REAL *restrict b,
                           const REAL *restrict rows, int64_t length, double *u, double *v) {
    REAL sums[8][HALF] = {{0}};
    const REAL *r1 = rows + length, *r2 = r1 + length, *r3 = r2 + length;
    for (int64_t x = 0; x < length; x += HALF)
        for (int q = 0; q < HALF; q++) {
            REAL ax = a[x + q], bx = b[x + q];
            sums[0][q] += ax * rows[x + q];
            sums[1][q] += ax * r1[x + q];
            sums[2][q] += ax * r2[x + q];
            sums[3][q] += ax * r3[x + q];
            sums[4][q] += bx * rows[x + q];
            sums[5][q] += bx * r1[x + q];
            sums[6][q] += bx * r2[x + q];
            sums[7][q] += bx * r3[x + q];
        }
    for (int i = 0; i < 4; i++)
        for (int q = 0; q < HALF; q++) {
            u[i] += sums[i][q];
            v[i] += sums[4 + i][q];
        }
}

FOR_EVERY_PROCESSOR
static void NAME(mix)(const REAL *restrict a, const REAL *restrict b, REAL *restrict rows,
                      int64_t length, const REAL *u, const REAL *v) {
    for (int i = 0; i < 4; i++) {
        REAL *restrict row = rows + i * length;
        REAL ai = u[i], bi = v[i];
        for (int64_t x = 0; x < length; x++) row[x] += ai * a[x] + bi * b[x];
    }
}

static int NAME(run)(const Job *job, Work what) {
    int64_t pairs = job->slots + job->slots % 2, length = job->rows * job->width;
    length = (length + WIDTH - 1) / WIDTH * WIDTH;
    REAL *rows = calloc((size_t)(4 * length), sizeof(REAL));
    REAL *strips = calloc((size_t)(pairs * length), sizeof(REAL));
    int64_t in_column = (job->height + job->rows - 1) / job->rows;
    for (int64_t unit = job->first; rows && strips && unit < job->last; unit++) {
        int64_t channel = unit / in_column, top = unit % in_column * job->rows;
        int64_t bottom = top + job->rows < job->height ? top + job->rows : job->height;
        Strip strip = {top, bottom, job->width};
        if (what == SUMS) {
            memset(strips, 0, sizeof(REAL) * (size_t)(pairs * length));
        } else {
            NAME(take)(strips, job, channel, strip, length);
        }
        for (int64_t m = 0; m < job->crops; m += 4) {
            int64_t end = job->crops - m < 4 ? job->crops - m : 4;
            if (what == SPREAD) {
                memset(rows, 0, sizeof(REAL) * (size_t)(4 * length));
            } else {
                for (int64_t i = 0; i < end; i++)
                    NAME(read)(&job->image, channel, job->corners + 2 * (m + i), strip,
                               rows + i * length, length);
            }
            for (int64_t k = 0; k < pairs; k += 2) {
                REAL *a = strips + k * length, *b = a + length;
                const REAL *u = (const REAL *)job->weights + k * job->row + m, *v = u + job->row;
                if (what == PRODUCTS) {
                    double *dots = job->dots + k * job->row + m;
                    NAME(multiply)(a, b, rows, length, dots, dots + job->row);
                } else if (u[0] || u[1] || u[2] || u[3] || v[0] || v[1] || v[2] || v[3]) {
                    (what == SUMS ? NAME(accumulate)(a, b, rows, length, u, v)
                                  : NAME(mix)(a, b, rows, length, u, v));
                }
            }
            if (what == SPREAD)
                for (int64_t i = 0; i < end; i++)
                    NAME(add)(&job->image, channel, job->corners + 2 * (m + i), strip,
                              rows + i * length);
        }
        if (what == SUMS) NAME(give)(strips, job, channel, strip, length);
    }
    int failed = !rows || !strips;
    free(rows);
    free(strips);
    return failed ? -1 : 0;
}
