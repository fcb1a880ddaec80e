"""Billiards small enough for two processor cores: the same question on fewer, smaller pictures."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.experiment import Experiment, seeded
from foveal.paper.recipes import Estimator
from foveal.paper.recipes.model_factory import Choice, Join, Model, Pace, Parts, Question

if TYPE_CHECKING:
    from foveal.data import Splits


def billiards_mini(
    *,
    model: Model = "patches",
    question: Question = "max_left_right",
    train: int = 12_000,
    validation: int = 300,
    test: int = 1000,
    size: int = 160,
    balls: tuple[int, int] = (2, 3),
    radius: float = 0.09,
    digit: float = 0.8,
    numbers: int = 9,
    view: int = 40,
    pool: int = 4,
    patch: int = 36,
    k: int = 5,
    select: Choice = "top_k",
    join: Join = "transformer",
    soft_evaluation: bool = False,
    normalise: str = "min_max",
    mix_hard: float = 0.0,
    mix_random: float = 0.0,
    mix_dropped: float = 0.0,
    coordinates: bool = False,
    downscale: int = 1,
    widths: tuple[int, ...] = (24, 48, 48, 96),
    tokens: int = 64,
    layers: int = 1,
    octaves: int = 3,
    steps: int = 4200,
    batch: int = 16,
    learning_rate: float = 1e-3,
    scorer_learning_rate: float = 0.3,
    scorer_delay: float = 0.1,
    weight_decay: float = 0.05,
    warm_up: float = 0.05,
    sigma: float = 0.01,
    sigma_schedule: Pace = "linear",
    epsilon: float = 1e-4,
    estimator: Estimator = "exact",
    entropy: float = 0.001,
    shift: int = 0,
    workers: int = 0,
    scenes: int | None = None,
    seed: int = 0,
) -> Experiment:
    """Billiards in minutes on a laptop: fewer balls on small pictures, a small network.

    Nothing tells the scorer where the numbers are before the encoder can read them. So sigma is
    small (patches are cuts, not blends of many), patches are wide enough for an untrained scorer to
    find most balls, and the scorer begins to learn late. The transformer normalises first and
    passes on maxima: one number in one place is all that counts. Windows are 16 px apart, the balls
    may differ by less: the encoder also tells where in its patch it saw what it saw.

    Command:  foveal train billiards_mini
    Hardware: 2 processor cores, no GPU
    Time:     4 minutes on fast cores, 11 on older ones, painting and test included
    Ours:     93.1, 83.9, 93.0 % accuracy (seeds 0 to 2); looks on both balls in 99.6, 97.9, 92.1 %

    Args:
        model: patches, the one described above; or attention_sampling, iterative or whole, the
            systems it is compared with, made of the same parts
        question: max_left_right, the larger number of the left-most and the right-most ball;
            rightmost, the number of the right-most; sum_modulo_10, the last digit of the sum of
            all; or left_colour_min_max, the smallest number if the left-most ball is green, blue
            or purple, else the largest
        train: pictures to learn from
        validation: pictures to choose the best model by
        test: pictures to report on
        size: height and width of a picture in pixels
        balls: fewest and most balls on a table
        radius: of a ball in sides of the picture
        digit: height of the numerals in radii of a ball
        numbers: the largest number on a ball
        view: height and width of the view in pixels
        pool: pixels of the view from one window to the next
        patch: side of a patch in pixels of the full picture
        k: how many patches are looked at
        select: top_k, sinkhorn, hard (the scorer learns nothing from the answers) or random: how
            patches chooses its windows
        join: transformer, max or mean: how patches makes one answer of its looks
        soft_evaluation: whether top_k and sinkhorn predict with mixed patches, as they train
        normalise: how patches scales its scores before it selects: min_max, zero_one, softmax,
            sigmoid, layer_norm, identity or smoothing(SHARE), or several in turn, parted by "|"
        mix_hard: chance that a picture's windows are the highest-scored ones in training instead
        mix_random: chance that a slot looks at a random window in training instead
        mix_dropped: chance that a window is left out in training
        coordinates: whether attention_sampling and whole are told where a pixel lies
        downscale: how many times smaller whole sees the picture
        widths: number of filters of each convolution of the patches' network
        tokens: width of the transformer that joins the patches
        layers: of that transformer
        octaves: wavelengths in which it is told where a patch lies, from twice the picture down
        steps: of training
        batch: pictures a step
        learning_rate: the highest, after warming up
        scorer_learning_rate: what it is multiplied by for the scorer
        scorer_delay: share of the steps in which the scorer stays as it began
        weight_decay: pull of all weights towards zero, times the learning rate
        warm_up: share of the steps in which the learning rate rises
        sigma: noise on the scores at the start
        sigma_schedule: how it falls to 0: linear, cosine or constant, not at all
        epsilon: weight of the entropy in sinkhorn
        estimator: of the selection's gradient
        entropy: reward for a scorer that keeps its options open
        shift: largest random translation in pixels
        workers: processes that load pictures
        scenes: seed of the pictures, else `seed`
        seed: of all other random numbers
    """
    settings = dict(locals())  # before any other name exists

    from foveal.nn.aggregators import FourierPosition, Transformer
    from foveal.nn.encoders import WhatAndWhere
    from foveal.nn.scorers import ConvScorer
    from foveal.paper.data.billiards import archive as archive
    from foveal.paper.data.billiards.questions import NUMBERS, QUESTIONS
    from foveal.paper.recipes.model_factory import contender
    from foveal.training import Settings

    asked = QUESTIONS[question]
    classes = NUMBERS[:numbers] if asked.classes == NUMBERS else asked.classes
    asked = replace(asked, classes=classes)

    def pictures() -> "Splits":
        return painted(
            (train, validation, test),
            seed=seed if scenes is None else scenes,
            size=size,
            balls=balls,
            radius=radius,
            digit=digit,
            numbers=numbers,
            question=asked,
        )

    def write(directory: Path) -> None:
        archive.write(directory, vars(pictures()).values())

    def transformer(features: int) -> Transformer:
        return Transformer(
            features,
            width=tokens,
            num_layers=layers,
            heads=4,
            dropout=0.0,
            norm_first=True,
            pool="amax",
            position=FourierPosition(features, octaves=octaves),
        )

    with seeded(seed):
        network = contender(
            settings,
            Parts(
                encoder=lambda channels: WhatAndWhere(channels, widths=widths),
                scorer=lambda: ConvScorer(pool=pool),
                transformer=transformer,
                heads=4,
            ),
            classes=len(classes),
        )
    return Experiment(
        recipe="billiards_mini",
        settings=settings,
        classes=classes,
        model=network,
        splits=pictures,
        write=write,
        training=Settings(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            scorer_learning_rate=scorer_learning_rate,
            scorer_delay=scorer_delay,
            weight_decay=weight_decay,
            warm_up=warm_up,
            entropy=entropy,
            sigma=sigma,
            sigma_schedule=sigma_schedule,
            clip_value=1.0,
            clip_norm=None,
            shift=shift,
            validate_every=max(1, steps // 10),
            workers=workers,
            seed=seed,
        ),
    )


@lru_cache(maxsize=1)
def painted(counts: tuple[int, int, int], **look: Any) -> "Splits":
    """So many training, validation and test pictures; the last ones asked for are kept."""
    from foveal.paper.data.billiards import splits

    return splits(*counts, **look)
