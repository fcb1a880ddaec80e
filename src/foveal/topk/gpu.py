"""`foveal.topk.quadrature` on a GPU, all nodes of all images in one launch.

A program passes over an image's candidates, forwards and backwards, for the thresholds of one
bundle; a state is a tile of counts x thresholds in registers. States are kept at every BLOCK-th
candidate, and on the way back those between are computed again. Without Triton, which comes with
torch's CUDA builds on Linux, or with FOVEAL_TRITON=0 in the environment, `AVAILABLE` is false.
"""

import os
from functools import partial
from typing import no_type_check

from jaxtyping import Float, Int
from torch import Tensor

from foveal.topk import quadrature
from foveal.topk.quadrature import LANES, shares

try:
    import triton
    from triton import language as tl
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = os.environ.get("FOVEAL_TRITON") != "0"

FIRST = 4  # bundles of nodes in the first launch: mostly enough, and a GPU has room for them
_BLOCK = 16  # candidates between kept states


def _weight_sums(
    x: Float[Tensor, "B M"],
    plan: Float[Tensor, "B 4"],
    images: Int[Tensor, " b"],
    bundles: range,
    k: int,
) -> Float[Tensor, "b K M"]:
    candidates, programs = x.shape[1], (len(images), len(bundles))
    into = x.new_empty(*programs, k, candidates)
    counts, states = _workspace(x, programs, k, kinds=2)
    _weight_kernel[programs](
        x, plan, shares(x.device), images, into, states, bundles.start, candidates, k,
        counts, LANES, _BLOCK, num_warps=_warps(counts),
    )  # fmt: skip
    return into.sum(dim=1)


def _gradient_sums(
    x: Float[Tensor, "B M"],
    plan: Float[Tensor, "B 4"],
    bundles: Int[Tensor, " B"],
    incoming: Float[Tensor, "B K M"],
) -> Float[Tensor, "B M"]:
    candidates, k = x.shape[1], incoming.shape[1]
    programs = (len(x), FIRST)  # each for every FIRST-th bundle of an image, however many it has
    into = x.new_zeros(*programs, candidates)
    counts, states = _workspace(x, programs, k, kinds=4)
    _gradient_kernel[programs](
        x, plan, shares(x.device), bundles.contiguous(), incoming.contiguous(), into, states,
        candidates, k, counts, LANES, _BLOCK, num_warps=_warps(counts),
    )  # fmt: skip
    return into.sum(dim=1)


weights = partial(quadrature.weights, sum_up=_weight_sums, first=FIRST)
gradients = partial(quadrature.gradients, sum_up=_gradient_sums)


def _workspace(x: Tensor, programs: tuple[int, int], k: int, kinds: int) -> tuple[int, Tensor]:
    """The number of counts in a tile, and memory for states: of one block, and at every block."""
    counts = 1 << max(0, k - 1).bit_length()
    kept = _BLOCK + -(-x.shape[1] // _BLOCK)
    return counts, x.new_empty(*programs, kept, kinds, counts, LANES)


def _warps(counts: int) -> int:
    """Threads of a program, in units of 32: four numbers of a tile each."""
    return max(1, min(8, counts * LANES // 128))


if AVAILABLE:

    @triton.jit
    @no_type_check
    def _neighbour(state, c, by):
        """Entry c + by of every column, 0 outside."""
        held = (c + by >= 0) & (c + by < state.shape[0])
        return tl.where(held, tl.gather(state, tl.where(held, c + by, 0), 0), 0.0)

    @triton.jit
    @no_type_check
    def _at_threshold(x_at, i, t):
        """z, the chance to be above the threshold and the density at it, of candidate i."""
        z = tl.load(x_at + i) - t
        p = 0.5 + 0.5 * tl.erf(z * 0.7071067811865476)
        return z, p, tl.exp(-0.5 * z * z) * 0.3989422804014327

    @triton.jit
    @no_type_check
    def _thresholds(plan_at, shares_at, image, bundle, LANES: tl.constexpr):
        low, high = tl.load(plan_at + image * 4 + 1), tl.load(plan_at + image * 4 + 2)
        share = tl.load(shares_at + bundle * LANES + tl.arange(0, LANES))
        return (low + (high - low) * share)[None, :]

    @triton.jit
    @no_type_check
    def _weight_kernel(
        x_at, plan_at, shares_at, images_at, into, states, first, m, k,
        COUNTS: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        image = tl.load(images_at + tl.program_id(0))
        own = (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)).to(tl.int64)
        t = _thresholds(plan_at, shares_at, image, first + tl.program_id(1), LANES)
        c = tl.arange(0, COUNTS)[:, None] + tl.zeros((1, LANES), tl.int32)
        size: tl.constexpr = COUNTS * LANES
        tile = c * LANES + tl.arange(0, LANES)[None, :]
        blocks = tl.cdiv(m, BLOCK)
        states += own * (BLOCK + blocks) * 2 * size + tile
        starts = states + BLOCK * 2 * size
        into += own * k * m
        x_at += image * m
        a = tl.where(c == 0, 1.0, 0.0).to(tl.float64)
        d = tl.zeros((COUNTS, LANES), tl.float64)
        for i in range(m):
            if i % BLOCK == 0:
                tl.store(starts + (i // BLOCK) * 2 * size, a)
                tl.store(starts + ((i // BLOCK) * 2 + 1) * size, d)
            _, p, f = _at_threshold(x_at, i, t)
            d += p * (_neighbour(d, c, -1) - d) + f * a
            a += p * (_neighbour(a, c, -1) - a)
        tl.debug_barrier()
        # from the other end, with c others to come before and k - 1 - c after: entry k - 1 first
        b = tl.where(c == k - 1, 1.0, 0.0).to(tl.float64)
        e = tl.zeros((COUNTS, LANES), tl.float64)
        for left in range(blocks):
            block = blocks - 1 - left
            begin = block * BLOCK
            end = tl.minimum(begin + BLOCK, m)
            a = tl.load(starts + block * 2 * size)
            d = tl.load(starts + (block * 2 + 1) * size)
            for i in range(begin, end):
                tl.store(states + (i - begin) * 2 * size, a)
                tl.store(states + ((i - begin) * 2 + 1) * size, d)
                _, p, f = _at_threshold(x_at, i, t)
                d += p * (_neighbour(d, c, -1) - d) + f * a
                a += p * (_neighbour(a, c, -1) - a)
            tl.debug_barrier()
            for back in range(end - begin):
                i = end - 1 - back
                a = tl.load(states + (i - begin) * 2 * size)
                d = tl.load(states + ((i - begin) * 2 + 1) * size)
                _, p, f = _at_threshold(x_at, i, t)
                b1, e1 = _neighbour(b, c, 1), _neighbour(e, c, 1)
                mass = f * a * b + p * (_neighbour(d, c, -1) * b + a * e1)
                slot = tl.arange(0, COUNTS)
                tl.store(into + slot * m + i, tl.sum(mass, axis=1), slot < k)
                e += p * (e1 - e) + f * b
                b += p * (b1 - b)
            tl.debug_barrier()

    @triton.jit
    @no_type_check
    def _advance(a, v, d, e, a1, v1, d1, e1, p, f, g, g1):
        """The next candidate's states from these and their neighbours, with G of the slot that the
        candidate would fill, after as many as the state has or after those of the neighbour."""
        e += p * (e1 + g * d1 - e) + f * (v + g * a)
        d += p * (d1 - d) + f * a
        v += p * (v1 + g1 * a1 - v)
        a += p * (a1 - a)
        return a, v, d, e

    @triton.jit
    @no_type_check
    def _forward(a, v, d, e, x_at, g_at, i, t, c, m, k):
        _, p, f = _at_threshold(x_at, i, t)
        g = tl.load(g_at + c * m + i, c < k, 0.0)
        g1 = tl.load(g_at + (c - 1) * m + i, (c > 0) & (c <= k), 0.0)
        a1, v1 = _neighbour(a, c, -1), _neighbour(v, c, -1)
        d1, e1 = _neighbour(d, c, -1), _neighbour(e, c, -1)
        return _advance(a, v, d, e, a1, v1, d1, e1, p, f, g, g1)

    @triton.jit
    @no_type_check
    def _add_gradient(
        x_at, g_at, into, states, t, m, k,
        COUNTS: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        c = tl.arange(0, COUNTS)[:, None] + tl.zeros((1, LANES), tl.int32)
        size: tl.constexpr = COUNTS * LANES
        blocks = tl.cdiv(m, BLOCK)
        states += c * LANES + tl.arange(0, LANES)[None, :]
        starts = states + BLOCK * 4 * size
        none = tl.zeros((COUNTS, LANES), tl.float64)
        a, v, d, e = tl.where(c == 0, 1.0, 0.0).to(tl.float64), none, none, none
        for i in range(m):
            if i % BLOCK == 0:
                start = starts + (i // BLOCK) * 4 * size
                tl.store(start, a)
                tl.store(start + size, v)
                tl.store(start + 2 * size, d)
                tl.store(start + 3 * size, e)
            a, v, d, e = _forward(a, v, d, e, x_at, g_at, i, t, c, m, k)
        tl.debug_barrier()
        b, u, h, w = tl.where(c == k - 1, 1.0, 0.0).to(tl.float64), none, none, none
        for left in range(blocks):
            block = blocks - 1 - left
            begin = block * BLOCK
            end = tl.minimum(begin + BLOCK, m)
            start = starts + block * 4 * size
            a, v = tl.load(start), tl.load(start + size)
            d, e = tl.load(start + 2 * size), tl.load(start + 3 * size)
            for i in range(begin, end):
                start = states + (i - begin) * 4 * size
                tl.store(start, a)
                tl.store(start + size, v)
                tl.store(start + 2 * size, d)
                tl.store(start + 3 * size, e)
                a, v, d, e = _forward(a, v, d, e, x_at, g_at, i, t, c, m, k)
            tl.debug_barrier()
            for back in range(end - begin):
                i = end - 1 - back
                start = states + (i - begin) * 4 * size
                a, v = tl.load(start), tl.load(start + size)
                d, e = tl.load(start + 2 * size), tl.load(start + 3 * size)
                z, p, f = _at_threshold(x_at, i, t)
                g = tl.load(g_at + c * m + i, c < k, 0.0)
                g1 = tl.load(g_at + (c + 1) * m + i, c + 1 < k, 0.0)
                b1, u1 = _neighbour(b, c, 1), _neighbour(u, c, 1)
                h1, w1 = _neighbour(h, c, 1), _neighbour(w, c, 1)
                upto = v + g * a
                out = d * u + e * b + a * w + v * h
                above = upto * h1 + a * w1 + d * u1 + (e + g1 * d) * b1
                total = tl.sum(f * (above - out - z * (upto * b + a * u)), axis=1)
                tl.store(into + i, tl.load(into + i) + tl.sum(total, axis=0))
                b, u, h, w = _advance(b, u, h, w, b1, u1, h1, w1, p, f, g, g1)
            tl.debug_barrier()

    @triton.jit
    @no_type_check
    def _gradient_kernel(
        x_at, plan_at, shares_at, bundles_at, g_at, into, states, m, k,
        COUNTS: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        image = tl.program_id(0).to(tl.int64)
        own = image * tl.num_programs(1) + tl.program_id(1)
        states += own * (BLOCK + tl.cdiv(m, BLOCK)) * 4 * COUNTS * LANES
        into += own * m
        x_at += image * m
        g_at += image * k * m
        for bundle in range(
            tl.program_id(1), tl.load(bundles_at + image).to(tl.int32), tl.num_programs(1)
        ):
            t = _thresholds(plan_at, shares_at, image, bundle, LANES)
            _add_gradient(x_at, g_at, into, states, t, m, k, COUNTS, LANES, BLOCK)
