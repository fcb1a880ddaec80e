"""Billiards small enough for two processor cores: the same question on fewer, smaller pictures."""

from functools import cache
from pathlib import Path

from foveal.recipes import Estimator, Experiment, seeded


def billiards_mini(
    *,
    train: int = 12_000,
    validation: int = 300,
    test: int = 1000,
    size: int = 160,
    balls: tuple[int, int] = (2, 3),
    radius: float = 0.09,
    digit: float = 0.8,
    view: int = 40,
    pool: int = 4,
    patch: int = 36,
    k: int = 5,
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
    estimator: Estimator = "exact",
    entropy: float = 0.001,
    shift: int = 0,
    workers: int = 0,
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
    Time:     about 11 minutes, painting and test included, beside other work
    Ours:     91.2 and 91.5 % accuracy, windows on both balls in 99.2 and 95.1 % of 1000 pictures

    Args:
        train: pictures to learn from
        validation: pictures to choose the best model by
        test: pictures to report on
        size: height and width of a picture in pixels
        balls: fewest and most balls on a table
        radius: of a ball in sides of the picture
        digit: height of the numerals in radii of a ball
        view: height and width of the view in pixels
        pool: pixels of the view from one window to the next
        patch: side of a patch in pixels of the full picture
        k: how many patches are looked at
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
        sigma: noise on the scores at the start; it falls to 0 in a straight line
        estimator: of the selection's gradient
        entropy: reward for a scorer that keeps its options open
        shift: largest random translation in pixels
        workers: processes that load pictures
        seed: of the pictures and of all random numbers
    """
    settings = dict(locals())  # before any other name exists
    import torch

    from foveal.data import Splits
    from foveal.data.billiards import NUMBERS, splits
    from foveal.data.billiards import archive as archive
    from foveal.models import PatchClassifier
    from foveal.nn.aggregators import FourierPosition, Transformer
    from foveal.nn.encoders import WhatAndWhere
    from foveal.nn.scorers import ConvScorer
    from foveal.nn.selectors import TopK
    from foveal.training import Settings

    look = {"size": size, "balls": balls, "radius": radius, "digit": digit}

    @cache
    def painted() -> Splits:
        return splits(train, validation, test, seed=seed, **look)

    def write(directory: Path) -> None:
        archive.write(directory, vars(painted()).values())

    with seeded(seed):
        encoder = WhatAndWhere(widths=widths)
        model = PatchClassifier(
            scorer=ConvScorer(pool=pool),
            select=TopK(k, sigma=sigma, estimator=estimator),
            encoder=encoder,
            aggregate=Transformer(
                encoder.features,
                width=tokens,
                layers=layers,
                heads=4,
                dropout=0.0,
                norm_first=True,
                pool=torch.amax,
                position=FourierPosition(encoder.features, octaves=octaves),
            ),
            classes=len(NUMBERS),
            view=(view, view),
            patch=(patch, patch),
        )
    return Experiment(
        recipe="billiards_mini",
        settings=settings,
        classes=NUMBERS,
        model=model,
        splits=painted,
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
            clip_value=1.0,
            clip_norm=None,
            shift=shift,
            validate_every=max(1, steps // 10),
            workers=workers,
            seed=seed,
        ),
    )
