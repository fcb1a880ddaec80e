/* foveal._native: loops over images without the interpreter's lock. Tensors come as addresses; the
   callers, topk/compiled.py and patches/compiled.py, see to their types, shapes and lives. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "extraction.h"
#include "selection.h"

typedef unsigned long long Address;

static const char *shifted(Address scores, int wide, int64_t entries) {
    return (const char *)scores + entries * (wide ? 8 : 4);
}

static PyObject *ended(int failed) {
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *reach(PyObject *self, PyObject *args) {
    (void)self;
    Address scores, plan, found;
    int wide, failed = 0;
    long long first, last, n, k;
    double sigma, few, many;
    if (!PyArg_ParseTuple(args, "LLKiLLdddKK", &first, &last, &scores, &wide, &n, &k, &sigma, &few,
                          &many, &plan, &found))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t b = first; b < last; b++)
        failed |= foveal_reach(shifted(scores, wide, b * n), wide, n, k, sigma, few, many,
                               (double *)plan + 4 * b, (int64_t *)found + b);
    Py_END_ALLOW_THREADS
    return ended(failed);
}

static PyObject *weights(PyObject *self, PyObject *args) {
    (void)self;
    Address scores, plan, found, candidates, into, bundles;
    int wide, failed = 0;
    long long first, last, n, k, row, most;
    double sigma, tolerance;
    if (!PyArg_ParseTuple(args, "LLKiLLLddLKKKKK", &first, &last, &scores, &wide, &n, &k, &row,
                          &sigma, &tolerance, &most, &plan, &found, &candidates, &into, &bundles))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t b = first; b < last; b++) {
        const void *own = shifted(scores, wide, b * n);
        const double *where = (const double *)plan + 4 * b;
        int64_t *chosen = (int64_t *)candidates + b * row;
        foveal_candidates(own, wide, n, sigma, where, chosen);
        failed |= foveal_weights(own, wide, sigma, k, where, chosen, ((int64_t *)found)[b],
                                 tolerance, most, (void *)shifted(into, wide, b * k * row), row,
                                 (int64_t *)bundles + b);
    }
    Py_END_ALLOW_THREADS
    return ended(failed);
}

static PyObject *slopes(PyObject *self, PyObject *args) {
    (void)self;
    Address scores, plan, found, candidates, bundles, given, incoming, into, to_sigma;
    int wide, failed = 0;
    long long first, last, n, k, row;
    double sigma;
    if (!PyArg_ParseTuple(args, "LLKiLLLdKKKKKKKK", &first, &last, &scores, &wide, &n, &k, &row,
                          &sigma, &plan, &found, &candidates, &bundles, &given, &incoming, &into,
                          &to_sigma))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t b = first; b < last; b++)
        failed |= foveal_slopes(shifted(scores, wide, b * n), wide, sigma, k,
                                (const double *)plan + 4 * b, (const int64_t *)candidates + b * row,
                                ((int64_t *)found)[b], ((int64_t *)bundles)[b],
                                shifted(given, wide, b * k * row),
                                shifted(incoming, wide, b * k * row), row,
                                (void *)shifted(into, wide, b * n), (double *)to_sigma + b);
    Py_END_ALLOW_THREADS
    return ended(failed);
}

static PyObject *crops(PyObject *self, PyObject *args) {
    (void)self;
    Address pixels, corners, weights, dots, patches;
    int what, kind, wide, failed;
    Tone tone;
    long long height, width, strides[3], crops, row, slots, channels, h, w, rows, first, last;
    if (!PyArg_ParseTuple(args, "iKiLLLLLddddLKKKLKiLLLLLLL", &what, &pixels, &kind, &height,
                          &width, &strides[0], &strides[1], &strides[2], &tone.scale, &tone.offset,
                          &tone.low, &tone.high, &crops, &corners, &weights, &dots,
                          &row, &patches, &wide, &slots, &channels, &h, &w, &rows, &first, &last))
        return NULL;
    Job job = {
        .image = {(void *)pixels, kind, height, width, {strides[0], strides[1], strides[2]},
                  tone},
        .crops = crops, .corners = (const int64_t *)corners,
        .weights = (const void *)weights, .dots = (double *)dots, .row = row,
        .patches = (void *)patches, .wide = wide, .slots = slots, .channels = channels,
        .height = h, .width = w, .rows = rows, .first = first, .last = last};
    Py_BEGIN_ALLOW_THREADS
    failed = foveal_crops(&job, (Work)what);
    Py_END_ALLOW_THREADS
    return ended(failed);
}

static PyMethodDef methods[] = {
    {"reach", reach, METH_VARARGS, "Where the threshold of each image lies."},
    {"weights", weights, METH_VARARGS, "Candidates in reach and their weights."},
    {"slopes", slopes, METH_VARARGS, "The gradient from the weights to scores and sigma."},
    {"crops", crops, METH_VARARGS, "Weighted sums of one image's crops, or their gradient."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_native", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }
