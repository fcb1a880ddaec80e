"""Colon cancer: is there an epithelial nucleus in an image of stained tissue?"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from foveal.experiment import Experiment, seeded
from foveal.paper.recipes import Estimator
from foveal.paper.recipes.model_factory import Join, Parts

if TYPE_CHECKING:
    from foveal.data import Splits
    from foveal.nn.protocols import Scorer

Model = Literal["attention_sampling", "patches", "iterative"]


def colon_cancer(
    *,
    data: Path,
    classes: tuple[str, ...] | None = None,
    model: Model = "attention_sampling",
    fold: int = 0,
    folds: int = 10,
    validation: float = 0.1,
    view: int = 100,
    pool: int = 3,
    patch: int = 27,
    k: int = 10,
    width: int = 500,
    join: Join = "mean",
    sigma: float = 0.05,
    estimator: Estimator = "exact",
    steps: int = 5000,
    batch: int = 8,
    learning_rate: float = 1e-3,
    clip: float = 1.0,
    entropy: float = 0.01,
    flip: bool = False,
    workers: int = 0,
    seed: int = 0,
) -> Experiment:
    """Colon cancer on 100 images of 500 x 500 px: is there at least one epithelial nucleus?

    The model is attention sampling, with a scorer that has a window for every pixel of the view; or
    a patch selection with the paper's scorer; or iterative patch selection on patches that overlap
    by half. Networks for patches and all of the training are the same. The images are those of
    CRCHistoPhenotypes, which must be unpacked; scipy is needed to read their labels. A result is
    the mean over all folds, a run each with the same seed.

    Attention sampling's released code has no script for these images, and the settings of its
    paper were not checked. View, patch and entropy are those that its PyTorch port and the Zoom-In
    network's code have in common; k, the network for patches, steps, batch and learning rate are
    the port's, which tells no result and tests on the images it learns from. Both have ReLU in the
    scorer, where here is tanh, and do not smooth the attention, where it is by 1e-4 here.

    Command:  foveal train colon_cancer --data PATH --fold 0
    Hardware: a GPU
    Time:     not run yet
    Paper:    90.7 % (deviation 1.4) attention_sampling, as the Zoom-In network's paper quotes it
    Ours:     not run yet

    Args:
        data: folder Classification of CRCHistoPhenotypes_2016_04_28, or one of those it lies in
        classes: names of the classes in order, else those of the data
        model: attention_sampling, the published one; patches, this library's own; or iterative
        fold: the one to test on, from 0
        folds: how many parts the images are divided into
        validation: share of the images of the other folds to choose the best model by
        view: height and width of the view in pixels, not of iterative
        pool: pixels of the view from one window to the next, of patches
        patch: side of a patch in pixels of the full image
        k: how many patches are looked at
        width: features of a patch
        join: mean, max or transformer: how patches makes one answer of its looks
        sigma: noise on the scores at the start, of patches; it falls to 0 in a straight line
        estimator: of the selection's gradient, of patches
        steps: of training, about 500 passes
        batch: images a step
        learning_rate: always the same
        clip: largest length of the gradient
        entropy: reward for a scorer that keeps its options open
        flip: whether training images are mirrored at random
        workers: processes that load images
        seed: of the folds and of all random numbers
    """
    settings = dict(locals(), data=data.resolve())  # before any other name exists
    from foveal.data.folder import check, describe
    from foveal.nn.aggregators import Transformer
    from foveal.nn.scorers import ConvScorer, TanhScorer
    from foveal.paper.data.colon_cancer import CLASSES, SIZE, read_colon_cancer
    from foveal.paper.nn.lenet import LeNet
    from foveal.paper.recipes.model_factory import DEFAULTS, contender
    from foveal.training import Settings

    @cache
    def images() -> "Splits":
        return read_colon_cancer(data, fold=fold, folds=folds, validation=validation, seed=seed)

    notes: tuple[str, ...] = ()
    if classes is None:
        settings["classes"] = classes = CLASSES
        parts = images()
        for part in (parts.train, parts.validation, parts.test):
            if part is not None:
                check(part)
        notes = (describe(parts),)

    def scorer() -> "Scorer":
        return TanhScorer(3) if model == "attention_sampling" else ConvScorer(pool=pool)

    with seeded(seed):
        network = contender(
            {**DEFAULTS, **settings, "size": SIZE},
            Parts(
                encoder=lambda channels: LeNet((patch, patch), channels, features=width),
                scorer=scorer,
                transformer=Transformer,
                heads=4,
            ),
            classes=len(classes),
        )
    return Experiment(
        recipe="colon_cancer",
        settings=settings,
        classes=classes,
        model=network,
        splits=images,
        training=Settings(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            weight_decay=0.0,
            warm_up=0.0,
            schedule="constant",
            clip_norm=clip,
            entropy=entropy,
            sigma=sigma,
            colour=True,
            flip=flip,
            validate_every=max(1, steps // 50),
            workers=workers,
            seed=seed,
        ),
        notes=notes,
    )
