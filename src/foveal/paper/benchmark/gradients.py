"""Gradients of <G, W> by every estimator, and how far they are from the exact one.

The draws of an estimator are images of one batch that have the same scores. They are computed in
float32, as a model in training does, and the truth in float64.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from foveal.models import PatchClassifier
from foveal.nn import aggregators, encoders, normalisations, scorers, selectors
from foveal.paper.benchmark.estimates import Quality, Swept, Turn
from foveal.paper.data.billiards import Billiards
from foveal.paper.data.billiards.questions import NUMBERS
from foveal.patches import extract
from foveal.topk import Selection, perturbed
from foveal.topk.perturbed import Estimator

ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
CONSTANTS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0)
BRIGHTNESSES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
CONSTANT = 3.0


@dataclass(frozen=True)
class Case:
    """Linear functionals <G, W> of a selection, P problems of one kind."""

    name: str
    scores: Float[Tensor, "P N"]
    incoming: Float[Tensor, "P K N"]


@dataclass(frozen=True)
class Sweep:
    """One problem with V different G, by a constant in them."""

    swept: Swept
    values: Sequence[float]
    problem: int
    scores: Float[Tensor, " N"]
    incoming: Float[Tensor, "V K N"]


def cases(candidates: int, k: int, problems: int, seed: int) -> tuple[Case, Case, Case]:
    """A scorer that knows nothing, twice, and one that is nearly sure; G is standard normal."""
    source = torch.Generator().manual_seed(seed)
    even = torch.rand(problems, candidates, generator=source, dtype=torch.float64)
    incoming = torch.randn(problems, k, candidates, generator=source, dtype=torch.float64)
    high = k * 7 // 5
    places = torch.rand(problems, candidates, generator=source).argsort(dim=1)[:, :high]
    sure = 0.3 * even
    sure = sure.scatter(1, places, 0.8 + 0.2 * even.gather(1, places))
    return (
        Case("even scores", even, incoming),
        Case(f"even scores, G + {CONSTANT:g}", even, incoming + CONSTANT),
        Case(f"{high} high of {candidates}", sure, incoming),
    )


def slopes(
    scores: Float[Tensor, "B N"],
    incoming: Float[Tensor, "B K N"],
    sigma: float,
    estimator: Estimator,
    samples: int,
    seed: int,
) -> Float[Tensor, "B N"]:
    """The gradient of <G, W> to the scores, for every image of the batch."""
    leaf = scores.detach().clone().requires_grad_()
    noise = torch.Generator().manual_seed(seed)
    selection = perturbed(
        leaf, incoming.shape[1], sigma, estimator=estimator, samples=samples, generator=noise
    )
    gradient: Tensor
    (gradient,) = torch.autograd.grad(selection.dense(scores.shape[1]), leaf, incoming)
    return gradient


def quality(
    case: Case, sigma: float, samples: Sequence[int], draws: int, seed: int
) -> Iterator[Quality]:
    """Every estimator with so many samples, over draws of the gradient."""
    truth = slopes(case.scores, case.incoming, sigma, "exact", 1, seed)[:, None]  # (P, 1, N)
    scores, incoming = (_drawn(each, draws) for each in (case.scores, case.incoming))
    for estimator in ESTIMATORS:
        for count in samples:
            drawn = slopes(scores, incoming, sigma, estimator, count, seed)
            drawn = drawn.double().view(-1, draws, drawn.shape[1])  # (P, D, N)
            yield _judged(case.name, estimator, count, drawn, truth)


def _judged(
    case: str,
    estimator: str,
    samples: int,
    drawn: Float[Tensor, "P D N"],
    truth: Float[Tensor, "P 1 N"],
) -> Quality:
    """The figures of the draws.

    Where an estimator has no bias and C is the covariance of the mean of the draws, the squared
    distance of this mean has the mean tr C and, for normal noise, the variance 2 tr C^2.
    """
    problems, draws, _ = drawn.shape
    cosine = cosine_similarity(drawn, truth, dim=2).mean().item()
    drawn, truth = (each / truth.norm(dim=2, keepdim=True) for each in (drawn, truth))
    mean = drawn.mean(dim=1, keepdim=True)
    around = drawn - mean
    # has the traces of C and, as it is estimated from these draws, more than that of C^2
    gram = around @ around.mT / ((draws - 1) * draws)  # (P, D, D)
    expected = gram.diagonal(dim1=1, dim2=2).sum(dim=1).mean().item()
    spread = math.sqrt(2) * gram.norm().item() / problems
    return Quality(
        case,
        estimator,
        samples,
        draws,
        distance=(mean - truth).norm().item() / math.sqrt(problems),
        error=math.sqrt(expected),
        noise=math.sqrt(expected + 3 * spread),
        deviation=math.sqrt(expected * draws),
        cosine=cosine,
    )


def constants(case: Case) -> Iterator[Sweep]:
    """Every problem of a case with a constant added to all values of G."""
    added = torch.tensor(CONSTANTS, dtype=torch.float64)[:, None, None]
    for problem, (scores, incoming) in enumerate(zip(case.scores, case.incoming, strict=True)):
        yield Sweep("constant", CONSTANTS, problem, scores, incoming + added)


def brightened(side: int, k: int, count: int, seed: int) -> Iterator[Sweep]:
    """Painted billiards, each before a model of its own with side x side windows.

    The model is an untrained `PatchClassifier`. Scores and the gradient that comes in at the
    patches are those before the picture as it is painted; what differs by brightness is the
    constant added to its pixels, and so G[k, i] = <gradient of patch k, crop i>.
    """
    view = 8 * (side + 1)
    data = Billiards(count, seed=seed, size=2 * view, workers=1)
    for number in range(count):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            model = PatchClassifier(
                scorer=scorers.ConvScorer(),
                select=selectors.TopK(k),
                encoder=encoders.ThinResNet(),
                aggregate=aggregators.mean,
                classes=len(NUMBERS),
                view=(view, view),
                patch=(view // 5, view // 5),
            )
        pixels = data[number].image.view((2 * view, 2 * view))[None]
        yield _seen(model, number, pixels, data.labels[number : number + 1])


def _seen(
    model: PatchClassifier, number: int, pixels: Float[Tensor, "1 C H W"], label: Int[Tensor, " 1"]
) -> Sweep:
    prediction = model(pixels)
    loss = cross_entropy(prediction.logits, label)
    (gradient,) = torch.autograd.grad(loss, prediction.patches)  # (1, K, C, h, w)
    n = prediction.scores.shape[1]
    every = Selection(torch.arange(n)[None], torch.eye(n)[None])

    def value(seen: Float[Tensor, "1 C H W"]) -> Float[Tensor, "K N"]:
        crops = extract(seen, prediction.windows, every, model.patch)[0]  # (N, C, h, w)
        product: Tensor = gradient[0].flatten(1).double() @ crops.flatten(1).double().T
        return product

    # The constant is cropped like a picture, for outside of it there are zeros.
    content, constant = value(pixels - pixels.mean()), value(torch.ones_like(pixels))
    added = torch.tensor(BRIGHTNESSES, dtype=torch.float64)[:, None, None]
    scores = normalisations.min_max(prediction.scores.detach())[0].double()
    return Sweep("brightness", BRIGHTNESSES, number, scores, content + added * constant)


def turning(sweep: Sweep, sigma: float, samples: int, draws: int, seed: int) -> Iterator[Turn]:
    """The mean cosine of a few draws to the exact gradient, for every G."""
    scores = sweep.scores.expand(len(sweep.values), -1)
    truth = slopes(scores, sweep.incoming, sigma, "exact", 1, seed)[:, None]  # (V, 1, N)
    scores, incoming = (_drawn(each, draws) for each in (scores, sweep.incoming))
    for estimator in ESTIMATORS:
        drawn = slopes(scores, incoming, sigma, estimator, samples, seed + sweep.problem)
        drawn = drawn.double().view(-1, draws, drawn.shape[1])  # (V, D, N)
        cosines = cosine_similarity(drawn, truth, dim=2).mean(dim=1)
        for at, cosine in zip(sweep.values, cosines.tolist(), strict=True):
            yield Turn(sweep.swept, at, sweep.problem, estimator, cosine)


def _drawn(values: Float[Tensor, " P *M"], draws: int) -> Float[Tensor, " PD *M"]:
    """Each of the first axis once for every draw, in float32 like a model in training."""
    return values.float().repeat_interleave(draws, dim=0)
