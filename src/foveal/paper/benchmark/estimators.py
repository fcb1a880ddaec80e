"""How good the estimators of the Top-K's gradient are: bias, deviation, and cosine to the truth.

All figures are of the gradient of a linear functional <G, W>. The truth is the exact gradient;
importing this does not import torch.
"""

import math
from pathlib import Path
from typing import Any

from foveal.errors import UserError
from foveal.paper.benchmark.estimates import Estimates, Quality, Turn


def estimators(
    *,
    candidates: int = 900,
    k: int = 10,
    sigma: float = 0.05,
    samples: tuple[int, ...] = (16, 100, 500),
    problems: int = 8,
    draws: int = 20,
    pictures: int = 16,
    seed: int = 0,
    output: Path | None = None,
) -> Estimates:
    """Compare the estimators of the gradient: bias, deviation, and cosine to the true gradient.

    Bias and deviation are in lengths of the true gradient. Where the bias is "< x", none was found,
    and one above x would have been. Then how the cosine falls as a constant is added to all values
    of G, and as painted pictures grow brighter before an untrained model.

    Args:
        candidates: number of windows to select from.
        k: number of windows selected.
        sigma: standard deviation of the noise.
        samples: numbers of noise draws in one gradient; the last one for the turning.
        problems: number of times that scores and G are drawn.
        draws: number of gradients per problem, 2 or more; a tenth for every point of the turning.
        pictures: number of painted pictures, each with a model of its own.
        seed: seed of all random numbers.
        output: folder for the figure, and for the tables as CSV.

    Raises:
        UserError: a value out of its range.
    """
    side = math.isqrt(candidates)
    if min(problems, pictures, *samples, draws - 1) < 1 or not samples or sigma <= 0:
        raise UserError(
            "problems, pictures and samples must be 1 or more, draws 2 or more, sigma above 0: got "
            f"problems {problems}, pictures {pictures}, samples {list(samples)}, draws {draws}, "
            f"sigma {sigma}"
        )
    if not 1 <= k <= candidates // 3 or side < 4:
        raise UserError(
            "there must be 16 candidates or more, and k at most a third of them: got "
            f"candidates {candidates}, k {k}"
        )

    from foveal.paper.benchmark import gradients

    rows: list[Quality] = []
    cases = gradients.cases(candidates, k, problems, seed)
    for case in cases:
        rows += gradients.quality(case, sigma, samples, draws, seed)
    turns: list[Turn] = []
    for sweep in (
        *gradients.constants(cases[0]),
        *gradients.brightened(side, k, pictures, seed),
    ):
        turns += gradients.turning(sweep, sigma, samples[-1], max(1, draws // 10), seed)
    settings: dict[str, Any] = {"candidates": candidates, "k": k, "sigma": sigma}
    settings |= {"samples": tuple(samples), "problems": problems, "draws": draws}
    settings |= {"pictures": pictures, "seed": seed}
    found = Estimates(settings, tuple(rows), tuple(turns))
    if output is not None:
        found.write(output)
    return found
