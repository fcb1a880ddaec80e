"""`foveal.topk.quadrature` on a GPU with fused recurrences: one launch instead of hundreds.

A program passes over the candidates, forwards and backwards, for a few (image, node) pairs; a state
is a tile of counts x pairs in registers, stored once per candidate. Without Triton, which comes
with torch's CUDA builds on Linux, or with FOVEAL_TRITON=0 in the environment, `AVAILABLE` is false.

So far tested in Triton's interpreter only, and never timed on a GPU.
"""

import os
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.topk import quadrature

try:
    import triton
    from triton import language as tl
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = os.environ.get("FOVEAL_TRITON") != "0"

PAIRS = 16  # (image, node) pairs per program


def _weight_integrand(z: Float[Tensor, "M P"], k: int) -> Float[Tensor, "K M P"]:
    """The integrand of W at each pair's threshold."""
    p, f = torch.special.ndtr(z).contiguous(), quadrature.density(z).contiguous()
    counts, states = _workspace(z, k, 2)
    into = z.new_empty(k, *z.shape)
    _weight_kernel[states.shape[:1]](p, f, into, states, *z.shape, k, counts, PAIRS)
    return into


def _gradient_integrand(z: Float[Tensor, "M P"], g: Float[Tensor, "K M P"]) -> Float[Tensor, "M P"]:
    """d<G, W> / dx at each pair's threshold."""
    p, f = torch.special.ndtr(z).contiguous(), quadrature.density(z).contiguous()
    counts, states = _workspace(z, g.shape[0], 4)
    into = torch.empty_like(z, memory_format=torch.contiguous_format)
    _gradient_kernel[states.shape[:1]](
        z.contiguous(), p, f, g.contiguous(), into, states, *z.shape, g.shape[0], counts, PAIRS
    )
    return into


weights = partial(quadrature.weights, integrand=_weight_integrand)
gradients = partial(quadrature.gradients, integrand=_gradient_integrand)


def _workspace(z: Float[Tensor, "M P"], k: int, kinds: int) -> tuple[int, Tensor]:
    """The number of counts in a tile, and memory for the states before each candidate."""
    counts = 1 << max(0, k - 1).bit_length()
    programs = -(-z.shape[1] // PAIRS)
    return counts, z.new_empty(programs, z.shape[0], kinds, counts, PAIRS)


if AVAILABLE:

    @triton.jit
    def _entry(state, c):  # type: ignore[no-untyped-def]
        """Entry c of every column, 0 outside."""
        held = (c >= 0) & (c < state.shape[0])
        return tl.where(held, tl.gather(state, tl.where(held, c, 0), 0), 0.0)

    @triton.jit
    def _weight_kernel(  # type: ignore[no-untyped-def]
        p_at, f_at, into, states, m, n, k, COUNTS: tl.constexpr, PAIRS: tl.constexpr
    ):
        pair = tl.program_id(0) * PAIRS + tl.arange(0, PAIRS)
        c = tl.arange(0, COUNTS)[:, None] + tl.zeros((1, PAIRS), tl.int32)
        tile = c * PAIRS + tl.arange(0, PAIRS)[None, :]
        size: tl.constexpr = COUNTS * PAIRS
        states += tl.program_id(0).to(tl.int64) * m * 2 * size
        a = tl.where(c == 0, 1.0, 0.0).to(tl.float64)
        d = tl.zeros((COUNTS, PAIRS), tl.float64)
        for i in range(m):
            tl.store(states + (i * 2) * size + tile, a)
            tl.store(states + (i * 2 + 1) * size + tile, d)
            p = tl.load(p_at + i * n + pair, pair < n, 0.0)[None, :]
            f = tl.load(f_at + i * n + pair, pair < n, 0.0)[None, :]
            d += p * (_entry(d, c - 1) - d) + f * a
            a += p * (_entry(a, c - 1) - a)
        tl.debug_barrier()
        b = tl.where(c == 0, 1.0, 0.0).to(tl.float64)
        e = tl.zeros((COUNTS, PAIRS), tl.float64)
        for back in range(m):
            i = m - 1 - back
            a = tl.load(states + (i * 2) * size + tile)
            d = tl.load(states + (i * 2 + 1) * size + tile)
            p = tl.load(p_at + i * n + pair, pair < n, 0.0)[None, :]
            f = tl.load(f_at + i * n + pair, pair < n, 0.0)[None, :]
            b_left, e_left = _entry(b, k - 1 - c), _entry(e, k - 2 - c)
            mass = f * a * b_left + p * (_entry(d, c - 1) * b_left + a * e_left)
            tl.store(into + (c * m + i) * n + pair[None, :], mass, (c < k) & (pair < n)[None, :])
            e += p * (_entry(e, c - 1) - e) + f * b
            b += p * (_entry(b, c - 1) - b)

    @triton.jit
    def _advance(a, v, d, e, p, f, own, before, c):  # type: ignore[no-untyped-def]
        """The next candidate's states; `own` and `before` are G of the slots after c and c - 1."""
        a1, v1, d1, e1 = _entry(a, c - 1), _entry(v, c - 1), _entry(d, c - 1), _entry(e, c - 1)
        e += p * (e1 + own * d1 - e) + f * (v + own * a)
        d += p * (d1 - d) + f * a
        v += p * (v1 + before * a1 - v)
        a += p * (a1 - a)
        return a, v, d, e

    @triton.jit
    def _gradient_kernel(  # type: ignore[no-untyped-def]
        z_at, p_at, f_at, g_at, into, states, m, n, k, COUNTS: tl.constexpr, PAIRS: tl.constexpr
    ):
        pair = tl.program_id(0) * PAIRS + tl.arange(0, PAIRS)
        c = tl.arange(0, COUNTS)[:, None] + tl.zeros((1, PAIRS), tl.int32)
        tile = c * PAIRS + tl.arange(0, PAIRS)[None, :]
        size: tl.constexpr = COUNTS * PAIRS
        here = (pair < n)[None, :]
        states += tl.program_id(0).to(tl.int64) * m * 4 * size
        none = tl.zeros((COUNTS, PAIRS), tl.float64)
        a, v, d, e = tl.where(c == 0, 1.0, 0.0).to(tl.float64), none, none, none
        for i in range(m):
            tl.store(states + (i * 4) * size + tile, a)
            tl.store(states + (i * 4 + 1) * size + tile, v)
            tl.store(states + (i * 4 + 2) * size + tile, d)
            tl.store(states + (i * 4 + 3) * size + tile, e)
            p = tl.load(p_at + i * n + pair, pair < n, 0.0)[None, :]
            f = tl.load(f_at + i * n + pair, pair < n, 0.0)[None, :]
            own = tl.load(g_at + (c * m + i) * n + pair[None, :], (c < k) & here, 0.0)
            a, v, d, e = _advance(a, v, d, e, p, f, own, _entry(own, c - 1), c)
        tl.debug_barrier()
        b, u, h, w = tl.where(c == 0, 1.0, 0.0).to(tl.float64), none, none, none
        for back in range(m):
            i = m - 1 - back
            a = tl.load(states + (i * 4) * size + tile)
            v = tl.load(states + (i * 4 + 1) * size + tile)
            d = tl.load(states + (i * 4 + 2) * size + tile)
            e = tl.load(states + (i * 4 + 3) * size + tile)
            z = tl.load(z_at + i * n + pair, pair < n, 0.0)
            p = tl.load(p_at + i * n + pair, pair < n, 0.0)[None, :]
            f = tl.load(f_at + i * n + pair, pair < n, 0.0)[None, :]
            own = tl.load(g_at + (c * m + i) * n + pair[None, :], (c < k) & here, 0.0)
            # With i left out, k - 1 - c come after it; with i above the threshold, k - 2 - c.
            b0, u0 = _entry(b, k - 1 - c), _entry(u, k - 1 - c)
            h0, w0 = _entry(h, k - 1 - c), _entry(w, k - 1 - c)
            b1, u1 = _entry(b, k - 2 - c), _entry(u, k - 2 - c)
            h1, w1 = _entry(h, k - 2 - c), _entry(w, k - 2 - c)
            upto = v + own * a
            out = d * u0 + e * b0 + a * w0 + v * h0
            above = upto * h1 + a * w1 + d * u1 + (e + _entry(own, c + 1) * d) * b1
            total = tl.sum(above - out - z[None, :] * (upto * b0 + a * u0), axis=0)
            tl.store(into + i * n + pair, total * tl.sum(f, axis=0), pair < n)
            mirrored = tl.load(
                g_at + ((k - 1 - c) * m + i) * n + pair[None, :], (c < k) & here, 0.0
            )
            b, u, h, w = _advance(b, u, h, w, p, f, mirrored, _entry(mirrored, c - 1), c)
