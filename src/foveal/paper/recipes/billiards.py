"""The paper's billiards: which is the larger of the left-most and the right-most ball's number?"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.errors import UserError
from foveal.experiment import Experiment, seeded
from foveal.paper.recipes import AS_PUBLISHED, Estimator
from foveal.paper.recipes.model_factory import Choice, Join, Model, Pace, Parts, Question

if TYPE_CHECKING:
    from foveal.data import Splits


def billiards(
    *,
    data: Path | None = None,
    model: Model = "patches",
    question: Question = "max_left_right",
    train: int = 8000,
    validation: int = 2000,
    test: int = 10_000,
    size: int = 1000,
    balls: tuple[int, int] = (4, 8),
    view: int = 250,
    patch: int = 100,
    k: int = 10,
    select: Choice = "top_k",
    join: Join = "transformer",
    soft_evaluation: bool = False,
    normalise: str = "min_max",
    mix_hard: float = 0.0,
    mix_random: float = 0.0,
    mix_dropped: float = 0.0,
    coordinates: bool = False,
    downscale: int = 1,
    encoder: str = "resnet18",
    layers: int = 3,
    heads: int = 8,
    width: int = 256,
    steps: int = 30_000,
    batch: int = 64,
    learning_rate: float = 1e-4,
    weight_decay: float = 1e-4,
    clip: float = 1.0,
    warm_up: float = 0.05,
    sigma: float = 0.05,
    sigma_schedule: Pace = "linear",
    epsilon: float = 1e-4,
    estimator: Estimator = "exact",
    entropy: float = 0.01,
    shift: int = 50,
    as_published: bool = False,
    workers: int = 0,
    scenes: int | None = None,
    seed: int = 0,
) -> Experiment:
    """Billiards as in the paper: the larger number of the left-most and the right-most ball.

    The paper's pictures are no longer to be had; these are painted alike. Windows lie around the
    scorer's cells instead of 15 px off, the gradient is exact instead of the paper's diagonal, and
    the weight decay is multiplied by the learning rate, which the paper's code does not do; see
    as_published.

    Command:  foveal train billiards
    Hardware: a GPU of 80 GB
    Time:     not run yet
    Paper:    93.8 % (median of 9 runs, deviation 0.3)
    Ours:     not run yet

    Args:
        data: folder of an archive with train, valid and test, read instead of painting pictures
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
        view: height and width of the view in pixels
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
        encoder: timm network for the patches, or all of the picture, trained from scratch
        layers: of the transformer that joins the patches
        heads: of its attention
        width: of its tokens
        steps: of training
        batch: pictures a step
        learning_rate: the highest, after warming up
        weight_decay: pull of all weights towards zero, times the learning rate
        clip: largest value of a gradient's entry
        warm_up: share of the steps in which the learning rate rises
        sigma: noise on the scores at the start
        sigma_schedule: how it falls to 0: linear, cosine or constant, not at all
        epsilon: weight of the entropy in sinkhorn
        estimator: of the selection's gradient
        entropy: reward for a scorer that keeps its options open
        shift: largest random translation in pixels
        as_published: whether patches is made and trained as in the paper's released code, errors
            included: its alignment of the windows, its diagonal gradient, whatever the estimator,
            weight decay of 1e-4 that is not multiplied by the learning rate, of biases and norms,
            too, no ReLU after the encoder's first batch norm, a table of places, and dropout in
            evaluation
        workers: processes that load pictures
        scenes: seed of the pictures, else `seed`
        seed: of all other random numbers
    """
    settings = dict(locals(), data=data and data.resolve())  # before any other name exists
    from foveal.nn.aggregators import TablePosition, Transformer
    from foveal.nn.encoders import Backbone
    from foveal.nn.scorers import ConvScorer
    from foveal.paper.data.billiards import archive as archive
    from foveal.paper.data.billiards import splits
    from foveal.paper.data.billiards.questions import QUESTIONS
    from foveal.paper.recipes.model_factory import contender
    from foveal.training import Settings
    from foveal.windows import cordonnier_grid

    if as_published:
        if model != "patches":
            raise UserError("as_published is of the paper's model: choose model patches")
        settings["estimator"] = "diagonal"
    asked = QUESTIONS[question]

    @cache
    def pictures() -> "Splits":
        if data is not None:
            return archive.read_archive(data, question=asked)
        paint = seed if scenes is None else scenes
        return splits(train, validation, test, seed=paint, size=size, balls=balls, question=asked)

    def write(directory: Path) -> None:
        archive.write(directory, vars(pictures()).values())

    def transformer(features: int) -> Transformer:
        cells = (view - 8) // 8  # a side of the scorer's map
        return Transformer(
            features,
            width=width,
            num_layers=layers,
            heads=heads,
            position=TablePosition(cells * cells, features) if as_published else None,
            dropout_in_evaluation=as_published,
        )

    with seeded(seed):
        network = contender(
            settings,
            Parts(
                encoder=lambda channels: Backbone(
                    encoder, channels=channels, bare_stem=as_published
                ),
                scorer=ConvScorer,
                transformer=transformer,
                heads=heads,
            ),
            classes=len(asked.classes),
            place=cordonnier_grid if as_published else None,
        )
    return Experiment(
        recipe="billiards",
        settings=settings,
        classes=asked.classes,
        model=network,
        splits=pictures,
        write=write if data is None else None,
        training=Settings(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            weight_decay=1e-4 / learning_rate if as_published else weight_decay,
            decay_all=as_published,
            warm_up=warm_up,
            clip_value=clip,
            clip_norm=None,
            entropy=entropy,
            sigma=sigma,
            sigma_schedule=sigma_schedule,
            shift=shift,
            validate_every=max(1, steps // 30),
            workers=workers,
            seed=seed,
        ),
        notes=(AS_PUBLISHED,) if as_published else (),
    )
